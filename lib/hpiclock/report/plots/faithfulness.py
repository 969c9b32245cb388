"""Whether maps of where a model looks can be believed: other weights, other labels, deleted tiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled

RANDOM = "random order"
METHOD_COLOURS = {"Grad-CAM": style.INK, "integrated gradients": "#009E73", "saliency": "#CC79A7",
                  RANDOM: style.GREY}  # fmt: skip
METHOD_MARKERS = {"Grad-CAM": "o", "integrated gradients": "s", "saliency": "^", RANDOM: "x"}
LEFT = {"class": "P of the class it had called", "time": "moved the time by (h)"}
SHUFFLED = "labels\nshuffled"


@styled
def faithfulness_figure(checks: pd.DataFrame, deletion: pd.DataFrame) -> Figure:
    """Draw how alike the maps of other models are, and what deleting by the maps does, a panel a head.

    Args:
        checks: ``check head method depth value low high`` as :mod:`hpiclock.report.explaining` keeps them.
        deletion: ``head method removed value low high``.
    """
    heads = list(dict.fromkeys(checks["head"])) if len(checks) else []
    if not heads:
        fig = style.new_figure(style.PAGE_IN, 0.8)
        style.nothing(fig.add_subplot(), "this run keeps no maps of where its model looks")
        return fig
    fig = style.new_figure(style.PAGE_IN, 2.3 * len(heads) + 0.3)
    panels = fig.subplots(len(heads), 2, squeeze=False, width_ratios=(1.25, 1))
    words = []
    for (left, right), head in zip(panels, heads, strict=True):
        words.append(_alike(left, checks[checks["head"].eq(head)], head))
        words.append(_deleted(right, deletion[deletion["head"].eq(head)], head))
    entries = dict(zip(*reversed(panels[0, 1].get_legend_handles_labels()), strict=True))
    fig.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries))
    style.describe(fig, " ".join(words))
    return fig


def _alike(ax: Axes, checks: pd.DataFrame, head: str) -> str:
    drawn, shuffled = (checks[checks["check"].eq(name)] for name in ("weights drawn anew", "labels shuffled"))
    depths = list(dict.fromkeys(drawn["depth"]))
    ax.axhline(0, color=style.GREY, linewidth=0.8, linestyle=":")
    ticks = [*range(len(depths)), *([len(depths)] if len(shuffled) else [])]
    for number, method in enumerate(dict.fromkeys(checks["method"])):
        shift = 0.12 * (number - 1)
        rows = drawn[drawn["method"].eq(method)]
        x = rows["depth"].map(depths.index).to_numpy(float) + shift
        _line(ax, x, rows, method, joined=True)
        other = shuffled[shuffled["method"].eq(method)]
        _line(ax, np.full(len(other), len(depths) + shift), other, method, joined=False)
    if len(shuffled):
        ax.axvline(len(depths) - 0.5, color=style.PALE, linewidth=0.8)
    names = [style.wrapped(depth, 10) for depth in depths]
    ax.set_xticks(ticks, [*names, *([SHUFFLED] if len(shuffled) else [])], fontsize=6)
    both = pd.concat([drawn, shuffled])
    least = float(both[["value", "low"]].min(axis=None)) if len(both) else 0.0
    ax.set(ylim=(min(-0.35, least), 1.05), ylabel="rank correlation of maps")
    ax.set_title(f"{head} head: how alike are maps of another model?", fontsize=7.5)
    last = drawn[drawn["depth"].eq(depths[-1])] if depths else drawn
    values = ", ".join(f"{row.method} {style.number(row.value)}" for row in last.itertuples())
    return (
        f"{head} head, rank correlation with the maps of a model whose weights are all drawn anew: {values}."
    )


def _deleted(ax: Axes, deletion: pd.DataFrame, head: str) -> str:
    for method in dict.fromkeys(deletion["method"]):
        rows = deletion[deletion["method"].eq(method)]
        _line(ax, rows["removed"].to_numpy(float) * 100, rows, method, joined=True)
    ax.set(xlabel="deleted (% of the picture)", ylabel=LEFT[head])
    if head == "class":
        ax.set_ylim(0, 1.03)
    else:
        ax.set_ylim(bottom=0)
    ax.set_title(f"{head} head: most important tiles deleted first", fontsize=7.5)
    end = deletion[np.isclose(deletion["removed"], deletion["removed"].max())]
    values = ", ".join(f"{row.method} {style.number(row.value)}" for row in end.itertuples())
    return f"{head} head, {LEFT[head]} with {end['removed'].max():.0%} deleted: {values}."


def _line(ax: Axes, x: np.ndarray, rows: pd.DataFrame, method: str, *, joined: bool) -> None:
    colour, value = METHOD_COLOURS[method], rows["value"].to_numpy(float)
    ax.plot(x, value, marker=METHOD_MARKERS[method], color=colour, linewidth=1.2 if joined else 0,
            linestyle=":" if method == RANDOM else "-", label=method)  # fmt: skip
    ax.vlines(x, rows["low"].to_numpy(float), rows["high"].to_numpy(float), color=colour, alpha=0.4)
