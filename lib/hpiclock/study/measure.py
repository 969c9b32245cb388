"""One set of frames in, METRICS rows out: value, interval, counts, and words for what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.special import stdtrit

from hpiclock.study.intervals import Interval, interval, jackknife, strata, too_few
from hpiclock.study.scores import Scores, dense
from hpiclock.study.sums import (
    BASELINE_METRICS,
    CLASS_METRICS,
    FORMULAS,
    PREDICTED_CLOCK_METRICS,
    TIME_METRICS,
    Sums,
    group_sums,
)

CLASS = tuple(CLASS_METRICS)
TIME = (*TIME_METRICS, "median_error", *PREDICTED_CLOCK_METRICS)
BASELINES = tuple(BASELINE_METRICS)


def measure(
    scores: Scores,
    metrics: Iterable[str],
    *,
    level: float,
    unit: str,
    remark: str = "",
    sums: Sums | None = None,
) -> list[dict[str, Any]]:
    """Return one dict per metric with ``metric value low high n n_stacks n_wells n_infected note``.

    Args:
        scores: the frames; those whose truth is unknown are left out and counted in the note.
        metrics: names of :data:`hpiclock.study.sums.FORMULAS` or ``median_error``.
        level: of the intervals.
        unit: what a group is (plate, well, position), for the note.
        remark: added to every note.
        sums: of these frames, where the caller has them already.
    """
    known = scores.take(scores.truth >= 0)
    sums = group_sums(known) if sums is None else sums
    counts = {kind: _counts(known, used) for kind, used in _used_rows(known).items()}
    rows = []
    for metric in metrics:
        value, limits = _value(known, sums, metric, level)
        kind = _kind(metric)
        reason = _why_undefined(metric, sums, known) if np.isnan(value) else ""
        words = [reason, limits.note, _lost(scores, known, kind), _groups(sums, unit), remark]
        note = "; ".join(word for word in words if word)
        rows.append(
            {"metric": metric, "value": value, "low": limits.low, "high": limits.high}
            | counts[kind]
            | {"note": note}
        )
    return rows


def _value(scores: Scores, sums: Sums, metric: str, level: float) -> tuple[float, Interval]:
    if metric == "median_error":
        return _median_error(scores, sums, level)
    value = float(FORMULAS[metric](sums.total))
    return value, interval(sums, metric, level=level)


def _median_error(scores: Scores, sums: Sums, level: float) -> tuple[float, Interval]:
    """Median of the errors; the interval inverts the share of errors below it (Woodruff 1952)."""
    there = ~np.isnan(scores.error)
    errors = scores.error[there]
    nowhere = float("nan")
    if len(errors) == 0:
        return nowhere, Interval(nowhere, nowhere, "")
    value = float(np.median(errors))
    samples = strata(sums.kind, needed="all")
    few = too_few(samples)
    if few:
        return value, Interval(nowhere, nowhere, few)
    k = len(sums.kind)
    group = dense(scores.group)[1][there]
    below = np.bincount(group, weights=(errors < value) + 0.5 * (errors == value), minlength=k)
    n = np.bincount(group, minlength=k)
    if (n == n.sum()).any():
        return value, Interval(nowhere, nowhere, "no interval: one group alone makes the value defined")
    variance, df = jackknife((below.sum() - below) / (n.sum() - n), list(samples.values()))
    half = float(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))
    low, high = np.quantile(errors, np.clip([0.5 - half, 0.5 + half], 0, 1))
    return value, Interval(float(low), float(high), "")


def _kind(metric: str) -> str:
    if metric in CLASS_METRICS:
        return "class"
    if metric in PREDICTED_CLOCK_METRICS:
        return "predicted clock"
    return "baseline" if metric in BASELINE_METRICS else "time"


def _used_rows(scores: Scores) -> dict[str, np.ndarray]:
    timed = ~np.isnan(scores.error)
    return {
        "class": ~np.isnan(scores.p),
        "time": timed,
        "predicted clock": ~np.isnan(scores.error_predicted),
        "baseline": timed & ~np.isnan(scores.off_clock),
    }


def _counts(scores: Scores, used: np.ndarray) -> dict[str, int]:
    wells = _distinct(scores.well[used])
    return {
        "n": int(used.sum()),
        "n_stacks": _distinct(scores.stack[used]),
        "n_wells": wells,
        "n_infected": int((scores.truth[used] == 1).sum()),
    }


def _distinct(codes: np.ndarray) -> int:
    """How many codes there are; -1 is none."""
    return int(np.count_nonzero(np.bincount(codes + 1, minlength=1)[1:]))


def _groups(sums: Sums, unit: str) -> str:
    infected, mock = int((sums.kind >= 1).sum()), int((sums.kind != 1).sum())
    return f"unit {unit}: {infected} infected, {mock} mock" if len(sums.kind) else ""


def _lost(scores: Scores, known: Scores, kind: str) -> str:
    words = []
    unknown = len(scores) - len(known)
    if unknown:
        words.append(f"{unknown} frames without a label not scored")
    if kind == "class" and (blank := int(np.isnan(known.p).sum())):
        words.append(f"{blank} frames without P(infected) left out")
    if kind in ("time", "baseline") and (blank := int(np.isnan(known.error).sum())):
        words.append(f"{blank} frames without a time target or prediction left out")
    if kind == "predicted clock":
        blank = int((np.isnan(known.error_predicted) & ~np.isnan(known.error)).sum())
        if blank:
            words.append(f"{blank} mock frames called infected have no onset and are left out")
    return "; ".join(words)


def _why_undefined(metric: str, sums: Sums, scores: Scores) -> str:
    if len(scores) == 0:
        return "no frames"
    t = sums.total
    if metric in CLASS_METRICS:
        return _why_no_class_metric(metric, sums)
    if not (~np.isnan(scores.error)).any():
        return "no time predictions"
    if metric in BASELINE_METRICS:
        if t["n_base"] == 0:
            return "no training or validation frames to fit the baseline on"
        if metric == "skill_over_clock":
            return "the time target is the clock less a constant: a clock alone makes no error"
        return "the time target does not vary"
    if metric in PREDICTED_CLOCK_METRICS and t["n_pc"] == 0:
        return "no frame has a time under the predicted clock"
    return "the time target does not vary"


def _why_no_class_metric(metric: str, sums: Sums) -> str:
    t = sums.total
    if t["n"] == 0:
        return "no P(infected)"
    positives, negatives = t["tp"] + t["fn"], t["tn"] + t["fp"]
    if metric == "recall":
        return "no infected frames"
    if metric == "specificity":
        return "no uninfected frames"
    if positives == 0 or negatives == 0:
        return "one class only: " + ("no uninfected frames" if positives else "no infected frames")
    if metric == "precision":
        return "nothing called infected"
    if metric in ("auc_stratified", "auc_gap"):
        return "no hour holds frames of both classes"
    return "no two frames of different class come from the same model"
