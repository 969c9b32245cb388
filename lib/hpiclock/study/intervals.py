"""Intervals for any metric of grouped frames: delete one group, on a scale where errors are near symmetric.

The variance is the stratified jackknife over groups (infected and mock groups are separate samples), the
quantile is Student's t with Satterthwaite's degrees of freedom over the two samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats
from scipy.special import expit

from hpiclock.study.groups import MIN_GROUPS
from hpiclock.study.sums import FORMULAS, Sums

SHARES = frozenset({"auc", "auc_stratified", "accuracy", "f1", "precision", "recall", "specificity"})
POSITIVE = frozenset({"mae", "rmse", "mse", "brier", "mae_of_clock", "mae_of_mean"})


class Interval(NamedTuple):
    """Limits (NaN when there are none) and why there are none, or how they were made."""

    low: float
    high: float
    note: str


NOWHERE = float("nan")
WIDEST = 10.0  # log scale: a factor of 22,000 either way is no statement


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
    kinds = strata(sums.kind, needed=_needed(metric))
    few = too_few(kinds)
    if few:
        return Interval(NOWHERE, NOWHERE, few)
    if metric in SHARES and value in (0.0, 1.0):
        return _at_the_edge(value, kinds, metric, level)
    left_out = formula(sums.without)
    if np.isnan(left_out[np.concatenate(list(kinds.values()))]).any():
        return Interval(NOWHERE, NOWHERE, "no interval: one group alone makes the value defined")
    variance, df = jackknife(left_out, list(kinds.values()))
    if variance == 0:
        return Interval(NOWHERE, NOWHERE, "no interval: all groups give the same value")
    half = float(stats.t.ppf((1 + level) / 2, df)) * np.sqrt(variance)
    return _on_scale(metric, value, half)


def strata(kind: np.ndarray, *, needed: str) -> dict[str, np.ndarray]:
    """Return the samples the groups come from: name -> indices of groups.

    Groups of one class each are two samples. Groups that hold both classes are one sample; a lone group
    of another kind joins it.
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


def jackknife(left_out: np.ndarray, samples: list[np.ndarray]) -> tuple[float, float]:
    """Return the stratified delete-one variance and Satterthwaite's degrees of freedom.

    Args:
        left_out: (k,) the estimate with each group left out.
        samples: indices of the groups of each sample, two or more each.
    """
    parts = []
    for at in samples:
        values = left_out[at]
        parts.append((len(at) - 1) / len(at) * float(((values - values.mean()) ** 2).sum()))
    total = sum(parts)
    if total == 0:
        return 0.0, float("nan")
    return total, total**2 / sum(v**2 / (len(at) - 1) for v, at in zip(parts, samples, strict=True))


def _needed(metric: str) -> str:
    return {"recall": "infected", "specificity": "mock"}.get(metric, "all")


def too_few(kinds: dict[str, np.ndarray]) -> str:
    """Return the words why there is no interval, or nothing when each sample has groups enough."""
    for name, at in kinds.items():
        if len(at) < MIN_GROUPS:
            words = "" if name == "both" else f"{name} "
            plural = "group" if len(at) == 1 else "groups"
            return f"no interval: {len(at)} {words}{plural}, at least {MIN_GROUPS} needed"
    return ""


def _on_scale(metric: str, value: float, half: float) -> Interval:
    """Put value +- half onto the metric's own scale (logit, log, or none) by the delta method."""
    if metric in SHARES:
        centre, step = np.log(value / (1 - value)), half / (value * (1 - value))
        low, high = expit(centre - step), expit(centre + step)
        return Interval(float(low), float(high), "")
    on_log = metric in POSITIVE or metric.startswith(("mae_", "rmse_", "mse_"))
    if not on_log and not metric.startswith(("r2", "skill")):
        return Interval(value - half, value + half, "")
    size = value if on_log else 1 - value
    step = half / size
    if step > WIDEST:
        return Interval(NOWHERE, NOWHERE, "no interval: one group decides the value")
    low, high = size * np.exp(-step), size * np.exp(step)
    return Interval(low, high, "") if on_log else Interval(1 - high, 1 - low, "")


def _at_the_edge(value: float, kinds: dict[str, np.ndarray], metric: str, level: float) -> Interval:
    """Score-type interval for a value of exactly 0 or 1, each group counted once."""
    sizes = [len(at) for at in kinds.values()]
    z = float(stats.norm.ppf((1 + level) / 2))
    if metric.startswith("auc"):
        # a group that holds both classes counts in both samples
        m, n = (sizes[0], sizes[-1]) if len(sizes) < 3 else (sizes[0] + sizes[2], sizes[1] + sizes[2])
        far = _score_limit_of_auc(m, n, z)
    else:
        far = z**2 / (sum(sizes) + z**2)  # Wilson's limit
    note = "limit from a score test with one observation per group, because no group errs"
    return Interval(1 - far, 1.0, note) if value == 1.0 else Interval(0.0, far, note)


def _score_limit_of_auc(m: int, n: int, z: float) -> float:
    """Return 1 - the lower limit for AUC = 1 by Newcombe's (2006) score method with m and n observations."""

    def excess(far: float) -> float:
        auc = 1 - far
        half = (m + n) / 2 - 1
        variance = auc * far / (m * n) * (1 + half * far / (1 + far) + half * auc / (1 + auc))
        return far**2 - z**2 * variance

    return float(optimize.brentq(excess, 1e-12, 1 - 1e-12))
