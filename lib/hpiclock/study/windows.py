"""Metrics in sliding windows: over hours since start, or over hpi against matched controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from hpiclock.config import StudyConfig, WindowsConfig
from hpiclock.errors import InputError
from hpiclock.study.groups import Level, choose_level, class_of, ordered_splits
from hpiclock.study.intervals import Interval, interval
from hpiclock.study.measure import CLASS, TIME, measure
from hpiclock.study.metrics import matched_controls
from hpiclock.study.scores import Scores, prepare
from hpiclock.study.stability import over_windows, simultaneous_level
from hpiclock.study.sums import Sums, group_sums
from hpiclock.tables import METRICS, check

Axis = Literal["hours", "hpi"]
# the metrics whose band over all windows is given, too
BANDS = {
    "all": ("auc", "accuracy", "f1", "precision", "recall"),
    "infected": ("recall", "mae"),
    "mock": ("specificity", "mae"),
}
NOTHING = (float("nan"), float("nan"))
NO_BAND = {"low_simultaneous": NOTHING[0], "high_simultaneous": NOTHING[0]}


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
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return every metric per run, split, group and window; each window stays in the table.

    Groups are ``all``, ``infected`` and ``mock``. ``low`` and ``high`` hold in each window by itself,
    ``low_simultaneous`` and ``high_simultaneous`` (for the metrics in ``BANDS``) in all together.
    On the axis ``hpi`` a window holds the infected wells'
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
    views = each_view(predictions, windows=windows, end_h=end_h, axis=axis, threshold=threshold)
    return window_table(views, study=study, rng=rng)


def window_table(
    views: Iterable[tuple[dict[str, str], View]], *, study: StudyConfig, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the table of :func:`by_window` from the frames of :func:`each_view`."""
    rows: list[dict[str, Any]] = []
    for key, view in views:
        sums, whole = view.sums
        wide = {
            metric: simultaneous_level(
                over_windows(sums, whole, metric),
                level=study.level, resamples=study.resamples, rng=rng,
            )
            for metric in BANDS[key["group"]]
        }  # fmt: skip
        for edge, mask, part in zip(view.edges, view.masks, sums, strict=True):
            band = _bands(part, wide)
            place = key | {"start_h": edge[0], "end_h": edge[1]}
            measured = measure(
                view.scores.take(mask), view.metrics,
                level=study.level, unit=view.unit.unit, remark=view.unit.caveat, sums=part,
            )  # fmt: skip
            rows += [place | row | band.get(row["metric"], NO_BAND) for row in measured]
    columns = [*METRICS.columns, "low_simultaneous", "high_simultaneous"]
    return check(METRICS, pd.DataFrame(rows, columns=columns))


@dataclass(frozen=True)
class View:
    """The frames of one run, split and group, and which of them each window holds."""

    scores: Scores
    unit: Level
    edges: list[tuple[float, float]]
    masks: list[np.ndarray]
    metrics: tuple[str, ...]

    @cached_property
    def sums(self) -> tuple[list[Sums], Sums]:
        """The sums of each window and of all windows together."""
        every = np.logical_or.reduce(self.masks)
        return [group_sums(self.scores.take(mask)) for mask in self.masks], group_sums(
            self.scores.take(every)
        )


def each_view(
    predictions: pd.DataFrame,
    *,
    windows: WindowsConfig,
    end_h: float,
    axis: Axis,
    threshold: float,
    unit_of: Callable[[pd.DataFrame], Level] = choose_level,
) -> Iterator[tuple[dict[str, str], View]]:
    """Yield ``run split group`` and the frames in windows, for each run, split and group.

    ``unit_of`` says what is resampled, see :func:`hpiclock.study.groups.choose_level`.
    """
    edges = window_edges(windows, end_h=end_h)
    for run, of_run in predictions.groupby("run", sort=True):
        for split in ordered_splits(of_run):
            of_split = of_run[of_run["split"].eq(split)].reset_index(drop=True)
            unit = unit_of(of_split)
            scores = prepare(of_split, threshold=threshold, group=unit.codes)
            masks = [frames_in(of_split, scores, *edge, axis=axis, last=edge == edges[-1]) for edge in edges]
            for group, mine, metrics in _groups(scores):
                key = {"run": str(run), "split": split, "group": group}
                yield key, View(scores.take(mine), unit, edges, [mask[mine] for mask in masks], metrics)


def _bands(sums: Sums, wide: dict[str, float]) -> dict[str, dict[str, float]]:
    out = {}
    for metric, level in wide.items():
        limits = interval(sums, metric, level=level) if level < 1 else Interval(*NOTHING, "")
        out[metric] = {"low_simultaneous": limits.low, "high_simultaneous": limits.high}
    return out


def frames_in(
    rows: pd.DataFrame, scores: Scores, start_h: float, end_h: float, *, axis: Axis, last: bool
) -> np.ndarray:
    """Return which frames a window holds: (rows,) bool."""
    if axis == "hours":
        return in_window(rows["hours"].to_numpy(float), start_h, end_h, last=last)
    infected = class_of(rows)
    inside = in_window(rows["hpi"].to_numpy(float), start_h, end_h, last=last) & (infected == 1)
    return inside | matched_controls(inside, infected, scores.stratum)


def _groups(scores: Scores) -> Iterator[tuple[str, np.ndarray, tuple[str, ...]]]:
    yield "all", np.ones(len(scores), bool), (*CLASS, *TIME)
    yield "infected", scores.truth == 1, ("recall", *TIME)
    yield "mock", scores.truth == 0, ("specificity", *TIME)
