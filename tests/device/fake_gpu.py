"""A GPU where there is none: code may ask for `cuda`, its data stay on the CPU, and what CUDA refuses raises.

The storage of a tensor on the GPU is marked. One mode carries tensors over (`to`, `cpu`, factories), another checks
every operator, those of backward passes too; what torch tells about devices is patched for as long as the block runs.

It knows nothing of time, memory, rounding, streams and compiled code, and autocast casts what it casts on a CPU. What
a composite operator or the autograd engine makes is taken to be where its caller's tensors are, and nobody checks where
the gradients are that a backward pass is started with.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeAlias
from unittest.mock import patch

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE: Final = torch.device("cuda", 0)
MODEL: Final = "a GPU that is not there"
Places: TypeAlias = Counter[tuple[str, str]]
"""How often something happened, by what it was and the line of `poisonsets` that asked for it."""

_SYNCS: Final = {
    "_linalg_check_errors",
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
}
# Kernels that add atomically or choose one of equals, in an order that no two runs share: all that
# `torch.use_deterministic_algorithms` replaces or refuses on CUDA but those that only write, which differ from run to
# run where an index occurs twice, and convolutions, which have a switch of their own.
_ATOMIC: Final = {
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "_ctc_loss_backward",
    "_embedding_bag_backward",
    "_embedding_bag_dense_backward",
    "_upsample_bicubic2d_aa_backward",
    "_upsample_bilinear2d_aa_backward",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d_backward",
    "avg_pool3d_backward",
    "cumsum",
    "embedding_dense_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "histc",
    "index_add",
    "kthvalue",
    "max_pool3d_with_indices_backward",
    "max_unpool2d",
    "max_unpool3d",
    "median.dim",
    "nanmedian.dim",
    "nll_loss2d_backward",
    "nll_loss2d_forward",
    "put",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "replication_pad1d_backward",
    "replication_pad2d_backward",
    "replication_pad3d_backward",
    "scatter_add",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_linear1d_backward",
    "upsample_trilinear3d_backward",
}
# Those that have another kernel where PyTorch is told to use deterministic ones; the rest raise then.
_REPLACED: Final = {
    "_embedding_bag_dense_backward",
    "cumsum",
    "embedding_dense_backward",
    "index_add",
    "max_pool3d_with_indices_backward",
    "replication_pad1d_backward",
    "replication_pad2d_backward",
    "replication_pad3d_backward",
    "scatter_add",
    "scatter_reduce",
}


@dataclass
class Gpu:
    """What the GPU was asked for.

    Attributes:
        faults: what CUDA would have refused, in words like its own.
        random: what gives other bytes in each run: atomic sums, and draws without a generator.
        syncs: where the host waited for the device.
        launches: every operator that computes there.
        count: how many GPUs there seem to be; whichever is asked for, the first one computes.
        begun: CUDA is in use, so that its allocator can be asked.
    """

    faults: Places = field(default_factory=Counter)
    random: Places = field(default_factory=Counter)
    syncs: Places = field(default_factory=Counter)
    launches: Places = field(default_factory=Counter)
    count: int = 1
    begun: bool = False

    def refuse(self, what: str) -> NoReturn:
        """Note a fault and raise it: whoever swallows the error does not hide the fault.

        Raises:
            RuntimeError: always.
        """
        _note(self.faults, what)
        raise RuntimeError(what)

    def begin(self) -> None:
        """Begin CUDA."""
        self.begun = True

    def reset_statistics(self, _device: object = None) -> None:
        """As `torch.cuda.reset_peak_memory_stats`.

        Raises:
            RuntimeError: CUDA has not begun.
        """
        if not self.begun:
            self.refuse("Invalid device argument 0: did you call init?")

    def put(self, found: object, *, there: bool) -> None:
        """Mark the storages of all tensors in a structure as on the GPU, or as on the CPU."""
        self.begun |= there
        for tensor in _tensors(found):
            _storage(tensor).on_gpu = there

    def pin(self, source: Tensor) -> Tensor:
        """A copy in pinned memory, from which a GPU copies without being waited for."""
        if on_gpu(source):
            self.refuse("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")
        found = source.clone()
        _storage(found).pinned = True
        return found


def on_gpu(tensor: Tensor) -> bool:
    """Whether a tensor is on the GPU."""
    return getattr(_storage(tensor), "on_gpu", False)


@contextmanager
def fake_gpu() -> Iterator[Gpu]:
    """While the block runs there is one GPU, `cuda:0`; all that happens on it is written down."""
    gpu = Gpu()
    functions = _Functions(gpu)
    with ExitStack() as stack:
        for owner, name, value in _patches(gpu):
            stack.enter_context(patch.object(owner, name, value, create=True))
        stack.enter_context(_Operators(gpu, functions))
        stack.enter_context(functions)
        yield gpu


def _patches(gpu: Gpu) -> list[tuple[object, str, object]]:
    """What torch tells about devices, as it would with a GPU: owner, name and new value."""
    cast, device_of = torch.amp.autocast_mode.autocast, torch._C.TensorBase.device.__get__
    begin_cast, is_cast, cast_type = cast.__init__, torch.is_autocast_enabled, torch.get_autocast_dtype
    return [
        (Tensor, "device", property(lambda tensor: DEVICE if on_gpu(tensor) else device_of(tensor))),
        (Tensor, "is_cuda", property(on_gpu)),
        (cast, "__init__", lambda self, kind, *rest, **named: begin_cast(self, _on_cpu(kind), *rest, **named)),
        (torch, "is_autocast_enabled", lambda kind="cpu": is_cast(_on_cpu(kind))),
        (torch, "get_autocast_dtype", lambda kind="cpu": cast_type(_on_cpu(kind))),
        (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "device_count", lambda: gpu.count),
        (torch.cuda, "get_device_name", lambda _device=None: MODEL),
        (torch.cuda, "max_memory_allocated", lambda _device=None: 0),
        (torch.cuda, "empty_cache", lambda: None),
        (torch.cuda, "set_device", lambda _device: None),
        (torch.cuda, "reset_peak_memory_stats", gpu.reset_statistics),
        (torch.cuda, "_lazy_init", gpu.begin),
        # An optimiser whose parameters are on a GPU asks CUDA whether a graph is being captured.
        (torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda self: None),
    ]


class _Functions(TorchFunctionMode):
    """Carries tensors over, and makes on the CPU what is wanted on the GPU.

    Attributes:
        callers: for each function that is running, the outermost first, whether it computes on the GPU.
    """

    def __init__(self, gpu: Gpu) -> None:
        super().__init__()
        self._gpu = gpu
        self.callers: list[bool] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(name, *args, **given)
        if func is Tensor.pin_memory:
            return self._gpu.pin(args[0])
        there = any(on_gpu(tensor) for tensor in _tensors((args, given)))
        wanted = None if given.get("device") is None else torch.device(given["device"]).type
        self._check(func, name, there, wanted, given.get("generator"))
        if wanted == "cuda":
            given["device"] = "cpu"
        self.callers.append(there if wanted is None else wanted == "cuda")
        try:
            found = func(*args, **given)
        finally:
            there = self.callers.pop()
        if wanted in ("cpu", "cuda") or func is Tensor.__deepcopy__:
            self._gpu.put(found, there=there)
        return found

    def _check(
        self, func: Callable[..., Any], name: str, there: bool, wanted: str | None, generator: torch.Generator | None
    ) -> None:
        if there and func in (Tensor.numpy, Tensor.__array__):
            self._gpu.refuse("can't convert cuda:0 device type tensor to numpy")
        if there and func is Tensor.tolist:
            _note(self._gpu.syncs, "tolist")
        if wanted == "cuda" and name in ("tensor", "as_tensor"):
            _note(self._gpu.syncs, f"{name} from the host")
        if wanted == "cuda":
            self._check_generator(name, generator)

    def _check_generator(self, name: str, generator: torch.Generator | None) -> None:
        if generator is not None and generator.device.type == "cpu":
            self._gpu.refuse(f"Expected a 'cuda' device type for generator but found 'cpu': {name}")

    def _moved(self, name: str, source: Tensor, *args: Any, copy: bool = False, **named: Any) -> Tensor:
        device, dtype, memory_format, waits = torch.device(name) if name != "to" else None, None, None, True
        if name == "to":
            device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **named)
            waits = not (non_blocking and getattr(_storage(source), "pinned", False))
        was = on_gpu(source)
        goes = was if device is None else device.type == "cuda"
        found: Tensor = torch._C.TensorBase.to(
            source, dtype or source.dtype, copy=copy or was != goes, memory_format=memory_format
        )
        if was != goes:
            if waits or was:
                _note(self._gpu.syncs, "to the device" if goes else "to the host")
            self._gpu.put(found, there=goes)
        return found


class _Operators(TorchDispatchMode):
    """Refuses what CUDA's operators refuse, and says where their results are."""

    def __init__(self, gpu: Gpu, functions: _Functions) -> None:
        super().__init__()
        self._gpu, self._functions = gpu, functions

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        name = func._schema.name.split("::")[1]
        given = _tensors((args, named))
        there = [tensor for tensor in given if on_gpu(tensor)]
        if there:
            self._check(func, name, args, named, given)
        # A factory in a composite operator has no tensor to go by, only the function that called it.
        made_there = not given and (not self._functions.callers or self._functions.callers[-1])
        if (there or made_there) and _is_random(func, args, named):
            self._note_random(func, name)
        found = func(*args, **named)
        if there or made_there:
            fresh = [tensor for tensor in _tensors(found) if not _among(tensor, given)]
            self._gpu.put(fresh, there=True)
        return found

    def _note_random(self, func: OpOverload, name: str) -> None:
        deterministic = torch.are_deterministic_algorithms_enabled()
        if deterministic and name.removesuffix("_") in _REPLACED:
            return
        _note(self._gpu.random, name)
        if deterministic and torch.Tag.nondeterministic_seeded not in func.tags:
            self._gpu.refuse(f"{name}_cuda does not have a deterministic implementation, but you set a flag")

    def _check(
        self,
        func: OpOverload,
        name: str,
        args: Sequence[Any],
        named: dict[str, Any],
        given: list[Tensor],
    ) -> None:
        """An operator with an operand on the GPU."""
        gpu, first, generator = self._gpu, args[0], named.get("generator")
        indices = _tensors(args[1]) if "index" in name and len(args) > 1 and isinstance(args[1], list) else []
        here = [tensor for tensor in given if not on_gpu(tensor) and not tensor.is_meta]
        if here and name != "copy_" and not _may_stay(func, name, first, here, indices):
            gpu.refuse(f"Expected all tensors to be on the same device, but found cuda:0 and cpu: {name}")
        if generator is not None and generator.device.type == "cpu":
            gpu.refuse(f"Expected a 'cuda' device type for generator but found 'cpu': {name}")
        if name.startswith("scatter_reduce") and first.dtype == torch.bool:
            gpu.refuse("\"cuda_scatter_gather_base_kernel_func\" not implemented for 'Bool'")
        if "_fused_" in name and any(_laid_otherwise(first, other) for other in args[1:] if isinstance(other, list)):
            gpu.refuse("fused optimiser: parameters, gradients and buffers have other strides")

        masks = any(index.dtype == torch.bool for index in indices)
        if name in _SYNCS or masks or (here and (name == "copy_" or indices)):
            _note(gpu.syncs, name)
        if not func.is_view:
            _note(gpu.launches, name)


def _is_random(func: OpOverload, args: Sequence[Any], named: dict[str, Any]) -> bool:
    """Whether an operator gives other bytes in each run: it draws without a generator, or it is among `_ATOMIC`."""
    if torch.Tag.nondeterministic_seeded in func.tags and named.get("generator") is None:
        return True
    name = func._schema.name.split("::")[1].removesuffix("_")
    first = args[0] if args else None
    if not isinstance(first, Tensor):
        return False
    if name == "bincount":
        return bool(named.get("weights") is not None or len(args) > 1)
    if name == "scatter_reduce":
        return first.is_floating_point() and named.get("reduce", args[-1]) in ("sum", "mean", "prod")
    # Sums of integers are the same in any order, and so are sums of one value.
    listed = first.is_floating_point() and bool({name, f"{name}.{func._overloadname}"} & _ATOMIC)
    if name in ("index_add", "scatter_add"):
        return listed and _repeats(args[2], args[1] if name == "scatter_add" else 0)
    return listed


def _repeats(index: Tensor, dim: int) -> bool:
    """Whether a place occurs twice along a dimension."""
    with torch._C.DisableTorchFunction():
        places = index.sort(dim).values.movedim(dim, 0)
        return bool((places[1:] == places[:-1]).any())


def _may_stay(func: OpOverload, name: str, first: object, here: list[Tensor], indices: list[Tensor]) -> bool:
    """Whether operands on the CPU may stand beside one on the GPU: single values, and indices of a tensor there."""
    if any(tensor.dim() for tensor in here if not _among(tensor, indices)):
        return False
    if indices:
        return isinstance(first, Tensor) and on_gpu(first)
    return torch.Tag.pointwise in func.tags or "masked_fill" in name


def _laid_otherwise(values: list[Tensor], others: list[Tensor]) -> bool:
    return any(
        value.shape == other.shape and value.is_contiguous() != other.is_contiguous()
        for value, other in zip(values, others, strict=False)  # a list of buffers is empty where there are none yet
    )


def _among(tensor: Tensor, others: list[Tensor]) -> bool:
    return any(tensor is other for other in others)


def _tensors(found: object) -> list[Tensor]:
    # All that operators take and give; torch's own walk takes half of the time of a test.
    if isinstance(found, Tensor):
        return [found]
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list | tuple) else ()
    return [tensor for one in inner for tensor in _tensors(one)]


def _storage(tensor: Tensor) -> Any:
    # The modes must not see what they ask.
    with torch._C.DisableTorchFunction():
        return torch._C.TensorBase.untyped_storage(tensor)


def _on_cpu(kind: str) -> str:
    return kind.replace("cuda", "cpu")


def _note(places: Places, what: str) -> None:
    frame = inspect.currentframe()
    while frame and not frame.f_globals.get("__name__", "").startswith("poisonsets."):
        frame = frame.f_back
    places[what, f"{frame.f_globals['__name__']}:{frame.f_lineno}" if frame else "elsewhere"] += 1
