"""Runs and variants side by side: differences with intervals, curves over windows, sweeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.figures import style
from hpiclock.figures.style import styled
from hpiclock.figures.windows import chance_line
from hpiclock.metrics import METRICS

VARIANT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", style.INK)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
OVER_TIME = (("all", "auc"), ("all", "accuracy"), ("all", "f1"), ("infected", "mae"), ("mock", "mae"))


@styled
def difference_figure(comparison: pd.DataFrame, *, level: float) -> Figure:
    """Draw the difference of every metric with its interval and the margin that does not matter.

    Args:
        comparison: of :func:`hpiclock.analysis.compare.compare`.
        level: of the intervals.
    """
    there = comparison[comparison["difference"].notna()]
    if there.empty:
        figure = style.new_figure(style.COLUMN_IN, 1.5)
        style.nothing(figure.add_subplot(), "nothing that could be compared")
        return figure
    in_hours = there["metric"].map(_in_hours)
    parts = [part for part in (there[~in_hours], there[in_hours]) if len(part)]
    names = list(dict.fromkeys(there["variant"]))
    tall = max(part.drop_duplicates(["group", "metric"]).shape[0] for part in parts)
    figure = style.new_figure(style.PAGE_IN, 1.1 + tall * (0.18 + 0.16 * len(names)))
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for ax, part in zip(panels, parts, strict=True):
        _forest(ax, part, names, level)
    style.legend_outside(panels[-1])
    against = there["against"].iloc[0]
    words = [
        f"{row.variant}, {_name(row.group, row.metric)} "
        f"{style.interval_text(row.difference, row.low, row.high)}: {row.verdict}"
        for row in there.itertuples()
    ]
    figure.suptitle(f"Difference to {against}; filled: shown after correction", x=0.01, ha="left", fontsize=8)
    style.describe(figure, f"Differences to {against}. " + "; ".join(words) + ".")
    return figure


def _forest(ax: Axes, rows: pd.DataFrame, names: list[str], level: float) -> None:
    places = list(dict.fromkeys(zip(rows["group"], rows["metric"], strict=True)))
    ax.axvline(0, color=style.GREY, linewidth=0.8, linestyle=":")
    margin = float(rows["margin"].iloc[0])
    ax.axvspan(-margin, margin, color=style.PALE, alpha=0.7, linewidth=0, zorder=0, label="margin")
    for number, name in enumerate(names):
        mine = rows[rows["variant"].eq(name)]
        at = np.array([places.index(place) for place in zip(mine["group"], mine["metric"], strict=True)])
        y = at + (number - (len(names) - 1) / 2) * 0.6 / max(len(names), 1)
        looks = variant_style(number)
        known = mine["low"].notna().to_numpy()
        ax.hlines(y[known], mine["low"][known], mine["high"][known], color=looks["color"], linewidth=1.2)
        shown = mine["verdict"].isin(("better", "worse")).to_numpy()
        for mask, face in ((shown, looks["color"]), (~shown, "white")):
            ax.plot(mine["difference"][mask], y[mask], looks["marker"], color=looks["color"], mfc=face)
        ax.plot(
            [],
            [],
            looks["marker"],
            color=looks["color"],
            linestyle="-",
            label=f"{name}, {level:.0%} interval",
        )
    ax.set_yticks(range(len(places)), [_name(*place) for place in places])
    ax.set(ylim=(len(places) - 0.5, -0.5))
    first = METRICS[rows["metric"].iloc[0]]
    better = "left is better" if first.better == "lower" else "right is better"
    ax.set_xlabel(f"difference{_unit(first.name)}, {better}")


@styled
def differences_over_time_figure(windows: pd.DataFrame, *, level: float, clock: str) -> Figure:
    """Draw the difference in each window with its pointwise interval, a panel per metric.

    A filled point differs surely, all windows of the metric taken together.

    Args:
        windows: ``comparison_windows`` of :func:`hpiclock.analysis.compare.compare`.
        level: of the intervals.
        clock: ``hours`` or ``hpi``.
    """
    rows = windows[windows["axis"].eq(clock)]
    figure, panels = _panels(rows)
    words = []
    for ax, (group, metric) in panels:
        part = rows[rows["group"].eq(group) & rows["metric"].eq(metric)]
        ax.axhline(0, color=style.GREY, linewidth=0.8, linestyle=":")
        for number, (name, line) in enumerate(part.groupby("variant", sort=False)):
            words.append(_draw_differences(ax, line, variant_style(number), str(name), level))
        _dress(ax, part, clock, f"difference of {_name(group, metric)}" + _unit(metric))
    _finish(
        figure, panels, f"{level:.0%} interval of one window at a time; filled: differs, all windows together"
    )
    style.describe(figure, "Differences over windows. " + "; ".join(words) + ".")
    return figure


def _draw_differences(ax: Axes, line: pd.DataFrame, looks: dict[str, Any], name: str, level: float) -> str:
    middle = ((line["start_h"] + line["end_h"]) / 2).to_numpy()
    ax.plot(middle, line["difference"], color=looks["color"], linewidth=1.0)
    known = line["low"].notna().to_numpy()
    ax.fill_between(
        middle, line["low"], line["high"], where=known, color=looks["color"], alpha=0.18, linewidth=0
    )
    sure = (line["p_over_all_windows"] <= 1 - level).to_numpy()
    for mask, face in ((sure, looks["color"]), (~sure, "white")):
        ax.plot(middle[mask], line["difference"][mask], looks["marker"], color=looks["color"], mfc=face)
    ax.plot([], [], looks["marker"], color=looks["color"], linestyle="-", label=name)
    metric = _name(line["group"].iloc[0], line["metric"].iloc[0])
    return f"{name}, {metric}: {style.range_text(line['difference'], 3)}, {int(sure.sum())} windows differ"


@styled
def variants_over_time_figure(windows: pd.DataFrame, *, clock: str) -> Figure:
    """Draw the value of every variant in each window, a panel per metric.

    Args:
        windows: ``comparison_windows`` of :func:`hpiclock.analysis.compare.compare`.
        clock: ``hours`` or ``hpi``.
    """
    rows = windows[windows["axis"].eq(clock)]
    figure, panels = _panels(rows)
    words = []
    for ax, (group, metric) in panels:
        part = rows[rows["group"].eq(group) & rows["metric"].eq(metric)]
        lines = [(str(name), line, line["value"]) for name, line in part.groupby("variant", sort=False)]
        if lines:
            first = lines[0][1]
            lines.append((str(first["against"].iloc[0]), first, first["value_against"]))
        for number, (name, line, values) in enumerate(lines):
            looks = variant_style(number if number < len(lines) - 1 else -1)
            ax.plot((line["start_h"] + line["end_h"]) / 2, values, label=name, **looks)
            words.append(f"{name}, {_name(group, metric)}: {style.range_text(values, 3)}")
        _dress(ax, part, clock, _name(group, metric) + _unit(metric))
        if METRICS[metric].least == 0 and not METRICS[metric].is_share:
            ax.set_ylim(bottom=0)
    _finish(
        figure, panels, "Each point is a window at its middle; values without interval, differences have one"
    )
    style.describe(figure, "Variants over windows. " + "; ".join(words) + ".")
    return figure


def variant_style(number: int) -> dict[str, Any]:
    """Return colour and marker of a variant by its place; -1 is the one that others are held against."""
    if number < 0:
        return {"color": style.GREY, "marker": ".", "linestyle": "--"}
    return {"color": VARIANT_COLOURS[number % len(VARIANT_COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def _panels(rows: pd.DataFrame) -> tuple[Figure, list[tuple[Axes, tuple[str, str]]]]:
    there = rows[rows["difference"].notna()]
    keys = set(zip(there["group"], there["metric"], strict=True))
    drawn = [place for place in OVER_TIME if place in keys]
    figure = style.new_figure(style.PAGE_IN, 2.1 * max(-(-len(drawn) // 3), 1) + 0.4)
    if not drawn:
        style.nothing(figure.add_subplot(), "no window in which both are defined")
        return figure, []
    across = min(len(drawn), 3)
    grid = figure.subplots(-(-len(drawn) // across), across, squeeze=False).ravel()
    for ax in grid[len(drawn) :]:
        ax.set_axis_off()
    return figure, list(zip(grid, drawn, strict=False))


def _dress(ax: Axes, rows: pd.DataFrame, clock: str, label: str) -> None:
    style.hour_ticks(ax, float(rows["start_h"].min()), float(rows["end_h"].max()))
    ax.set_title(label, fontsize=7)
    ax.set_xlabel(style.TIME_AXES[clock], fontsize=7)


def _finish(figure: Figure, panels: list[tuple[Axes, tuple[str, str]]], title: str) -> None:
    if not panels:
        return
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3)
    figure.suptitle(title, x=0.01, ha="left", fontsize=7, fontweight="normal")


def _in_hours(metric: str) -> bool:
    return METRICS[metric].unit == "h"


def _unit(metric: str) -> str:
    return f" ({METRICS[metric].unit})" if METRICS[metric].unit else ""


def _name(group: str, metric: str) -> str:
    name = METRICS[metric].title
    return name if group == "all" or METRICS[metric].needs == group else f"{name}, {group}"


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
    name = METRICS[metric].label
    if rows["value"].notna().sum() == 0:
        return style.nothing(ax, f"no window of these runs has {name}")
    chance_line(ax, metric)
    words = []
    for number, (run, line) in enumerate(rows.groupby("run", sort=False)):
        line = line.sort_values("start_h")
        middle = ((line["start_h"] + line["end_h"]) / 2).to_numpy()
        low, high = line["low"].to_numpy(float), line["high"].to_numpy(float)
        looks = variant_style(number)
        ax.plot(middle, line["value"], label=str(run), **looks)
        ax.fill_between(
            middle, low, high, where=np.isfinite(low + high), color=looks["color"], alpha=0.15, linewidth=0
        )
        words.append(f"{run}: {style.range_text(line['value'], 3)}")
    ax.set(xlabel=style.TIME_AXES[clock], ylabel=name if group == "all" else f"{name}, {group} frames")
    if METRICS[metric].is_share:
        ax.set_ylim(-0.02, 1.03)
    else:
        ax.set_ylim(bottom=0)
    style.hour_ticks(ax, float(rows["start_h"].min()), float(rows["end_h"].max()))
    style.legend_outside(ax, title=f"band: {level:.0%} interval\nof one window", alignment="left")
    style.describe(ax, f"{name} over windows of {len(words)} runs. {'; '.join(words)}.")
    return ax


PANELS = (("all", "auc"), ("all", "auc_stratified"), ("infected", "mae"))
COLOURS = {"train-test": "#0072B2", "test-only": "#D55E00"}
LINES = {"full": "-", "matched": "--"}
SWEEP_MARKERS = {"full": "o", "matched": "s"}
WORDS = {
    ("train-test", "full"): "learnt and asked in these hours, all controls",
    ("train-test", "matched"): "learnt and asked in these hours, controls of the same hours",
    ("test-only", "full"): "learnt in all hours, all controls",
    ("test-only", "matched"): "learnt in all hours, controls of the same hours",
}


@styled
def interval_sweep_figure(summary: pd.DataFrame, *, level: float, note: str = "") -> Figure:
    """Draw scores against the end x of the interval [start, x], a line per mode and kind of controls.

    Args:
        summary: of a sweep with ``mode controls start_h end_h group metric value low high n n_wells``.
        level: of the bands.
        note: said above the figure.
    """
    start = float(summary["start_h"].min())
    label = f"x (h): infected frames from {start:g} h to x"
    return _figure(summary, summary["end_h"], label, level, note)


@styled
def window_sweep_figure(summary: pd.DataFrame, *, level: float, note: str = "") -> Figure:
    """Draw scores of models learnt in sliding windows, at the middle of each window.

    Arguments as in :func:`interval_sweep_figure`.
    """
    middle = (summary["start_h"] + summary["end_h"]) / 2
    width = float((summary["end_h"] - summary["start_h"]).iloc[0])
    return _figure(
        summary, middle, f"middle of the window of {width:g} h (h since imaging start)", level, note
    )


def _figure(summary: pd.DataFrame, x: pd.Series, label: str, level: float, note: str) -> Figure:
    rows = summary.assign(x=x.to_numpy())
    there = set(zip(rows["group"], rows["metric"], strict=True))
    drawn = [place for place in PANELS if place in there]
    figure = style.new_figure(style.PAGE_IN, 4.1)
    grid = figure.add_gridspec(2, len(drawn), height_ratios=(1, 0.34))
    words = []
    kinds = [kind for kind in WORDS if ((rows["mode"] == kind[0]) & (rows["controls"] == kind[1])).any()]
    handles: list[Any] = []
    labels: list[Any] = []
    for column, (group, metric) in enumerate(drawn):
        ax = figure.add_subplot(grid[0, column])
        mine = rows[rows["group"].eq(group) & rows["metric"].eq(metric)]
        for kind in kinds:
            line = mine[mine["mode"].eq(kind[0]) & mine["controls"].eq(kind[1])].sort_values("x")
            words.append(_line(ax, line, kind, metric))
        handles, labels = ax.get_legend_handles_labels()
        chance_line(ax, metric)
        name = METRICS[metric].label + ("" if group == "all" else f",\n{group} frames")
        _dress_sweep(ax, mine, metric, name)
        below = figure.add_subplot(grid[1, column], sharex=ax)
        _counts(below, mine, kinds, label, first=column == 0)
        ax.tick_params(labelbottom=False)
    figure.legend(handles, labels, loc="outside lower left", ncols=1)
    said = f"Bands: pointwise {level:.0%} intervals over wells. {note}".strip()
    figure.suptitle(said, x=0.01, ha="left", fontsize=7, fontweight="normal")
    style.describe(figure, f"Scores against {label}. " + "; ".join(words) + ".")
    return figure


def _line(ax: Axes, line: pd.DataFrame, kind: tuple[str, str], metric: str) -> str:
    colour = COLOURS[kind[0]]
    ax.plot(
        line["x"],
        line["value"],
        color=colour,
        linestyle=LINES[kind[1]],
        marker=SWEEP_MARKERS[kind[1]],
        mfc=colour if kind[1] == "full" else "white",
        label=WORDS[kind],
    )
    known = (line["low"].notna() & line["high"].notna()).to_numpy()
    ax.fill_between(line["x"], line["low"], line["high"], where=known, color=colour, alpha=0.10, linewidth=0)
    return f"{METRICS[metric].label}, {WORDS[kind]}: {style.range_text(line['value'], 2)}"


def _dress_sweep(ax: Axes, rows: pd.DataFrame, metric: str, name: str) -> None:
    ax.set_title(name, fontsize=8)
    if METRICS[metric].is_share:
        lowest = float(np.nanmin(rows[["value", "low"]].to_numpy(float), initial=0.5))
        ax.set_ylim(min(0.4, lowest - 0.03), 1.03)
    else:
        ax.set_ylim(0, 1.15 * float(rows["value"].max()) + 1e-9)
    style.hour_ticks(ax, float(rows["x"].min()), float(rows["x"].max()))


def _counts(ax: Axes, rows: pd.DataFrame, kinds: list[tuple[str, str]], label: str, *, first: bool) -> None:
    for controls in dict.fromkeys(kind[1] for kind in kinds):
        mine = rows[rows["controls"].eq(controls)].drop_duplicates("x").sort_values("x")
        ax.plot(mine["x"], mine["n"], color=style.INK, linestyle=LINES[controls], linewidth=0.9)
    wells = rows["n_wells"]
    few, many = int(wells.min()), int(wells.max())
    ax.set_title(
        f"{few} wells" if few == many else f"{few} to {many} wells",
        fontsize=6,
        fontweight="normal",
        loc="right",
        pad=1,
    )
    ax.set_ylim(0, 1.25 * float(rows["n"].max()) + 1)
    ax.set_xlabel(label if first else "")
    ax.set_ylabel("test frames (n)" if first else "")
