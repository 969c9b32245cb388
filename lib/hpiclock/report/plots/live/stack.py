"""One frame beside the trajectory of its stack, and the plate it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Circle

from hpiclock.report.plots import style
from hpiclock.report.plots.live.drawing import SCREEN_DPI, SHARPNESS, Drawing
from hpiclock.report.plots.plate import layout_of, plate_map
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.trajectories import entries_of, onset_and_cursor, score_panel, time_panel
from hpiclock.report.plots.treatments import Treatment

Picture = npt.NDArray[np.uint8]
WIDTH_IN, HEIGHT_IN = 7.2, 3.7
PLATE_IN = 3.4  # height of the plate map above


class StackDrawing(Drawing):
    """A stack: the frame on the left, P(infected) and time over hours on the right, a cursor in both.

    Args:
        rows: PREDICTIONS of one stack and run.
        threshold: the decision threshold.
        size: side of the pictures in pixels; None draws the trajectories alone.
    """

    @styled
    def __init__(self, rows: pd.DataFrame, *, threshold: float, size: int | None) -> None:
        figure = style.new_figure(WIDTH_IN, HEIGHT_IN)
        self._rows = rows.sort_values("hours")
        self._parts = _Parts(figure, self._rows, threshold, size)
        self.set_figure(figure, self._parts.moving)

    def show(self, hours: float, picture: Picture | None) -> None:
        """Move the cursor to the frame at these hours and show its picture, where there is one."""
        row = next(self._rows[self._rows["hours"].eq(hours)].itertuples())
        self._parts.show(row, picture)
        style.describe(self.figure, self._parts.words(row))


@styled
def plate_and_stack_figure(
    plate: pd.DataFrame, rows: pd.DataFrame, *, hours: float, picture: Picture | None, threshold: float
) -> Figure:
    """Draw the plate map with one well marked, and below it one frame beside its trajectory.

    Args:
        plate: the stacks of one plate (``plate well condition moi onset_h``, a row each).
        rows: PREDICTIONS of one stack and run.
        hours: of the frame.
        picture: (side, side) uint8, or None.
        threshold: the decision threshold.
    """
    figure = style.new_figure(WIDTH_IN, PLATE_IN + HEIGHT_IN)
    figure.set_dpi(SCREEN_DPI * SHARPNESS)  # pictures have no more to show, and pages stay small
    above, below = np.ravel(figure.subfigures(2, 1, height_ratios=(PLATE_IN, HEIGHT_IN), squeeze=False))
    ax = plate_map(plate, ax=above.subplots())
    well = str(rows["well"].iloc[0])
    row, column = layout_of(list(plate["well"].unique()))[0][well]
    ax.add_patch(Circle((column, row), 0.47, facecolor="none", edgecolor=style.INK, linewidth=2.2))
    rows = rows.sort_values("hours")
    parts = _Parts(below, rows, threshold, None if picture is None else picture.shape[0])
    frame = next(rows[rows["hours"].eq(hours)].itertuples())
    parts.show(frame, picture)
    style.describe(figure, f"{ax.get_label()} Marked: {well}. {parts.words(frame)}")
    return figure


class _Parts:
    """The panels of one stack inside a figure, and what moves in them."""

    def __init__(
        self, figure: Figure | SubFigure, rows: pd.DataFrame, threshold: float, size: int | None
    ) -> None:
        self._rows = rows
        had = Treatment.of(rows.iloc[0])
        self._name = f"{rows['well'].iloc[0]} {style.position(rows['position'].iloc[0])}, {had.label}".strip()
        grid = figure.add_gridspec(2, 2, width_ratios=(1.05, 1)) if size else figure.add_gridspec(1, 2)
        self._picture = _picture_panel(figure.add_subplot(grid[:, 0]), size, had) if size else None
        places = (grid[0, 1], grid[1, 1]) if size else (grid[0, 0], grid[0, 1])
        upper, lower = (figure.add_subplot(place) for place in places)
        score_panel(upper, rows, threshold)
        time_panel(lower, rows)
        for ax in (upper, lower):
            onset_and_cursor(ax, rows, None)
        if size:
            upper.set_xlabel("")
        cursors = [ax.axvline(rows["hours"].iloc[0], color=style.INK, linewidth=1) for ax in (upper, lower)]
        dots = [_dot(upper, had), _dot(lower, had)]
        handles, labels = (a + b for a, b in zip(*map(entries_of, (upper, lower)), strict=True))
        entries = dict(zip(labels, handles, strict=True))
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries)
        )  # fmt: skip
        title_at = self._picture.axes if self._picture is not None else upper
        self._title = title_at.set_title(self._title_text(next(rows.itertuples())))
        self._cursors, self._dots = cursors, dots
        self.moving: list[Artist] = [*cursors, *dots, self._title]
        if self._picture is not None:
            self.moving.insert(0, self._picture)

    def show(self, row: Any, picture: Picture | None) -> None:
        """Move to one frame of the stack."""
        if self._picture is not None:
            blank = np.full(self._picture.get_size(), 255, np.uint8)
            self._picture.set_data(blank if picture is None else picture)
        for cursor, dot, value in zip(
            self._cursors, self._dots, (row.p_infected, row.time_pred), strict=True
        ):
            cursor.set_xdata([row.hours, row.hours])
            dot.set_data([row.hours], [value])
        self._title.set_text(self._title_text(row))

    def words(self, row: Any) -> str:
        """Return what is drawn, in words."""
        text = f"{self._title_text(row)}, {frame_words(row)}."
        p, said = self._rows["p_infected"], self._rows["time_pred"]
        text += (
            f" P(infected) over hours: {style.range_text(p, 2)}; predicted time {style.range_text(said)} h."
        )
        return text.replace("\n", ", ")

    def _title_text(self, row: Any) -> str:
        return f"{self._name}\n{hours_words(row)}"


def hours_words(row: Any) -> str:
    """Return ``12 h after start, 7 hpi`` of a frame."""
    hpi = f", {style.number(row.hpi, 1).removesuffix('.0')} hpi" if np.isfinite(row.hpi) else ""
    return f"{row.hours:g} h after start{hpi}"


def frame_words(row: Any) -> str:
    """Return what the model said of a frame, and what is true."""
    parts = []
    if np.isfinite(row.p_infected):
        parts.append(f"P(infected) {row.p_infected:.2f}")
    if np.isfinite(row.time_pred):
        said = f"predicted time {style.number(row.time_pred, 1)} h"
        if np.isfinite(row.time_target):
            error = style.number(row.time_pred - row.time_target, 1, signed=True)
            said += f" (true {style.number(row.time_target, 1)} h, error {error} h)"
        parts.append(said)
    return ", ".join(parts) or "nothing predicted"


def _picture_panel(ax: Axes, size: int, had: Treatment) -> Any:
    blank = np.full((size, size), 255, np.uint8)
    image = ax.imshow(blank, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=had.colour, linewidth=1.6)
    return image


def _dot(ax: Axes, had: Treatment) -> Any:
    (dot,) = ax.plot(
        [], [], "o", color=had.colour, markeredgecolor=style.INK, markersize=6, zorder=5, clip_on=False
    )
    dot.set_in_layout(False)  # nowhere yet, it would pull the panel there
    return dot
