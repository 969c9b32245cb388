"""Metrics in sliding windows: over hours since start, or over hpi against matched controls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from hpiclock.config import StudyConfig, WindowsConfig
from hpiclock.errors import InputError
from hpiclock.study.groups import choose_level, class_of, ordered_splits
from hpiclock.study.measure import CLASS, TIME, measure
from hpiclock.study.metrics import as_metrics, matched_controls
from hpiclock.study.scores import Scores, prepare

Axis = Literal["hours", "hpi"]


def window_edges(windows: WindowsConfig, *, end_h: float) -> list[tuple[float, float]]:
    """Return ``(start_h, end_h)`` of every window; 0-48 h at 6/3 gives 15.

    Raises:
        InputError: no window fits before ``end_h``.
    """
    room = end_h - windows.start_h - windows.width_h
    if room < -1e-9:
        raise InputError(
            f"windows: {windows.width_h:g} h do not fit between {windows.start_h:g} and {end_h:g} h; "
            "set windows.width_h or windows.end_h"
        )
    starts = windows.start_h + windows.stride_h * np.arange(int(np.floor(room / windows.stride_h + 1e-9)) + 1)
    return [(float(start), float(start + windows.width_h)) for start in starts]


def in_window(values: np.ndarray, start_h: float, end_h: float, *, last: bool) -> np.ndarray:
    """Return which values lie in ``[start_h, end_h)``, or in ``[start_h, end_h]`` for the last window."""
    with np.errstate(invalid="ignore"):
        return (values >= start_h) & ((values <= end_h) if last else (values < end_h))


def by_window(
    predictions: pd.DataFrame,
    *,
    windows: WindowsConfig,
    end_h: float,
    axis: Axis = "hours",
    threshold: float,
    study: StudyConfig,
    rng: np.random.Generator,  # noqa: ARG001
) -> pd.DataFrame:
    """Return every metric per run, split, group and window; each window stays in the table.

    Groups are ``all``, ``infected`` and ``mock``. On the axis ``hpi`` a window holds the infected wells'
    frames at that hpi and the mock frames of the same hours since start.

    Args:
        predictions: a PREDICTIONS table.
        windows: width, stride and start.
        end_h: where the last window may end (``Config.window_end_h``).
        axis: ``hours`` since start, or ``hpi``.
        threshold: P(infected) from which a frame is called infected.
        study: the config section; ``level`` and ``resamples`` are used.
        rng: for the band over all windows.
    """
    edges = window_edges(windows, end_h=end_h)
    rows: list[dict[str, Any]] = []
    for run, of_run in predictions.groupby("run", sort=True):
        for split in ordered_splits(of_run):
            of_split = of_run[of_run["split"].eq(split)].reset_index(drop=True)
            unit = choose_level(of_split)
            scores = prepare(of_split, threshold=threshold, group=unit.codes)
            for start, end in edges:
                inside = frames_in(of_split, scores, start, end, axis=axis, last=(start, end) == edges[-1])
                for group, part, names in _groups(scores.take(inside)):
                    measured = measure(part, names, level=study.level, unit=unit.unit, remark=unit.caveat)
                    key = {"run": run, "split": split, "group": group, "start_h": start, "end_h": end}
                    rows += [key | row for row in measured]
    return as_metrics(rows)


def frames_in(
    rows: pd.DataFrame, scores: Scores, start_h: float, end_h: float, *, axis: Axis, last: bool
) -> np.ndarray:
    """Return which frames a window holds: (rows,) bool."""
    if axis == "hours":
        return in_window(rows["hours"].to_numpy(float), start_h, end_h, last=last)
    infected = class_of(rows)
    inside = in_window(rows["hpi"].to_numpy(float), start_h, end_h, last=last) & (infected == 1)
    return inside | matched_controls(inside, infected, scores.stratum)


def _groups(scores: Scores) -> Iterator[tuple[str, Scores, tuple[str, ...]]]:
    yield "all", scores, (*CLASS, *TIME)
    yield "infected", scores.take(scores.truth == 1), ("recall", *TIME)
    yield "mock", scores.take(scores.truth == 0), ("specificity", *TIME)
