"""One frame beside the trajectory of its stack and its plate, or among its neighbours in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Circle

from hpiclock.figures import style
from hpiclock.figures.images import ENDS, SCALES, gallery_lines, overlay_map
from hpiclock.figures.live import SCREEN_DPI, SHARPNESS, Drawing
from hpiclock.figures.plate import layout_of, plate_map
from hpiclock.figures.style import Treatment, styled
from hpiclock.figures.times import entries_of, onset_and_cursor, score_panel, time_panel

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
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries))
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


Heat = npt.NDArray[np.floating[Any]]
ERROR_WIDTH_IN, TRAJECTORY_IN = 7.2, 2.2
PICTURES_IN = 1.95  # height of a row of frames


class ErrorDrawing(Drawing):
    """Frames side by side, the chosen one framed in ink, a row of heat maps where given, and trajectories.

    Args:
        rows: PREDICTIONS of one stack and run.
        shown: the frames of it that are drawn, in their order.
        chosen: the value of ``frame`` that is in question.
        threshold: the decision threshold.
        pictures: (n, side, side) uint8, one for each row of ``shown``; None draws trajectories alone.
        heat: (n, height, width) what speaks for infected or for more hours (positive) and what against; NaN
            where it is not known.
        head: whose maps these are, ``class`` or ``time``.
    """

    @styled
    def __init__(
        self,
        rows: pd.DataFrame,
        shown: pd.DataFrame,
        *,
        chosen: int,
        threshold: float,
        pictures: Picture | None,
        heat: Heat | None,
        head: str = "class",
    ) -> None:
        n_rows = 0 if pictures is None else 1 if heat is None else 2
        figure = style.new_figure(ERROR_WIDTH_IN, n_rows * PICTURES_IN + TRAJECTORY_IN)
        heights = [PICTURES_IN] * n_rows + [TRAJECTORY_IN]
        strips = figure.subfigures(n_rows + 1, 1, height_ratios=heights, squeeze=False)[:, 0]
        if pictures is not None:
            _strip(strips[0], shown, chosen, pictures, None, head)
        if pictures is not None and heat is not None:
            _strip(strips[1], shown, chosen, pictures, heat, head)
        row = next(shown[shown["frame"].eq(chosen)].itertuples())
        left, right = strips[-1].subplots(1, 2)
        rows = rows.sort_values("hours")
        score_panel(left, rows, threshold)
        time_panel(right, rows)
        for ax in (left, right):
            onset_and_cursor(ax, rows, float(str(row.hours)))
        handles, labels = (a + b for a, b in zip(*map(entries_of, (left, right)), strict=True))
        entries = dict(zip(labels, handles, strict=True))
        strips[-1].legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries)
        )
        had = Treatment.of(row)
        name = f"{row.well} {style.position(row.position)}, {had.label}, {hours_words(row)}"
        beside = "" if pictures is None else f" among {len(shown)} frames in a row"
        maps = (
            f" Below each where the {head} head looks." if heat is not None and pictures is not None else ""
        )
        figure.suptitle(name, x=0.01, ha="left", fontsize=8)
        style.describe(figure, f"{name}: {frame_words(row)}{beside}, above the trajectory.{maps}")
        self.set_figure(figure, [])


def _strip(
    figure: Any, shown: pd.DataFrame, chosen: int, pictures: Picture, heat: Heat | None, head: str
) -> None:
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(1, len(shown))))
    known = heat is not None and bool(np.isfinite(heat).any())
    most = float(np.nanmax(np.abs(heat))) if heat is not None and known else 1.0
    for number, (ax, row) in enumerate(zip(panels, shown.itertuples(), strict=True)):
        ax.imshow(pictures[number], cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        ax.set(xticks=[], yticks=[])
        mine = row.frame == chosen
        colour = style.INK if mine else style.PALE
        ax.spines[:].set(visible=True, color=colour, linewidth=2.2 if mine else 1)
        if heat is None:
            lines = gallery_lines(row)[1:]
            ax.set_title(f"{row.hours:g} h", fontsize=7, fontweight="bold" if mine else "normal")
            ax.set_xlabel("\n".join(lines).replace(", true", ",\ntrue"), fontsize=6, loc="left", labelpad=3)
        elif np.isfinite(heat[number]).any():
            overlay_map(ax, heat[number], head, most or 1.0, pictures.shape[1])
        else:
            ax.set_xlabel("no map kept", fontsize=6, loc="left", labelpad=3)
    if known:
        panels[0].set_title(f"the {head} head looks", fontsize=6.5, fontweight="normal")
        for ax, words, end in zip(panels[1:], ENDS[head], (0.0, 1.0), strict=False):
            ax.set_title(f"■ {words}", fontsize=6.5, fontweight="normal", color=to_hex(SCALES[head](end)))
