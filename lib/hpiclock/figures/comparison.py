"""Runs and variants side by side: differences with intervals, curves over windows, sweeps."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hpiclock.figures import style
from hpiclock.figures.style import middles, styled
from hpiclock.figures.windows import chance_line
from hpiclock.metrics import METRICS

# fmt: off
__all__ = [
    "difference_figure", "differences_over_time_figure", "interval_sweep_figure", "runs_over_time",
    "variants_over_time_figure", "window_sweep_figure",
]
# fmt: on

OVER_TIME = (
    ("all", "auc_stratified"),
    ("all", "accuracy"),
    ("all", "f1"),
    ("infected", "mae"),
    ("mock", "mae"),
)


@styled
def difference_figure(comparison: pd.DataFrame, *, level: float) -> Figure:
    """Draw the difference of every metric with its interval and the margin that does not matter.

    Args:
        comparison: of :func:`hpiclock.analysis.compare.compare`.
        level: of the intervals.
    """
    known = comparison[comparison["difference"].notna()]
    if known.empty:
        return style.empty_figure("nothing that could be compared", style.COLUMN_IN, 1.5)
    in_hours = known["metric"].map(lambda name: METRICS[name].unit == "h")
    parts = [part for part in (known[~in_hours], known[in_hours]) if len(part)]
    names = list(dict.fromkeys(known["variant"]))
    tall = max(len(part.drop_duplicates(["group", "metric"])) for part in parts)
    figure = style.new_figure(style.PAGE_IN, 1.1 + tall * (0.18 + 0.16 * len(names)))
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for ax, part in zip(panels, parts, strict=True):
        _forest(ax, part, names)
    handles: list[Patch | Line2D] = [Patch(color=style.PALE, label="margin")]
    for number, name in enumerate(names):
        label = f"{name}, {level:.0%} interval"
        handles.append(Line2D([], [], label=label, **(series_style(number) | {"linestyle": "-"})))
    style.legend_outside(panels[-1], handles=handles)
    against = known["against"].iloc[0]
    words = []
    for row in known.itertuples():
        difference = style.interval_text(row.difference, row.low, row.high)
        words.append(f"{row.variant}, {metric_name(row.group, row.metric)} {difference}: {row.verdict}")
    figure.suptitle(f"Difference to {against}; filled: shown after correction", x=0.01, ha="left", fontsize=8)
    return style.describe(figure, f"Differences to {against}. {'; '.join(words)}.")


def _forest(ax: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    places = list(dict.fromkeys(zip(rows["group"], rows["metric"], strict=True)))
    style.reference_line(ax, x=0)
    margin = float(rows["margin"].iloc[0])
    ax.axvspan(-margin, margin, color=style.PALE, alpha=0.7, linewidth=0, zorder=0)
    for number, name in enumerate(names):
        part = rows[rows["variant"].eq(name)]
        at = np.array([places.index(place) for place in zip(part["group"], part["metric"], strict=True)])
        y = at + (number - (len(names) - 1) / 2) * 0.6 / len(names)
        colour, marker, _ = series_style(number).values()
        shown = part["verdict"].isin(("better", "worse"))
        style.estimates(ax, part, y, value="difference", colour=colour, marker=marker, filled=shown)
    style.row_axis(ax, [metric_name(*place) for place in places])
    better = "left" if METRICS[rows["metric"].iloc[0]].better == "lower" else "right"
    ax.set_xlabel(f"difference{_unit(rows['metric'].iloc[0])}, {better} is better")


@styled
def differences_over_time_figure(windows: pd.DataFrame, *, level: float, clock: str) -> Figure:
    """Draw the difference in each window with its pointwise interval, a panel per metric.

    A filled point differs after correction for all windows of the metric.

    Args:
        windows: ``comparison_windows`` of :func:`hpiclock.analysis.compare.compare`.
        level: of the intervals.
        clock: ``hours`` or ``hpi``.
    """

    def draw(ax: Axes, rows: pd.DataFrame, name: str) -> list[str]:
        style.reference_line(ax, y=0)
        ax.set_title("difference of " + ax.get_title("left"), fontsize=7)
        words = []
        for number, (variant, line) in enumerate(rows.groupby("variant", sort=False)):
            colour, marker, _ = series_style(number).values()
            x, difference = middles(line), line["difference"]
            ax.plot(x, difference, color=colour, linewidth=1.0)
            style.band(ax, x, line["low"], line["high"], colour)
            sure = line["p_over_all_windows"] <= 1 - level
            style.points(ax, x, difference, colour, marker, sure)
            ax.plot([], [], marker, color=colour, linestyle="-", label=str(variant))
            span = style.range_text(difference, 3)
            words.append(f"{variant}, {name}: {span}, {int(sure.sum())} windows differ")
        return words

    title = f"{level:.0%} interval of one window at a time; filled: differs, all windows together"
    return _over_time(windows, clock, draw, title, "Differences")


@styled
def variants_over_time_figure(windows: pd.DataFrame, *, clock: str) -> Figure:
    """Draw the value of every variant in each window, a panel per metric.

    Args:
        windows: ``comparison_windows`` of :func:`hpiclock.analysis.compare.compare`.
        clock: ``hours`` or ``hpi``.
    """

    def draw(ax: Axes, rows: pd.DataFrame, name: str) -> list[str]:
        lines = [(str(variant), line, line["value"]) for variant, line in rows.groupby("variant", sort=False)]
        first = lines[0][1]
        reference = str(first["against"].iloc[0]), first, first["value_against"]
        for number, (variant, line, values) in enumerate([*lines, reference]):
            look = series_style(number if number < len(lines) else -1)
            ax.plot(middles(line), values, label=variant, **look)
        metric = METRICS[rows["metric"].iloc[0]]
        if metric.least == 0 and not metric.is_share:
            ax.set_ylim(bottom=0)
        return [f"{variant}, {name}: {style.range_text(v, 3)}" for variant, _, v in [*lines, reference]]

    title = "Each point is a window at its middle; values without interval, differences have one"
    return _over_time(windows, clock, draw, title, "Variants")


def _over_time(windows: pd.DataFrame, clock: str, draw: Any, title: str, subject: str) -> Figure:
    """Draw a panel per metric with ``draw(ax, rows, name)``, which returns what it drew in words."""
    rows = windows[windows["axis"].eq(clock)]
    known = rows[rows["difference"].notna()]
    there = set(zip(known["group"], known["metric"], strict=True))
    places = [place for place in OVER_TIME if place in there]
    height = 2.1 * max(-(-len(places) // 3), 1) + 0.4
    if not places:
        return style.empty_figure("no window in which both are defined", style.PAGE_IN, height)
    figure, panels = style.panels(len(places), style.PAGE_IN, height)
    words = []
    for ax, (group, metric) in zip(panels, places, strict=True):
        part = rows[rows["group"].eq(group) & rows["metric"].eq(metric)]
        name = metric_name(group, metric)
        ax.set_title(name + _unit(metric), fontsize=7)
        words += draw(ax, part, name)
        style.over_time(ax, "", part[["start_h", "end_h"]], clock)
        ax.xaxis.label.set_fontsize(7)
    style.legend_below(figure, panels[0], loc="outside lower left", ncols=3)
    figure.suptitle(title, x=0.01, ha="left", fontsize=7, fontweight="normal")
    return style.describe(figure, f"{subject} over windows. {'; '.join(words)}.")


def series_style(number: int) -> dict[str, Any]:
    """Return colour, marker and line of a run or variant by its place; -1 is the one compared against."""
    if number < 0:
        return {"color": style.GREY, "marker": ".", "linestyle": "--"}
    colours, markers = style.SERIES_COLOURS, style.SERIES_MARKERS
    colour, marker = colours[number % len(colours)], markers[number % len(markers)]
    return {"color": colour, "marker": marker, "linestyle": "-"}


def metric_name(group: str, metric: str) -> str:
    """Return a metric's label without its unit, and whose frames where these are not all."""
    name = METRICS[metric].title
    return name if group == "all" or METRICS[metric].needs == group else f"{name}, {group}"


def _unit(metric: str) -> str:
    return f" ({METRICS[metric].unit})" if METRICS[metric].unit else ""


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
    ax = ax or style.new_axes(style.PAGE_IN, 3.2)
    rows = windows[windows["metric"].eq(metric) & windows["group"].eq(group) & windows["start_h"].notna()]
    name = METRICS[metric].label
    if rows["value"].notna().sum() == 0:
        return style.empty(ax, f"no window of these runs has {name}")
    chance_line(ax, metric)
    words = []
    for number, (run, line) in enumerate(rows.groupby("run", sort=False)):
        line, look = line.sort_values("start_h"), series_style(number)
        ax.plot(middles(line), line["value"], label=str(run), **look)
        style.band(ax, middles(line), line["low"], line["high"], look["color"], alpha=0.15)
        words.append(f"{run}: {style.range_text(line['value'], 3)}")
    ax.set_ylim(*((-0.02, 1.03) if METRICS[metric].is_share else (0, None)))
    y_label = name if group == "all" else f"{name}, {group} frames"
    style.over_time(ax, y_label, rows[["start_h", "end_h"]], clock)
    style.legend_outside(ax, title=f"band: {level:.0%} interval\nof one window", alignment="left")
    return style.describe(ax, f"{name} over windows of {len(words)} runs. {'; '.join(words)}.")


PANELS = (("all", "auc"), ("all", "auc_stratified"), ("infected", "mae"))
MODES = {
    "train-test": ("#0072B2", "trained and tested in these hours"),
    "test-only": ("#D55E00", "trained in all hours"),
}
CONTROLS = {"full": ("-", "o", "all controls"), "matched": ("--", "s", "controls of the same hours")}


@styled
def interval_sweep_figure(summary: pd.DataFrame, *, level: float, note: str = "") -> Figure:
    """Draw scores against the end x of the interval [start, x], a line per mode and kind of controls.

    Args:
        summary: of a sweep with ``mode controls start_h end_h group metric value low high n n_wells``.
        level: of the bands.
        note: written above the figure.
    """
    label = f"x (h): infected frames from {float(summary['start_h'].min()):g} h to x"
    return _sweep_figure(summary.assign(x=summary["end_h"]), label, level, note)


@styled
def window_sweep_figure(summary: pd.DataFrame, *, level: float, note: str = "") -> Figure:
    """Draw scores of models trained in sliding windows, at the middle of each window.

    Arguments as in :func:`interval_sweep_figure`.
    """
    width = float((summary["end_h"] - summary["start_h"]).iloc[0])
    label = f"middle of the window of {width:g} h (h since imaging start)"
    return _sweep_figure(summary.assign(x=middles(summary)), label, level, note)


def _sweep_figure(rows: pd.DataFrame, label: str, level: float, note: str) -> Figure:
    there = set(zip(rows["group"], rows["metric"], strict=True))
    drawn = [place for place in PANELS if place in there]
    figure = style.new_figure(style.PAGE_IN, 4.1)
    grid = figure.subplots(2, len(drawn), squeeze=False, sharex="col", height_ratios=(1, 0.34))
    words = []
    for upper, lower, (group, metric) in zip(*grid, drawn, strict=True):
        part = rows[rows["group"].eq(group) & rows["metric"].eq(metric)]
        for mode, (colour, trained) in MODES.items():
            for controls, (dash, marker, kind) in CONTROLS.items():
                line = part[part["mode"].eq(mode) & part["controls"].eq(controls)].sort_values("x")
                if line.empty:
                    continue
                name, face = f"{trained}, {kind}", colour if controls == "full" else "white"
                look: Any = {"color": colour, "linestyle": dash, "marker": marker, "mfc": face}
                upper.plot(line["x"], line["value"], label=name, **look)
                style.band(upper, line["x"], line["low"], line["high"], colour, alpha=0.10)
                words.append(f"{METRICS[metric].label}, {name}: {style.range_text(line['value'], 2)}")
        chance_line(upper, metric)
        upper.set_title(METRICS[metric].label + ("" if group == "all" else f",\n{group} frames"), fontsize=8)
        if METRICS[metric].is_share:
            lowest = float(np.nanmin(part[["value", "low"]].to_numpy(float), initial=0.5))
            upper.set_ylim(min(0.4, lowest - 0.03), 1.03)
        else:
            upper.set_ylim(0, 1.15 * float(part["value"].max()) + 1e-9)
        style.hour_ticks(upper, float(part["x"].min()), float(part["x"].max()))
        _sweep_counts(lower, part)
    grid[1, 0].set(xlabel=label, ylabel="test frames (n)")
    style.legend_below(figure, *grid[0], loc="outside lower left", ncols=1)
    title = f"Bands: pointwise {level:.0%} intervals over wells. {note}".strip()
    figure.suptitle(title, x=0.01, ha="left", fontsize=7, fontweight="normal")
    return style.describe(figure, f"Scores against {label}. {'; '.join(words)}.")


def _sweep_counts(ax: Axes, rows: pd.DataFrame) -> None:
    for controls, line in rows.drop_duplicates(["controls", "x"]).sort_values("x").groupby("controls"):
        ax.plot(line["x"], line["n"], color=style.INK, linestyle=CONTROLS[str(controls)][0], linewidth=0.9)
    few, many = int(rows["n_wells"].min()), int(rows["n_wells"].max())
    wells = f"{few} wells" if few == many else f"{few} to {many} wells"
    ax.set_title(wells, fontsize=7, fontweight="normal", loc="right", pad=1)
    ax.set_ylim(0, 1.25 * float(rows["n"].max()) + 1)
