"""Error browser: the frames that a run gets most wrong, each among its neighbours in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np
import numpy.typing as npt
import pandas as pd

from hpiclock.analysis.curves import LISTED, NEIGHBOURS, worst_frames
from hpiclock.errors import InputError
from hpiclock.figures.live import Drawing
from hpiclock.figures.live.frames import (
    ERROR_WIDTH_IN,
    PICTURES_IN,
    TRAJECTORY_IN,
    ErrorDrawing,
    frame_words,
    hours_words,
)
from hpiclock.figures.style import natural, number, position
from hpiclock.report.widgets.explorer import Explorer, Pictures, Source, choice
from hpiclock.runs.run import Run
from hpiclock.runs.tables import read_heat_maps

REASONS = ("time error", "missed infection", "false alarm")
EVERY = "all"
HEADS = {"time error": "time"}  # whose map is shown; of the other errors the class head's
HeatMaps = Callable[[pd.DataFrame, str], npt.NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class ErrorSelection:
    """Which errors are listed, and which of them is shown.

    reason: missed infection, false alarm or time error; condition: ``all``, ``infected`` or ``mock``; well:
    its name, or ``all``; hours: the first and the last hour since start; rank: 1 is the worst, 0 when there
    is none.
    """

    reason: str
    condition: str
    well: str
    hours: tuple[float, float]
    rank: int


class ErrorBrowser(Explorer[ErrorSelection]):
    """See :func:`error_browser`."""

    def __init__(self, source: Source, heat_maps: HeatMaps | None) -> None:
        """Begin with the worst of all."""
        self._source, self._heat_maps = source, heat_maps
        self._rows = source.of_split(source.splits[0])
        self._pictures = Pictures(source.cfg)
        first, last = float(self._rows["hours"].min()), float(self._rows["hours"].max())
        wells = sorted(self._rows["well"].unique(), key=natural)
        controls: dict[str, Any] = {
            "reason": choice("error", REASONS, width=210),
            "condition": choice("wells", [EVERY, *sorted(self._rows["condition"].unique())], width=170),
            "well": choice("well", [EVERY, *(well for well in wells if well)], width=140),
            "hours": ipw.FloatRangeSlider(
                value=(first, last),
                min=first,
                max=max(last, first + 1e-3),
                step=0.5,
                description="hours",
                readout_format=".3g",
                continuous_update=False,
                layout=ipw.Layout(width="330px"),
                style={"description_width": "45px"},
            ),
            "rank": ipw.Select(
                options=[("", 0)],
                rows=6,
                layout=ipw.Layout(width="720px", height="116px"),
                description="worst first",
                style={"description_width": "75px"},
            ),
        }
        self._worst = pd.DataFrame()
        height = PICTURES_IN * (1 if heat_maps is None else 2) + TRAJECTORY_IN
        self.controls = controls
        super().__init__(ErrorSelection, controls, size_px=(round(ERROR_WIDTH_IN * 100), round(height * 100)))
        self._list()
        if not self._worst.size:  # no time head: begin with what there is
            for reason in REASONS[1:]:
                controls["reason"].value = reason
                self._list()
                if len(self._worst):
                    break
        self.start()

    def follow(self, name: str) -> None:
        """Another question has another list."""
        if name != "rank":
            self._list()

    def draw(self, selection: ErrorSelection) -> tuple[Drawing, str]:
        """Draw the chosen frame, its neighbours and the trajectory of its stack."""
        if not selection.rank:
            raise InputError(
                f"No {selection.reason} among the {len(self._asked())} frames of these wells and hours."
            )
        bad = self._worst[self._worst["rank"].eq(selection.rank)].iloc[0]
        stack = self._rows[self._rows["stack_id"].eq(bad["stack_id"])].sort_values("hours")
        stack = stack.reset_index(drop=True)
        at = int(np.flatnonzero(stack["frame"].eq(bad["frame"]))[0])
        shown = stack.iloc[max(at - NEIGHBOURS, 0) : at + NEIGHBOURS + 1]
        pictures = self._pictures.of(shown)
        head = HEADS.get(selection.reason, "class")
        heat = self._heat_maps(shown, head) if self._heat_maps and pictures is not None else None
        drawing = ErrorDrawing(
            stack,
            shown,
            chosen=int(bad["frame"]),
            threshold=self._source.threshold.value,
            pictures=pictures,
            heat=heat,
            head=head,
        )
        frame = next(stack.iloc[[at]].itertuples())
        words = f"{selection.rank}. {selection.reason}: {frame.stack_id}, {hours_words(frame)}. "
        return drawing, f"{words}{frame_words(frame)}. {self._pictures.why}".strip()

    def _asked(self) -> pd.DataFrame:
        asked = {name: self.controls[name].value for name in ("condition", "well", "hours")}
        low, high = asked["hours"]
        rows = self._rows[self._rows["hours"].between(low - 1e-9, high + 1e-9)]
        for name in ("condition", "well"):
            if asked[name] != EVERY:
                rows = rows[rows[name].eq(asked[name])]
        return rows

    def _list(self) -> None:
        rows = self._asked()
        worst = worst_frames(rows, threshold=self._source.threshold.value, n=LISTED) if len(rows) else rows
        reason = self.controls["reason"].value
        self._worst = worst[worst["reason"].eq(reason)] if len(worst) else worst
        options = [(_line(row), int(str(row.rank))) for row in self._worst.itertuples()]
        control = self.controls["rank"]
        control.options = options or [("none", 0)]
        control.value = 1 if options else 0


def error_browser(run: Run | str | Path, *, heat_maps: HeatMaps | None = None) -> ErrorBrowser:
    """Look at the frames that a run gets most wrong: by kind of error, condition, well and hours.

    Args:
        run: a finished run, or its folder.
        heat_maps: given the rows of some frames (PREDICTIONS) and ``class`` or ``time``, returns (n, height,
            width): what speaks for infected, or for more hours (positive), and what against; NaN where it is
            not known; drawn in a second row. None = the Grad-CAM maps that the run keeps, if it does.

    Raises:
        InputError: no finished run.
    """
    source = Source.of(run)
    return ErrorBrowser(source, heat_maps or read_heat_maps(source.run))


def _line(row: Any) -> str:
    said = f"P {row.p_infected:.2f}" if np.isfinite(row.p_infected) else ""
    if np.isfinite(row.time_pred) and np.isfinite(row.time_target):
        said += f", said {number(row.time_pred, 1)} h, true {number(row.time_target, 1)} h"
    name = f"{row.well} {position(row.position)}".strip()
    return f"{row.rank}. {name}, {row.condition}, {row.hours:g} h: {said.removeprefix(', ')}"
