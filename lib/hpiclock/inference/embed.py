"""What the backbone sees of frames, as they are and changed, kept on disk once computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from hpiclock.files import atomic
from hpiclock.plate.cache import FrameCache
from hpiclock.progress import progress
from hpiclock.training.augment import GREY_MEAN, GREY_SD
from hpiclock.training.batches import Batches
from hpiclock.training.device import autocast, in_parts
from hpiclock.training.experiment import LoadedModel

Perturbation = Callable[[Tensor], Tensor]
BORDER = 1 / 16  # of the side: what the border changes mask, and what "border only" leaves
TILES = 8  # per side


def embed(
    machine: LoadedModel,
    cache: FrameCache,
    frames: pd.DataFrame,
    *,
    batch_size: int,
    folder: Path,
    change: str,
) -> pd.DataFrame:
    """Return the backbone's features of frames: ``stack_id frame f0 f1 ...``, float32.

    They are kept in ``folder`` under a name made of the weights, the cache, the rows and the change, and read
    from there the next time.

    Args:
        machine: a trained model, or one with frozen weights, on its device.
        cache: the frames' pixels.
        frames: a FRAMES table, or rows with the same columns.
        batch_size: frames a batch.
        folder: where features are kept.
        change: a key of :data:`CHANGES`, or empty for the frames as they are.
    """
    model = machine.model
    key = _key(machine, cache, frames, change)
    path = folder / "features" / f"{key}.npy"
    keys = frames[["stack_id", "frame"]].reset_index(drop=True)
    if path.is_file():
        return _table(keys, np.load(path))
    batches = Batches(cache, frames, batch_size=batch_size, device=machine.device)
    parts = []
    model.eval()
    for batch in progress(
        batches.in_order(), desc=f"features {change}".strip(), total=len(batches), leave=False
    ):
        with torch.inference_mode(), autocast(machine.device, machine.precision):
            seen = in_parts(model.features, _perturbed(batch.images, change))
            parts.append(seen.float().cpu().numpy())
    features = np.concatenate(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        np.save(partial, features)
    return _table(keys, features)


def predict_perturbed(
    machine: LoadedModel,
    cache: FrameCache,
    frames: pd.DataFrame,
    *,
    changes: Iterable[str],
    batch_size: int,
) -> pd.DataFrame:
    """Return what the model says of changed frames: ``change stack_id frame p_infected time_pred``.

    An answer whose head the model lacks is missing. Arguments as in :func:`embed`.
    """
    model, names = machine.model, list(changes)
    batches = Batches(cache, frames, batch_size=batch_size, device=machine.device)
    said: dict[str, list[np.ndarray]] = {name: [] for name in names}
    model.eval()
    for batch in progress(batches.in_order(), desc="changed images", total=len(batches), leave=False):
        for name in names:
            with torch.inference_mode(), autocast(machine.device, machine.precision):
                output = model.heads(in_parts(model.features, _perturbed(batch.images, name)))
            nothing = np.full(len(batch.images), np.nan)
            p = (
                nothing
                if output.class_logits is None
                else output.class_logits.float().softmax(1)[:, 1].cpu().numpy()
            )
            hours = nothing if output.time is None else model.hours(output.time).cpu().numpy()
            said[name].append(np.stack([p, hours], axis=1))
    keys = frames[["stack_id", "frame"]].reset_index(drop=True)
    parts = []
    for name in names:
        answers = np.concatenate(said[name]).astype(float)
        parts.append(keys.assign(change=name, p_infected=answers[:, 0], time_pred=answers[:, 1]))
    return pd.concat(parts, ignore_index=True)[["change", "stack_id", "frame", "p_infected", "time_pred"]]


def brightness(grey: Tensor) -> Tensor:
    """A tenth of the grey range brighter; images (batch, 1, side, side) in 0..1, as for every change."""
    return grey + 0.1


def darkness(grey: Tensor) -> Tensor:
    """A tenth of the grey range darker."""
    return grey - 0.1


def less_contrast(grey: Tensor) -> Tensor:
    """Three quarters of the contrast, about the mean of each image."""
    mean = grey.mean((-2, -1), keepdim=True)
    return (grey - mean) * 0.75 + mean


def defocus(grey: Tensor) -> Tensor:
    """Blurred by a Gaussian of 1/64 of the side."""
    return _blurred(grey, grey.shape[-1] / 64)


def heavy_blur(grey: Tensor) -> Tensor:
    """Blurred by a Gaussian of 1/8 of the side: no cell is left, only light and density."""
    return _blurred(grey, grey.shape[-1] / 8)


def vignette(grey: Tensor) -> Tensor:
    """Darker to the corners, by a quarter there."""
    line = torch.linspace(-1, 1, grey.shape[-1], device=grey.device)
    return grey * (1 - 0.125 * (line[:, None] ** 2 + line**2))


def without_border(grey: Tensor) -> Tensor:
    """The border replaced by the mean of the image."""
    return torch.where(_ring(grey), grey.mean((-2, -1), keepdim=True), grey)


def border_only(grey: Tensor) -> Tensor:
    """All but the border replaced by the mean of the image."""
    return torch.where(_ring(grey), grey, grey.mean((-2, -1), keepdim=True))


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
    return torch.where(rough <= limit[..., None, None], grey, grey.mean((-2, -1), keepdim=True))


PERTURBATIONS: dict[str, Perturbation] = {
    "brighter": brightness,
    "darker": darkness,
    "less contrast": less_contrast,
    "defocus": defocus,
    "vignette": vignette,
    "border masked": without_border,
    "shuffled tiles": shuffled_tiles,
    "heavy blur": heavy_blur,
    "border only": border_only,
    "background only": background_only,
}
SHORTCUTS = (
    "heavy blur",
    "border only",
    "background only",
    "shuffled tiles",
)  # little biology is left in them


def _perturbed(images: Tensor, change: str) -> Tensor:
    """Apply a change to normalised images (batch, 1, side, side)."""
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


def _key(machine: LoadedModel, cache: FrameCache, frames: pd.DataFrame, change: str) -> str:
    digest = hashlib.sha256(f"{cache.key} {machine.precision} {change}".encode())
    for name, tensor in machine.model.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    digest.update(cache.rows(frames).tobytes())
    return digest.hexdigest()[:24]


def _table(keys: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    columns = [f"f{i}" for i in range(features.shape[1])]
    return pd.concat([keys, pd.DataFrame(features, columns=columns)], axis=1)
