"""Short texts and readable tables: what a scan found, what a run gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from IPython.display import Markdown

from hpiclock.plate.summary import design_table

MANY_ALIKE = 5  # problems that differ in numbers only; more of them are one line
NAMES = {
    "auc": "AUC",
    "auc_stratified": "AUC within the same hour",
    "f1": "F1",
    "mae": "time MAE (h)",
    "mae_predicted_clock": "time MAE, predicted clock (h)",
    "rmse": "time RMSE (h)",
    "bias": "time bias (h)",
    "r2": "time R²",
    "mae_of_mean": "MAE of predicting the mean (h)",
    "mae_of_clock": "MAE of a clock alone (h)",
    "auc_gap": "AUC less that within the same hour",
    "gain_over_mean": "hours better than the mean",
    "gain_over_clock": "hours better than a clock alone",
    "skill_over_mean": "skill over the mean",
    "skill_over_clock": "skill over the clock",
}
SUMMARY = [
    *("auc", "auc_stratified", "auc_gap", "accuracy", "f1", "precision", "recall", "specificity"),
    *("mae", "mae_predicted_clock"),
]
AGAINST = ["mae_of_clock", "gain_over_clock", "skill_over_clock", "mae_of_mean", "gain_over_mean",
           "skill_over_mean"]  # fmt: skip


def survey_lines(manifest: pd.DataFrame, problems: pd.DataFrame) -> Iterator[str]:
    """Yield a summary of the stacks that were found, then every error and note with its remedy.

    Args:
        manifest: the MANIFEST of the stacks that can be used.
        problems: ``path, severity, problem, remedy``.
    """
    yield f"{len(manifest)} stacks can be used"
    if len(manifest):
        yield design_table(manifest).fillna({"moi": ""}).to_string(index=False)
    for severity, rows in problems.groupby("severity"):
        yield f"{len(rows)} {severity}{'s' if len(rows) > 1 else ''}:"
        # numbers aside, 432 stacks with one fault are one line
        kind = rows["problem"].str.replace(r"\d+(\.\d+)?", "0", regex=True) + rows["remedy"]
        for _, same in rows.groupby(kind, sort=False):
            for row in same.head(1 if len(same) > MANY_ALIKE else len(same)).itertuples():
                yield f"  {row.path}: {row.problem}" + (f"; {row.remedy}" if row.remedy else "")
            if len(same) > MANY_ALIKE:
                yield f"  and the like of {len(same) - 1} more, the last {same['path'].iloc[-1]}"


def readable(metrics: pd.DataFrame, *, groups: list[str], names: list[str], split: str) -> pd.DataFrame:
    """Return METRICS rows over all hours as a table to read, indexed by ``group`` and ``metric``.

    Columns: ``value``, ``95% interval``, ``frames``, ``stacks``, ``wells``; in the order of ``groups`` and
    ``names``. Where a value or an interval is undefined its reason stands in its place.
    """
    rows = metrics[metrics["split"].eq(split) & metrics["start_h"].isna()]
    rows = rows[rows["group"].isin(groups) & rows["metric"].isin(names)]
    place = rows["group"].map(groups.index) * len(names) + rows["metric"].map(names.index)
    rows = rows.iloc[place.argsort(kind="stable")]
    return pd.DataFrame(
        {
            "group": rows["group"],
            "metric": [NAMES.get(name, name) for name in rows["metric"]],
            "value": [f"{value:.3f}" if pd.notna(value) else "undefined" for value in rows["value"]],
            "95% interval": [_interval(row) for row in rows.itertuples()],
            "frames": rows["n"],
            "stacks": rows["n_stacks"],
            "wells": rows["n_wells"],
        }
    ).set_index(["group", "metric"])


def sentences(tables: Mapping[str, pd.DataFrame], topics: list[str]) -> Markdown:
    """Return the study's conclusions on these topics as a list to show; what cannot be told is marked."""
    rows = tables["conclusions"]
    rows = rows[rows["topic"].isin(topics)]
    marks = {"says": "", "cannot tell": "**Cannot tell.** ", "beware": "**Beware.** "}
    lines = [f"- {marks.get(row.verdict, '')}{row.sentence}" for row in rows.itertuples()]
    return Markdown("\n".join(lines) or "Nothing can be said.")


def summary_text(run: str, notes: list[str], threshold_note: str, metrics: pd.DataFrame) -> str:
    """Return ``training_summary.txt``: what cannot be told first, then the test metrics with intervals.

    Args:
        run: its name.
        notes: what this plate and split cannot tell.
        threshold_note: how the class threshold was chosen.
        metrics: a METRICS table.
    """
    groups = ["all", "infected", "mock", "before onset", "eclipse", "after eclipse"]
    table = readable(metrics, groups=groups, names=SUMMARY, split="test")
    rivals = readable(metrics, groups=["infected"], names=AGAINST, split="test")
    lines = [f"Run {run}", "", *(f"! {note}" for note in notes), *([""] if notes else [])]
    lines += [f"Threshold: {threshold_note}", "", "Test frames, all hours:"]
    lines += [
        table.to_string(),
        "",
        "Time of infected frames against a clock that sees no image, and against",
    ]
    lines += ["always saying the mean time (positive: the model is better):", rivals.to_string()]
    return "\n".join(lines) + "\n"


def _interval(row: Any) -> str:
    if pd.notna(row.low) and pd.notna(row.high):
        return f"{row.low:.3f} to {row.high:.3f}"
    return row.note.partition(";")[0]
