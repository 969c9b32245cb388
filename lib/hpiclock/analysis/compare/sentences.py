"""What a comparison says, in plain words: facts from its tables, for the templates of ``sentences.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.analysis.sentences import CANNOT, Sentences, words
from hpiclock.format import LEAST_P, p_text, value_text, window_text
from hpiclock.metrics import METRICS

BETTER, WORSE, EQUAL = "better", "worse", "equal within the margin"
SAME = "the two say the same of every group"
NOT_SHOWN = "no difference shown"
SPREADS = {"sd": "standard deviation", "range": "range"}
SIZES = ("value", "value_against", "difference", "low", "high", "margin", "could_see", "by_chance")
SIGNED = ("difference", "low", "high")  # of SIZES, which have the unit of the row's metric


def verdict_of(row: Mapping[str, Any], *, alpha: float) -> str:
    """Return what a row of ``comparison`` shows of its variant.

    ``better`` or ``worse`` where the corrected chance is at most ``alpha``; else ``equal within the
    margin`` where the equivalence interval lies inside it; else ``no difference shown``.
    """
    if np.isnan(row["p_holm"]):
        return CANNOT
    if row["p_holm"] <= alpha:
        return BETTER if (row["difference"] > 0) != _less_is_better(row["metric"]) else WORSE
    inside = -row["margin"] < row["low_margin"] and row["high_margin"] < row["margin"]
    return EQUAL if inside or row["note"] == SAME else NOT_SHOWN


def comparison_sentences(tables: Mapping[str, pd.DataFrame], *, level: float, power: float) -> pd.DataFrame:
    """Return ``topic verdict sentence`` from the tables of :func:`hpiclock.analysis.compare.compare`.

    Topics are ``comparison``, ``windows``, ``steadier`` and ``beware``.
    """
    rows = [
        *(("beware", CANNOT, note) for note in tables["notes"]["note"]),
        *_whole(tables["comparison"], level, power),
        *_windows(tables["comparison_windows"], level),
        *_steadiness(tables["steadiness"], level),
    ]
    return pd.DataFrame(rows, columns=["topic", "verdict", "sentence"])


def variant_name(metric: str, group: str) -> str:
    """Return a metric of a group in words, e.g. ``time error of infected frames``."""
    known = METRICS[metric]
    of_group = "" if group in ("all", known.needs) else f" of {group} frames"
    return (known.words or known.title) + of_group


def _less_is_better(metric: str) -> bool:
    return METRICS[metric].better == "lower"


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ``comparison`` or ``steadiness`` as facts: numbers written, what is compared named."""
    unit = METRICS[row["metric"]].unit
    written = {name: value_text(row[name], unit, signed=name in SIGNED) for name in SIZES if name in row}
    written |= {name: p_text(row[name], least=LEAST_P) for name in ("p", "p_holm")}
    spread = f"{SPREADS[row['spread']]} over windows of the " if "spread" in row else ""
    name = f"{spread}{variant_name(row['metric'], row['group'])}"
    return dict(row) | written | {"what": f"{row['variant']} against {row['against']}, {name}"}


def _whole(table: pd.DataFrame, level: float, power: float) -> Sentences:
    for row in table.to_dict("records"):
        facts = _facts(row)
        if row["verdict"] == CANNOT:
            yield "comparison", CANNOT, words("not compared", **facts)
            continue
        least = row["p"] <= row["p_floor"] * 1.001 and row["p_floor"] >= LEAST_P
        facts |= {
            "limits": words("interval" if np.isfinite(row["low"]) else "no interval", level=level, **facts),
            "floor": words("smallest p") if least else "",
            "seeds": words("seeds", **facts) if row["seeds_agree"] else "",
            "meaning": _meaning(row, facts, power),
        }
        yield "comparison", row["verdict"], words("difference", **facts)


def _meaning(row: Mapping[str, Any], facts: dict[str, Any], power: float) -> str:
    if row["verdict"] in (BETTER, WORSE):
        little = np.isfinite(row["low"]) and -row["margin"] < row["low"] and row["high"] < row["margin"]
        return words("better or worse by little" if little else "better or worse", **facts)
    if row["verdict"] == EQUAL:
        return words("same" if row["note"] == SAME else "equal", **facts)
    reach = words("power" if np.isfinite(row["could_see"]) else "power unknown", power=power, **facts)
    return words("not shown", reach=reach)


def _windows(table: pd.DataFrame, level: float) -> Sentences:
    keys = ["variant", "against", "group", "metric"]
    tested = table[table["axis"].eq("hours") & table["p_over_all_windows"].notna()]
    for (variant, against, group, metric), rows in tested.groupby(keys, sort=False):
        what = f"{variant} against {against}, {variant_name(metric, group)} over hours"
        found = rows[rows["p_over_all_windows"] <= 1 - level]
        if found.empty:
            most = rows.loc[rows["p_over_all_windows"].idxmin()]
            p = p_text(most["p_over_all_windows"], least=LEAST_P)
            window = window_text(most["start_h"], most["end_h"])
            yield "windows", NOT_SHOWN, words("no window differs", what=what, p=p, window=window)
        for gained, part in found.groupby((found["difference"] > 0) != _less_is_better(metric)):
            windows = ", ".join(window_text(row.start_h, row.end_h) for row in part.itertuples())
            word = BETTER if gained else WORSE
            yield "windows", word, words("windows differ", what=what, word=word, windows=windows)


def _steadiness(table: pd.DataFrame, level: float) -> Sentences:
    for row in table.to_dict("records"):
        facts = _facts(row)
        if np.isnan(row["p"]):
            yield "steadier", CANNOT, words("not compared", **facts)
        elif row["p_holm"] <= 1 - level:
            word = "steadier" if row["difference"] < 0 else "less steady"
            yield "steadier", word, words("steadier", word=word, **facts)
        else:
            yield "steadier", NOT_SHOWN, words("not steadier", **facts)
