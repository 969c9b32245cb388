"""Metrics, detections and prediction intervals over sliding windows, with the frames behind them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.analysis import sentences
from hpiclock.figures import style
from hpiclock.figures.style import Treatment, band, hatch_undefined, mark_undefined, middles, styled
from hpiclock.format import count_text
from hpiclock.metrics import METRICS

# fmt: off
__all__ = [
    "answer_over_hpi", "counts_by_window", "detection_curve", "interval_coverage", "metric_by_window",
    "temporal_generalization_figure",
]
# fmt: on

# The reference's figure: these five over windows, and the time error.
GENERALIZATION = ("auc_stratified", "accuracy", "f1", "precision", "recall", "mae")
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
    ax = ax or style.new_axes(style.PAGE_IN, 2.9)
    of_metric = windows[windows["metric"].eq(metric) & windows["start_h"].notna()]
    rows = of_metric[of_metric["group"].isin(groups)].sort_values("start_h")
    name = METRICS[metric].label
    if rows.empty:
        return style.empty(ax, f"no windows with {name}")
    words = []
    for number, group in enumerate(groups):
        line = rows[rows["group"].eq(group)]
        if len(line):
            words.append(_draw_line(ax, line, group, group_style(group, number), level))
    chance_line(ax, metric)
    _value_limits(ax, rows, metric)
    style.over_time(ax, style.wrapped(name, 16) if compact else name, rows[["start_h", "end_h"]], clock)
    hatch_undefined(ax, rows, words=not compact)
    for number, group in enumerate(groups):
        mark_undefined(ax, rows, group, str(group_style(group, number)["color"]))
    if not compact:
        style.legend_outside(ax)
        counts_by_window(of_metric, clock=clock, ax=style.inset_below(ax))
    return style.describe(ax, f"{name} by window. {'; '.join(words)}.{style.undefined_text(rows)}")


@styled
def answer_over_hpi(windows: pd.DataFrame, *, level: float, eclipse_h: float, ax: Axes | None = None) -> Axes:
    """Draw from which hour post infection on infected fields are told from mock ones: AUC and recall.

    A bar is a window, at its value; the band of the AUC holds for all windows together. The eclipse is
    shaded, the first window whose band lies above 0.5 is marked, and the wells of each stand below.

    Args:
        windows: METRICS rows of ``auc_stratified`` and ``recall`` with ``low_simultaneous``, one split.
        level: of the band, such as 0.95.
        eclipse_h: hours after the onset in which nothing can be seen yet.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 3.0)
    rows = windows[windows["group"].eq("all") & windows["start_h"].notna()].sort_values("start_h")
    auc, recall = (rows[rows["metric"].eq(name)] for name in ("auc_stratified", "recall"))
    if auc["value"].notna().sum() == 0:
        return style.empty(ax, "no window of hours post infection holds both classes")
    hatched: Any = {"facecolor": "none", "edgecolor": "0.8", "hatch": "////", "linewidth": 0}
    ax.axvspan(0, eclipse_h, zorder=0, label=f"eclipse ({eclipse_h:g} h)", **hatched)
    style.reference_line(ax, y=0.5, zorder=0)
    limits = auc["low_simultaneous"], auc["high_simultaneous"]
    band(ax, middles(auc), *limits, style.INK, alpha=0.14, label=f"{level:.0%} band, all windows")
    drawn = (
        (auc, METRICS["auc_stratified"].label, style.INK, 1.5, 3),  # thin and in front: both are seen at 1
        (recall, "recall at the threshold", "#009E73", 3.6, 2),
    )
    for line, name, colour, width, front in drawn:
        bar: Any = {"color": colour, "linewidth": width, "zorder": front, "label": name}
        ax.hlines(line["value"], line["start_h"], line["end_h"], **bar)
        ax.plot(middles(line), line["value"], color=colour, linewidth=0.7, alpha=0.6)
    style.over_time(ax, "AUC, recall", auc[["start_h", "end_h"]], "hpi", zero=True)
    ax.set_ylim(-0.14, 1.05)
    first = auc[auc["low_simultaneous"].gt(0.5)].head(1)
    found = "in no window is the band above 0.5"
    for row in first.itertuples():
        found = f"first band above 0.5: {row.start_h:g} to {row.end_h:g} h"
        ax.axvline(row.start_h, color=style.INFECTED, linewidth=1.2, label=found)
    wells = [f"{n:.0f}" for n in auc["n_wells"]]
    for x, n in zip(middles(auc), wells, strict=True):
        box: Any = {
            "fc": "white",
            "ec": "none",
            "pad": 0.8,
        }  # a number can stand on the line of the first band
        ax.text(x, -0.12, n, ha="center", va="bottom", fontsize=7, color=style.INK, bbox=box, zorder=3)
    ax.text(1.0, 0.02, "wells", ha="right", va="bottom", fontsize=7, transform=ax.transAxes)
    order = ax.get_legend_handles_labels()
    ax.legend(*order, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, columnspacing=1.2)
    values = f"AUC {style.range_text(auc['value'], 2)}, recall {style.range_text(recall['value'], 2)}"
    return style.describe(ax, f"AUC and recall by window of hours post infection: {values}; {found}.")


@styled
def counts_by_window(windows: pd.DataFrame, *, clock: str = "hours", ax: Axes | None = None) -> Axes:
    """Draw the frames of each window as bars, infected above uninfected by label; a number above: stacks.

    Args:
        windows: METRICS rows with ``group start_h end_h n n_stacks n_infected``. The group ``all`` counts
            where it is there; else the groups are put together, without the stacks, which they may share.
        clock: ``hours`` or ``hpi``.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 1.2)
    rows = _frames_per_window(windows)
    if rows.empty:
        return style.empty(ax, "no windows")
    total = _stacked_bars(ax, rows, {"uninfected": "mock", "infected": "infected"})
    stacked = rows[rows["n_stacks"].notna()]
    for x, y, n_stacks in zip(middles(stacked), total[stacked.index], stacked["n_stacks"], strict=True):
        ax.annotate(f"{n_stacks:.0f}", (x, y), (0, 1), textcoords="offset points", ha="center", fontsize=7)
    ax.set_ylim(0, 1.3 * max(float(total.max()), 1))
    style.over_time(ax, "frames", rows[["start_h", "end_h"]], clock)
    number = "\n(number: stacks)" if len(stacked) else ""
    style.legend_outside(ax, title=f"frames in the window{number}", alignment="left")
    of_stacks = f", of {style.range_text(rows['n_stacks'], 0)} stacks" if len(stacked) else ""
    return style.describe(ax, f"Frames per window: {style.range_text(total, 0)}{of_stacks}.")


def _frames_per_window(windows: pd.DataFrame) -> pd.DataFrame:
    """Return ``start_h end_h infected uninfected n_stacks`` per window, the stacks only of a group all."""
    windows = windows[windows["start_h"].notna()]
    whole = windows["group"].eq("all")
    rows = (windows[whole] if whole.any() else windows).assign(uninfected=lambda t: t["n"] - t["n_infected"])
    counts = {
        "infected": ("n_infected", "max"),
        "uninfected": ("uninfected", "max"),
        "n_stacks": ("n_stacks", "max"),
    }
    each = rows.groupby(["start_h", "end_h"]).agg(**counts).reset_index()
    return each if whole.any() else each.assign(n_stacks=np.nan)


def _stacked_bars(ax: Axes, rows: pd.DataFrame, columns: dict[str, str]) -> pd.Series:
    """Stack the counts of each window, a row each, in the colour of the condition; return their sums."""
    x = middles(rows)
    width = 0.8 * float(np.diff(x).min() if len(x) > 1 else (rows["end_h"] - rows["start_h"]).iloc[0])
    under = pd.Series(0.0, index=rows.index)
    for name, condition in columns.items():
        colour = style.CONDITION_COLOURS.get(condition, style.GREY)
        ax.bar(x, rows[name], bottom=under, width=width, color=colour, alpha=0.75, label=name)
        under = under + rows[name]
    return under


@styled
def temporal_generalization_figure(windows: pd.DataFrame, *, level: float) -> Figure:
    """Draw AUC, accuracy, F1, precision, recall and time MAE over windows, with frames per window below.

    The class metrics are those of all frames; the time error is drawn for infected and mock apart.

    Args:
        windows: METRICS rows with ``start_h`` and ``end_h``, one run and split.
        level: level of the bands, such as 0.95.
    """
    there = windows[windows["start_h"].notna()]
    drawn = [metric for metric in GENERALIZATION if metric in set(there["metric"])]
    if not drawn:
        return style.empty_figure("no windows to draw", style.PAGE_IN, 5.2)
    fig = style.new_figure(style.PAGE_IN, 5.2)
    grid = fig.add_gridspec(3, 3, height_ratios=(1, 1, 0.6))
    reasons: list[str] = []
    for number, metric in enumerate(drawn):
        ax = fig.add_subplot(grid[number // 3, number % 3])
        groups = ("infected", "mock") if metric == "mae" else ("all",)
        metric_by_window(there, metric=metric, level=level, groups=groups, compact=True, ax=ax)
        ax.set_xlabel("")
        if metric == "mae":
            lines = [line for line in ax.get_lines() if line.get_label() in groups]
            ax.legend(handles=lines, loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, fontsize=7)
        reasons += style.undefined_reasons(there[there["metric"].eq(metric) & there["group"].isin(groups)])
    below = counts_by_window(there, ax=fig.add_subplot(grid[2, :]))
    below.legend(loc="lower left", bbox_to_anchor=(0, 0.97), ncols=2)
    below.set_title("number above a bar: stacks", fontsize=7, fontweight="normal", loc="right")
    wide = "low_simultaneous" in there and there["low_simultaneous"].notna().any()
    title = f"Bands: pointwise {level:.0%} intervals" + (", paler: all windows together." if wide else ".")
    title += f" Undefined (hatched or ×): {'; '.join(dict.fromkeys(reasons))}." if reasons else ""
    fig.suptitle(style.wrapped(title, 125), x=0.01, ha="left", fontsize=7, fontweight="normal")
    return fig


def group_style(group: str, number: int) -> dict[str, Any]:
    """Return the keywords for the line of a group: conditions and MOIs have their own colour."""
    moi = float(group.removeprefix("moi=")) if group.startswith("moi=") else None
    condition = "infected" if moi is not None else group.removeprefix("called ")
    if condition in style.CONDITION_COLOURS:
        treatment = Treatment(condition, moi)
        return treatment.line | {"marker": treatment.marker}
    return {"color": _OTHER_COLOURS[number % len(_OTHER_COLOURS)], "marker": "o", "linestyle": "-"}


def chance_line(ax: Axes, metric: str) -> None:
    """Mark where a model without any knowledge stands, for metrics that have such a place."""
    style.reference_line(ax, y=METRICS[metric].chance, zorder=0)


def _draw_line(ax: Axes, rows: pd.DataFrame, group: str, line: dict[str, Any], level: float) -> str:
    x, values = middles(rows), rows["value"].to_numpy(dtype=float)
    name = "all frames" if group == "all" else group.replace("moi=", "MOI ")
    ax.plot(x, values, label=name, **line)
    if "low_simultaneous" in rows:
        limits = rows["low_simultaneous"], rows["high_simultaneous"]
        band(ax, x, *limits, line["color"], alpha=0.12, label=f"{level:.0%} band, all windows")
    pointwise = f"{level:.0%} interval, pointwise"
    band(ax, x, rows["low"], rows["high"], line["color"], alpha=0.25, label=pointwise)
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return f"{name}: undefined in all {len(rows)} windows"
    first, last = known[[0, -1]]
    ends = f"{values[first]:.3g} at {x[first]:g} h, {values[last]:.3g} at {x[last]:g} h"
    return f"{name}: {ends}, {style.range_text(values, 2)}, {count_text(len(rows), 'window')}"


def _value_limits(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    limits = [name for name in ("low", "high", "low_simultaneous", "high_simultaneous") if name in rows]
    drawn = rows[["value", *limits]].to_numpy(dtype=float)
    if not np.isfinite(drawn).any():
        return
    if METRICS[metric].is_share:
        share_limits(ax, drawn)
    elif METRICS[metric].least == 0:
        # few wells give bands so wide that they would flatten the line: those run out of the picture
        ax.set_ylim(0, 1.1 * min(float(np.nanmax(drawn)), 3 * float(rows["value"].max())) + 1e-9)
    else:
        ax.margins(y=0.15)


def share_limits(ax: Axes, drawn: np.ndarray) -> None:
    """Let the y axis go up to 1, from 0, or from 0.4 where nothing is lower."""
    ax.set_ylim(0.38 if float(np.nanmin(drawn)) >= 0.45 else -0.02, 1.03)


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
    ax = ax or style.new_axes(style.PAGE_IN, 2.9)
    if curves.empty:
        return style.empty(ax, "no infected stacks, so nothing to detect")
    few = len(set(curves["group"])) <= 2  # more bands on one another show nothing
    about, risks = [], {}
    for number, (group, rows) in enumerate(curves.groupby("group", sort=False)):
        rows = rows.sort_values("time_h")
        colour = group_style(str(group), number)["color"]
        name = "all MOIs" if group == "all" else str(group).replace("moi=", "MOI ")
        n = count_text(int(rows["n_at_risk"].iloc[0]), "stack")
        shown = rows[["time_h", "share"]].to_numpy(float)
        if shown[-1, 1] == 1:  # it stays there
            shown = np.vstack([shown, [curves["time_h"].max() + 1, 1.0]])
        ax.step(*shown.T, where="post", label=f"{name} ({n})", color=colour)
        if few or group == "all":
            limits: Any = {"label": f"{level:.0%} interval", "step": "post"}
            band(ax, rows["time_h"], rows["low"], rows["high"], colour, **limits)
        lost = rows[rows["n_censored"].gt(0)]
        if len(lost):
            tick: Any = {"color": colour, "markersize": 7, "label": "watched no longer, not detected"}
            ax.plot(lost["time_h"], lost["share"], "|", **tick)
        risks[name] = rows
        about.append(f"{name}: {n}, {rows['share'].iloc[-1]:.0%} detected by {rows['time_h'].iloc[-1]:.1f} h")
    style.share_axis(ax)
    style.over_time(ax, "stacks detected (share)", curves[["time_h"]], "hpi", zero=True)
    _still_watched(ax, risks)
    rule = sentences.words(str(curves["rule"].iloc[0])) if "rule" in curves else None
    text = f"Share of infected stacks detected over hours since onset. {'; '.join(about)}."
    return style.finish(ax, text, title=rule)


def _still_watched(ax: Axes, risks: dict[str, pd.DataFrame]) -> None:
    below = ax.inset_axes((0, -0.3 - 0.09 * len(risks), 1, 0.09 * len(risks)), sharex=ax)
    style.row_axis(below, list(risks))
    below.tick_params(length=0, labelbottom=False, labelsize=7)
    below.spines[:].set_visible(False)
    below.set_title("not yet detected, still watched (stacks)", fontsize=7, fontweight="normal", pad=2)
    for y, rows in enumerate(risks.values()):
        for hour in ax.get_xticks():
            # n_at_risk counts the stacks just before its step
            later = rows.loc[rows["time_h"].ge(hour), "n_at_risk"]
            n = int(later.iloc[0]) if len(later) else 0
            below.text(float(hour), y, f"{n}", ha="center", va="center", fontsize=7)


@styled
def interval_coverage(coverage: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw per window the share of frames whose interval holds the true time, a line per predicted class.

    The dotted line is the nominal share; the width stands in the legend, the frames below.

    Args:
        coverage: ``group start_h end_h level coverage width_h n note`` of one run, as
            :func:`.conformal_intervals` gives it; groups are ``called infected`` and
            ``called mock``, and rows over all hours (``start_h`` missing) are not drawn.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 2.9)
    rows = coverage[coverage["start_h"].notna()].sort_values("start_h").assign(value=lambda t: t["coverage"])
    if rows.empty:
        return style.empty(ax, "no windows, so no coverage of intervals")
    nominal = float(rows["level"].iloc[0])
    style.reference_line(ax, y=nominal, color=style.INK, label=f"nominal: {nominal:.0%}")
    words = []
    for group, line in rows.groupby("group", sort=False):
        width = float(line["width_h"].iloc[0])
        text = f"{style.number(width, 1)} h wide" if np.isfinite(width) else "no interval"
        ax.plot(middles(line), line["value"], label=f"{group}: {text}", **group_style(str(group), 0))
        words.append(f"{group} ({text}): coverage {style.range_text(line['value'], 2)}")
    share_limits(ax, rows["value"].fillna(0).to_numpy(dtype=float))
    style.over_time(ax, "coverage (share of frames)", rows[["start_h", "end_h"]])
    hatch_undefined(ax, rows, words=True)
    groups = {str(group): str(group).removeprefix("called ") for group in rows["group"].unique()}
    for group in groups:
        mark_undefined(ax, rows, group, group_style(group, 0)["color"])
    style.legend_outside(ax)
    below = style.inset_below(ax)
    frames = rows.pivot_table(index=["start_h", "end_h"], columns="group", values="n", aggfunc="sum")
    _stacked_bars(below, frames.fillna(0).reset_index(), groups)
    below.set(xlabel=style.TIME_AXES["hours"], ylabel="frames")
    style.legend_outside(below, title="frames in the window", alignment="left")
    level = f"Coverage of {nominal:.0%} prediction intervals by window. "
    return style.describe(ax, f"{level}{'; '.join(words)}.{style.undefined_text(rows)}")
