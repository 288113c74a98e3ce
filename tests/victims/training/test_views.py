from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from device.fake_gpu import DEVICE, fake_gpu
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.training.views import apply_views, as_input, plain_view, shifted, view_count

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


def sampled(images: torch.Tensor, draws: torch.Tensor, flip: bool, outside: torch.Tensor) -> torch.Tensor:
    """As `shifted` with spans (4, 3), by a sampled grid."""
    height, width = images.shape[-2:]
    down = torch.linspace(-1, 1, height) + (2 * draws[:, [1]] - 1) * (4 / (height - 1))
    across = torch.linspace(-1, 1, width) + (2 * draws[:, [0]] - 1) * (3 / (width - 1))
    if flip:
        across = torch.where(draws[:, 2:] > 0.5, -across, across)
    grid = torch.stack([across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], dim=-1)
    return F.grid_sample(images - outside, grid, align_corners=True) + outside


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("flip", [False, True])
def test_a_shift_and_its_gradient_are_those_of_a_sampled_grid(flip: bool, layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(40, 3, 11, 8, generator=generator).contiguous(memory_format=layout).requires_grad_()
    draws = torch.rand(40, 3, generator=generator)
    draws[:4] = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [0.5, 0.5, 1.0]])
    outside, slope = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1), torch.rand(40, 3, 11, 8, generator=generator)
    found, wanted = shifted(images, draws, (4, 3), flip=flip, outside=outside), sampled(images, draws, flip, outside)
    torch.testing.assert_close(found, wanted, rtol=0, atol=3e-6)
    gradients = [torch.autograd.grad(views, images, slope)[0] for views in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[2], images[2], rtol=0, atol=1e-7)


def test_the_gradient_of_a_shift_is_the_same_in_every_run_on_a_gpu() -> None:
    with fake_gpu() as gpu:
        images = torch.full((2, 3, 5, 4), 0.3, device=DEVICE).requires_grad_()
        draws, outside = torch.full((2, 3), 0.7, device=DEVICE), torch.full((1, 3, 1, 1), 0.5, device=DEVICE)
        views = shifted(images, draws, (4, 3), flip=True, outside=outside)
        torch.autograd.grad(views.square().sum(), images)
    assert gpu.launches
    assert not gpu.random + gpu.faults + gpu.syncs
