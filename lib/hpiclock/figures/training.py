"""The data and the training: splits, hours covered, the two clocks, losses and scores by epoch."""

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from hpiclock.figures import style
from hpiclock.figures.style import Treatment, natural_key, styled, treatments
from hpiclock.format import count_text
from hpiclock.metrics import METRICS
from hpiclock.tables import n_wells

# fmt: off
__all__ = [
    "clocks", "hours_coverage", "learning_curve", "learning_curves_figure", "split_overview",
    "validation_metrics_figure",
]
# fmt: on


WELLS_IN_LINE, MOST_NAMED_WELLS = 12, 96  # of more wells no name is written


@styled
def split_overview(frames: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a box per well, treatment by treatment, with a tile for each of its stacks in the split's colour.

    Args:
        frames: FRAMES (``plate well position stack_id condition moi split``).
        ax: where to draw; a new figure by default.
    """
    if frames.empty:
        return style.empty(ax or style.new_axes(), "no frames, so no split")
    stack = ["plate", "well", "condition", "moi", "position", "stack_id"]
    stacks = _in_order(frames.groupby(stack, dropna=False, as_index=False).agg(split=("split", "first")))
    wells = [
        part for _, part in stacks.groupby(["plate", "well", "condition", "moi"], dropna=False, sort=False)
    ]
    in_line = WELLS_IN_LINE if len(wells) <= MOST_NAMED_WELLS else 3 * WELLS_IN_LINE
    kinds = [Treatment.of(part.iloc[0]) for part in wells]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    lines = {kind: -(-n // in_line) for kind, n in counts.items()}
    starts = dict(zip(lines, np.cumsum([0, *lines.values()]), strict=False))
    width = style.PAGE_IN - 1.6
    ax = ax or style.new_axes(style.PAGE_IN, sum(lines.values()) * min(width / in_line, 0.36) + 0.5)
    several = len(frames["plate"].unique()) > 1
    drawn = dict.fromkeys(lines, 0)
    for kind, well in zip(kinds, wells, strict=True):
        line, place = divmod(drawn[kind], in_line)
        drawn[kind] += 1
        y, share = starts[kind] + line, 0.92 / len(well)
        for number, row in enumerate(well.itertuples()):
            box: Any = {"facecolor": style.SPLIT_COLOURS[row.split], "label": row.stack_id, "linewidth": 0}
            ax.add_patch(Rectangle((place + number * share, y), share, 0.9, **box))
        if len(wells) <= MOST_NAMED_WELLS:
            first = well.iloc[0]
            name = f"{first['plate']}\n{first['well']}" if several else first["well"]
            ink = style.text_colour(style.SPLIT_COLOURS[first["split"]])
            ax.text(place + 0.46, y + 0.45, name, ha="center", va="center", fontsize=7, color=ink)
    ends = [starts[kind] + n / 2 - 0.05 for kind, n in lines.items()]
    ax.set_yticks(ends, [f"{kind.label} ({n})" for kind, n in counts.items()])
    longest = min(in_line, max(counts.values()))
    ax.set(xlim=(0, longest), ylim=(sum(lines.values()), 0), xticks=[], xlabel="", ylabel="")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    handles, words = [], []
    for split in [split for split in style.SPLIT_COLOURS if stacks["split"].eq(split).any()]:
        part = stacks[stacks["split"].eq(split)]
        n_stacks = count_text(len(part), "stack")
        label = f"{split}: {count_text(n_wells(part), 'well')}, {n_stacks}"
        handles.append(Patch(color=style.SPLIT_COLOURS[split], label=label))
        names = ", ".join(sorted(part["well"].unique(), key=natural_key))
        words.append(f"{split} holds {n_stacks} of wells {names}")
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)
    return style.describe(ax, f"Split by well: {'; '.join(words)}.")


def _in_order(stacks: pd.DataFrame) -> pd.DataFrame:
    """Return stacks in the order of treatments, and in each of the names of wells and positions."""
    names = stacks["plate"] + " " + stacks["well"] + " " + stacks["position"]
    named = stacks.loc[sorted(stacks.index, key=lambda stack: natural_key(names[stack]))]
    return pd.concat([treatment.rows(named) for treatment in treatments(stacks)], ignore_index=True)


@styled
def hours_coverage(frames: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a tick per frame, a row per stack, over hours: which hours each condition covers.

    Frames without a label (before the onset, when those are dropped) are grey; a black diamond marks
    the onset of an infected stack.

    Args:
        frames: FRAMES (``plate well position stack_id condition moi onset_h hours label``).
        ax: where to draw; a new figure by default.
    """
    if frames.empty:
        return style.empty(ax or style.new_axes(), "no frames, so no hours are covered")
    stacks = _in_order(frames.drop_duplicates("stack_id"))
    ax = ax or style.new_axes(style.PAGE_IN, float(np.clip(len(stacks) * 0.13 + 0.9, 1.8, 6)))
    row_of = pd.Series(np.arange(len(stacks)), index=stacks["stack_id"])
    handles: list[Patch | Line2D] = []
    words = []
    for treatment in treatments(frames):
        rows = treatment.rows(frames)
        y = rows["stack_id"].map(row_of)
        for unlabelled, colour in ((False, treatment.colour), (True, style.GREY)):
            here = rows["label"].isna().eq(unlabelled)
            ax.vlines(rows["hours"][here], y[here] - 0.4, y[here] + 0.4, colors=colour, linewidth=0.9)
        n_stacks, n_frames = count_text(rows["stack_id"].nunique(), "stack"), count_text(len(rows), "frame")
        handles.append(Patch(color=treatment.colour, label=f"{treatment.label}: {n_stacks}, {n_frames}"))
        words.append(f"{treatment.label} {style.range_text(rows['hours'])} h, {n_frames} of {n_stacks}")
    if frames["label"].isna().any():
        label = f"before onset, not scored: {count_text(int(frames['label'].isna().sum()), 'frame')}"
        handles.append(Patch(color=style.GREY, label=label))
    onsets = stacks[stacks["condition"].eq("infected") & stacks["onset_h"].notna()]
    if len(onsets):
        diamond: Any = {"color": "black", "marker": "D", "linestyle": "", "markersize": 2.5}
        ax.plot(onsets["onset_h"], row_of[onsets["stack_id"]], **diamond)
        handles.append(Line2D([], [], label="onset", **diamond))
    _well_ticks(ax, stacks["well"].tolist())
    ax.set_ylim(len(stacks) - 0.4, -0.6)
    style.over_time(ax, "well (a row per stack)", frames[["hours"]], zero=True)
    return style.finish(ax, f"Hours covered by the frames: {'; '.join(words)}.", handles=handles)


def _well_ticks(ax: Axes, wells: list[str]) -> None:
    starts = [i for i, well in enumerate(wells) if i == 0 or wells[i - 1] != well]
    ends = [*starts[1:], len(wells)]
    middles = [(start + end - 1) / 2 for start, end in zip(starts, ends, strict=True)]
    every = max(1, -(-len(starts) // 36))  # names stay apart
    ax.set_yticks(middles[::every], [wells[start] for start in starts][::every])
    ax.tick_params(axis="y", length=0)


@styled
def clocks(frames: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the time target against hours: a line per condition, clock and onset.

    On the infection clock the line is moved right by the onset; on the experiment clock it is the diagonal.
    Wells with the same onset and clock share a line and are counted in its legend.

    Args:
        frames: FRAMES (``plate well condition moi onset_h hours clock time_target``).
        ax: where to draw; a new figure by default.
    """
    known = frames[frames["time_target"].notna()]
    ax = ax or style.new_axes(style.PAGE_IN, 2.9)
    if known.empty:
        return style.empty(ax, "no frame has a time target, so there is no clock to draw")
    dashes = cycle(["-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))])
    words = []
    counted = known["onset_h"].where(known["clock"].eq("infection"))  # the experiment clock knows no onset
    of_line = known.groupby(["condition", "clock", counted], dropna=False)
    for (condition, clock, onset_h), rows in of_line:
        onset = f", onset {onset_h:g} h" if clock == "infection" else ""
        text = f"{condition}: {clock} clock{onset} ({count_text(n_wells(rows), 'well')})"
        line = rows.drop_duplicates("hours").sort_values("hours")
        dash = "--" if condition == "mock" else next(dashes)
        colour = style.CONDITION_COLOURS[condition]
        ax.plot(line["hours"], line["time_target"], label=text, color=colour, linestyle=dash)
        words.append(text)
    style.over_time(ax, "time target (h)", known[["hours"]], zero=True)
    text = "Time target against hours since imaging start, one line each: "
    return style.finish(ax, f"{text}{'; '.join(words)}.")


LABELS = {name: metric.label for name, metric in METRICS.items()} | {
    "accuracy": "accuracy at P = 0.5",  # epochs are chosen before a threshold is
    "f1": "F1 at P = 0.5",
    "loss": "loss (weighted sum)",
    "class_loss": "class loss (cross-entropy)",
    "time_loss": "time loss (smooth L1)",
    "lr": "learning rate",
    "combined": "combined score",
}
LOSSES = ("loss", "class_loss", "time_loss", "lr")
SCORES = ("auc", "accuracy", "f1", "mae", "combined")


@styled
def learning_curve(
    history: pd.DataFrame, *, metric: str, best_epoch: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw one metric over epochs, a line per split, with the epoch of the kept checkpoint marked.

    Epochs in which the metric is undefined leave a gap.

    Args:
        history: HISTORY.
        metric: one of its metrics.
        best_epoch: the epoch whose checkpoint was kept.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.COLUMN_IN, 2.3)
    rows = history[history["metric"].eq(metric)].sort_values("epoch")
    name = LABELS.get(metric, metric)
    if not rows["value"].notna().any():
        return style.empty(ax, f"no values of {name}")
    words = []
    for split, colour in style.SPLIT_COLOURS.items():
        line = rows[rows["split"].eq(split)]
        if line.empty:
            continue
        dash = style.SPLIT_LINES[split] if metric != "lr" else "-"
        points: Any = {"marker": "o" if len(line) <= 15 else None, "markersize": 2.5}
        ax.plot(line["epoch"], line["value"], color=colour, linestyle=dash, label=split, **points)
        words.append(f"{split} {style.range_text(line['value'], 3)}, {line['value'].iloc[-1]:.3f} at the end")
    if best_epoch is not None:
        kept: Any = {"color": style.INK, "linestyle": "-.", "label": f"kept: epoch {best_epoch}"}
        style.reference_line(ax, x=best_epoch, **kept)
    ax.set(xlabel="epoch", ylabel=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    ax.margins(x=0.04)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    return style.finish(ax, f"{name} over {rows['epoch'].max()} epochs: {'; '.join(words)}.")


@styled
def learning_curves_figure(history: pd.DataFrame, *, best_epoch: int | None = None) -> Figure:
    """Draw the losses of both tasks and the learning rate, in training and validation, over epochs."""
    return _panels(history, LOSSES, best_epoch, "no losses were recorded")


@styled
def validation_metrics_figure(history: pd.DataFrame, *, best_epoch: int | None = None) -> Figure:
    """Draw AUC, accuracy, F1, time MAE and the combined score over epochs, those that were recorded."""
    scored = history[history["split"].ne("train")]
    return _panels(scored, SCORES, best_epoch, "no validation metrics were recorded")


def _panels(history: pd.DataFrame, metrics: tuple[str, ...], best_epoch: int | None, none: str) -> Figure:
    known = set(history.loc[history["value"].notna(), "metric"])
    drawn = [metric for metric in metrics if metric in known]
    if not drawn:
        return style.empty_figure(none, style.PAGE_IN, 2.2)
    across = 2 if len(drawn) in (2, 4) else 3
    size = style.PAGE_IN, 2.1 * -(-len(drawn) // across) + 0.3
    fig, panels = style.panels(len(drawn), *size, across)
    for ax, metric in zip(panels, drawn, strict=True):
        learning_curve(history, metric=metric, best_epoch=best_epoch, ax=ax)
        style.drop_legend(ax)
    style.legend_below(fig, *panels)
    return fig
