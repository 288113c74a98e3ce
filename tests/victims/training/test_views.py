from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.training.views import apply_views, as_input, plain_view, view_count

IMAGES = torch.randint(0, 256, (162, 10, 7, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def by_torchvision(image: torch.Tensor, view: int, pad: int) -> torch.Tensor:
    mirrored, crop = divmod(view, (2 * pad + 1) ** 2)
    row, column = divmod(crop, 2 * pad + 1)
    picture = Image.fromarray(image.numpy())
    height, width = image.shape[:2]
    picture = tv.crop(tv.pad(picture, [pad]), row, column, height, width)
    if mirrored:
        picture = tv.horizontal_flip(picture)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).to(torch.float32).div(255)


@pytest.mark.parametrize("pad", [0, 1, 4])
def test_every_view_is_torchvisions_bit_for_bit(pad: int) -> None:
    views = torch.arange(view_count(pad, flip=True))
    found = apply_views(IMAGES[: len(views)], views, pad, flip=True)
    wanted = torch.stack([by_torchvision(IMAGES[i], int(view), pad) for i, view in enumerate(views)])
    assert torch.equal(found, wanted)


def test_to_tensor_is_torchvisions() -> None:
    from torchvision.transforms.functional import to_tensor

    every_level = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    assert torch.equal(as_input(torch.from_numpy(every_level)[None])[0], to_tensor(every_level))


@pytest.mark.parametrize("flip", [False, True])
def test_the_plain_view_is_the_image(flip: bool) -> None:
    views = torch.full((len(IMAGES),), plain_view(4))
    assert torch.equal(apply_views(IMAGES, views, 4, flip=flip), as_input(IMAGES))


def test_pad_4_has_81_views_and_162_with_mirror_images() -> None:
    assert (view_count(4, flip=False), view_count(4, flip=True)) == (81, 162)


def test_a_view_does_not_depend_on_its_neighbours() -> None:
    views = torch.arange(162)
    order = torch.randperm(162, generator=torch.Generator().manual_seed(2))
    together = apply_views(IMAGES, views, 4, flip=True)
    assert torch.equal(apply_views(IMAGES[order], views[order], 4, flip=True), together[order])


def test_wrong_kinds_are_refused() -> None:
    views = torch.zeros(162, dtype=torch.int64)
    with pytest.raises(UsageError, match="wanted uint8"):
        apply_views(IMAGES.float(), views, 4, flip=False)
    with pytest.raises(UsageError, match="wanted uint8"):
        apply_views(IMAGES.permute(0, 3, 1, 2), views, 4, flip=False)
    with pytest.raises(UsageError, match="wanted int64"):
        apply_views(IMAGES, views[:5], 4, flip=False)
