"""P(infected) itself: over hours and as a distribution."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from hpiclock.report.plots import style
from hpiclock.report.plots.classes import LABEL_NAMES
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.treatments import draw_stacks


@styled
def score_over_hours(
    predictions: pd.DataFrame, *, threshold: float | None = None, clock: str = "hours", ax: Axes | None = None
) -> Axes:
    """Draw P(infected) over time, a line per stack in the colour of its treatment.

    Args:
        predictions: PREDICTIONS (``stack_id condition moi hours hpi p_infected``) of one run.
        threshold: the decision threshold, drawn as a line.
        clock: ``hours`` since imaging start, or ``hpi`` (infected stacks only).
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.2, 2.6)
    rows = predictions[predictions["p_infected"].notna() & predictions[clock].notna()]
    if rows.empty:
        return style.nothing(ax, "no frame has a P(infected) and a time")
    words = draw_stacks(ax, rows, clock, "p_infected")
    _threshold_line(ax, threshold, upright=False)
    if clock == "hpi":
        ax.axvline(0, color=style.GREY, linewidth=0.7, label="onset")
    ax.set(ylim=(-0.03, 1.03), xlabel=style.TIME_AXES[clock], ylabel="P(infected)")
    style.hour_ticks(ax, float(rows[clock].min()), float(rows[clock].max()))
    style.legend_outside(ax)
    style.describe(ax, f"P(infected) over {style.TIME_AXES[clock]}, one line per stack: {words}.")
    return ax


@styled
def score_distribution(
    predictions: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the share of frames at or below each P(infected), a step line per label.

    Args:
        predictions: PREDICTIONS (``label p_infected stack_id``); frames without a label are left out.
        threshold: the decision threshold, drawn as a line.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.2, 2.4)
    rows = predictions[predictions["p_infected"].notna() & predictions["label"].notna()]
    if rows.empty:
        return style.nothing(ax, "no scored frames, so no scores to show")
    words = []
    for label, condition in ((0, "mock"), (1, "infected")):
        scores = rows[rows["label"].eq(label)]
        if scores.empty:
            continue
        n = f"{style.plural(len(scores), 'frame')}, {style.plural(scores['stack_id'].nunique(), 'stack')}"
        text = f"{LABEL_NAMES[label]} ({n})"
        ax.ecdf(
            scores["p_infected"].to_numpy(), label=text, color=style.CONDITION_COLOURS[condition],
            linestyle=style.CONDITION_LINES[condition],
        )  # fmt: skip
        words.append(f"{text}, scores {style.range_text(scores['p_infected'], 2)}")
    _threshold_line(ax, threshold, upright=True)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="P(infected)")
    ax.set_ylabel("share of frames at or below")
    style.legend_outside(ax)
    style.describe(ax, f"Cumulative distribution of P(infected): {'; '.join(words)}.")
    return ax


def _threshold_line(ax: Axes, threshold: float | None, *, upright: bool) -> None:
    if threshold is not None:
        draw = ax.axvline if upright else ax.axhline
        draw(threshold, color=style.INK, linewidth=0.7, linestyle="-.", label=f"threshold {threshold:.3g}")
