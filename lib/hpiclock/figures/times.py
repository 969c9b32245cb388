"""How long: predicted against true time per clock, residuals, Bland-Altman, single stacks over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.classes import LABEL_NAMES
from hpiclock.figures.style import Treatment, styled, treatments

CLOCK_AXES = {"infection": style.TIME_AXES["hpi"], "experiment": style.TIME_AXES["hours"]}
CLOCK_TITLES = {"infection": "Infection clock", "experiment": "Experiment clock"}


@styled
def prediction_vs_target(
    predictions: pd.DataFrame, *, clock: str, line: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Draw predicted against true time of the frames on one clock, with the regression line.

    Args:
        predictions: PREDICTIONS (``stack_id condition moi clock time_target time_pred``).
        clock: ``infection`` or ``experiment``.
        line: rows of :func:`hpiclock.analysis.time_errors.time_regression`; not drawn when missing.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, style.COLUMN_IN, 3.4)
    there = predictions["time_pred"].notna() & predictions["time_target"].notna()
    rows = predictions[there & predictions["clock"].eq(clock)]
    if rows.empty:
        return style.nothing(ax, f"no frames with a predicted and a true time on the {clock} clock")
    low = float(np.floor(min(0.0, rows["time_target"].min(), rows["time_pred"].min())))
    high = float(np.ceil(max(1.0, rows["time_target"].max(), rows["time_pred"].max())))
    ax.plot(
        [low, high], [low, high], color=style.GREY, linewidth=0.8, linestyle=":", label="prediction = truth"
    )
    many = len(rows) > 2000  # thousands of vector dots make a PDF slow
    for had in treatments(rows):
        dots = had.rows(rows)
        ax.plot(
            dots["time_target"],
            dots["time_pred"],
            style.CONDITION_MARKERS.get(had.condition, "o"),
            color=had.colour,
            markersize=1.8,
            alpha=0.6,
            markeredgewidth=0,
            rasterized=many,
            label=f"{had.label} ({style.plural(dots['stack_id'].nunique(), 'stack')})",
        )
    fitted = ""
    if line is not None:
        mine = line[line["clock"].eq(clock) & line["split"].isin(rows["split"].unique())]
        fitted = _draw_regression(ax, mine, low, high)
    pad = 0.02 * (high - low)
    ax.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), aspect="equal")
    ax.set(xlabel=f"true {CLOCK_AXES[clock]}", ylabel="predicted time (h)", title=CLOCK_TITLES[clock])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, columnspacing=1, markerscale=2)
    n = f"{len(rows):,} frames, {style.plural(rows['stack_id'].nunique(), 'stack')}"
    style.describe(ax, f"Predicted against true {CLOCK_AXES[clock]}, {n}.{' ' + fitted if fitted else ''}")
    return ax


def _draw_regression(ax: Axes, line: pd.DataFrame, low: float, high: float) -> str:
    if line.empty or not np.isfinite(line["slope"].iloc[0]):
        return ""
    row = line.iloc[0]
    ends = np.array([low, high])
    ax.plot(ends, row["intercept"] + row["slope"] * ends, color=style.INK, label="regression line")
    sign = "+" if row["slope"] >= 0 else "−"
    equation = f"predicted = {style.number(row['intercept'])} h {sign} {abs(row['slope']):.2f} × true"
    fit = f"slope {style.interval_text(row['slope'], row['slope_low'], row['slope_high'], 2)}"
    n = style.n_text(row)
    ax.text(
        0.03,
        0.97,
        f"{equation}\n{fit}\n{n}",
        transform=ax.transAxes,
        ha="left",
        va="top",
        fontsize=6,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
    return f"{equation}; {fit}; {n}."


@styled
def prediction_scatter_figure(predictions: pd.DataFrame, line: pd.DataFrame | None = None) -> Figure:
    """Draw :func:`prediction_vs_target` for every clock that has frames, side by side."""
    there = predictions["time_pred"].notna() & predictions["time_target"].notna()
    clocks = [clock for clock in CLOCK_AXES if predictions.loc[there, "clock"].eq(clock).any()]
    fig = style.new_figure(style.PAGE_IN if len(clocks) > 1 else style.COLUMN_IN, 4.0)
    if not clocks:
        style.nothing(fig.add_subplot(), "no frame has a predicted and a true time")
    for number, clock in enumerate(clocks, start=1):
        prediction_vs_target(predictions, clock=clock, line=line, ax=fig.add_subplot(1, len(clocks), number))
    return fig


@styled
def residual_over_hours(residuals: pd.DataFrame, *, clock: str = "true", ax: Axes | None = None) -> Axes:
    """Draw the mean time error over hours with its spread (mean ± SD of the frames), a line per label.

    Args:
        residuals: ``label start_h end_h clock bias sd n n_stacks``, one split; empty bins leave gaps.
        clock: ``true`` or ``predicted``: the clock under which the errors are taken.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.2, 2.6)
    rows = residuals[residuals["clock"].eq(clock)].assign(middle_h=lambda t: (t["start_h"] + t["end_h"]) / 2)
    if not rows["bias"].notna().any():
        return style.nothing(ax, f"no frame has a time error under the {clock} clock")
    words = []
    for label, line in rows.groupby("label"):
        line = line.sort_values("middle_h")
        condition = ("mock", "infected")[int(str(label))]
        colour = style.CONDITION_COLOURS[condition]
        text = f"{LABEL_NAMES[int(str(label))]} ({style.plural(int(line['n'].sum()), 'frame')})"
        ax.plot(
            line["middle_h"],
            line["bias"],
            color=colour,
            label=text,
            linestyle=style.CONDITION_LINES[condition],
        )
        ax.fill_between(
            line["middle_h"],
            line["bias"] - line["sd"],
            line["bias"] + line["sd"],
            color=colour,
            alpha=0.18,
            linewidth=0,
            label="mean ± SD",
        )
        words.append(f"{text}: mean error {style.range_text(line['bias'])} h")
    ax.axhline(0, color=style.GREY, linewidth=0.8, linestyle=":")
    ax.set(xlabel=style.TIME_AXES["hours"], ylabel=f"time error under the\n{clock} clock (h)")
    style.hour_ticks(ax, min(0.0, float(rows["start_h"].min())), float(rows["end_h"].max()))
    style.legend_outside(ax)
    style.describe(ax, f"Time error under the {clock} clock over hours: {'; '.join(words)}.")
    return ax


@styled
def bland_altman(
    predictions: pd.DataFrame, limits: pd.DataFrame, *, clock: str, level: float, ax: Axes | None = None
) -> Axes:
    """Draw the error against the mean of predicted and true time, with bias and limits of agreement.

    Method: Bland and Altman, Lancet 1986;327:307-310.

    Args:
        predictions: PREDICTIONS (``condition moi clock time_target time_pred``).
        limits: one row per clock: ``clock bias bias_low bias_high lower upper n n_stacks n_wells``, where
            ``lower`` and ``upper`` are the limits of agreement.
        clock: ``infection`` or ``experiment``.
        level: level of the interval of the bias.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.2, 2.6)
    there = predictions["time_pred"].notna() & predictions["time_target"].notna()
    rows = predictions[there & predictions["clock"].eq(clock)]
    if rows.empty:
        return style.nothing(ax, f"no frames with a predicted and a true time on the {clock} clock")
    for had in treatments(rows):
        dots = had.rows(rows)
        ax.plot(
            (dots["time_pred"] + dots["time_target"]) / 2,
            dots["time_pred"] - dots["time_target"],
            style.CONDITION_MARKERS.get(had.condition, "o"),
            color=had.colour,
            markersize=1.8,
            alpha=0.6,
            markeredgewidth=0,
            rasterized=len(rows) > 2000,
            label=had.label,
        )
    ax.axhline(0, color=style.GREY, linewidth=0.8, linestyle=":")
    words = ""
    for row in limits[limits["clock"].eq(clock)].to_dict("records"):
        bias = style.interval_text(row["bias"], row["bias_low"], row["bias_high"], 2)
        ax.axhline(row["bias"], color=style.INK, label=f"bias {bias} h")
        if np.isfinite(row["bias_low"]) and np.isfinite(row["bias_high"]):
            ax.axhspan(
                row["bias_low"],
                row["bias_high"],
                color=style.INK,
                alpha=0.15,
                linewidth=0,
                label=f"{level:.0%} interval of the bias",
            )
        text = f"limits of agreement {style.number(row['lower'])} and {style.number(row['upper'])} h"
        ax.axhline(
            row["lower"], color=style.INK, linestyle="--", linewidth=0.8, label=text.replace("of ", "of\n")
        )
        ax.axhline(row["upper"], color=style.INK, linestyle="--", linewidth=0.8)
        words = f" Bias {bias} h, {text}."
    ax.set(xlabel=f"mean of predicted and true {CLOCK_AXES[clock]}", ylabel="predicted − true (h)")
    ax.set_title(CLOCK_TITLES[clock])
    style.legend_outside(ax, markerscale=2)
    n = f"{len(rows):,} frames, {style.plural(rows['stack_id'].nunique(), 'stack')}"
    style.describe(ax, f"Bland-Altman plot on the {clock} clock, {n}.{words}")
    return ax


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
            rows["hours"],
            rows["time_low"].astype(float),
            rows["time_high"].astype(float),
            color=had.colour,
            alpha=0.18,
            linewidth=0,
            label="interval of the prediction",
        )
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
