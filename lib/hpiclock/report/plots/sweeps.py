"""Scores of a sweep over hours: what is learnt and asked up to an hour, or in a sliding window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.windows import CHANCE, LABELS

PANELS = (("all", "auc"), ("all", "auc_stratified"), ("infected", "mae"))
COLOURS = {"train-test": "#0072B2", "test-only": "#D55E00"}
LINES = {"full": "-", "matched": "--"}
MARKERS = {"full": "o", "matched": "s"}
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
        if metric in CHANCE:
            ax.axhline(CHANCE[metric], color=style.GREY, linewidth=0.8, linestyle=":", zorder=0)
        name = LABELS[metric] + ("" if group == "all" else f",\n{group} frames")
        _dress(ax, mine, metric, name)
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
    ax.plot(line["x"], line["value"], color=colour, linestyle=LINES[kind[1]], marker=MARKERS[kind[1]],
            mfc=colour if kind[1] == "full" else "white", label=WORDS[kind])  # fmt: skip
    known = (line["low"].notna() & line["high"].notna()).to_numpy()
    ax.fill_between(line["x"], line["low"], line["high"], where=known, color=colour, alpha=0.10, linewidth=0)
    return f"{LABELS[metric]}, {WORDS[kind]}: {style.range_text(line['value'], 2)}"


def _dress(ax: Axes, rows: pd.DataFrame, metric: str, name: str) -> None:
    ax.set_title(name, fontsize=8)
    if metric in CHANCE:
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
    ax.set_title(f"{few} wells" if few == many else f"{few} to {many} wells", fontsize=6,
                 fontweight="normal", loc="right", pad=1)  # fmt: skip
    ax.set_ylim(0, 1.25 * float(rows["n"].max()) + 1)
    ax.set_xlabel(label if first else "")
    ax.set_ylabel("test frames (n)" if first else "")
