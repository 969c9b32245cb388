"""Metrics per split and group: one tidy METRICS table from predictions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.config import StudyConfig
from hpiclock.study.clocks import rows_to_fit, with_baselines
from hpiclock.study.groups import Level, choose_level, class_of, ordered_splits
from hpiclock.study.measure import BASELINES, CLASS, TIME, measure
from hpiclock.study.scores import Scores, prepare
from hpiclock.tables import METRICS, check

Mask = Callable[[pd.DataFrame], np.ndarray]
PHASES = ("before onset", "eclipse", "after eclipse")


def by_split(predictions: pd.DataFrame, *, threshold: float, study: StudyConfig) -> pd.DataFrame:
    """Return every metric per run, split and group, with intervals.

    Groups: ``all``; ``infected`` and ``mock`` (by label); ``moi=...`` (infected wells of that MOI against
    all mock frames; time on its infected frames); and three phases by condition, ``before onset``,
    ``eclipse`` and ``after eclipse``: frames of infected wells in that range of hpi against mock frames of
    the same hours, whatever their label.

    Args:
        predictions: a PREDICTIONS table.
        threshold: from :func:`hpiclock.study.threshold.choose_threshold`.
        study: the config section; ``level`` and ``eclipse_h`` are used.
    """
    rows: list[dict[str, Any]] = []
    for run, of_run in predictions.groupby("run", sort=True):
        for split in ordered_splits(of_run):
            of_split = of_run[of_run["split"].eq(split)].reset_index(drop=True)
            unit = choose_level(of_split)
            scores = prepare(of_split, threshold=threshold, group=unit.codes)
            found = [
                *_by_label(of_split, scores, unit, rows_to_fit(of_run, split), study),
                *_by_phase(of_split, scores, unit, study),
            ]
            rows += [{"run": run, "split": split, "start_h": np.nan, "end_h": np.nan} | row for row in found]
    return as_metrics(rows)


def as_metrics(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a checked METRICS table."""
    return check(METRICS, pd.DataFrame(rows, columns=list(METRICS.columns)))


def _by_label(
    rows: pd.DataFrame, scores: Scores, unit: Level, fit: pd.DataFrame, study: StudyConfig
) -> Iterator[dict[str, Any]]:
    hours = rows["hours"].to_numpy(float)
    for group, mask, metrics in _label_groups(rows):
        chosen = mask(rows)
        part = with_baselines(scores.take(chosen), hours[chosen], fit[mask(fit)])
        for row in measure(part, metrics, level=study.level, unit=unit.unit, remark=unit.caveat):
            yield {"group": group} | row


def _label_groups(rows: pd.DataFrame) -> Iterator[tuple[str, Mask, tuple[str, ...]]]:
    timed = (*TIME, *BASELINES)
    yield "all", _every, (*CLASS, *timed)
    yield "infected", partial(_labelled, label=1), ("recall", "brier", *timed)
    yield "mock", partial(_labelled, label=0), ("specificity", "brier", *timed)
    for moi in sorted(rows.loc[class_of(rows) == 1, "moi"].dropna().unique()):
        yield f"moi={moi:g}", partial(_against_mock, moi=moi), CLASS
        yield f"moi={moi:g}", partial(_labelled, label=1, moi=moi), timed


def _every(rows: pd.DataFrame) -> np.ndarray:
    return np.ones(len(rows), bool)


def _labelled(rows: pd.DataFrame, *, label: int, moi: float | None = None) -> np.ndarray:
    mine = rows["label"].eq(label).fillna(False).to_numpy(bool)
    return mine if moi is None else mine & rows["moi"].eq(moi).to_numpy()


def _against_mock(rows: pd.DataFrame, *, moi: float) -> np.ndarray:
    return (class_of(rows) == 0) | rows["moi"].eq(moi).to_numpy()


def _by_phase(
    rows: pd.DataFrame, scores: Scores, unit: Level, study: StudyConfig
) -> Iterator[dict[str, Any]]:
    infected = class_of(rows)
    by_condition = scores.with_truth(infected)
    for phase, inside in phases(rows, eclipse_h=study.eclipse_h).items():
        matched = inside | matched_controls(inside, infected, scores.stratum)
        remark = "truth is the condition of the well; mock frames of the same hours"
        remark = "; ".join(word for word in (remark, unit.caveat) if word)
        names = ("auc", "auc_stratified", "recall", "specificity")
        for row in measure(
            by_condition.take(matched), names, level=study.level, unit=unit.unit, remark=remark
        ):
            yield {"group": phase} | row


def phases(rows: pd.DataFrame, *, eclipse_h: float) -> dict[str, np.ndarray]:
    """Return, per phase, which frames of infected wells are in it: (rows,) bool each."""
    hpi = rows["hpi"].to_numpy(float)
    infected = class_of(rows) == 1
    with np.errstate(invalid="ignore"):
        parts = (hpi < 0, (hpi >= 0) & (hpi < eclipse_h), hpi >= eclipse_h)
    return {name: infected & part for name, part in zip(PHASES, parts, strict=True)}


def matched_controls(inside: np.ndarray, infected: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Return which mock frames were taken at an hour at which a frame is ``inside``: (rows,) bool."""
    return (infected == 0) & np.isin(stratum, np.unique(stratum[inside]))
