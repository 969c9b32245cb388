"""Earliest detection: a threshold that controls support, and when each infected stack is first seen.

A stack is detected at the first of ``frames`` frames in a row at or above the threshold. Stacks that never
are count as censored at their last frame (Kaplan and Meier 1958, through lifelines).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from hpiclock.config import StudyConfig
from hpiclock.study.groups import choose_level, class_of, ordered_splits
from hpiclock.study.survival import curve_with_limits
from hpiclock.study.threshold import Threshold

CONFIDENCE = 0.95
KEYS = ["run", "split", "fold", "seed", "stack_id"]
SAME = ["plate", "well", "condition", "moi"]
BOUND = 0.05  # the false alarm rate that is aimed at; 59 controls support it


class ControlThreshold(NamedTuple):
    """A threshold, the rate of new control units that may pass it, and from how many controls."""

    value: float
    bound: float
    n_controls: int
    unit: str
    note: str


def control_threshold(predictions: pd.DataFrame, *, frames: int) -> ControlThreshold:
    """Return the lowest threshold whose false alarm rate the validation controls can bound.

    A control unit (well, else position) alarms when one of its stacks is detected. With n units the rate of
    new units that pass their j-th highest score is bounded with 95% confidence by an order statistic (Tong,
    Feng and Li 2018); j is the largest for which the bound is 5% or less, else 1, and the bound is said.
    The threshold lies just above that score.
    """
    rows = predictions[
        predictions["split"].eq("val") & (class_of(predictions) == 0) & predictions["p_infected"].notna()
    ]
    if rows.empty:
        return ControlThreshold(np.nan, np.nan, 0, "", "no control stacks in validation")
    unit = choose_level(predictions[predictions["split"].eq("val")]).unit
    keys = ["plate", "well"] if unit == "well" else ["plate"] if unit == "plate" else ["stack_id"]
    highest = [
        (_key(part, keys), _highest_run(part["p_infected"].to_numpy(float), frames))
        for _, part in rows.sort_values("hours").groupby(["run", "fold", "seed", "stack_id"])
    ]
    per_unit = pd.DataFrame(highest, columns=["unit", "score"]).groupby("unit")["score"].max()
    scores = np.sort(per_unit.to_numpy(float))[::-1]
    n = len(scores)
    allowed = max((j for j in range(1, n + 1) if _bound(n, j) <= BOUND), default=1)
    bound = _bound(n, allowed)
    value = float(np.nextafter(scores[allowed - 1], 2.0))
    note = f"{n} control {unit}s in validation: false alarms in at most {bound:.0%} of new {unit}s"
    if bound > BOUND:
        note += (
            f" (95% confidence; {int(np.ceil(np.log(1 - CONFIDENCE) / np.log(1 - BOUND)))} controls for 5%)"
        )
    if value > 1:
        note += "; a control scores 1, so nothing can pass"
    return ControlThreshold(value, bound, n, unit, note)


def _key(part: pd.DataFrame, keys: list[str]) -> str:
    return " ".join(str(part[name].iloc[0]) for name in keys)


def _bound(n: int, j: int) -> float:
    """Upper 95% limit of the rate at which new units pass the j-th highest of n scores."""
    return float(betaincinv(j, n - j + 1, CONFIDENCE))


def _highest_run(p: np.ndarray, frames: int) -> float:
    """The highest threshold at which ``frames`` values in a row are at or above it."""
    if len(p) < frames:
        return float(p.max())
    return float(np.lib.stride_tricks.sliding_window_view(p, frames).min(1).max())


def detection_times(predictions: pd.DataFrame, *, thresholds: dict[str, float], frames: int) -> pd.DataFrame:
    """Return when each stack is first detected, per rule.

    Columns: ``run split stack_id well condition moi rule threshold detected time_h last_h``. For infected
    stacks times are hpi and frames before the onset do not count; for mock stacks times are hours since
    start and a detection is a false alarm. Undetected stacks have ``time_h`` at their last frame. Stacks
    without an onset or shorter than ``frames`` have no row.
    """
    seen = predictions[predictions["p_infected"].notna()]
    infected = class_of(seen) == 1
    time = np.where(infected, seen["hpi"].to_numpy(float), seen["hours"].to_numpy(float))
    seen = seen.assign(last_h=time)[time >= 0].sort_values([*KEYS, "last_h"], ignore_index=True)
    first_row = np.flatnonzero(~seen.duplicated(KEYS).to_numpy())
    size = np.diff(np.append(first_row, len(seen)))
    long = size >= frames
    p, hours = seen["p_infected"].to_numpy(float), seen["last_h"].to_numpy(float)
    stacks = seen.loc[(first_row + size - 1)[long], [*KEYS, *SAME, "last_h"]].reset_index(drop=True)
    parts = []
    for rule, threshold in thresholds.items():
        if np.isnan(threshold):
            continue
        at = _first_runs(p >= threshold, first_row, size, frames)[long]
        found = at < len(p)
        time_h = np.where(found, hours[np.minimum(at, len(p) - 1)], stacks["last_h"])
        parts.append(stacks.assign(rule=rule, threshold=threshold, detected=found, time_h=time_h))
    columns = [*KEYS, *SAME, "rule", "threshold", "detected", "time_h", "last_h"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns].sort_values([*KEYS, "rule"], ignore_index=True)


def _first_runs(above: np.ndarray, first: np.ndarray, size: np.ndarray, frames: int) -> np.ndarray:
    """First row of each stack from which ``frames`` rows of it are above; the number of rows if none is."""
    n = len(above)
    if n == 0:
        return np.empty(0, int)
    padded = np.append(above, np.zeros(frames, bool))
    runs = np.lib.stride_tricks.sliding_window_view(padded, frames)[:n].all(1)
    room = np.repeat(first + size, size) - np.arange(n) >= frames  # the run must end inside the stack
    return np.minimum.reduceat(np.where(runs & room, np.arange(n), n), first)


def detection_thresholds(
    predictions: pd.DataFrame, *, decision: Threshold, study: StudyConfig
) -> pd.DataFrame:
    """Return the two rules: ``rule threshold bound n_controls unit note``."""
    controls = control_threshold(predictions, frames=study.detection_frames)
    rows = [
        ("decision", decision.value, np.nan, 0, "", decision.note),
        ("controls", controls.value, controls.bound, controls.n_controls, controls.unit, controls.note),
    ]
    return pd.DataFrame(rows, columns=["rule", "threshold", "bound", "n_controls", "unit", "note"])


def detection_curves(times: pd.DataFrame, *, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the share of infected stacks detected over hpi, and its summary.

    The curves have ``run split rule group time_h share low high n_at_risk n_censored``; the summary has
    ``run split rule group n_stacks n_detected half_h low_h high_h note`` with ``half_h`` the hpi at which
    half of the stacks are detected. Groups are ``all`` and one per MOI.
    """
    infected = times[times["condition"].eq("infected")]
    curves, summary = [], []
    for (run, rule), of_rule in infected.groupby(["run", "rule"], sort=True):
        for split in ordered_splits(of_rule):
            part = of_rule[of_rule["split"].eq(split)]
            groups = {"all": part} | {f"moi={moi:g}": rows for moi, rows in part.groupby("moi")}
            for group, rows in groups.items():
                curve, facts = curve_with_limits(rows, level=level)
                key = {"run": run, "split": split, "rule": rule, "group": group}
                curves.append(curve.assign(**key))
                summary.append(key | facts)
    columns = ["run", "split", "rule", "group", "time_h", "share", "low", "high", "n_at_risk", "n_censored"]
    table = pd.concat(curves, ignore_index=True)[columns] if curves else pd.DataFrame(columns=columns)
    facts_columns = [
        "run",
        "split",
        "rule",
        "group",
        "n_stacks",
        "n_detected",
        "half_h",
        "low_h",
        "high_h",
        "note",
    ]
    return table, pd.DataFrame(summary, columns=facts_columns)


def false_alarms(times: pd.DataFrame) -> pd.DataFrame:
    """Return how many mock stacks were ever detected: ``run split rule n_stacks n_alarms n_wells share``."""
    mock = times[times["condition"].eq("mock")]
    table = mock.groupby(["run", "split", "rule"]).agg(
        n_stacks=("stack_id", "nunique"), n_alarms=("detected", "sum"), n_wells=("well", "nunique")
    )
    return table.assign(share=table["n_alarms"] / table["n_stacks"]).reset_index()
