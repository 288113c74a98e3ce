"""The views that victims see: the benchmark's, which are numbered, and the sub-pixel ones of Witches' Brew.

A view of pad p is an offset (row, column) in 0..2p each, and a mirror bit: view = mirror * (2p+1)^2 + row * (2p+1) +
column. Pad 4 has 81 views, 162 with mirror images. Source: the training transform of Schwarzschild et al. (2021),
torchvision's RandomCrop(size, padding=4) and RandomHorizontalFlip on 8-bit images with a black border. A sub-pixel view
is three numbers in 0..1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from poisonsets.manifests.errors import UsageError


def view_count(pad: int, *, flip: bool) -> int:
    """How many views an image has: (2 pad + 1)^2, twice that with mirror images."""
    return (2 * pad + 1) ** 2 * (2 if flip else 1)


def plain_view(pad: int) -> int:
    """The number of the unchanged image: the middle crop, not mirrored."""
    return pad * (2 * pad + 1) + pad


def as_input(images: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in 0..1, laid out channels-last."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def apply_views(images: Tensor, view_ids: Tensor, pad: int, *, flip: bool) -> Tensor:
    """Each image in its view, bit-equal to torchvision's pad, crop, flip and ToTensor.

    Args:
        images: uint8 [N, H, W, 3] on any device.
        view_ids: int64 [N] in 0..view_count(pad, flip)-1, on the same device; not checked, which would stall a GPU in
            every batch.
        pad: black pixels added on each side before the crop to H x W.
        flip: whether mirrored views exist.

    Returns:
        float32 [N, 3, H, W] in 0..1, laid out channels-last.

    Raises:
        UsageError: a shape or dtype is wrong.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UsageError(f"images are {images.dtype} {list(images.shape)}, wanted uint8 [N, H, W, 3]")
    if view_ids.dtype != torch.int64 or view_ids.shape != images.shape[:1]:
        raise UsageError(f"views are {view_ids.dtype} {list(view_ids.shape)}, wanted int64 [{len(images)}]")
    n, height, width, _ = images.shape
    offsets = 2 * pad + 1
    crop = view_ids % offsets**2
    rows = (crop // offsets)[:, None] + torch.arange(height, device=images.device)
    columns = (crop % offsets)[:, None] + torch.arange(width, device=images.device)
    if flip:
        columns = torch.where((view_ids >= offsets**2)[:, None], columns.flip(1), columns)
    padded_width, padded_height = width + 2 * pad, height + 2 * pad
    padded = F.pad(images, (0, 0, pad, pad, pad, pad))
    first = torch.arange(n, device=images.device)[:, None, None] * (padded_height * padded_width)
    pixels = first + rows[:, :, None] * padded_width + columns[:, None, :]
    # On a CPU a third of the time that an index in brackets takes: it copies whole pixels, not values.
    shown = padded.reshape(-1, 3).index_select(0, pixels.flatten())
    return as_input(shown.view(images.shape))


def apply_shifts(images: Tensor, draws: Tensor, reach: int, *, flip: bool, outside: Tensor) -> Tensor:
    """Each image shifted continuously and mirrored half the time: the training views of Witches' Brew.

    Source: Geiping et al. (2021) in the form of their code: the shift is uniform in plus or minus `reach` pixels in
    both directions, bilinear between pixels; the mirroring comes after it.

    Args:
        images, flip: as for `apply_views`.
        draws: float32 [N, 3] in 0..1: shift across, shift down, mirrored if above one half.
        reach: the largest shift in pixels.
        outside: float32 [1, 3, 1, 1] in 0..1, the colour around an image; its mean colour as published.

    Returns:
        As `apply_views`.
    """
    shown = shifted(as_input(images), draws, (2 * reach, 2 * reach), flip=flip, outside=outside)
    return shown.clamp_(0, 1).contiguous(memory_format=torch.channels_last)


def shifted(images: Tensor, draws: Tensor, spans: tuple[int, int], *, flip: bool, outside: Tensor) -> Tensor:
    """`apply_shifts` of float32 images: gradients flow to them, and nothing is clamped.

    Args:
        images: float32 [N, 3, H, W] in 0..1.
        draws, flip, outside: as for `apply_shifts`.
        spans: pixels between the furthest shifts, down and across.
    """
    count, channels, height, width = images.shape
    down = _interpolation(height, (draws[:, 1:2] - 0.5) * spans[0])
    across = _interpolation(width, (draws[:, :1] - 0.5) * spans[1], draws[:, 2:] > 0.5 if flip else None)
    # Two products of rows and columns, because the gradient of a sampled grid differs from run to run on a GPU.
    rows = (images - outside).reshape(count, channels * height, width)
    moved = torch.bmm(rows, across.transpose(1, 2)).view(images.shape)
    return torch.matmul(down[:, None], moved).add_(outside)


def _interpolation(side: int, shifts: Tensor, mirrored: Tensor | None = None) -> Tensor:
    """The weights float32 [N, side, side] of each pixel (columns) in each pixel shown (rows): linear, 0 outside.

    Args:
        side: pixels.
        shifts: float32 [N, 1] in pixels.
        mirrored: bool [N, 1], which are shown mirrored after the shift.
    """
    pixels = torch.arange(side, dtype=shifts.dtype, device=shifts.device)
    places = pixels + shifts
    if mirrored is not None:
        places = torch.where(mirrored, side - 1 - places, places)
    return (places[:, :, None] - pixels).abs_().neg_().add_(1).clamp_(min=0)
