"""Frames changed on purpose: small changes of the microscope, and images with little biology left in them."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from hpiclock.plate.cache import FrameCache
from hpiclock.training.augment import GREY_MEAN, GREY_SD
from hpiclock.training.batches import plain_images
from hpiclock.training.evaluate import forward_batches, output_table
from hpiclock.training.model import TwoHeads

Perturbation = Callable[[Tensor], Tensor]
BORDER = 1 / 16  # of the side: what the border changes mask, and what "border only" leaves
TILES = 8  # per side


def heavy_blur(grey: Tensor) -> Tensor:
    """Blurred by a Gaussian of 1/8 of the side: no cell is left, only light and density."""
    return _blurred(grey, grey.shape[-1] / 8)


def vignette(grey: Tensor) -> Tensor:
    """Darker to the corners, by a quarter there."""
    line = torch.linspace(-1, 1, grey.shape[-1], device=grey.device)
    return grey * (1 - 0.125 * (line[:, None] ** 2 + line**2))


def shuffled_tiles(grey: Tensor) -> Tensor:
    """Cut into tiles put back in another order, the same for all: no structure above a tile is left."""
    side = grey.shape[-1] // TILES * TILES
    tile = side // TILES
    # (batch, 1, side, side) -> (batch, tile * tile, TILES * TILES)
    columns = F.unfold(grey[..., :side, :side], tile, stride=tile)
    order = torch.from_numpy(np.random.default_rng(0).permutation(TILES * TILES)).to(grey.device)
    mixed = grey.clone()
    mixed[..., :side, :side] = F.fold(columns[..., order], (side, side), tile, stride=tile)
    return mixed


def background_only(grey: Tensor) -> Tensor:
    """The smoothest third of the pixels; the rest, cells above all, replaced by the mean of the image."""
    mean = F.avg_pool2d(grey, 5, stride=1, padding=2, count_include_pad=False)
    square = F.avg_pool2d(grey**2, 5, stride=1, padding=2, count_include_pad=False)
    rough = square - mean**2
    limit, _ = rough.flatten(1).kthvalue(rough[0].numel() // 3, dim=1, keepdim=True)
    return torch.where(rough <= limit[..., None, None], grey, _mean(grey))


def _mean(grey: Tensor) -> Tensor:
    return grey.mean((-2, -1), keepdim=True)


# each of images (batch, 1, side, side) in 0..1
PERTURBATIONS: dict[str, Perturbation] = {
    "brighter": lambda grey: grey + 0.1,  # by a tenth of the grey range
    "darker": lambda grey: grey - 0.1,
    "less contrast": lambda grey: (grey - _mean(grey)) * 0.75 + _mean(grey),
    "defocus": lambda grey: _blurred(grey, grey.shape[-1] / 64),
    "vignette": vignette,
    "border masked": lambda grey: torch.where(_ring(grey), _mean(grey), grey),
    "shuffled tiles": shuffled_tiles,
    "heavy blur": heavy_blur,
    "border only": lambda grey: torch.where(_ring(grey), grey, _mean(grey)),
    "background only": background_only,
}
# little biology is left in these
SHORTCUTS = ("heavy blur", "border only", "background only", "shuffled tiles")


def predict_perturbed(
    model: TwoHeads, cache: FrameCache, frames: pd.DataFrame, *, changes: Iterable[str]
) -> pd.DataFrame:
    """Return a model's predictions of changed frames: ``change stack_id frame p_infected time_pred``.

    A prediction whose head the model lacks is missing.

    Args:
        model: a trained model on its device.
        cache: the frames' pixels.
        frames: a FRAMES table.
        changes: keys of :data:`PERTURBATIONS`.
    """
    names = list(changes)
    images = plain_images(cache, frames, model.device, "changed images")
    outputs = forward_batches(model, images, [partial(perturb, change=name) for name in names])
    tables = [output_table(model, output, torch.float32) for _, output in outputs]
    keys = frames[["stack_id", "frame"]].reset_index(drop=True)
    parts = []
    for number, name in enumerate(names):
        predicted = pd.concat(tables[number :: len(names)], ignore_index=True)
        parts.append(pd.concat([keys.assign(change=name), predicted], axis=1))
    return pd.concat(parts, ignore_index=True)[["change", "stack_id", "frame", "p_infected", "time_pred"]]


def perturb(images: Tensor, change: str) -> Tensor:
    """Change normalised images (batch, 1, side, side) by a key of :data:`PERTURBATIONS`, empty for none."""
    if not change:
        return images
    grey = PERTURBATIONS[change](images * GREY_SD + GREY_MEAN).clamp(0, 1)
    return (grey - GREY_MEAN) / GREY_SD


def _blurred(grey: Tensor, sigma: float) -> Tensor:
    reach = min(int(np.ceil(3 * sigma)), grey.shape[-1] - 1)
    line = torch.arange(-reach, reach + 1, device=grey.device, dtype=grey.dtype)
    kernel = torch.exp(-0.5 * (line / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(grey, (reach, reach, reach, reach), mode="reflect")
    across = F.conv2d(padded, kernel[None, None, None, :])
    return F.conv2d(across, kernel[None, None, :, None])


def _ring(grey: Tensor) -> Tensor:
    side = grey.shape[-1]
    width = max(1, round(BORDER * side))
    inside = torch.zeros(side, dtype=torch.bool, device=grey.device)
    inside[width : side - width] = True
    return ~(inside[:, None] & inside)
