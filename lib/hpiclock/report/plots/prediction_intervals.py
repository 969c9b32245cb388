"""Intervals for single time predictions: how often they hold the truth, and how wide they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.undefined import hatch_undefined, mark_undefined, reasons_of


@styled
def interval_coverage(coverage: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw per window the share of frames whose interval holds the true time, a line per call.

    The dotted line is the share that was promised; the width stands in the legend, the frames below.

    Args:
        coverage: ``group start_h end_h level coverage width_h n note`` of one run, as
            :func:`hpiclock.study.conformal.conformal` gives it; groups are ``called infected`` and
            ``called mock``, and rows over all hours (``start_h`` missing) are not drawn.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.4, 2.9)
    rows = coverage[coverage["start_h"].notna()].sort_values("start_h").assign(value=lambda t: t["coverage"])
    if rows.empty:
        return style.nothing(ax, "no windows, so no coverage of intervals")
    promised = float(rows["level"].iloc[0])
    ax.axhline(promised, color=style.INK, linestyle=":", linewidth=0.8, label=f"promised: {promised:.0%}")
    words = []
    for group, line in rows.groupby("group", sort=False):
        width = float(line["width_h"].iloc[0])
        said = f"{style.number(width, 1)} h wide" if np.isfinite(width) else "no interval"
        ax.plot(_middles(line), line["value"], label=f"{group}: {said}", **_looks(str(group)))
        words.append(f"{group} ({said}): coverage {style.range_text(line['value'], 2)}")
    high_up = bool(rows["value"].ge(0.45).all())
    ax.set(ylim=(0.38 if high_up else -0.02, 1.03), ylabel="coverage (share of frames)")
    style.hour_ticks(ax, float(rows["start_h"].min()), float(rows["end_h"].max()))
    hatch_undefined(ax, rows, words=True)
    for group in rows["group"].unique():
        mark_undefined(ax, rows, group, _looks(group)["color"])
    style.legend_outside(ax)
    _frames_below(ax, rows)
    reasons = reasons_of(rows)
    undefined = f" Undefined: {'; '.join(reasons)}." if reasons else ""
    style.describe(
        ax, f"Coverage of {promised:.0%} prediction intervals by window. {'; '.join(words)}.{undefined}"
    )
    return ax


def _middles(rows: pd.DataFrame) -> np.ndarray:
    return (rows["start_h"] + rows["end_h"]).to_numpy(float) / 2


def _looks(group: str) -> dict[str, Any]:
    called = group.removeprefix("called ")
    return {
        "color": style.CONDITION_COLOURS.get(called, style.GREY),
        "linestyle": style.CONDITION_LINES.get(called, "-"),
        "marker": style.CONDITION_MARKERS.get(called, "o"),
    }


def _frames_below(ax: Axes, rows: pd.DataFrame) -> None:
    below = ax.inset_axes((0, -0.48, 1, 0.24), sharex=ax)
    starts = np.sort(rows["start_h"].unique())
    width = 0.8 * (float(np.diff(starts).min()) if len(starts) > 1 else 1.0)
    under = pd.Series(0.0, index=starts)
    for group, line in rows.groupby("group", sort=False):
        n = line.set_index("start_h")["n"].astype(float)
        colour = _looks(str(group))["color"]
        below.bar(
            _middles(line), n, bottom=under[n.index], width=width, color=colour, alpha=0.75, label=str(group)
        )  # fmt: skip
        under[n.index] += n
    below.set(xlabel=style.TIME_AXES["hours"], ylabel="frames")
    ax.tick_params(labelbottom=False)
    style.legend_outside(below, title="frames in the window", alignment="left")
