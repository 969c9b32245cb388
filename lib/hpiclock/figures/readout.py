"""A new plate read out: curves per treatment and well, times to detection, dose and response, heat maps."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.plate import _plate_frame, _plate_size, layout_of
from hpiclock.figures.style import Treatment, styled
from hpiclock.wells import letters

QUANTITIES = {
    "p_infected": "P(infected)",
    "called": "fields called infected (share)",
    "infected_share": "fields called infected (share)",
    "time_pred": "predicted time (h)",
    "detected_h": "detected (h since imaging start)",
    "detected_hpi": "detected (hpi, h)",
}
_LINES = ("-", "--", "-.", ":")


def shift_words(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return colour and line of each treatment: those of its condition and MOI where these tell all apart.

    Compounds and doses get colours in their order, as they share a condition.

    Args:
        table: rows with ``treatment order condition moi``.
    """
    kinds = table.drop_duplicates("treatment").sort_values("order")
    names = list(kinds["treatment"])
    if not kinds.duplicated(["condition", "moi"]).any():
        return {row.treatment: Treatment.of(row).line for row in kinds.itertuples()}
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(names)))
    return {
        name: {"color": to_hex(shade), "linestyle": _LINES[i % len(_LINES)]}
        for i, (name, shade) in enumerate(zip(names, shades, strict=True))
    }


@styled
def treatment_curves(
    curves: pd.DataFrame,
    *,
    quantity: str,
    level: float,
    threshold: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a quantity over hours, a line per treatment with its band over wells.

    Args:
        curves: from :func:`hpiclock.analysis.plate_readout.treatment_curves`.
        quantity: one of its quantities.
        level: of the bands.
        threshold: drawn where it is given.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.4, 2.8)
    rows = curves[curves["quantity"].eq(quantity) & curves["value"].notna()]
    if rows.empty:
        return style.nothing(ax, f"no {QUANTITIES[quantity]} in these predictions")
    words = []
    for name, how in shift_words(rows).items():
        mine = rows[rows["treatment"].eq(name)].sort_values("hours")
        text = f"{name} ({style.plural(int(mine['n_wells'].max()), 'well')})"
        ax.plot(mine["hours"], mine["value"], label=text, **how)
        ax.fill_between(mine["hours"], mine["low"], mine["high"], color=how["color"], alpha=0.15, linewidth=0)
        words.append(f"{text} from {mine['value'].iloc[0]:.2f} to {mine['value'].iloc[-1]:.2f}")
    if threshold is not None:
        ax.axhline(
            threshold,
            color=style.INK,
            linewidth=0.7,
            linestyle=(0, (1, 2)),
            label=f"threshold {threshold:.3g}",
        )
    if quantity != "time_pred":
        ax.set_ylim(-0.03, 1.03)
    ax.set(xlabel=style.TIME_AXES["hours"], ylabel=QUANTITIES[quantity])
    style.hour_ticks(ax, float(rows["hours"].min()), float(rows["hours"].max()))
    style.legend_outside(ax, title=f"band: {level:.0%} over wells")
    style.describe(ax, f"{QUANTITIES[quantity]} over hours since start per treatment. {'; '.join(words)}.")
    return ax


@styled
def wells_by_treatment(wells: pd.DataFrame, *, value: str, ax: Axes | None = None) -> Axes:
    """Draw a value of every well beside its treatment, with the mean of each treatment.

    Of a time to detection, wells that were not detected stand as open triangles at their last hour.

    Args:
        wells: from :func:`hpiclock.analysis.plate_readout.readout_by_well`.
        value: its column.
        ax: where to draw; a new figure by default.
    """
    if value == "detected_hpi":  # others have no such time
        wells = wells[wells["onset_h"].notna()]
    how = shift_words(wells)
    ax = style.axes_or_new(ax, 4.6, 0.6 + 0.3 * max(len(how), 2))
    if wells[value].isna().all():
        return style.nothing(ax, f"no well has a value of: {QUANTITIES[value]}")
    words = []
    for y, name in enumerate(how):
        mine = wells[wells["treatment"].eq(name)].reset_index(drop=True)
        spread = np.linspace(-0.24, 0.24, len(mine)) if len(mine) > 1 else np.zeros(1)
        ax.plot(mine[value], y + spread, "o", color=how[name]["color"], alpha=0.85)
        mean = mine[value].mean()
        text = f"{name}: mean {mean:.2f}" if np.isfinite(mean) else name
        if np.isfinite(mean):
            ax.plot([mean, mean], [y - 0.34, y + 0.34], color=style.INK, linewidth=1.2)
        lost = mine[value].isna().to_numpy() if value.startswith("detected") else np.zeros(len(mine), bool)
        if lost.any():
            since = mine["onset_h"].fillna(0.0) if value == "detected_hpi" else 0.0
            at = (mine["last_h"] - since).to_numpy(float)
            ax.plot(at[lost], (y + spread)[lost], ">", mfc="none", color=how[name]["color"])
            text += f", {lost.sum()} of {len(mine)} wells not detected"
        words.append(text)
    if value.startswith("detected"):
        ax.plot([], [], ">", mfc="none", color=style.GREY, label="not detected until then")
    ax.plot([], [], "|", color=style.INK, markersize=8, label="mean of the wells with a value")
    ax.set_yticks(range(len(how)), list(how))
    ax.set(ylim=(len(how) - 0.5, -0.5), xlabel=QUANTITIES[value])
    style.legend_outside(ax)
    style.describe(ax, f"{QUANTITIES[value]} of every well. {'; '.join(words)}.")
    return ax


@styled
def dose_response(
    wells: pd.DataFrame,
    curve: pd.DataFrame,
    fit: dict[str, Any],
    *,
    unit: str,
    level: float,
    ax: Axes | None = None,
) -> Axes:
    """Draw a response of every well over its dose, with the fitted sigmoid and its EC50.

    Args:
        wells: from :func:`hpiclock.analysis.plate_readout.readout_by_well`.
        curve: ``dose value`` of :func:`hpiclock.analysis.plate_readout.dose_response`; may be empty.
        fit: its row.
        unit: of the dose, for the axis.
        level: of the interval of the EC50.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 4.6, 2.6)
    dose, response = str(fit["dose"]), str(fit["response"])
    known = wells[wells[dose].gt(0) & wells[response].notna()]
    if known.empty:
        return style.nothing(ax, f"no well has a dose and a value of: {QUANTITIES[response]}")
    how = shift_words(wells)
    for name, mine in known.groupby("treatment", sort=False):
        ax.plot(mine[dose], mine[response], "o", color=how[str(name)]["color"], alpha=0.85)
    zero = wells[wells["condition"].eq("mock") & wells[response].notna()]
    if len(zero):
        ax.axhline(
            zero[response].mean(), color=style.MOCK, linestyle="--", linewidth=0.9, label="mean of mock wells"
        )
    if len(curve):
        ax.plot(curve["dose"], curve["value"], color=style.INK, label="fitted sigmoid")
        text = f"EC50 {fit['ec50']:.3g} ({fit['low']:.3g} to {fit['high']:.3g})"
        text = text if np.isfinite(fit["low"]) else f"EC50 {fit['ec50']:.3g}, no interval"
        if known[dose].min() <= fit["ec50"] <= known[dose].max():
            ax.axvline(fit["ec50"], color=style.GREY, linewidth=0.8, label=text)
        else:
            ax.plot([], [], " ", label=f"EC50 outside\nthe doses ({fit['ec50']:.2g})")
    else:
        ax.plot([], [], " ", label=style.wrapped(str(fit["note"]), 28))
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.set(xlabel=f"{dose} ({unit})" if unit else dose.upper(), ylabel=QUANTITIES[response])
    style.legend_outside(ax, title=f"{len(known)} wells; {level:.0%} interval")
    says = f"EC50 {fit['ec50']:.3g}" if len(curve) else str(fit["note"])
    style.describe(ax, f"{QUANTITIES[response]} of {len(known)} wells over {dose}: {says}.")
    return ax


MOST_CURVES = 24  # columns of a plate in which a curve can still be seen


@styled
def plate_heat_map(wells: pd.DataFrame, *, value: str, hour: float, ax: Axes | None = None) -> Axes:
    """Draw a value of every well as a shade, in the layout of the plate.

    Args:
        wells: of one plate, from :func:`hpiclock.analysis.plate_readout.readout_by_well`.
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
        rows: predictions of one plate with :func:`hpiclock.analysis.plate_readout.with_treatments`.
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
    how = shift_words(rows)
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
            axes[number, 0].set_ylabel(letters(row), rotation=0, ha="right", va="center", labelpad=4)
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
