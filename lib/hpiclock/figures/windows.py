"""Metrics, detections and prediction intervals over sliding windows, with the frames behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.figures import style
from hpiclock.figures.style import Treatment, hatch_undefined, mark_undefined, reasons_of, styled
from hpiclock.metrics import METRICS

# The reference's figure: these five over windows, and the time error.
GENERALIZATION = ("auc", "accuracy", "f1", "precision", "recall", "mae")
_OTHER_COLOURS = (style.INK, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@styled
def metric_by_window(
    windows: pd.DataFrame,
    *,
    metric: str,
    level: float,
    groups: Sequence[str] = ("all",),
    clock: str = "hours",
    compact: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw one metric over windows, a line per group, with its band; and the frames per window below.

    A point stands at the middle of its window. A window in which the metric is undefined stays on the
    axis as a hatched stretch with its reason; where only one of several groups is undefined, a cross in
    its colour stands at the bottom. The band is the pointwise interval; where the table has
    ``low_simultaneous`` and ``high_simultaneous``, that band is drawn too, paler.

    Args:
        windows: METRICS rows with ``start_h`` and ``end_h``, one run and split.
        metric: which metric.
        level: level of the intervals, such as 0.95.
        groups: which groups of the table.
        clock: what the windows are counted in: ``hours`` since imaging start, or ``hpi``.
        compact: a panel of a figure: without legend, reasons in words and frames per window.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.4, 2.9)
    of_metric = windows[windows["metric"].eq(metric) & windows["start_h"].notna()]
    rows = of_metric[of_metric["group"].isin(groups)].sort_values("start_h")
    name = METRICS[metric].label
    if rows.empty:
        return style.nothing(ax, f"no windows with {name}")
    words = []
    for number, group in enumerate(groups):
        line = rows[rows["group"].eq(group)]
        if len(line):
            words.append(_draw_line(ax, line, group, line_style(group, number), level))
    chance_line(ax, metric)
    ax.set(ylabel=name, xlabel=style.TIME_AXES[clock])
    _value_limits(ax, rows, metric)
    style.hour_ticks(ax, float(rows["start_h"].min()), float(rows["end_h"].max()))
    hatch_undefined(ax, rows, words=not compact)
    for number, group in enumerate(groups):
        mark_undefined(ax, rows, group, str(line_style(group, number)["color"]))
    if not compact:
        style.legend_outside(ax)
        below = ax.inset_axes((0, -0.48, 1, 0.24), sharex=ax)
        counts_by_window(of_metric, clock=clock, ax=below)
        ax.tick_params(labelbottom=False)
        ax.set_xlabel("")
    reasons = reasons_of(rows)
    undefined = f" Undefined: {'; '.join(reasons)}." if reasons else ""
    style.describe(ax, f"{name} by window. {'; '.join(words)}.{undefined}")
    return ax


@styled
def counts_by_window(windows: pd.DataFrame, *, clock: str = "hours", ax: Axes | None = None) -> Axes:
    """Draw the frames of each window as bars, infected above mock, and its stacks as a number above.

    Args:
        windows: METRICS rows with ``group start_h end_h n n_stacks n_infected``. The group ``all`` counts
            where it is there; else the groups are put together, without the stacks, which they may share.
        clock: ``hours`` or ``hpi``.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.4, 1.2)
    rows = _frames_per_window(windows)
    if rows.empty:
        return style.nothing(ax, "no windows")
    middles = (rows["start_h"] + rows["end_h"]).to_numpy() / 2
    width = 0.8 * float(
        np.diff(middles).min() if len(rows) > 1 else (rows["end_h"] - rows["start_h"]).iloc[0]
    )
    ax.bar(middles, rows["mock"], width=width, color=style.MOCK, alpha=0.75, label="mock")
    ax.bar(
        middles,
        rows["infected"],
        bottom=rows["mock"],
        width=width,
        color=style.INFECTED,
        alpha=0.75,
        label="infected",
    )
    total = rows["mock"] + rows["infected"]
    stacked = rows["n_stacks"].notna()
    for x, y, n_stacks in zip(middles[stacked], total[stacked], rows.loc[stacked, "n_stacks"], strict=True):
        ax.annotate(f"{n_stacks:.0f}", (x, y), (0, 1), textcoords="offset points", ha="center", fontsize=5.5)
    ax.set(xlabel=style.TIME_AXES[clock], ylabel="frames", ylim=(0, 1.3 * max(float(total.max()), 1)))
    style.hour_ticks(ax, float(rows["start_h"].min()), float(rows["end_h"].max()))
    number = "\n(number: stacks)" if stacked.any() else ""
    style.legend_outside(ax, title=f"frames in the window{number}", alignment="left")
    of_stacks = f", of {style.range_text(rows['n_stacks'], 0)} stacks" if stacked.any() else ""
    style.describe(ax, f"Frames per window: {style.range_text(total, 0)}{of_stacks}.")
    return ax


def _frames_per_window(windows: pd.DataFrame) -> pd.DataFrame:
    """Return ``start_h end_h infected mock n_stacks`` per window, the stacks missing without a group all."""
    windows = windows[windows["start_h"].notna()]
    whole = windows["group"].eq("all")
    rows = (windows[whole] if whole.any() else windows).assign(mock=lambda t: t["n"] - t["n_infected"])
    counts = {"infected": ("n_infected", "max"), "mock": ("mock", "max"), "n_stacks": ("n_stacks", "max")}
    each = rows.groupby(["start_h", "end_h"]).agg(**counts).reset_index()
    return each if whole.any() else each.assign(n_stacks=np.nan)


@styled
def temporal_generalization_figure(windows: pd.DataFrame, *, level: float, clock: str = "hours") -> Figure:
    """Draw AUC, accuracy, F1, precision, recall and time MAE over windows, with frames per window below.

    The class metrics are those of all frames; the time error is drawn for infected and mock apart.

    Args:
        windows: METRICS rows with ``start_h`` and ``end_h``, one run and split.
        level: level of the bands, such as 0.95.
        clock: what the windows are counted in: ``hours`` since imaging start, or ``hpi``.
    """
    fig = style.new_figure(style.PAGE_IN, 5.2)
    there = windows[windows["start_h"].notna()]
    drawn = [metric for metric in GENERALIZATION if metric in set(there["metric"])]
    if not drawn:
        style.nothing(fig.add_subplot(), "no windows to draw")
        return fig
    grid = fig.add_gridspec(3, 3, height_ratios=(1, 1, 0.6))
    reasons: list[str] = []
    for number, metric in enumerate(drawn):
        ax = fig.add_subplot(grid[number // 3, number % 3])
        groups = ("infected", "mock") if metric == "mae" else ("all",)
        metric_by_window(there, metric=metric, level=level, groups=groups, clock=clock, compact=True, ax=ax)
        ax.set_xlabel("")
        if metric == "mae":
            lines = [line for line in ax.get_lines() if line.get_label() in groups]
            ax.legend(handles=lines, loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, fontsize=6)
        mine = there[there["metric"].eq(metric) & there["group"].isin(groups)]
        reasons += [text for text in reasons_of(mine) if text not in reasons]
    below = counts_by_window(there, clock=clock, ax=fig.add_subplot(grid[2, :]))
    below.legend(loc="lower left", bbox_to_anchor=(0, 0.97), ncols=2)
    below.set_title("number above a bar: stacks", fontsize=7, fontweight="normal", loc="right")
    wide = "low_simultaneous" in there and there["low_simultaneous"].notna().any()
    title = f"Bands: pointwise {level:.0%} intervals" + (", paler: all windows together." if wide else ".")
    title += f" Undefined (hatched or ×): {'; '.join(reasons)}." if reasons else ""
    fig.suptitle(style.wrapped(title, 125), x=0.01, ha="left", fontsize=7, fontweight="normal")
    return fig


def line_style(group: str, number: int) -> dict[str, Any]:
    """Return the keywords for the line of a group: conditions and MOIs have their own colour."""
    moi = float(group.removeprefix("moi=")) if group.startswith("moi=") else None
    condition = "infected" if moi is not None else group
    if condition in style.CONDITION_COLOURS:
        return Treatment(condition, moi).line | {"marker": style.CONDITION_MARKERS[condition]}
    return {"color": _OTHER_COLOURS[number % len(_OTHER_COLOURS)], "marker": "o", "linestyle": "-"}


def chance_line(ax: Axes, metric: str) -> None:
    """Draw where a model without knowledge stands, for a metric that has such a value."""
    chance = METRICS[metric].chance
    if chance is not None:
        ax.axhline(chance, color=style.GREY, linewidth=0.8, linestyle=":", zorder=0)


def _draw_line(ax: Axes, line: pd.DataFrame, group: str, looks: dict[str, Any], level: float) -> str:
    middles = ((line["start_h"] + line["end_h"]) / 2).to_numpy()
    values = line["value"].to_numpy(dtype=float)
    name = "all frames" if group == "all" else group.replace("moi=", "MOI ")
    ax.plot(middles, values, label=name, **looks)
    bands = [("low", "high", f"{level:.0%} interval, pointwise", 0.25)]
    if "low_simultaneous" in line:
        bands.insert(0, ("low_simultaneous", "high_simultaneous", f"{level:.0%} band, all windows", 0.12))
    for low, high, label, alpha in bands:
        lower, upper = line[low].to_numpy(dtype=float), line[high].to_numpy(dtype=float)
        there = np.isfinite(lower + upper)
        if there.any():
            ax.fill_between(
                middles, lower, upper, color=looks["color"], alpha=alpha, linewidth=0, label=label
            )
            alone = there & ~_has_neighbour(there)  # an area has no width at a single point
            ax.vlines(middles[alone], lower[alone], upper[alone], color=looks["color"], alpha=0.6)
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return f"{name}: undefined in all {len(line)} windows"
    first, last = known[[0, -1]]
    ends = f"{values[first]:.3g} at {middles[first]:g} h, {values[last]:.3g} at {middles[last]:g} h"
    return f"{name}: {ends}, {style.range_text(values, 2)}, {style.plural(len(line), 'window')}"


def _has_neighbour(known: np.ndarray) -> np.ndarray:
    padded = np.concatenate([[False], known, [False]])
    return padded[:-2] | padded[2:]


def _value_limits(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    limits = [name for name in ("low", "high", "low_simultaneous", "high_simultaneous") if name in rows]
    drawn = rows[["value", *limits]].to_numpy(dtype=float)
    if not np.isfinite(drawn).any():
        return
    if METRICS[metric].is_share:
        ax.set_ylim(0.38 if float(np.nanmin(drawn)) >= 0.45 else -0.02, 1.03)
    elif METRICS[metric].least == 0:
        # few wells give bands so wide that they would flatten the line: those run out of the picture
        ax.set_ylim(0, 1.1 * min(float(np.nanmax(drawn)), 3 * float(rows["value"].max())) + 1e-9)
    else:
        ax.margins(y=0.15)


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
        looks = line_style(str(group), number) | {"marker": None, "linestyle": "-"}
        name = "all MOIs" if group == "all" else str(group).replace("moi=", "MOI ")
        n = style.plural(int(rows["n_at_risk"].iloc[0]), "stack")
        ax.step(rows["time_h"], rows["share"], where="post", label=f"{name} ({n})", **looks)
        if (few or group == "all") and np.isfinite(rows[["low", "high"]].to_numpy(dtype=float)).any():
            ax.fill_between(
                rows["time_h"],
                rows["low"],
                rows["high"],
                step="post",
                color=looks["color"],
                alpha=0.18,
                linewidth=0,
                label=f"{level:.0%} interval",
            )
        lost = rows[rows["n_censored"].gt(0)]
        if len(lost):
            ax.plot(
                lost["time_h"],
                lost["share"],
                "|",
                color=looks["color"],
                markersize=7,
                label="watched no longer, not detected",
            )
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


@styled
def interval_coverage(coverage: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw per window the share of frames whose interval holds the true time, a line per call.

    The dotted line is the share that was promised; the width stands in the legend, the frames below.

    Args:
        coverage: ``group start_h end_h level coverage width_h n note`` of one run, as
            :func:`.conformal_intervals` gives it; groups are ``called infected`` and
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
        )
        under[n.index] += n
    below.set(xlabel=style.TIME_AXES["hours"], ylabel="frames")
    ax.tick_params(labelbottom=False)
    style.legend_outside(below, title="frames in the window", alignment="left")
