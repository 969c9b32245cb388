"""Variants side by side: differences with their intervals, over all hours and over windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.windows import LABELS

VARIANT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", style.INK)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
HOURS = ("mae",)
OVER_TIME = (("all", "auc"), ("all", "accuracy"), ("all", "f1"), ("infected", "mae"), ("mock", "mae"))


@styled
def difference_figure(comparison: pd.DataFrame, *, level: float) -> Figure:
    """Draw the difference of every metric with its interval and the margin that does not matter.

    Args:
        comparison: of :func:`hpiclock.study.compare.compare`.
        level: of the intervals.
    """
    there = comparison[comparison["difference"].notna()]
    if there.empty:
        figure = style.new_figure(style.COLUMN_IN, 1.5)
        style.nothing(figure.add_subplot(), "nothing that could be compared")
        return figure
    in_hours = there["metric"].isin(HOURS)
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
        looks = looks_of(number)
        known = mine["low"].notna().to_numpy()
        ax.hlines(y[known], mine["low"][known], mine["high"][known], color=looks["color"], linewidth=1.2)
        shown = mine["verdict"].isin(("better", "worse")).to_numpy()
        for mask, face in ((shown, looks["color"]), (~shown, "white")):
            ax.plot(mine["difference"][mask], y[mask], looks["marker"], color=looks["color"], mfc=face)
        ax.plot([], [], looks["marker"], color=looks["color"], linestyle="-",
                label=f"{name}, {level:.0%} interval")  # fmt: skip
    ax.set_yticks(range(len(places)), [_name(*place) for place in places])
    ax.set(ylim=(len(places) - 0.5, -0.5))
    better = "left is better" if rows["metric"].iloc[0] in HOURS else "right is better"
    unit = "difference (h)" if rows["metric"].iloc[0] in HOURS else "difference"
    ax.set_xlabel(f"{unit}, {better}")


@styled
def differences_over_time_figure(windows: pd.DataFrame, *, level: float, clock: str) -> Figure:
    """Draw the difference in each window with its pointwise interval, a panel per metric.

    A filled point differs surely, all windows of the metric taken together.

    Args:
        windows: ``comparison_windows`` of :func:`hpiclock.study.compare.compare`.
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
            words.append(_draw_differences(ax, line, looks_of(number), str(name), level))
        _dress(ax, part, clock, f"difference of {_name(group, metric)}" + (" (h)" if metric in HOURS else ""))
    _finish(
        figure, panels, f"{level:.0%} interval of one window at a time; filled: differs, all windows together"
    )
    style.describe(figure, "Differences over windows. " + "; ".join(words) + ".")
    return figure


def _draw_differences(ax: Axes, line: pd.DataFrame, looks: dict[str, Any], name: str, level: float) -> str:
    middle = ((line["start_h"] + line["end_h"]) / 2).to_numpy()
    ax.plot(middle, line["difference"], color=looks["color"], linewidth=1.0)
    known = line["low"].notna().to_numpy()
    ax.fill_between(middle, line["low"], line["high"], where=known, color=looks["color"], alpha=0.18,
                    linewidth=0)  # fmt: skip
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
        windows: ``comparison_windows`` of :func:`hpiclock.study.compare.compare`.
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
            looks = looks_of(number if number < len(lines) - 1 else -1)
            ax.plot((line["start_h"] + line["end_h"]) / 2, values, label=name, **looks)
            words.append(f"{name}, {_name(group, metric)}: {style.range_text(values, 3)}")
        _dress(ax, part, clock, _name(group, metric) + (" (h)" if metric in HOURS else ""))
        if metric in HOURS:
            ax.set_ylim(bottom=0)
    _finish(
        figure, panels, "Each point is a window at its middle; values without interval, differences have one"
    )
    style.describe(figure, "Variants over windows. " + "; ".join(words) + ".")
    return figure


def looks_of(number: int) -> dict[str, Any]:
    """Return colour and marker of a variant by its place; -1 is the one that others are held against."""
    if number < 0:
        return {"color": style.GREY, "marker": ".", "linestyle": "--"}
    return {"color": VARIANT_COLOURS[number % len(VARIANT_COLOURS)],
            "marker": MARKERS[number % len(MARKERS)]}  # fmt: skip


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


def _name(group: str, metric: str) -> str:
    name = LABELS.get(metric, metric).removesuffix(" (h)")
    return name if group == "all" or metric in ("recall", "specificity") else f"{name}, {group}"
