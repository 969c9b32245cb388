"""Do attribution maps depend on what was learnt? Other weights, other labels, deleted tiles."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from hpiclock.config.schema import Config
from hpiclock.inference.attribution import head_outputs
from hpiclock.inference.perturb import TILES, heavy_blur
from hpiclock.plate.cache import FrameCache
from hpiclock.training.augment import GREY_MEAN, GREY_SD
from hpiclock.training.batches import Batches
from hpiclock.training.device import place_model
from hpiclock.training.loop import fit
from hpiclock.training.losses import Losses, trainable_frames
from hpiclock.training.model import TwoHeads, build_model

DEPTHS = ("heads", "and the last quarter", "and the last half", "and three quarters", "everything")
REMOVED = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # shares of the tiles
ORDERS = 3  # random orders of deletion
SHUFFLED_LABEL_STEPS = 20  # of a model that learns shuffled labels, at most
EPOCHS = 2


def cascading_randomization(model: TwoHeads, *, seed: int) -> Iterator[tuple[str, TwoHeads]]:
    """Yield copies of a model whose weights are drawn anew, ever deeper: the names are :data:`DEPTHS`.

    The cascading randomisation of Adebayo et al. (2018, NeurIPS): first the heads, then the backbone from
    its last layer to its first, in quarters. A map that stays as it was does not show what was learnt.
    """
    mixed = copy.deepcopy(model).cpu().eval()  # the CPU's random numbers are the same everywhere
    heads = [head for head in (mixed.class_head, mixed.time_head) if head is not None]
    quarters = np.array_split(np.array(_layers(mixed.backbone)[::-1], dtype=object), len(DEPTHS) - 1)
    parts = [[layer for head in heads for layer in _layers(head)], *(list(part) for part in quarters)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, layers in zip(DEPTHS, parts, strict=True):
            for layer in layers:
                layer.reset_parameters()
            yield name, copy.deepcopy(mixed).to(model.device)


def train_on_shuffled_labels(cfg: Config, cache: FrameCache, frames: pd.DataFrame) -> TwoHeads:
    """Return a model of the config's design, trained for a short while on labels and times dealt at random.

    The other check of Adebayo et al. (2018): training frames keep their images and get the label and the
    time of another training frame. It begins with weights of its own and is trained for at most
    :data:`SHUFFLED_LABEL_STEPS` steps, so it is a small model of what architecture and images alone give.
    """
    usable = permute_labels(frames[trainable_frames(frames, cfg.model)], np.random.default_rng(cfg.seed))
    steps = max(SHUFFLED_LABEL_STEPS // EPOCHS, 1)
    changes = {"epochs": EPOCHS, "max_steps": steps, "patience": None, "compile": False}
    short = cfg.model_copy(update={"train": cfg.train.model_copy(update=changes)})
    with torch.random.fork_rng(devices=[]):
        model = place_model(build_model(cfg.model, seed=cfg.seed + 1), cfg.train)
    train, val = (
        Batches(
            cache, usable[usable["split"].eq(split)], batch_size=cfg.train.batch_size, device=model.device
        )
        for split in ("train", "val")
    )
    losses = Losses(cfg.objective, cfg.model)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, losses, train, val, short, Path(folder), say=lambda _: None)  # a check, not a run
    return model


def permute_labels(frames: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return frames in which the targets, label and time together, are shuffled inside each split."""
    rows = frames.reset_index(drop=True)
    order = np.arange(len(rows))
    for mine in rows.groupby("split").indices.values():
        order[mine] = rng.permutation(mine)
    targets = rows[["label", "time_target"]].iloc[order].reset_index(drop=True)
    return rows.assign(label=targets["label"], time_target=targets["time_target"])


def delete_tiles(model: TwoHeads, images: Tensor, order: np.ndarray, *, head: str) -> np.ndarray:
    """Delete tiles of images in an order; return the head's outputs: (n, len(REMOVED)).

    A deleted tile shows the frame under a heavy blur (a Gaussian of 1/8 of its side): light and density stay,
    cells go, and no edge of a hole is drawn. Tiles go whole, in a random order as in that of a map, because
    single pixels at random harm a picture more than one patch of the same area.

    Args:
        model: in evaluation mode.
        images: (n, 1, s, s), normalised.
        order: (n, TILES * TILES) the tiles of each image, row by row, as they are to go.
        head: whose output; see :class:`~hpiclock.inference.attribution.OneHead`.
    """
    smooth = (heavy_blur(images * GREY_SD + GREY_MEAN) - GREY_MEAN) / GREY_SD
    outputs = []
    for share in REMOVED:
        gone = torch.from_numpy(_tiles_gone(order, share, images.shape[-1])).to(images.device)
        outputs.append(head_outputs(model, torch.where(gone[:, None], smooth, images), head=head))
    return np.stack(outputs, axis=1)


def random_orders(n: int, seed: int) -> list[np.ndarray]:
    """Return :data:`ORDERS` random orders of the tiles of ``n`` images, each (n, TILES * TILES)."""
    rng = np.random.default_rng(seed)
    tiles = np.tile(np.arange(TILES * TILES), (n, 1))
    return [rng.permuted(tiles, axis=1) for _ in range(ORDERS)]


def _tiles_gone(order: np.ndarray, share: float, side: int) -> np.ndarray:
    """Return the pixels that the first ``share`` of the tiles cover: (n, side, side) bool."""
    gone = np.zeros((len(order), TILES * TILES), bool)
    np.put_along_axis(gone, order[:, : round(share * TILES * TILES)], True, axis=1)
    at = np.minimum(np.arange(side) // (side // TILES), TILES)  # a rest beyond the last tile stays
    padded = np.pad(gone.reshape(-1, TILES, TILES), ((0, 0), (0, 1), (0, 1)))
    return padded[:, at[:, None], at]


def _layers(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if hasattr(part, "reset_parameters")]
