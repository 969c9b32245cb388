"""The one home of every formula: per-group sums of a predictions table, and metrics as functions of them.

A metric is a function of totals. The totals of all groups give the point estimate; the totals with one
group left out give the jackknife; weighted totals give any resampling (:mod:`hpiclock.study.resample`).
The AUC is wins / pairs: pairs of an infected and an uninfected frame, and how many of them the infected
frame wins (a tie is half a win).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hpiclock.study.alike import Alike, alike
from hpiclock.study.scores import Scores, dense

Totals = Mapping[str, np.ndarray]
LINEAR = (
    "n", "tp", "fp", "tn", "fn",
    "n_time", "abs", "err", "sq", "y", "yy",
    "n_pc", "abs_pc", "err_pc", "sq_pc", "y_pc", "yy_pc",
    "n_base", "abs_base", "abs_clock", "abs_mean", "brier",
)  # fmt: skip


@dataclass(frozen=True)
class Sums:
    """Sufficient statistics of a set of frames in ``k`` groups.

    total: name -> () sums over all groups; without: name -> (k,) the same with one group left out;
    linear: name -> (k,) each group's own sums; kind: (k,) 0 only uninfected, 1 only infected, 2 both;
    codes: (k,) which group of the scores each is; alike: how alike the scores of a group are.
    """

    total: dict[str, np.ndarray]
    without: dict[str, np.ndarray]
    linear: dict[str, np.ndarray]
    kind: np.ndarray
    codes: np.ndarray
    alike: Alike


def group_sums(scores: Scores) -> Sums:
    """Return the sums of all frames whose truth is known.

    Frames without a P(infected) count for time only, frames without a time prediction for class only.
    """
    scores = scores.take(scores.truth >= 0)
    codes, group = dense(scores.group)
    k = len(codes)
    linear = linear_sums(scores, group, k)
    total = {name: values.sum() for name, values in linear.items()}
    without = {name: total[name] - values for name, values in linear.items()}
    _add_pairs(scores, group, k, total, without)
    has = [np.bincount(group, weights=scores.truth == truth, minlength=k) > 0 for truth in (0, 1)]
    kind = np.where(has[0] & has[1], 2, np.where(has[1], 1, 0))
    return Sums(total, without, linear, kind, codes, alike(scores, group, k))


def linear_sums(scores: Scores, group: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Return the sums named in :data:`LINEAR` of each group, (k,) each; groups are coded 0..k-1."""
    seen = ~np.isnan(scores.p)
    positive, called = scores.truth == 1, scores.called
    columns: dict[str, np.ndarray] = {
        "n": seen,
        "tp": seen & positive & called,
        "fp": seen & ~positive & called,
        "tn": seen & ~positive & ~called,
        "fn": seen & positive & ~called,
        "brier": (scores.p - positive) ** 2,
        **_time_columns(scores.error, scores.target, ""),
        **_time_columns(scores.error_predicted, scores.target_predicted, "_pc"),
    }
    based = ~np.isnan(scores.error) & ~np.isnan(scores.off_clock) & ~np.isnan(scores.off_mean)
    columns["n_base"] = based
    columns["abs_base"] = np.where(based, np.abs(scores.error), 0.0)
    columns["abs_clock"] = np.where(based, np.abs(scores.off_clock), 0.0)
    columns["abs_mean"] = np.where(based, np.abs(scores.off_mean), 0.0)
    return {
        name: np.bincount(group, weights=np.nan_to_num(values.astype(float)), minlength=k)
        for name, values in columns.items()
    }


def _time_columns(error: np.ndarray, target: np.ndarray, suffix: str) -> dict[str, np.ndarray]:
    there = ~np.isnan(error)
    centre = target[there].mean() if there.any() else 0.0  # keeps the sum of squares exact
    y = np.where(there, target - centre, 0.0)
    e = np.where(there, error, 0.0)
    n = "n_time" if suffix == "" else "n_pc"
    return {
        n: there,
        f"abs{suffix}": np.abs(e),
        f"err{suffix}": e,
        f"sq{suffix}": e**2,
        f"y{suffix}": y,
        f"yy{suffix}": y**2,
    }


def _add_pairs(
    scores: Scores, group: np.ndarray, k: int, total: dict[str, np.ndarray], without: dict[str, np.ndarray]
) -> None:
    seen = ~np.isnan(scores.p)
    parts = scores.take(seen)
    group = group[seen]
    if len(parts) == 0 or (parts.truth == parts.truth[0]).all():
        for name in ("wins", "pairs", "wins_same_hour", "pairs_same_hour"):
            total[name], without[name] = np.array(0.0), np.zeros(k)
        return
    _, rank = np.unique(parts.p, return_inverse=True)
    for suffix, block in (("", parts.model), ("_same_hour", _joined(parts.model, parts.stratum))):
        for name, values in pair_sums(rank, parts.truth == 1, group, block, k).items():
            row, column, own = values
            total[name + suffix] = row.sum()
            without[name + suffix] = row.sum() - row - column + own


def _joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    b = b - b.min(initial=0)
    return a * (int(b.max()) + 1 if len(b) else 1) + b


def pair_sums(
    rank: np.ndarray, positive: np.ndarray, group: np.ndarray, block: np.ndarray, k: int
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return wins and pairs of each group's positives, of its negatives, and inside the group: (k,) each.

    Only frames of the same block meet. O(n log n), so that a million frames take a second.
    """
    block = dense(block - block.min(initial=0))[1]
    row = _wins_of_positives(rank, positive, block)
    column = _wins_of_positives(-rank + (rank.max() if len(rank) else 0), ~positive, block)
    inside = block * k + group
    own = _wins_of_positives(rank, positive, inside)
    out = {}
    for at, name in enumerate(("wins", "pairs")):
        out[name] = (
            np.bincount(group[positive], weights=row[at], minlength=k),
            np.bincount(group[~positive], weights=column[at], minlength=k),
            np.bincount(group[positive], weights=own[at], minlength=k),
        )
    return out


def _wins_of_positives(
    rank: np.ndarray, positive: np.ndarray, block: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each positive: how many negatives of its block it beats (ties half), and how many there are."""
    width = int(rank.max()) + 1 if len(rank) else 1
    key = block.astype(np.int64) * width + rank
    negatives = np.sort(key[~positive])
    mine = key[positive]
    start = block[positive].astype(np.int64) * width
    first = np.searchsorted(negatives, start, "left")
    below = np.searchsorted(negatives, mine, "left") - first
    upto = np.searchsorted(negatives, mine, "right") - first
    pairs = np.searchsorted(negatives, start + width, "left") - first
    return (below + upto) / 2, pairs.astype(float)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, np.divide(numerator, denominator), np.nan)


def _both_classes(t: Totals, values: np.ndarray) -> np.ndarray:
    return np.where((t["tp"] + t["fn"] > 0) & (t["tn"] + t["fp"] > 0), values, np.nan)


def _r2(t: Totals, suffix: str) -> np.ndarray:
    n = t["n_time" if suffix == "" else "n_pc"]
    spread = t[f"yy{suffix}"] - _ratio(t[f"y{suffix}"] ** 2, n)
    # a target that does not vary leaves rounding, not zero
    flat = spread <= 1e-12 * np.maximum(np.max(t[f"yy{suffix}"], initial=0.0), 1.0)
    return 1 - _ratio(t[f"sq{suffix}"], np.where(flat, 0.0, spread))


def _skill(t: Totals, baseline: str) -> np.ndarray:
    flat = t[baseline] <= 1e-9 * np.maximum(t["n_base"], 1)
    return 1 - _ratio(t["abs_base"], np.where(flat, 0.0, t[baseline]))


CLASS_METRICS: dict[str, Callable[[Totals], np.ndarray]] = {
    "auc": lambda t: _ratio(t["wins"], t["pairs"]),
    "auc_stratified": lambda t: _ratio(t["wins_same_hour"], t["pairs_same_hour"]),
    "auc_gap": lambda t: _ratio(t["wins"], t["pairs"]) - _ratio(t["wins_same_hour"], t["pairs_same_hour"]),
    "accuracy": lambda t: _ratio(t["tp"] + t["tn"], t["n"]),
    "f1": lambda t: _both_classes(t, _ratio(2 * t["tp"], 2 * t["tp"] + t["fp"] + t["fn"])),
    "precision": lambda t: _both_classes(t, _ratio(t["tp"], t["tp"] + t["fp"])),
    "recall": lambda t: _ratio(t["tp"], t["tp"] + t["fn"]),
    "specificity": lambda t: _ratio(t["tn"], t["tn"] + t["fp"]),
    "brier": lambda t: _ratio(t["brier"], t["n"]),
}
TIME_METRICS: dict[str, Callable[[Totals], np.ndarray]] = {
    "mae": lambda t: _ratio(t["abs"], t["n_time"]),
    "rmse": lambda t: np.sqrt(_ratio(t["sq"], t["n_time"])),
    "mse": lambda t: _ratio(t["sq"], t["n_time"]),
    "bias": lambda t: _ratio(t["err"], t["n_time"]),
    "r2": lambda t: _r2(t, ""),
}
PREDICTED_CLOCK_METRICS: dict[str, Callable[[Totals], np.ndarray]] = {
    "mae_predicted_clock": lambda t: _ratio(t["abs_pc"], t["n_pc"]),
    "rmse_predicted_clock": lambda t: np.sqrt(_ratio(t["sq_pc"], t["n_pc"])),
    "mse_predicted_clock": lambda t: _ratio(t["sq_pc"], t["n_pc"]),
    "bias_predicted_clock": lambda t: _ratio(t["err_pc"], t["n_pc"]),
    "r2_predicted_clock": lambda t: _r2(t, "_pc"),
}
BASELINE_METRICS: dict[str, Callable[[Totals], np.ndarray]] = {
    "mae_of_clock": lambda t: _ratio(t["abs_clock"], t["n_base"]),
    "mae_of_mean": lambda t: _ratio(t["abs_mean"], t["n_base"]),
    "gain_over_clock": lambda t: _ratio(t["abs_clock"] - t["abs_base"], t["n_base"]),
    "gain_over_mean": lambda t: _ratio(t["abs_mean"] - t["abs_base"], t["n_base"]),
    "skill_over_clock": lambda t: _skill(t, "abs_clock"),
    "skill_over_mean": lambda t: _skill(t, "abs_mean"),
}
FORMULAS = CLASS_METRICS | TIME_METRICS | PREDICTED_CLOCK_METRICS | BASELINE_METRICS
