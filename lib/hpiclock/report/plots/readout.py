"""A new plate read out: curves per treatment, times to detection, dose and response."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.treatments import Treatment

QUANTITIES = {
    "p_infected": "P(infected)",
    "called": "fields called infected (share)",
    "infected_share": "fields called infected (share)",
    "time_pred": "predicted time (h)",
    "detected_h": "detected (h since imaging start)",
    "detected_hpi": "detected (hpi, h)",
}
_LINES = ("-", "--", "-.", ":")


def looks(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
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
        curves: from :func:`hpiclock.study.readout.treatment_curves`.
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
    for name, how in looks(rows).items():
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
        wells: from :func:`hpiclock.study.readout.by_well`.
        value: its column.
        ax: where to draw; a new figure by default.
    """
    if value == "detected_hpi":  # others have no such time
        wells = wells[wells["onset_h"].notna()]
    how = looks(wells)
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
        wells: from :func:`hpiclock.study.readout.by_well`.
        curve: ``dose value`` of :func:`hpiclock.study.dose.dose_response`; may be empty.
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
    how = looks(wells)
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
