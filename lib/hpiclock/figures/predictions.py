"""What both heads predict: infected or not (ROC, confusion, reliability), for how long; and over hours."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.style import Treatment, draw_frames, draw_stacks, styled
from hpiclock.format import count_text, first_clause, n_text
from hpiclock.tables import under_true_clock

# fmt: off
__all__ = [
    "bland_altman", "classes_figure", "confusion", "prediction_scatter_figure", "prediction_vs_target",
    "reliability", "residual_over_hours", "roc", "score_over_hours",
]
# fmt: on

LABEL_NAMES = {0: "not infected", 1: "infected"}
LABEL_CONDITIONS = {0: "mock", 1: "infected"}  # whose colours and lines a label has
CLOCK_AXES = {"infection": style.TIME_AXES["hpi"], "experiment": style.TIME_AXES["hours"]}
CLOCK_TITLES = {"infection": "Infection clock, class given", "experiment": "Experiment clock, class given"}


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
        ax: where to draw, square; a new figure as wide as a page by default.
    """
    aspect = "auto" if ax is None else "equal"
    ax = ax or style.new_axes(style.PAGE_IN, 2.9)
    if curve.empty:
        return style.empty(ax, "no ROC curve: it needs scored frames of both classes")
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=":", label="chance")
    words = []
    for split, rows in curve.groupby("split", sort=False):
        colour = style.SPLIT_COLOURS[str(split)]
        text = _auc_text(str(split), auc[auc["split"].eq(split)], level)
        ax.plot(rows["fpr"], rows["tpr"], color=colour, linestyle=style.SPLIT_LINES[str(split)], label=text)
        words.append(text.replace("\n", ", "))
        if threshold is not None:
            point = rows[rows["threshold"].ge(threshold)].tail(1)  # predicted infected: score >= threshold
            ax.plot(point["fpr"], point["tpr"], "o", color=colour, markeredgecolor=style.INK, markersize=5)
    if threshold is not None:
        ax.plot([], [], "o", color="white", markeredgecolor=style.INK, label=f"at threshold {threshold:.3g}")
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect=aspect, xticks=ticks, yticks=ticks)
    ax.set_xlabel("false positive rate (share of frames not infected)")
    ax.set_ylabel("recall (share of infected frames)")
    return style.finish(ax, f"ROC curves. {'; '.join(words)}.", labelspacing=0.9)


def _auc_text(split: str, auc: pd.DataFrame, level: float) -> str:
    if auc.empty:
        return f"{split}\nno AUC given"
    row = auc.iloc[0]
    value, known = style.number(row["value"], 3), style.wrapped(first_clause(row["note"]))
    if np.isfinite(row["low"]):
        value, known = style.interval_text(row["value"], row["low"], row["high"]), f"{level:.0%} interval"
    return "\n".join([f"{split}: AUC {value}", known or "no interval", n_text(row)])


@styled
def confusion(counts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the four cells of a confusion table with counts and shares of the true class.

    Args:
        counts: rows of one split: ``split label predicted n n_stacks n_wells share``; label and predicted are
            0 (not infected) or 1 (infected), share is of all frames with that label.
        ax: where to draw; a new figure by default.

    Raises:
        InputError: rows of several splits.
    """
    ax = ax or style.new_axes(style.COLUMN_IN, 2.6)
    if counts.empty or not counts["n"].sum():
        return style.empty(ax, "no scored frames, so no confusion table")
    if len(counts["split"].unique()) > 1:
        raise InputError("confusion draws one split and got several; select one")
    shares, texts = confusion_cells(counts)
    confusion_map(ax, shares, texts)
    ax.set_title(f"{counts['split'].iloc[0]} frames")
    return style.describe(ax, f"Confusion table, shares of the true class: {confusion_words(texts)}.")


def confusion_cells(counts: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return (2, 2) shares of the true class and (2, 2) texts, true class by predicted class."""
    shares, texts = np.zeros((2, 2)), np.full((2, 2), "", dtype=object)
    for row in counts.to_dict("records"):
        cell = int(row["label"]), int(row["predicted"])
        known = np.isfinite(row["share"])
        shares[cell] = row["share"] if known else 0
        share = f"{row['share']:.1%}" if known else "no such frames"
        counted = (count_text(int(row["n"]), "frame"), count_text(int(row["n_stacks"]), "stack"))
        texts[cell] = "\n".join((share, *counted))
    return shares, texts


def confusion_map(ax: Axes, shares: np.ndarray, texts: np.ndarray) -> None:
    """Draw the heat map of a confusion table; arguments as :func:`confusion_cells` returns them."""
    import seaborn as sns

    names = list(LABEL_NAMES.values())
    labels: Any = {"annot": texts, "fmt": "", "annot_kws": {"linespacing": 1.4}}
    labels |= {"vmin": 0, "vmax": 1.1, "cmap": "Blues", "cbar": False}
    sns.heatmap(pd.DataFrame(shares, names, names), ax=ax, **labels)
    ax.tick_params(length=0)
    ax.set_yticklabels(names, rotation=90, va="center")
    ax.set(xlabel="predicted class", ylabel="true class")


def confusion_words(texts: np.ndarray) -> str:
    """Return the cells of a confusion table in words."""
    return "; ".join(
        f"{LABEL_NAMES[label]} predicted {LABEL_NAMES[predicted]}: {text}".replace("\n", ", ")
        for (label, predicted), text in np.ndenumerate(texts)
        if text
    )


@styled
def reliability(bins: pd.DataFrame, *, level: float, ax: Axes | None = None) -> Axes:
    """Draw how often frames are infected against the predicted probability, bin by bin.

    Args:
        bins: ``split p_mean rate low high n``, one split; bins without frames are skipped.
        level: level of the intervals, such as 0.95.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 3.2)
    bins = bins[bins["n"].gt(0)]
    if bins.empty:
        return style.empty(ax, "no scored frames, so no reliability curve")
    colour = style.SPLIT_COLOURS["test"]
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=":", label="perfectly calibrated")
    ax.plot(bins["p_mean"], bins["rate"], "o", color=colour, label="share of infected")
    known = bins[bins["low"].notna() & bins["high"].notna()]
    interval: Any = {"color": colour, "linewidth": 1, "label": f"{level:.0%} interval"}
    ax.vlines(known["p_mean"], known["low"], known["high"], **interval)
    style.share_axis(ax, "xy")
    ax.set_ylabel("infected (share of the frames)")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=2, columnspacing=1)
    counts = style.inset_below(ax, -0.34, 0.2)
    counts.vlines(bins["p_mean"], 0, bins["n"], color=style.GREY, linewidth=3)  # bins differ in width
    counts.set(xlabel="predicted P(infected) (mean of the bin)", ylabel="frames")
    counts.set_ylim(0, 1.15 * float(bins["n"].max()))
    pairs = [f"predicted {row.p_mean:.2f}, was {row.rate:.2f} (n = {row.n:,})" for row in bins.itertuples()]
    without = len(bins) - len(known)
    pairs += [f"{count_text(without, 'bin')} without an interval"] if without else []
    return style.describe(ax, f"Reliability of P(infected), {'; '.join(pairs)}.")


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
    ax = ax or style.new_axes(style.PAGE_IN, 2.6)
    rows = predictions[predictions["p_infected"].notna() & predictions[clock].notna()]
    if rows.empty:
        return style.empty(ax, "no frame has a P(infected) and a time")
    words = draw_stacks(ax, rows, clock, "p_infected")
    style.threshold_line(ax, threshold)
    if clock == "hpi":
        style.reference_line(ax, x=0, linestyle="-", label="onset")
    style.share_axis(ax)
    style.over_time(ax, "P(infected)", rows[[clock]], clock)
    return style.finish(ax, f"P(infected) over {style.TIME_AXES[clock]}, one line per stack: {words}.")


def _on_clock(predictions: pd.DataFrame, clock: str) -> pd.DataFrame:
    """Return the frames of a clock with both times; predicted is that of the true class, as in the tables."""
    predictions = under_true_clock(predictions)
    known = predictions["time_pred"].notna() & predictions["time_target"].notna()
    return predictions[known & predictions["clock"].eq(clock)]


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
    ax = ax or style.new_axes(style.COLUMN_IN, 3.4)
    rows = _on_clock(predictions, clock)
    if rows.empty:
        return style.empty(ax, f"no frames with a predicted and a true time on the {clock} clock")
    times = rows[["time_target", "time_pred"]].to_numpy(dtype=float)
    ends = np.array([np.floor(min(0.0, times.min())), np.ceil(max(1.0, times.max()))])
    ax.plot(ends, ends, color=style.GREY, linewidth=0.8, linestyle=":", label="prediction = truth")
    draw_frames(ax, rows, rows["time_target"], rows["time_pred"])
    fitted = ""
    if line is not None:
        part = line[line["clock"].eq(clock) & line["split"].isin(rows["split"].unique())]
        fitted = _draw_regression(ax, part, ends)
    pad = 0.02 * np.ptp(ends) * np.array([-1, 1])
    ax.set(xlim=ends + pad, ylim=ends + pad, aspect="equal")
    ax.set(xlabel=f"true {CLOCK_AXES[clock]}", ylabel="predicted time (h)", title=CLOCK_TITLES[clock])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, columnspacing=1, markerscale=2)
    words = f"Predicted against true {CLOCK_AXES[clock]}, {style.frames_text(rows)}.{fitted}"
    return style.describe(ax, words)


def _draw_regression(ax: Axes, line: pd.DataFrame, ends: np.ndarray) -> str:
    if line.empty or not np.isfinite(line["slope"].iloc[0]):
        return ""
    row = line.iloc[0]
    ax.plot(ends, row["intercept"] + row["slope"] * ends, color=style.INK, label="regression line")
    sign = "+" if row["slope"] >= 0 else "−"
    equation = f"predicted = {style.number(row['intercept'])} h {sign} {abs(row['slope']):.2f} × true"
    fit = f"slope {style.interval_text(row['slope'], row['slope_low'], row['slope_high'], 2)}"
    text = f"{equation}\n{fit}\n{n_text(row)}"
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    ax.text(0.03, 0.97, text, transform=ax.transAxes, ha="left", va="top", fontsize=7, bbox=box)
    return f" {text.replace(chr(10), '; ')}."


@styled
def prediction_scatter_figure(predictions: pd.DataFrame, line: pd.DataFrame | None = None) -> Figure:
    """Draw :func:`prediction_vs_target` for every clock that has frames, side by side."""
    clocks = [clock for clock in CLOCK_AXES if len(_on_clock(predictions, clock))]
    width = style.PAGE_IN if len(clocks) > 1 else style.COLUMN_IN
    if not clocks:
        return style.empty_figure("no frame has a predicted and a true time", width, 4.0)
    fig = style.new_figure(width, 4.0)
    for clock, ax in zip(clocks, fig.subplots(1, len(clocks), squeeze=False)[0], strict=True):
        prediction_vs_target(predictions, clock=clock, line=line, ax=ax)
    return fig


@styled
def residual_over_hours(residuals: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the mean time error over hours with its spread (mean ± SD of the frames), a line per label.

    Args:
        residuals: ``label start_h end_h clock bias sd n n_stacks``, one split; empty bins leave gaps.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 2.6)
    rows = residuals[residuals["clock"].eq("true")].sort_values("start_h")
    if not rows["bias"].notna().any():
        return style.empty(ax, "no frame has a time error under the true clock")
    words = []
    for label, part in rows.groupby("label"):
        line = style.CONDITIONS[LABEL_CONDITIONS[int(label)]].line
        text = f"{LABEL_NAMES[int(label)]} ({count_text(int(part['n'].sum()), 'frame')})"
        hours, bias, sd = style.middles(part), part["bias"], part["sd"]
        ax.plot(hours, bias, label=text, **line)
        style.band(ax, hours, bias - sd, bias + sd, line["color"], label="mean ± SD")
        words.append(f"{text}: mean error {style.range_text(bias)} h")
    style.reference_line(ax, y=0)
    style.over_time(ax, "time error under the\ntrue clock (h)", rows[["start_h", "end_h"]], zero=True)
    return style.finish(ax, f"Time error under the true clock over hours: {'; '.join(words)}.")


@styled
def bland_altman(
    predictions: pd.DataFrame, limits: pd.DataFrame, *, clock: str, level: float, ax: Axes | None = None
) -> Axes:
    """Draw the error against the mean of predicted and true time, with bias and limits of agreement.

    Method: Bland and Altman, Lancet 1986;327:307-310.

    Args:
        predictions: PREDICTIONS (``stack_id condition moi clock time_target time_pred``).
        limits: one row per clock: ``clock bias bias_low bias_high lower upper n n_stacks n_wells``, where
            ``lower`` and ``upper`` are the limits of agreement.
        clock: ``infection`` or ``experiment``.
        level: level of the interval of the bias.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 2.6)
    rows = _on_clock(predictions, clock)
    if rows.empty:
        return style.empty(ax, f"no frames with a predicted and a true time on the {clock} clock")
    error = rows["time_pred"] - rows["time_target"]
    draw_frames(ax, rows, (rows["time_pred"] + rows["time_target"]) / 2, error)
    style.reference_line(ax, y=0)
    words = ""
    for row in limits[limits["clock"].eq(clock)].to_dict("records"):
        bias = style.interval_text(row["bias"], row["bias_low"], row["bias_high"], 2)
        ax.axhline(row["bias"], color=style.INK, label=f"bias {bias} h")
        if np.isfinite(row["bias_low"] + row["bias_high"]):
            area: Any = {"color": style.INK, "alpha": 0.15, "linewidth": 0}
            ax.axhspan(row["bias_low"], row["bias_high"], label=f"{level:.0%} interval of the bias", **area)
        text = f"limits of agreement {style.number(row['lower'])} and {style.number(row['upper'])} h"
        for limit, label in ((row["lower"], text.replace("of ", "of\n")), (row["upper"], None)):
            style.reference_line(ax, y=limit, color=style.INK, linestyle="--", label=label)
        words = f" Bias {bias} h, {text}."
    ax.set(xlabel=f"mean of predicted and true {CLOCK_AXES[clock]}", ylabel="predicted − true (h)")
    ax.set_title(CLOCK_TITLES[clock])
    text = f"Bland-Altman plot on the {clock} clock, {style.frames_text(rows)}.{words}"
    return style.finish(ax, text, markerscale=2)


def trajectory(
    score_ax: Axes, time_ax: Axes, rows: pd.DataFrame, threshold: float | None, cursor_h: float | None = None
) -> None:
    """Draw P(infected), and predicted and true time, of one stack over hours, its frames in their order."""
    treatment = Treatment.of(rows.iloc[0])
    predicted: Any = {"marker": ".", "color": treatment.colour, "label": "predicted"}
    score_ax.plot(rows["hours"], rows["p_infected"], **predicted)
    style.threshold_line(score_ax, threshold)
    style.share_axis(score_ax)
    if "time_low" in rows:
        limits = rows["time_low"], rows["time_high"]
        style.band(time_ax, rows["hours"], *limits, treatment.colour, label="interval of the prediction")
    switched = np.flatnonzero(rows["clock"].ne(rows["clock"].shift()))[
        1:
    ]  # at the onset: no line leads there
    true_time = (np.insert(rows[name].to_numpy(float), switched, np.nan) for name in ("hours", "time_target"))
    time_ax.plot(*true_time, color=style.INK, linestyle=":", label="true time")
    time_ax.plot(rows["hours"], rows["time_pred"], **predicted)
    clocks = rows["clock"].unique()  # two where the frames before the onset count as not infected
    time_label = f"{clocks[0]} clock (h)" if len(clocks) == 1 else "time on its clock (h)"
    onset = float(rows["onset_h"].iloc[0])
    for ax, label in ((score_ax, "P(infected)"), (time_ax, time_label)):
        if np.isfinite(onset) and treatment.condition == "infected":
            style.reference_line(ax, x=onset, linestyle="-", label=f"onset {onset:g} h")
        if cursor_h is not None:
            ax.axvline(cursor_h, color=style.INK, linewidth=1, label=f"this frame: {cursor_h:g} h")
        style.over_time(ax, label, rows[["hours"]], zero=True)
    scores = f"P(infected) of {rows['stack_id'].iloc[0]} ({treatment.label}) over hours: "
    style.describe(score_ax, f"{scores}{style.range_text(rows['p_infected'], 2)}.")
    times = (style.range_text(rows[name]) for name in ("time_pred", "time_target"))
    style.describe(time_ax, "Predicted time {} h, true time {} h.".format(*times))
