"""The variance of a mean absolute error when errors are normal and groups share a part of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def variance_of_mean_absolute_error(
    linear: Mapping[str, np.ndarray], samples: list[np.ndarray], *, suffix: str
) -> np.ndarray:
    """Return the variance of the mean absolute error that normal errors of this spread would have.

    With few groups the jackknife alone is too small: a group whose shared error is near zero looks good and
    varies little, and the absolute value hides the sign by which groups differ. The spread between and
    within groups comes from the signed errors (one-way analysis of variance per sample).

    Args:
        linear: (..., k) per-group sums ``n_time err sq`` (with ``_pc``: under the predicted clock).
        samples: indices of the groups of each sample.
        suffix: "" or "_pc".

    Returns:
        (...,) the variance; samples of one group add nothing.
    """
    n = linear["n_pc" if suffix else "n_time"]
    total = n.sum(-1)
    out = 0.0 * total
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
        rho = shared / np.where(spread > 0, spread, 1.0)
        same_group = (size * (size - 1)).sum(-1) / np.maximum(frames, 1) ** 2
        # covariance of the absolute values of two standard normals with correlation rho, times pi / 2
        folded = np.sqrt(1 - rho**2) + rho * np.arcsin(rho) - 1
        of_mean = (np.pi / 2 - 1) / np.maximum(frames, 1) + same_group * folded
        share = frames / np.maximum(total, 1)
        out = out + np.where(usable, share**2 * spread * 2 / np.pi * of_mean, 0.0)
    return out
