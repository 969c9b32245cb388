"""Figures redrawn in place for the explorers: what stands still is drawn once, what moves on top of it."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Circle
from PIL import Image

from hpiclock.figures import style
from hpiclock.figures.images import ENDS, SCALES, overlay_map, prediction_lines
from hpiclock.figures.plate import layout_of, plate_map
from hpiclock.figures.predictions import confusion_cells, confusion_map, confusion_words, trajectory
from hpiclock.figures.style import Treatment, styled
from hpiclock.figures.windows import group_style
from hpiclock.format import count_text, first_clause
from hpiclock.metrics import METRICS

SHARPNESS = 1.25  # pixels drawn for a pixel on screen: words stay sharp on dense displays
NONE: list[float] = []  # of artists that have nothing to draw yet


class Drawing:
    """A figure and its moving artists, rendered to PNG; a subclass has a method that moves them.

    Args:
        figure: the figure, complete. Its layout is fixed here: nothing jumps when words become longer.
        moving: drawn anew in every picture, in this order; the rest is drawn once.
    """

    def __init__(self, figure: Figure, moving: Sequence[Artist] = ()) -> None:
        self.figure = figure
        figure.set_dpi(style.SCREEN_DPI * SHARPNESS)
        self._canvas = FigureCanvasAgg(figure)
        self._moving = moving
        self._still: Any = None
        with mpl.rc_context(style.RC):
            self._canvas.draw()
        figure.set_layout_engine("none")

    def png(self) -> bytes:
        """Return the picture of now."""
        with mpl.rc_context(style.RC):
            if self._still is None:
                self._draw_still()
            self._canvas.restore_region(self._still)
            for artist in self._moving:
                artist.draw(self._canvas.get_renderer())
        stream = io.BytesIO()
        pixels = np.asarray(self._canvas.buffer_rgba())[..., :3]
        Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png", compress_level=1)
        return stream.getvalue()

    def _draw_still(self) -> None:
        for artist in self._moving:
            artist.set_animated(True)
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(self.figure.bbox)
        for artist in self._moving:
            artist.set_animated(False)  # so that the figure is whole when it is saved elsewhere


def empty_drawing(why: str, size_px: tuple[int, int]) -> Drawing:
    """Return a sentence where a figure would be, of this width and height on screen."""
    width, height = (side / style.SCREEN_DPI for side in size_px)
    return Drawing(style.empty_figure(why, width, height))


Picture = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.floating[Any]]
STACK_IN = (7.2, 3.7)  # width and height of a frame beside its trajectory
PLATE_IN = 3.4  # height of the plate map above
PICTURES_IN, TRAJECTORY_IN = 1.95, 2.2  # heights of a row of frames and of the trajectory below


class StackDrawing(Drawing):
    """A stack: the frame on the left, P(infected) and time over hours on the right, a cursor in both.

    Args:
        rows: PREDICTIONS of one stack and run.
        threshold: the decision threshold.
        size: side of the pictures in pixels; None draws the trajectories alone.
    """

    @styled
    def __init__(self, rows: pd.DataFrame, *, threshold: float, size: int | None) -> None:
        figure = style.new_figure(*STACK_IN)
        self._panels = _StackPanels(figure, rows, threshold, size)
        super().__init__(figure, self._panels.moving)

    def show(self, hours: float, picture: Picture | None) -> None:
        """Move the cursor to the frame at these hours and show its picture, where there is one."""
        style.describe(self.figure, self._panels.show(hours, picture))


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
    width, height = STACK_IN
    figure = style.new_figure(width, PLATE_IN + height)
    figure.set_dpi(style.SCREEN_DPI * SHARPNESS)  # pictures have no more to show, and pages stay small
    above, below = np.ravel(figure.subfigures(2, 1, height_ratios=(PLATE_IN, height), squeeze=False))
    ax = plate_map(plate, ax=above.subplots())
    well = str(rows["well"].iloc[0])
    row, column = layout_of(list(plate["well"].unique()))[0][well]
    ax.add_patch(Circle((column, row), 0.47, facecolor="none", edgecolor=style.INK, linewidth=2.2))
    panels = _StackPanels(below, rows, threshold, None if picture is None else picture.shape[0])
    return style.describe(figure, f"{ax.get_label()} Marked: {well}. {panels.show(hours, picture)}")


class _StackPanels:
    """The panels of one stack inside a figure, and the artists in them that move."""

    def __init__(
        self, figure: Figure | SubFigure, rows: pd.DataFrame, threshold: float, size: int | None
    ) -> None:
        self._rows = rows = rows.sort_values("hours")
        colour = Treatment.of(rows.iloc[0]).colour
        grid = figure.add_gridspec(2, 2, width_ratios=(1.05, 1)) if size else figure.add_gridspec(1, 2)
        places = (grid[0, 1], grid[1, 1]) if size else (grid[0, 0], grid[0, 1])
        self.moving: list[Artist] = []
        self._picture: Any = None
        if size:
            blank = np.full((size, size), 255, np.uint8)
            self._picture = style.picture(figure.add_subplot(grid[:, 0]), blank, colour, 1.6)
            self.moving.append(self._picture)
        self._axes = upper, lower = [figure.add_subplot(place) for place in places]
        trajectory(upper, lower, rows, threshold)
        if size:
            upper.set_xlabel("")
        start = rows["hours"].iloc[0]
        self._cursors = [ax.axvline(start, color=style.INK, linewidth=1) for ax in self._axes]
        dot: Any = {"markeredgecolor": style.INK, "markersize": 6, "zorder": 5, "clip_on": False}
        self._dots = [ax.plot([], [], "o", color=colour, **dot)[0] for ax in self._axes]
        for artist in self._dots:
            artist.set_in_layout(False)  # nowhere yet, it would pull the panel there
        style.legend_below(figure, *self._axes)
        self._title = (self._picture.axes if size else upper).set_title(frame_title(rows.iloc[0], "\n"))
        self.moving += [*self._cursors, *self._dots, self._title]

    def show(self, hours: float, picture: Picture | None) -> str:
        """Move to one frame of the stack; return what is drawn, in words."""
        row = self._rows[self._rows["hours"].eq(hours)].iloc[0]
        if self._picture is not None:
            blank = np.full(self._picture.get_size(), 255, np.uint8)
            self._picture.set_data(blank if picture is None else picture)
        for cursor, dot, name in zip(self._cursors, self._dots, ("p_infected", "time_pred"), strict=True):
            cursor.set_xdata([hours, hours])
            dot.set_data([hours], [row[name]])
        self._title.set_text(frame_title(row, "\n"))
        over_hours = " ".join(str(ax.get_label()) for ax in self._axes)
        return f"{frame_title(row)}, {prediction_text(row)}. {over_hours}"


def hours_text(row: Any) -> str:
    """Return ``12 h after start, 7 hpi`` of a frame."""
    return ", ".join(filter(None, (f"{row.hours:g} h after start", style.hpi_text(row))))


def prediction_text(row: Any) -> str:
    """Return what was predicted for a frame, and what is true."""
    return ", ".join(prediction_lines(row)) or "nothing predicted"


def frame_title(row: Any, after_stack: str = ", ") -> str:
    """Return ``B03 p1, MOI 5, 12 h after start, 7 hpi`` of a frame."""
    return f"{style.place_text(row)}, {Treatment.of(row).label}{after_stack}{hours_text(row)}"


@styled
def error_figure(
    rows: pd.DataFrame,
    shown: pd.DataFrame,
    *,
    chosen: int,
    threshold: float,
    pictures: Picture | None,
    heat: Heat | None,
    head: str = "class",
) -> Figure:
    """Draw frames side by side, the chosen one framed in ink, heat maps where given, and trajectories.

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
    strips = [] if pictures is None else [None] if heat is None else [None, heat]
    heights = [PICTURES_IN] * len(strips) + [TRAJECTORY_IN]
    figure = style.new_figure(STACK_IN[0], sum(heights))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, maps in zip(parts, strips, strict=False):
        _strip(part, shown, chosen, pictures, maps, head)
    row = shown[shown["frame"].eq(chosen)].iloc[0]
    left, right = parts[-1].subplots(1, 2)
    trajectory(left, right, rows.sort_values("hours"), threshold, float(row["hours"]))
    style.legend_below(parts[-1], left, right)
    title = frame_title(row)
    beside = f" among {len(shown)} frames in a row" if strips else ""
    below = f" Below each the map of the {head} head." if len(strips) > 1 else ""
    figure.suptitle(title, x=0.01, ha="left", fontsize=8)
    return style.describe(figure, f"{title}: {prediction_text(row)}{beside}, above the trajectory.{below}")


def _strip(
    figure: Any, shown: pd.DataFrame, chosen: int, pictures: Any, heat: Heat | None, head: str
) -> None:
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(1, len(shown))))
    known = heat is not None and bool(np.isfinite(heat).any())
    most = float(np.nanmax(np.abs(heat))) if heat is not None and known else 1.0
    below: Any = {"fontsize": 7, "loc": "left", "labelpad": 3}
    for number, (ax, row) in enumerate(zip(panels, shown.itertuples(), strict=True)):
        in_question = row.frame == chosen
        colour, width = (style.INK, 2.2) if in_question else (style.PALE, 1)
        style.picture(ax, pictures[number], colour, width)
        if heat is None:
            ax.set_title(f"{row.hours:g} h", fontsize=7, fontweight="bold" if in_question else "normal")
            ax.set_xlabel("\n".join(prediction_lines(row)), **below)
        elif np.isfinite(heat[number]).any():
            overlay_map(ax, heat[number], head, most or 1.0, pictures.shape[1])
        else:
            ax.set_xlabel("no map kept", **below)
    if known:
        panels[0].set_title(f"map of the {head} head", fontsize=7, fontweight="normal")
        for ax, words, end in zip(panels[1:], ENDS[head], (0.0, 1.0), strict=False):
            ax.set_title(f"■ {words}", fontsize=7, fontweight="normal", color=to_hex(SCALES[head](end)))


THRESHOLD_IN, WINDOW_IN = (7.2, 2.7), (7.2, 3.4)  # width and height


class ThresholdDrawing(Drawing):
    """Three panels: the confusion table, rates with their intervals, and the share of stacks detected.

    Args:
        metrics: the rates, in the order from top to bottom.
        hpi: the first and the last hour after onset of the detection curve.
        level: of the intervals.
    """

    @styled
    def __init__(self, *, metrics: tuple[str, ...], hpi: tuple[float, float], level: float) -> None:
        figure = style.new_figure(*THRESHOLD_IN)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
        widest = np.full((2, 2), "100.0%\n1,000 frames\n100 stacks", dtype=object)
        confusion_map(left, np.zeros((2, 2)), widest)
        self._cells, self._texts = left.collections[0], list(left.texts)
        self._metrics, self._hpi = metrics, hpi
        colour = style.SPLIT_COLOURS["test"]
        self._limits = middle.hlines(NONE, NONE, NONE, color=colour)
        (self._rates,) = middle.plot([], [], "o", color=colour)
        style.row_axis(middle, [METRICS[metric].label for metric in metrics])
        middle.set_ylim(top=-0.6)
        style.share_axis(middle, "x")
        middle.set_xlabel(f"share of frames, {level:.0%} interval")
        place: Any = {"ha": "right", "va": "center", "fontsize": 7}
        widest_value, ys = "0.000 (0.000 to 0.000)", range(len(metrics))
        self._values = [middle.text(1.0, y - 0.28, widest_value, **place) for y in ys]
        area: Any = {"step": "post", "color": style.INFECTED, "alpha": 0.18, "linewidth": 0}
        self._band = right.fill_between(NONE, NONE, NONE, **area)
        (self._share,) = right.step([0], [0], where="post", color=style.INFECTED, label="detected")
        right.set(xlabel=style.TIME_AXES["hpi"], ylabel="infected stacks found (share)")
        style.share_axis(right)
        style.hour_ticks(right, *hpi)
        moving = [self._cells, *self._texts, self._limits, self._rates, *self._values]
        super().__init__(figure, [*moving, self._band, self._share])

    def show(self, confusion: pd.DataFrame, rates: pd.DataFrame, curves: pd.DataFrame) -> None:
        """Move to another threshold.

        Args:
            confusion: ``label predicted n n_stacks share`` of one split.
            rates: METRICS rows, one per metric.
            curves: ``time_h share low high`` of the group all.
        """
        shares, texts = confusion_cells(confusion)
        self._cells.set_array(shares)
        for artist, text, share in zip(self._texts, texts.ravel(), shares.ravel(), strict=True):
            artist.set(text=text, color="white" if share > 0.55 else style.INK)
        words = [confusion_words(texts), *self._show_rates(rates)]
        curves = curves.sort_values("time_h")
        curves = pd.concat([curves, curves.tail(1).assign(time_h=self._hpi[1])])  # held to the end
        self._share.set_data(curves["time_h"], curves["share"])
        _move_band(self._band, curves["time_h"], curves["low"], curves["high"])
        found = f"detected by the last frame: {curves['share'].iloc[-1]:.0%}" if len(curves) else ""
        style.describe(self.figure, "; ".join([*words, found or "no infected stacks"]) + ".")

    def _show_rates(self, rates: pd.DataFrame) -> list[str]:
        rows = rates.set_index("metric").loc[list(self._metrics)]
        self._rates.set_data(rows["value"], range(len(rows)))
        limits = rows[["low", "high"]].to_numpy(float)
        self._limits.set_segments([np.array([(low, y), (high, y)]) for y, (low, high) in enumerate(limits)])
        words = []
        for artist, row in zip(self._values, rows.itertuples(), strict=True):
            value = style.interval_text(row.value, row.low, row.high)
            known = np.isfinite(row.value)
            artist.set_text(value if known else f"undefined: {first_clause(row.note)}")
            words.append(f"{row.Index} {value}")
        return words


def _move_band(band: Any, x: Any, low: Any, high: Any) -> None:
    """Give a band new limits, drawn where both are known."""
    x, low, high = (np.asarray(values, dtype=float) for values in (x, low, high))
    known = np.isfinite(low + high)
    band.set_data(x, np.where(known, low, 0), np.where(known, high, 0), where=known)


class WindowDrawing(Drawing):
    """One metric over windows with its interval, each window's extent, and the frames in it below.

    The axes stand still while windows move: the hours are those of all windows, a share goes from 0 to 1.

    Args:
        hours: the first and the last hour of all windows.
        level: of the intervals.
    """

    @styled
    def __init__(self, *, hours: tuple[float, float], level: float) -> None:
        figure = style.new_figure(*WINDOW_IN)
        self._upper, self._lower = upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        self._chance = upper.axhline(0.5, color=style.GREY, linewidth=0.8, linestyle=":", label="chance")
        interval = f"{level:.0%} interval of one window"
        self._band = upper.fill_between(NONE, NONE, NONE, alpha=0.22, linewidth=0, label=interval)
        self._extents = LineCollection([], linewidths=0.7, alpha=0.5)
        upper.add_collection(self._extents, autolim=False)
        (self._line,) = upper.plot(NONE, NONE, "o-", label="infected frames")
        (self._lost,) = upper.plot(NONE, NONE, "x", color=style.GREY, label="undefined")
        self._lost.set_transform(upper.get_xaxis_transform())
        self._mock, self._infected = (
            lower.fill_between(NONE, NONE, NONE, color=colour, alpha=0.75, linewidth=0, label=condition)
            for condition, colour in reversed(style.CONDITION_COLOURS.items())
        )
        # the longest label that any metric has, so that none is cut off later
        upper.set(ylim=(0, 1), ylabel=max((metric.label for metric in METRICS.values()), key=len))
        lower.set(ylim=(0, 1000), ylabel="frames", xlabel=style.TIME_AXES["hours"])
        style.hour_ticks(lower, *hours)
        for ax in (upper, lower):
            style.legend_outside(ax)
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        self._measured: tuple[object, ...] = ()
        moving = [self._band, self._extents, self._line, self._lost, self._mock, self._infected]
        super().__init__(figure, moving)

    def show(self, rows: pd.DataFrame, *, clock: str) -> None:
        """Move to these windows.

        Args:
            rows: METRICS rows of one metric and group.
            clock: what they are counted in: ``hours`` or ``hpi``.
        """
        rows = rows.sort_values("start_h")
        metric, group = str(rows["metric"].iloc[0]), str(rows["group"].iloc[0])
        x, value = style.middles(rows), rows["value"].to_numpy(float)
        limits = _value_range(metric, rows[["value", "low", "high"]].to_numpy(float))
        self._set_axes(metric, group, clock, limits, _round_up(float(rows["n"].max())))
        self._line.set_data(x, value)
        _move_band(self._band, x, rows["low"], rows["high"])
        ends = rows[["start_h", "end_h"]].to_numpy(float)
        self._extents.set_segments(list(np.stack([ends, np.column_stack([value, value])], axis=2)))
        lost = x[np.isnan(value)]
        self._lost.set_data(lost, np.full(len(lost), 0.04))
        half = 0.4 * float(np.diff(x).min()) if len(x) > 1 else 1.0
        corners = (x[:, None] + np.array([-half, -half, half, half])).ravel()
        infected, total = _steps(rows["n_infected"]), _steps(rows["n"])
        self._mock.set_data(corners, infected, total)
        self._infected.set_data(corners, np.zeros_like(infected), infected)
        span = f"{style.range_text(value, 2)} in {count_text(len(rows), 'window')}"
        text = f"{METRICS[metric].label} by window, {group}: {span}.{style.undefined_text(rows)}"
        style.describe(self.figure, text)

    @styled
    def _set_axes(self, metric: str, group: str, clock: str, limits: tuple[float, float], n: float) -> None:
        """Name the axes and give them a range that holds the values; nothing happens when they have it."""
        measured = (metric, group, clock, limits, n)
        if measured == self._measured:
            return
        self._measured = measured
        line = group_style(group, 0)
        self._line.set(**line, label="all frames" if group == "all" else f"{group} frames")
        self._band.set_color(line["color"])
        self._extents.set_color(line["color"])
        chance = METRICS[metric].chance
        self._chance.set_visible(chance is not None)
        self._chance.set_ydata([chance or 0] * 2)
        self._upper.set(ylim=limits, ylabel=METRICS[metric].label)
        self._lower.set(ylim=(0, n), xlabel=style.TIME_AXES[clock])
        style.legend_outside(self._upper)
        self._still = None  # what stands still otherwise has changed


def _steps(counts: Any) -> np.ndarray:
    """Return the heights of bars as one outline that returns to zero between them."""
    return (np.asarray(counts, float)[:, None] * np.array([0.0, 1.0, 1.0, 0.0])).ravel()


def _value_range(metric: str, values: np.ndarray) -> tuple[float, float]:
    if METRICS[metric].is_share:
        return -0.02, 1.03
    known = np.abs(values[np.isfinite(values)])
    top = _round_up(float(known.max()) if len(known) else 1.0)
    return (0.0 if METRICS[metric].least == 0 else -top), top


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten above a tenth more than the value."""
    size = 10.0 ** np.floor(np.log10(max(1.1 * value, 1e-9)))
    return float(next(size * step for step in (1, 2, 5, 10) if 1.1 * value <= size * step))
