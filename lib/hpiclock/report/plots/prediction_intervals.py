"""Intervals for single time predictions: how often they hold the truth, and how wide they are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.windows import counts_by_window, metric_by_window


@styled
def prediction_intervals_figure(
    windows: pd.DataFrame,
    *,
    target: float,
    level: float,
    groups: Sequence[str] = ("infected", "mock"),
    clock: str = "hours",
) -> Figure:
    """Draw coverage and width of the prediction intervals over windows, with the frames per window below.

    Args:
        windows: METRICS rows of ``coverage`` (a share) and ``width`` (h) with ``start_h`` and ``end_h``.
        target: the coverage that was promised, such as 0.9; a dotted line.
        level: level of the bands around coverage and width.
        groups: which groups of the table.
        clock: what the windows are counted in: ``hours`` since imaging start, or ``hpi``.
    """
    fig = style.new_figure(style.PAGE_IN, 3.3)
    grid = fig.add_gridspec(2, 2, height_ratios=(1, 0.45))
    for column, metric in enumerate(("coverage", "width")):
        ax = fig.add_subplot(grid[0, column])
        metric_by_window(
            windows, metric=metric, level=level, groups=groups, clock=clock, compact=True, ax=ax
        )  # fmt: skip
        ax.set_xlabel("")
        if metric == "coverage" and ax.lines:
            ax.axhline(target, color=style.INK, linestyle=":", linewidth=0.8, label=f"promised: {target:.0%}")
        lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
        if lines:
            ax.legend(handles=lines, loc="lower left", bbox_to_anchor=(0, 0.98), ncols=3, fontsize=6)
        of_metric = windows[windows["metric"].eq(metric)]
        below = counts_by_window(of_metric, clock=clock, ax=fig.add_subplot(grid[1, column]))
        legend = below.get_legend()
        if legend is not None:
            legend.remove()
    return fig
