"""The window figure of one metric, changed in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from hpiclock.report.plots import style
from hpiclock.report.plots.live.drawing import Drawing
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.undefined import reasons_of
from hpiclock.report.plots.windows import CHANCE, LABELS, SHARES, looks_of

WIDTH_IN, HEIGHT_IN = 7.2, 3.4


class WindowDrawing(Drawing):
    """One metric over windows with its interval, each window's extent, and the frames in it below.

    The axes stand still while windows move: the hours are those of all windows, a share goes from 0 to 1.

    Args:
        hours: the first and the last hour of all windows.
        level: of the intervals.
    """

    @styled
    def __init__(self, *, hours: tuple[float, float], level: float) -> None:
        figure = style.new_figure(WIDTH_IN, HEIGHT_IN)
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
        # the widest labels that any metric has, so that none is cut off later
        upper.set(ylim=(0, 1), ylabel="skill over the clock")
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
        style.describe(self.figure, f"{LABELS[metric]} by window, {group}: {ends}.{undefined}")

    @styled
    def _set_axes(self, metric: str, group: str, clock: str, values: np.ndarray, n: float) -> None:
        """Give the axes what they measure and a range that holds it; nothing happens when they have it."""
        low, high = _range(metric, values)
        n_top = _round_up(n)
        wanted = (metric, group, clock, low, high, n_top)
        if wanted == self._axes:
            return
        self._axes = wanted
        looks = looks_of(group, 0)
        self._line.set(**looks, label="all frames" if group == "all" else f"{group} frames")
        self._band.set_color(looks["color"])
        self._extents.set_color(looks["color"])
        self._chance.set_visible(metric in CHANCE)
        self._chance.set_ydata([CHANCE.get(metric, 0)] * 2)
        self._upper.set(ylim=(low, high), ylabel=LABELS[metric])
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
    if metric in SHARES:
        return -0.02, 1.03
    known = np.abs(values[np.isfinite(values)])
    top = _round_up(float(known.max()) if len(known) else 1.0)
    return (-top if metric == "bias" else 0.0), top


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten above a tenth more than the value."""
    size = 10.0 ** np.floor(np.log10(max(1.1 * value, 1e-9)))
    return float(next(size * step for step in (1, 2, 5, 10) if 1.1 * value <= size * step))
