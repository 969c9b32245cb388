"""Held-out frames where the model's features lie, coloured by what should and what should not matter."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.treatments import Treatment

DOT = 5  # points squared
WELL_COLOURS = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]


@styled
def feature_map_figure(places: pd.DataFrame, *, method: str, reading: Mapping[str, str]) -> Figure:
    """Draw frames on a plane by hours, hpi, class and well, stacks on their way through it, and the audit.

    Args:
        places: ``x y x_share y_share`` with the identity columns, ``hours hpi stack_id``, a row per frame.
        method: how the plane was made, in words.
        reading: what the audit says of features, by what it asked; may be empty.
    """
    if places.empty:
        fig = style.new_figure(style.PAGE_IN, 0.8)
        style.nothing(fig.add_subplot(), "no held-out frame, so no map of features")
        return fig
    fig = style.new_figure(style.PAGE_IN, 4.8)
    panels = fig.subplots(2, 3)
    by_hours, by_hpi, by_class, by_well, paths, words = panels.ravel()
    _by_time(by_hours, places, "hours", "viridis")
    _by_time(by_hpi, places, "hpi", "plasma")
    _by_class(by_class, places)
    _by_well(by_well, places)
    _paths(paths, places)
    _reading(words, reading)
    spread = [np.ptp(places[axis].to_numpy(float)) or 1.0 for axis in ("x", "y")]
    limits = [(float(places[axis].min()) - 0.06 * span, float(places[axis].max()) + 0.06 * span)
              for axis, span in zip(("x", "y"), spread, strict=True)]  # fmt: skip
    for ax in panels.ravel()[:5]:
        ax.set(xticks=[], yticks=[], xlim=limits[0], ylim=limits[1])
    for ax in panels[:, 0]:
        ax.set_ylabel(_axis(places, "y", method))
    for ax in panels[1, :2]:
        ax.set_xlabel(_axis(places, "x", method))
    wells = places.groupby("condition")["well"].nunique()
    counts = " and ".join(f"{n} {name}" for name, n in wells.items())
    frames = style.plural(len(places), "held-out frame")
    text = f"{method} of the features of {frames}, of {counts} wells, coloured by hours, hpi, class and well."
    said = "; ".join(f"{asked} {answer}" for asked, answer in reading.items())
    style.describe(fig, text + (f" The audit: {said}." if said else ""))
    return fig


def _by_time(ax: Axes, places: pd.DataFrame, column: str, colours: str) -> None:
    known = places[places[column].notna()].sort_values(column)
    rest = places[places[column].isna()]
    ax.scatter(rest["x"], rest["y"], s=DOT, color=style.PALE, linewidths=0)
    drawn = ax.scatter(known["x"], known["y"], c=known[column], s=DOT, cmap=colours, linewidths=0)
    if len(known):
        bar = ax.figure.colorbar(drawn, ax=ax, location="top", shrink=0.9, aspect=30, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=6, length=2)
        pale = " (mock: pale)" if len(rest) else ""
        bar.set_label(style.TIME_AXES[column] + pale, fontsize=6.5)


def _by_class(ax: Axes, places: pd.DataFrame) -> None:
    infected = places["condition"].eq("infected")
    early = infected & (places["hpi"] < 0)
    kinds = {
        "mock": (~infected, style.MOCK, "s", True),
        "infected": (infected & ~early, style.INFECTED, "o", True),
        "infected, before onset": (early, style.INFECTED, "o", False),
    }
    for name, (chosen, colour, marker, filled) in kinds.items():
        rows = places[chosen]
        if len(rows):
            face = colour if filled else "white"
            ax.scatter(rows["x"], rows["y"], s=DOT, facecolors=face, edgecolors=colour, marker=marker,
                       linewidths=0 if filled else 0.5, alpha=0.8, label=name)  # fmt: skip
    ax.legend(loc="best", markerscale=2, fontsize=6, handlelength=1)
    ax.set_title("class", fontsize=6.5, fontweight="normal")


def _by_well(ax: Axes, places: pd.DataFrame) -> None:
    wells = sorted(places["well"].unique(), key=style.natural)
    for number, well in enumerate(wells):
        rows = places[places["well"].eq(well)]
        ax.scatter(rows["x"], rows["y"], s=DOT, color=WELL_COLOURS[number % len(WELL_COLOURS)], linewidths=0,
                   alpha=0.6)  # fmt: skip
    title = style.plural(len(wells), "well") + (
        ", ten colours in turn" if len(wells) > len(WELL_COLOURS) else ""
    )
    ax.set_title(title, fontsize=6.5, fontweight="normal")


def _paths(ax: Axes, places: pd.DataFrame) -> None:
    first = places.groupby("well")["stack_id"].transform("min")
    for _, rows in places[places["stack_id"].eq(first)].groupby("stack_id"):
        rows = rows.sort_values("hours")
        had = Treatment.of(rows.iloc[0])
        ax.plot(rows["x"], rows["y"], **had.line, linewidth=0.6, alpha=0.55)
        ax.plot(rows["x"].iloc[-1], rows["y"].iloc[-1], "^", color=had.colour, markersize=4)
    ax.set_title("one stack of each well over time, to ▲", fontsize=6.5, fontweight="normal")


def _reading(ax: Axes, reading: Mapping[str, str]) -> None:
    ax.set_axis_off()
    ax.text(0, 1, "What the audit says", fontsize=7.5, fontweight="bold", va="top", transform=ax.transAxes)
    lines = [(asked, style.wrapped(answer, 36)) for asked, answer in reading.items()]
    y = 0.9
    for asked, answer in lines or [("", "This run was not audited:\nhpiclock audit RUN, or notebook 05")]:
        ax.text(0, y, asked, fontsize=6.5, color=style.GREY, va="top", transform=ax.transAxes)
        ax.text(0, y - (0.065 if asked else 0), answer, fontsize=6.5, va="top", transform=ax.transAxes)
        y -= 0.085 + 0.065 * (answer.count("\n") + 1)


def _axis(places: pd.DataFrame, axis: str, method: str) -> str:
    share = float(places[f"{axis}_share"].iloc[0])
    number = {"x": 1, "y": 2}[axis]
    return f"{method} {number}" + (f" ({share:.0%} of variance)" if np.isfinite(share) else "")
