"""Cached frames -> batches on the device."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hpiclock.config.schema import AugmentConfig
from hpiclock.plate.cache import FrameCache
from hpiclock.progress import progress
from hpiclock.training.augment import AugmentationDraws, augment_frames, draw_augmentation, normalize_frames
from hpiclock.training.distributed import SINGLE, ProcessGroup
from hpiclock.training.gpu_frames import GpuFrames, fits_on_device, to_device

UNLABELLED = -1
READING_PIXELS = 1 << 21  # a batch that is only read may be this large: some 0.5 GB in a ResNet-50


class Batch(NamedTuple):
    """Frames and their targets: images (batch, n_frames, size, size), label and time target (batch,)."""

    images: Tensor
    label: Tensor
    time_target_h: Tensor


class Batches:
    """Batches over the rows of a FRAMES table.

    Training order and changes depend on the seed and the epoch alone, so an epoch can be repeated after a
    kill. On a CPU the buffer is reused: a batch is valid until the next one is drawn. A GPU keeps frames that
    are read more than once, where they fit.

    Args:
        cache: the frames' pixels.
        frames: a FRAMES table; a missing label counts as -1, to be predicted only.
        batch_size: the largest batch; frames are dealt evenly, so no batch is a small rest, and a single
            frame that would be left joins its neighbours.
        device: where batches are put.
        group: the processes among which every batch is dealt out.
    """

    def __init__(
        self,
        cache: FrameCache,
        frames: pd.DataFrame,
        *,
        batch_size: int,
        device: torch.device,
        group: ProcessGroup = SINGLE,
    ) -> None:
        self.frames = frames
        self.group = group
        self.device = device
        self.images = np.asarray(cache.images)  # numba reads plain arrays, not the memmap subclass
        self.rows = cache.context_rows(frames)  # (rows, n_frames)
        self.label = frames["label"].fillna(UNLABELLED).to_numpy(np.int64)
        self.time_target_h = frames["time_target"].to_numpy(np.float32)
        self.n_batches = -(-len(frames) // batch_size)
        if batch_size > 1 and self.smallest == 1:  # BatchNorm cannot learn from one frame
            self.n_batches = max(len(frames) // 2, 1)
        self.size = self.images.shape[1]
        self._buffer = torch.empty(0)
        self._there: GpuFrames | None = None
        self._at = self.rows  # where the device keeps them
        self._was_read = False

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self.n_batches

    @property
    def smallest(self) -> int:
        """Frames in the smallest batch of an epoch."""
        return len(self.rows) // max(self.n_batches, 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many frames the batches of an epoch have in this process, the largest first."""
        more = self.smallest + (len(self.rows) % max(self.n_batches, 1) > 0)
        shares = [self.group.share(n) for n in {self.smallest, more}]
        return tuple(sorted({share.stop - share.start for share in shares}, reverse=True))

    def epoch(self, epoch: int, *, seed: int, augment: AugmentConfig, balanced: bool) -> Iterator[Batch]:
        """Yield shuffled and augmented batches; ``balanced`` draws both classes equally often.

        Among several processes each gets its share of every batch; all draw the same order and changes.
        """
        rng = np.random.default_rng([seed, epoch])
        noise = rng if self.group.is_main else np.random.default_rng([seed, epoch, self.group.rank])
        order = _balanced(self.label, rng) if balanced else rng.permutation(len(self.rows))
        there = self._on_device()
        for mine in np.array_split(order, self.n_batches):
            share = self.group.share(len(mine))
            drawn = draw_augmentation(len(mine), augment, rng)
            draws, mine = AugmentationDraws(*(values[share] for values in drawn)), mine[share]
            # one draw for all frames of a field
            draws = AugmentationDraws(*(np.repeat(values, self.rows.shape[1]) for values in draws))
            if there is None:
                host = self._host(self.rows[mine].size)
                augment_frames(self.images, self.rows[mine].ravel(), draws, host.numpy(), noise)
                images = self._put(host)
            else:
                images = there.augmented(self._at[mine].ravel(), draws, noise)
            yield self._batch(images, mine)

    def in_order(self, desc: str = "") -> Iterator[Batch]:
        """Yield the frames as they are, in the order of the table, in batches as large as memory allows.

        Among several processes each gets its share of the table. With ``desc`` a bar counts the frames.
        """
        largest = max(
            READING_PIXELS // (self.size**2 * self.rows.shape[1]),
            -(-len(self.rows) // max(self.n_batches, 1)),
            1,
        )
        share = self.group.share(len(self.rows))
        there = self._on_device() if self._was_read else None
        self._was_read = True
        bar = progress(desc=desc, total=len(self.rows), unit="frame", leave=False) if desc else nullcontext()
        with bar as count:
            for start in range(share.start, share.stop, largest):
                mine = np.arange(start, min(start + largest, share.stop))
                if there is None:
                    host = self._host(self.rows[mine].size)
                    normalize_frames(self.images, self.rows[mine].ravel(), host.numpy())
                    images = self._put(host)
                else:
                    images = there.plain(self._at[mine].ravel())
                yield self._batch(images, mine)
                if count is not None:
                    count.update(len(mine))

    def _on_device(self) -> GpuFrames | None:
        if self._there is None:
            used, at = np.unique(self.rows, return_inverse=True)  # each frame once, whatever reads it
            if fits_on_device(len(used) * self.size**2, self.device):
                self._there, self._at = GpuFrames(self.images, used, self.device), at.reshape(self.rows.shape)
        return self._there

    def _host(self, n: int) -> Tensor:
        shape = (n, self.size, self.size)
        if self.device.type == "cuda":
            # torch's pinned pool hands a block out again only when its copy to the device is done
            return torch.empty(shape, pin_memory=True)
        if len(self._buffer) < n:
            self._buffer = torch.empty(shape)
        return self._buffer[:n]

    def _batch(self, images: Tensor, mine: np.ndarray) -> Batch:
        label, time_target_h = torch.from_numpy(self.label[mine]), torch.from_numpy(self.time_target_h[mine])
        images = images.view(len(mine), -1, self.size, self.size)
        return Batch(images, self._put(label), self._put(time_target_h))

    def _put(self, values: Tensor) -> Tensor:
        return to_device(values, self.device)


def plain_images(
    cache: FrameCache, frames: pd.DataFrame, device: torch.device, desc: str = ""
) -> Iterator[Tensor]:
    """Yield the normalised images of a FRAMES table in its order, (batch, n_frames, size, size) each."""
    for batch in Batches(cache, frames, batch_size=1, device=device).in_order(desc):
        yield batch.images


def _balanced(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return as many rows as there are, equally many of each class; a class is used up before it repeats."""
    classes = [np.flatnonzero(label == kind) for kind in np.unique(label)]
    shares = np.array_split(np.arange(len(label)), len(classes))
    drawn = []
    for rows, n in zip(classes, map(len, shares), strict=True):
        drawn.append(np.concatenate([rng.permutation(rows) for _ in range(-(-n // len(rows)))])[:n])
    return rng.permutation(np.concatenate(drawn))
