"""Where a model looks: frames with their maps laid over them, and what checks those maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure

from hpiclock.errors import InputError
from hpiclock.report.plots import style
from hpiclock.report.plots.images import Images
from hpiclock.report.plots.style import styled

Maps = npt.NDArray[np.floating]
SCALES: dict[str, Colormap] = {  # blue and orange are the conditions, so time has colours of its own
    "class": LinearSegmentedColormap.from_list("class", [style.MOCK, "#F7F7F7", style.INFECTED]),
    "time": LinearSegmentedColormap.from_list("time", ["#1B7837", "#F7F7F7", "#762A83"]),
}
ENDS = {"class": ("for uninfected", "for infected"), "time": ("for fewer hours", "for more hours")}
SIDE_IN = 0.83
SCALES_IN = 0.32  # height of the colour scales
STRONGEST = 99  # percentile of a head's maps that gets the full colour
COVER = 0.7  # opacity there


@styled
def looks_figure(rows: pd.DataFrame, images: Images, maps: Mapping[str, Maps], *, method: str) -> Figure:
    """Draw frames by condition and time, and below each where every head looks.

    One colour scale a head for all frames, so weak maps look weak; zero is transparent.

    Args:
        rows: one row per image, in the order in which they stand side by side in their condition
            (``condition hours hpi p_infected time_pred``).
        images: uint8, (n, height, width).
        maps: by head, (n, height, width): positive speaks for infected, or for more hours.
        method: how the maps were made, in words.

    Raises:
        InputError: not one image and one map per row.
    """
    if any(len(rows) != len(found) for found in (images, *maps.values())):
        raise InputError(f"{len(rows)} rows: give one image and one map of each head for each of them")
    if not len(rows) or not maps:
        fig = style.new_figure(style.PAGE_IN, 0.8)
        style.nothing(fig.add_subplot(), "this run keeps no maps of where its model looks")
        return fig
    rows = rows.reset_index(drop=True)
    strips = [part.index.to_numpy() for _, part in rows.groupby("condition", sort=False)]
    columns, lines = max(map(len, strips)), 1 + len(maps)
    height = lines * SIDE_IN + 0.5
    fig = style.new_figure(style.PAGE_IN, len(strips) * height + SCALES_IN)
    fig.set_layout_engine("constrained", w_pad=0.01, h_pad=0.012, wspace=0, hspace=0)
    heights = [*[height] * len(strips), SCALES_IN]
    parts = fig.subfigures(len(strips) + 1, 1, height_ratios=heights, squeeze=False)[:, 0]
    strongest = {head: _strongest(found) for head, found in maps.items()}
    for strip, part in zip(strips, parts, strict=False):
        grid = part.subplots(lines, columns, squeeze=False)
        for ax in grid.ravel():
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        condition = str(rows.loc[strip[0], "condition"])
        names = [condition, *(f"{head} head" for head in maps)]
        for ax, name in zip(grid[:, 0], names, strict=True):
            ax.set_ylabel(name, fontweight="bold" if name == condition else "normal", fontsize=7)
        for column, place in zip(grid.T, strip, strict=False):
            _picture(column[0], images[place], style.CONDITION_COLOURS[condition])
            for (head, found), ax in zip(maps.items(), column[1:], strict=True):
                _picture(ax, images[place], style.PALE)
                lay_over(ax, found[place], head, strongest[head], len(images[place]))
            _caption(column, rows.loc[place], list(maps))
    _scales(parts[-1], list(maps))
    spans = "; ".join(_span(rows.loc[strip]) for strip in strips)
    style.describe(
        fig, f"{len(rows)} test frames with the {method} maps of the {' and the '.join(maps)} head: {spans}."
    )
    return fig


def lay_over(ax: Axes, found: Maps, head: str, strongest: float, side: int) -> None:
    """Lay a map over a picture of this side, in the colours of its head; weaker is more transparent."""
    share = np.clip(np.nan_to_num(found) / strongest, -1, 1)
    colours = SCALES[head](share / 2 + 0.5)
    colours[..., 3] = COVER * np.abs(share)
    ax.imshow(colours, extent=(-0.5, side - 0.5, side - 0.5, -0.5), interpolation="bilinear")


def _strongest(found: Maps) -> float:
    return float(np.nanpercentile(np.abs(found), STRONGEST)) or 1.0


def _picture(ax: Axes, image: Images, colour: str) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    ax.spines[:].set(visible=True, color=colour, linewidth=1.2)


def _caption(column: npt.NDArray[np.object_], row: pd.Series, heads: list[str]) -> None:
    hpi = f"{row['hpi']:g} hpi".replace("-", "−") if np.isfinite(row["hpi"]) else f"{row['hours']:g} h"
    column[0].set_title(hpi, fontsize=6.5, loc="center", fontweight="normal", pad=2)
    said = {"class": f"P {row['p_infected']:.2f}", "time": f"said {style.number(row['time_pred'], 1)} h"}
    known = {"class": row["p_infected"], "time": row["time_pred"]}
    for head, ax in zip(heads, column[1:], strict=True):
        words = said[head] if np.isfinite(known[head]) else "no answer"
        ax.set_xlabel(words, fontsize=5.5, labelpad=1.5)


def _scales(part: SubFigure, heads: list[str]) -> None:
    for ax, head in zip(np.atleast_1d(part.subplots(1, len(heads))), heads, strict=True):
        ax.imshow(np.linspace(0, 1, 256)[None], cmap=SCALES[head], aspect="auto")
        ax.set(yticks=[], xlim=(-8, 263))
        ax.spines[:].set_visible(False)
        ax.set_xticks([0, 127.5, 255], [ENDS[head][0], f"{head} head", ENDS[head][1]])
        ax.tick_params(length=0, labelsize=6.5)
        for label, side in zip(ax.get_xticklabels(), ("left", "center", "right"), strict=True):
            label.set_horizontalalignment(side)


def _span(rows: pd.DataFrame) -> str:
    clock, unit = ("hpi", "hpi") if rows["hpi"].notna().any() else ("hours", "h")
    return f"{rows['condition'].iloc[0]} from {style.range_text(rows[clock])} {unit}"
