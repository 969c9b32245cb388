"""The whole study of a predictions table, every table by name; and parts of it, for explorers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from hpiclock.analysis import curves, detection, time_errors, windows
from hpiclock.analysis.calibration import calibration, temperature_scaling
from hpiclock.analysis.evaluate import metric_rows, metrics_by_split
from hpiclock.analysis.frame_scores import GroupSums, frame_scores, group_sums
from hpiclock.analysis.sentences import conclusions, design_sentences
from hpiclock.analysis.units import ResamplingUnit, choose_resampling_unit, group_codes
from hpiclock.analysis.windows import AXES, Axis, window_edges, windowed_frames
from hpiclock.config.schema import AuditConfig, StudyConfig, WindowsConfig
from hpiclock.tables import METRICS, PREDICTIONS, check

WORST = 20  # frames kept per split and reason


def run_study(
    predictions: pd.DataFrame,
    *,
    cfg_windows: WindowsConfig,
    end_h: float,
    cfg_study: StudyConfig,
    cfg_audit: AuditConfig,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return every table of the study by name.

    ``metrics`` (per split and group), ``windows_hours`` and ``windows_hpi`` are METRICS tables; the others
    are named after what they hold, each described where it is made.

    Args:
        predictions: a PREDICTIONS table (``import_predictions`` makes one from other files).
        cfg_windows: width, stride and start of the windows.
        end_h: where the last window may end.
        cfg_study: how predictions are judged.
        cfg_audit: ``negative_control_margin`` is used.
        seed: of the resampling; the same seed gives the same tables.

    Raises:
        InputError: rows that fail the check, or windows that do not fit.
    """
    predictions = check(PREDICTIONS, predictions)
    rng = np.random.default_rng(seed)
    threshold = detection.choose_threshold(predictions, rule=cfg_study.threshold)
    cut, level, bin_h = threshold.value, cfg_study.level, cfg_windows.stride_h
    edges = window_edges(cfg_windows, end_h=end_h)

    def per_run(table_of: Callable[..., pd.DataFrame], **settings: float) -> pd.DataFrame:
        """The tables of each run under one another: scores of two runs are never pooled."""
        parts = [table_of(rows, **settings).assign(run=run) for run, rows in predictions.groupby("run")]
        parts = parts or [table_of(predictions, **settings).assign(run="")]
        table = pd.concat(parts, ignore_index=True)
        return table[["run", *table.columns.drop("run")]]

    views = {axis: list(windowed_frames(predictions, edges, axis=axis, threshold=cut)) for axis in AXES}
    tables = {
        "metrics": metrics_by_split(predictions, threshold=cut, study=cfg_study),
        **{f"windows_{axis}": windows.window_table(views[axis], study=cfg_study, rng=rng) for axis in AXES},
        "threshold": pd.DataFrame([threshold._asdict()]),
        "notes": per_run(lambda rows: pd.DataFrame({"note": design_sentences(rows)}, dtype=object)),
        "roc": per_run(curves.roc_curve),
        "confusion": per_run(curves.confusion_table, threshold=cut),
        "reliability": per_run(curves.reliability_curve, bins=cfg_study.bins, level=level),
        "calibration": calibration(predictions, level=level, margin=cfg_study.calibration_margin),
        "temperature": temperature_scaling(predictions),
        "time_lines": time_errors.time_regression(predictions, level=level),
        "agreement": time_errors.limits_of_agreement(predictions, level=level),
        "time_by_call": time_errors.time_error_by_call(predictions, threshold=cut),
        "residuals": per_run(time_errors.residual_by_hour, threshold=cut, bin_h=bin_h),
        "stacks": time_errors.stack_trajectories(predictions, threshold=cut),
        "worst_hours": time_errors.worst_hours(predictions, threshold=cut, bin_h=bin_h),
        "worst_frames": per_run(curves.worst_frames, threshold=cut, n=WORST),
    }
    stability, differences = [], []
    for axis in AXES:
        rows, gaps = windows.temporal_stability(views[axis], axis=axis, study=cfg_study, rng=rng)
        stability.append(windows.with_range_limits(rows, tables[f"windows_{axis}"]))
        differences.append(gaps)
    tables["stability"] = pd.concat(stability, ignore_index=True)
    tables["window_differences"] = pd.concat(differences, ignore_index=True)
    rules = detection.detection_thresholds(predictions, decision=threshold, study=cfg_study)
    cuts = dict(zip(rules["rule"], rules["threshold"], strict=True))
    times = detection.detection_times(predictions, thresholds=cuts, frames=cfg_study.detection_frames)
    tables |= {"detection_thresholds": rules, "detection_times": times}
    tables["false_alarms"] = detection.false_alarms(times)
    tables["detection_curves"], tables["detection"] = detection.detection_curves(times, level=level)
    tables["time_intervals"], tables["conformal"] = time_errors.conformal_intervals(
        predictions, threshold=cut, level=cfg_study.prediction_level, edges=edges
    )
    tables["conclusions"] = conclusions(
        tables, level=level, eclipse_h=cfg_study.eclipse_h, margin=cfg_audit.negative_control_margin
    )
    return tables


UNITS = ("auto", "plate", "well", "position")
RATES = ("recall", "specificity", "precision", "accuracy")
_SIZES = {"plate": 3, "well": 2, "position": 1}


def level_of(rows: pd.DataFrame, unit: str) -> ResamplingUnit:
    """Return the chosen unit of resampling; ``auto`` is the one that the study takes.

    A unit below it gives intervals that are too narrow, and the caveat says so.

    Args:
        rows: predictions of one split.
        unit: one of :data:`UNITS`.
    """
    own = choose_resampling_unit(rows)
    if unit in ("auto", own.unit):
        return own
    caveat = own.caveat
    if _SIZES[unit] < _SIZES[own.unit]:
        caveat = f"{unit}s of one {own.unit} are repeats: too narrow"
    elif unit == "well" and rows["well"].eq("").any():
        caveat = "wells not given"
    return ResamplingUnit(unit, group_codes(rows, unit), caveat)


@dataclass
class InteractiveWindows:
    """Windows over one split of one run; what was summed once is kept for the next question.

    rows: PREDICTIONS of one split and run; threshold: from which a frame is called infected; study: the
    config section.
    """

    rows: pd.DataFrame
    threshold: float
    study: StudyConfig
    _sums: dict[tuple[object, ...], GroupSums] = field(default_factory=dict, init=False, repr=False)

    def table(
        self, *, metric: str, group: str, axis: Axis, unit: str, windows: WindowsConfig, end_h: float
    ) -> pd.DataFrame:
        """Return the rows that :func:`.metrics_by_window` has for one metric and group.

        They carry the interval of each window by itself, and no band over all windows.

        Args:
            metric: one that the group has, such as ``auc`` of ``all``.
            group: ``all``, ``infected`` or ``mock``.
            axis: ``hours`` or ``hpi``.
            unit: what is resampled, one of :data:`UNITS`.
            windows: width, stride and start.
            end_h: where the last window may end.

        Raises:
            InputError: no window fits.
        """
        edges = window_edges(windows, end_h=end_h)
        unit_of = partial(level_of, unit=unit)
        views = windowed_frames(self.rows, edges, axis=axis, threshold=self.threshold, unit_of=unit_of)
        key, view = next((key, view) for key, view in views if key["group"] == group)
        found = []
        for edge, mask in zip(view.edges, view.masks, strict=True):
            scores = view.scores.take(mask)
            about = (group, axis, unit, edge, edge == view.edges[-1])  # the last window is closed
            if about not in self._sums:
                self._sums[about] = group_sums(scores)
            sums, level = self._sums[about], self.study.level
            (row,) = metric_rows(scores, [metric], level=level, unit=view.unit, sums=sums)
            found.append(key | {"start_h": edge[0], "end_h": edge[1]} | row)
        return pd.DataFrame(found, columns=list(METRICS.columns))


@dataclass(frozen=True)
class AtThreshold:
    """What one threshold gives: ``confusion``, METRICS rows of the rates, and the detection curves."""

    confusion: pd.DataFrame
    rates: pd.DataFrame
    curves: pd.DataFrame
    detection: pd.DataFrame


def at_threshold(rows: pd.DataFrame, *, threshold: float, study: StudyConfig) -> AtThreshold:
    """Return what the study would say of these frames at another threshold.

    Args:
        rows: PREDICTIONS of one split and run.
        threshold: P(infected) from which a frame is called infected.
        study: the config section.
    """
    rows = rows.reset_index(drop=True)
    unit = choose_resampling_unit(rows)
    scores = frame_scores(rows, threshold=threshold, group=unit.codes)
    place = {"run": rows["run"].iloc[0], "split": rows["split"].iloc[0], "group": "all"}
    rates = [place | row for row in metric_rows(scores, RATES, level=study.level, unit=unit)]
    times = detection.detection_times(rows, thresholds={"chosen": threshold}, frames=study.detection_frames)
    # one curve for all: those of each MOI cost three times as much and stand in the report
    found, summary = detection.detection_curves(times.assign(moi=np.nan), level=study.level)
    confusion = curves.confusion_table(rows, threshold=threshold)
    return AtThreshold(confusion, pd.DataFrame(rates, columns=list(METRICS.columns)), found, summary)
