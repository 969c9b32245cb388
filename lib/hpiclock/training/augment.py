"""Cached uint8 frames -> normalised float frames, every random change drawn per frame, on a CPU or a GPU.

On a CPU one pass over the pixels turns, flips and normalises a frame. Turning takes the nearest pixel with
the same fixed-point arithmetic as Pillow's ``Image.rotate``, so a frame equals what the usual one-by-one
pipeline makes of it; only the corners differ: they are mirrored from inside the frame instead of painted
black.

A GPU keeps the frames as uint8 and waits for no pixel: a batch is an index into its own memory. Flips, turns,
grey levels and corners are the CPU's to the last bit; blur agrees to rounding, noise is drawn by the device.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from hpiclock.config.schema import AugmentConfig

GREY_MEAN, GREY_SD = 0.5, 0.25  # the reference's normalisation of grey levels in [0, 1]
FIXED = 16  # bits behind the binary point


class AugmentationDraws(NamedTuple):
    """The random changes of a batch, one entry per frame: arrays of shape (batch,)."""

    mirror: np.ndarray  # bool, left-right
    upend: np.ndarray  # bool, top-bottom
    angle_deg: np.ndarray  # counter-clockwise
    gain: np.ndarray  # contrast about mid grey
    shift: np.ndarray  # brightness, in shares of the grey range
    blur_px: np.ndarray
    noise: np.ndarray  # SD, in shares of the grey range


def draw_augmentation(n: int, augment: AugmentConfig, rng: np.random.Generator) -> AugmentationDraws:
    """Draw the changes of ``n`` frames."""
    turns = 90.0 * rng.integers(0, 4, n) if augment.quarter_turns else np.zeros(n)
    return AugmentationDraws(
        mirror=augment.flip & (rng.random(n) < 0.5),
        upend=augment.flip & (rng.random(n) < 0.5),
        angle_deg=turns + rng.uniform(-augment.rotate_deg, augment.rotate_deg, n),
        gain=1 + rng.uniform(-augment.contrast, augment.contrast, n),
        shift=rng.uniform(-augment.brightness, augment.brightness, n),
        blur_px=rng.uniform(0, augment.blur_px, n),
        noise=rng.uniform(0, augment.noise, n),
    )


def grey_level_table(gain: np.ndarray | float = 1.0, shift: np.ndarray | float = 0.0) -> np.ndarray:
    """Return what each grey level becomes, (256,), or (batch, 256) for gains and shifts of shape (batch,)."""
    grey = np.arange(256, dtype=np.float32) / np.float32(255)
    changed = (grey - 0.5) * np.asarray(gain)[..., None] + 0.5 + np.asarray(shift)[..., None]
    return ((np.clip(changed, 0, 1) - GREY_MEAN) / GREY_SD).astype(np.float32)


def augment_frames(
    images: np.ndarray, rows: np.ndarray, draws: AugmentationDraws, out: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Fill ``out`` with the changed frames.

    Args:
        images: the cache, (n, size, size) uint8.
        rows: which frames, (batch,).
        draws: their changes.
        out: (batch, size, size) float32, overwritten and returned.
        rng: for the noise itself.
    """
    turns, tables = fixed_turns(draws.angle_deg, images.shape[1]), grey_level_table(draws.gain, draws.shift)
    _turn(images, rows, draws.mirror, draws.upend, turns, tables, out)
    for i in np.flatnonzero(draws.blur_px > 0):
        out[i] = gaussian_filter(out[i], draws.blur_px[i], mode="reflect")
    if draws.noise.any():
        out += rng.standard_normal(out.shape, np.float32) * (draws.noise / GREY_SD)[:, None, None]
    return out


def normalize_frames(images: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Fill ``out`` (batch, size, size) float32 with normalised frames, unchanged otherwise."""
    _plain(images, rows, grey_level_table(), out)
    return out


def fixed_turns(angle_deg: np.ndarray, size: int) -> np.ndarray:
    """Return fixed-point affine maps from output to source pixels, (batch, 6), as Pillow rounds them."""
    turns = np.empty((len(angle_deg), 6), np.int64)
    for i, degrees in enumerate(angle_deg):
        angle = -math.radians(degrees % 360.0)
        cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
        centre = size / 2
        across = (cos, sin, centre - cos * centre - sin * centre)
        down = (-sin, cos, centre + sin * centre - cos * centre)
        for j, (x, y, start) in enumerate((across, down)):
            values = (x, y, start + 0.5 * x + 0.5 * y)
            turns[i, 3 * j : 3 * j + 3] = [math.floor(v * (1 << FIXED) + 0.5) for v in values]
    return turns


@njit(nogil=True, cache=True)
def _turn(images, rows, mirror, upend, turns, tables, out):
    n, size = out.shape[0], out.shape[1]
    last = size - 1
    for i in range(n):
        source, table, (ax, ay, a, bx, by, b) = images[rows[i]].ravel(), tables[i], turns[i]
        # the frame was flipped before it was turned
        first_column, sense_x = (last, -1) if mirror[i] else (0, 1)
        first_row, sense_y = (last, -1) if upend[i] else (0, 1)
        for y in range(size):
            line = out[i, y]
            across, down = a + ay * y, b + by * y
            for x in range(size):
                column = first_column + sense_x * (across >> FIXED)
                row = first_row + sense_y * (down >> FIXED)
                across += ax
                down += bx
                # c ^ (c >> 63) is -c - 1 below 0 and c elsewhere: a mirror without a branch
                column ^= column >> 63
                row ^= row >> 63
                right, below = last - column, last - row
                column = last - (right ^ (right >> 63))
                row = last - (below ^ (below >> 63))
                # an unsigned index is not looked at for a sign
                line[np.uintp(x)] = table[source[np.uintp(row * size + column)]]


@njit(nogil=True, cache=True)
def _plain(images, rows, table, out):
    n, size = out.shape[0], out.shape[1]
    for i in range(n):
        source = images[rows[i]]
        for y in range(size):
            for x in range(size):
                out[i, y, x] = table[source[y, x]]


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
