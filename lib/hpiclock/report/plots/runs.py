"""Several runs over the same windows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hpiclock.report.plots import style
from hpiclock.report.plots.comparison import looks_of
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.windows import CHANCE, LABELS, SHARES


@styled
def runs_over_time(
    windows: pd.DataFrame, *, metric: str, group: str, level: float, clock: str, ax: Axes | None = None
) -> Axes:
    """Draw one metric over windows, a line with its pointwise interval for each run.

    Args:
        windows: METRICS rows with ``start_h`` of several runs, one split, in the order of the legend.
        metric: which metric.
        group: whose frames.
        level: of the intervals.
        clock: ``hours`` or ``hpi``.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, style.PAGE_IN, 3.2)
    rows = windows[windows["metric"].eq(metric) & windows["group"].eq(group) & windows["start_h"].notna()]
    name = LABELS.get(metric, metric)
    if rows["value"].notna().sum() == 0:
        return style.nothing(ax, f"no window of these runs has {name}")
    if metric in CHANCE:
        ax.axhline(CHANCE[metric], color=style.GREY, linewidth=0.8, linestyle=":")
    words = []
    for number, (run, line) in enumerate(rows.groupby("run", sort=False)):
        line = line.sort_values("start_h")
        middle = ((line["start_h"] + line["end_h"]) / 2).to_numpy()
        low, high = line["low"].to_numpy(float), line["high"].to_numpy(float)
        looks = looks_of(number)
        ax.plot(middle, line["value"], label=str(run), **looks)
        ax.fill_between(middle, low, high, where=np.isfinite(low + high), color=looks["color"], alpha=0.15,
                        linewidth=0)  # fmt: skip
        words.append(f"{run}: {style.range_text(line['value'], 3)}")
    ax.set(xlabel=style.TIME_AXES[clock], ylabel=name if group == "all" else f"{name}, {group} frames")
    if metric in SHARES:
        ax.set_ylim(-0.02, 1.03)
    else:
        ax.set_ylim(bottom=0)
    style.hour_ticks(ax, float(rows["start_h"].min()), float(rows["end_h"].max()))
    style.legend_outside(ax, title=f"band: {level:.0%} interval\nof one window", alignment="left")
    style.describe(ax, f"{name} over windows of {len(words)} runs. {'; '.join(words)}.")
    return ax
