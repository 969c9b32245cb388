"""Figures made of frames: film strips, worst frames, grey levels over hours, attribution maps."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure

from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.style import Treatment, draw_stacks, styled
from hpiclock.format import count_text

# fmt: off
__all__ = [
    "attribution_figure", "film_strip_figure", "gallery_figure", "grey_level_over_hours",
    "grey_levels_figure",
]
# fmt: on

Images = npt.NDArray[np.uint8]
GREY_LEVELS = {"mean": "mean grey level (0–255)", "sd": "SD of grey levels (0–255)"}


@styled
def film_strip_figure(frames: pd.DataFrame, images: Images) -> Figure:
    """Draw frames as film strips: a row per stack, a column per hour, hours and hpi under each.

    Args:
        frames: one row per image (``stack_id well position condition moi hours hpi``).
        images: uint8, shape (n, height, width), in the order of ``frames``; shown from 0 to 255.

    Raises:
        InputError: not one image per row.
    """
    frames = _with_images(frames, images)
    if frames.empty:
        return style.empty_figure("no frames to show", style.COLUMN_IN, 1.2)
    frames = frames.assign(column=_columns(frames))
    strips = [part.sort_values("hours") for _, part in frames.groupby("stack_id", sort=False)]
    longest = int(frames["column"].max()) + 1
    side = min(LARGEST_IN, (style.PAGE_IN - 0.8) / longest)
    fig = style.new_figure(longest * side + 0.8, len(strips) * (side + 0.32))
    fig.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    panels = fig.subplots(len(strips), longest, squeeze=False)
    _draw_strips(panels, strips, images, _time_text, fontsize=7, labelpad=2)
    words = []
    for line, strip in zip(panels, strips, strict=True):
        name, treatment = style.place_text(strip.iloc[0]), Treatment.of(strip.iloc[0]).label
        line[0].set_ylabel(f"{name}\n{treatment}", fontsize=7)
        words.append(f"{name}, {treatment}, {style.range_text(strip['hours'])} h")
    return style.describe(fig, f"Film strips of {count_text(len(strips), 'stack')}: {'; '.join(words)}.")


@styled
def gallery_figure(rows: pd.DataFrame, images: Images, *, columns: int = 4) -> Figure:
    """Draw frames in the order given with what is known of each and what was predicted.

    Args:
        rows: one row per image (``well position condition moi hours hpi p_infected time_target time_pred``);
            missing numbers are left out of the caption; ``reason rank`` stand in it where they are given,
            and each reason begins a line.
        images: uint8, shape (n, height, width), in the order of ``rows``.
        columns: images side by side.

    Raises:
        InputError: not one image per row.
    """
    rows = _with_images(rows, images)
    if rows.empty:
        return style.empty_figure("no frames to show", style.COLUMN_IN, 1.2)
    reasons = rows["reason"] if "reason" in rows else pd.Series("", index=rows.index)
    place = rows.groupby(reasons, sort=False).cumcount()  # each reason begins a line
    rows = rows.assign(column=place % columns)
    strips = [part for _, part in rows.groupby([reasons, place // columns], sort=False)]
    n_columns = int(rows["column"].max()) + 1
    side = style.PAGE_IN / columns
    fig = style.new_figure(n_columns * side, len(strips) * (side + 0.62))
    panels = fig.subplots(len(strips), n_columns, squeeze=False)
    _draw_strips(panels, strips, images, _caption, width=1.6, fontsize=7, loc="left", labelpad=3)
    words = "; ".join(_caption(row).replace("\n", ", ") for strip in strips for row in strip.itertuples())
    return style.describe(fig, f"{count_text(len(rows), 'frame')} with their captions: {words}.")


def _columns(frames: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return (n,) the column of each frame: hours nearer than half a step of a strip share one."""
    steps = frames.sort_values("hours").groupby("stack_id")["hours"].diff()
    near = float(steps[steps > 0].min()) / 2 if (steps > 0).any() else 0.0
    starts: list[float] = []
    for hour in np.unique(frames["hours"].to_numpy(float)):
        if not starts or hour - starts[-1] > near:
            starts.append(float(hour))
    return np.searchsorted(np.array(starts), frames["hours"].to_numpy(float), side="right") - 1


def _with_images(rows: pd.DataFrame, images: Images) -> pd.DataFrame:
    if len(rows) != len(images) or (len(images) and images.ndim != 3):
        given = f"{len(rows)} rows and images of shape {images.shape}"
        raise InputError(f"{given}: give (n, height, width), one for each row")
    return rows.assign(image=np.arange(len(rows)))


def _draw_strips(
    panels: np.ndarray,
    strips: list[pd.DataFrame],
    images: Images,
    caption: Callable[[Any], str],
    width: float = 1.2,
    **label: Any,
) -> None:
    """Draw a row of pictures per strip, each in its ``column`` and framed in the colour of its treatment."""
    for line, strip in zip(panels, strips, strict=True):
        for ax in np.delete(line, strip["column"]):
            style.bare(ax)
        for ax, image, row in zip(
            line[strip["column"]], images[strip["image"]], strip.itertuples(), strict=True
        ):
            style.picture(ax, image, Treatment.of(row).colour, width)
            ax.set_xlabel(caption(row), **label)


def _time_text(row: Any) -> str:
    return " · ".join(filter(None, (f"{row.hours:g} h", style.hpi_text(row))))


def _caption(row: Any) -> str:
    """Return the caption of a frame: why it is shown, which it is, what was predicted."""
    why = [f"{row.rank}. {row.reason}"] if hasattr(row, "reason") else []
    which = f"{style.place_text(row)} · {Treatment.of(row).label} · {_time_text(row)}"
    return "\n".join([*why, which, *prediction_lines(row)])


def prediction_lines(row: Any) -> list[str]:
    """Return ``P(infected) 0.30``, ``predicted 10.0 h``, ``true 6.0 h (+4.0 h)`` of a frame, where known."""
    lines = []
    if np.isfinite(row.p_infected):
        lines.append(f"P(infected) {row.p_infected:.2f}")
    if np.isfinite(row.time_pred):
        lines.append(f"predicted {style.number(row.time_pred, 1)} h")
        if np.isfinite(row.time_target):
            error = style.number(row.time_pred - row.time_target, 1, signed=True)
            lines.append(f"true {style.number(row.time_target, 1)} h ({error} h)")
    return lines


@styled
def grey_level_over_hours(levels: pd.DataFrame, *, value: str, ax: Axes | None = None) -> Axes:
    """Draw a grey-level statistic over hours, a line per stack in the colour of its treatment.

    Args:
        levels: one row per frame (``stack_id condition moi hours`` and ``mean``, ``sd``).
        value: ``mean`` or ``sd`` (contrast).
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 2.4)
    if levels.empty:
        return style.empty(ax, "no frames, so no grey levels")
    words = draw_stacks(ax, levels, "hours", value)
    style.over_time(ax, GREY_LEVELS[value], levels[["hours"]], zero=True)
    return style.finish(ax, f"{GREY_LEVELS[value]} over hours, one line per stack: {words}.")


@styled
def grey_levels_figure(levels: pd.DataFrame) -> Figure:
    """Draw brightness (mean) and contrast (SD) of the frames over hours, one panel each."""
    fig = style.new_figure(style.PAGE_IN, 2.4)
    left, right = fig.subplots(1, 2)
    grey_level_over_hours(levels, value="mean", ax=left)
    grey_level_over_hours(levels, value="sd", ax=right)
    style.drop_legend(left)
    return fig


Maps = npt.NDArray[np.floating]
SCALES: dict[str, Colormap] = {  # blue and orange are the conditions, so time has colours of its own
    "class": LinearSegmentedColormap.from_list("class", [style.MOCK, "#F7F7F7", style.INFECTED]),
    "time": LinearSegmentedColormap.from_list("time", ["#1B7837", "#F7F7F7", "#762A83"]),
}
ENDS = {"class": ("for uninfected", "for infected"), "time": ("for fewer hours", "for more hours")}
LARGEST_IN = 1.4  # side of a picture
ACROSS = 5  # pictures of a condition; more would be too small to see cells in
SCALES_IN = 0.32  # height of the colour scales
STRONGEST = 99  # percentile of a head's maps that gets the full colour
COVER = 0.7  # opacity there


@styled
def attribution_figure(
    rows: pd.DataFrame, images: Images, maps: Mapping[str, Maps], *, method: str
) -> Figure:
    """Draw frames by condition and time, and below each the attribution map of every head.

    Of more than :data:`ACROSS` frames of a condition so many are drawn, spread over their order. One colour
    scale a head for all frames, so weak maps stay pale; zero is transparent.

    Args:
        rows: one row per image, in the order in which they stand side by side in their condition
            (``condition hours hpi p_infected time_pred``).
        images: uint8, (n, height, width).
        maps: by head, (n, height, width): positive speaks for infected, or for more hours.
        method: how the maps were made, in words.

    Raises:
        InputError: not one image and one map per row.
    """
    if any(len(rows) != len(found) for found in (images, *maps.values())):
        raise InputError(f"{len(rows)} rows: give one image and one map of each head for each of them")
    if not len(rows) or not maps:
        return style.empty_figure("this run keeps no maps of where its model looks")
    rows = rows.reset_index(drop=True)
    strips = [
        part.iloc[np.unique(np.linspace(0, len(part) - 1, ACROSS).round().astype(int))]
        for _, part in rows.groupby("condition", sort=False)
    ]
    columns, lines = max(map(len, strips)), 1 + len(maps)
    height = lines * min(LARGEST_IN, (style.PAGE_IN - 0.3) / columns) + 0.55
    fig = style.new_figure(style.PAGE_IN, len(strips) * height + SCALES_IN)
    fig.set_layout_engine("constrained", w_pad=0.01, h_pad=0.012, wspace=0, hspace=0)
    heights = [*[height] * len(strips), SCALES_IN]
    parts = fig.subfigures(len(strips) + 1, 1, height_ratios=heights, squeeze=False)[:, 0]
    strongest = {head: float(np.nanpercentile(np.abs(m), STRONGEST)) or 1.0 for head, m in maps.items()}
    words = []
    for strip, part in zip(strips, parts, strict=False):
        condition = str(strip["condition"].iloc[0])
        grid = part.subplots(lines, columns, squeeze=False)
        for ax in grid.ravel():
            style.bare(ax)
        grid[0, 0].set_ylabel(condition, fontweight="bold", fontsize=7)
        for ax, head in zip(grid[1:, 0], maps, strict=True):
            ax.set_ylabel(f"{head} head", fontsize=7)
        for column, (place, row) in zip(grid.T, strip.iterrows(), strict=False):
            style.picture(column[0], images[place], style.CONDITION_COLOURS[condition])
            time = style.hpi_text(row) or f"{row.hours:g} h"
            column[0].set_title(time, fontsize=7, loc="center", fontweight="normal", pad=2)
            for (head, found), ax in zip(maps.items(), column[1:], strict=True):
                style.picture(ax, images[place], style.PALE)
                overlay_map(ax, found[place], head, strongest[head], len(images[place]))
                ax.set_xlabel(_prediction_text(row, head), fontsize=7, labelpad=1.5)
        clock, unit = ("hpi", "hpi") if strip["hpi"].notna().any() else ("hours", "h")
        words.append(f"{condition} from {style.range_text(strip[clock])} {unit}")
    _draw_scales(parts[-1], list(maps))
    heads = " and the ".join(maps)
    text = (
        f"{sum(map(len, strips))} test frames with the {method} maps of the {heads} head: {'; '.join(words)}."
    )
    return style.describe(fig, text)


def overlay_map(ax: Axes, found: Maps, head: str, strongest: float, side: int) -> None:
    """Lay a map over a picture of this side, in the colours of its head; weaker is more transparent."""
    share = np.clip(np.nan_to_num(found) / strongest, -1, 1)
    colours = SCALES[head](share / 2 + 0.5)
    colours[..., 3] = COVER * np.abs(share)
    ax.imshow(colours, extent=(-0.5, side - 0.5, side - 0.5, -0.5), interpolation="bilinear")


def _prediction_text(row: Any, head: str) -> str:
    value = row.p_infected if head == "class" else row.time_pred
    if not np.isfinite(value):
        return "no prediction"
    return f"P {value:.2f}" if head == "class" else f"predicted {style.number(value, 1)} h"


def _draw_scales(part: SubFigure, heads: list[str]) -> None:
    for ax, head in zip(np.atleast_1d(part.subplots(1, len(heads))), heads, strict=True):
        ax.imshow(np.linspace(0, 1, 256)[None], cmap=SCALES[head], aspect="auto")
        ax.set(yticks=[], xlim=(-8, 263))
        ax.spines[:].set_visible(False)
        ax.set_xticks([0, 127.5, 255], [ENDS[head][0], f"{head} head", ENDS[head][1]])
        ax.tick_params(length=0, labelsize=7)
        for label, side in zip(ax.get_xticklabels(), ("left", "center", "right"), strict=True):
            label.set_horizontalalignment(side)
