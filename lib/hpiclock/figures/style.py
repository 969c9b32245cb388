"""How every figure is drawn: sizes, colours of treatments, axes, bands, legends, undefined values, words."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from hpiclock import format
from hpiclock.format import count_text, first_clause, number_text, true_minus

RC: Any = mpl.rc_params_from_file(Path(__file__).with_name("figures.mplstyle"), use_default_template=False)
styled = mpl.rc_context(RC)  # decorates a plot function: it runs under RC, the caller's settings stay
COLUMN_IN = 3.5  # one column of a journal page, inches
PAGE_IN = 7.2  # two columns
MOST_TICKS = 5  # along one column
DPI = 200
SCREEN_DPI = 130  # pixels on a page for an inch on paper: PAGE_IN fills the column of a page

# Okabe and Ito's colours, which stay apart for colour-blind readers (https://jfly.uni-koeln.de/color/).
INFECTED = "#D55E00"
MOCK = "#0072B2"
CONDITION_COLOURS = {"infected": INFECTED, "mock": MOCK}
SPLIT_COLOURS = {"train": "#8C8C8C", "val": "#CC79A7", "test": "#009E73"}
# Line styles and markers repeat what colours tell, for prints without colour.
CONDITION_LINES = {"infected": "-", "mock": "--"}
CONDITION_MARKERS = {"infected": "o", "mock": "s"}
SPLIT_LINES = {"train": ":", "val": "--", "test": "-"}
TIME_AXES = {"hours": "time since imaging start (h)", "hpi": "time since onset (hpi, h)"}
INK = RC["text.color"]
GREY = "#8C8C8C"
PALE = "#E6E6E6"
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
SERIES_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
# Figures and axes


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return a figure that pyplot does not know of, so that it goes when its last reference goes."""
    return Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")


def panels(n: int, width_in: float, height_in: float, across: int = 3) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``n`` panels, at most ``across`` in a row."""
    across = max(min(n, across), 1)
    figure = new_figure(width_in, height_in)
    axes = list(figure.subplots(-(-n // across), across, squeeze=False).ravel())
    for ax in axes[n:]:
        ax.set_axis_off()
    return figure, axes[:n]


def new_axes(width_in: float = COLUMN_IN, height_in: float = 2.6) -> Axes:
    """Return the axes of a new figure of this size."""
    return new_figure(width_in, height_in).add_subplot()


def figure_of(drawn: Axes | Figure | SubFigure) -> Figure:
    """Return the figure that a plot function drew into."""
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes belong to no figure")
    return figure


def screen_width(figure: Figure) -> int:
    """Return the width in pixels at which a page shows a figure: all but narrow ones fill its column."""
    width_in = figure.get_figwidth()
    return round(SCREEN_DPI * (PAGE_IN if width_in > 0.6 * PAGE_IN else width_in))


def empty(ax: Axes, why: str) -> Axes:
    """Write into empty axes why nothing is drawn."""
    bare(ax)
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=INK, wrap=True)
    return describe(ax, f"Empty figure: {why}.")


def empty_figure(why: str, width_in: float = PAGE_IN, height_in: float = 0.8) -> Figure:
    """Return a figure that says why nothing is drawn."""
    figure = new_figure(width_in, height_in)
    with mpl.rc_context(RC):
        empty(figure.add_subplot(), why)
    return figure


def bare(ax: Axes) -> None:
    """Take ticks and frame away."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def inset_below(ax: Axes, at: float = -0.48, height: float = 0.24) -> Axes:
    """Return axes below ``ax`` that share its x axis and write its ticks."""
    ax.tick_params(labelbottom=False)
    ax.set_xlabel("")
    return ax.inset_axes((0, at, 1, height), sharex=ax)


def over_time(ax: Axes, y: str, hours: pd.DataFrame, clock: str = "hours", *, zero: bool = False) -> None:
    """Name the axes of something over time, and fit ticks and range to these hours, from 0 on where ``zero``.

    Args:
        ax: with time along x.
        y: the name of the y axis.
        hours: what is drawn; all columns of a table count.
        clock: ``hours`` since imaging start, or ``hpi``.
        zero: begin at 0 unless the hours begin earlier.
    """
    values = hours.to_numpy(dtype=float)
    low = float(np.nanmin(values))
    hour_ticks(ax, min(0.0, low) if zero else low, float(np.nanmax(values)))
    ax.set(xlabel=TIME_AXES[clock], ylabel=y)


def hour_ticks(ax: Axes, low: float, high: float) -> None:
    """Put x ticks every 3, 6, 12 or 24 h, as the span and the room allow, and fix the range."""
    width_in = ax.get_window_extent().width / figure_of(ax).dpi
    most = 9 if width_in > 2.2 else 5
    span = max(high - low, 1e-9)
    step = next((s for s in (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96) if span / s < most), span)
    ax.set_xticks(np.arange(np.ceil(low / step - 1e-9) * step, high + step * 1e-6, step))
    ax.set_xlim(low - 0.02 * span, high + 0.02 * span)


def row_axis(ax: Axes, names: Sequence[object]) -> None:
    """Give the y axis a row per name, the first on top."""
    ax.set_yticks(range(len(names)), [str(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)


def share_axis(ax: Axes, axes: str = "y") -> None:
    """Let an axis, or ``xy``, go from 0 to 1, with room for lines at its ends."""
    ax.set(**{f"{axis}lim": (-0.03, 1.03) for axis in axes})


# Lines, bands and points


def reference_line(ax: Axes, *, x: float | None = None, y: float | None = None, **options: Any) -> None:
    """Draw a thin dotted line at a value to compare with: chance, no error, no difference."""
    line: Any = {"color": GREY, "linewidth": 0.8, "linestyle": ":"} | options
    if y is not None:
        ax.axhline(y, **line)
    if x is not None:
        ax.axvline(x, **line)


def threshold_line(ax: Axes, threshold: float | None) -> None:
    """Draw the decision threshold where it is given."""
    if threshold is not None:
        line: Any = {"color": INK, "linewidth": 0.7, "linestyle": "-."}
        reference_line(ax, y=threshold, label=f"threshold {threshold:.3g}", **line)


def middles(rows: pd.DataFrame) -> np.ndarray:
    """Return the middle of each window ``start_h end_h``, in hours."""
    return ((rows["start_h"] + rows["end_h"]) / 2).to_numpy(dtype=float)


def band(ax: Axes, x: Any, low: Any, high: Any, colour: str, **options: Any) -> None:
    """Fill between two limits where both are known; a place without neighbours gets a line instead.

    Args:
        ax: where to draw.
        x: (n,) places.
        low: (n,) lower limits; NaN where unknown.
        high: (n,) upper limits.
        colour: of the band.
        options: ``label``, ``alpha``, ``step`` of :meth:`matplotlib.axes.Axes.fill_between`.
    """
    x, low, high = (np.asarray(values, dtype=float) for values in (x, low, high))
    known = np.isfinite(low + high)
    if known.any():
        area: Any = {"color": colour, "alpha": 0.18, "linewidth": 0} | options
        ax.fill_between(x, low, high, where=known, **area)
    padded = np.pad(known, 1)
    alone = known & ~(padded[:-2] | padded[2:])  # an area has no width at a single point
    if alone.any():
        ax.vlines(x[alone], low[alone], high[alone], color=colour, alpha=0.6)


def estimates(
    ax: Axes, rows: pd.DataFrame, y: Any, *, value: str, colour: str, marker: str = "o", filled: Any = True
) -> None:
    """Draw a point per row with its interval ``low high`` as a line along x; hollow where not ``filled``."""
    y, filled = np.asarray(y, dtype=float), np.broadcast_to(filled, len(rows))
    known = np.isfinite((rows["low"] + rows["high"]).to_numpy(dtype=float))
    ax.hlines(y[known], rows["low"][known], rows["high"][known], color=colour, linewidth=1.4, alpha=0.5)
    points(ax, rows[value], y, colour, marker, filled)


def points(ax: Axes, x: Any, y: Any, colour: str, marker: str, filled: Any) -> None:
    """Draw points, hollow where not ``filled``."""
    x, y, filled = np.asarray(x, dtype=float), np.asarray(y, dtype=float), np.asarray(filled, dtype=bool)
    for mask, face in ((filled, colour), (~filled, "white")):
        ax.plot(x[mask], y[mask], marker, color=colour, mfc=face)


def picture(ax: Axes, image: np.ndarray, colour: str, width: float = 1.2) -> Any:
    """Show an image from 0 to 255 in a frame of this colour; return its artist."""
    shown = ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=colour, linewidth=width)
    return shown


# Legends


def legend_outside(ax: Axes, **options: Any) -> None:
    """Put the legend to the right of the axes, where it covers no data."""
    handles = options.pop("handles", None) or ax.get_legend_handles_labels()[0]
    if handles:
        where: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
        ax.legend(handles=handles, **(where | options))


def legend_below(figure: Figure | SubFigure, *panels: Axes, **options: Any) -> None:
    """Put one legend under all panels, every entry of theirs once."""
    entries: dict[str, Any] = {}
    for ax in panels:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(str(label), handle)
    place: Any = {"loc": "outside lower center", "ncols": max(len(entries), 1)} | options
    figure.legend(list(entries.values()), list(entries), **place)


def in_one_column(figure: Figure) -> Figure | None:
    """Make a figure of one panel as wide as a column of a journal; None where there are several panels.

    Its lettering keeps its size: legends go below the panel, and every second tick and long names make room.
    """
    if len(figure.axes) != 1:
        return None
    parts = [figure.axes[0], *figure.axes[0].child_axes]
    keys: list[Any] = []
    texts: list[str] = []
    for ax in parts:
        if (legend := ax.get_legend()) is not None:
            if title := legend.get_title().get_text():
                keys, texts = [*keys, Line2D([], [], linestyle="")], [*texts, title]
            keys += legend.legend_handles
            texts += [text.get_text() for text in legend.texts]
            legend.remove()
        ax.set(xlabel=wrapped(ax.get_xlabel(), 40), ylabel=wrapped(ax.get_ylabel(), 28))
        if len(ax.get_xticks()) > MOST_TICKS and isinstance(ax.xaxis.get_major_locator(), FixedLocator):
            ax.set_xticks(ax.get_xticks()[::2])
    across = 1 if any(len(text) > 24 for text in texts) else 2
    lines = sum(1 + text.count("\n") for text in texts) / across
    figure.set_size_inches(COLUMN_IN, figure.get_figheight() + 0.17 * lines)
    if keys:
        options: Any = {"loc": "outside lower left", "ncols": across, "fontsize": RC["legend.fontsize"]}
        figure.legend(keys, texts, frameon=False, **options)
    return figure


def drop_legend(ax: Axes) -> None:
    """Remove the legend of axes, if they have one."""
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()


# Words


D = TypeVar("D", Axes, Figure)


def describe(drawn: D, text: str) -> D:
    """Attach the alternative text, what is drawn in words for those who do not see it; return the drawing."""
    drawn.set_label(text)
    return drawn


def finish(ax: Axes, text: str, **legend: Any) -> Axes:
    """Put the legend to the right of the axes, attach the alternative text and return the axes."""
    legend_outside(ax, **legend)
    return describe(ax, text)


def alt_text(drawn: Axes | Figure) -> str:
    """Return the alternative text of a figure: its own, or that of its panels one after the other."""
    figure = figure_of(drawn)
    own = str(figure.get_label())
    panels = (str(ax.get_label()) for ax in figure.axes)
    return own or " ".join(text for text in panels if text and not text.startswith("<"))


def text_colour(background: str) -> str:
    """Return white or ink, whichever reads better on this colour."""
    red, green, blue = to_rgb(background)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.58 else INK


def position_name(name: object) -> str:
    """Return ``p3`` for position 3, and a name that is more than a number as it is."""
    text = str(name)
    return f"p{text}" if text[:1].isdigit() else text


def place_text(row: Any) -> str:
    """Return ``B03 p1`` of a row with ``well position``."""
    return f"{row.well} {position_name(row.position)}".strip()


def natural_key(name: object) -> tuple[tuple[bool, int, str], ...]:
    """Sort key under which A2 comes before A10."""
    parts = re.findall(r"\d+|\D+", str(name))
    return tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part.lower()) for part in parts)


def hpi_text(frame: Any) -> str:
    """Return ``−2 hpi`` of a frame, or nothing where it has no onset."""
    return f"{frame.hpi:g} hpi".replace("-", "−") if np.isfinite(frame.hpi) else ""


def frames_text(rows: pd.DataFrame) -> str:
    """Return ``240 frames, 12 stacks`` of rows that are frames."""
    return f"{count_text(len(rows), 'frame')}, {count_text(rows['stack_id'].nunique(), 'stack')}"


def number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """Return a number with a true minus sign, and a plus sign where ``signed``."""
    return true_minus(number_text(value, digits, signed=signed))


def interval_text(value: float, low: float, high: float, digits: int = 3) -> str:
    """Return ``0.912 (0.870 to 0.950)``, ``0.912 (no interval)`` or ``undefined``, with true minus signs."""
    return true_minus(format.interval_text(value, low, high, digits))


def range_text(values: Iterable[float], digits: int = 1) -> str:
    """Return ``0.0 to 48.0`` for the finite values, or ``no values``, with true minus signs."""
    return true_minus(format.range_text(values, digits))


def wrapped(text: str, width: int = 34) -> str:
    """Return the text in lines of at most this many characters."""
    return "\n".join(textwrap.wrap(text, width))


def reason(note: object) -> str:
    """Return why a value is undefined: the first clause of a METRICS note, without the counts."""
    # "one class only: no infected frames" repeats itself in its second half
    return first_clause(note).rsplit(": ", 1)[-1] or "undefined"


# Treatments

# One shade per MOI whatever else stands in the table: 0.01 is pale, 1 the colour of infected, 10 dark.
_MOI_STEPS = [(0, "#FBDDC2"), (0.5, "#EFA05A"), (2 / 3, INFECTED), (0.9, "#7A3000"), (1, "#4A1C00")]
_MOI_SHADES = LinearSegmentedColormap.from_list("moi", _MOI_STEPS)
MANY = 40  # lines of one treatment; more cannot be told apart
RASTERIZED = 2000  # points; more vector points make a PDF slow


@dataclass(frozen=True)
class Treatment:
    """The condition of some wells and, if infected at a known one, the MOI."""

    condition: str
    moi: float | None

    @classmethod
    def of(cls, row: Any) -> Self:
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

    @property
    def marker(self) -> str:
        """Its marker: that of its condition."""
        return CONDITION_MARKERS.get(self.condition, "o")

    def mask(self, table: pd.DataFrame) -> np.ndarray:
        """Return (n,) whether each row of ``table`` had this treatment."""
        same = table["condition"].eq(self.condition)
        if self.condition == "infected":
            same &= table["moi"].isna() if self.moi is None else table["moi"].eq(self.moi)
        return same.to_numpy(dtype=bool)

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of ``table`` that had this treatment."""
        return table[self.mask(table)]


CONDITIONS = {condition: Treatment(condition, None) for condition in CONDITION_COLOURS}


def treatments(table: pd.DataFrame) -> list[Treatment]:
    """Return the treatments in a table with ``condition`` and ``moi``: mock first, then MOI upwards."""
    kinds = table[["condition", "moi"]].drop_duplicates()
    found = {Treatment.of(row) for row in kinds.itertuples()}
    return sorted(found, key=lambda t: (t.condition != "mock", t.condition, -1 if t.moi is None else t.moi))


def draw_stacks(ax: Axes, rows: pd.DataFrame, x: str, y: str) -> str:
    """Draw ``y`` over ``x`` as a line per stack, one legend entry per treatment; return it in words.

    Of more than ``MANY`` stacks of a treatment every so manieth is drawn, and the legend says so.
    """
    import seaborn as sns

    entries, parts, words = {}, [], []
    for treatment in treatments(rows):
        part = treatment.rows(rows)
        stacks = np.unique(part["stack_id"].to_numpy(str))
        shown = stacks[:: -(-len(stacks) // MANY)]
        some = "" if len(shown) == len(stacks) else f"{len(shown)} of "
        text = f"{treatment.label} ({some}{count_text(len(stacks), 'stack')})"
        entries[text] = treatment
        parts.append(part[part["stack_id"].isin(shown)].assign(treatment=text))
        words.append(f"{text} {range_text(part[y], 2)}")
    drawn = pd.concat(parts, ignore_index=True)
    alone = not drawn["stack_id"].duplicated().any()  # a line of one frame would not be seen
    options: Any = {"linewidth": 0.9, "alpha": 0.85, "marker": "o" if alone else None}
    dashes = {text: (3.7, 1.6) if t.line["linestyle"] == "--" else "" for text, t in entries.items()}
    options |= _coloured(entries) | {"dashes": dashes}
    sns.lineplot(drawn, x=x, y=y, units="stack_id", estimator=None, ax=ax, **options)
    return "; ".join(words)


def draw_frames(ax: Axes, rows: pd.DataFrame, x: pd.Series, y: pd.Series) -> None:
    """Draw a point per frame at ``x y``, in the colour and marker of its treatment."""
    import seaborn as sns

    texts, entries = np.empty(len(rows), dtype=object), {}
    for treatment in treatments(rows):
        text = f"{treatment.label} ({count_text(treatment.rows(rows)['stack_id'].nunique(), 'stack')})"
        texts[treatment.mask(rows)] = text
        entries[text] = treatment
    table = pd.DataFrame({"x": x, "y": y, "treatment": texts})
    options: Any = {"s": 4, "alpha": 0.6, "linewidth": 0, "rasterized": len(rows) > RASTERIZED}
    options |= _coloured(entries) | {"markers": {text: t.marker for text, t in entries.items()}}
    sns.scatterplot(table, x="x", y="y", ax=ax, **options)


def _coloured(entries: dict[str, Treatment]) -> dict[str, Any]:
    """Return seaborn's keywords for lines or points by a column ``treatment`` that holds these entries."""
    palette = {text: treatment.colour for text, treatment in entries.items()}
    names = {"hue": "treatment", "style": "treatment", "palette": palette}
    return names | {"hue_order": list(entries), "style_order": list(entries)}


# Windows in which a value is undefined


def hatch_undefined(ax: Axes, rows: pd.DataFrame, *, words: bool) -> None:
    """Hatch the windows in which no group has a value; neighbours with the same reason share the words.

    Args:
        ax: with time in hours along x.
        rows: METRICS rows of one metric with ``start_h end_h value note``.
        words: write the reason into the hatched stretch.
    """
    windows = rows.groupby(["start_h", "end_h"]).agg(known=("value", "count"), note=("note", "first"))
    middle = [(start + end) / 2 for start, end in windows.index]
    half = float(np.diff(middle).min()) / 2 if len(middle) > 1 else 0.5
    marked = zip(middle, windows["known"] > 0, windows["note"].map(reason), strict=True)
    for (known, why), run in groupby(marked, key=lambda item: item[1:]):
        if known:
            continue
        at = [middle for middle, *_ in run]
        left, right = at[0] - half, at[-1] + half
        ax.axvspan(left, right, facecolor="none", edgecolor=GREY, hatch="////", alpha=0.5, linewidth=0)
        if words:
            box = {"fc": "white", "ec": "none", "pad": 1}
            place: Any = {"ha": "center", "va": "center", "transform": ax.get_xaxis_transform()}
            ax.text((left + right) / 2, 0.5, why, rotation=90, fontsize=7, bbox=box, **place)


def mark_undefined(ax: Axes, rows: pd.DataFrame, group: str, colour: str) -> None:
    """Put a cross at the bottom of each window in which this group is undefined and another one is not."""
    defined = rows.loc[rows["value"].notna(), "start_h"]
    lost = rows[rows["group"].eq(group) & rows["value"].isna() & rows["start_h"].isin(defined)]
    if len(lost):
        at: Any = {"color": colour, "transform": ax.get_xaxis_transform()}
        label = f"{group} undefined:\n{reason(lost['note'].iloc[0])}"
        ax.plot(middles(lost), np.full(len(lost), 0.03), "x", label=label, **at)


def undefined_text(rows: pd.DataFrame) -> str:
    """Return `` Undefined: 3, 6, 9 h no infected frames.``, or nothing where every value is known."""
    reasons = undefined_reasons(rows)
    return f" Undefined: {'; '.join(reasons)}." if reasons else ""


def undefined_reasons(rows: pd.DataFrame) -> list[str]:
    """Return ``3, 6, 9 h no infected frames`` for every reason why a value of ``rows`` is undefined."""
    lost = rows[rows["value"].isna()]
    texts = []
    for why, at in pd.Series(middles(lost)).groupby(lost["note"].map(reason).to_numpy(), sort=False):
        hours = sorted(set(at))
        few = ", ".join(f"{hour:g}" for hour in hours)
        span = f"{len(hours)} windows from {hours[0]:g} to {hours[-1]:g}"
        texts.append(f"{few if len(hours) <= 4 else span} h {why}")
    return texts
