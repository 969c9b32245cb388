"""Figures of the confound audit: controls, shortcuts, changed images, features, and checks of maps."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.figures import style
from hpiclock.figures.style import Treatment, styled
from hpiclock.tables import n_wells

CHANCE = 0.5
ANSWERS = {"p_infected": "change of P(infected)", "time_pred": "change of the predicted time (h)"}


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
        return style.nothing(
            style.axes_or_new(ax), "no window over hours after the onset holds both conditions"
        )
    ax = style.axes_or_new(ax, style.PAGE_IN * 0.75, 2.6)
    middle = (rows["start_h"] + rows["end_h"]) / 2
    ax.axhline(CHANCE, color=style.GREY, linewidth=0.8, linestyle=":")
    ax.axvspan(min(rows["start_h"].min(), 0), 0, color=style.PALE, zorder=0, label="before the onset")
    ax.fill_between(
        middle,
        rows["low"],
        rows["high"],
        color=style.INFECTED,
        alpha=0.2,
        linewidth=0,
        label=f"{level:.0%} interval of each window",
    )
    ax.plot(middle, rows["auc"], color=style.INFECTED, marker="o", label="AUC at equal hours since start")
    marks = {
        "first window above chance": ("-", "above chance from here on"),
        "first visible in truth": ("--", "signs begin in the simulated truth"),
    }
    for what, (line, label) in marks.items():
        for start in controls.loc[controls["what"].eq(what), "start_h"]:
            ax.axvline(start, color=style.INK, linestyle=line, linewidth=0.8, label=label)
    style.hour_ticks(ax, float(rows["start_h"].min()), float(rows["end_h"].max()))
    ax.set(ylim=(min(0.0, float(rows["auc"].min())), 1.02), xlabel=style.TIME_AXES["hpi"], ylabel="AUC")
    style.legend_outside(ax)
    first = controls.loc[controls["what"].eq("first window above chance"), "start_h"]
    said = (
        f"It stays above chance from {first.iloc[0]:g} h after the onset on."
        if len(first)
        else ("No window is followed by windows above chance only.")
    )
    style.describe(
        ax,
        f"AUC of P(infected) in {len(rows)} windows of hours after the onset, "
        f"{style.range_text(rows['auc'], 2)}. {said}",
    )
    return ax


@styled
def shortcut_scores(baselines: pd.DataFrame, *, level: float, ax: Axes | None = None) -> Axes:
    """Draw the AUC at equal hours of the model and of each shortcut, and theirs before the onset.

    Args:
        baselines: ``source auc low high auc_before``, a row each, the model first.
        level: of the intervals.
        ax: where to draw; a new figure by default.
    """
    rows = baselines.reset_index(drop=True)
    ax = style.axes_or_new(ax, style.PAGE_IN * 0.9, 0.8 + 0.26 * len(rows))
    y = np.arange(len(rows))
    ax.axvline(CHANCE, color=style.GREY, linewidth=0.8, linestyle=":")
    _bars(ax, rows, y, style.INFECTED)
    ax.plot(rows["auc"], y, "o", color=style.INFECTED, label=f"all hours, with {level:.0%} interval")
    ax.plot(rows["auc_before"], y, "D", color=style.INK, mfc="white", label="before the onset (honest: 0.5)")
    ax.set_yticks(y, rows["source"])
    ax.set(xlim=(0, 1.02), ylim=(len(rows) - 0.5, -0.5), xlabel="AUC at equal hours since start, test wells")
    style.legend_outside(ax)
    words = "; ".join(f"{row.source} {style.number(row.auc)}" for row in rows.itertuples())
    style.describe(ax, f"AUC at equal hours on test frames: {words}.")
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
        return style.nothing(style.axes_or_new(ax), "no experiment could be made: too few wells")
    ax = style.axes_or_new(ax, style.PAGE_IN, 0.8 + 0.26 * len(rows))
    y = np.arange(len(rows))
    ax.axvline(CHANCE, color=style.GREY, linewidth=0.8, linestyle=":")
    _bars(ax, rows, y, style.MOCK)
    ax.plot(rows["auc"], y, "o", color=style.MOCK)
    names = [_experiment(row.experiment, row.train, row.test) for row in rows.itertuples()]
    ax.set_yticks(y, names)
    for cut in np.flatnonzero(rows["experiment"].ne(rows["experiment"].shift()))[1:]:
        ax.axhline(cut - 0.5, color=style.PALE, linewidth=0.8)
    ax.set(xlim=(0, 1.02), ylim=(len(rows) - 0.5, -0.5), xlabel=f"AUC over all hours, {level:.0%} interval")
    words = "; ".join(f"{name} {style.number(value)}" for name, value in zip(names, rows["auc"], strict=True))
    style.describe(ax, f"AUC of sampling experiments: {words}.")
    return ax


@styled
def change_effects_figure(changes: pd.DataFrame, *, level: float) -> Figure:
    """Draw what each change of the images does to P(infected) and to the predicted time, by condition.

    Args:
        changes: of :func:`hpiclock.audit.baselines.perturbation_effects`.
        level: of the intervals.
    """
    there = [name for name in ANSWERS if changes["answer"].eq(name).any()]
    names = list(dict.fromkeys(changes["change"]))
    figure = style.new_figure(style.PAGE_IN, 1.0 + 0.24 * max(len(names), 1))
    if not there:
        style.nothing(figure.add_subplot(), "the model says nothing of changed images")
        return figure
    panels = figure.subplots(1, len(there), sharey=True, squeeze=False)[0]
    words = []
    for ax, answer in zip(panels, there, strict=True):
        ax.axvline(0, color=style.GREY, linewidth=0.8, linestyle=":")
        for condition, colour in style.CONDITION_COLOURS.items():
            rows = changes[changes["answer"].eq(answer) & changes["condition"].eq(condition)]
            shift = -0.14 if condition == "infected" else 0.14
            y = rows["change"].map(names.index).to_numpy() + shift
            _bars(ax, rows.rename(columns={"effect": "auc"}), y, colour)
            marker = style.CONDITION_MARKERS[condition]
            ax.plot(rows["effect"], y, marker, color=colour, label=condition)
            most = rows.loc[rows["effect"].abs().idxmax()]
            words.append(
                f"{ANSWERS[answer]} of {condition} frames is largest for {most['change']}: "
                f"{style.number(most['effect'], 2, signed=True)}"
            )
        ax.set_yticks(range(len(names)), names)
        ax.set(xlabel=ANSWERS[answer], ylim=(len(names) - 0.5, -0.5))
    style.legend_outside(panels[-1], title=f"condition, {level:.0%}\ninterval over wells", alignment="left")
    style.describe(figure, "; ".join(words) + ".")
    return figure


def _bars(ax: Axes, rows: pd.DataFrame, y: np.ndarray, colour: str) -> None:
    known = rows["low"].notna().to_numpy() & rows["high"].notna().to_numpy()
    ax.hlines(y[known], rows["low"][known], rows["high"][known], color=colour, linewidth=1.4, alpha=0.5)


def _experiment(experiment: str, train: str, test: str) -> str:
    if experiment == "split":
        return f"held out: {train}, {test}"
    return f"learnt on {train}, asked of {test}"


DOT = 5  # points squared
WELL_COLOURS = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]


@styled
def feature_map_figure(places: pd.DataFrame, *, method: str, reading: Mapping[str, str]) -> Figure:
    """Draw frames on a plane by hours, hpi, class and well, stacks on their way through it, and the audit.

    Args:
        places: ``x y x_share y_share`` with the identity columns, ``hours hpi stack_id``, a row per frame.
        method: how the plane was made, in words.
        reading: what the audit says of features, by what it asked; may be empty.
    """
    if places.empty:
        fig = style.new_figure(style.PAGE_IN, 0.8)
        style.nothing(fig.add_subplot(), "no held-out frame, so no map of features")
        return fig
    fig = style.new_figure(style.PAGE_IN, 4.8)
    panels = fig.subplots(2, 3)
    by_hours, by_hpi, by_class, by_well, paths, words = panels.ravel()
    _by_time(by_hours, places, "hours", "viridis")
    _by_time(by_hpi, places, "hpi", "plasma")
    _by_class(by_class, places)
    _by_well(by_well, places)
    _paths(paths, places)
    _reading(words, reading)
    spread = [np.ptp(places[axis].to_numpy(float)) or 1.0 for axis in ("x", "y")]
    limits = [
        (float(places[axis].min()) - 0.06 * span, float(places[axis].max()) + 0.06 * span)
        for axis, span in zip(("x", "y"), spread, strict=True)
    ]
    for ax in panels.ravel()[:5]:
        ax.set(xticks=[], yticks=[], xlim=limits[0], ylim=limits[1])
    for ax in panels[:, 0]:
        ax.set_ylabel(_axis(places, "y", method))
    for ax in panels[1, :2]:
        ax.set_xlabel(_axis(places, "x", method))
    counts = " and ".join(f"{n_wells(part)} {name}" for name, part in places.groupby("condition"))
    frames = style.plural(len(places), "held-out frame")
    text = f"{method} of the features of {frames}, of {counts} wells, coloured by hours, hpi, class and well."
    said = "; ".join(f"{asked} {answer}" for asked, answer in reading.items())
    style.describe(fig, text + (f" The audit: {said}." if said else ""))
    return fig


def _by_time(ax: Axes, places: pd.DataFrame, column: str, colours: str) -> None:
    known = places[places[column].notna()].sort_values(column)
    rest = places[places[column].isna()]
    ax.scatter(rest["x"], rest["y"], s=DOT, color=style.PALE, linewidths=0)
    drawn = ax.scatter(known["x"], known["y"], c=known[column], s=DOT, cmap=colours, linewidths=0)
    if len(known):
        bar = ax.figure.colorbar(drawn, ax=ax, location="top", shrink=0.9, aspect=30, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=6, length=2)
        pale = " (mock: pale)" if len(rest) else ""
        bar.set_label(style.TIME_AXES[column] + pale, fontsize=6.5)


def _by_class(ax: Axes, places: pd.DataFrame) -> None:
    infected = places["condition"].eq("infected")
    early = infected & (places["hpi"] < 0)
    kinds = {
        "mock": (~infected, style.MOCK, "s", True),
        "infected": (infected & ~early, style.INFECTED, "o", True),
        "infected, before onset": (early, style.INFECTED, "o", False),
    }
    for name, (chosen, colour, marker, filled) in kinds.items():
        rows = places[chosen]
        if len(rows):
            face = colour if filled else "white"
            ax.scatter(
                rows["x"],
                rows["y"],
                s=DOT,
                facecolors=face,
                edgecolors=colour,
                marker=marker,
                linewidths=0 if filled else 0.5,
                alpha=0.8,
                label=name,
            )
    ax.legend(loc="best", markerscale=2, fontsize=6, handlelength=1)
    ax.set_title("class", fontsize=6.5, fontweight="normal")


def _by_well(ax: Axes, places: pd.DataFrame) -> None:
    wells = sorted(places["well"].unique(), key=style.natural)
    for number, well in enumerate(wells):
        rows = places[places["well"].eq(well)]
        ax.scatter(
            rows["x"],
            rows["y"],
            s=DOT,
            color=WELL_COLOURS[number % len(WELL_COLOURS)],
            linewidths=0,
            alpha=0.6,
        )
    title = style.plural(len(wells), "well") + (
        ", ten colours in turn" if len(wells) > len(WELL_COLOURS) else ""
    )
    ax.set_title(title, fontsize=6.5, fontweight="normal")


def _paths(ax: Axes, places: pd.DataFrame) -> None:
    first = places.groupby("well")["stack_id"].transform("min")
    for _, rows in places[places["stack_id"].eq(first)].groupby("stack_id"):
        rows = rows.sort_values("hours")
        had = Treatment.of(rows.iloc[0])
        ax.plot(rows["x"], rows["y"], **had.line, linewidth=0.6, alpha=0.55)
        ax.plot(rows["x"].iloc[-1], rows["y"].iloc[-1], "^", color=had.colour, markersize=4)
    ax.set_title("one stack of each well over time, to ▲", fontsize=6.5, fontweight="normal")


def _reading(ax: Axes, reading: Mapping[str, str]) -> None:
    ax.set_axis_off()
    ax.text(0, 1, "What the audit says", fontsize=7.5, fontweight="bold", va="top", transform=ax.transAxes)
    lines = [(asked, style.wrapped(answer, 36)) for asked, answer in reading.items()]
    y = 0.9
    for asked, answer in lines or [("", "This run was not audited:\nhpiclock audit RUN, or notebook 05")]:
        ax.text(0, y, asked, fontsize=6.5, color=style.GREY, va="top", transform=ax.transAxes)
        ax.text(0, y - (0.065 if asked else 0), answer, fontsize=6.5, va="top", transform=ax.transAxes)
        y -= 0.085 + 0.065 * (answer.count("\n") + 1)


def _axis(places: pd.DataFrame, axis: str, method: str) -> str:
    share = float(places[f"{axis}_share"].iloc[0])
    number = {"x": 1, "y": 2}[axis]
    return f"{method} {number}" + (f" ({share:.0%} of variance)" if np.isfinite(share) else "")


RANDOM = "random order"
METHOD_COLOURS = {
    "Grad-CAM": style.INK,
    "integrated gradients": "#009E73",
    "saliency": "#CC79A7",
    RANDOM: style.GREY,
}
METHOD_MARKERS = {"Grad-CAM": "o", "integrated gradients": "s", "saliency": "^", RANDOM: "x"}
LEFT = {"class": "P of the class it had called", "time": "moved the time by (h)"}
SHUFFLED = "labels\nshuffled"


@styled
def sanity_checks_figure(checks: pd.DataFrame, deletion: pd.DataFrame) -> Figure:
    """Draw how alike the maps of other models are, and what deleting by the maps does, a panel a head.

    Args:
        checks: ``check head method depth value low high`` as :mod:`hpiclock.workflows.explain` keeps them.
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
    ax.plot(
        x,
        value,
        marker=METHOD_MARKERS[method],
        color=colour,
        linewidth=1.2 if joined else 0,
        linestyle=":" if method == RANDOM else "-",
        label=method,
    )
    ax.vlines(x, rows["low"].to_numpy(float), rows["high"].to_numpy(float), color=colour, alpha=0.4)
