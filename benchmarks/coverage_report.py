"""The table of the coverage simulation as CSV and as a page of the docs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from simulation import DOCS, PAGES, markdown, write_files

GOOD = (0.93, 0.97)
NAMES = {"auc": "AUC", "accuracy": "accuracy", "f1": "F1", "mae": "time MAE"}
OTHERS = {
    "precision": "precision", "recall": "recall", "mae_one_class": "time MAE of one class",
    "rmse": "time RMSE", "mse": "time MSE", "bias": "time bias", "r2": "time R²",
    "mae_of_clock": "MAE of a clock alone", "gain_over_clock": "hours gained over a clock alone",
    "skill_over_clock": "skill over a clock alone",
}  # fmt: skip


def write_report(table: pd.DataFrame, root: Path) -> None:
    write_files(
        {
            root / PAGES / "coverage.csv": table.round(4).to_csv(index=False),
            root / DOCS / "coverage.md": page(table),
        }
    )


def page(table: pd.DataFrame) -> str:
    used = table[table["method"].str.contains("used") & table["scores"].eq("normal")]
    used = used[used["metric"].isin(NAMES)]
    claimed = used[used["k"].ge(8) & (used["metric"].ne("auc") | used["nominal_auc"].between(0.7, 0.98))]
    claimed = claimed[claimed["nominal_auc"].between(0.7, 0.98) | claimed["metric"].eq("mae")]
    inside = claimed["coverage"].between(*GOOD)
    lines = [
        "# How often do the intervals hold the truth?",
        "",
        "Simulated scores with a known truth: frames in groups (24 frames of 2 stacks a group), as many",
        "infected as mock groups, a correlation within groups (`icc`), 2,000 replicates a cell (600 for the",
        "group bootstraps, 40-533 for the frame bootstrap). A 95% interval should hold the truth in 95%.",
        "`make bench-coverage` repeats it; every cell is in `reports/benchmarks/coverage.csv`.",
        "",
        "With 8 and more groups per class, AUC 0.7-0.98 and every correlation, the intervals of hpiclock",
        f"cover {claimed['coverage'].min():.3f}-{claimed['coverage'].max():.3f}; "
        f"{inside.sum()} of {len(inside)} cells lie in {GOOD[0]}-{GOOD[1]}.",
        "",
    ]
    outside = claimed[~inside]
    if len(outside):
        lines += [
            "Cells outside:",
            "",
            _table(outside[["metric", "k", "icc", "nominal_auc", "truth", "coverage"]]),
        ]
    for metric, name in NAMES.items():
        rows = table[table["scores"].eq("normal") & table["metric"].eq(metric)]
        lines += [
            f"## {name}",
            "",
            "Coverage, by groups per class; the range is over correlations and AUCs.",
            "",
        ]
        lines += [_table(_ranges(rows)), ""]
    lines += others(table)
    auc = table[table["metric"].eq("auc") & table["scores"].eq("normal") & table["icc"].eq(0.6)]
    high = auc[auc["nominal_auc"].eq(0.98)]
    lines += ["## AUC 0.98, strongly correlated frames (icc 0.6)", "", "Coverage and mean width.", ""]
    lines += [_table(_pairs(high)), ""]
    other = table[table["scores"].ne("normal") & table["method"].eq("score (used)")]
    lines += [
        "## When scores are not normal",
        "",
        "The shape of the score interval comes from normal scores. Here: heavy tails (t, 4 degrees of",
        "freedom), skewed group effects (a few bad wells), a time course (nothing to see in early frames).",
        "",
        _table(other.pivot_table(index=["scores", "k"], columns=["icc", "nominal_auc"], values="coverage")
               .round(3).pipe(_flat)),
        "",
        "Where a few bad wells make most of the errors (skewed groups, high icc and AUC) no method covers:",
        "wells that were not sampled cannot be seen in those that were. The remedy is more wells.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def others(table: pd.DataFrame) -> list[str]:
    """The metrics that are simulated through the study itself, with fewer cells."""
    heavy = table[table["metric"].eq("rmse") & table["scores"].eq("heavy tails") & table["method"].eq("used")]
    rows = table[table["metric"].isin(OTHERS) & table["scores"].eq("normal")]
    names = rows["metric"].map(OTHERS)
    rows = rows.assign(method=names.where(rows["method"].eq("used"), names + ", frames as units"))
    enough = rows[rows["k"].ge(8) & ~rows["method"].str.contains("frames as units")]
    spread = enough["coverage"]
    share = int(spread.between(*GOOD).sum())
    groups = ", ".join(map(str, sorted(rows["k"].unique())))
    order = [name + units for name in OTHERS.values() for units in ("", ", frames as units")]
    ranges = _ranges(rows).set_index("method").reindex(order).dropna(how="all").reset_index()
    return [
        "## Precision, recall and the other time errors",
        "",
        f"The same, as the study computes them from a table of frames: {groups} groups per class, AUC 0.7,",
        "0.9 and 0.98, correlations 0.1 and 0.6, 2,000 replicates (200 with frames as units). The times",
        "are of the infected groups alone: 8 groups are 8 wells. With 8 and more groups these cover",
        f"{spread.min():.3f}-{spread.max():.3f} ({share} of {len(spread)} cells in {GOOD[0]}-{GOOD[1]}; "
        f"{int((spread > GOOD[1]).sum())} cover more,",
        f"so are wider than need be, {int((spread < GOOD[0]).sum())} cover less).",
        "",
        _table(ranges),
        "",
        "With heavy-tailed time errors (t, 4 degrees of freedom) the interval of the RMSE covers "
        f"{heavy['coverage'].min():.2f}-{heavy['coverage'].max():.2f}",
        "with 8 and 20 groups: a sample seldom holds the rare large errors that make most of a mean square.",
        "Read the MAE there.",
        "",
    ]


def _ranges(rows: pd.DataFrame) -> pd.DataFrame:
    grouped = rows.groupby(["method", "k"])["coverage"]
    text = grouped.min().map("{:.2f}".format) + "-" + grouped.max().map("{:.2f}".format)
    return _flat(text.reset_index(name="text").pivot_table("text", "method", "k", aggfunc="first"))


def _pairs(rows: pd.DataFrame) -> pd.DataFrame:
    text = rows["coverage"].map("{:.3f}".format) + " (" + rows["width"].map("{:.3f}".format) + ")"
    return _flat(rows.assign(text=text).pivot_table("text", "method", "k", aggfunc="first"))


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    def name(column: object) -> str:
        if isinstance(column, tuple):
            return f"icc {column[0]}, AUC {column[1]}"
        return f"{column} groups"

    table = table.copy()
    table.columns = pd.Index([name(column) for column in table.columns])
    return table.reset_index()


def _table(rows: pd.DataFrame) -> str:
    cells = [[f"{v:.3g}" if isinstance(v, float) else v for v in row] for row in rows.to_numpy().tolist()]
    return markdown(rows.columns, cells)
