"""One stack over time: P(infected) and predicted time, with a cursor on one frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.errors import InputError
from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.treatments import Treatment


@styled
def trajectory_figure(
    predictions: pd.DataFrame, *, threshold: float | None = None, cursor_h: float | None = None
) -> Figure:
    """Draw P(infected) and predicted time of one stack over hours, one panel each.

    Args:
        predictions: PREDICTIONS of one stack and run; where it has ``time_low`` and ``time_high``, the
            interval of each prediction is drawn.
        threshold: the decision threshold.
        cursor_h: hours of the frame to point at.

    Raises:
        InputError: several stacks.
    """
    fig = style.new_figure(style.PAGE_IN, 2.5)
    if predictions.empty:
        style.nothing(fig.add_subplot(), "no frames of this stack were predicted")
        return fig
    if len(predictions["stack_id"].unique()) > 1:
        raise InputError("trajectory_figure draws one stack and got several; select one stack_id")
    rows = predictions.sort_values("hours")
    left, right = fig.subplots(1, 2)
    score_panel(left, rows, threshold)
    time_panel(right, rows)
    for ax in (left, right):
        onset_and_cursor(ax, rows, cursor_h)
    first = rows.iloc[0]
    had = Treatment.of(first)
    fig.suptitle(f"{first['well']} {style.position(first['position'])}, {had.label}", x=0.01, ha="left")
    handles, labels = (a + b for a, b in zip(*map(entries_of, (left, right)), strict=True))
    entries = dict(zip(labels, handles, strict=True))
    fig.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries))
    return fig


def score_panel(ax: Axes, rows: pd.DataFrame, threshold: float | None) -> None:
    """Draw P(infected) of one stack over hours, its frames in their order."""
    had = Treatment.of(rows.iloc[0])
    ax.plot(rows["hours"], rows["p_infected"], marker=".", color=had.colour, label="predicted")
    if threshold is not None:
        ax.axhline(
            threshold, color=style.INK, linewidth=0.7, linestyle="-.", label=f"threshold {threshold:.3g}"
        )
    ax.set(ylim=(-0.03, 1.03), xlabel=style.TIME_AXES["hours"], ylabel="P(infected)")
    p = style.range_text(rows["p_infected"], 2)
    style.describe(ax, f"P(infected) of {rows['stack_id'].iloc[0]} ({had.label}) over hours: {p}.")


def time_panel(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw predicted and true time of one stack over hours."""
    had = Treatment.of(rows.iloc[0])
    if "time_low" in rows:
        ax.fill_between(
            rows["hours"], rows["time_low"].astype(float), rows["time_high"].astype(float), color=had.colour,
            alpha=0.18, linewidth=0, label="interval of the prediction",
        )  # fmt: skip
    ax.plot(rows["hours"], rows["time_target"], color=style.INK, linestyle=":", label="true time")
    ax.plot(rows["hours"], rows["time_pred"], marker=".", color=had.colour, label="predicted")
    clocks = rows["clock"].unique()  # two where the frames before the onset count as not infected
    name = f"{clocks[0]} clock (h)" if len(clocks) == 1 else "time on its clock (h)"
    ax.set(xlabel=style.TIME_AXES["hours"], ylabel=name)
    said = style.range_text(rows["time_pred"])
    style.describe(ax, f"Predicted time {said} h, true time {style.range_text(rows['time_target'])} h.")


def onset_and_cursor(ax: Axes, rows: pd.DataFrame, cursor_h: float | None) -> None:
    """Mark the onset of an infected stack and a frame, and give the axis its hours."""
    onset = float(rows["onset_h"].iloc[0])
    if np.isfinite(onset) and rows["condition"].iloc[0] == "infected":
        ax.axvline(onset, color=style.GREY, linewidth=0.8, label=f"onset {onset:g} h")
    if cursor_h is not None:
        ax.axvline(cursor_h, color=style.INK, linewidth=1, label=f"this frame: {cursor_h:g} h")
    style.hour_ticks(ax, min(0.0, float(rows["hours"].min())), float(rows["hours"].max()))


def entries_of(ax: Axes) -> tuple[list, list[str]]:
    """Return the handles and labels of a legend of these axes."""
    handles, labels = ax.get_legend_handles_labels()
    return list(handles), list(labels)
