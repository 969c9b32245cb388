"""How the training went: losses and validation metrics per epoch."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled

LABELS = {
    "loss": "loss (weighted sum)",
    "class_loss": "class loss (cross-entropy)",
    "time_loss": "time loss (smooth L1)",
    "lr": "learning rate",
    "auc": "AUC",
    "accuracy": "accuracy",
    "f1": "F1",
    "mae": "time MAE (h)",
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
            line["epoch"], line["value"], color=colour, linestyle=looks, marker=marker, markersize=2.5,
            label=split,
        )  # fmt: skip
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
