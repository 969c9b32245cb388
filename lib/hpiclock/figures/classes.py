"""Infected or not: ROC, confusion, reliability, and the scores over hours and as a distribution."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.style import draw_stacks, styled

LABEL_NAMES = {0: "not infected", 1: "infected"}


@styled
def roc(
    curve: pd.DataFrame,
    auc: pd.DataFrame,
    *,
    level: float,
    threshold: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the ROC curve of each split, with its AUC, interval and numbers in the legend.

    Args:
        curve: ``split fpr tpr threshold``, in the order of the curve.
        auc: METRICS rows of ``auc``, one per split.
        level: level of the intervals, such as 0.95.
        threshold: the frozen decision threshold; its place on each curve is marked.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, 5.2, 2.9)
    if curve.empty:
        return style.nothing(ax, "no ROC curve: it needs scored frames of both classes")
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=":", label="chance")
    words = []
    for split, rows in curve.groupby("split", sort=False):
        colour = style.SPLIT_COLOURS[str(split)]
        text = "\n".join(_auc_lines(str(split), auc[auc["split"].eq(split)], level))
        ax.plot(rows["fpr"], rows["tpr"], color=colour, linestyle=style.SPLIT_LINES[str(split)], label=text)
        words.append(text.replace("\n", ", "))
        if threshold is not None:
            point = rows[rows["threshold"].ge(threshold)].tail(1)  # called infected: score >= threshold
            ax.plot(point["fpr"], point["tpr"], "o", color=colour, markeredgecolor=style.INK, markersize=5)
    if threshold is not None:
        ax.plot([], [], "o", color="white", markeredgecolor=style.INK, label=f"at threshold {threshold:.3g}")
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=ticks, yticks=ticks)
    ax.set(
        xlabel="false positive rate (share of frames not infected)",
        ylabel="recall (share of infected frames)",
    )
    style.legend_outside(ax, labelspacing=0.9)
    style.describe(ax, f"ROC curves. {'; '.join(words)}.")
    return ax


def _auc_lines(split: str, auc: pd.DataFrame, level: float) -> list[str]:
    if auc.empty:
        return [split, "no AUC given"]
    row = next(auc.itertuples())
    value, low, high = float(str(row.value)), float(str(row.low)), float(str(row.high))
    if np.isfinite(low):
        text = [f"{split}: AUC {style.interval_text(value, low, high)}", f"{level:.0%} interval"]
    else:
        text = [f"{split}: AUC {value:.3f}", style.wrapped(style.first_clause(row.note)) or "no interval"]
    return [*text, style.n_text(row)]


@styled
def confusion(counts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the four cells of a confusion table with counts and shares of the true class.

    Args:
        counts: rows of one split: ``split label predicted n n_stacks n_wells share``; label and predicted are
            0 or 1, share is of all frames with that label.
        ax: where to draw; a new figure by default.

    Raises:
        InputError: rows of several splits.
    """
    ax = style.axes_or_new(ax, style.COLUMN_IN, 2.6)
    if counts.empty or not counts["n"].sum():
        return style.nothing(ax, "no scored frames, so no confusion table")
    if len(counts["split"].unique()) > 1:
        raise InputError("confusion draws one split and got several; select one")
    cells = np.zeros((2, 2))
    words = []
    for row in counts.itertuples():
        y, x, share = int(str(row.label)), int(str(row.predicted)), float(str(row.share))
        cells[y, x] = share if np.isfinite(share) else 0
        text = [style.plural(int(str(row.n)), "frame"), style.plural(int(str(row.n_stacks)), "stack")]
        text.insert(0, f"{share:.1%}" if np.isfinite(share) else "no such frames")
        ink = style.ink_on("#08519C") if cells[y, x] > 0.55 else style.INK
        ax.text(x, y, "\n".join(text), ha="center", va="center", color=ink, linespacing=1.4)
        words.append(f"{LABEL_NAMES[y]} called {LABEL_NAMES[x]}: {', '.join(text)}")
    ax.imshow(cells, cmap="Blues", vmin=0, vmax=1.1, aspect="auto")
    names = [LABEL_NAMES[i] for i in (0, 1)]
    ax.set_xticks([0, 1], names)
    ax.set_yticks([0, 1], names, rotation=90, va="center")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="called by the model", ylabel="true class", title=f"{counts['split'].iloc[0]} frames")
    style.describe(ax, f"Confusion table, shares of the true class: {'; '.join(words)}.")
    return ax


@styled
def reliability(bins: pd.DataFrame, *, level: float, ax: Axes | None = None) -> Axes:
    """Draw how often frames are infected against how likely the model said it is, bin by bin.

    Args:
        bins: ``split p_mean rate low high n``, one split; bins without frames are skipped.
        level: level of the intervals, such as 0.95.
        ax: where to draw; a new figure by default.
    """
    ax = style.axes_or_new(ax, style.COLUMN_IN, 3.0)
    bins = bins[bins["n"].gt(0)]
    if bins.empty:
        return style.nothing(ax, "no scored frames, so no reliability curve")
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=":", label="perfectly calibrated")
    ax.plot(bins["p_mean"], bins["rate"], "o-", color=style.SPLIT_COLOURS["test"], label="share of infected")
    banded = bins[bins["low"].notna() & bins["high"].notna()]
    ax.vlines(
        banded["p_mean"],
        banded["low"],
        banded["high"],
        color=style.SPLIT_COLOURS["test"],
        linewidth=1,
        label=f"{level:.0%} interval",
    )
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), ylabel="infected (share of the frames)")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=2, columnspacing=1)
    counts = ax.inset_axes((0, -0.34, 1, 0.2), sharex=ax)
    counts.vlines(bins["p_mean"], 0, bins["n"], color=style.GREY, linewidth=3)  # bins differ in width
    counts.set(xlabel="P(infected) said by the model (mean of the bin)", ylabel="frames")
    counts.set_ylim(0, 1.15 * float(bins["n"].max()))
    ax.tick_params(labelbottom=False)
    style.describe(ax, f"Reliability of P(infected), {_bin_words(bins, len(bins) - len(banded))}.")
    return ax


def _bin_words(bins: pd.DataFrame, without: int) -> str:
    pairs = [f"said {row.p_mean:.2f}, was {row.rate:.2f} (n = {row.n:,})" for row in bins.itertuples()]
    return "; ".join(pairs) + (f"; {style.plural(without, 'bin')} without an interval" if without else "")


@styled
def classes_figure(
    curve: pd.DataFrame,
    auc: pd.DataFrame,
    counts: pd.DataFrame,
    *,
    level: float,
    threshold: float | None = None,
) -> Figure:
    """Draw the ROC curve and the confusion table of one run side by side."""
    fig = style.new_figure(style.PAGE_IN, 2.9)
    left, right = fig.subplots(1, 2, width_ratios=(1.7, 1))
    roc(curve, auc, level=level, threshold=threshold, ax=left)
    confusion(counts, ax=right)
    return fig


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
            scores["p_infected"].to_numpy(),
            label=text,
            color=style.CONDITION_COLOURS[condition],
            linestyle=style.CONDITION_LINES[condition],
        )
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
