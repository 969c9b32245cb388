"""Metrics per split and group, each with value, interval, counts, and words for what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from hpiclock.analysis.detection import choose_threshold
from hpiclock.analysis.frame_scores import (
    BASELINE_METRICS,
    CLASS_METRICS,
    FORMULAS,
    PREDICTED_CLOCK_METRICS,
    TIME_METRICS,
    FrameScores,
    GroupSums,
    dense_codes,
    frame_scores,
    group_sums,
)
from hpiclock.analysis.intervals import (
    Interval,
    jackknife_variance,
    metric_interval,
    samples_by_class,
    too_few_groups,
)
from hpiclock.analysis.time_errors import baseline_rows, with_baselines
from hpiclock.analysis.units import (
    ResamplingUnit,
    choose_resampling_unit,
    condition_codes,
    count_codes,
    ordered_splits,
    phase_frames,
)
from hpiclock.config.schema import StudyConfig
from hpiclock.tables import METRICS, check

CLASS = tuple(CLASS_METRICS)
TIME = (*TIME_METRICS, "median_error", *PREDICTED_CLOCK_METRICS)
BASELINES = tuple(BASELINE_METRICS)


def metric_rows(
    scores: FrameScores,
    metrics: Iterable[str],
    *,
    level: float,
    unit: str,
    remark: str = "",
    sums: GroupSums | None = None,
) -> list[dict[str, Any]]:
    """Return one dict per metric with ``metric value low high n n_stacks n_wells n_infected note``.

    Args:
        scores: the frames; those whose truth is unknown are left out and counted in the note.
        metrics: names of :data:`hpiclock.analysis.frame_scores.FORMULAS` or ``median_error``.
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


def _value(scores: FrameScores, sums: GroupSums, metric: str, level: float) -> tuple[float, Interval]:
    if metric == "median_error":
        return _median_error(scores, sums, level)
    value = float(FORMULAS[metric](sums.total))
    return value, metric_interval(sums, metric, level=level)


def _median_error(scores: FrameScores, sums: GroupSums, level: float) -> tuple[float, Interval]:
    """Median of the errors; the interval inverts the share of errors below it (Woodruff 1952)."""
    there = ~np.isnan(scores.error)
    errors = scores.error[there]
    nowhere = float("nan")
    if len(errors) == 0:
        return nowhere, Interval(nowhere, nowhere, "")
    value = float(np.median(errors))
    samples = samples_by_class(sums.kind, needed="all")
    few = too_few_groups(samples)
    if few:
        return value, Interval(nowhere, nowhere, few)
    k = len(sums.kind)
    group = dense_codes(scores.group)[1][there]
    below = np.bincount(group, weights=(errors < value) + 0.5 * (errors == value), minlength=k)
    n = np.bincount(group, minlength=k)
    if (n == n.sum()).any():
        return value, Interval(nowhere, nowhere, "no interval: one group alone makes the value defined")
    variance, df = jackknife_variance((below.sum() - below) / (n.sum() - n), list(samples.values()))
    half = float(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))
    low, high = np.quantile(errors, np.clip([0.5 - half, 0.5 + half], 0, 1))
    return value, Interval(float(low), float(high), "")


def _kind(metric: str) -> str:
    if metric in CLASS_METRICS:
        return "class"
    if metric in PREDICTED_CLOCK_METRICS:
        return "predicted clock"
    return "baseline" if metric in BASELINE_METRICS else "time"


def _used_rows(scores: FrameScores) -> dict[str, np.ndarray]:
    timed = ~np.isnan(scores.error)
    return {
        "class": ~np.isnan(scores.p),
        "time": timed,
        "predicted clock": ~np.isnan(scores.error_predicted),
        "baseline": timed & ~np.isnan(scores.off_clock),
    }


def _counts(scores: FrameScores, used: np.ndarray) -> dict[str, int]:
    return {
        "n": int(used.sum()),
        "n_stacks": count_codes(scores.stack[used]),
        "n_wells": count_codes(scores.well[used]),
        "n_infected": int((scores.truth[used] == 1).sum()),
    }


def _groups(sums: GroupSums, unit: str) -> str:
    infected, mock = int((sums.kind >= 1).sum()), int((sums.kind != 1).sum())
    return f"unit {unit}: {infected} infected, {mock} mock" if len(sums.kind) else ""


def _lost(scores: FrameScores, known: FrameScores, kind: str) -> str:
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


def _why_undefined(metric: str, sums: GroupSums, scores: FrameScores) -> str:
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


def _why_no_class_metric(metric: str, sums: GroupSums) -> str:
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


Mask = Callable[[pd.DataFrame], np.ndarray]


def metrics_by_split(predictions: pd.DataFrame, *, threshold: float, study: StudyConfig) -> pd.DataFrame:
    """Return every metric per run, split and group, with intervals.

    Groups: ``all``; ``infected`` and ``mock`` (by label); ``moi=...`` (infected wells of that MOI against
    all mock frames; time on its infected frames); and three phases by condition, ``before onset``,
    ``eclipse`` and ``after eclipse``: frames of infected wells in that range of hpi against mock frames of
    the same hours, whatever their label.

    Args:
        predictions: a PREDICTIONS table.
        threshold: from :func:`hpiclock.analysis.detection.choose_threshold`.
        study: the config section; ``level`` and ``eclipse_h`` are used.
    """
    rows: list[dict[str, Any]] = []
    for run, of_run in predictions.groupby("run", sort=True):
        for split in ordered_splits(of_run):
            of_split = of_run[of_run["split"].eq(split)].reset_index(drop=True)
            unit = choose_resampling_unit(of_split)
            scores = frame_scores(of_split, threshold=threshold, group=unit.codes)
            found = [
                *_by_label(of_split, scores, unit, baseline_rows(of_run, split), study),
                *_by_phase(of_split, scores, unit, study),
            ]
            rows += [{"run": run, "split": split, "start_h": np.nan, "end_h": np.nan} | row for row in found]
    return as_metrics(rows)


def as_metrics(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a checked METRICS table."""
    return check(METRICS, pd.DataFrame(rows, columns=list(METRICS.columns)))


def _by_label(
    rows: pd.DataFrame, scores: FrameScores, unit: ResamplingUnit, fit: pd.DataFrame, study: StudyConfig
) -> Iterator[dict[str, Any]]:
    hours = rows["hours"].to_numpy(float)
    for group, mask, metrics in _label_groups(rows):
        chosen = mask(rows)
        part = with_baselines(scores.take(chosen), hours[chosen], fit[mask(fit)])
        for row in metric_rows(part, metrics, level=study.level, unit=unit.unit, remark=unit.caveat):
            yield {"group": group} | row


def _label_groups(rows: pd.DataFrame) -> Iterator[tuple[str, Mask, tuple[str, ...]]]:
    timed = (*TIME, *BASELINES)
    yield "all", _every, (*CLASS, *timed)
    yield "infected", partial(_labelled, label=1), ("recall", "brier", *timed)
    yield "mock", partial(_labelled, label=0), ("specificity", "brier", *timed)
    for moi in sorted(rows.loc[condition_codes(rows) == 1, "moi"].dropna().unique()):
        yield f"moi={moi:g}", partial(_against_mock, moi=moi), CLASS
        yield f"moi={moi:g}", partial(_labelled, label=1, moi=moi), timed


def _every(rows: pd.DataFrame) -> np.ndarray:
    return np.ones(len(rows), bool)


def _labelled(rows: pd.DataFrame, *, label: int, moi: float | None = None) -> np.ndarray:
    mine = rows["label"].eq(label).fillna(False).to_numpy(bool)
    return mine if moi is None else mine & rows["moi"].eq(moi).to_numpy()


def _against_mock(rows: pd.DataFrame, *, moi: float) -> np.ndarray:
    return (condition_codes(rows) == 0) | rows["moi"].eq(moi).to_numpy()


def _by_phase(
    rows: pd.DataFrame, scores: FrameScores, unit: ResamplingUnit, study: StudyConfig
) -> Iterator[dict[str, Any]]:
    infected = condition_codes(rows)
    by_condition = scores.with_truth(infected)
    for phase, matched in phase_frames(rows, eclipse_h=study.eclipse_h).items():
        remark = "truth is the condition of the well; mock frames of the same hours"
        remark = "; ".join(word for word in (remark, unit.caveat) if word)
        names = ("auc", "auc_stratified", "recall", "specificity")
        for row in metric_rows(
            by_condition.take(matched), names, level=study.level, unit=unit.unit, remark=remark
        ):
            yield {"group": phase} | row


GROUPS = {
    "all": ("auc", "auc_stratified", "accuracy", "f1"),
    "infected": ("recall", "mae"),
    "mock": ("specificity", "mae"),
}
LABELS = {"infected": 1, "mock": 0}
COLUMNS = [
    "group",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "n_stacks",
    "n_wells",
    "n_infected",
    "n_seeds",
    "n_folds",
    "note",
]


def pooled_metrics(
    runs: Sequence[pd.DataFrame], *, study: StudyConfig, asked: Sequence[pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Return the metrics of several runs together: :data:`COLUMNS`, a row per group and metric.

    Each run keeps its own threshold, and scores of two models are never compared. Frames of a fold that
    several seeds were asked about count once in ``n``; their wells are the same wells.

    Args:
        runs: the PREDICTIONS of each run; validation rows give its threshold.
        study: ``level`` and ``threshold`` are used.
        asked: per run the test rows to be judged; by default all its test rows.
    """
    tests = [run[run["split"].eq("test")] for run in runs] if asked is None else list(asked)
    rows = pd.concat(tests, ignore_index=True)
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    unit = choose_resampling_unit(rows)
    cuts = np.repeat(
        [choose_threshold(run, rule=study.threshold).value for run in runs], [len(test) for test in tests]
    )
    scores = frame_scores(rows, threshold=0.5, group=unit.codes)
    scores = _called(scores, scores.p >= cuts)
    models = rows[["fold", "seed"]].drop_duplicates()
    counts = {"n_seeds": models["seed"].nunique(), "n_folds": models["fold"].nunique()}
    found: list[dict[str, Any]] = []
    for group, metrics in GROUPS.items():
        mine = scores.truth == LABELS[group] if group in LABELS else np.ones(len(scores), bool)
        part = scores.take(mine)
        for row in metric_rows(part, metrics, level=study.level, unit=unit.unit, remark=unit.caveat):
            once = {name: row[name] // counts["n_seeds"] for name in ("n", "n_infected")}
            found.append({"group": group} | row | once | counts)
    return pd.DataFrame(found, columns=COLUMNS)


def _called(scores: FrameScores, called: np.ndarray) -> FrameScores:
    values = {name: getattr(scores, name) for name in FrameScores.__dataclass_fields__}
    return FrameScores(**(values | {"called": called}))
