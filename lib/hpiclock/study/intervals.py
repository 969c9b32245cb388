"""Intervals for any metric of grouped frames.

The variance is the stratified jackknife over groups (infected and mock groups are separate samples; for
an AUC of groups of equal size it is Obuchowski's), the quantile Student's t with Satterthwaite's degrees
of freedom. Shares and AUCs get a score-type interval (:mod:`hpiclock.study.shape`), errors the same for
a spread. ``benchmarks/interval_coverage.py`` measures how often these and others hold the truth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from hpiclock.study.folded import variance_of_mean_absolute_error
from hpiclock.study.groups import MIN_GROUPS
from hpiclock.study.shape import Shape, score_interval, shape_of_auc, shape_of_share
from hpiclock.study.sums import FORMULAS, Sums

SHARES = frozenset({"auc", "auc_stratified", "accuracy", "f1", "precision", "recall", "specificity"})
POSITIVE = frozenset({"mae", "rmse", "mse", "brier", "mae_of_clock", "mae_of_mean"})
NOWHERE = float("nan")
SAME = "no interval: all groups give the same value"
ENOUGH = 10.0  # contributing groups with which the variance of a share is trusted
WIDEST = 10.0  # log scale: a factor of 22,000 either way is no statement


class Interval(NamedTuple):
    """Limits (NaN when there are none) and why there are none, or how they were made."""

    low: float
    high: float
    note: str


def interval(sums: Sums, metric: str, *, level: float) -> Interval:
    """Return the confidence interval of one metric.

    Args:
        sums: of the frames the metric is computed on.
        metric: a key of :data:`hpiclock.study.sums.FORMULAS`.
        level: for example 0.95.
    """
    formula = FORMULAS[metric]
    value = float(formula(sums.total))
    if np.isnan(value):
        return Interval(NOWHERE, NOWHERE, "")
    samples = strata(sums.kind, needed=_needed(metric))
    few = too_few(samples)
    if few:
        return Interval(NOWHERE, NOWHERE, few)
    left_out = formula(sums.without)
    groups = list(samples.values())
    if np.isnan(left_out[np.concatenate(groups)]).any():
        return Interval(NOWHERE, NOWHERE, "no interval: one group alone makes the value defined")
    if metric in SHARES:
        return _share(sums, metric, value, left_out, groups, level)
    if metric in POSITIVE or metric.startswith(("mae_", "rmse_", "mse_")):
        return _spread(sums, metric, value, left_out, groups, level)
    variance, df = jackknife(left_out, groups)
    if variance == 0:
        return Interval(NOWHERE, NOWHERE, SAME)
    half = float(stdtrit(shortened(df, deviations_of(left_out, groups)), (1 + level) / 2) * np.sqrt(variance))
    if not metric.startswith(("r2", "skill")):
        return Interval(value - half, value + half, "")
    step = half / (1 - value)  # on the scale of log(1 - value)
    if step > WIDEST:
        return Interval(NOWHERE, NOWHERE, "no interval: one group decides the value")
    return Interval(1 - (1 - value) * float(np.exp(step)), 1 - (1 - value) * float(np.exp(-step)), "")


def strata(kind: np.ndarray, *, needed: str) -> dict[str, np.ndarray]:
    """Return the samples the groups come from: name -> indices of groups.

    Groups of one class each are two samples. Groups that hold both classes are one sample; where any of
    the samples would be too small all groups are one.
    """
    infected, mock, both = (np.flatnonzero(kind == code) for code in (1, 0, 2))
    if needed == "infected":
        return {"infected": np.flatnonzero(kind != 0)}
    if needed == "mock":
        return {"mock": np.flatnonzero(kind != 1)}
    if len(both) == 0:
        return {name: at for name, at in (("infected", infected), ("mock", mock)) if len(at)}
    parts = {"infected": infected, "mock": mock, "both": both}
    if any(0 < len(at) < MIN_GROUPS for at in parts.values()):
        return {"both": np.arange(len(kind))}
    return {name: at for name, at in parts.items() if len(at)}


def too_few(kinds: dict[str, np.ndarray]) -> str:
    """Return the words why there is no interval, or nothing when each sample has groups enough."""
    for name, at in kinds.items():
        if len(at) < MIN_GROUPS:
            words = "" if name == "both" else f"{name} "
            plural = "group" if len(at) == 1 else "groups"
            return f"no interval: {len(at)} {words}{plural}, at least {MIN_GROUPS} needed"
    return ""


def jackknife(left_out: np.ndarray, samples: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the stratified delete-one variance and Satterthwaite's degrees of freedom, both (...,).

    The degrees of freedom of a variance of 0 are all there are.

    Args:
        left_out: (..., k) the estimate with each group left out.
        samples: indices of the groups of each sample, two or more each.
    """
    parts, weights = [], []
    for at in samples:
        values = left_out[..., at]
        spread = ((values - values.mean(-1, keepdims=True)) ** 2).sum(-1)
        parts.append((len(at) - 1) / len(at) * spread)
        weights.append(parts[-1] ** 2 / (len(at) - 1))
    total = np.sum(parts, axis=0)
    alone = total < 1e-30
    df = total**2 / np.where(alone, 1.0, np.sum(weights, axis=0))
    return np.where(alone, 0.0, total), np.where(alone, sum(len(at) - 1 for at in samples), df)


def deviations_of(left_out: np.ndarray, samples: list[np.ndarray]) -> np.ndarray:
    """Return how far each group moves the estimate: (..., groups of all samples)."""
    parts = [
        (len(at) - 1) * (left_out[..., at] - left_out[..., at].mean(-1, keepdims=True)) for at in samples
    ]
    return np.concatenate(parts, axis=-1)


def contributing(deviations: np.ndarray) -> np.ndarray:
    """Return the effective number of groups that make the variance, (sum d^2)^2 / sum d^4: (...,).

    About a third of the groups when deviations are normal, 1 when one group decides.
    """
    squares = deviations**2
    return squares.sum(-1) ** 2 / np.maximum((squares**2).sum(-1), 1e-300)


def trust(deviations: np.ndarray) -> np.ndarray:
    """Return 0..1: how far a jackknife variance can be trusted; near AUC 1 few groups make it: (...,)."""
    known = (deviations**2).sum(-1) > 1e-30
    return np.where(known, np.minimum(1.0, contributing(deviations) / (deviations.shape[-1] / 3)), 0.0)


def shortened(df: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom a variance has when its parts have heavier tails than normal ones."""
    kurtosis = deviations.shape[-1] / np.maximum(contributing(deviations), 1.0)
    return np.maximum(df * np.minimum(1.0, 2 / np.maximum(kurtosis - 1, 1.0)), 1.0)


def share_interval(
    value: np.ndarray,
    left_out: np.ndarray,
    samples: list[np.ndarray],
    *,
    shape: Shape,
    icc: np.ndarray,
    level: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of a share or an AUC: (...,) each.

    Args:
        value: (...,) the estimate.
        left_out: (..., k) the estimate with each group left out.
        samples: indices of the groups of each sample.
        shape: how the variance depends on the value.
        icc: (...,) correlation of the scores within groups.
        level: for example 0.95.
    """
    variance, df = jackknife(left_out, samples)
    deviations = deviations_of(left_out, samples)
    trusted = trust(deviations)
    if len(shape.fixed) == 2:  # a share: heavy tails shorten its degrees of freedom, many groups are enough
        df = shortened(df, deviations)
        trusted = np.where(trusted > 0, np.clip(contributing(deviations) / ENOUGH, trusted, 1.0), 0.0)
    return score_interval(value, variance, stdtrit(df, (1 + level) / 2), shape=shape, icc=icc, trust=trusted)


def _share(
    sums: Sums, metric: str, value: float, left_out: np.ndarray, groups: list[np.ndarray], level: float
) -> Interval:
    shape, icc = _shape(sums, metric)
    low, high = share_interval(np.array(value), left_out, groups, shape=shape, icc=np.array(icc), level=level)
    note = "no group errs: limit from how alike the scores of a group are" if value in (0.0, 1.0) else ""
    return Interval(float(low), float(high), note)


def _shape(sums: Sums, metric: str) -> tuple[Shape, float]:
    alike = sums.alike
    if metric.startswith("auc"):
        mock, infected = zip(alike.same_frame, alike.same_group, strict=True)
        return shape_of_auc(infected, mock), float(alike.icc.mean())
    weight = {"recall": np.array([0.0, 1.0]), "specificity": np.array([1.0, 0.0])}.get(metric, alike.n)
    weight = weight / weight.sum()
    frame, group = (weight**2 * alike.same_frame).sum(), (weight**2 * alike.same_group).sum()
    return shape_of_share(frame, group), float((weight * alike.icc).sum())


def _needed(metric: str) -> str:
    return {"recall": "infected", "specificity": "mock"}.get(metric, "all")


def spread_interval(
    value: np.ndarray, left_out: np.ndarray, samples: list[np.ndarray], *, floor: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the limits of a spread (an error that scales with its unit), and t x its relative error.

    All values t with ``|value - t| <= quantile * t * relative error``; the upper limit is cut at ten times
    the value.

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
    return value / (1 + step), value / (1 - np.minimum(step, 0.9)), step


def _spread(
    sums: Sums, metric: str, value: float, left_out: np.ndarray, groups: list[np.ndarray], level: float
) -> Interval:
    floor = np.array(0.0)
    if metric in ("mae", "mae_predicted_clock"):
        suffix = "" if metric == "mae" else "_pc"
        floor = variance_of_mean_absolute_error(sums.linear, groups, suffix=suffix)
    if value == 0 or jackknife(left_out, groups)[0] == 0:
        return Interval(NOWHERE, NOWHERE, SAME)
    low, high, step = spread_interval(np.array(value), left_out, groups, floor=floor, level=level)
    if step > WIDEST:
        return Interval(NOWHERE, NOWHERE, "no interval: one group decides the value")
    note = "upper limit cut at ten times the value" if step > 0.9 else ""
    return Interval(float(low), float(high), note)
