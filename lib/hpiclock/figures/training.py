"""Training in pictures: splits, hours covered, the two clocks, losses and scores by epoch."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from hpiclock.figures import style
from hpiclock.figures.style import Treatment, styled, treatments
from hpiclock.metrics import METRICS
from hpiclock.tables import n_wells


@styled
def split_overview(frames: pd.DataFrame, *, note: str = "", ax: Axes | None = None) -> Axes:
    """Draw a tile per stack, in the row of its well, coloured by split and labelled with its frames.

    Args:
        frames: FRAMES (``plate well position stack_id condition moi split``).
        note: what the reader must know of the split, such as that it is not by well.
        ax: where to draw; a new figure by default.
    """
    if frames.empty:
        return style.nothing(style.axes_or_new(ax), "no frames, so no split")
    tiles = frames.groupby(["plate", "well", "condition", "moi", "position", "stack_id"], dropna=False)
    stacks = tiles.agg(split=("split", "first"), n=("split", "size")).reset_index()
    rows = _well_rows(stacks)
    longest = max(len(row) for _, row in rows)
    tile_in = min(0.5, 5.0 / longest)
    ax = style.axes_or_new(ax, longest * tile_in + 2.2, float(np.clip(len(rows) * 0.2 + 0.4, 1.4, 9)))
    mark = 0.3 + 0.01 * longest  # of the treatment, left of the tiles
    for y, (had, row) in enumerate(rows):
        ax.add_patch(
            Rectangle((-0.6 - mark, y - 0.5), mark, 1, facecolor=had.colour, edgecolor="white", lw=0.6)
        )
        for x, stack in enumerate(row.itertuples()):
            colour = style.SPLIT_COLOURS[str(stack.split)]
            ax.add_patch(
                Rectangle((x - 0.5, y - 0.5), 1, 1, fc=colour, ec="white", lw=0.8, label=str(stack.split))
            )
            if longest <= 12:
                ax.text(x, y, f"{stack.n}", ha="center", va="center", fontsize=6, color=style.ink_on(colour))
    several = len(frames["plate"].unique()) > 1
    names = [f"{r['plate'].iloc[0]} {r['well'].iloc[0]}" if several else r["well"].iloc[0] for _, r in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set(xlim=(-0.6 - mark, longest - 0.5), ylim=(len(rows) - 0.5, -0.5), xticks=[], ylabel="well")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    if note:
        ax.set_title(note, color=style.INFECTED, wrap=True, fontweight="normal")
    number = ", number: frames" if longest <= 12 else ""
    _split_legend(ax, stacks, [had for had, _ in rows], f"a tile per position{number}")
    style.describe(ax, _split_words(stacks, note))
    return ax


def _well_rows(stacks: pd.DataFrame) -> list[tuple[Treatment, pd.DataFrame]]:
    rows = []
    for had in treatments(stacks):
        wells = [part for _, part in had.rows(stacks).groupby(["plate", "well"])]
        wells.sort(key=lambda part: style.natural(f"{part['plate'].iloc[0]} {part['well'].iloc[0]}"))
        for part in wells:
            order = sorted(part.index, key=lambda i: style.natural(str(stacks.at[i, "position"])))
            rows.append((had, part.loc[order]))
    return rows


def _split_legend(ax: Axes, stacks: pd.DataFrame, had: list[Treatment], title: str) -> None:
    handles: list[Patch | Line2D] = []
    for split, colour in style.SPLIT_COLOURS.items():
        rows = stacks[stacks["split"].eq(split)]
        if len(rows):
            text = f"{split}: {style.plural(n_wells(rows), 'well')}, {style.plural(len(rows), 'stack')}"
            handles.append(Patch(color=colour, label=text))
    marks = dict.fromkeys(had)
    handles += [
        Line2D([], [], marker="s", linestyle="", markersize=5, color=t.colour, label=t.label) for t in marks
    ]
    labels = [str(handle.get_label()) for handle in handles]
    style.legend_outside(ax, handles=handles, labels=labels, title=title, alignment="left")


def _split_words(stacks: pd.DataFrame, note: str) -> str:
    parts = []
    for split, rows in stacks.groupby("split"):
        wells = sorted(rows["well"].unique(), key=style.natural)
        parts.append(f"{split} holds {style.plural(len(rows), 'stack')} of wells {', '.join(wells)}")
    return f"Split by well: {'; '.join(parts)}." + (f" {note}" if note else "")


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
        return style.nothing(style.axes_or_new(ax), "no frames, so no hours are covered")
    stacks = frames.drop_duplicates("stack_id")
    rows = [(had, stack) for had, part in _well_rows(stacks) for stack in part.itertuples()]
    ax = style.axes_or_new(ax, style.PAGE_IN, float(np.clip(len(rows) * 0.13 + 0.9, 1.8, 6)))
    for had in treatments(stacks):
        y = {str(stack.stack_id): i for i, (t, stack) in enumerate(rows) if t == had}
        mine = had.rows(frames)
        heights = mine["stack_id"].map(y)
        for unlabelled, colour in ((False, had.colour), (True, style.GREY)):
            here = mine["label"].isna().eq(unlabelled)
            ax.vlines(
                mine["hours"][here], heights[here] - 0.4, heights[here] + 0.4, colors=colour, linewidth=0.9
            )
    onsets = [(stack.onset_h, i) for i, (had, stack) in enumerate(rows) if had.condition == "infected"]
    onsets = [(hour, i) for hour, i in onsets if np.isfinite(hour)]
    ax.plot(*zip(*onsets, strict=True), "D", color="black", markersize=2.5) if onsets else None
    _well_ticks(ax, [str(stack.well) for _, stack in rows])
    ax.set(ylim=(len(rows) - 0.4, -0.6), xlabel=style.TIME_AXES["hours"], ylabel="well (a row per stack)")
    style.hour_ticks(ax, min(0.0, float(frames["hours"].min())), float(frames["hours"].max()))
    _coverage_legend(ax, frames, bool(onsets))
    style.describe(ax, _coverage_words(frames))
    return ax


def _well_ticks(ax: Axes, wells: list[str]) -> None:
    starts = [i for i, well in enumerate(wells) if i == 0 or wells[i - 1] != well]
    ends = [*starts[1:], len(wells)]
    every = max(1, -(-len(starts) // 36))  # names stay apart
    ax.set_yticks(
        [(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)][::every],
        [wells[a] for a in starts][::every],
    )
    ax.tick_params(axis="y", length=0)


def _coverage_legend(ax: Axes, frames: pd.DataFrame, onsets: bool) -> None:
    handles: list[Patch | Line2D] = []
    for had in treatments(frames):
        rows = had.rows(frames)
        text = f"{had.label}: {style.plural(rows['stack_id'].nunique(), 'stack')}, {len(rows):,} frames"
        handles.append(Patch(color=had.colour, label=text))
    if frames["label"].isna().any():
        handles.append(
            Patch(
                color=style.GREY, label=f"before onset, not scored: {frames['label'].isna().sum():,} frames"
            )
        )
    if onsets:
        handles.append(Line2D([], [], marker="D", linestyle="", color="black", markersize=2.5, label="onset"))
    style.legend_outside(ax, handles=handles, labels=[str(h.get_label()) for h in handles])


def _coverage_words(frames: pd.DataFrame) -> str:
    parts = []
    for had in treatments(frames):
        rows = had.rows(frames)
        stacks = style.plural(rows["stack_id"].nunique(), "stack")
        parts.append(f"{had.label} {style.range_text(rows['hours'])} h, {len(rows):,} frames of {stacks}")
    return f"Hours covered by the frames: {'; '.join(parts)}."


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
    ax = style.axes_or_new(ax, 5.4, 2.9)
    if known.empty:
        return style.nothing(ax, "no frame has a time target, so there is no clock to draw")
    dashes = cycle(["-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))])
    words = []
    for (condition, clock, onset_h), rows in known.groupby(["condition", "clock", "onset_h"], dropna=False):
        onset = f", onset {onset_h:g} h" if clock == "infection" else ""
        text = f"{condition}: {clock} clock{onset} ({style.plural(n_wells(rows), 'well')})"
        line = rows.drop_duplicates("hours").sort_values("hours")
        looks = "--" if condition == "mock" else next(dashes)
        colour = style.CONDITION_COLOURS[condition]
        ax.plot(line["hours"], line["time_target"], label=text, color=colour, linestyle=looks)
        words.append(text)
    ax.set(xlabel=style.TIME_AXES["hours"], ylabel="time target (h)")
    style.hour_ticks(ax, min(0.0, float(known["hours"].min())), float(known["hours"].max()))
    style.legend_outside(ax)
    style.describe(ax, f"Time target against hours since imaging start, one line each: {'; '.join(words)}.")
    return ax


LABELS = {
    "loss": "loss (weighted sum)",
    "class_loss": "class loss (cross-entropy)",
    "time_loss": "time loss (smooth L1)",
    "lr": "learning rate",
    "combined": "combined score",
} | {name: metric.label for name, metric in METRICS.items()}
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
    ax = style.axes_or_new(ax, style.COLUMN_IN, 2.3)
    rows = history[history["metric"].eq(metric)]
    name = LABELS.get(metric, metric)
    if not rows["value"].notna().any():
        return style.nothing(ax, f"no values of {name}")
    words = []
    for split, colour in style.SPLIT_COLOURS.items():
        line = rows[rows["split"].eq(split)].sort_values("epoch")
        if line.empty:
            continue
        looks = style.SPLIT_LINES[split] if metric != "lr" else "-"
        marker = "o" if len(line) <= 15 else None
        ax.plot(
            line["epoch"],
            line["value"],
            color=colour,
            linestyle=looks,
            marker=marker,
            markersize=2.5,
            label=split,
        )
        last = line["value"].iloc[-1]
        words.append(f"{split} {style.range_text(line['value'], 3)}, {last:.3f} at the end")
    if best_epoch is not None:
        ax.axvline(
            best_epoch, color=style.INK, linewidth=0.8, linestyle="-.", label=f"kept: epoch {best_epoch}"
        )
    ax.set(xlabel="epoch", ylabel=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    ax.margins(x=0.04)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    style.legend_outside(ax)
    style.describe(ax, f"{name} over {rows['epoch'].max()} epochs: {'; '.join(words)}.")
    return ax


@styled
def learning_curves_figure(history: pd.DataFrame, *, best_epoch: int | None = None) -> Figure:
    """Draw the losses of both tasks and the learning rate, in training and validation, over epochs."""
    return _panels(history, LOSSES, best_epoch, "no losses were recorded")


@styled
def validation_metrics_figure(history: pd.DataFrame, *, best_epoch: int | None = None) -> Figure:
    """Draw AUC, accuracy, F1, time MAE and the combined score over epochs, those that were recorded."""
    scored = history[history["split"].ne("train")]
    return _panels(scored, SCORES, best_epoch, "no validation metrics were recorded")


def _panels(history: pd.DataFrame, metrics: tuple[str, ...], best_epoch: int | None, empty: str) -> Figure:
    known = set(history.loc[history["value"].notna(), "metric"])
    drawn = [metric for metric in metrics if metric in known]
    n_columns = {2: 2, 4: 2}.get(len(drawn), min(len(drawn), 3) or 1)
    n_rows = -(-len(drawn) // n_columns) or 1
    fig = style.new_figure(style.PAGE_IN * max(n_columns, 2) / 3, 1.9 * n_rows + 0.3)
    if not drawn:
        style.nothing(fig.add_subplot(), empty)
        return fig
    handles: dict[str, Artist] = {}
    for number, metric in enumerate(drawn, start=1):
        ax = fig.add_subplot(n_rows, n_columns, number)
        learning_curve(history, metric=metric, best_epoch=best_epoch, ax=ax)
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
        lines, names = ax.get_legend_handles_labels()
        handles = dict(zip(names, lines, strict=True)) | handles
    fig.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles))
    return fig
