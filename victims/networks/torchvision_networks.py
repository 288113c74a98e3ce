"""`torchvision:NAME`: any torchvision classifier up to its last linear layer, with weights drawn here.

Weights are never downloaded; they are drawn as torchvision draws them, but from the generator passed in. What differs
from torchvision's networks: there are no auxiliary classifiers, and no dropout or stochastic depth happens, which would
draw from PyTorch's global generator; adaptive pools have a gradient that is the same in each run on a GPU; the head is
ours, with PyTorch's default initialisation. There is no width multiplier.
"""

from functools import partial

from torch import Tensor, nn

from poisonsets.victims.networks import Collection, collect
from poisonsets.victims.networks.classifier import Body, averaged, refuse_width
from poisonsets.victims.networks.library import LibraryBody, has_weights, pieces_of

_OPTIONS = {name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")}


def _members() -> tuple[str, ...]:
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


def _model(name: str) -> nn.Module:
    import torchvision

    model: nn.Module = torchvision.models.get_model(name, weights=None, **_OPTIONS.get(name, {}))
    for place, piece in list(model.named_modules()):
        if isinstance(piece, nn.AdaptiveAvgPool2d):
            match piece.output_size:
                case (int(side), _) if side > 1:  # the others are means
                    model.set_submodule(place, _Averaged(side))
    return model


class _Averaged(nn.Module):
    """An adaptive pool whose gradient is the same in each run on a GPU."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self._side = side

    def forward(self, maps: Tensor) -> Tensor:
        return averaged(maps, self._side)


def _last_block(model: nn.Module) -> nn.Module:
    """The last piece with a convolution; in transformers, the patch embedding."""
    return [piece for piece in pieces_of(model) if has_weights(piece, nn.Conv2d)][-1]


def _made(name: str, width: str) -> tuple[Body, int]:
    spelled = f"torchvision:{name}"
    refuse_width(spelled, width)
    body = LibraryBody(spelled, partial(_model, name), _last_block)
    return body, body.feature_width


collect("torchvision", Collection(_members, _made))
