"""How every figure looks: colours fixed once, sizes of a journal column, units, and the alternative text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
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
