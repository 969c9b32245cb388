"""Cached frames -> batches on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hpiclock.clock.augment import augmented, draw, plain
from hpiclock.config import AugmentConfig
from hpiclock.plate.cache import FrameCache


class Batch(NamedTuple):
    """Frames and what they should say: images (batch, 1, size, size), label and time target (batch,)."""

    images: Tensor
    label: Tensor
    time_target_h: Tensor


class Batches:
    """Batches over the rows of a FRAMES table.

    Training order and changes depend on the seed and the epoch alone, so an epoch can be repeated after a
    kill. The buffer is reused: a batch is valid until the next one is drawn.

    Args:
        cache: the frames' pixels.
        frames: a FRAMES table; a missing label counts as -1, to be predicted only.
        batch_size: the largest batch; frames are dealt evenly, so no batch is a small rest.
        device: where batches are put.
    """

    def __init__(
        self, cache: FrameCache, frames: pd.DataFrame, *, batch_size: int, device: torch.device
    ) -> None:
        self.frames = frames
        self.device = device
        self.images = np.asarray(cache.images)  # numba reads plain arrays, not the memmap subclass
        self.rows = cache.rows(frames)
        self.label = frames["label"].fillna(-1).to_numpy(np.int64)
        self.time_target_h = frames["time_target"].to_numpy(np.float32)
        self.n_batches = -(-len(frames) // batch_size)
        size = self.images.shape[1]
        largest = -(-len(frames) // max(self.n_batches, 1))
        self._buffer = np.empty((largest, size, size), np.float32)

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self.n_batches

    def epoch(self, epoch: int, *, seed: int, augment: AugmentConfig, balanced: bool) -> Iterator[Batch]:
        """Yield shuffled and augmented batches; ``balanced`` draws both classes equally often."""
        rng = np.random.default_rng([seed, epoch])
        order = _balanced(self.label, rng) if balanced else rng.permutation(len(self.rows))
        for mine in np.array_split(order, self.n_batches):
            out = self._buffer[: len(mine)]
            augmented(self.images, self.rows[mine], draw(len(mine), augment, rng), out, rng)
            yield self._batch(out, mine)

    def in_order(self) -> Iterator[Batch]:
        """Yield the frames as they are, in the order of the table."""
        for mine in np.array_split(np.arange(len(self.rows)), max(self.n_batches, 1)):
            yield self._batch(plain(self.images, self.rows[mine], self._buffer[: len(mine)]), mine)

    def _batch(self, images: np.ndarray, mine: np.ndarray) -> Batch:
        def put(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(self.device)

        return Batch(put(images)[:, None], put(self.label[mine]), put(self.time_target_h[mine]))


def _balanced(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    classes, counts = np.unique(label, return_counts=True)
    weight = 1.0 / counts[np.searchsorted(classes, label)]
    return rng.choice(len(label), len(label), p=weight / weight.sum())
