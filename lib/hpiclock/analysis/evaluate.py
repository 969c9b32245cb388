"""Metrics per split and group, each with value, interval, counts, and words for what is missing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.analysis import units
from hpiclock.analysis.clustered import Interval, no_interval, samples_by_class, t_interval, too_few_groups
from hpiclock.analysis.detection import choose_threshold
from hpiclock.analysis.frame_scores import FrameScores, GroupSums, dense_codes, frame_scores, group_sums
from hpiclock.analysis.intervals import METHODS, metric_interval
from hpiclock.analysis.time_errors import baseline_rows, with_baselines
from hpiclock.config.schema import StudyConfig
from hpiclock.metrics import METRICS, Frames, Metric, metrics_of
from hpiclock.tables import METRICS as METRICS_TABLE
from hpiclock.tables import check, table_of


def metric_rows(
    scores: FrameScores,
    metrics: Iterable[str],
    *,
    level: float,
    unit: units.ResamplingUnit,
    remark: str = "",
    sums: GroupSums | None = None,
) -> list[dict[str, Any]]:
    """Return one dict per metric with ``metric value low high n n_stacks n_wells n_infected note method``.

    Args:
        scores: the frames; those whose truth is unknown are left out and counted in the note.
        metrics: names in :data:`hpiclock.metrics.METRICS`.
        level: of the intervals.
        unit: what a group is; its name and its caveat stand in every note.
        remark: added to every note.
        sums: of these frames, where the caller has them already.
    """
    known = scores.take(scores.truth >= 0)
    sums = group_sums(known) if sums is None else sums
    counts = {frames: _counts(known, used) for frames, used in _used_rows(known).items()}
    rows = []
    for metric in map(METRICS.__getitem__, metrics):
        if metric.interval == "median":
            value, limits = _median_error(known, sums, level)
        else:
            value, limits = float(metric.value(sums.total)), metric_interval(sums, metric.name, level=level)
        reason = _why_undefined(metric, sums, counts) if np.isnan(value) else ""
        lost, groups = _lost(scores, known, metric.frames), _groups(sums, unit.unit)
        why = limits.note.replace("group", unit.unit)
        note = "; ".join(filter(None, [reason, why, lost, groups, remark, unit.caveat]))
        estimate = {"metric": metric.name, "value": value, "low": limits.low, "high": limits.high}
        method = METHODS[metric.interval] if np.isfinite(limits.low) else ""
        rows.append(estimate | counts[metric.frames] | {"note": note, "method": method})
    return rows


def _median_error(scores: FrameScores, sums: GroupSums, level: float) -> tuple[float, Interval]:
    """Median of the errors; the interval inverts the share of errors below it (Woodruff 1952)."""
    there = ~np.isnan(scores.error)
    errors = scores.error[there]
    if len(errors) == 0:
        return np.nan, no_interval()
    value = float(np.median(errors))
    samples = samples_by_class(sums.kind, needed="all")
    few = too_few_groups(samples)
    if few:
        return value, no_interval(few)
    k = len(sums.kind)
    group = dense_codes(scores.group)[1][there]
    below = np.bincount(group, weights=(errors < value) + 0.5 * (errors == value), minlength=k)
    n = np.bincount(group, minlength=k)
    if (n == n.sum()).any():
        return value, no_interval("no interval: one group alone makes the value defined")
    shares = t_interval(0.5, (below.sum() - below) / (n.sum() - n), list(samples.values()), level=level)
    low, high = np.quantile(errors, np.clip(shares, 0, 1))
    return value, Interval(float(low), float(high), "")


def _used_rows(scores: FrameScores) -> dict[Frames, np.ndarray]:
    timed = ~np.isnan(scores.error)
    return {
        "class": ~np.isnan(scores.p),
        "matched": scores.matched,
        "time": timed,
        "predicted clock": ~np.isnan(scores.error_predicted),
        "baseline": timed & ~np.isnan(scores.off_clock),
    }


def _counts(scores: FrameScores, used: np.ndarray) -> dict[str, int]:
    return {
        "n": int(used.sum()),
        "n_stacks": units.count_codes(scores.stack[used]),
        "n_wells": units.count_codes(scores.well[used]),
        "n_infected": int((scores.truth[used] == 1).sum()),
    }


def _groups(sums: GroupSums, unit: str) -> str:
    infected, mock = int((sums.kind >= 1).sum()), int((sums.kind != 1).sum())
    return f"unit {unit}: {infected} infected, {mock} mock" if len(sums.kind) else ""


def _lost(scores: FrameScores, known: FrameScores, frames: Frames) -> str:
    words = []
    unknown = len(scores) - len(known)
    if unknown:
        words.append(f"{unknown} frames without a label not scored")
    if frames in ("class", "matched") and (blank := int(np.isnan(known.p).sum())):
        words.append(f"{blank} frames without P(infected) left out")
    if frames == "matched" and (alone := int((~known.matched & ~np.isnan(known.p)).sum())):
        words.append(f"{alone} frames without the other class at their plate and hour left out")
    timed = ~np.isnan(known.error)
    if frames in ("time", "baseline") and (blank := int((~timed).sum())):
        words.append(f"{blank} frames without a time target or prediction left out")
    if frames == "predicted clock" and (blank := int((np.isnan(known.error_predicted) & timed).sum())):
        words.append(f"{blank} mock frames called infected have no onset and are left out")
    return "; ".join(words)


NO_FRAMES: dict[Frames, str] = {
    "class": "no P(infected)",
    "matched": "no plate and hour holds frames of both classes",
    "time": "no time predictions",
    "predicted clock": "no frame has a time under the predicted clock",
    "baseline": "no training or validation frames to fit the baseline on",
}


def _why_undefined(metric: Metric, sums: GroupSums, counts: dict[Frames, dict[str, int]]) -> str:
    if len(sums.kind) == 0:
        return "no frames"
    if not metric.of_class and counts["time"]["n"] == 0:
        return NO_FRAMES["time"]
    first: Frames = "class" if metric.of_class else metric.frames
    n, infected = counts[first]["n"], counts[first]["n_infected"]
    if n == 0:
        return NO_FRAMES[first]
    if metric.needs != "all":
        return f"no {'infected' if metric.needs == 'infected' else 'uninfected'} frames"
    if metric.of_class and infected in (0, n):
        return "one class only: " + ("no uninfected frames" if infected else "no infected frames")
    if counts[metric.frames]["n"] == 0:
        return NO_FRAMES[metric.frames]
    return metric.undefined


def metrics_by_split(predictions: pd.DataFrame, *, threshold: float, study: StudyConfig) -> pd.DataFrame:
    """Return every metric per run, split and group, with intervals.

    Groups: ``all``; ``infected`` (by label) and ``mock`` (uninfected frames of mock wells); ``moi=...``
    (infected wells of that MOI against all mock frames; time on its infected frames); and three phases by
    condition, ``before onset``, ``eclipse`` and ``after eclipse``: frames of infected wells in that range of
    hpi against mock frames of their plate and hour, whatever their label.

    Args:
        predictions: a PREDICTIONS table.
        threshold: from :func:`hpiclock.analysis.detection.choose_threshold`.
        study: the config section; ``level`` and ``eclipse_h`` are used.
    """
    rows: list[dict[str, Any]] = []
    for key, of_split in units.each_run_and_split(predictions):
        unit = units.choose_resampling_unit(of_split)
        scores = frame_scores(of_split, threshold=threshold, group=unit.codes)
        fit = baseline_rows(predictions[predictions["run"].eq(key["run"])], key["split"])
        found = chain(_by_label(of_split, scores, unit, fit, study), _by_phase(of_split, scores, unit, study))
        rows += [key | {"start_h": np.nan, "end_h": np.nan} | row for row in found]
    return check(METRICS_TABLE, pd.DataFrame(rows, columns=[*METRICS_TABLE.columns, "method"]))


def _by_label(
    rows: pd.DataFrame, scores: FrameScores, unit: units.ResamplingUnit, fit: pd.DataFrame, study: StudyConfig
) -> Iterator[dict[str, Any]]:
    hours = rows["hours"].to_numpy(float)
    mois = sorted(rows.loc[units.condition_codes(rows) == 1, "moi"].dropna().unique())
    groups = zip(_label_groups(rows, mois), _label_groups(fit, mois), strict=True)
    for (group, metrics, chosen), (_, _, to_fit) in groups:
        part = with_baselines(scores.take(chosen), hours[chosen], fit[to_fit])
        for row in metric_rows(part, metrics, level=study.level, unit=unit):
            yield {"group": group} | row


def _label_groups(
    rows: pd.DataFrame, mois: Sequence[float]
) -> Iterator[tuple[str, Sequence[str], np.ndarray]]:
    """Yield the name of each group, its metrics, and which rows are in it."""
    label, every = units.label_codes(rows), metrics_of("all", "split")
    yield "all", every, np.ones(len(rows), bool)
    yield "infected", metrics_of("infected", "split"), label == 1
    yield "mock", metrics_of("mock", "split"), (label == 0) & (units.condition_codes(rows) == 0)
    of_class = [name for name in every if METRICS[name].of_class]
    timed = [name for name in every if not METRICS[name].of_class]
    for moi in mois:
        of_moi = rows["moi"].eq(moi).to_numpy()
        yield f"moi={moi:g}", of_class, (units.condition_codes(rows) == 0) | of_moi
        yield f"moi={moi:g}", timed, (label == 1) & of_moi


def _by_phase(
    rows: pd.DataFrame, scores: FrameScores, unit: units.ResamplingUnit, study: StudyConfig
) -> Iterator[dict[str, Any]]:
    infected = units.condition_codes(rows)
    by_condition = scores.with_truth(infected)
    names = [name for name, metric in METRICS.items() if metric.phases]
    remark = "truth is the condition of the well; mock frames of the same plate and hour"
    for phase, matched in units.phase_frames(rows, eclipse_h=study.eclipse_h).items():
        part = by_condition.take(matched)
        for row in metric_rows(part, names, level=study.level, unit=unit, remark=remark):
            yield {"group": phase} | row


COLUMNS = "group metric value low high n n_stacks n_wells n_infected n_seeds n_folds note"


def pooled_metrics(
    runs: Sequence[pd.DataFrame], *, study: StudyConfig, tests: Sequence[pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Return the metrics of several runs together: :data:`COLUMNS`, a row per group and metric.

    Each run keeps its own threshold, and scores of two models are never compared. Frames of a fold that
    several seeds predicted count once in ``n``; their wells are the same wells.

    Args:
        runs: the PREDICTIONS of each run; validation rows give its threshold.
        study: ``level`` and ``threshold`` are used.
        tests: per run the test rows to be judged; by default all its test rows.
    """
    tests = [run[run["split"].eq("test")] for run in runs] if tests is None else tests
    rows = pd.concat(tests, ignore_index=True)
    if rows.empty:
        return table_of([], COLUMNS)
    unit = units.choose_resampling_unit(rows)
    thresholds = [choose_threshold(run, rule=study.threshold).value for run in runs]
    cuts = np.repeat(thresholds, [len(test) for test in tests])
    scores = frame_scores(rows, threshold=0.5, group=unit.codes)
    scores = replace(scores, called=scores.p >= cuts)
    models = rows[["fold", "seed"]].drop_duplicates()
    counts = {"n_seeds": models["seed"].nunique(), "n_folds": models["fold"].nunique()}
    found: list[dict[str, Any]] = []
    for group, mine in scores.groups.items():
        part = scores.take(mine)
        for row in metric_rows(part, metrics_of(group, "compared"), level=study.level, unit=unit):
            once = {name: row[name] // counts["n_seeds"] for name in ("n", "n_infected")}
            found.append({"group": group} | row | once | counts)
    return table_of(found, COLUMNS)
