"""Gradients by the weights of a folded network, as gradients by those of the network it was folded from.

In eval mode a convolution W, b and its batch normalisation gamma, beta, mean, var compute the convolution of s W and
beta + (b - mean) s with s = gamma / sqrt(var + eps). The gradients by W, b, gamma and beta are therefore linear in
those by the folded weight and bias, with factors that no image changes: a graph need only hold the folded network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from poisonsets.victims.networks.classifier import Classifier
from poisonsets.victims.networks.fold import foldable, folded


@dataclass(frozen=True)
class _Pair:
    """The names of a convolution and its batch normalisation, and the filters [O, I, h, w], channels-last."""

    conv: str
    bn: str
    biased: bool
    filters: Tensor
    scale: Tensor


class Unfolding:
    """The linear map from gradients of the folded network to those of the network, and its adjoint.

    A gradient of the network is one vector [D]: its trainable tensors in their order, filters as they lie
    channels-last (another order would cost a copy).

    Args:
        network: on the device, in eval mode; neither modified here nor to be modified while this is in use.

    Attributes:
        folded: the folded network.
        weights: its trainable tensors by name.
        size: D.
    """

    def __init__(self, network: Classifier) -> None:
        self.folded = folded(network)
        self.weights = {name: tensor.detach() for name, tensor in self.folded.named_parameters()}
        self._shapes = {name: tensor.shape for name, tensor in network.named_parameters()}
        self.size = sum(shape.numel() for shape in self._shapes.values())
        self._pairs, rates, offsets = [], [], []
        for conv_name, bn_name in foldable(network):
            conv, bn = network.get_submodule(conv_name), network.get_submodule(bn_name)
            rate, offset = _rate_and_offset(conv, bn)
            filters = conv.get_parameter("weight").detach().contiguous(memory_format=torch.channels_last)
            scale = (rate * bn.get_parameter("weight").detach()).view(-1, 1, 1, 1)
            self._pairs.append(_Pair(conv_name, bn_name, f"{conv_name}.bias" in self._shapes, filters, scale))
            rates.append(rate)
            offsets.append(offset)
        self._counts = [len(rate) for rate in rates]
        self._rate, self._offset = (torch.cat(each) if each else torch.zeros(0) for each in (rates, offsets))
        self._scale = torch.cat([pair.scale.flatten() for pair in self._pairs]) if self._pairs else torch.zeros(0)
        merged = {f"{pair.conv}.{kind}" for pair in self._pairs for kind in ("weight", "bias")}
        self._others = [name for name in self.weights if name not in merged]

    def gradient(self, slopes: Sequence[Tensor]) -> Tensor:
        """The gradient [D] by the network's tensors, from those by `weights`, in their order; without a graph."""
        given = dict(zip(self.weights, (one.detach() for one in slopes), strict=True))
        found = torch.empty(self.size, device=slopes[0].device)
        views = self._views(found)
        filled = {name: given[name] for name in self._others}
        if self._pairs:
            along = []  # each filter's gradient times the filter
            for pair in self._pairs:
                slope, view = given[f"{pair.conv}.weight"], views[f"{pair.conv}.weight"]
                # Nothing as large as a filter is made on the way: to fill fresh memory costs more than the product.
                along.append(_rows(torch.mul(slope, pair.filters, out=view)).sum(1))
                torch.mul(slope, pair.scale, out=view)
            of_beta = torch.cat([given[f"{pair.conv}.bias"] for pair in self._pairs])
            of_gamma = torch.cat(along).addcmul_(of_beta, self._offset).mul_(self._rate)
            of_bias = of_beta * self._scale
            each = (torch.split(values, self._counts) for values in (of_gamma, of_beta, of_bias))
            for pair, gamma, beta, bias in zip(self._pairs, *each, strict=True):
                filled |= {f"{pair.bn}.weight": gamma, f"{pair.bn}.bias": beta}
                if pair.biased:
                    filled[f"{pair.conv}.bias"] = bias
        torch._foreach_copy_([views[name] for name in filled], list(filled.values()))
        return found

    def adjoint(self, direction: Tensor) -> list[Tensor]:
        """For a direction [D] the tensors v, as `weights` lie, with <v, slopes> = <direction, gradient(slopes)>.

        They take the place of the direction in memory.
        """
        views = self._views(direction)
        found = {name: views[name] for name in self._others}
        if self._pairs:
            of_gamma = torch.cat([views[f"{pair.bn}.weight"] for pair in self._pairs]).mul_(self._rate)
            of_bias = torch.cat([views[f"{pair.bn}.bias"] for pair in self._pairs]).addcmul_(of_gamma, self._offset)
            if any(pair.biased for pair in self._pairs):
                nothing = torch.split(torch.zeros_like(self._scale), self._counts)
                each = zip(self._pairs, nothing, strict=True)
                biases = [views[f"{pair.conv}.bias"] if pair.biased else none for pair, none in each]
                of_bias.addcmul_(torch.cat(biases), self._scale)
            parts = (torch.split(values, self._counts) for values in (of_gamma, of_bias))
            for pair, gamma, bias in zip(self._pairs, *parts, strict=True):
                of_filters = views[f"{pair.conv}.weight"].mul_(pair.scale)
                found[f"{pair.conv}.weight"] = of_filters.addcmul_(pair.filters, gamma.view(-1, 1, 1, 1))
                found[f"{pair.conv}.bias"] = bias
        return [found[name] for name in self.weights]

    def _views(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector [D], each in its tensor's shape."""
        parts = torch.split(vector, [shape.numel() for shape in self._shapes.values()])
        return {name: _shaped(part, shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}


def _rate_and_offset(conv: nn.Module, bn: nn.Module) -> tuple[Tensor, Tensor]:
    """1 / sqrt(var + eps) and b - mean, [O]."""
    if not isinstance(conv, nn.Conv2d) or not isinstance(bn, nn.BatchNorm2d):
        raise TypeError("only a convolution and its batch normalisation can be unfolded")
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None:
        raise TypeError("batch normalisation without running statistics has no eval mode to fold")
    return torch.rsqrt(variance + bn.eps), -mean if conv.bias is None else conv.bias.detach() - mean


def _rows(filters: Tensor) -> Tensor:
    """Filters [O, I, h, w] as rows [O, h * w * I], without a copy where they lie channels-last."""
    return filters.permute(0, 2, 3, 1).flatten(1)


def _shaped(part: Tensor, shape: torch.Size) -> Tensor:
    if len(shape) != 4:
        return part.view(shape)
    outputs, inputs, height, width = shape
    return part.view(outputs, height, width, inputs).permute(0, 3, 1, 2)
