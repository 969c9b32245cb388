"""A new plate read out in the layout of the plate: a small curve in every well, and a heat map."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hpiclock.errors import InputError
from hpiclock.report.plots import style
from hpiclock.report.plots.plate import _plate_frame, _plate_size, _row_name, layout_of
from hpiclock.report.plots.readout import QUANTITIES, looks
from hpiclock.report.plots.style import styled

MOST_CURVES = 24  # columns of a plate in which a curve can still be seen


@styled
def plate_heat_map(wells: pd.DataFrame, *, value: str, hour: float, ax: Axes | None = None) -> Axes:
    """Draw a value of every well as a shade, in the layout of the plate.

    Args:
        wells: of one plate, from :func:`hpiclock.study.readout.by_well`.
        value: its column.
        hour: at which the value was taken, for the title.
        ax: where to draw; a new figure by default.

    Raises:
        InputError: wells of several plates.
    """
    _refuse_many(wells)
    if wells.empty or wells[value].isna().all():
        return style.nothing(style.axes_or_new(ax), f"no well has a value of: {QUANTITIES[value]}")
    places, (n_rows, n_columns), named = layout_of(list(wells["well"]))
    width, height = _plate_size(n_rows, n_columns)
    ax = style.axes_or_new(ax, width + 0.2, height + 0.3)
    share = value in ("p_infected", "infected_share")
    known = wells[value].dropna()
    scale = mpl.colors.Normalize(*((0, 1) if share else (known.min(), known.max())))
    shades = mpl.colormaps["viridis"]
    by_name = wells.set_index("well")
    for well, (row, column) in places.items():
        number = float(by_name.at[well, value])
        known_here = bool(np.isfinite(number))
        shade = mpl.colors.to_hex(shades(scale(number))) if known_here else "white"
        hatch = None if known_here else "////"
        ax.add_patch(
            Rectangle(
                (column - 0.48, row - 0.48), 0.96, 0.96, facecolor=shade, edgecolor=style.PALE, hatch=hatch
            )
        )
        text = (f"{number:.2f}" if share else f"{number:.0f}") if known_here else "none"
        size = 6 if n_columns <= 12 else 4
        if n_columns <= 24:
            ink = style.ink_on(shade) if known_here else style.INK
            ax.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
    _plate_frame(ax, n_rows, n_columns, named)
    bar = style.figure_of(ax).colorbar(mpl.cm.ScalarMappable(scale, shades), ax=ax, shrink=0.8, pad=0.02)
    bar.set_label(QUANTITIES[value])
    ax.set_title("" if value.startswith("detected") else f"at {hour:g} h", pad=12)
    highest = wells.sort_values(value, ascending=False)["well"].head(3)
    style.describe(
        ax,
        f"Plate map of {QUANTITIES[value]} at {hour:g} h: {style.range_text(known, 2)} over {len(known)} "
        f"wells; highest in {', '.join(highest)}.",
    )
    return ax


@styled
def well_grid_figure(rows: pd.DataFrame, *, threshold: float) -> Figure:
    """Draw P(infected) over hours in every well, one line per field, in the layout of the plate.

    Args:
        rows: predictions of one plate with :func:`hpiclock.study.readout.with_treatments`.
        threshold: drawn in every well.

    Raises:
        InputError: wells of several plates, or a plate too wide for curves.
    """
    _refuse_many(rows)
    wells = sorted(rows["well"].unique(), key=style.natural)
    places, _, named = layout_of(wells)
    used_rows = sorted({row for row, _ in places.values()})
    used_columns = sorted({column for _, column in places.values()})
    if len(used_columns) > MOST_CURVES:
        raise InputError(f"{len(used_columns)} columns of wells: too many for curves; draw the heat map")
    how = looks(rows)
    fig = style.new_figure(style.PAGE_IN, 0.62 * len(used_rows) + 1.0)
    axes = np.atleast_2d(
        fig.subplots(len(used_rows), len(used_columns), sharex=True, sharey=True, squeeze=False)
    )
    for ax in axes.flat:
        ax.set(ylim=(-0.05, 1.05), yticks=[0, 1])
        ax.tick_params(labelsize=5, length=1.5, pad=1)
        ax.spines[:].set_linewidth(0.4)
    for well, (row, column) in places.items():
        ax = axes[used_rows.index(row), used_columns.index(column)]
        mine = rows[rows["well"].eq(well)]
        colour = how[str(mine["treatment"].iloc[0])]["color"]
        for _, stack in mine.groupby("stack_id"):
            stack = stack.sort_values("hours")
            ax.plot(stack["hours"], stack["p_infected"], color=colour, linewidth=0.8)
        ax.axhline(threshold, color=style.GREY, linewidth=0.5, linestyle=":")
        onset = mine["onset_h"].iloc[0]
        if np.isfinite(onset):
            ax.axvline(onset, color=style.INK, linewidth=0.5)
        if not named:
            ax.set_title(str(well), fontsize=5, pad=1)
    if named:
        for number, column in enumerate(used_columns):
            axes[0, number].set_title(f"{column + 1}", fontsize=7, loc="center", pad=2)
        for number, row in enumerate(used_rows):
            axes[number, 0].set_ylabel(_row_name(row), rotation=0, ha="right", va="center", labelpad=4)
    handles = [mpl.lines.Line2D([], [], color=line["color"], label=name) for name, line in how.items()]
    handles.append(
        mpl.lines.Line2D([], [], color=style.GREY, linestyle=":", label=f"threshold {threshold:.3g}")
    )
    if rows["onset_h"].notna().any():
        handles.append(mpl.lines.Line2D([], [], color=style.INK, linewidth=0.6, label="onset"))
    fig.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    axes[-1, len(used_columns) // 2].set_xlabel(style.TIME_AXES["hours"], fontsize=7)
    fig.supylabel("P(infected), a line per field", fontsize=7)
    words = f"P(infected) over hours in {len(wells)} wells in plate layout, threshold {threshold:.3g}."
    style.describe(fig, words)
    return fig


def _refuse_many(table: pd.DataFrame) -> None:
    if len(table["plate"].unique()) > 1:
        raise InputError("one plate is drawn and several are given; select one")
