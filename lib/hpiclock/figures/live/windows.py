"""Confusion and detection at a threshold, and one metric over windows; changed in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from hpiclock.figures import style
from hpiclock.figures.classes import LABEL_NAMES
from hpiclock.figures.live import Drawing
from hpiclock.figures.style import reasons_of, styled
from hpiclock.figures.windows import line_style
from hpiclock.metrics import METRICS

THRESHOLD_WIDTH_IN, THRESHOLD_HEIGHT_IN = 9.0, 2.7


class ThresholdDrawing(Drawing):
    """Three panels: the confusion table, rates with their intervals, and the share of stacks detected.

    Args:
        metrics: the rates, in the order from top to bottom.
        hpi: the first and the last hour after onset of the detection curve.
        level: of the intervals.
    """

    @styled
    def __init__(self, *, metrics: tuple[str, ...], hpi: tuple[float, float], level: float) -> None:
        figure = style.new_figure(THRESHOLD_WIDTH_IN, THRESHOLD_HEIGHT_IN)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
        nothing: list[float] = []
        self._cells = left.imshow(np.zeros((2, 2)), cmap="Blues", vmin=0, vmax=1.1, aspect="auto")
        self._texts = {
            (y, x): left.text(x, y, "100.0%\n1,000 frames\n100 stacks", ha="center", va="center")
            for y in (0, 1)
            for x in (0, 1)
        }
        names = [LABEL_NAMES[i] for i in (0, 1)]
        left.set_xticks([0, 1], names)
        left.set_yticks([0, 1], names, rotation=90, va="center")
        left.tick_params(length=0)
        left.spines[:].set_visible(False)
        left.set(xlabel="called by the model", ylabel="true class")
        self._metrics = metrics
        place = list(range(len(metrics)))
        self._rates = [
            middle.errorbar([0.5], [y], xerr=[[0.1], [0.1]], fmt="o", color=style.SPLIT_COLOURS["test"])
            for y in place
        ]
        middle.set_yticks(place, [METRICS[metric].label for metric in metrics])
        middle.set(xlim=(-0.02, 1.02), ylim=(len(metrics) - 0.5, -0.6))
        middle.set_xlabel(f"share of frames, {level:.0%} interval")
        self._values = [
            middle.text(1.0, y - 0.28, "0.000 (0.000 to 0.000)", ha="right", va="center", fontsize=7)
            for y in place
        ]
        self._share = right.step([0], [0], where="post", color=style.INFECTED, label="detected")[0]
        self._band = right.fill_between(
            nothing, nothing, nothing, step="post", color=style.INFECTED, alpha=0.18, linewidth=0
        )
        right.set(ylim=(-0.03, 1.03), xlabel=style.TIME_AXES["hpi"], ylabel="infected stacks found (share)")
        style.hour_ticks(right, *hpi)
        self._hpi = hpi
        rates = [part for bar in self._rates for part in (bar.lines[0], *bar.lines[2])]
        moving = [self._cells, *self._texts.values(), *rates, *self._values, self._band, self._share]
        self.set_figure(figure, moving)

    def show(self, confusion: pd.DataFrame, rates: pd.DataFrame, curves: pd.DataFrame) -> None:
        """Move to another threshold.

        Args:
            confusion: ``label predicted n n_stacks share`` of one split.
            rates: METRICS rows, one per metric.
            curves: ``time_h share low high`` of the group all.
        """
        words = [*self._show_cells(confusion), *self._show_rates(rates)]
        curves = curves.sort_values("time_h")
        x = np.append(curves["time_h"].to_numpy(float), self._hpi[1])
        share, low, high = (_held(curves[name]) for name in ("share", "low", "high"))
        self._share.set_data(x, share)
        there = np.isfinite(low + high)
        self._band.set_data(x, np.where(there, low, 0), np.where(there, high, 0), where=there)
        found = float(share[-1]) if len(curves) else float("nan")
        words.append(f"detected by the last frame: {found:.0%}" if len(curves) else "no infected stacks")
        style.describe(self.figure, "; ".join(words) + ".")

    def _show_cells(self, confusion: pd.DataFrame) -> list[str]:
        cells, words = np.zeros((2, 2)), []
        for row in confusion.itertuples():
            y, x, share = int(str(row.label)), int(str(row.predicted)), float(str(row.share))
            cells[y, x] = share if np.isfinite(share) else 0
            text = [style.plural(int(str(row.n)), "frame"), style.plural(int(str(row.n_stacks)), "stack")]
            text.insert(0, f"{share:.1%}" if np.isfinite(share) else "no such frames")
            self._texts[y, x].set_text("\n".join(text))
            self._texts[y, x].set_color(style.ink_on("#08519C") if cells[y, x] > 0.55 else style.INK)
            words.append(f"{LABEL_NAMES[y]} called {LABEL_NAMES[x]}: {', '.join(text)}")
        self._cells.set_data(cells)
        return words

    def _show_rates(self, rates: pd.DataFrame) -> list[str]:
        words = []
        for y, (metric, bar, text) in enumerate(zip(self._metrics, self._rates, self._values, strict=True)):
            (row,) = rates[rates["metric"].eq(metric)].itertuples()
            value, low, high = float(str(row.value)), float(str(row.low)), float(str(row.high))
            bar.lines[0].set_data([value], [y])
            bar.lines[2][0].set_segments([np.array([(low, y), (high, y)])])
            said = style.interval_text(value, low, high)
            text.set_text(said if np.isfinite(value) else f"undefined: {style.first_clause(row.note)}")
            words.append(f"{metric} {said}")
        return words


def _held(values: pd.Series) -> np.ndarray:
    """The values of a curve, the last one held until the end of the axis."""
    array = values.to_numpy(float)
    return np.append(array, array[-1:] if len(array) else [np.nan])


WINDOW_WIDTH_IN, WINDOW_HEIGHT_IN = 7.2, 3.4


class WindowDrawing(Drawing):
    """One metric over windows with its interval, each window's extent, and the frames in it below.

    The axes stand still while windows move: the hours are those of all windows, a share goes from 0 to 1.

    Args:
        hours: the first and the last hour of all windows.
        level: of the intervals.
    """

    @styled
    def __init__(self, *, hours: tuple[float, float], level: float) -> None:
        figure = style.new_figure(WINDOW_WIDTH_IN, WINDOW_HEIGHT_IN)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        self._upper, self._lower = upper, lower
        nothing: list[float] = []
        self._chance = upper.axhline(0.5, color=style.GREY, linewidth=0.8, linestyle=":", label="chance")
        self._band = upper.fill_between(
            nothing, nothing, nothing, alpha=0.22, linewidth=0, label=f"{level:.0%} interval of one window"
        )
        self._extents = LineCollection([], linewidths=0.7, alpha=0.5)
        upper.add_collection(self._extents, autolim=False)
        (self._line,) = upper.plot(nothing, nothing, "o-", label="infected frames")
        (self._lost,) = upper.plot(nothing, nothing, "x", color=style.GREY, label="undefined")
        self._lost.set_transform(upper.get_xaxis_transform())
        self._mock, self._infected = (
            lower.fill_between(
                nothing, nothing, nothing, color=colour, alpha=0.75, linewidth=0, label=condition
            )
            for condition, colour in reversed(style.CONDITION_COLOURS.items())
        )
        # the longest label that any metric has, so that none is cut off later
        upper.set(ylim=(0, 1), ylabel=max((metric.label for metric in METRICS.values()), key=len))
        lower.set(ylim=(0, 1000), ylabel="frames", xlabel=style.TIME_AXES["hours"])
        style.hour_ticks(lower, *hours)
        for ax in (upper, lower):
            style.legend_outside(ax)
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        self._axes: tuple[object, ...] = ()
        moving = [self._band, self._extents, self._line, self._lost, self._mock, self._infected]
        self.set_figure(figure, moving)

    def show(self, rows: pd.DataFrame, *, clock: str) -> None:
        """Move to these windows.

        Args:
            rows: METRICS rows of one metric and group.
            clock: what they are counted in: ``hours`` or ``hpi``.
        """
        rows = rows.sort_values("start_h")
        metric, group = str(rows["metric"].iloc[0]), str(rows["group"].iloc[0])
        middle = ((rows["start_h"] + rows["end_h"]) / 2).to_numpy()
        value = rows["value"].to_numpy(float)
        low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
        self._set_axes(metric, group, clock, np.array([value, low, high]), float(rows["n"].max()))
        self._line.set_data(middle, value)
        there = np.isfinite(low + high)
        self._band.set_data(middle, np.where(there, low, 0), np.where(there, high, 0), where=there)
        self._extents.set_segments(
            [np.array([(row.start_h, row.value), (row.end_h, row.value)]) for row in rows.itertuples()]
        )
        lost = middle[np.isnan(value)]
        self._lost.set_data(lost, np.full(len(lost), 0.04))
        self._bars(rows, middle)
        undefined = f" Undefined: {'; '.join(reasons_of(rows))}." if len(lost) else ""
        ends = f"{style.range_text(value, 2)} in {style.plural(len(rows), 'window')}"
        style.describe(self.figure, f"{METRICS[metric].label} by window, {group}: {ends}.{undefined}")

    @styled
    def _set_axes(self, metric: str, group: str, clock: str, values: np.ndarray, n: float) -> None:
        """Give the axes what they measure and a range that holds it; nothing happens when they have it."""
        low, high = _range(metric, values)
        n_top = _round_up(n)
        wanted = (metric, group, clock, low, high, n_top)
        if wanted == self._axes:
            return
        self._axes = wanted
        looks = line_style(group, 0)
        self._line.set(**looks, label="all frames" if group == "all" else f"{group} frames")
        self._band.set_color(looks["color"])
        self._extents.set_color(looks["color"])
        chance = METRICS[metric].chance
        self._chance.set_visible(chance is not None)
        self._chance.set_ydata([chance or 0] * 2)
        self._upper.set(ylim=(low, high), ylabel=METRICS[metric].label)
        self._lower.set(ylim=(0, n_top), xlabel=style.TIME_AXES[clock])
        style.legend_outside(self._upper)
        self.stale()

    def _bars(self, rows: pd.DataFrame, middle: np.ndarray) -> None:
        half = 0.4 * float(np.diff(middle).min()) if len(middle) > 1 else 1.0
        x = (middle[:, None] + np.array([-half, -half, half, half])).ravel()
        infected = _steps(rows["n_infected"])
        total = _steps(rows["n"])
        self._mock.set_data(x, infected, total)
        self._infected.set_data(x, np.zeros_like(infected), infected)


def _steps(counts: Any) -> np.ndarray:
    """Heights of bars as one outline that returns to zero between them."""
    return (np.asarray(counts, float)[:, None] * np.array([0.0, 1.0, 1.0, 0.0])).ravel()


def _range(metric: str, values: np.ndarray) -> tuple[float, float]:
    if METRICS[metric].is_share:
        return -0.02, 1.03
    known = np.abs(values[np.isfinite(values)])
    top = _round_up(float(known.max()) if len(known) else 1.0)
    return (0.0 if METRICS[metric].least == 0 else -top), top


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten above a tenth more than the value."""
    size = 10.0 ** np.floor(np.log10(max(1.1 * value, 1e-9)))
    return float(next(size * step for step in (1, 2, 5, 10) if 1.1 * value <= size * step))
