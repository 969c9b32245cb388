"""Intervals for any metric of grouped frames.

The variance is the stratified jackknife over groups (infected and mock groups are separate samples; for
an AUC of groups of equal size it is Obuchowski's), the quantile Student's t with Satterthwaite's degrees
of freedom. Shares and AUCs get a score-type interval (:mod:`hpiclock.study.shape`), errors an interval on
the log scale. ``benchmarks/interval_coverage.py`` measures how often these and others hold the truth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from hpiclock.study.groups import MIN_GROUPS
from hpiclock.study.shape import Shape, score_interval, shape_of_auc, shape_of_share
from hpiclock.study.sums import FORMULAS, Sums

SHARES = frozenset({"auc", "auc_stratified", "accuracy", "f1", "precision", "recall", "specificity"})
POSITIVE = frozenset({"mae", "rmse", "mse", "brier", "mae_of_clock", "mae_of_mean"})
NOWHERE = float("nan")
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
    variance, df = jackknife(left_out, groups)
    if variance == 0:
        return Interval(NOWHERE, NOWHERE, "no interval: all groups give the same value")
    half = float(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))
    return _on_scale(metric, value, half)


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


def trust(deviations: np.ndarray) -> np.ndarray:
    """Return 0..1: how far a jackknife variance can be trusted, from how many groups make it: (...,).

    The effective number of contributing groups, (sum d^2)^2 / sum d^4, is about a third of the groups when
    deviations are normal, and 1 when one group decides; near AUC 1 few groups do.

    Args:
        deviations: (..., k) the deviations of the groups from their sample's mean.
    """
    squares = deviations**2
    total = squares.sum(-1)
    contributing = total**2 / np.maximum((squares**2).sum(-1), 1e-300)
    return np.where(total > 1e-30, np.minimum(1.0, contributing / (deviations.shape[-1] / 3)), 0.0)


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
    deviations = [
        (len(at) - 1) * (left_out[..., at] - left_out[..., at].mean(-1, keepdims=True)) for at in samples
    ]
    return score_interval(
        value, variance, stdtrit(df, (1 + level) / 2),
        shape=shape, icc=icc, trust=trust(np.concatenate(deviations, axis=-1)),
    )  # fmt: skip


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


def _on_scale(metric: str, value: float, half: float) -> Interval:
    """Put value +- half onto the metric's own scale (log, or none) by the delta method."""
    on_log = metric in POSITIVE or metric.startswith(("mae_", "rmse_", "mse_"))
    if not on_log and not metric.startswith(("r2", "skill")):
        return Interval(value - half, value + half, "")
    size = value if on_log else 1 - value
    step = half / size
    if step > WIDEST:
        return Interval(NOWHERE, NOWHERE, "no interval: one group decides the value")
    low, high = size * np.exp(-step), size * np.exp(step)
    return Interval(low, high, "") if on_log else Interval(1 - high, 1 - low, "")
