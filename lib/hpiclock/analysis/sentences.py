"""What this says: sentences made from the tables, with "cannot tell" where the data cannot.

The words stand in ``sentences.yaml``, a template per sentence; the functions here compute the facts that fill
it and decide the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from hpiclock.analysis.units import MIN_GROUPS, condition_codes, group_codes
from hpiclock.format import LEAST_P, Estimate, hours_text, p_text, value_text, window_text
from hpiclock.metrics import METRICS

Tables = dict[str, pd.DataFrame]
Sentences = Iterator[tuple[str, str, str]]  # topic, verdict, sentence
CANNOT = "cannot tell"
SAYS = "says"
BEWARE = "beware"

FALSE_ALARMS = 0.1  # share of mock stacks; above it a time of detection is not that of an infection
WORTHLESS = 0.5  # a bound of the false alarms above it bounds nothing
VAGUE = 0.5  # an interval of an AUC wider than this holds chance and near certainty alike


@cache
def templates() -> dict[str, str]:
    """Return the template of every sentence and clause by name."""
    found: dict[str, str] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return found


def words(key: str, /, **facts: Any) -> str:
    """Return the template of this name in ``sentences.yaml`` with its facts filled in."""
    return templates()[key].format(**facts)


def conclusions(tables: Tables, *, level: float, eclipse_h: float) -> pd.DataFrame:
    """Return ``topic verdict sentence``, from the tables of :func:`hpiclock.analysis.run_study.run_study`.

    ``verdict`` is ``says``, ``cannot tell``, or ``beware`` where a control fails. Numbers are those of the
    test split (of validation where there is no test), of the first run in the table.
    """
    rows = [
        *(("design", CANNOT, note) for note in tables["notes"]["note"]),
        *_class(tables, level),
        *_phases(tables, level, eclipse_h),
        *_windows(tables, level),
        *detection_sentences(tables),
        *time_sentences(tables, level),
        *calibration_sentences(tables, level),
        *single_prediction_sentences(tables),
    ]
    return pd.DataFrame(rows, columns=["topic", "verdict", "sentence"])


def design_sentences(rows: pd.DataFrame) -> list[str]:
    """Return one sentence for every question that these rows cannot answer; none when they can answer all.

    Args:
        rows: predictions or a manifest: one row or more per stack with its identity columns.
    """
    stacks = rows.drop_duplicates("stack_id")
    infected = condition_codes(stacks) == 1
    if infected.all() or not infected.any():
        return [words("one condition", only="infected" if infected.all() else "mock")]
    return [*_wells(stacks, infected), *_plates(stacks, infected), *_onsets(stacks[infected])]


def _wells(stacks: pd.DataFrame, infected: np.ndarray) -> Iterator[str]:
    if stacks["well"].eq("").any():
        yield words("wells unknown")
        return
    wells = group_codes(stacks, "well")
    n_wells = {"infected": len(np.unique(wells[infected])), "mock": len(np.unique(wells[~infected]))}
    alone = [name for name, n in n_wells.items() if n == 1]
    few = [f"{n} {name}" for name, n in n_wells.items() if n < MIN_GROUPS]
    if alone:
        yield words("one well", conditions=" and ".join(alone).capitalize())
    elif few:
        yield words("few wells", counts=" and ".join(few))


def _plates(stacks: pd.DataFrame, infected: np.ndarray) -> Iterator[str]:
    plates = stacks["plate"]
    if not set(plates[infected]) & set(plates[~infected]):
        yield words("conditions on other plates")
    elif (plates == plates.iloc[0]).all():
        yield words("one plate")


def _onsets(infected: pd.DataFrame) -> Iterator[str]:
    onsets = infected["onset_h"]
    if onsets.isna().any():
        yield words("onset unknown")
    elif (onsets == onsets.iloc[0]).all():
        yield words("one onset", onset=onsets.iloc[0])


def test_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the test split (else validation, else training) of the first run."""
    for split in ("test", "val", "train"):
        rows = table[table["split"].eq(split)]
        if len(rows):
            return rows[rows["run"].eq(rows["run"].iloc[0])]
    return table


def _first(table: pd.DataFrame, **where: str) -> dict[str, Any]:
    """Return the first row of the test split with these values as facts; empty when there is none."""
    rows = test_rows(table)
    for column, value in where.items():
        rows = rows[rows[column].eq(value)]
    return {} if rows.empty else rows.iloc[0].to_dict()


def _metric(tables: Tables, group: str, metric: str, level: float) -> tuple[Estimate, dict[str, Any]]:
    """Return a metric with its interval, NaN when undefined, and its row with ``why`` it is undefined."""
    row = _first(tables["metrics"], group=group, metric=metric)
    why = str(row["note"]).rstrip(".") if row else "there are no such frames"
    return Estimate.of(row, level=level), row | {"why": why}


def _class(tables: Tables, level: float) -> Sentences:
    auc, facts = _metric(tables, "all", "auc", level)
    if not auc.known:
        yield "class", CANNOT, words("no auc", **facts)
        return
    yield "class", SAYS, words("auc", auc=auc, **facts)
    auc, facts = _metric(tables, "all", "auc_stratified", level)
    if not auc.known:
        yield "class", CANNOT, words("no auc of the same hour", **facts)
        return
    gap, _ = _metric(tables, "all", "auc_gap", level)
    if not gap.bounded or gap.contains(0):
        clock = words("clock unknown", gap=gap)
    else:
        clock = words("clock adds" if gap.value > 0 else "clock takes away", gap=gap.absolute())
    yield "class", SAYS, words("auc of the same hour", auc=auc, clock=clock)


def _phases(tables: Tables, level: float, eclipse_h: float) -> Sentences:
    auc, facts = _metric(tables, "before onset", "auc", level)
    if not (auc.known and auc.bounded):
        verdict, key = CANNOT, "no auc before onset"
    elif not auc.contains(0.5):
        verdict, key = BEWARE, "known before onset"
    elif auc.high - auc.low > VAGUE:
        verdict, key = CANNOT, "vague before onset"
    else:
        verdict, key = SAYS, "unknown before onset"
    yield "before onset", verdict, words(key, auc=auc, **facts)
    auc, _ = _metric(tables, "after eclipse", "auc", level)
    if auc.known:
        yield "after eclipse", SAYS, words("after eclipse", auc=auc, eclipse_h=eclipse_h)


def _windows(tables: Tables, level: float) -> Sentences:
    table = test_rows(tables["windows_hpi"])
    rows = table[table["group"].eq("all") & table["metric"].eq("auc")]
    banded = rows[rows["low_simultaneous"].notna()]
    seen = banded[banded["low_simultaneous"] > 0.5].sort_values("start_h")
    if banded.empty:
        yield "earliest window", CANNOT, words("no window")
        return
    if seen.empty:
        yield "earliest window", CANNOT, words("chance in every window")
    else:
        first = seen.iloc[0]
        window = window_text(first["start_h"], first["end_h"])
        yield "earliest window", SAYS, words("first window", window=window, **first)
    row = _first(tables["stability"], group="all", metric="auc", axis="hpi")
    if not row or np.isnan(row["range"]) or np.isnan(row["range_of_noise"]):
        yield "stability", CANNOT, words("no stability")
        return
    bounded = np.isfinite(row["range_low"]) and np.isfinite(row["range_high"])
    limits = words("limits of range", level=level, **row) if bounded else ""
    more = "more than" if row["range"] > row["range_of_noise"] else "no more than"
    yield "stability", SAYS, words("stability", limits=limits, more=more, trend=_trend(row, level), **row)


def _trend(row: dict[str, Any], level: float) -> str:
    names = ("slope_per_h", "slope_low", "slope_high")
    slope = Estimate.of({name: 10 * row[name] for name in names}, level=level, columns=names)
    if not slope.bounded:
        return ""
    if slope.contains(0):
        return words("trend unknown")
    return words("rises" if slope.value > 0 else "falls", slope=slope.absolute())


def detection_sentences(tables: Tables) -> Sentences:
    """Yield when infected stacks are found, and how many mock stacks are found by the same rule."""
    rules = tables["detection_thresholds"].set_index("rule")
    for rule in ("decision", "controls"):
        row = _first(tables["detection"], rule=rule, group="all")
        note = str(rules.loc[rule, "note"]) if rule in rules.index else "no infected stacks"
        facts = {"at": words(rule), "note": note}
        if not row or (rule == "controls" and rules.loc[rule, "bound"] > WORTHLESS):
            yield "detection", CANNOT, words("no detection", **facts)
            continue
        mock = _first(tables["false_alarms"], rule=rule)
        facts |= {"found": _found(row), "alarms": words("alarms", **mock) if mock else words("no mock")}
        if mock and mock["share"] > FALSE_ALARMS:
            yield "detection", BEWARE, words("detected too early", **facts)
        else:
            key = "detected, bounded" if rule == "controls" else "detected"
            yield "detection", SAYS, words(key, **facts)


def _found(row: dict[str, Any]) -> str:
    if not np.isfinite(row["half_h"]):
        return words("fewer than half", **row)
    if row["n_stacks"] == 1:
        return words("one stack", **row)
    between = "no interval"
    if np.isfinite(row["low_h"]) or np.isfinite(row["high_h"]):
        between = words("between", low=hours_text(row["low_h"]), high=hours_text(row["high_h"]))
    return words("half", between=between, **row)


def time_sentences(tables: Tables, level: float) -> Sentences:
    """Yield the time error, what it gains over two rivals that see no image, and its pull to the middle."""
    error, facts = _metric(tables, "infected", "mae", level)
    if not error.known:
        yield "time", CANNOT, words("no time", **facts)
        return
    yield "time", SAYS, words("time", error=error)
    for rival in ("clock", "mean"):
        yield _gain(tables, rival, level)
    row = _first(tables["time_lines"], clock="infection")
    slope = Estimate.of(row, level=level, columns=("slope", "slope_low", "slope_high"))
    if not (slope.known and slope.bounded):
        return
    if slope.contains(1):
        yield "time", SAYS, words("slope", slope=slope)
    else:
        key = "pulled to the middle" if slope.high < 1 else "slope too steep"
        yield "time", BEWARE, words(key, slope=slope)


def _gain(tables: Tables, rival: str, level: float) -> tuple[str, str, str]:
    gain, facts = _metric(tables, "infected", f"gain_over_{rival}", level)
    facts["rival"] = words(rival)
    if not (gain.known and gain.bounded):
        return "time", CANNOT, words("no gain", **facts)
    if gain.contains(0):
        hours = {name: getattr(gain, name) for name in ("value", "low", "high")}
        ends = {name: words("smaller" if h >= 0 else "larger", hours=abs(h)) for name, h in hours.items()}
        return "time", CANNOT, words("vague gain", level=level, **(facts | ends))
    skill, _ = _metric(tables, "infected", f"skill_over_{rival}", level)
    facts |= {"gain": gain.absolute(), "share": words("share", skill=abs(skill.value)) if skill.known else ""}
    verdict, key = (SAYS, "gain") if gain.value > 0 else (BEWARE, "loss")
    return "time", verdict, words(key, **facts)


def calibration_sentences(tables: Tables, level: float) -> Sentences:
    """Yield whether P(infected) is a probability: off, calibrated within the margin, or not to be told."""
    row = {"note": "no scored frames"} | _first(tables["calibration"])
    intercept, slope = (
        Estimate.of(row, level=level, columns=(name, f"{name}_low", f"{name}_high"))
        for name in ("intercept", "slope")
    )
    if not (intercept.bounded or slope.bounded):
        yield "calibration", CANNOT, words("no calibration", **row)
        return
    texts = [f"{found:.2f}" if found.known else "undefined" for found in (intercept, slope)]
    numbers = row | dict(zip(("intercept", "slope"), texts, strict=True))
    facts = row | {"numbers": words("calibration numbers", **numbers)}
    margin = row["margin"]
    held = -np.log(margin) < intercept.low and intercept.high < np.log(margin)
    off = {"p too high": intercept.high < 0, "p too low": intercept.low > 0,
           "p too extreme": slope.high < 1, "p too middling": slope.low > 1}  # fmt: skip
    faults = " and ".join(words(key, **row) for key, found in off.items() if found)
    if held and 1 / margin < slope.low and slope.high < margin:
        yield "calibration", SAYS, words("calibrated", **facts)
    elif faults:
        yield "calibration", BEWARE, words("not calibrated", faults=faults, **facts)
    else:
        yield "calibration", CANNOT, words("vague calibration", **facts)


def single_prediction_sentences(tables: Tables) -> Sentences:
    """Yield how far off single predicted times are, per call."""
    table = tables["conformal"]
    for row in table[table["start_h"].isna()].to_dict("records"):
        if np.isnan(row["width_h"]) or np.isnan(row["coverage"]):
            why = str(row["note"]).removeprefix("no interval: ")
            yield "single predictions", CANNOT, words("no coverage", why=why, **row)
        else:
            yield "single predictions", SAYS, words("coverage", half_width=row["width_h"] / 2, **row)


# What a comparison says.

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
        *_whole_comparison(tables["comparison"], level, power),
        *_compared_windows(tables["comparison_windows"], level),
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


def _compared(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ``comparison`` or ``steadiness`` as facts: numbers written, what is compared named."""
    unit = METRICS[row["metric"]].unit
    written = {name: value_text(row[name], unit, signed=name in SIGNED) for name in SIZES if name in row}
    written |= {name: p_text(row[name], least=LEAST_P) for name in ("p", "p_holm")}
    spread = f"{SPREADS[row['spread']]} over windows of the " if "spread" in row else ""
    name = f"{spread}{variant_name(row['metric'], row['group'])}"
    return dict(row) | written | {"what": f"{row['variant']} against {row['against']}, {name}"}


def _whole_comparison(table: pd.DataFrame, level: float, power: float) -> Sentences:
    for row in table.to_dict("records"):
        facts = _compared(row)
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


def _compared_windows(table: pd.DataFrame, level: float) -> Sentences:
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
        facts = _compared(row)
        if np.isnan(row["p"]):
            yield "steadier", CANNOT, words("not compared", **facts)
        elif row["p_holm"] <= 1 - level:
            word = "steadier" if row["difference"] < 0 else "less steady"
            yield "steadier", word, words("steadier", word=word, **facts)
        else:
            yield "steadier", NOT_SHOWN, words("not steadier", **facts)
