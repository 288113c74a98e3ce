"""A long run on disk: one safetensors file from which training resumes and ends with the same bytes as without a break.

Its arrays are the model, the optimiser's buffers, the generator's state and what a recorder has seen; its record is the
run's key and the number of epochs done. Nothing in it is executed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import array_file, store
from poisonsets.victims.networks.weights import arrays_of, tensors_of

HEADER_BYTES: Final = 16 << 20
"""Room for four entries a tensor: its own and those of the optimiser's buffers."""


class Recorder(Protocol):
    """Looks at a run without changing it, and is kept with it: `trainers.recorder.NetworkRecorder`."""

    def step(self) -> None:
        """Called in each step while the batch's gradients stand beside the values they were taken at."""

    def epoch(self) -> None:
        """Called after the last step of each epoch, before the run is kept."""

    def state(self) -> Tensor:
        """Float32 on the CPU, one row for each finished epoch."""

    def restore(self, seen: Tensor, /) -> None:
        """Go on from a state; a ValueError if it is another recorder's."""


@dataclass(frozen=True)
class Checkpoint:
    """Where one run is kept.

    Attributes:
        path: the file; it is there in full or not at all.
        key: names the run: everything that decides its bytes, and what a recorder looks at.
        every: epochs between two writes; the last epoch is always kept, so that a finished run is not done again.
    """

    path: Path
    key: str
    every: int = 10

    def resume(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        recorder: Recorder | None = None,
    ) -> int:
        """Restore the kept run into all arguments; returns the epochs it had done, 0 without a file.

        Raises:
            DamagedError: the file is damaged, or of another run.
            MissingError: it cannot be read.
        """
        if not self.path.exists():
            return 0
        remedy = f"Remove {self.path}, the victim is trained again from the start"
        file = array_file.read(self.path, self._refuse_other, limit=6 << 30, remedy=remedy, header_limit=HEADER_BYTES)
        tensors = tensors_of(file.arrays)
        try:
            _restore(tensors, model, optimizer, generator)
            if recorder:
                if len(tensors["recorder"]) != file.record["epochs"]:
                    raise ValueError("not every epoch was recorded")
                recorder.restore(tensors["recorder"])
            return int(file.record["epochs"])
        except (ValueError, LookupError, TypeError, RuntimeError) as error:
            raise DamagedError(f"{self.path}: no checkpoint of this victim ({str(error)[:120]})", remedy) from error

    def save(
        self,
        done: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        recorder: Recorder | None = None,
    ) -> None:
        """Write the run as it is after `done` epochs; MissingError where the file cannot be written."""
        tensors = _tensors(model, optimizer, generator) | ({"recorder": recorder.state()} if recorder else {})
        array_file.write(self.path, {"key": self.key, "epochs": done}, arrays_of(tensors))

    def remove(self) -> None:
        """Remove the file if there is one; MissingError where the disk or its permissions refuse."""
        store.remove_file(self.path, missing_ok=True)

    def _refuse_other(self, record: dict[str, Any]) -> None:
        if record.get("key") != self.key or type(record.get("epochs")) is not int:
            raise DamagedError(f"{self.path}: the checkpoint of another run")


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> dict[str, Tensor]:
    found = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for place, buffers in optimizer.state_dict()["state"].items():
        found |= {f"optimiser.{place}.{name}": value for name, value in buffers.items() if value is not None}
    found["generator"] = generator.get_state()
    return found


def _restore(
    tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> None:
    values = [value for group in optimizer.param_groups for value in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            place, _, buffer = rest.partition(".")
            state.setdefault(int(place), {})[buffer] = tensor
            if buffer != "step":
                state[int(place)][buffer] = _laid_as(values[int(place)], tensor, name)
    model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    generator.set_state(tensors["generator"])


def _laid_as(value: Tensor, buffer: Tensor, name: str) -> Tensor:
    """A buffer in its parameter's memory format: files hold none, and a fused step walks both as they lie."""
    if buffer.shape != value.shape:
        raise ValueError(f"buffer {name} is {list(buffer.shape)}")
    return torch.empty_like(value).copy_(buffer)
