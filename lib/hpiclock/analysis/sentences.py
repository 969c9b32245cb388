"""What this says: sentences made from the tables, with "cannot tell" where the data cannot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from hpiclock.analysis.units import MIN_GROUPS, condition_codes, group_codes

Tables = dict[str, pd.DataFrame]
Sentences = Iterator[tuple[str, str, str]]  # topic, verdict, sentence
CANNOT = "cannot tell"
SAYS = "says"
BEWARE = "beware"


def of_test(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the test split (else validation, else training) of the first run."""
    for split in ("test", "val", "train"):
        rows = table[table["split"].eq(split)]
        if len(rows):
            return rows[rows["run"].eq(rows["run"].iloc[0])]
    return table


def one_row(metrics: pd.DataFrame, group: str, metric: str) -> pd.Series | None:
    """Return one metric of one group in the test split, or None."""
    rows = of_test(metrics)
    rows = rows[rows["group"].eq(group) & rows["metric"].eq(metric)]
    return None if rows.empty else rows.iloc[0]


def reason(row: pd.Series | None) -> str:
    """Return why a row has no value, in words."""
    return "there are no such frames" if row is None else str(row["note"]).rstrip(".")


def number(row: pd.Series, digits: int, level: float) -> str:
    """Return a value with its interval, in words."""
    if np.isnan(row["low"]):
        return f"{row['value']:.{digits}f}, no interval"
    return (
        f"{row['value']:.{digits}f}, {level:.0%} interval {row['low']:.{digits}f} to {row['high']:.{digits}f}"
    )


def hours(row: pd.Series, level: float) -> str:
    """Return a number of hours with its interval, in words."""
    if np.isnan(row["low"]):
        return f"{row['value']:.1f} h (no interval)"
    return f"{row['value']:.1f} h ({level:.0%} interval {row['low']:.1f} to {row['high']:.1f})"


def until(value: float) -> str:
    """Return hours, or that there is no end."""
    return f"{value:.1f} h" if np.isfinite(value) else "no end"


def abs_of(row: pd.Series) -> pd.Series:
    """Return a row with the sign of its value taken away, and its limits with it."""
    if row["value"] >= 0:
        return row
    mirrored = row.copy()
    mirrored["value"], mirrored["low"], mirrored["high"] = -row["value"], -row["high"], -row["low"]
    return mirrored


def design_sentences(rows: pd.DataFrame) -> list[str]:
    """Return one sentence for every question that these rows cannot answer; none when all can be asked.

    Args:
        rows: predictions or a manifest: one row or more per stack with its identity columns.
    """
    stacks = rows.drop_duplicates("stack_id")
    infected = condition_codes(stacks) == 1
    if infected.all() or not infected.any():
        only = "infected" if infected.all() else "mock"
        return [f"All stacks are {only}: whether the model tells infected from mock cannot be told."]
    return [*_wells(stacks, infected), *_plates(stacks, infected), *_onsets(stacks, infected)]


def _wells(stacks: pd.DataFrame, infected: np.ndarray) -> list[str]:
    if stacks["well"].eq("").any():
        return ["Wells are not given: whether positions share a well, and how wells differ, cannot be told."]
    wells = group_codes(stacks, "well")
    count = {
        name: len(np.unique(wells[mask])) for name, mask in (("infected", infected), ("mock", ~infected))
    }
    alone = [name for name, k in count.items() if k == 1]
    if alone:
        return [
            f"{_listed(alone)} stacks come from one well: a difference between infected and mock cannot "
            "separate infection from well."
        ]
    few = [f"{k} {name}" for name, k in count.items() if k < MIN_GROUPS]
    if few:
        return [f"Only {' and '.join(few)} wells: numbers are given without an interval over wells."]
    return []


def _plates(stacks: pd.DataFrame, infected: np.ndarray) -> list[str]:
    plates = stacks["plate"].to_numpy()
    if len(set(plates[infected]) & set(plates[~infected])) == 0:
        return ["No plate holds both infected and mock wells: infection cannot be separated from plate."]
    if len(set(plates)) == 1:
        return ["One plate: whether the result holds on another plate cannot be told."]
    return []


def _onsets(stacks: pd.DataFrame, infected: np.ndarray) -> list[str]:
    onsets = stacks.loc[infected, "onset_h"]
    if onsets.isna().any():
        return ["Some infected stacks have no onset: their time since infection cannot be told."]
    if (onsets == onsets.iloc[0]).all():
        return [
            f"All infected wells share one onset ({onsets.iloc[0]:g} h): time since infection cannot be told "
            "from time since start."
        ]
    return []


def _listed(names: list[str]) -> str:
    return " and ".join(names).capitalize()


FALSE_ALARMS = 0.1  # share of mock stacks; above it a time of detection is not that of an infection
WORTHLESS = 0.5  # a bound of the false alarms above it bounds nothing


def detection_sentences(tables: Tables) -> Sentences:
    """Yield when infected stacks are found, and how many mock stacks are found by the same rule."""
    table = of_test(tables["detection"])
    rules = tables["detection_thresholds"].set_index("rule")
    for rule, words in (
        ("decision", "At the decision threshold"),
        ("controls", "At the controls' threshold"),
    ):
        rows = table[table["rule"].eq(rule) & table["group"].eq("all")]
        note = str(rules.loc[rule, "note"]) if rule in rules.index else "no infected stacks"
        if rows.empty:
            yield "detection", CANNOT, f"{words} the time of detection cannot be told: {note}."
            continue
        alarms, share = _alarms(tables, rule)
        if rule == "controls" and rules.loc[rule, "bound"] > WORTHLESS:
            yield "detection", CANNOT, f"{words} the time of detection cannot be told: {note}."
        elif share > FALSE_ALARMS:
            yield (
                "detection",
                BEWARE,
                f"{words} {_found(rows.iloc[0])}, but {alarms}: these times are too early.",
            )
        else:
            bound = f"; {note}" if rule == "controls" else ""
            yield "detection", SAYS, f"{words} {_found(rows.iloc[0])}; {alarms}{bound}."


def _found(row: pd.Series) -> str:
    if not np.isfinite(row["half_h"]):
        return f"{row['n_detected']} of {row['n_stacks']} infected stacks are detected, fewer than half"
    if row["n_stacks"] == 1:
        return f"the one infected stack is detected at {row['half_h']:.1f} h post infection"
    between = "no interval"
    if np.isfinite(row["low_h"]) or np.isfinite(row["high_h"]):
        between = f"interval {until(row['low_h'])} to {until(row['high_h'])}"
    return (
        f"half of the {row['n_stacks']} infected stacks are detected by {row['half_h']:.1f} h post infection "
        f"({between})"
    )


def _alarms(tables: Tables, rule: str) -> tuple[str, float]:
    rows = of_test(tables["false_alarms"])
    rows = rows[rows["rule"].eq(rule)]
    if rows.empty:
        return "no mock stack says how often this is a false alarm", 0.0
    row = rows.iloc[0]
    return f"{row['n_alarms']} of {row['n_stacks']} mock stacks are by the same rule", float(row["share"])


def time_sentences(tables: Tables, level: float) -> Sentences:
    """Yield the time error, what it gains over two rivals that see no image, and its pull to the middle."""
    mae = one_row(tables["metrics"], "infected", "mae")
    if mae is None or np.isnan(mae["value"]):
        yield "time", CANNOT, f"Cannot tell the time since infection: {reason(mae)}."
        return
    yield "time", SAYS, f"Time since infection is off by {hours(mae, level)} on average."
    for rival, words in (("clock", "a clock that sees no image"), ("mean", "always saying the mean time")):
        yield _gain(tables, rival, words, level)
    yield from _pull(tables, level)


def _gain(tables: Tables, rival: str, words: str, level: float) -> tuple[str, str, str]:
    gain = one_row(tables["metrics"], "infected", f"gain_over_{rival}")
    skill = one_row(tables["metrics"], "infected", f"skill_over_{rival}")
    if gain is None or np.isnan(gain["value"]) or np.isnan(gain["low"]):
        return "time", CANNOT, f"Cannot tell whether this is better than {words}: {reason(gain)}."
    if gain["low"] <= 0 <= gain["high"]:
        return (
            "time",
            CANNOT,
            f"Cannot tell whether this is better than {words}: the error is {_less(gain['value'])} "
            f"({level:.0%} interval {_less(gain['low'])} to {_less(gain['high'])}).",
        )
    share = "" if skill is None or np.isnan(skill["value"]) else f", {abs(skill['value']):.0%} of that error"
    side = "smaller" if gain["value"] > 0 else "larger"
    return (
        "time",
        SAYS if gain["value"] > 0 else BEWARE,
        f"The error is {side} than that of {words} by {hours(abs_of(gain), level)}{share}.",
    )


def _less(hours: float) -> str:
    return f"{abs(hours):.1f} h {'smaller' if hours >= 0 else 'larger'}"


def _pull(tables: Tables, level: float) -> Sentences:
    rows = of_test(tables["time_lines"])
    rows = rows[rows["clock"].eq("infection") & rows["slope"].notna()]
    if rows.empty or np.isnan(rows["slope_low"].iloc[0]):
        return
    row = rows.iloc[0]
    slope = f"{row['slope']:.2f} h ({level:.0%} interval {row['slope_low']:.2f} to {row['slope_high']:.2f})"
    if row["slope_high"] < 1:
        yield (
            "time",
            BEWARE,
            f"An hour more since infection moves the prediction by {slope} only: "
            "early frames are called late and late ones early.",
        )
    elif row["slope_low"] > 1:
        yield "time", BEWARE, f"An hour more since infection moves the prediction by {slope}, too far."
    else:
        yield "time", SAYS, f"An hour more since infection moves the prediction by {slope}; 1 would be right."


def calibration_sentences(tables: Tables, level: float) -> Sentences:
    """Yield whether P(infected) is a probability."""
    table = of_test(tables["temperature"])
    if table.empty:
        yield "calibration", CANNOT, "Cannot tell whether P(infected) is a probability: no scored frames."
        return
    row = table.iloc[0]
    if np.isnan(row["temperature"]) or np.isnan(row["low"]):
        yield "calibration", CANNOT, f"Cannot tell whether P(infected) is a probability: {row['note']}."
        return
    limits = (
        f"temperature {row['temperature']:.2f}, {level:.0%} interval {row['low']:.2f} to {row['high']:.2f}"
    )
    if row["low"] > 1:
        yield "calibration", BEWARE, f"The model is too sure of itself ({limits}; 1 would be right)."
    elif row["high"] < 1:
        yield "calibration", SAYS, f"The model is less sure than it may be ({limits}; 1 would be right)."
    elif row["high"] / row["low"] < 2:
        yield "calibration", SAYS, f"The model is about as sure as it should be ({limits}; 1 would be right)."
    else:
        yield "calibration", CANNOT, f"Cannot tell whether the model is too sure of itself ({limits})."


def single_prediction_sentences(tables: Tables) -> Sentences:
    """Yield how far off single predicted times are, per call."""
    table = tables["conformal"]
    whole = table[table["start_h"].isna()]
    for row in whole.itertuples():
        if np.isnan(row.width_h) or np.isnan(row.coverage):
            why = str(row.note).removeprefix("no interval: ")
            sentence = f"How far off one predicted time can be cannot be told for frames {row.group}: {why}."
            yield "single predictions", CANNOT, sentence
        else:
            yield (
                "single predictions",
                SAYS,
                (
                    f"For frames {row.group} the time +- {row.width_h / 2:.1f} h held the truth in "
                    f"{row.coverage:.0%} of {row.n} test frames (asked: {row.level:.0%})."
                ),
            )


VAGUE = 0.5  # an interval of an AUC wider than this holds chance and near certainty alike


def conclusions(tables: Tables, *, level: float, eclipse_h: float) -> pd.DataFrame:
    """Return ``topic verdict sentence``, from the tables of :func:`hpiclock.analysis.run_study.run_study`.

    ``verdict`` is ``says``, ``cannot tell``, or ``beware`` where a control fails. Numbers are those of the
    test split (of validation where there is no test), of the first run in the table.
    """
    rows = [
        *_design(tables),
        *_class(tables, level),
        *_phases(tables, level, eclipse_h),
        *_windows(tables, level),
        *detection_sentences(tables),
        *time_sentences(tables, level),
        *calibration_sentences(tables, level),
        *single_prediction_sentences(tables),
    ]
    return pd.DataFrame(rows, columns=["topic", "verdict", "sentence"])


def _design(tables: Tables) -> Sentences:
    for note in tables["notes"]["note"]:
        yield "design", CANNOT, note


def _class(tables: Tables, level: float) -> Sentences:
    auc = one_row(tables["metrics"], "all", "auc")
    if auc is None or np.isnan(auc["value"]):
        yield "class", CANNOT, f"Cannot tell infected from uninfected frames: {reason(auc)}."
        return
    yield (
        "class",
        SAYS,
        (
            f"An infected frame scores above an uninfected one in {auc['value']:.1%} of pairs "
            f"(AUC {number(auc, 3, level)}; {auc['n_wells']} wells, {auc['n_stacks']} stacks)."
        ),
    )
    same = one_row(tables["metrics"], "all", "auc_stratified")
    if same is None or np.isnan(same["value"]):
        yield "class", CANNOT, f"Cannot tell how much of this the clock explains: {reason(same)}."
        return
    yield (
        "class",
        SAYS,
        f"Among frames of the same hour the AUC is {number(same, 3, level)}; {_clock_share(tables, level)}.",
    )


def _clock_share(tables: Tables, level: float) -> str:
    gap = one_row(tables["metrics"], "all", "auc_gap")
    assert gap is not None
    if np.isnan(gap["low"]) or gap["low"] <= 0 <= gap["high"]:
        return f"whether elapsed time adds to the AUC cannot be told (difference {number(gap, 3, level)})"
    return f"elapsed time {'adds' if gap['value'] > 0 else 'takes away'} {number(abs_of(gap), 3, level)}"


def _phases(tables: Tables, level: float, eclipse_h: float) -> Sentences:
    before = one_row(tables["metrics"], "before onset", "auc")
    if before is None or np.isnan(before["value"]) or np.isnan(before["low"]):
        yield (
            "before onset",
            CANNOT,
            (f"Cannot tell whether the model knows infected wells before their onset: {reason(before)}."),
        )
    elif before["low"] > 0.5 or before["high"] < 0.5:
        yield (
            "before onset",
            "beware",
            (
                "Already before the onset infected and mock wells are told apart "
                f"(AUC {number(before, 3, level)}): "
                "the model reads something other than the infection."
            ),
        )
    elif before["high"] - before["low"] > VAGUE:
        yield (
            "before onset",
            CANNOT,
            (
                f"Cannot tell whether the model knows infected wells before their onset: the AUC "
                f"{number(before, 3, level)} can be chance and can be far from it; more wells would tell."
            ),
        )
    else:
        yield (
            "before onset",
            SAYS,
            (
                "Before the onset infected wells are not told from mock ones "
                f"(AUC {number(before, 3, level)}, chance is 0.5), as it should be."
            ),
        )
    after = one_row(tables["metrics"], "after eclipse", "auc")
    if after is not None and not np.isnan(after["value"]):
        yield (
            "after eclipse",
            SAYS,
            f"After the eclipse ({eclipse_h:g} h from the onset) the AUC is {number(after, 3, level)}.",
        )


def _windows(tables: Tables, level: float) -> Sentences:
    table = of_test(tables["windows_hpi"])
    rows = table[table["group"].eq("all") & table["metric"].eq("auc")]
    banded = rows[rows["low_simultaneous"].notna()]
    if banded.empty:
        yield (
            "earliest window",
            CANNOT,
            ("Cannot tell from which hour on infection is seen: no window has an interval."),
        )
        return
    seen = banded[banded["low_simultaneous"] > 0.5]
    if seen.empty:
        yield (
            "earliest window",
            CANNOT,
            "Cannot tell from which hour on infection is seen: in no window of hours post infection "
            "is the AUC surely above chance.",
        )
    else:
        first = seen.sort_values("start_h").iloc[0]
        yield (
            "earliest window",
            SAYS,
            (
                "The first window with an AUC surely above chance is "
                f"{first['start_h']:g}-{first['end_h']:g} h post infection (AUC {first['value']:.3f}; "
                f"band over all windows {first['low_simultaneous']:.3f}-{first['high_simultaneous']:.3f})."
            ),
        )
    yield from _stability(tables, level)


def _stability(tables: Tables, level: float) -> Sentences:
    table = of_test(tables["stability"])
    rows = table[table["group"].eq("all") & table["metric"].eq("auc") & table["axis"].eq("hpi")]
    if rows.empty or np.isnan(rows["range"].iloc[0]) or np.isnan(rows["range_of_noise"].iloc[0]):
        yield (
            "stability",
            CANNOT,
            "Cannot tell whether the AUC is stable over time: too few windows or groups.",
        )
        return
    row = rows.iloc[0]
    more = row["range"] > row["range_of_noise"]
    limits = ""
    if np.isfinite(row["range_low"]) and np.isfinite(row["range_high"]):
        limits = f" ({level:.0%} interval {row['range_low']:.3f} to {row['range_high']:.3f})"
    yield (
        "stability",
        SAYS,
        (
            f"Over hours post infection the AUC ranges over {row['range']:.3f}{limits}, "
            + ("more than" if more else "no more than")
            + f" the {row['range_of_noise']:.3f} that noise alone explains{_slope(row, level)}; "
            f"its SD over windows is {row['sd']:.3f} ({row['sd_says']} by the usual marks, "
            "which know nothing of noise)."
        ),
    )


def _slope(row: pd.Series, level: float) -> str:
    if not np.isfinite(row["slope_low"]):
        return ""
    low, value, high = (10 * row[name] for name in ("slope_low", "slope_per_h", "slope_high"))
    if low <= 0 <= high:
        return "; whether it rises or falls cannot be told"
    turn = "rises" if value > 0 else "falls"
    low, high = sorted((abs(low), abs(high)))
    return f"; it {turn} by {abs(value):.3f} in ten hours ({level:.0%} interval {low:.3f} to {high:.3f})"
