"""The tables of a comparison, in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hpiclock.config import leaves
from hpiclock.report.comparing import REPEATS, Comparison, differing_keys
from hpiclock.report.words import NAMES
from hpiclock.study.compare_words import CANNOT

SPREADS = {"sd": "SD over windows", "range": "range over windows"}


def variants_table(found: Comparison) -> pd.DataFrame:
    """Return ``variant runs seeds folds differs``: what was compared and by which keys it differs."""
    configs = [dict(leaves(runs[0].cfg)) for runs in found.variants.values()]
    differs = differing_keys([{k: v for k, v in one.items() if k not in REPEATS} for one in configs])
    rows: list[dict[str, Any]] = []
    for (name, runs), keys in zip(found.variants.items(), differs, strict=True):
        folds = {(run.cfg.split.fold if run.cfg.split.folds else 0) for run in runs}
        seeds = {run.cfg.seed for run in runs}
        rows.append({"variant": name, "runs": len(runs), "seeds": len(seeds), "folds": len(folds),
                     "differs in": keys})  # fmt: skip
    return pd.DataFrame(rows).set_index("variant")


def readable_comparison(found: Comparison) -> pd.DataFrame:
    """Return the table over all hours for reading, indexed by variant, frames and metric."""
    rows, level = found.tables["comparison"], found.cfg.study.level
    says = [row.verdict if row.verdict != CANNOT else row.note for row in rows.itertuples()]
    return pd.DataFrame(
        {
            "variant": rows["variant"],
            "frames": rows["group"],
            "metric": [NAMES.get(metric, metric) for metric in rows["metric"]],
            "value": [_short(value) for value in rows["value"]],
            "against": [_short(value) for value in rows["value_against"]],
            f"difference ({level:.0%} interval)": [_range(row) for row in rows.itertuples()],
            "p corrected": [_short(value) for value in rows["p_holm"]],
            "could see": [_short(value) for value in rows["could_see"]],
            "says": says,
        }
    ).set_index(["variant", "frames", "metric"])


def readable_steadiness(found: Comparison) -> pd.DataFrame:
    """Return the spreads over windows for reading, indexed by variant, metric and kind of spread."""
    rows, level = found.tables["steadiness"], found.cfg.study.level
    differences = rows["value"] - rows["value_against"]
    return pd.DataFrame(
        {
            "variant": rows["variant"],
            "metric": [NAMES.get(metric, metric) for metric in rows["metric"]],
            "frames": rows["group"],
            "spread": [SPREADS[spread] for spread in rows["spread"]],
            "value": [_short(value) for value in rows["value"]],
            "against": [_short(value) for value in rows["value_against"]],
            "difference": [f"{value:+.3f}" if pd.notna(value) else "–" for value in differences],
            f"by chance, {level:.0%} below": [_short(value) for value in rows["by_chance"]],
            "p corrected": [_short(value) for value in rows["p_holm"]],
            "windows": rows["n_windows"],
        }
    ).set_index(["variant", "metric", "frames", "spread"])


def _short(value: float) -> str:
    return f"{value:.3f}" if pd.notna(value) else "–"


def _range(row: Any) -> str:
    if pd.isna(row.difference):
        return "–"
    limits = f"{row.low:+.3f} to {row.high:+.3f}" if pd.notna(row.low) else "no interval"
    return f"{row.difference:+.3f} ({limits})"
