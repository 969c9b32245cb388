"""What a comparison says, in plain words, made from its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.metrics import METRICS

BETTER, WORSE, EQUAL = "better", "worse", "equal within the margin"
SAME = "the two say the same of every group"
LEAST = 0.001  # chances below it are not told apart
NOT_SHOWN, CANNOT = "no difference shown", "cannot tell"


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
        *_steadier(tables["steadiness"], level),
    ]
    return pd.DataFrame(rows, columns=["topic", "verdict", "sentence"])


Sentences = Iterator[tuple[str, str, str]]


def variant_name(metric: str, group: str) -> str:
    """Return a metric of a group in words, e.g. ``time error of infected frames``."""
    known = METRICS[metric]
    of_group = "" if group in ("all", known.needs) else f" of {group} frames"
    return (known.words or known.title) + of_group


def _less_is_better(metric: str) -> bool:
    return METRICS[metric].better == "lower"


def _whole(table: pd.DataFrame, level: float, power: float) -> Sentences:
    for row in table.to_dict("records"):
        what = f"{row['variant']} against {row['against']}, {variant_name(row['metric'], row['group'])}"
        if row["verdict"] == CANNOT:
            yield "comparison", CANNOT, f"{what}: cannot be compared ({row['note']})."
            continue
        said = f"{what}: {_pair(row)}; {_evidence(row, level)}."
        yield "comparison", row["verdict"], f"{said} {_meaning(row, power)}"


def _evidence(row: Mapping[str, Any], level: float) -> str:
    limits = "no interval"
    if np.isfinite(row["low"]):
        limits = f"{level:.0%} interval {_size(row['low'], row)} to {_size(row['high'], row)}"
    least = row["p"] <= row["p_floor"] * 1.001 and row["p_floor"] >= LEAST
    floor = " (the least that so few wells can give)" if least else ""
    seeds = f", same sign in {row['seeds_agree']} seeds" if row["seeds_agree"] else ""
    return (
        f"difference {_size(row['difference'], row)}, {limits}, {row['n_wells']} wells{seeds}; "
        f"p = {_chance(row['p'])}{floor}, {_chance(row['p_holm'])} after correction"
    )


def _meaning(row: Mapping[str, Any], power: float) -> str:
    margin = _plain(row["margin"], row)
    if row["verdict"] in (BETTER, WORSE):
        small = np.isfinite(row["low"]) and -row["margin"] < row["low"] and row["high"] < row["margin"]
        little = f", but by less than the {margin} that matter" if small else ""
        return f"{row['variant']} is {row['verdict']} in this{little}."
    if row["verdict"] == EQUAL:
        if row["note"] == SAME:
            return "They say the same of every well."
        return f"Equal: the difference is below the margin of {margin} set beforehand."
    reach = "how small a difference could have been seen is not known"
    if np.isfinite(row["could_see"]):
        reach = (
            f"with these wells a difference of {_plain(row['could_see'], row)} would have been seen in "
            f"{power:.0%} of such experiments"
        )
    return f"No difference shown, which is not the same as none: {reach}."


def _windows(table: pd.DataFrame, level: float) -> Sentences:
    keys = ["variant", "against", "group", "metric"]
    for place, rows in table[table["axis"].eq("hours")].groupby(keys, sort=False):
        variant, against, group, metric = map(str, place)
        tested = rows[rows["p_over_all_windows"].notna()]
        what = f"{variant} against {against}, {variant_name(metric, group)} over hours"
        if tested.empty:
            continue  # said of all hours already
        found = tested[tested["p_over_all_windows"] <= 1 - level]
        if found.empty:
            most = tested.loc[tested["p_over_all_windows"].idxmin()]
            yield (
                "windows",
                NOT_SHOWN,
                f"{what}: no window differs surely (the least chance over all windows is "
                f"{_chance(most['p_over_all_windows'])}, at {most['start_h']:g}-{most['end_h']:g} h).",
            )
            continue
        for gained, part in found.groupby((found["difference"] > 0) != _less_is_better(metric)):
            spans = ", ".join(f"{row.start_h:g}-{row.end_h:g} h" for row in part.itertuples())
            word = BETTER if gained else WORSE
            yield "windows", word, f"{what}: {word} in {spans} (chances hold for all windows together)."


def _steadier(table: pd.DataFrame, level: float) -> Sentences:
    for row in table.to_dict("records"):
        spread = "standard deviation" if row["spread"] == "sd" else "range"
        what = f"{spread} over windows of the {variant_name(row['metric'], row['group'])}"
        pair = f"{row['variant']} against {row['against']}, {what}"
        if np.isnan(row["p"]):
            yield "steadier", CANNOT, f"{pair}: cannot be compared ({row['note']})."
            continue
        sizes = f"{_plain(row['value'], row)} against {_plain(row['value_against'], row)}"
        chance = f"p = {_chance(row['p'])}, {_chance(row['p_holm'])} after correction"
        if row["p_holm"] <= 1 - level:
            word = "steadier" if row["difference"] < 0 else "less steady"
            yield "steadier", word, f"{pair}: {sizes} ({chance}). {row['variant']} is {word} over time."
        else:
            yield (
                "steadier",
                NOT_SHOWN,
                f"{pair}: {sizes} ({chance}). Not shown to be steadier or less steady; differences of up to "
                f"{_plain(row['by_chance'], row)} come by chance.",
            )


def _pair(row: Mapping[str, Any]) -> str:
    return f"{_plain(row['value'], row)} against {_plain(row['value_against'], row)}"


def _plain(value: float, row: Mapping[str, Any]) -> str:
    return f"{value:.2f} h" if METRICS[row["metric"]].unit == "h" else f"{value:.3f}"


def _size(value: float, row: Mapping[str, Any]) -> str:
    return f"{value:+.2f} h" if METRICS[row["metric"]].unit == "h" else f"{value:+.3f}"


def _chance(p: float) -> str:
    return f"{p:.2g}" if p >= LEAST else "below 0.001"
