"""Variances of mean absolute and mean squared errors when errors are normal and groups share a part of them.

With few groups the jackknife alone is too small: a group whose shared error is near zero looks good and
varies little, and neither the absolute value nor the square shows the sign by which groups differ. The
spread between and within groups comes from the signed errors (one-way analysis of variance per sample).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

MIDDLE = 0.975  # the quantile whose ratio of Student's t to normal says how unsure a spread of few groups is


class Part(NamedTuple):
    """One sample of groups: (...,) each.

    usable: whether there is anything to estimate from; share: of all frames; groups, frames: how many;
    mean, spread: of the signed errors; rho: the part of the spread that a group shares; same_group: chance
    that two frames drawn with replacement are two of one group.
    """

    usable: np.ndarray
    share: np.ndarray
    groups: np.ndarray
    frames: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    rho: np.ndarray
    same_group: np.ndarray


def variance_of_mean_absolute_error(
    linear: Mapping[str, np.ndarray], samples: list[np.ndarray], *, suffix: str
) -> np.ndarray:
    """Return the variance of the mean absolute error that normal errors of this spread would have.

    Args:
        linear: (..., k) per-group sums ``n_time err sq`` (with ``_pc``: under the predicted clock).
        samples: indices of the groups of each sample.
        suffix: "" or "_pc".

    Returns:
        (...,) the variance; samples of one group add nothing.
    """
    out = 0.0 * linear[f"err{suffix}"].sum(-1)
    for part in _parts(linear, samples, suffix):
        # covariance of the absolute values of two standard normals with correlation rho, times pi / 2
        folded = np.sqrt(1 - part.rho**2) + part.rho * np.arcsin(part.rho) - 1
        of_mean = (np.pi / 2 - 1) / np.maximum(part.frames, 1) + part.same_group * folded
        out = out + np.where(part.usable, part.share**2 * part.spread * 2 / np.pi * of_mean, 0.0)
    return out


def variance_of_mean_squared_error(
    linear: Mapping[str, np.ndarray], samples: list[np.ndarray], *, suffix: str
) -> np.ndarray:
    """Return the same for the mean squared error, the part of few groups enlarged as Student's t is.

    Two normal errors with mean m, variance v and correlation r have squares with covariance
    ``2 v^2 r^2 + 4 m^2 v r``. Arguments as in :func:`variance_of_mean_absolute_error`.
    """
    out = 0.0 * linear[f"err{suffix}"].sum(-1)
    for part in _parts(linear, samples, suffix):
        unsure = (stdtrit(np.maximum(part.groups - 1, 1), MIDDLE) / ndtri(MIDDLE)) ** 2
        alone, shared = 1 / np.maximum(part.frames, 1), part.same_group * unsure
        squares = 2 * part.spread**2 * (alone + shared * part.rho**2)
        shift = 4 * part.mean**2 * part.spread * (alone + shared * part.rho)
        out = out + np.where(part.usable, part.share**2 * (squares + shift), 0.0)
    return out


def _parts(linear: Mapping[str, np.ndarray], samples: list[np.ndarray], suffix: str) -> Iterator[Part]:
    n = linear["n_pc" if suffix else "n_time"]
    total = n.sum(-1)
    for at in samples:
        size, error, square = (
            values[..., at] for values in (n, linear[f"err{suffix}"], linear[f"sq{suffix}"])
        )
        k, frames = (size > 0).sum(-1), size.sum(-1)
        usable = (k > 1) & (frames > k)
        own = (error**2 / np.maximum(size, 1)).sum(-1)
        within = np.maximum(square.sum(-1) - own, 0.0) / np.where(usable, frames - k, 1.0)
        between = (own - error.sum(-1) ** 2 / np.maximum(frames, 1)) / np.maximum(k - 1, 1)
        typical = (frames - (size**2).sum(-1) / np.maximum(frames, 1)) / np.maximum(k - 1, 1)
        shared = np.maximum(between - within, 0.0) / np.where(usable, typical, 1.0)
        spread = shared + within
        yield Part(
            usable, frames / np.maximum(total, 1), k, frames, error.sum(-1) / np.maximum(frames, 1), spread,
            shared / np.where(spread > 0, spread, 1.0),
            (size * (size - 1)).sum(-1) / np.maximum(frames, 1) ** 2,
        )  # fmt: skip
