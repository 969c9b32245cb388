"""Figures of the confound audit: controls over hours after onset, shortcuts, experiments, changed images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.report.plots import style
from hpiclock.report.plots.style import styled

CHANCE = 0.5
ANSWERS = {"p_infected": "change of P(infected)", "time_pred": "change of the predicted time (h)"}


@styled
def controls_over_hpi(controls: pd.DataFrame, *, level: float, ax: Axes | None = None) -> Axes:
    """Draw the AUC of P(infected) against the condition in windows of hours after the onset.

    Args:
        controls: of :func:`hpiclock.study.audit_windows.negative_controls`.
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
    ax.fill_between(middle, rows["low"], rows["high"], color=style.INFECTED, alpha=0.2, linewidth=0,
                    label=f"{level:.0%} interval of each window")  # fmt: skip
    ax.plot(middle, rows["auc"], color=style.INFECTED, marker="o", label="AUC at equal hours since start")
    marks = {"first window above chance": ("-", "above chance from here on"),
             "first visible in truth": ("--", "signs begin in the simulated truth")}  # fmt: skip
    for what, (line, label) in marks.items():
        for start in controls.loc[controls["what"].eq(what), "start_h"]:
            ax.axvline(start, color=style.INK, linestyle=line, linewidth=0.8, label=label)
    style.hour_ticks(ax, float(rows["start_h"].min()), float(rows["end_h"].max()))
    ax.set(ylim=(min(0.0, float(rows["auc"].min())), 1.02), xlabel=style.TIME_AXES["hpi"], ylabel="AUC")
    style.legend_outside(ax)
    first = controls.loc[controls["what"].eq("first window above chance"), "start_h"]
    said = f"It stays above chance from {first.iloc[0]:g} h after the onset on." if len(first) else (
        "No window is followed by windows above chance only.")  # fmt: skip
    style.describe(ax, f"AUC of P(infected) in {len(rows)} windows of hours after the onset, "
                   f"{style.range_text(rows['auc'], 2)}. {said}")  # fmt: skip
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
        sampling: of :func:`hpiclock.study.audit_sampling.sampling`.
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
        changes: of :func:`hpiclock.study.audit_changes.by_change`.
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
            words.append(f"{ANSWERS[answer]} of {condition} frames is largest for {most['change']}: "
                         f"{style.number(most['effect'], 2, signed=True)}")  # fmt: skip
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
