"""The study for explorers: one metric in any windows, and what another threshold would have given."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from hpiclock.analysis.curves import confusion_table
from hpiclock.analysis.detection import detection_curves, detection_times
from hpiclock.analysis.evaluate import metric_rows
from hpiclock.analysis.frame_scores import GroupSums, frame_scores, group_sums
from hpiclock.analysis.units import ResamplingUnit, choose_resampling_unit, group_codes
from hpiclock.analysis.windows import Axis, windowed_frames
from hpiclock.config.schema import StudyConfig, WindowsConfig
from hpiclock.tables import METRICS as METRICS_TABLE

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
        views = windowed_frames(
            self.rows,
            windows=windows,
            end_h=end_h,
            axis=axis,
            threshold=self.threshold,
            unit_of=partial(level_of, unit=unit),
        )
        key, view = next((key, view) for key, view in views if key["group"] == group)
        found = []
        for edge, mask in zip(view.edges, view.masks, strict=True):
            scores = view.scores.take(mask)
            about = (group, axis, unit, edge, edge == view.edges[-1])  # the last window is closed
            if about not in self._sums:
                self._sums[about] = group_sums(scores)
            (row,) = metric_rows(
                scores, [metric], level=self.study.level, unit=view.unit, sums=self._sums[about]
            )
            found.append(key | {"start_h": edge[0], "end_h": edge[1]} | row)
        return pd.DataFrame(found, columns=list(METRICS_TABLE.columns))


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
    times = detection_times(rows, thresholds={"chosen": threshold}, frames=study.detection_frames)
    # one curve for all: those of each MOI cost three times as much and stand in the report
    curves, summary = detection_curves(times.assign(moi=np.nan), level=study.level)
    found = pd.DataFrame(rates, columns=list(METRICS_TABLE.columns))
    return AtThreshold(confusion_table(rows, threshold=threshold), found, curves, summary)
