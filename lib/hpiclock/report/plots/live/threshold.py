"""Confusion, rates and detection at one threshold, changed in place."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.report.plots import style
from hpiclock.report.plots.classes import LABEL_NAMES
from hpiclock.report.plots.live.drawing import Drawing
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.windows import LABELS

WIDTH_IN, HEIGHT_IN = 9.0, 2.7


class ThresholdDrawing(Drawing):
    """Three panels: the confusion table, rates with their intervals, and the share of stacks detected.

    Args:
        metrics: the rates, in the order from top to bottom.
        hpi: the first and the last hour after onset of the detection curve.
        level: of the intervals.
    """

    @styled
    def __init__(self, *, metrics: tuple[str, ...], hpi: tuple[float, float], level: float) -> None:
        figure = style.new_figure(WIDTH_IN, HEIGHT_IN)
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
        middle.set_yticks(place, [LABELS.get(metric, metric) for metric in metrics])
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
