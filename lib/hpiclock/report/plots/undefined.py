"""Undefined values on the axis: never dropped, never drawn as a number, always with their reason."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hpiclock.report.plots import style


def hatch_undefined(ax: Axes, rows: pd.DataFrame, *, words: bool) -> None:
    """Hatch the windows in which no group has a value; neighbours with the same reason share the words.

    Args:
        ax: with time in hours along x.
        rows: METRICS rows of one metric with ``start_h end_h value note``.
        words: write the reason into the hatched stretch.
    """
    windows = rows.groupby(["start_h", "end_h"]).agg(
        known=("value", lambda values: bool(values.notna().any())), note=("note", "first")
    )
    middles = [(start + end) / 2 for start, end in windows.index]
    half = float(np.diff(middles).min()) / 2 if len(middles) > 1 else 0.5
    marked = [
        (middle, known, _reason(note))
        for middle, known, note in zip(middles, windows["known"], windows["note"], strict=True)
    ]
    for (known, why), run in groupby(marked, key=lambda item: item[1:]):
        if known:
            continue
        at = [middle for middle, *_ in run]
        left, right = at[0] - half, at[-1] + half
        ax.axvspan(left, right, facecolor="none", edgecolor=style.GREY, hatch="////", alpha=0.5, linewidth=0)
        if words:
            ax.text(
                (left + right) / 2, 0.5, why, rotation=90, ha="center", va="center", fontsize=6,
                transform=ax.get_xaxis_transform(), bbox={"fc": "white", "ec": "none", "pad": 1},
            )  # fmt: skip


def mark_undefined(ax: Axes, rows: pd.DataFrame, group: str, colour: str) -> None:
    """Put a cross at the bottom of each window in which this group is undefined and another one is not."""
    defined = rows.loc[rows["value"].notna(), "start_h"]
    mine = rows[rows["group"].eq(group) & rows["value"].isna() & rows["start_h"].isin(defined)]
    if len(mine):
        ax.plot(
            (mine["start_h"] + mine["end_h"]) / 2, np.full(len(mine), 0.03), "x", color=colour,
            transform=ax.get_xaxis_transform(), label=f"{group} undefined:\n{_reason(mine['note'].iloc[0])}",
        )  # fmt: skip


def reasons_of(rows: pd.DataFrame) -> list[str]:
    """Return ``3, 6, 9 h no infected frames`` for every reason why a value of ``rows`` is undefined."""
    lost = rows[rows["value"].isna()]
    middles = (lost["start_h"] + lost["end_h"]) / 2
    texts = []
    for why, at in middles.groupby(lost["note"].map(_reason), sort=False):
        hours = sorted(set(at))
        where = ", ".join(f"{hour:g}" for hour in hours) if len(hours) <= 4 else _span(hours)
        texts.append(f"{where} h {why}")
    return texts


def _span(hours: list[float]) -> str:
    return f"{len(hours)} windows from {hours[0]:g} to {hours[-1]:g}"


def _reason(note: object) -> str:
    # "one class only: no infected frames" says the same in its second half
    return style.first_clause(note).rsplit(": ", 1)[-1] or "undefined"
