"""Intervals for a single predicted time that hold for frames of new wells.

Split conformal prediction calibrated on validation, where the exchangeable things are wells, not frames:
each calibration well counts once, its weight shared by its frames, and the new well counts once at
infinity (hierarchical conformal prediction; Lee, Barber and Willett 2023). Apart for frames called
infected and called mock (Mondrian), because at use time only the call is known. Libraries for conformal
prediction weigh every residual equally, which is not valid here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hpiclock.analysis.time_errors import time_errors
from hpiclock.analysis.units import choose_resampling_unit
from hpiclock.analysis.windows import in_window
from hpiclock.tables import CLOCKS, table_of

CALLS = {"infection": "called infected", "experiment": "called mock"}


def needed_groups(level: float) -> int:
    """Return how many calibration groups an interval of this level needs: 9 for 90%, 19 for 95%."""
    return int(np.ceil(level / (1 - level) - 1e-9))


def half_width(residuals: np.ndarray, group: np.ndarray, *, level: float) -> float:
    """Return the half width h with P(|error| <= h) >= level for a frame of a new group; inf if too few.

    Args:
        residuals: absolute errors of the calibration frames.
        group: the group of each.
        level: for example 0.9.
    """
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    k = len(size)
    if k < needed_groups(level):
        return float("inf")
    order = np.argsort(residuals, kind="stable")
    weight = np.cumsum((1 / (size * (k + 1)))[code][order])
    reached = np.flatnonzero(weight >= level - 1e-12)
    return float(residuals[order][reached[0]]) if len(reached) else float("inf")


def conformal_intervals(
    predictions: pd.DataFrame, *, threshold: float, level: float, edges: list[tuple[float, float]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the test rows with ``time_low time_high``, and how often these hold the truth.

    The second table has ``run group start_h end_h level coverage width_h n n_groups calibration_groups
    note``: per call over all hours (``start_h`` missing) and per window of hours since start. Truth is the
    time under the predicted clock; mock frames called infected have none and are not counted.
    """
    rows = time_errors(predictions, threshold=threshold)
    tests: list[pd.DataFrame] = []
    table: list[dict[str, Any]] = []
    for run, of_run in rows.groupby("run", sort=True):
        val = of_run[of_run["split"].eq("val") & of_run["label"].notna()].reset_index(drop=True)
        test = of_run[of_run["split"].eq("test")].reset_index(drop=True)
        if test.empty:
            continue
        with_limits, coverage = _one_run(val, test, level, edges)
        tests.append(with_limits)
        table += [{"run": run, "level": level} | row for row in coverage]
    columns = "run group start_h end_h level coverage width_h n n_groups calibration_groups note"
    return (pd.concat(tests, ignore_index=True) if tests else rows.iloc[:0]), table_of(table, columns)


def _one_run(
    val: pd.DataFrame, test: pd.DataFrame, level: float, edges: list[tuple[float, float]]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    code = choose_resampling_unit(val).codes if len(val) else np.empty(0, int)
    unit = choose_resampling_unit(test)
    half = pd.Series(np.nan, test.index)
    table: list[dict[str, Any]] = []
    hours, error = test["hours"].to_numpy(float), test["error_predicted_clock_h"].abs().to_numpy(float)
    for clock in CLOCKS:
        residuals = val["error_predicted_clock_h"].abs().where(val["clock_pred"].eq(clock)).to_numpy(float)
        mine = ~np.isnan(residuals)
        width = half_width(residuals[mine], code[mine], level=level)
        groups = len(np.unique(code[mine]))
        note = f"{groups} calibration {unit.unit}s; {level:.0%} needs {needed_groups(level)}"
        if np.isinf(width):
            width, note = float("nan"), f"no interval: {note}"
        called = (test["clock_pred"].eq(clock) & test["time_pred"].notna()).to_numpy(bool)
        half[called] = width
        scored = called & ~np.isnan(error) & test["label"].notna().to_numpy(bool)
        windows = [in_window(hours, *edge, last=edge == edges[-1]) for edge in edges]
        for (start, end), window in zip([(np.nan, np.nan), *edges], [scored, *windows], strict=True):
            inside = scored & window
            known = inside.any() and np.isfinite(width)
            table.append(
                {
                    "group": CALLS[clock],
                    "start_h": start,
                    "end_h": end,
                    "coverage": float((error[inside] <= width).mean()) if known else np.nan,
                    "width_h": 2 * width,
                    "n": int(inside.sum()),
                    "n_groups": len(np.unique(unit.codes[inside])),
                    "calibration_groups": groups,
                    "note": note if inside.any() or np.isnan(width) else "no frames; " + note,
                }
            )
    return test.assign(time_low=test["time_pred"] - half, time_high=test["time_pred"] + half), table
