"""Intervals of mean absolute and mean squared errors, which scale with their unit and cannot be negative."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, ndtri, stdtrit

from hpiclock.analysis.frame_scores import GroupSums
from hpiclock.analysis.intervals.clustered import (
    NO_VARIATION,
    ONE_DECIDES,
    WIDEST,
    Interval,
    anova_of_sums,
    jackknife_deviations,
    jackknife_variance,
    no_interval,
    reduced_df,
)
from hpiclock.metrics import Metric

MIDDLE = 0.975  # the quantile whose ratio of Student's t to normal says how unsure a spread of few groups is


class VariancePart(NamedTuple):
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


def _parts(
    linear: Mapping[str, np.ndarray], samples: list[np.ndarray], suffix: str
) -> Iterator[VariancePart]:
    n = linear["n_pc" if suffix else "n_time"]
    total = n.sum(-1)
    for at in samples:
        size, error, square = (
            values[..., at] for values in (n, linear[f"err{suffix}"], linear[f"sq{suffix}"])
        )
        found = anova_of_sums(size, error, square)
        k, frames, shared = found.groups, found.n, found.variance_between
        spread = shared + found.within
        yield VariancePart(
            (k > 1) & (frames > k),
            frames / np.maximum(total, 1),
            k,
            frames,
            error.sum(-1) / np.maximum(frames, 1),
            spread,
            shared / np.where(spread > 0, spread, 1.0),
            (size * (size - 1)).sum(-1) / np.maximum(frames, 1) ** 2,
        )


REACH = 1.5  # steps on the log scale beyond which the upper limit does not grow faster


def error_limits(value: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of a mean absolute error: all t with ``|value - t| <= step * t``.

    Args:
        value: (...,) the estimate, above 0.
        step: (...,) Student's t times the relative error. From about 0.6 on the upper limit would run off
            to infinity; there it is ``value * exp(1.5 step)``.
    """
    open_ended = 1 / np.maximum(1 - step, 1e-300)
    return value / (1 + step), value * np.minimum(open_ended, np.exp(REACH * step))


def factors_of_mean_square(relative_variance: np.ndarray, *, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what to multiply a mean square with for its limits: (...,) each.

    A mean square with this variance over its squared mean is taken as chi-square with
    ``2 / relative_variance`` degrees of freedom (Satterthwaite 1946).
    """
    df = 2 / relative_variance
    upper, lower = (np.maximum(chdtri(df, (1 + side * level) / 2), 1e-300) for side in (-1, 1))
    return df / upper, df / lower


def error_interval(
    value: np.ndarray, left_out: np.ndarray, samples: list[np.ndarray], *, floor: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the limits of a mean absolute error, and t x its relative error.

    Args:
        value: (...,) the estimate, above 0.
        left_out: (..., k) the estimate with each group left out.
        samples: indices of the groups of each sample.
        floor: (...,) a variance from elsewhere; the mean of the jackknife and the larger of the two is used.
        level: for example 0.95.
    """
    variance, df = jackknife_variance(left_out, samples)
    variance = (variance + np.maximum(variance, floor)) / 2
    df = reduced_df(df, jackknife_deviations(left_out, samples))
    step = stdtrit(df, (1 + level) / 2) * np.sqrt(variance) / value
    return *error_limits(value, step), step


def interval_of_mean_absolute_error(
    sums: GroupSums, metric: Metric, left_out: np.ndarray, groups: list[np.ndarray], level: float
) -> Interval:
    """Return the interval of a mean absolute error; ``left_out`` and ``groups`` as elsewhere."""
    value, floor = float(metric.value(sums.total)), np.array(0.0)
    if metric.frames != "class":
        floor = variance_of_mean_absolute_error(sums.linear, groups, suffix=metric.suffix)
    if value == 0 or jackknife_variance(left_out, groups)[0] == 0:
        return no_interval(NO_VARIATION)
    low, high, step = error_interval(np.array(value), left_out, groups, floor=floor, level=level)
    if step > WIDEST:
        return no_interval(ONE_DECIDES)
    return Interval(float(low), float(high), "")


def interval_of_mean_square(
    sums: GroupSums, metric: Metric, left_out: np.ndarray, groups: list[np.ndarray], level: float
) -> Interval:
    """Return the interval of a mean square or its root; an R2 is 1 less a ratio of mean squares."""
    value, kind, suffix = float(metric.value(sums.total)), metric.interval, metric.suffix
    scale, left = (1 - value, 1 - left_out) if kind == "r2" else (value, left_out)
    if scale == 0:
        return no_interval(NO_VARIATION)
    variance, _ = jackknife_variance((left / scale) ** 2 if kind == "root" else left / scale, groups)
    if variance == 0:
        return no_interval(NO_VARIATION)
    mean = sums.total[f"sq{suffix}"] / sums.total[f"n{suffix or '_time'}"]
    floor = variance_of_mean_squared_error(sums.linear, groups, suffix=suffix) / mean**2
    low, high = factors_of_mean_square(np.maximum(variance, floor), level=level)
    if high > np.exp(WIDEST):
        return no_interval(ONE_DECIDES)
    if kind == "root":
        low, high = np.sqrt(low), np.sqrt(high)
    limits = (1 - scale * high, 1 - scale * low) if kind == "r2" else (scale * low, scale * high)
    return Interval(float(limits[0]), float(limits[1]), "")
