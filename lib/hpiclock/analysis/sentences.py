"""What this says: sentences made from the tables, with "cannot tell" where the data cannot.

Words stand in :data:`WORDS` alone, a template per sentence; the functions below it compute the facts that
fill it and decide the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.analysis.units import MIN_GROUPS, condition_codes, group_codes
from hpiclock.format import Estimate, hours_text, window_text

Tables = dict[str, pd.DataFrame]
Sentences = Iterator[tuple[str, str, str]]  # topic, verdict, sentence
CANNOT = "cannot tell"
SAYS = "says"
BEWARE = "beware"

FALSE_ALARMS = 0.1  # share of mock stacks; above it a time of detection is not that of an infection
WORTHLESS = 0.5  # a bound of the false alarms above it bounds nothing
VAGUE = 0.5  # an interval of an AUC wider than this holds chance and near certainty alike

WORDS = {
    # the design: what these stacks cannot answer
    "one condition": "All stacks are {only}: whether the model tells infected from mock cannot be told.",
    "wells unknown": "Wells are not given: whether positions share a well, and how wells differ, cannot be "
    "told.",
    "one well": "{conditions} stacks come from one well: a difference between infected and mock cannot "
    "separate infection from well.",
    "few wells": "Only {counts} wells: numbers are given without an interval over wells.",
    "conditions on other plates": "No plate holds both infected and mock wells: infection cannot be "
    "separated from plate.",
    "one plate": "One plate: whether the result holds on another plate cannot be told.",
    "onset unknown": "Some infected stacks have no onset: their time since infection cannot be told.",
    "one onset": "All infected wells share one onset ({onset:g} h): time since infection cannot be told "
    "from time since start.",
    # infected or not
    "no auc": "Cannot tell infected from uninfected frames: {why}.",
    "auc": "An infected frame scores above an uninfected one in {auc.value:.1%} of pairs (AUC {auc:.3f}; "
    "{n_wells} wells, {n_stacks} stacks).",
    "no auc of the same hour": "Cannot tell how much of this the clock explains: {why}.",
    "auc of the same hour": "Among frames of the same hour the AUC is {auc:.3f}; {clock}.",
    "clock unknown": "whether elapsed time adds to the AUC cannot be told (difference {gap:.3f})",
    "clock adds": "elapsed time adds {gap:.3f}",
    "clock takes away": "elapsed time takes away {gap:.3f}",
    # before the onset and after the eclipse
    "no auc before onset": "Cannot tell whether the model knows infected wells before their onset: {why}.",
    "known before onset": "Already before the onset infected and mock wells are told apart (AUC {auc:.3f}): "
    "the model reads something other than the infection.",
    "vague before onset": "Cannot tell whether the model knows infected wells before their onset: the AUC "
    "{auc:.3f} can be chance and can be far from it; more wells would tell.",
    "unknown before onset": "Before the onset infected wells are not told from mock ones (AUC {auc:.3f}, "
    "chance is 0.5), as it should be.",
    "after eclipse": "After the eclipse ({eclipse_h:g} h from the onset) the AUC is {auc:.3f}.",
    # over time
    "no window": "Cannot tell from which hour on infection is seen: no window has an interval.",
    "chance in every window": "Cannot tell from which hour on infection is seen: in no window of hours post "
    "infection is the AUC surely above chance.",
    "first window": "The first window with an AUC surely above chance is {window} post infection (AUC "
    "{value:.3f}; band over all windows {low_simultaneous:.3f}-{high_simultaneous:.3f}).",
    "no stability": "Cannot tell whether the AUC is stable over time: too few windows or groups.",
    "stability": "Over hours post infection the AUC ranges over {range:.3f}{limits}, {more} the "
    "{range_of_noise:.3f} that noise alone explains{trend}; its SD over windows is {sd:.3f} ({sd_says} by "
    "the usual marks, which know nothing of noise).",
    "limits of range": " ({level:.0%} interval {range_low:.3f} to {range_high:.3f})",
    "trend unknown": "; whether it rises or falls cannot be told",
    "rises": "; it rises by {slope.value:.3f} in ten hours ({slope.level:.0%} interval "
    "{slope.low:.3f} to {slope.high:.3f})",
    "falls": "; it falls by {slope.value:.3f} in ten hours ({slope.level:.0%} interval "
    "{slope.low:.3f} to {slope.high:.3f})",
    # detection of infected stacks
    "decision": "At the decision threshold",
    "controls": "At the controls' threshold",
    "no detection": "{at} the time of detection cannot be told: {note}.",
    "detected too early": "{at} {found}, but {alarms}: these times are too early.",
    "detected": "{at} {found}; {alarms}.",
    "detected, bounded": "{at} {found}; {alarms}; {note}.",
    "fewer than half": "{n_detected} of {n_stacks} infected stacks are detected, fewer than half",
    "one stack": "the one infected stack is detected at {half_h:.1f} h post infection",
    "half": "half of the {n_stacks} infected stacks are detected by {half_h:.1f} h post infection "
    "({between})",
    "between": "interval {low} to {high}",
    "no mock": "no mock stack says how often this is a false alarm",
    "alarms": "{n_alarms} of {n_stacks} mock stacks are by the same rule",
    # the predicted time
    "no time": "Cannot tell the time since infection: {why}.",
    "time": "Time since infection is off by {error:.1f h} on average.",
    "clock": "a clock that sees no image",
    "mean": "always saying the mean time",
    "no gain": "Cannot tell whether this is better than {rival}: {why}.",
    "vague gain": "Cannot tell whether this is better than {rival}: the error is {value} ({level:.0%} "
    "interval {low} to {high}).",
    "smaller": "{hours:.1f} h smaller",
    "larger": "{hours:.1f} h larger",
    "gain": "The error is smaller than that of {rival} by {gain:.1f h}{share}.",
    "loss": "The error is larger than that of {rival} by {gain:.1f h}{share}.",
    "share": ", {skill:.0%} of that error",
    "pulled to the middle": "An hour more since infection moves the prediction by {slope:.2f h} only: early "
    "frames are called late and late ones early.",
    "slope too steep": "An hour more since infection moves the prediction by {slope:.2f h}, too far.",
    "slope": "An hour more since infection moves the prediction by {slope:.2f h}; 1 would be right.",
    # P(infected) as a probability
    "no temperature": "Cannot tell whether P(infected) is a probability: {note}.",
    "too sure": "The model is too sure of itself (temperature {found:.2f}; 1 would be right).",
    "too unsure": "The model is less sure than it may be (temperature {found:.2f}; 1 would be right).",
    "calibrated": "The model is about as sure as it should be (temperature {found:.2f}; 1 would be right).",
    "vague temperature": "Cannot tell whether the model is too sure of itself (temperature {found:.2f}).",
    # single predicted times
    "no coverage": "How far off one predicted time can be cannot be told for frames {group}: {why}.",
    "coverage": "For frames {group} the time +- {half_width:.1f} h held the truth in {coverage:.0%} of {n} "
    "test frames (asked: {level:.0%}).",
}


def words(key: str, **facts: Any) -> str:
    """Return the template of this name with its facts filled in."""
    return WORDS[key].format(**facts)


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
    """Return one sentence for every question that these rows cannot answer; none when all can be asked.

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


def of_test(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the test split (else validation, else training) of the first run."""
    for split in ("test", "val", "train"):
        rows = table[table["split"].eq(split)]
        if len(rows):
            return rows[rows["run"].eq(rows["run"].iloc[0])]
    return table


def _first(table: pd.DataFrame, **where: str) -> dict[str, Any]:
    """Return the first row of the test split with these values as facts; empty when there is none."""
    rows = of_test(table)
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
    table = of_test(tables["windows_hpi"])
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
        facts = {"at": WORDS[rule], "note": note}
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
    facts["rival"] = WORDS[rival]
    if not (gain.known and gain.bounded):
        return "time", CANNOT, words("no gain", **facts)
    if gain.contains(0):
        ends = {name: _less(getattr(gain, name)) for name in ("value", "low", "high")}
        return "time", CANNOT, words("vague gain", level=level, **(facts | ends))
    skill, _ = _metric(tables, "infected", f"skill_over_{rival}", level)
    facts |= {"gain": gain.absolute(), "share": words("share", skill=abs(skill.value)) if skill.known else ""}
    verdict, key = (SAYS, "gain") if gain.value > 0 else (BEWARE, "loss")
    return "time", verdict, words(key, **facts)


def _less(hours: float) -> str:
    return words("smaller" if hours >= 0 else "larger", hours=abs(hours))


def calibration_sentences(tables: Tables, level: float) -> Sentences:
    """Yield whether P(infected) is a probability."""
    row = {"note": "no scored frames"} | _first(tables["temperature"])
    found = Estimate.of(row, level=level, columns=("temperature", "low", "high"))
    if not (found.known and found.bounded):
        verdict, key = CANNOT, "no temperature"
    elif found.low > 1:
        verdict, key = BEWARE, "too sure"
    elif found.high < 1:
        verdict, key = SAYS, "too unsure"
    elif found.high / found.low < 2:
        verdict, key = SAYS, "calibrated"
    else:
        verdict, key = CANNOT, "vague temperature"
    yield "calibration", verdict, words(key, found=found, **row)


def single_prediction_sentences(tables: Tables) -> Sentences:
    """Yield how far off single predicted times are, per call."""
    table = tables["conformal"]
    for row in table[table["start_h"].isna()].to_dict("records"):
        if np.isnan(row["width_h"]) or np.isnan(row["coverage"]):
            why = str(row["note"]).removeprefix("no interval: ")
            yield "single predictions", CANNOT, words("no coverage", why=why, **row)
        else:
            yield "single predictions", SAYS, words("coverage", half_width=row["width_h"] / 2, **row)
