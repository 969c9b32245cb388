"""Intervals of mean absolute and mean squared errors, which scale with their unit and cannot be negative."""

from __future__ import annotations

import numpy as np
from scipy.special import chdtri, stdtrit

from hpiclock.study.folded import variance_of_mean_absolute_error, variance_of_mean_squared_error
from hpiclock.study.jackknife import (
    NOWHERE,
    ONE_DECIDES,
    SAME,
    WIDEST,
    Interval,
    deviations_of,
    jackknife,
    shortened,
)
from hpiclock.study.sums import Sums

ABSOLUTE = frozenset({"mae", "brier", "mae_predicted_clock"})
PREDICTED = "_predicted_clock"
SQUARES = frozenset({name + clock for name in ("mse", "rmse", "r2") for clock in ("", PREDICTED)})
REACH = 1.5  # steps on the log scale beyond which the upper limit does not grow faster


def spread_limits(value: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def spread_interval(
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
    variance, df = jackknife(left_out, samples)
    variance = (variance + np.maximum(variance, floor)) / 2
    df = shortened(df, deviations_of(left_out, samples))
    step = stdtrit(df, (1 + level) / 2) * np.sqrt(variance) / value
    return *spread_limits(value, step), step


def interval_of_mean_absolute_error(
    sums: Sums, metric: str, value: float, left_out: np.ndarray, groups: list[np.ndarray], level: float
) -> Interval:
    """Return the interval of a metric of :data:`ABSOLUTE`; ``left_out`` and ``groups`` as elsewhere."""
    floor = np.array(0.0)
    if metric != "brier":
        suffix = "_pc" if metric.endswith(PREDICTED) else ""
        floor = variance_of_mean_absolute_error(sums.linear, groups, suffix=suffix)
    if value == 0 or jackknife(left_out, groups)[0] == 0:
        return Interval(NOWHERE, NOWHERE, SAME)
    low, high, step = spread_interval(np.array(value), left_out, groups, floor=floor, level=level)
    if step > WIDEST:
        return Interval(NOWHERE, NOWHERE, ONE_DECIDES)
    return Interval(float(low), float(high), "")


def interval_of_mean_square(
    sums: Sums, metric: str, value: float, left_out: np.ndarray, groups: list[np.ndarray], level: float
) -> Interval:
    """Return the interval of a metric of :data:`SQUARES`; an R2 is 1 less a ratio of mean squares."""
    kind = metric.removesuffix(PREDICTED)
    scale, left = (1 - value, 1 - left_out) if kind == "r2" else (value, left_out)
    if scale == 0:
        return Interval(NOWHERE, NOWHERE, SAME)
    variance, _ = jackknife((left / scale) ** 2 if kind == "rmse" else left / scale, groups)
    if variance == 0:
        return Interval(NOWHERE, NOWHERE, SAME)
    n, suffix = ("n_pc", "_pc") if metric.endswith(PREDICTED) else ("n_time", "")
    mean = sums.total[f"sq{suffix}"] / sums.total[n]
    floor = variance_of_mean_squared_error(sums.linear, groups, suffix=suffix) / mean**2
    low, high = factors_of_mean_square(np.maximum(variance, floor), level=level)
    if high > np.exp(WIDEST):
        return Interval(NOWHERE, NOWHERE, ONE_DECIDES)
    if kind == "rmse":
        low, high = np.sqrt(low), np.sqrt(high)
    limits = (1 - scale * high, 1 - scale * low) if kind == "r2" else (scale * low, scale * high)
    return Interval(float(limits[0]), float(limits[1]), "")
