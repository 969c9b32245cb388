"""Cached uint8 frames -> normalised float batches, with every random change drawn per frame.

One pass over the pixels turns, flips and normalises a frame. Turning takes the nearest pixel with the same
fixed-point arithmetic as Pillow's ``Image.rotate``, so a frame equals what the usual one-by-one pipeline
makes of it; only the corners differ: they are mirrored from inside the frame instead of painted black.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.ndimage import gaussian_filter

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
    angle, centre = -np.radians(angle_deg % 360.0), size / 2
    cos, sin = np.round(np.cos(angle), 15), np.round(np.sin(angle), 15)
    across = cos, sin, centre - cos * centre - sin * centre + 0.5 * cos + 0.5 * sin
    down = -sin, cos, centre + sin * centre - cos * centre - 0.5 * sin + 0.5 * cos
    return np.floor(np.stack([*across, *down], axis=1) * (1 << FIXED) + 0.5).astype(np.int64)


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
