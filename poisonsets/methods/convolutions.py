"""Within `images_alone`, convolutions have second gradients with respect to images, but not to weights.

Rectifiers have none of their own, and there add no zeros to those of others.

Autograd's double backward of a convolution always differentiates with respect to the weights too. Without that, a
gradient of a weight gradient costs seven products of a forward pass's size: one forward, two for the first gradients,
three for their gradients and one back to the images.
"""

from typing import Any, Final, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class images_alone(TorchFunctionMode):  # noqa: N801 - used as a function, like torch.no_grad
    """The context in which to run a graph's convolutions; take its gradients inside or outside.

    With `create_graph=True` a gradient with respect to weights and images can be differentiated again, with respect to
    anything that does not depend on the weights. Without it, gradients reach the images only: asking for a weight's
    raises PyTorch's error for an unused tensor.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the convolution; leave everything else to PyTorch."""
        return _REPLACED.get(func, func)(*args, **(kwargs or {}))


def _convolved(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | str | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.conv2d` with the same arguments."""
    if isinstance(padding, str):  # rare, so left to PyTorch
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    if torch.is_autocast_enabled(input.device.type):
        # Autocast's casts must happen out here, where autograd sees them.
        kind = torch.get_autocast_dtype(input.device.type)
        input, weight, bias = input.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    form = (_pair(stride), _pair(padding), _pair(dilation), groups)
    found: Tensor = _Convolution.apply(input, weight, bias, form)
    return found


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


_Form: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]


def _backward(slope: Tensor, input: Tensor, weight: Tensor, form: _Form, wanted: list[bool]) -> tuple[Tensor, ...]:
    """The wanted ones of the gradients of a convolution's input, weight and bias, given its output's."""
    stride, padding, dilation, groups = form
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        slope, input, weight, [weight.shape[0]], stride, padding, dilation, False, [0, 0], groups, wanted
    )
    return found


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, form: _Form) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.form, ctx.biased = form, bias is not None
        return torch.conv2d(input, weight, bias, *form)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        input, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # the first gradient, whose graph is kept
            return (*_FirstGradients.apply(slope, input, weight, ctx.form, ctx.needs_input_grad[0], ctx.biased), None)
        return _backward(slope, input, weight, ctx.form, [True, False, False])[0], None, None, None


class _FirstGradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, slope: Tensor, input: Tensor, weight: Tensor, form: _Form, moves: bool, biased: bool
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(slope, input, weight)
        ctx.set_materialize_grads(False)
        ctx.form = form
        return _backward(slope, input, weight, form, [moves, True, biased])

    @staticmethod
    def backward(ctx: Any, of_input: Tensor | None, of_weight: Tensor | None, of_bias: Tensor | None) -> Any:
        slope, input, weight = ctx.saved_tensors
        of_slope, through = None, None
        if of_weight is not None:
            of_slope = torch.conv2d(input, of_weight, of_bias, *ctx.form)
            through = _backward(slope, input, of_weight, ctx.form, [True, False, False])[0]
        if of_input is not None:
            onward = torch.conv2d(of_input, weight, None if of_slope is not None else of_bias, *ctx.form)
            of_slope = onward if of_slope is None else of_slope.add_(onward)
        return of_slope, through, None, None, None, None


class _Rectifier(torch.autograd.Function):
    """`torch.relu`; autograd's own second gradient by the input is a tensor of zeros, to be added like any other."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        found = torch.relu(input)
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (found,) = ctx.saved_tensors
        masked: Tensor = _Masked.apply(slope, found)
        return masked


class _Masked(torch.autograd.Function):
    """The slope where the rectifier's result is above zero: linear in the slope, so that it is its own gradient."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, found: Tensor) -> Tensor:
        ctx.save_for_backward(found)
        masked: Tensor = torch.ops.aten.threshold_backward(slope, found, 0)
        return masked

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        (found,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(slope, found, 0), None


_REPLACED: Final[dict[Any, Any]] = {
    torch.conv2d: _convolved,
    torch.relu: _Rectifier.apply,
    torch.relu_: _Rectifier.apply,
}
