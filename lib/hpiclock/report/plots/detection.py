"""When an infection is first seen: the share of stacks detected over hours since onset."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.windows import looks_of


@styled
def detection_curve(curves: pd.DataFrame, *, level: float, ax: Axes | None = None) -> Axes:
    """Draw the share of stacks in which the infection has been detected, over time since onset.

    The complement of a Kaplan-Meier curve: stacks never detected are censored at their last frame and
    marked with a tick. Below stand the stacks not yet detected and still watched. With more than two
    groups only the group ``all`` has its band.

    Args:
        curves: one row per step: ``group time_h share low high n_at_risk n_censored``, from ``time_h`` on the
            share holds; ``low`` and ``high`` may be missing.
        level: level of the intervals, such as 0.95.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.4, 2.9)
    if curves.empty:
        return style.nothing(ax, "no infected stacks, so nothing to detect")
    few = len(set(curves["group"])) <= 2  # more bands on one another show nothing
    words, risks = [], []
    for number, (group, rows) in enumerate(curves.groupby("group", sort=False)):
        rows = rows.sort_values("time_h")
        looks = looks_of(str(group), number) | {"marker": None, "linestyle": "-"}
        name = "all MOIs" if group == "all" else str(group).replace("moi=", "MOI ")
        n = style.plural(int(rows["n_at_risk"].iloc[0]), "stack")
        ax.step(rows["time_h"], rows["share"], where="post", label=f"{name} ({n})", **looks)
        if (few or group == "all") and np.isfinite(rows[["low", "high"]].to_numpy(dtype=float)).any():
            ax.fill_between(
                rows["time_h"], rows["low"], rows["high"], step="post", color=looks["color"], alpha=0.18,
                linewidth=0, label=f"{level:.0%} interval",
            )  # fmt: skip
        lost = rows[rows["n_censored"].gt(0)]
        if len(lost):
            ax.plot(
                lost["time_h"], lost["share"], "|", color=looks["color"], markersize=7,
                label="watched no longer, not detected",
            )  # fmt: skip
        risks.append((name, rows))
        words.append(f"{name}: {n}, {rows['share'].iloc[-1]:.0%} detected by {rows['time_h'].iloc[-1]:.1f} h")
    low, high = min(0.0, float(curves["time_h"].min())), float(curves["time_h"].max())
    ax.set(ylim=(-0.03, 1.03), xlabel=style.TIME_AXES["hpi"], ylabel="stacks detected (share)")
    style.hour_ticks(ax, low, high)
    _still_watched(ax, risks)
    style.legend_outside(ax)
    style.describe(ax, f"Share of infected stacks detected over hours since onset. {'; '.join(words)}.")
    return ax


def _still_watched(ax: Axes, risks: list[tuple[str, pd.DataFrame]]) -> None:
    below = ax.inset_axes((0, -0.3 - 0.09 * len(risks), 1, 0.09 * len(risks)), sharex=ax)
    below.set(ylim=(len(risks) - 0.5, -0.5))
    below.set_yticks(range(len(risks)), [name for name, _ in risks], fontsize=6)
    below.tick_params(length=0, labelbottom=False)
    below.spines[:].set_visible(False)
    below.set_title("not yet detected, still watched (stacks)", fontsize=6, fontweight="normal", pad=2)
    for y, (_, rows) in enumerate(risks):
        for hour in ax.get_xticks():
            # n_at_risk counts the stacks just before its step
            later = rows[rows["time_h"].ge(hour)]
            n = int(later["n_at_risk"].iloc[0]) if len(later) else 0
            below.text(float(hour), y, f"{n}", ha="center", va="center", fontsize=6)
