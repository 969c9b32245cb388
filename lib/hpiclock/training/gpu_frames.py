"""Frames kept on the device as uint8, and the changes of :mod:`hpiclock.training.augment` made there.

A GPU that trains from here waits for no pixel: a batch is an index into its own memory. Flips, turns, grey
levels and corners are the CPU's to the last bit; blur agrees to rounding, noise is drawn by the device.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hpiclock.training.augment import FIXED, GREY_SD, AugmentationDraws, fixed_turns, grey_level_table

SHARE = 0.25  # of the device's free memory may hold frames; the rest is the network's
CHUNK = 1 << 26  # bytes copied at a time
BLUR_SDS = 4.0  # where scipy's gaussian_filter ends a kernel


def fits_on_device(n_bytes: int, device: torch.device) -> bool:
    """Return whether frames of so many bytes should be kept on the device: only a GPU gains from it."""
    return device.type == "cuda" and n_bytes <= SHARE * torch.cuda.mem_get_info(device)[0]


class GpuFrames:
    """The pixels of a FRAMES table in the device's memory; frames are named by their row in the table.

    Args:
        images: the cache, (n, size, size) uint8.
        rows: which of its frames the table has, (rows,).
        device: where they go.
    """

    def __init__(self, images: np.ndarray, rows: np.ndarray, device: torch.device) -> None:
        size = images.shape[1]
        self.frames = torch.empty((len(rows), size * size), dtype=torch.uint8, device=device)
        step = max(CHUNK // size**2, 1)
        for start in range(0, len(rows), step):
            part = images[rows[start : start + step]].reshape(-1, size * size)
            self.frames[start : start + len(part)] = torch.from_numpy(part).to(device)
        self.size = size
        self.device = device
        self.generator = torch.Generator(device)

    def augmented(self, mine: np.ndarray, draws: AugmentationDraws, noise: np.random.Generator) -> Tensor:
        """Return changed frames: (batch, size, size) float32 on the device.

        Args:
            mine: rows of the table, (batch,).
            draws: their changes.
            noise: seeds the device's own draw, where noise is asked for.
        """
        out = self._grey(self._turned(mine, draws), grey_level_table(draws.gain, draws.shift))
        if draws.blur_px.any():
            out = self._blurred(out, draws.blur_px)
        if draws.noise.any():
            self.generator.manual_seed(int(noise.integers(1 << 62)))
            sd = torch.from_numpy((draws.noise / GREY_SD).astype(np.float32))
            drawn = torch.randn(out.shape, generator=self.generator, device=self.device)
            out += drawn * self._put(sd)[:, None, None]
        return out

    def plain(self, mine: np.ndarray) -> Tensor:
        """Return frames normalised and otherwise unchanged: (batch, size, size) float32 on the device."""
        return self._grey(self.frames[self._put(torch.from_numpy(mine))], grey_level_table()[None])

    def _turned(self, mine: np.ndarray, draws: AugmentationDraws) -> Tensor:
        """Return turned and flipped frames: (batch, pixels) uint8."""
        last = self.size - 1
        turns = torch.from_numpy(fixed_turns(draws.angle_deg, self.size).astype(np.int32))
        ax, ay, a, bx, by, b = self._put(turns)[:, :, None, None].unbind(1)
        x = torch.arange(self.size, dtype=torch.int32, device=self.device)
        y = x[:, None]
        mirror, upend = (self._put(torch.from_numpy(flip))[:, None, None] for flip in draws[:2])
        # the frame was flipped before it was turned
        column, row = (a + ay * y + ax * x) >> FIXED, (b + by * y + bx * x) >> FIXED
        column = _inside(torch.where(mirror, last - column, column), last)
        row = _inside(torch.where(upend, last - row, row), last)
        at = (row * self.size + column).flatten(1).long()
        return self.frames[self._put(torch.from_numpy(mine))].gather(1, at)

    def _grey(self, pixels: Tensor, tables: np.ndarray) -> Tensor:
        """Return what the table of each frame makes of its grey levels: (batch, size, size) float32."""
        of_each = self._put(torch.from_numpy(tables)).expand(len(pixels), -1)
        return of_each.gather(1, pixels.long()).view(-1, self.size, self.size)

    def _blurred(self, images: Tensor, blur_px: np.ndarray) -> Tensor:
        """Return each frame blurred by its own Gaussian, mirrored at the edge as scipy does."""
        radius = int(BLUR_SDS * blur_px.max() + 0.5)
        kernels = self._put(torch.from_numpy(_kernels(blur_px, radius)))
        reach = np.arange(-radius, self.size + radius) % (2 * self.size)
        beyond = self._put(torch.from_numpy(np.minimum(reach, 2 * self.size - 1 - reach)))
        n = len(images)
        padded = images[:, beyond][:, :, beyond][None]
        down = functional.conv2d(padded, kernels.view(n, 1, -1, 1), groups=n)
        return functional.conv2d(down, kernels.view(n, 1, 1, -1), groups=n)[0]

    def _put(self, values: Tensor) -> Tensor:
        return to_device(values, self.device)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on the device; to a GPU it is copied while the CPU goes on."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def _inside(index: Tensor, last: int) -> Tensor:
    """Return indices with those outside 0..last mirrored back, the edge pixel twice."""
    index = index ^ (index >> 31)
    right = last - index
    return last - (right ^ (right >> 31))


def _kernels(blur_px: np.ndarray, radius: int) -> np.ndarray:
    """Return one Gaussian per frame as scipy cuts it: (batch, 2 radius + 1) float32, each of sum 1."""
    at = np.abs(np.arange(-radius, radius + 1))
    sd = np.maximum(blur_px, 1e-6)[:, None]
    weights = np.exp(-0.5 * (at / sd) ** 2) * (at <= (BLUR_SDS * sd + 0.5).astype(int))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
