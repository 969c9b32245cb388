"""What this says about detection, time and single predictions: sentences made from the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.study.wording import (
    BEWARE,
    CANNOT,
    SAYS,
    Sentences,
    Tables,
    abs_of,
    hours,
    of_test,
    one_row,
    reason,
    until,
)

FALSE_ALARMS = 0.1  # share of mock stacks; above it a time of detection is not that of an infection
WORTHLESS = 0.5  # a bound of the false alarms above it bounds nothing


def detection(tables: Tables) -> Sentences:
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


def time_error(tables: Tables, level: float) -> Sentences:
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


def calibration(tables: Tables, level: float) -> Sentences:
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


def single_predictions(tables: Tables) -> Sentences:
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
