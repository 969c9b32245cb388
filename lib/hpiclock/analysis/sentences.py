"""What this says: sentences made from the tables, with "cannot tell" where the data cannot.

The words stand in ``sentences.yaml``, a template per sentence; the functions here compute the facts that fill
it and decide the verdict.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from hpiclock.allocation import given_to
from hpiclock.analysis.units import (
    MIN_GROUPS,
    condition_codes,
    reported_rows,
    reported_split,
    wells_by_condition,
)
from hpiclock.format import (
    LEAST_P,
    Estimate,
    between_text,
    count_text,
    first_clause,
    over_text,
    p_text,
    value_text,
    window_text,
)
from hpiclock.metrics import METRICS
from hpiclock.tables import SAME_H, table_of

Tables = dict[str, pd.DataFrame]
Sentences = Iterator[tuple[str, str, str]]  # topic, verdict, sentence
CANNOT = "cannot tell"
SAYS = "says"
BEWARE = "beware"

FALSE_ALARMS = 0.1  # share of mock stacks; above it a time of detection is not that of an infection
WORTHLESS = 0.5  # a bound of the false alarms above it bounds nothing
SPLIT_WORDS = {"test": "the test", "val": "validation", "train": "training"}


@cache
def templates() -> dict[str, str]:
    """Return the template of every sentence and clause by name."""
    found: dict[str, str] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return found


def words(key: str, /, **facts: Any) -> str:
    """Return the template of this name in ``sentences.yaml`` with its facts filled in."""
    return templates()[key].format(**facts)


def conclusions(tables: Tables, *, level: float, eclipse_h: float, margin: float) -> pd.DataFrame:
    """Return ``run split topic verdict sentence``, from the tables of :func:`.run_study.run_study`.

    ``verdict`` is ``says``, ``cannot tell``, or ``beware`` where a control fails. Every run has its
    sentences, on its reported split (:func:`hpiclock.analysis.units.reported_split`), and its name in front
    of them where there are several. Training rows alone are no result.

    Args:
        tables: the tables by name.
        level: of their intervals.
        eclipse_h: of the phases.
        margin: how far from 0.5 an AUC may be where there is nothing to see.
    """
    rows: list[tuple[str, ...]] = []
    runs = list(tables["metrics"].groupby("run", sort=True))
    for run, metrics in runs:
        split = reported_split(metrics)
        mine = {name: part_of(table, run=run, split=split) for name, table in tables.items()}
        found: Iterable[tuple[str, str, str]] = [("split", CANNOT, words("training rows"))]
        if split != "train":
            row = _first(mine["metrics"], group="all", metric="auc")
            counts = f"{count_text(int(row.get('n', 0)), 'frame')}, {_units_text(row)}"
            found = chain(
                [("split", SAYS, words("reported split", split=SPLIT_WORDS[split], counts=counts))],
                (("design", CANNOT, note) for note in mine["notes"]["note"]),
                _class(mine, level),
                _phases(mine, level, eclipse_h, margin),
                _windows(mine, level),
                detection_sentences(mine),
                time_sentences(mine, level),
                calibration_sentences(mine, level),
                single_prediction_sentences(mine),
                swing_sentences(mine["stacks"]),
            )
        named = f"{run}: " if len(runs) > 1 else ""
        rows += [(run, split, topic, verdict, named + sentence) for topic, verdict, sentence in found]
    return table_of(rows, "run split topic verdict sentence")


INFECTED_OR_NOT, HOW_LONG = "Infected or mock?", "For how long?"


def answer_sentences(tables: Tables, *, level: float, rival_mae: float = np.nan) -> dict[str, str]:
    """Return the answers to the two questions of every run, in words, from its study's tables.

    Args:
        tables: of one run, by name.
        level: of their intervals.
        rival_mae: time error of a linear model on frame statistics, hours; NaN without an audit.
    """
    split = reported_split(tables["metrics"])
    mine = {name: part_of(table, split=split) for name, table in tables.items()}
    return {
        INFECTED_OR_NOT: _answer_class(mine, level, split),
        HOW_LONG: _answer_time(mine, level, split, rival_mae),
    }


def _answer_class(tables: Tables, level: float, split: str) -> str:
    rows = part_of(tables["windows_hpi"], group="all", metric="auc_stratified")
    banded = rows[rows["low_simultaneous"].notna()].sort_values("start_h")
    after, facts = _metric(tables, "after eclipse", "auc_stratified", level)
    if split == "train":
        return words("answer unknown", why="the model was trained on all of these wells")
    if banded.empty:
        whole, every = _metric(tables, "all", "auc_stratified", level)
        why = every["why"] if after.bounded or not whole.bounded else facts["why"]
        return words("answer unknown", why=why)
    before, _ = _metric(tables, "before onset", "auc_stratified", level)
    if before.bounded and not before.contains(0.5):
        return words("answer before", auc=before)
    first = _first(banded[banded["low_simultaneous"].gt(0.5)])
    wells = _class_wells(facts or banded.iloc[0].to_dict(), split)
    if not first:
        return words("answer chance", wells=wells)
    recall, specificity = (
        _metric(tables, "after eclipse", name, level)[0] for name in ("recall", "specificity")
    )
    rates = ""
    if recall.known and specificity.known:
        fpr = specificity._replace(
            value=1 - specificity.value, low=1 - specificity.high, high=1 - specificity.low
        )
        rates = words("answer rates", recall=_percent(recall), fpr=_percent(fpr))
    primary = words("answer after", auc=after) if after.bounded else ""
    return words("answer from", wells=wells, level=level, after=primary, **first) + rates


def _answer_time(tables: Tables, level: float, split: str, rival_mae: float) -> str:
    error, facts = _metric(tables, "infected", "mae", level)
    if split == "train" or not error.known:
        why = "the model was trained on all of these wells" if split == "train" else facts["why"]
        return words("answer unknown", why=why)
    gain, _ = _metric(tables, "infected", "gain_over_clock", level)
    clock, _ = _metric(tables, "infected", "mae_of_clock", level)
    key = "answer vague"
    if not clock.known:
        key = "answer no clock"
    elif clock.value < SAME_H:
        return words("answer one clock", error=error)
    elif gain.bounded and not gain.contains(0):
        key = "answer better" if gain.value > 0 else "answer worse"
    limits = f" ({error.low:.1f} to {error.high:.1f})" if error.bounded else " (no interval)"
    rival = words("answer rival", mae=rival_mae) if np.isfinite(rival_mae) else ""
    against = words(key, mae=clock.value)
    return words("answer time", error=error, limits=limits, clock=against, rival=rival)


def _class_wells(row: Mapping[str, Any], split: str) -> str:
    """Return ``7 infected and 7 mock test wells`` of a row of METRICS, as its note says."""
    unit = re.search(r"\bunit (\w+): (\d+) infected, (\d+) mock", str(row.get("note", "")))
    if unit is None:
        return count_text(int(row.get("n_wells", 0)), f"{split} well")
    counts = [
        f"{n} {name}" for n, name in zip(unit.groups()[1:], ("infected", "mock"), strict=True) if int(n)
    ]
    return f"{' and '.join(counts)} {split} {unit[1]}{'' if sum(map(int, unit.groups()[1:])) == 1 else 's'}"


def _percent(share: Estimate) -> str:
    limits = f" ({share.low:.0%} to {share.high:.0%})" if share.bounded else " (no interval)"
    near_end = 0 < min(share.value, 1 - share.value) < 0.005  # one false alarm is not none
    return f"{share.value:.1%}{limits}" if near_end else f"{share.value:.0%}{limits}"


def part_of(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    """Return the rows with these values in those of the columns that the table has."""
    for column in where.keys() & set(table.columns):
        table = table[table[column].eq(where[column])]
    return table


def design_sentences(rows: pd.DataFrame) -> list[str]:
    """Return one sentence for every question that these rows cannot answer; none when they can answer all.

    The design is judged on the split that is reported, whatever the others hold.

    Args:
        rows: predictions, frames or a manifest: one row or more per stack with its identity columns.
    """
    stacks = reported_rows(rows).drop_duplicates("stack_id")
    where = f" in {SPLIT_WORDS[reported_split(rows)]}" if reported_split(rows) else ""
    infected = condition_codes(stacks) == 1
    if infected.all() or not infected.any():
        return [words("one condition", only="infected" if infected.all() else "mock", where=where)]
    parts = _wells(stacks), _lines(rows, stacks), _plates(stacks, infected), _onsets(stacks[infected])
    return [words(key, where=where, **facts) for key, facts in chain(*parts)]


def training_sentences(history: pd.DataFrame, *, best_epoch: int) -> list[str]:
    """Return which epoch is kept, its losses, and what it reached on validation.

    Args:
        history: HISTORY (``epoch split metric value``) of a finished run.
        best_epoch: the one whose weights are kept.
    """
    kept = history[history["epoch"].eq(best_epoch)].set_index(["split", "metric"])["value"]
    reached = [
        f"{metric.title} {value_text(kept['val', name], metric.unit)}"
        for name, metric in METRICS.items()
        if ("val", name) in kept.index
    ]
    losses = {split: kept[split, "loss"] for split in ("train", "val")}
    facts = {"epoch": best_epoch, "last": int(history["epoch"].max()), "reached": ", ".join(reached)}
    return [words("kept epoch", **facts), words("losses", **losses), words("validation", **facts)]


Facts = Iterator[tuple[str, dict[str, Any]]]  # a template and what fills it


def _wells(stacks: pd.DataFrame) -> Facts:
    if stacks["well"].eq("").any():
        yield "wells unknown", {}
        return
    few = {name: n for name, n in wells_by_condition(stacks).items() if n < MIN_GROUPS}
    alone = [name for name, n in few.items() if n == 1]
    if alone:
        yield "one well", {"conditions": " and ".join(alone).capitalize()}
    if few:
        counts = " and ".join(count_text(n, f"{name} well") for name, n in few.items())
        yield "few wells", {"counts": counts, "least": MIN_GROUPS}


def _lines(rows: pd.DataFrame, stacks: pd.DataFrame) -> Facts:
    first = rows.drop_duplicates("stack_id")  # the layout of all wells: a part may look otherwise
    given = pd.Series(given_to(first), first["stack_id"])[stacks["stack_id"]]
    for kind in sorted({*given} & {"column", "row", "block"}):
        yield "by line", {"kind": kind}


def _plates(stacks: pd.DataFrame, infected: np.ndarray) -> Facts:
    plates, n = stacks["plate"], stacks["plate"].nunique()
    if not set(plates[infected]) & set(plates[~infected]):
        yield "conditions on other plates", {}
    elif n < MIN_GROUPS:
        yield "few plates", {"plates": ("One plate", "Two plates")[n - 1]}


def _onsets(infected: pd.DataFrame) -> Facts:
    onsets = infected["onset_h"]
    if onsets.isna().any():
        yield "onset unknown", {}
    elif (onsets == onsets.iloc[0]).all():
        yield "one onset", {"onset": onsets.iloc[0]}


def _first(table: pd.DataFrame, **where: str) -> dict[str, Any]:
    """Return the first row with these values as facts; empty when there is none."""
    rows = part_of(table, **where)
    return {} if rows.empty else rows.iloc[0].to_dict()


def _units_text(row: Mapping[str, Any]) -> str:
    """Return of how many wells and stacks a row of METRICS is; positions where wells are not given."""
    stacks, wells = int(row.get("n_stacks", 0)), int(row.get("n_wells", 0))
    if not wells:
        return count_text(stacks, "position")
    return f"{count_text(wells, 'well')}, {count_text(stacks, 'stack')}"


def _metric(tables: Tables, group: str, metric: str, level: float) -> tuple[Estimate, dict[str, Any]]:
    """Return a metric with its interval, NaN when undefined, and its row.

    ``why`` is added: why it is undefined, or has no interval.
    """
    row = _first(tables["metrics"], group=group, metric=metric)
    why = (
        first_clause(row["note"]).rstrip(".").removeprefix("no interval: ")
        if row
        else "there are no such frames"
    )
    return Estimate.of(row, level=level), row | {"why": why}


def _class(tables: Tables, level: float) -> Sentences:
    auc, facts = _metric(tables, "all", "auc_stratified", level)
    if auc.known:
        yield "class", SAYS, words("auc", auc=auc, units=_units_text(facts), **facts)
    else:
        yield "class", CANNOT, words("no auc", **facts)
    pooled, every = _metric(tables, "all", "auc", level)
    if not pooled.known:
        return
    gap, _ = _metric(tables, "all", "auc_gap", level)
    if not gap.known:
        meaning = words("pooled alone")
    elif not gap.bounded or gap.contains(0):
        meaning = words("gap unknown", gap=gap)
    else:
        meaning = words("gap up" if gap.value > 0 else "gap down", gap=gap.absolute())
    alone = int(every["n"] - facts.get("n", 0)) if gap.known else 0
    rest = words("alone", alone=alone, n=int(every["n"])) if alone else ""
    yield "class", SAYS, words("pooled", auc=pooled, meaning=meaning, rest=rest)


def _phases(tables: Tables, level: float, eclipse_h: float, margin: float) -> Sentences:
    auc, facts = _metric(tables, "before onset", "auc_stratified", level)
    facts |= {"low": 0.5 - margin, "high": 0.5 + margin}
    if not (auc.known and auc.bounded):
        verdict, key = CANNOT, "no auc before onset"
    elif 0.5 - margin <= auc.low and auc.high <= 0.5 + margin:
        verdict, key = SAYS, "at chance before onset"
    elif not auc.contains(0.5):
        verdict, key = BEWARE, "known before onset"
    else:
        verdict, key = CANNOT, "vague before onset"
    yield "before onset", verdict, words(key, auc=auc, units=_units_text(facts), **facts)
    auc, facts = _metric(tables, "after eclipse", "auc_stratified", level)
    if auc.known:
        named = words("after eclipse", auc=auc, eclipse_h=eclipse_h, units=_units_text(facts))
        yield "after eclipse", SAYS, named


def _windows(tables: Tables, level: float) -> Sentences:
    rows = part_of(tables["windows_hpi"], group="all", metric="auc_stratified")
    banded = rows[rows["low_simultaneous"].notna()]
    seen = banded[banded["low_simultaneous"] > 0.5].sort_values("start_h")
    if banded.empty:
        whole, facts = _metric(tables, "all", "auc_stratified", level)
        why = "no window has an interval" if whole.bounded else facts["why"]
        yield "earliest window", CANNOT, words("no window", why=why)
        return
    if seen.empty:
        yield "earliest window", CANNOT, words("chance in every window")
    else:
        first = seen.iloc[0]
        window = window_text(first["start_h"], first["end_h"])
        yield "earliest window", SAYS, words("first window", window=window, level=level, **first)
    row = _first(tables["stability"], group="all", metric="auc_stratified", axis="hpi")
    if not row or np.isnan(row["range"]) or np.isnan(row["range_of_noise"]):
        yield "stability", CANNOT, words("no stability")
        return
    bounded = np.isfinite(row["range_low"]) and np.isfinite(row["range_high"])
    limits = words("limits of range", level=level, **row) if bounded else ""
    yield "stability", SAYS, words("stability", limits=limits, level=level, trend=_trend(row, level), **row)


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
    first = words("at first", **row) if row["n_at_first"] else ""
    if not np.isfinite(row["half_h"]):
        return words("fewer than half", first=first, **row)
    when = between_text(row["after_h"], row["half_h"])
    if row["n_stacks"] == 1:
        return words("one stack", when=when)
    limits = {name: f"{row[f'{name}_h']:.1f} h" for name in ("low", "high") if np.isfinite(row[f"{name}_h"])}
    # by which limits there are
    key = {2: "between", 1: "from" if "low" in limits else "up to", 0: "no interval"}[len(limits)]
    between = words(key, over=over_text(row["note"]), **limits)
    return words("half", when=when, limits=between, first=first, **row)


def time_sentences(tables: Tables, level: float) -> Sentences:
    """Yield the time error, what it gains over a clock that sees no image, and its line over true time."""
    error, facts = _metric(tables, "infected", "mae", level)
    if not error.known:
        yield "time", CANNOT, words("no time", **facts)
        return
    yield "time", SAYS, words("time", error=error, units=_units_text(facts))
    yield _gain(tables, level)
    row = _first(tables["time_lines"], clock="infection")
    slope = Estimate.of(row, level=level, columns=("slope", "slope_low", "slope_high"))
    if not (slope.known and slope.bounded):
        return
    off = {name: row["intercept"] + (row["slope"] - 1) * row[f"{name}_h"] for name in ("start", "end")}
    ends = {name: words("late" if h > 0 else "early", hours=abs(h)) for name, h in off.items()}
    yield "time", SAYS if slope.contains(1) else BEWARE, words("line", **(row | ends | {"slope": slope}))


def _gain(tables: Tables, level: float) -> tuple[str, str, str]:
    gain, facts = _metric(tables, "infected", "gain_over_clock", level)
    rivals = {
        name: _metric(tables, "infected", f"mae_of_{name}", level)[0].value for name in ("clock", "mean")
    }
    facts |= rivals
    if not (gain.known and gain.bounded):
        return "time", CANNOT, words("no gain", **facts)
    if rivals["clock"] < SAME_H:
        return "time", CANNOT, words("clock is right", **facts)
    if gain.contains(0):
        hours = {name: getattr(gain, name) for name in ("value", "low", "high")}
        ends = {name: words("smaller" if h >= 0 else "larger", hours=abs(h)) for name, h in hours.items()}
        return "time", CANNOT, words("vague gain", interval=gain.interval, **(facts | ends))
    verdict, key = (SAYS, "gain") if gain.value > 0 else (BEWARE, "loss")
    share = abs(gain.value) / rivals["clock"]
    return "time", verdict, words(key, gain=gain.absolute(), share=share, **facts)


def swing_sentences(stacks: pd.DataFrame) -> Sentences:
    """Yield in how many stacks the call changes back, and how far the predicted time jumps in mock stacks.

    Args:
        stacks: of :func:`hpiclock.analysis.time_errors.stack_trajectories`, of one run and split.
    """
    mock, infected = (condition_codes(stacks) == code for code in (0, 1))
    if stacks["n_scored"].gt(0).any():
        facts = {"n_mock": int(mock.sum()), "alarmed": int(stacks["crossings"][mock].gt(0).sum())}
        facts |= {"n_infected": int(infected.sum()), "twice": int(stacks["crossings"][infected].gt(1).sum())}
        yield "swings", SAYS, words("swings", **facts)
    jumps = stacks["largest_jump_h"][mock].abs().dropna()
    if len(jumps):
        most = stacks.loc[jumps.idxmax()]
        facts = {"stack": most["stack_id"], "hour": most["jump_at_h"], "largest": jumps.max()}
        rest = words("largest jumps", median=jumps.median(), n=len(jumps)) if len(jumps) > 1 else ""
        yield "swings", SAYS, words("jumps", rest=rest, **facts)


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
    off = {
        "p too high": intercept.high < 0,
        "p too low": intercept.low > 0,
        "p too extreme": slope.high < 1,
        "p too middling": slope.low > 1,
    }
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
SIGNED = ("difference", "low", "high", "low_margin", "high_margin")
SIZES = (*SIGNED, "value", "value_against", "margin", "could_see", "by_chance")  # in the unit of the metric


def verdict_of(row: Mapping[str, Any], *, alpha: float) -> str:
    """Return what a row of ``comparison`` shows of its variant.

    ``better`` or ``worse`` where the corrected chance is at most ``alpha``; else ``equal within the
    margin`` where the equivalence interval lies inside it (each claim at ``alpha``, not corrected over the
    table); else ``no difference shown``.
    """
    if np.isnan(row["p_holm"]):
        return CANNOT
    if row["p_holm"] <= alpha:
        return BETTER if (row["difference"] > 0) != _less_is_better(row["metric"]) else WORSE
    inside = -row["margin"] < row["low_margin"] and row["high_margin"] < row["margin"]
    return EQUAL if inside or row["note"] == SAME else NOT_SHOWN


COMPARED = ("comparison", "comparison_windows", "steadiness")


def comparison_sentences(tables: Mapping[str, pd.DataFrame], *, level: float, power: float) -> pd.DataFrame:
    """Return ``topic verdict sentence`` from the tables of :func:`hpiclock.analysis.compare.compare`.

    Topics are ``comparison``, ``windows``, ``steadier`` and ``beware``.
    """
    pairs = tables["comparison"][["variant", "against"]].drop_duplicates()
    alone = [("comparison", SAYS, words("pair", **pair)) for pair in pairs.to_dict("records")]
    names = pairs["variant"] + " against " + pairs["against"] + ", "
    pairs = pairs.assign(pair="" if len(pairs) == 1 else names)  # of one pair it is said once
    named = {name: tables[name].merge(pairs) for name in COMPARED}
    rows = [
        *(("beware", CANNOT, note) for note in tables["notes"]["note"]),
        *(alone if len(alone) == 1 else ()),
        *_whole_comparison(named["comparison"], level, power),
        *_compared_windows(named["comparison_windows"], level),
        *_steadiness(named["steadiness"], level),
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
    return dict(row) | written | {"what": f"{row['pair']}{name}"}


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
            "meaning": _meaning(row, facts, level, power),
        }
        yield "comparison", row["verdict"], words("difference", **facts)


def _meaning(row: Mapping[str, Any], facts: dict[str, Any], level: float, power: float) -> str:
    if row["verdict"] in (BETTER, WORSE):
        little = np.isfinite(row["low"]) and -row["margin"] < row["low"] and row["high"] < row["margin"]
        return words("better or worse by little" if little else "better or worse", **facts)
    if row["verdict"] == EQUAL:
        return words("same" if row["note"] == SAME else "equal", level=2 * level - 1, **facts)
    reach = words("power" if np.isfinite(row["could_see"]) else "power unknown", power=power, **facts)
    return words("not shown", reach=reach)


def _compared_windows(table: pd.DataFrame, level: float) -> Sentences:
    tested = table[table["axis"].eq("hours") & table["p_over_all_windows"].notna()]
    for pair, of_pair in tested.groupby("pair", sort=False):
        same = []
        for (group, metric), rows in of_pair.groupby(["group", "metric"], sort=False):
            name = variant_name(metric, group)
            found = rows[rows["p_over_all_windows"] <= 1 - level]
            if found.empty:
                same.append(f"{name} ({p_text(rows['p_over_all_windows'].min(), least=LEAST_P)})")
            for gained, part in found.groupby((found["difference"] > 0) != _less_is_better(metric)):
                windows = ", ".join(window_text(row.start_h, row.end_h) for row in part.itertuples())
                facts = {"word": BETTER if gained else WORSE, "windows": windows}
                yield "windows", facts["word"], words("windows differ", what=f"{pair}{name}", **facts)
        if same:
            yield "windows", NOT_SHOWN, words("no window differs", pair=pair, names=", ".join(same))


def _steadiness(table: pd.DataFrame, level: float) -> Sentences:
    for pair, of_pair in table.groupby("pair", sort=False):
        same: dict[str, list[str]] = {}
        for row in of_pair.to_dict("records"):
            facts = _compared(row)
            if np.isnan(row["p"]):
                yield "steadier", CANNOT, words("not compared", **facts)
            elif row["p_holm"] <= 1 - level:
                word = "steadier" if row["difference"] < 0 else "less steady"
                yield "steadier", word, words("steadier", word=word, **facts)
            else:
                same.setdefault(variant_name(row["metric"], row["group"]), []).append(SPREADS[row["spread"]])
        if same:
            names = ", ".join(f"{name} ({' and '.join(spreads)})" for name, spreads in same.items())
            yield "steadier", NOT_SHOWN, words("not steadier", pair=pair, names=names)
