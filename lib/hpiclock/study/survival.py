"""Share of stacks detected over time, with limits that respect wells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from scipy.special import stdtrit

from hpiclock.study.groups import MIN_GROUPS, codes_of


def curve_with_limits(stacks: pd.DataFrame, *, level: float) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return 1 - Kaplan-Meier of the stacks, and its summary.

    The variance leaves out one well at a time (stacks of a well are repeats), on the log(-log) scale with
    Student's t; with fewer than three wells there are no limits.

    Args:
        stacks: ``time_h detected plate well stack_id``, one row per stack.
        level: of the limits.
    """
    time, event = stacks["time_h"].to_numpy(float), stacks["detected"].to_numpy(bool)
    fitter = KaplanMeierFitter().fit(time, event)
    steps = fitter.event_table
    at = steps.index.to_numpy(float)
    surviving = fitter.survival_function_.iloc[:, 0].to_numpy(float)
    unit = "position" if stacks["well"].eq("").any() else "well"
    low, high, note = _limits(time, event, codes_of(stacks, unit), at, surviving, level)
    curve = pd.DataFrame(
        {"time_h": at, "share": 1 - surviving, "low": 1 - high, "high": 1 - low,
         "n_at_risk": steps["at_risk"].to_numpy(int), "n_censored": steps["censored"].to_numpy(int)}
    )  # fmt: skip
    half = _first(at, 1 - surviving)
    facts = {
        "n_stacks": len(stacks),
        "n_detected": int(event.sum()),
        "half_h": half,
        # half is reached earliest on the upper limit and latest on the lower one
        "low_h": _first(at, curve["high"].to_numpy(float)),
        "high_h": _first(at, curve["low"].to_numpy(float)),
        "note": "; ".join(word for word in (_why(half), note) if word),
    }
    return curve, facts


def _first(at: np.ndarray, share: np.ndarray) -> float:
    reached = np.flatnonzero(share >= 0.5 - 1e-12)
    return float(at[reached[0]]) if len(reached) else float("nan")


def _why(half: float) -> str:
    return "" if np.isfinite(half) else "fewer than half of the stacks are detected by their last frame"


def _limits(
    time: np.ndarray, event: np.ndarray, code: np.ndarray, at: np.ndarray, surviving: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray, str]:
    k = len(np.unique(code))
    if k < MIN_GROUPS:
        nothing = np.full(len(at), np.nan)
        return nothing, nothing, f"no interval: {k} wells, at least {MIN_GROUPS} needed"
    left_out = np.stack([_survival(time[code != one], event[code != one], at) for one in np.unique(code)])
    inner = (surviving > 0) & (surviving < 1)
    # a curve that is 1 or 0 without one well has no log(-log); half a stack keeps it off the edge
    edge = 0.5 / len(time)
    scale = np.log(-np.log(np.clip(left_out, edge, 1 - edge)))
    variance = (k - 1) / k * ((scale - scale.mean(0)) ** 2).sum(0)
    half = stdtrit(k - 1, (1 + level) / 2) * np.sqrt(variance)
    centre = np.log(-np.log(np.clip(surviving, edge, 1 - edge)))
    low, high = np.exp(-np.exp(centre + half)), np.exp(-np.exp(centre - half))
    blank = ~inner | (variance == 0)
    return np.where(blank, np.nan, low), np.where(blank, np.nan, high), ""


def _survival(time: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Kaplan-Meier of a part of the stacks at the times of the whole."""
    order = np.sort(time)
    n = len(order) - np.searchsorted(order, at, "left")
    ends = np.sort(time[event])
    d = np.searchsorted(ends, at, "right") - np.searchsorted(ends, at, "left")
    return np.cumprod(np.where(n > 0, 1 - d / np.maximum(n, 1), 1.0))
