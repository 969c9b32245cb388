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
    # (batch, n_frames, side, side) -> (batch, n_frames * tile * tile, TILES * TILES)
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
    limit, _ = rough.flatten(2).kthvalue(rough[0, 0].numel() // 3, dim=2, keepdim=True)
    return torch.where(rough <= limit[..., None], grey, _mean(grey))


def _mean(grey: Tensor) -> Tensor:
    return grey.mean((-2, -1), keepdim=True)


# each of images (batch, n_frames, side, side) in 0..1
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
# of what is read together with a frame: no movement, or movement that no culture makes
OF_CONTEXT: dict[str, Perturbation] = {
    "one frame repeated": lambda grey: grey[:, :1].expand_as(grey),
    "earlier frames exchanged": lambda grey: torch.cat([grey[:, :1], grey[:, 1:].flip(1)], dim=1),
    "order reversed": lambda grey: grey.flip(1),
}
# little biology is left in these
SHORTCUTS = ("heavy blur", "border only", "background only", "shuffled tiles")


def changes_for(n_frames: int) -> tuple[str, ...]:
    """Return the names of the changes of images in which so many frames are read together.

    Of two frames there is no other order of the earlier one.
    """
    of_context = [name for name in OF_CONTEXT if n_frames > 2 or name != "earlier frames exchanged"]
    return (*PERTURBATIONS, *(of_context if n_frames > 1 else ()))


def predict_perturbed(
    model: TwoHeads, cache: FrameCache, frames: pd.DataFrame, *, changes: Iterable[str]
) -> pd.DataFrame:
    """Return a model's predictions of changed frames: ``change stack_id frame p_infected time_pred``.

    With a time head per clock ``time_mock`` and ``time_infected`` are there, too. A prediction whose head
    the model lacks is missing.

    Args:
        model: a trained model on its device.
        cache: the frames' pixels.
        frames: a FRAMES table.
        changes: keys of :data:`PERTURBATIONS`, and of :data:`OF_CONTEXT` where several frames are read.
    """
    names = list(changes)
    images = plain_images(cache, frames, model.device, "changed images")
    outputs = forward_batches(model, images, [partial(perturb, change=name) for name in names])
    tables = [output_table(model, output, torch.float32) for _, output in outputs]
    keys = frames[["stack_id", "frame"]].reset_index(drop=True)
    parts = []
    for number, name in enumerate(names):
        predicted = pd.concat(tables[number :: len(names)], ignore_index=True)
        parts.append(pd.concat([keys.assign(change=name)[["change", *keys]], predicted], axis=1))
    return pd.concat(parts, ignore_index=True)


def perturb(images: Tensor, change: str) -> Tensor:
    """Change normalised images (batch, n_frames, side, side) by a name, empty for none."""
    if not change:
        return images
    grey = (PERTURBATIONS | OF_CONTEXT)[change](images * GREY_SD + GREY_MEAN).clamp(0, 1)
    return (grey - GREY_MEAN) / GREY_SD


def _blurred(grey: Tensor, sigma: float) -> Tensor:
    reach = min(int(np.ceil(3 * sigma)), grey.shape[-1] - 1)
    line = torch.arange(-reach, reach + 1, device=grey.device, dtype=grey.dtype)
    kernel = torch.exp(-0.5 * (line / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(grey, (reach, reach, reach, reach), mode="reflect")
    n_frames = grey.shape[1]
    across = F.conv2d(padded, kernel.expand(n_frames, 1, 1, -1), groups=n_frames)
    return F.conv2d(across, kernel[:, None].expand(n_frames, 1, -1, 1), groups=n_frames)


def _ring(grey: Tensor) -> Tensor:
    side = grey.shape[-1]
    width = max(1, round(BORDER * side))
    inside = torch.zeros(side, dtype=torch.bool, device=grey.device)
    inside[width : side - width] = True
    return ~(inside[:, None] & inside)
