"""The whole study of a predictions table: every table by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from hpiclock.analysis.conformal import conformal_intervals
from hpiclock.analysis.curves import (
    confusion_table,
    reliability_curve,
    roc_curve,
    temperature_scaling,
    worst_frames,
)
from hpiclock.analysis.detection import (
    choose_threshold,
    detection_curves,
    detection_thresholds,
    detection_times,
    false_alarms,
)
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.sentences import conclusions, design_sentences
from hpiclock.analysis.time_errors import (
    limits_of_agreement,
    residual_by_hour,
    stack_trajectories,
    time_error_by_call,
    time_regression,
    worst_hours,
)
from hpiclock.analysis.windows import (
    AXES,
    temporal_stability,
    window_edges,
    window_table,
    windowed_frames,
    with_range_limits,
)
from hpiclock.config.schema import StudyConfig, WindowsConfig
from hpiclock.tables import PREDICTIONS, check

WORST = 20  # frames kept per split and reason


def run_study(
    predictions: pd.DataFrame, *, cfg_windows: WindowsConfig, end_h: float, cfg_study: StudyConfig, seed: int
) -> dict[str, pd.DataFrame]:
    """Return every table of the study by name.

    ``metrics`` (per split and group), ``windows_hours`` and ``windows_hpi`` are METRICS tables; the others
    are named after what they hold, each described where it is made.

    Args:
        predictions: a PREDICTIONS table (``import_predictions`` makes one from other files).
        cfg_windows: width, stride and start of the windows.
        end_h: where the last window may end.
        cfg_study: how predictions are judged.
        seed: of the resampling; the same seed gives the same tables.

    Raises:
        InputError: rows that fail the check, or windows that do not fit.
    """
    predictions = check(PREDICTIONS, predictions)
    rng = np.random.default_rng(seed)
    threshold = choose_threshold(predictions, rule=cfg_study.threshold)
    cut, level = threshold.value, cfg_study.level

    views = {
        axis: list(windowed_frames(predictions, windows=cfg_windows, end_h=end_h, axis=axis, threshold=cut))
        for axis in AXES
    }
    tables = {
        "metrics": metrics_by_split(predictions, threshold=cut, study=cfg_study),
        **{f"windows_{axis}": window_table(views[axis], study=cfg_study, rng=rng) for axis in AXES},
        "threshold": pd.DataFrame([threshold._asdict()]),
        "notes": pd.DataFrame({"note": design_sentences(predictions)}, dtype=object),
        "roc": _per_run(predictions, roc_curve),
        "confusion": _per_run(predictions, lambda rows: confusion_table(rows, threshold=cut)),
        "reliability": _per_run(
            predictions, lambda rows: reliability_curve(rows, bins=cfg_study.bins, level=level)
        ),
        "temperature": temperature_scaling(predictions, level=level),
        "time_lines": time_regression(predictions, level=level),
        "agreement": limits_of_agreement(predictions, level=level),
        "time_by_call": time_error_by_call(predictions, threshold=cut),
        "residuals": _per_run(
            predictions, lambda rows: residual_by_hour(rows, threshold=cut, bin_h=cfg_windows.stride_h)
        ),
        "stacks": stack_trajectories(predictions, threshold=cut),
        "worst_hours": worst_hours(predictions, threshold=cut, bin_h=cfg_windows.stride_h),
        "worst_frames": _per_run(predictions, lambda rows: worst_frames(rows, threshold=cut, n=WORST)),
    }
    stability, differences = [], []
    for axis in AXES:
        rows, gaps = temporal_stability(views[axis], axis=axis, study=cfg_study, rng=rng)
        stability.append(with_range_limits(rows, tables[f"windows_{axis}"]))
        differences.append(gaps)
    tables["stability"] = pd.concat(stability, ignore_index=True)
    tables["window_differences"] = pd.concat(differences, ignore_index=True)
    rules = detection_thresholds(predictions, decision=threshold, study=cfg_study)
    cuts = dict(zip(rules["rule"], rules["threshold"], strict=True))
    times = detection_times(predictions, thresholds=cuts, frames=cfg_study.detection_frames)
    tables |= {"detection_thresholds": rules, "detection_times": times, "false_alarms": false_alarms(times)}
    tables["detection_curves"], tables["detection"] = detection_curves(times, level=level)
    edges = window_edges(cfg_windows, end_h=end_h)
    tables["time_intervals"], tables["conformal"] = conformal_intervals(
        predictions, threshold=cut, level=cfg_study.prediction_level, edges=edges
    )
    tables["conclusions"] = conclusions(tables, level=level, eclipse_h=cfg_study.eclipse_h)
    return tables


def _per_run(predictions: pd.DataFrame, table_of: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The tables of each run under one another: scores of two runs are never pooled."""
    parts = [table_of(rows).assign(run=run) for run, rows in predictions.groupby("run", sort=True)]
    table = pd.concat(parts, ignore_index=True) if parts else table_of(predictions).assign(run="")
    return table[["run", *table.columns.drop("run")]]
