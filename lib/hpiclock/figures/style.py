"""How every figure looks: sizes, units, colours of treatments, undefined values, alternative text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from itertools import groupby
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure, SubFigure

COLUMN_IN = 3.5  # one column of a journal page, inches
PAGE_IN = 7.2  # two columns
DPI = 200

# Okabe and Ito's colours, which stay apart for colour-blind readers (https://jfly.uni-koeln.de/color/).
INFECTED = "#D55E00"
MOCK = "#0072B2"
CONDITION_COLOURS = {"infected": INFECTED, "mock": MOCK}
SPLIT_COLOURS = {"train": "#8C8C8C", "val": "#CC79A7", "test": "#009E73"}
# Line styles and markers say the same once more, for prints without colour.
CONDITION_LINES = {"infected": "-", "mock": "--"}
CONDITION_MARKERS = {"infected": "o", "mock": "s"}
SPLIT_LINES = {"train": ":", "val": "--", "test": "-"}
TIME_AXES = {"hours": "time since imaging start (h)", "hpi": "time since onset (hpi, h)"}
INK = "#222222"
GREY = "#8C8C8C"
PALE = "#E6E6E6"
RC: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.4,
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a plot function under :data:`RC`, without touching the settings of the caller."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(RC):
            return function(*args, **kwargs)

    return inner


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return a figure that pyplot does not know of, so that it goes when its last reference goes."""
    return Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")


def axes_or_new(ax: Axes | None, width_in: float = COLUMN_IN, height_in: float = 2.6) -> Axes:
    """Return ``ax``, or the axes of a new figure of this size."""
    return new_figure(width_in, height_in).add_subplot() if ax is None else ax


def figure_of(drawn: Axes | Figure | SubFigure) -> Figure:
    """Return the figure that a plot function drew into."""
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes belong to no figure")
    return figure


def describe(drawn: Axes | Figure, text: str) -> None:
    """Attach the alternative text: what is drawn, in words, for those who do not see it."""
    drawn.set_label(text)


def alt_text(drawn: Axes | Figure) -> str:
    """Return the alternative text of a figure: its own, or that of its panels one after the other."""
    figure = figure_of(drawn)
    own = str(figure.get_label())
    panels = (str(ax.get_label()) for ax in figure.axes)
    return own or " ".join(text for text in panels if text and not text.startswith("<"))


def nothing(ax: Axes, why: str) -> Axes:
    """Say in empty axes why nothing is drawn."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=INK, wrap=True)
    describe(ax, f"Empty figure: {why}.")
    return ax


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on ``colour``."""
    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.58 else INK


def position(name: object) -> str:
    """Return ``p3`` for position 3, and a name that is more than a number as it is."""
    text = str(name)
    return f"p{text}" if text[:1].isdigit() else text


def natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key under which A2 comes before A10."""
    parts = re.findall(r"\d+|\D+", str(name))
    return tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part.lower()) for part in parts)


def legend_outside(ax: Axes, **options: Any) -> None:
    """Put the legend to the right of the axes, where it covers no data."""
    handles, labels = ax.get_legend_handles_labels()
    handles = options.pop("handles", handles)
    if handles:
        where: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
        ax.legend(handles=handles, labels=options.pop("labels", labels), **(where | options))


def plural(n: int, word: str) -> str:
    """Return ``1 stack``, ``2 stacks``."""
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def n_text(row: Any) -> str:
    """Return ``240 frames, 12 stacks, 6 wells`` from a row with ``n n_stacks n_wells``."""
    return ", ".join(
        [plural(int(row.n), "frame"), plural(int(row.n_stacks), "stack"), plural(int(row.n_wells), "well")]
    )


def number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """Return a number with a true minus sign, and a plus sign where ``signed``."""
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def interval_text(value: float, low: float, high: float, digits: int = 3) -> str:
    """Return ``0.912 (0.870 to 0.950)``; a missing interval or value is said, not hidden."""
    if not np.isfinite(value):
        return "undefined"
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{number(value, digits)} (no interval)"
    return f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def first_clause(note: object) -> str:
    """Return the first clause of a METRICS note: the reason, without the counts."""
    return str(note).split(";")[0]


def wrapped(text: str, width: int = 34) -> str:
    """Return the text in lines of at most this many characters."""
    return "\n".join(textwrap.wrap(text, width))


def range_text(values: Iterable[float], digits: int = 1) -> str:
    """Return ``0.0 to 48.0`` for the finite values, or ``no values``."""
    array = np.asarray(list(values), dtype=float)
    array = array[np.isfinite(array)]
    return f"{number(array.min(), digits)} to {number(array.max(), digits)}" if array.size else "no values"


def hour_ticks(ax: Axes, low: float, high: float) -> None:
    """Put x ticks every 3, 6, 12 or 24 h, as the span and the room ask for, and fix the range."""
    width_in = ax.get_window_extent().width / figure_of(ax).dpi
    most = 9 if width_in > 2.2 else 5
    span = max(high - low, 1e-9)
    step = next((s for s in (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96) if span / s < most), span)
    ax.set_xticks(np.arange(np.ceil(low / step - 1e-9) * step, high + step * 1e-6, step))
    ax.set_xlim(low - 0.02 * span, high + 0.02 * span)


# One shade per MOI whatever else stands in the table: 0.01 is pale, 1 the colour of infected, 10 dark.
_MOI_SHADES = LinearSegmentedColormap.from_list("moi", [(0, "#F9CDA8"), (2 / 3, INFECTED), (1, "#6E2A00")])


MANY = 40  # lines of one treatment; more are a smear


@dataclass(frozen=True)
class Treatment:
    """What was done to some wells: the condition and, if infected at a known one, the MOI."""

    condition: str
    moi: float | None

    @classmethod
    def of(cls, row: Any) -> Treatment:
        """Return the treatment of a row with ``condition`` and ``moi``; an MOI of mock has no meaning."""
        known = row.condition == "infected" and np.isfinite(row.moi)
        return cls(str(row.condition), float(row.moi) if known else None)

    @property
    def label(self) -> str:
        """Its name in legends."""
        return self.condition if self.moi is None else f"MOI {self.moi:g}"

    @property
    def colour(self) -> str:
        """Its colour: the same in every figure."""
        if self.moi is None:
            return CONDITION_COLOURS.get(self.condition, GREY)
        shade = (np.log10(max(self.moi, 1e-9)) + 2) / 3  # 0.01 -> 0, 10 -> 1
        return to_hex(_MOI_SHADES(float(np.clip(shade, 0, 1))))

    @property
    def line(self) -> dict[str, Any]:
        """Keywords for a line of this treatment."""
        return {"color": self.colour, "linestyle": CONDITION_LINES.get(self.condition, "-")}

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of ``table`` that had this treatment."""
        same = table["condition"].eq(self.condition)
        if self.condition == "infected":
            same &= table["moi"].isna() if self.moi is None else table["moi"].eq(self.moi)
        return table[same]


def treatments(table: pd.DataFrame) -> list[Treatment]:
    """Return the treatments in a table with ``condition`` and ``moi``: mock first, then MOI upwards."""
    kinds = table[["condition", "moi"]].drop_duplicates()
    found = {Treatment.of(row) for row in kinds.itertuples()}
    return sorted(found, key=lambda t: (t.condition != "mock", t.condition, -1 if t.moi is None else t.moi))


def draw_stacks(ax: Axes, rows: pd.DataFrame, x: str, y: str) -> str:
    """Draw ``y`` over ``x`` as a line per stack, one legend entry per treatment; return what was drawn.

    Of more than ``MANY`` stacks of a treatment every so manieth is drawn, and the legend says so.
    """
    words = []
    for had in treatments(rows):
        mine = had.rows(rows)
        names = np.unique(mine["stack_id"].to_numpy(str))
        shown = names[:: -(-len(names) // MANY)]
        some = "" if len(shown) == len(names) else f"{len(shown)} of "
        text = f"{had.label} ({some}{plural(len(names), 'stack')})"
        stacks = mine[mine["stack_id"].isin(shown)].groupby("stack_id")
        for number, (_, stack) in enumerate(stacks):
            stack = stack.sort_values(x)
            label = text if number == 0 else "_nolegend_"
            marker = CONDITION_MARKERS.get(had.condition, "o") if len(stack) == 1 else None
            ax.plot(stack[x], stack[y], marker=marker, linewidth=0.9, alpha=0.85, label=label, **had.line)
        words.append(f"{text} {range_text(mine[y], 2)}")
    return "; ".join(words)


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
        ax.axvspan(left, right, facecolor="none", edgecolor=GREY, hatch="////", alpha=0.5, linewidth=0)
        if words:
            ax.text(
                (left + right) / 2,
                0.5,
                why,
                rotation=90,
                ha="center",
                va="center",
                fontsize=6,
                transform=ax.get_xaxis_transform(),
                bbox={"fc": "white", "ec": "none", "pad": 1},
            )


def mark_undefined(ax: Axes, rows: pd.DataFrame, group: str, colour: str) -> None:
    """Put a cross at the bottom of each window in which this group is undefined and another one is not."""
    defined = rows.loc[rows["value"].notna(), "start_h"]
    mine = rows[rows["group"].eq(group) & rows["value"].isna() & rows["start_h"].isin(defined)]
    if len(mine):
        ax.plot(
            (mine["start_h"] + mine["end_h"]) / 2,
            np.full(len(mine), 0.03),
            "x",
            color=colour,
            transform=ax.get_xaxis_transform(),
            label=f"{group} undefined:\n{_reason(mine['note'].iloc[0])}",
        )


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
    return first_clause(note).rsplit(": ", 1)[-1] or "undefined"
