"""Figures of the confound audit: controls, shortcuts, changed images, features, and checks of maps."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.figures import style
from hpiclock.figures.style import Treatment, natural_key, styled
from hpiclock.format import count_text
from hpiclock.tables import n_wells

# fmt: off
__all__ = [
    "change_effects_figure", "controls_over_hpi", "experiment_scores", "feature_map_figure",
    "sanity_checks_figure", "shortcut_scores",
]
# fmt: on

CHANCE = 0.5
OUTPUTS = {"p_infected": "change of P(infected)", "time_pred": "change of the predicted time (h)"}


@styled
def controls_over_hpi(controls: pd.DataFrame, *, level: float, ax: Axes | None = None) -> Axes:
    """Draw the AUC of P(infected) against the condition in windows of hours after the onset.

    Args:
        controls: of :func:`hpiclock.audit.controls.negative_controls`.
        level: of the intervals.
        ax: where to draw; a new figure by default.
    """
    rows = controls[controls["what"].eq("window") & controls["auc"].notna()]
    if rows.empty:
        return style.empty(
            ax or style.new_axes(), "no window over hours after the onset holds both conditions"
        )
    ax = ax or style.new_axes(style.PAGE_IN, 2.6)
    x, colour = style.middles(rows), style.INFECTED
    style.reference_line(ax, y=CHANCE)
    ax.axvspan(min(rows["start_h"].min(), 0), 0, color=style.PALE, zorder=0, label="before the onset")
    interval = f"{level:.0%} interval of each window"
    style.band(ax, x, rows["low"], rows["high"], colour, alpha=0.2, label=interval)
    ax.plot(x, rows["auc"], color=colour, marker="o", label="AUC within plate and hour")
    visible = controls.loc[controls["what"].eq("first visible in truth"), "start_h"]
    for start in visible:
        label = "signs begin in the simulated truth"
        style.reference_line(ax, x=start, color=style.INK, linestyle="--", label=label)
    style.over_time(ax, "AUC", rows[["start_h", "end_h"]], "hpi")
    ax.set_ylim(min(0.0, float(rows["auc"].min())), 1.02)
    windows = f"AUC of P(infected) in {len(rows)} windows of hours after the onset"
    return style.finish(ax, f"{windows}, {style.range_text(rows['auc'], 2)}.")


@styled
def shortcut_scores(baselines: pd.DataFrame, *, level: float, ax: Axes | None = None) -> Axes:
    """Draw the AUC within plate and hour of the model and of each shortcut, and theirs before the onset.

    Args:
        baselines: ``source auc low high auc_before``, a row each, the model first.
        level: of the intervals.
        ax: where to draw; a new figure by default.
    """
    ax = ax or style.new_axes(style.PAGE_IN, 0.8 + 0.26 * len(baselines))
    sources = baselines["source"].tolist()
    label = f"all hours, with {level:.0%} interval"
    _auc_rows(ax, baselines, sources, style.INFECTED, label, "AUC within plate and hour, test wells")
    before: Any = {"color": style.INK, "mfc": "white", "label": "before the onset (expected: 0.5)"}
    ax.plot(baselines["auc_before"], range(len(baselines)), "D", **before)
    style.legend_outside(ax)
    return ax


@styled
def experiment_scores(sampling: pd.DataFrame, *, level: float, ax: Axes | None = None) -> Axes:
    """Draw the AUC of every sampling experiment, a line each.

    Args:
        sampling: of :func:`hpiclock.audit.baselines.sampling_experiments`.
        level: of the intervals.
        ax: where to draw; a new figure by default.
    """
    rows = sampling[sampling["auc"].notna()].reset_index(drop=True)
    if rows.empty:
        return style.empty(ax or style.new_axes(), "no experiment could be made: too few wells")
    ax = ax or style.new_axes(style.PAGE_IN, 0.8 + 0.26 * len(rows))
    names = [
        f"held out: {row.train}, {row.test}"
        if row.experiment == "split"
        else f"trained on {row.train}, tested on {row.test}"
        for row in rows.itertuples()
    ]
    _auc_rows(ax, rows, names, style.MOCK, "", f"AUC over plates and hours, {level:.0%} interval")
    for cut in np.flatnonzero(rows["experiment"].ne(rows["experiment"].shift()))[1:]:
        ax.axhline(cut - 0.5, color=style.PALE, linewidth=0.8)
    return ax


def _auc_rows(ax: Axes, rows: pd.DataFrame, names: list[str], colour: str, label: str, axis: str) -> None:
    """Draw a row per AUC with its interval, and describe it."""
    style.reference_line(ax, x=CHANCE)
    style.estimates(ax, rows, range(len(rows)), value="auc", colour=colour)
    if label:
        ax.plot([], [], "o", color=colour, label=label)
    style.row_axis(ax, names)
    ax.set(xlim=(0, 1.02), xlabel=axis)
    words = (f"{name} {style.number(value)}" for name, value in zip(names, rows["auc"], strict=True))
    style.describe(ax, f"{axis}: {'; '.join(words)}.")


@styled
def change_effects_figure(changes: pd.DataFrame, *, level: float) -> Figure:
    """Draw the effect of each change of the images on P(infected) and on the predicted time, by condition.

    Args:
        changes: of :func:`hpiclock.audit.baselines.perturbation_effects`.
        level: of the intervals.
    """
    outputs = [name for name in OUTPUTS if changes["answer"].eq(name).any()]
    names = list(dict.fromkeys(changes["change"]))
    height = 1.0 + 0.24 * max(len(names), 1)
    if not outputs:
        return style.empty_figure("no predictions of changed images", style.PAGE_IN, height)
    figure = style.new_figure(style.PAGE_IN, height)
    panels = figure.subplots(1, len(outputs), sharey=True, squeeze=False)[0]
    words = []
    for ax, output in zip(panels, outputs, strict=True):
        style.reference_line(ax, x=0)
        for shift, (condition, treatment) in zip((-0.14, 0.14), style.CONDITIONS.items(), strict=True):
            rows = changes[changes["answer"].eq(output) & changes["condition"].eq(condition)]
            y = rows["change"].map(names.index) + shift
            look: dict[str, Any] = {"colour": treatment.colour, "marker": treatment.marker}
            style.estimates(ax, rows, y, value="effect", **look)
            ax.plot([], [], treatment.marker, color=treatment.colour, label=condition)
            most = rows.loc[rows["effect"].abs().idxmax()]
            effect = f"{most['change']}: {style.number(most['effect'], 2, signed=True)}"
            words.append(f"{OUTPUTS[output]} of {condition} frames is largest for {effect}")
        style.row_axis(ax, names)
        ax.set_xlabel(OUTPUTS[output])
    style.legend_outside(panels[-1], title=f"condition, {level:.0%}\ninterval over wells", alignment="left")
    return style.describe(figure, "; ".join(words) + ".")


@styled
def feature_map_figure(places: pd.DataFrame, *, method: str, reading: Mapping[str, str]) -> Figure:
    """Draw frames on a plane by hours, hpi, class and well, stacks on their way through it, and the audit.

    Args:
        places: ``x y x_share y_share`` with the identity columns, ``hours hpi stack_id``, a row per frame.
        method: how the plane was made, in words.
        reading: what the audit found in the features, by its question; may be empty.
    """
    if places.empty:
        return style.empty_figure("no held-out frame, so no map of features")
    fig = style.new_figure(style.PAGE_IN, 4.8)
    panels = fig.subplots(2, 3, sharex=True, sharey=True)
    by_hours, by_hpi, by_class, by_well, paths, words = panels.ravel()
    _by_time(by_hours, places, "hours", "viridis")
    _by_time(by_hpi, places, "hpi", "plasma")
    early = places["hpi"].lt(0) & places["condition"].eq("infected")
    classes = places["condition"].mask(early, "infected, before onset")
    _by_kind(by_class, places.assign(kind=classes), CLASS_COLOURS, CLASS_MARKERS)
    by_class.legend(loc="best", fontsize=7, handlelength=1, markerscale=2)
    names = places["plate"] + " " + places["well"]
    wells = sorted(names.unique(), key=natural_key)
    colours = {well: WELL_COLOURS[i % len(WELL_COLOURS)] for i, well in enumerate(wells)}
    _by_kind(by_well, places.assign(kind=names), colours, dict.fromkeys(wells, "o"))
    in_turn = ", ten colours in turn" if len(wells) > len(WELL_COLOURS) else ""
    _paths(paths, places)
    _reading(words, reading)
    title: Any = {"fontsize": 7, "fontweight": "normal"}
    by_class.set_title("class", **title)
    by_well.set_title(count_text(n_wells(places), "well") + in_turn, **title)
    paths.set_title("one stack of each well over time, to ▲", **title)
    for ax in panels.ravel()[:5]:
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="", xmargin=0.06, ymargin=0.06)
    for ax in panels[:, 0]:
        ax.set_ylabel(_axis_name(places, "y", method))
    for ax in panels[1, :2]:
        ax.set_xlabel(_axis_name(places, "x", method))
    counts = " and ".join(f"{n_wells(part)} {name}" for name, part in places.groupby("condition"))
    frames = count_text(len(places), "held-out frame")
    text = f"{method} of the features of {frames}, of {counts} wells, coloured by hours, hpi, class and well."
    found = "; ".join(f"{question} {finding}" for question, finding in reading.items())
    return style.describe(fig, text + (f" The audit: {found}." if found else ""))


DOT = 5  # points squared
WELL_COLOURS = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
CLASS_COLOURS = {"mock": style.MOCK, "infected": style.INFECTED, "infected, before onset": "#F3B48A"}
CLASS_MARKERS = {"mock": "s", "infected": "o", "infected, before onset": "^"}


def _by_time(ax: Axes, places: pd.DataFrame, column: str, colours: str) -> None:
    known = places[places[column].notna()].sort_values(column)
    rest = places[places[column].isna()]
    ax.scatter(rest["x"], rest["y"], s=DOT, color=style.PALE, linewidths=0)
    drawn = ax.scatter(known["x"], known["y"], c=known[column], s=DOT, cmap=colours, linewidths=0)
    if len(known):
        bar = ax.figure.colorbar(drawn, ax=ax, location="top", shrink=0.9, aspect=30, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2)
        pale = " (mock: pale)" if len(rest) else ""
        bar.set_label(style.TIME_AXES[column] + pale, fontsize=7)


def _by_kind(ax: Axes, places: pd.DataFrame, colours: dict, markers: dict) -> None:
    """Draw the frames in the colour and marker of their ``kind``, later kinds above earlier ones."""
    import seaborn as sns

    there = [kind for kind in colours if places["kind"].eq(kind).any()]
    places = places.sort_values("kind", key=lambda kind: kind.map(there.index), kind="stable")
    points: Any = {"s": DOT, "alpha": 0.7, "linewidth": 0, "legend": len(there) < 4, "ax": ax}
    points |= {"hue": "kind", "palette": colours, "hue_order": there}
    points |= {"style": "kind", "markers": markers, "style_order": there}
    sns.scatterplot(places, x="x", y="y", **points)


def _paths(ax: Axes, places: pd.DataFrame) -> None:
    first = places.groupby(["plate", "well"])["stack_id"].transform("min")
    for _, rows in places[places["stack_id"].eq(first)].sort_values("hours").groupby("stack_id"):
        treatment = Treatment.of(rows.iloc[0])
        ax.plot(rows["x"], rows["y"], **treatment.line, linewidth=0.6, alpha=0.55)
        ax.plot(rows["x"].iloc[-1], rows["y"].iloc[-1], "^", color=treatment.colour, markersize=4)


def _reading(ax: Axes, reading: Mapping[str, str]) -> None:
    ax.set_axis_off()
    text: dict[str, Any] = {"va": "top", "transform": ax.transAxes}
    ax.text(0, 1, "What the audit found", fontsize=8, fontweight="bold", **text)
    y = 0.9
    for question, finding in reading.items() or [
        ("", "This run was not audited: hpiclock audit RUN, or notebook 05")
    ]:
        lines = style.wrapped(finding, 36)
        ax.text(0, y, question, fontsize=7, color=style.GREY, **text)
        ax.text(0, y - (0.065 if question else 0), lines, fontsize=7, **text)
        y -= 0.085 + 0.065 * (lines.count("\n") + 1)


def _axis_name(places: pd.DataFrame, axis: str, method: str) -> str:
    share = float(places[f"{axis}_share"].iloc[0])
    number = {"x": 1, "y": 2}[axis]
    return f"{method} {number}" + (f" ({share:.0%} of variance)" if np.isfinite(share) else "")


RANDOM = "random order"
METHODS = {  # colour, marker, line
    "Grad-CAM": (style.INK, "o", "-"),
    "integrated gradients": ("#009E73", "s", "-"),
    "saliency": ("#CC79A7", "^", "-"),
    RANDOM: (style.GREY, "x", ":"),
}
KEPT = {"class": "P of the class predicted before", "time": "change of the predicted time (h)"}
SHUFFLED = "labels\nshuffled"


@styled
def sanity_checks_figure(checks: pd.DataFrame, deletion: pd.DataFrame) -> Figure:
    """Draw how similar the maps of other models are, and the effect of deleting by the maps, a row per head.

    Args:
        checks: ``check head method depth value low high`` as :mod:`hpiclock.workflows.explain` keeps them.
        deletion: ``head method removed value low high``.
    """
    heads = list(dict.fromkeys(checks["head"])) if len(checks) else []
    if not heads:
        return style.empty_figure("this run keeps no maps of where its model looks")
    fig = style.new_figure(style.PAGE_IN, 2.3 * len(heads) + 0.3)
    panels = fig.subplots(len(heads), 2, squeeze=False, width_ratios=(1.25, 1))
    words = []
    for (left, right), head in zip(panels, heads, strict=True):
        words.append(_similarity(left, checks[checks["head"].eq(head)], head))
        words.append(_deletion(right, deletion[deletion["head"].eq(head)], head))
    style.legend_below(fig, panels[0, 1])
    return style.describe(fig, " ".join(words))


def _similarity(ax: Axes, checks: pd.DataFrame, head: str) -> str:
    randomized = checks[checks["check"].eq("weights drawn anew")]
    shuffled = checks[checks["check"].eq("labels shuffled")]
    depths = list(dict.fromkeys(randomized["depth"]))
    style.reference_line(ax, y=0)
    for number, method in enumerate(dict.fromkeys(checks["method"])):
        shift = 0.12 * (number - 1)
        rows = randomized[randomized["method"].eq(method)]
        _with_limits(ax, rows["depth"].map(depths.index) + shift, rows, method)
        other = shuffled[shuffled["method"].eq(method)]
        _with_limits(ax, np.full(len(other), len(depths) + shift), other, method, linewidth=0)
    names = [style.wrapped(depth, 10) for depth in depths]
    if len(shuffled):
        ax.axvline(len(depths) - 0.5, color=style.PALE, linewidth=0.8)
        names.append(SHUFFLED)
    ax.set_xticks(range(len(names)), names, fontsize=7)
    drawn = pd.concat([randomized, shuffled])[["value", "low"]].to_numpy(float)
    least = float(np.nanmin(drawn, initial=0.0))
    ax.set(ylim=(min(-0.35, least), 1.05), ylabel="rank correlation of maps")
    ax.set_title(f"{head} head: similarity to the maps of another model", fontsize=8)
    last = randomized[randomized["depth"].eq(depths[-1])] if depths else randomized
    what = "rank correlation with the maps of a model whose weights are all drawn anew"
    return f"{head} head, {what}: {_by_method(last)}."


def _deletion(ax: Axes, deletion: pd.DataFrame, head: str) -> str:
    for method, rows in deletion.groupby("method", sort=False):
        _with_limits(ax, rows["removed"] * 100, rows, str(method))
    ax.set(xlabel="deleted (% of the picture)", ylabel=KEPT[head])
    ax.set_ylim(*((0, 1.03) if head == "class" else (0, None)))
    ax.set_title(f"{head} head: most important tiles deleted first", fontsize=8)
    last = float(deletion["removed"].max())
    end = deletion[np.isclose(deletion["removed"], last)]
    return f"{head} head, {KEPT[head]} with {last:.0%} deleted: {_by_method(end)}."


def _with_limits(ax: Axes, x: Any, rows: pd.DataFrame, method: str, **options: Any) -> None:
    colour, marker, line = METHODS[method]
    ax.plot(x, rows["value"], marker=marker, color=colour, linestyle=line, label=method, **options)
    ax.vlines(x, rows["low"].to_numpy(float), rows["high"].to_numpy(float), color=colour, alpha=0.4)


def _by_method(rows: pd.DataFrame) -> str:
    return ", ".join(f"{row.method} {style.number(row.value)}" for row in rows.itertuples())
