"""Statements over all windows at once: simultaneous bands, which windows differ, range, slope.

Windows overlap and share their wells, so their errors go together. The joint distribution comes from the
groups: each group's influence on every window (its jackknife deviation) is multiplied by the same random
number, which keeps that dependence. The largest deviation over windows gives bands and tests that hold
for all windows together (max statistic; Westfall and Young 1993).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, stdtrit

from hpiclock.study.intervals import jackknife, strata, too_few
from hpiclock.study.sums import FORMULAS, Sums

SD_GOOD, SD_POOR = 0.05, 0.1  # what the field calls stable and unstable, for metrics between 0 and 1


class Windows(NamedTuple):
    """A metric in every window and without each group: value (w,), left_out (w, k) over the same groups."""

    value: np.ndarray
    left_out: np.ndarray
    whole: float
    whole_left_out: np.ndarray
    samples: list[np.ndarray]
    why_not: str


def over_windows(parts: list[Sums], whole: Sums, metric: str) -> Windows:
    """Return a metric in each window, and with each group left out.

    A window in which leaving out a group leaves nothing is taken as undefined.

    Args:
        parts: the sums of each window's frames.
        whole: the sums of the frames of all windows.
        metric: a key of :data:`hpiclock.study.sums.FORMULAS`.
    """
    formula = FORMULAS[metric]
    values = np.full(len(parts), np.nan)
    left_out = np.full((len(parts), len(whole.codes)), np.nan)
    for at, sums in enumerate(parts):
        value = float(formula(sums.total))
        left = formula(sums.without)
        if np.isnan(value) or np.isnan(left).any():
            continue
        values[at] = value
        left_out[at] = value  # a group that is not in the window changes nothing
        left_out[at, np.searchsorted(whole.codes, sums.codes)] = left
    needed = {"recall": "infected", "specificity": "mock"}.get(metric, "all")
    samples = strata(whole.kind, needed=needed)
    return Windows(
        values, left_out, float(formula(whole.total)), formula(whole.without), list(samples.values()),
        too_few(samples) if samples else "no frames",
    )  # fmt: skip


def influences(left_out: np.ndarray, samples: list[np.ndarray]) -> np.ndarray:
    """Return each group's deviation, scaled so that squares add up to the variance: (w, k)."""
    out = np.zeros_like(left_out)
    for at in samples:
        values = left_out[:, at]
        out[:, at] = np.sqrt((len(at) - 1) / len(at)) * (values - values.mean(1, keepdims=True))
    return out


def simultaneous_level(windows: Windows, *, level: float, resamples: int, rng: np.random.Generator) -> float:
    """Return the pointwise level whose intervals hold in all windows together with ``level``.

    NaN where fewer than two windows have a spread, or groups are too few.
    """
    drawn = _drawn(windows, windows.left_out, resamples, rng)
    if drawn.shape[1] < 2:
        return float("nan")
    largest = np.quantile(np.abs(drawn).max(1), level)
    return float(2 * ndtr(largest) - 1)


def differing_windows(windows: Windows, *, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return, per window, the chance of so large a difference from the overall value in any window: (w,).

    A sign-flip test over groups with the largest studentised difference as its statistic; each flip has its
    own standard error, because with few groups that varies as much as the difference.
    """
    p = np.full(len(windows.value), np.nan)
    if windows.why_not or np.isnan(windows.whole_left_out).any():
        return p
    parts = influences(windows.left_out - windows.whole_left_out, windows.samples)
    error = np.sqrt((parts**2).sum(1))
    usable = ~np.isnan(windows.value) & (error > 1e-12)
    if not usable.any():
        return p
    shape = (resamples, parts.shape[1])
    signs = rng.integers(0, 2, shape) * 2.0 - 1
    flipped = _studentised_flips(signs, parts[usable], windows.samples).max(1)
    seen = np.abs(windows.value[usable] - windows.whole) / error[usable]
    p[usable] = (1 + (flipped[:, None] >= seen - 1e-12).sum(0)) / (resamples + 1)
    return p


def _studentised_flips(signs: np.ndarray, parts: np.ndarray, samples: list[np.ndarray]) -> np.ndarray:
    """Absolute flipped sums over their own standard errors: (flips, windows)."""
    variance = np.zeros((len(signs), len(parts)))
    for at in samples:
        sums = signs[:, at] @ parts[:, at].T
        k = len(at)
        # flipping leaves the squares as they are, only the mean of the sample changes
        variance += k / (k - 1) * np.maximum((parts[:, at] ** 2).sum(1) - sums**2 / k, 0.0)
    return np.abs(signs @ parts.T) / np.sqrt(np.maximum(variance, 1e-300))


def slope_per_h(windows: Windows, middles: np.ndarray, *, level: float) -> tuple[float, float, float]:
    """Return the least-squares slope of the windows' values over their middles, and its interval."""
    usable = ~np.isnan(windows.value)
    nothing = (float("nan"),) * 3
    if usable.sum() < 3:
        return nothing
    centred = middles[usable] - middles[usable].mean()
    coefficients = centred / (centred**2).sum()
    slope = float(coefficients @ windows.value[usable])
    if windows.why_not:
        return slope, *nothing[:2]
    variance, df = jackknife(coefficients @ windows.left_out[usable], windows.samples)
    half = float(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))
    return slope, slope - half, slope + half


def noise_range(windows: Windows, *, level: float, resamples: int, rng: np.random.Generator) -> float:
    """Return the range over windows that noise alone stays within with chance ``level``."""
    usable = ~np.isnan(windows.value)
    if windows.why_not or usable.sum() < 2:
        return float("nan")
    parts = influences(windows.left_out[usable], windows.samples)
    noise = rng.standard_normal((resamples, parts.shape[1])) @ parts.T
    return float(np.quantile(np.ptp(noise, axis=1), level))


def _drawn(windows: Windows, left_out: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Studentised noise in every window that has some: (resamples, windows)."""
    if windows.why_not:
        return np.empty((resamples, 0))
    parts = influences(left_out[~np.isnan(windows.value)], windows.samples)
    error = np.sqrt((parts**2).sum(1, keepdims=True))
    parts = parts[error[:, 0] > 1e-12] / error[error[:, 0] > 1e-12]
    return rng.standard_normal((resamples, parts.shape[1])) @ parts.T
