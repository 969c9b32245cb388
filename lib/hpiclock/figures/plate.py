"""What was done to the plate, drawn as the plate."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch

from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.style import Treatment, styled, treatments
from hpiclock.wells import letters, parse_well, plate_format


@styled
def plate_map(manifest: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw one plate: a circle per well, coloured by condition and MOI, with onset and positions.

    The format is the smallest usual plate that holds all wells. Wells whose names say no place
    (not like ``B03``) are laid out in the order of their names.

    Args:
        manifest: stacks of one plate (``well condition moi onset_h``).
        ax: where to draw; a new figure by default.

    Raises:
        InputError: stacks of several plates; use :func:`plate_map_figure`.
    """
    if manifest.empty:
        return style.nothing(style.axes_or_new(ax), "no stacks, so no plate map")
    if len(manifest["plate"].unique()) > 1:
        raise InputError("plate_map draws one plate and got several; use plate_map_figure")
    wells = manifest.drop_duplicates("well").set_index("well")
    positions = manifest.groupby("well").size()
    places, (n_rows, n_columns), named = layout_of(list(wells.index))
    ax = style.axes_or_new(ax, *_plate_size(n_rows, n_columns))
    for row in range(n_rows):
        for column in range(n_columns):
            ax.add_patch(Circle((column, row), 0.44, facecolor="none", edgecolor=style.PALE, linewidth=0.6))
    for well, (row, column) in places.items():
        had = Treatment.of(wells.loc[well])
        ax.add_patch(Circle((column, row), 0.44, facecolor=had.colour, edgecolor="none", label=str(well)))
        text = _well_text(str(well), had, float(wells.at[well, "onset_h"]), int(positions[well]), n_columns)
        if n_columns <= 12:  # on denser plates no word fits into a well
            ax.text(column, row, text, ha="center", va="center", fontsize=5.5, color=style.ink_on(had.colour))
    _plate_frame(ax, n_rows, n_columns, named)
    _treatment_legend(ax, manifest, n_columns)
    style.describe(ax, _plate_words(manifest, n_rows * n_columns))
    return ax


@styled
def plate_map_figure(manifest: pd.DataFrame) -> Figure:
    """Draw the plate map of every plate, one panel each."""
    plates = sorted(manifest["plate"].unique(), key=style.natural)
    sizes = [
        _plate_size(*layout_of(list(part["well"].unique()))[1])
        for part in (manifest[manifest["plate"].eq(p)] for p in plates)
    ]
    fig = style.new_figure(max(w for w, _ in sizes) if sizes else 3.5, sum(h for _, h in sizes) or 2)
    if not plates:
        style.nothing(fig.add_subplot(), "no stacks, so no plate map")
        return fig
    grid = fig.add_gridspec(len(plates), 1, height_ratios=[height for _, height in sizes])
    for row, plate in enumerate(plates):
        ax = fig.add_subplot(grid[row])
        plate_map(manifest[manifest["plate"].eq(plate)], ax=ax)
        ax.set_title(f"Plate {plate}" if plate else "Plate without a name", pad=10)
    return fig


def layout_of(wells: list[str]) -> tuple[dict[str, tuple[int, int]], tuple[int, int], bool]:
    """Return ``well -> (row, column)``, the plate's rows and columns, and whether the names say the place."""
    named = {well: place for well in wells if (place := parse_well(str(well))) is not None}
    size = plate_format(named.values())
    if len(named) == len(set(wells)) and size is not None:
        return named, size, True
    ordered = sorted(wells, key=style.natural)
    n_columns = min(len(ordered), 8)
    places = {well: divmod(i, n_columns) for i, well in enumerate(ordered)}
    return places, (-(-len(ordered) // n_columns), n_columns), False


def _plate_size(n_rows: int, n_columns: int) -> tuple[float, float]:
    cell = 0.72 if n_columns <= 6 else 0.56 if n_columns <= 8 else 0.5 if n_columns <= 12 else 5.6 / n_columns
    return max(n_columns * cell + 1.6, 2.8), max(n_rows * cell + 0.4, 1.4)


def _well_text(well: str, had: Treatment, onset_h: float, positions: int, n_columns: int) -> str:
    onset = (
        f"{onset_h:g}{' h' if n_columns <= 8 else ''}"
        if had.condition == "infected" and np.isfinite(onset_h)
        else ""
    )
    if n_columns > 8:
        return onset
    lines = (well, had.label, f"onset {onset}" if onset else "", f"{positions} pos.")
    return "\n".join(dict.fromkeys(line for line in lines if line))  # a well may be called mock


def _plate_frame(ax: Axes, n_rows: int, n_columns: int, named: bool) -> None:
    ax.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
    ax.set_aspect("equal", anchor="NW")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    if not named:
        ax.set(xticks=[], yticks=[], xlabel="wells in the order of their names, which say no place")
        return
    step = 1 if n_columns <= 24 else 4
    ax.set_xticks(range(0, n_columns, step), [str(i + 1) for i in range(0, n_columns, step)])
    ax.set_yticks(range(0, n_rows, step), [letters(i) for i in range(0, n_rows, step)])


def _treatment_legend(ax: Axes, manifest: pd.DataFrame, n_columns: int) -> None:
    handles = [
        Patch(
            color=had.colour,
            label=f"{had.label} ({style.plural(had.rows(manifest)['well'].nunique(), 'well')})",
        )
        for had in treatments(manifest)
    ]
    title = "in the well: onset\n(h after start)" if 8 < n_columns <= 12 else None
    style.legend_outside(ax, handles=handles, labels=[str(h.get_label()) for h in handles], title=title)


def _plate_words(manifest: pd.DataFrame, size: int) -> str:
    parts = [
        f"{had.label} in {', '.join(sorted(had.rows(manifest)['well'].unique(), key=style.natural))}"
        for had in treatments(manifest)
    ]
    onsets = manifest.loc[manifest["condition"].eq("infected"), "onset_h"]
    onset = f" Onsets of infected wells: {style.range_text(onsets)} h after start." if len(onsets) else ""
    return f"Plate map with {size} places: {'; '.join(parts)}.{onset}"
