"""A plate drawn as the plate: treatments, values of wells, curves; and treatments side by side."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, Rectangle

from hpiclock.analysis.dose_response import with_controls
from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.style import Treatment, natural_key, styled, treatments
from hpiclock.format import count_text
from hpiclock.tables import n_wells
from hpiclock.wells import letters, parse_well, plate_format

# fmt: off
__all__ = [
    "dose_response", "plate_heat_map", "plate_map", "plate_map_figure", "treatment_curves",
    "well_grid_figure", "wells_by_treatment",
]
# fmt: on

QUANTITIES = {
    "p_infected": "P(infected)",
    "called": "fields called infected (share)",
    "infected_share": "fields called infected (share)",
    "time_pred": "predicted time (h)",
    "detected_h": "detected by (h since imaging start)",
    "detected_hpi": "detected by (hpi, h)",
}
_LINES = ("-", "--", "-.", ":")
MOST_DOSES = 8  # each of which has its number on the axis
MOST_CURVES = 24  # columns of a plate in which a curve can still be seen


@styled
def plate_map(manifest: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw one plate: a circle per well, coloured by condition and MOI, with its onset.

    The format is the smallest usual plate that holds all wells. Wells whose names tell no place
    (not like ``B03``) are laid out in the order of their names.

    Args:
        manifest: stacks of one plate (``well condition moi onset_h``).
        ax: where to draw; a new figure by default.

    Raises:
        InputError: stacks of several plates; use :func:`plate_map_figure`.
    """
    if manifest.empty:
        return style.empty(ax or style.new_axes(), "no stacks, so no plate map")
    if len(manifest["plate"].unique()) > 1:
        raise InputError("plate_map draws one plate and got several; use plate_map_figure")
    wells = manifest.drop_duplicates("well").set_index("well")
    places, (n_rows, n_columns), named = layout_of(list(wells.index))
    ax = ax or style.new_axes(*_plate_size(n_rows, n_columns))
    for row, column in np.ndindex(n_rows, n_columns):
        ax.add_patch(Circle((column, row), 0.44, facecolor="none", edgecolor=style.PALE, linewidth=0.6))
    for well, (row, column) in places.items():
        colour = Treatment.of(wells.loc[well]).colour
        ax.add_patch(Circle((column, row), 0.44, facecolor=colour, edgecolor="none", label=str(well)))
        if n_columns <= 12:  # on denser plates no word fits into a well
            text, ink = _well_text(wells.loc[well], n_columns), style.text_colour(colour)
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color=ink)
    ax.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
    ax.set_aspect("equal", anchor="NW")
    ax.spines[:].set_visible(False)
    step = 1 if n_columns <= 24 else 4
    ax.set_xticks(range(0, n_columns, step), [str(i + 1) for i in range(0, n_columns, step)])
    ax.set_yticks(range(0, n_rows, step), [letters(i) for i in range(0, n_rows, step)])
    _plate_labels(ax, named)
    counts = {had: _counts(had.rows(manifest)) for had in treatments(manifest)}
    handles = [Patch(color=had.colour, label=f"{had.label} ({n})") for had, n in counts.items()]
    title = (
        "in the well: onset\n(h after start)" if n_columns <= 12 and wells["onset_h"].notna().any() else None
    )
    return style.finish(ax, _plate_words(manifest, n_rows * n_columns), handles=handles, title=title)


@styled
def plate_map_figure(manifest: pd.DataFrame) -> Figure:
    """Draw the plate map of every plate, one panel each."""
    parts = {plate: manifest[manifest["plate"].eq(plate)] for plate in manifest["plate"].unique()}
    if not parts:
        return style.empty_figure("no stacks, so no plate map", style.COLUMN_IN, 2)
    plates = sorted(parts, key=natural_key)
    sizes = [_plate_size(*layout_of(list(parts[plate]["well"].unique()))[1]) for plate in plates]
    widths, heights = zip(*sizes, strict=True)
    fig = style.new_figure(max(widths), sum(heights))
    panels = fig.subplots(len(plates), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, plate in zip(panels, plates, strict=True):
        plate_map(parts[plate], ax=ax)
        ax.set_title(f"Plate {plate}" if plate else "Plate without a name", pad=10)
    return fig


def layout_of(wells: list[str]) -> tuple[dict[str, tuple[int, int]], tuple[int, int], bool]:
    """Return ``well -> (row, column)``, the plate's rows and columns, and whether names tell the place."""
    named = {well: place for well in wells if (place := parse_well(str(well))) is not None}
    size = plate_format(named.values())
    if len(named) == len(set(wells)) and size is not None:
        return named, size, True
    ordered = sorted(wells, key=natural_key)
    n_columns = min(len(ordered), 8)
    places = {well: divmod(i, n_columns) for i, well in enumerate(ordered)}
    return places, (-(-len(ordered) // n_columns), n_columns), False


def _plate_size(n_rows: int, n_columns: int) -> tuple[float, float]:
    cell = 0.72 if n_columns <= 6 else 0.56 if n_columns <= 8 else 0.5 if n_columns <= 12 else 5.6 / n_columns
    return max(n_columns * cell + 1.6, 2.8), max(n_rows * cell + 0.4, 1.4)


def _plate_labels(ax: Axes, named: bool) -> None:
    """Put the columns on top, or tell that the wells have no place."""
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, labelrotation=0)
    if not named:
        ax.set(xticks=[], yticks=[], xlabel="wells in the order of their names, which tell no place")


def _well_text(well: Any, n_columns: int) -> str:
    onset = f"{well.onset_h:g}" if well.condition == "infected" and np.isfinite(well.onset_h) else ""
    if n_columns > 8:
        return onset
    lines = (str(well.name), Treatment.of(well).label, onset and f"{onset} h")
    return "\n".join(dict.fromkeys(line for line in lines if line))  # a well may be called mock


def _counts(stacks: pd.DataFrame) -> str:
    wells, fields = n_wells(stacks), len(stacks)
    return count_text(wells, "well") + (f", {count_text(fields, 'field')}" if fields != wells else "")


def _plate_words(manifest: pd.DataFrame, size: int) -> str:
    wells = {had.label: had.rows(manifest)["well"].unique() for had in treatments(manifest)}
    parts = "; ".join(f"{label} in {', '.join(sorted(of, key=natural_key))}" for label, of in wells.items())
    onsets = manifest.loc[manifest["condition"].eq("infected"), "onset_h"]
    onset = f" Onsets of infected wells: {style.range_text(onsets)} h after start." if len(onsets) else ""
    return f"Plate map with {size} places: {parts}.{onset}"


def treatment_styles(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return colour and line of each treatment: those of its condition and MOI where these tell all apart.

    Compounds and doses get colours in their order, as they share a condition.

    Args:
        table: rows with ``treatment order condition moi``.
    """
    kinds = table.drop_duplicates("treatment").sort_values("order")
    if not kinds.duplicated(["condition", "moi"]).any():
        return {row.treatment: Treatment.of(row).line for row in kinds.itertuples()}
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(kinds)))
    return {
        name: {"color": to_hex(shade), "linestyle": _LINES[i % len(_LINES)]}
        for i, (name, shade) in enumerate(zip(kinds["treatment"], shades, strict=True))
    }


def _palette(styles: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return seaborn's keywords for points by treatment."""
    colours = {name: line["color"] for name, line in styles.items()}
    return {"hue": "treatment", "palette": colours, "legend": False}


@styled
def treatment_curves(
    curves: pd.DataFrame,
    *,
    quantity: str,
    level: float,
    threshold: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a quantity over hours, a line per treatment with its band over wells.

    Args:
        curves: from :func:`hpiclock.analysis.plate_readout.treatment_curves`.
        quantity: one of its quantities.
        level: of the bands.
        threshold: drawn where it is given.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 2.8)
    rows = curves[curves["quantity"].eq(quantity) & curves["value"].notna()]
    if rows.empty:
        return style.empty(ax, f"no {QUANTITIES[quantity]} in these predictions")
    words = []
    for name, line in treatment_styles(rows).items():
        part = rows[rows["treatment"].eq(name)].sort_values("hours")
        text = f"{name} ({count_text(int(part['n_wells'].max()), 'well')})"
        ax.plot(part["hours"], part["value"], label=text, **line)
        style.band(ax, part["hours"], part["low"], part["high"], line["color"], alpha=0.15)
        words.append(f"{text} from {part['value'].iloc[0]:.2f} to {part['value'].iloc[-1]:.2f}")
    style.threshold_line(ax, threshold)
    if quantity != "time_pred":
        style.share_axis(ax)
    style.over_time(ax, QUANTITIES[quantity], rows[["hours"]])
    text = f"{QUANTITIES[quantity]} over hours since start per treatment. {'; '.join(words)}."
    return style.finish(ax, text, title=f"band: {level:.0%} over wells")


@styled
def wells_by_treatment(wells: pd.DataFrame, *, value: str, ax: Axes | None = None) -> Axes:
    """Draw a value of every well beside its treatment, with the mean of each treatment.

    Of a time to detection, wells that were not detected stand as open triangles at their last hour.

    Args:
        wells: from :func:`hpiclock.analysis.plate_readout.readout_by_well`.
        value: its column.
        ax: where to draw; a new figure by default.
    """
    import seaborn as sns

    if value == "detected_hpi":  # others have no such time
        wells = wells[wells["onset_h"].notna()]
    styles = treatment_styles(wells)
    ax = ax or style.new_axes(style.PAGE_IN, 0.6 + 0.3 * max(len(styles), 2))
    if wells[value].isna().all():
        return style.empty(ax, f"no well has a value of: {QUANTITIES[value]}")
    rows: Any = {"y": "treatment", "order": list(styles), "ax": ax}
    mean: Any = rows | {"errorbar": None, "linestyle": "none", "marker": "|", "markersize": 14}
    sns.pointplot(wells, x=value, color=style.INK, **mean)
    dots: Any = rows | {"warn_thresh": 1}  # crowded points may overlap
    sns.swarmplot(wells, x=value, size=4.5, alpha=0.85, **dots, **_palette(styles))
    lost = wells[wells[value].isna()] if value.startswith("detected") else wells.head(0)
    if len(lost):
        since = lost["onset_h"].fillna(0.0) if value == "detected_hpi" else 0.0
        hollow: Any = {"marker": ">", "color": "white", "edgecolor": style.GREY, "linewidth": 0.8}
        sns.swarmplot(lost.assign(at=lost["last_h"] - since), x="at", size=4, **hollow, **dots)
        ax.plot([], [], ">", mfc="white", color=style.GREY, label="not detected until then")
    ax.plot([], [], "|", color=style.INK, markersize=8, label="mean of the wells with a value")
    style.row_axis(ax, list(styles))
    ax.set(xlabel=QUANTITIES[value], ylabel="")
    style.legend_outside(ax)
    words = []
    for name in styles:
        part = wells.loc[wells["treatment"].eq(name), value]
        n_lost = int(lost["treatment"].eq(name).sum())
        words.append(f"{name}: mean {part.mean():.2f}" if part.notna().any() else name)
        words[-1] += f", {n_lost} of {len(part)} wells not detected" if n_lost else ""
    return style.describe(ax, f"{QUANTITIES[value]} of every well. {'; '.join(words)}.")


@styled
def dose_response(
    wells: pd.DataFrame,
    curve: pd.DataFrame,
    fit: dict[str, Any],
    *,
    unit: str,
    level: float,
    ax: Axes | None = None,
) -> Axes:
    """Draw a response of every well over its dose, the mean of the controls, the fitted curve and its EC50.

    Args:
        wells: from :func:`hpiclock.analysis.plate_readout.readout_by_well`.
        curve: ``dose value`` of :func:`hpiclock.analysis.dose_response.dose_response`; may be empty.
        fit: its row.
        unit: of the dose, for the axis.
        level: of the interval of the EC50.
        ax: where to draw; a new figure by default.
    """
    import seaborn as sns

    ax = ax or style.new_axes(style.PAGE_IN, 2.6)
    dose, response = str(fit["dose"]), str(fit["response"])
    given = with_controls(wells, dose)
    known = given[given["given"].gt(0) & given[response].notna()]
    if known.empty:
        return style.empty(ax, f"no well has a dose and a value of: {QUANTITIES[response]}")
    dots: Any = {"s": 20, "linewidth": 0, "alpha": 0.85} | _palette(treatment_styles(wells))
    sns.scatterplot(known, x=dose, y=response, ax=ax, **dots)
    zero = given.loc[given["given"].eq(0), response].dropna()
    if len(zero):
        line: Any = {"color": style.MOCK, "linestyle": "--", "label": f"mean of {len(zero)} controls"}
        style.reference_line(ax, y=float(zero.mean()), **line)
    if len(curve):
        ax.plot(curve["dose"], curve["value"], color=style.INK, label="fitted curve")
    if np.isfinite(fit["ec50"]):
        words = f"EC50 {fit['ec50']:.3g} ({fit['low']:.3g} to {fit['high']:.3g})"
        if known[dose].min() <= fit["ec50"] <= known[dose].max():
            style.reference_line(ax, x=fit["ec50"], linestyle="-", label=words)
        else:
            ax.plot([], [], " ", label=words)
    if fit["note"]:
        ax.plot([], [], " ", label=style.wrapped(str(fit["note"]), 28))
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.xaxis.set_major_formatter("{x:g}")
    if known[dose].nunique() <= MOST_DOSES:
        ax.set_xticks(np.unique(known[dose]))
    name = fit["compound"] or (dose if unit else dose.upper())
    ax.set(xlabel=f"{name} ({unit})" if unit else name, ylabel=QUANTITIES[response])
    style.legend_outside(ax, title=f"{len(known)} wells; {level:.0%} interval")
    result = f"EC50 {fit['ec50']:.3g}" if np.isfinite(fit["ec50"]) else str(fit["note"])
    return style.describe(ax, f"{QUANTITIES[response]} of {len(known)} wells over {dose}: {result}.")


@styled
def plate_heat_map(wells: pd.DataFrame, *, value: str, hour: float, ax: Axes | None = None) -> Axes:
    """Draw a value of every well as a shade, in the layout of the plate; hatched where it is undefined.

    Args:
        wells: of one plate, from :func:`hpiclock.analysis.plate_readout.readout_by_well`.
        value: its column.
        hour: at which the value was taken, for the title.
        ax: where to draw; a new figure by default.

    Raises:
        InputError: wells of several plates.
    """
    import seaborn as sns

    _refuse_many(wells)
    if wells.empty or wells[value].isna().all():
        return style.empty(ax or style.new_axes(), f"no well has a value of: {QUANTITIES[value]}")
    places, (n_rows, n_columns), named = layout_of(list(wells["well"]))
    width, height = _plate_size(n_rows, n_columns)
    ax = ax or style.new_axes(width + 0.2, height + 0.3)
    shares = value in ("p_infected", "infected_share")
    shown = pd.DataFrame(np.nan, index=[*map(letters, range(n_rows))], columns=range(1, n_columns + 1))
    for well, number in zip(wells["well"], wells[value], strict=True):
        row, column = places[well]
        shown.iloc[row, column] = number
        if np.isnan(number):
            box: Any = {"facecolor": "white", "edgecolor": style.PALE, "hatch": "////"}
            ax.add_patch(Rectangle((column + 0.02, row + 0.02), 0.96, 0.96, **box))
            ax.text(column + 0.5, row + 0.5, "none", ha="center", va="center", fontsize=7)
    cells: Any = {"cmap": "viridis", "square": True, "linewidths": 1, "ax": ax}
    cells |= {"vmin": 0, "vmax": 1} if shares else {}
    if n_columns <= 24:  # on denser plates no number fits into a well
        size = 7 if n_columns <= 12 else 5
        cells |= {"annot": True, "fmt": ".2f" if shares else ".0f", "annot_kws": {"fontsize": size}}
    step = 1 if n_columns <= 24 else 4
    bar = {"label": QUANTITIES[value], "shrink": 0.8, "pad": 0.02}
    sns.heatmap(shown, xticklabels=step, yticklabels=step, cbar_kws=bar, **cells)
    ax.set(xlabel="", ylabel="")
    _plate_labels(ax, named)
    ax.set_title("" if value.startswith("detected") else f"at {hour:g} h", pad=12)
    known = wells[wells[value].notna()].sort_values(value, ascending=False)
    words = f"Plate map of {QUANTITIES[value]} at {hour:g} h: {style.range_text(known[value], 2)} over "
    words += f"{len(known)} wells; highest in {', '.join(known['well'].head(3))}."
    return style.describe(ax, words)


@styled
def well_grid_figure(rows: pd.DataFrame, *, threshold: float) -> Figure:
    """Draw P(infected) over hours in every well, one line per field, in the layout of the plate.

    Args:
        rows: predictions of one plate with :func:`hpiclock.analysis.plate_readout.with_treatments`.
        threshold: drawn in every well.

    Raises:
        InputError: wells of several plates, or a plate too wide for curves.
    """
    _refuse_many(rows)
    places, _, named = layout_of(sorted(rows["well"].unique(), key=natural_key))
    used_rows = sorted({row for row, _ in places.values()})
    used_columns = sorted({column for _, column in places.values()})
    if len(used_columns) > MOST_CURVES:
        raise InputError(f"{len(used_columns)} columns of wells: too many for curves; draw the heat map")
    styles = treatment_styles(rows)
    fig = style.new_figure(style.PAGE_IN, 0.62 * len(used_rows) + 1.0)
    axes = fig.subplots(len(used_rows), len(used_columns), sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat:
        ax.set(ylim=(-0.05, 1.05), yticks=[0, 1])
        ax.tick_params(labelsize=7, length=1.5, pad=1)
        ax.spines[:].set(linewidth=0.4, visible=False)  # no axes where there is no well
    for well, (row, column) in places.items():
        ax = axes[used_rows.index(row), used_columns.index(column)]
        ax.spines[["left", "bottom"]].set_visible(True)
        fields = rows[rows["well"].eq(well)].sort_values("hours")
        colour = styles[str(fields["treatment"].iloc[0])]["color"]
        for _, stack in fields.groupby("stack_id"):
            ax.plot(stack["hours"], stack["p_infected"], color=colour, linewidth=0.8)
        style.reference_line(ax, y=threshold, linewidth=0.5)
        if np.isfinite(fields["onset_h"].iloc[0]):
            ax.axvline(fields["onset_h"].iloc[0], color=style.INK, linewidth=0.5)
        if not named:
            ax.set_title(str(well), fontsize=7, pad=1)
    if named:
        for ax, column in zip(axes[0], used_columns, strict=True):
            ax.set_title(f"{column + 1}", fontsize=7, loc="center", pad=2)
        for ax, row in zip(axes[:, 0], used_rows, strict=True):
            ax.set_ylabel(letters(row), rotation=0, ha="right", va="center", labelpad=4)
    handles = [Line2D([], [], color=line["color"], label=name) for name, line in styles.items()]
    handles.append(Line2D([], [], color=style.GREY, linestyle=":", label=f"threshold {threshold:.3g}"))
    if rows["onset_h"].notna().any():
        handles.append(Line2D([], [], color=style.INK, linewidth=0.6, label="onset"))
    fig.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    axes[-1, len(used_columns) // 2].set_xlabel(style.TIME_AXES["hours"], fontsize=7)
    fig.supylabel("P(infected), a line per field", fontsize=7)
    wells = f"{len(places)} wells in plate layout"
    return style.describe(fig, f"P(infected) over hours in {wells}, threshold {threshold:.3g}.")


def _refuse_many(table: pd.DataFrame) -> None:
    if len(table["plate"].unique()) > 1:
        raise InputError("one plate is drawn and several are given; select one")
