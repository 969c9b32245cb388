"""What this says: sentences made from the tables, with "cannot tell" where the data cannot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from hpiclock.study.wording import number, of_test, one_row, reason, until

Tables = dict[str, pd.DataFrame]
CANNOT = "cannot tell"
SAYS = "says"
VAGUE = 0.5  # an interval of an AUC wider than this holds chance and near certainty alike


def conclusions(tables: Tables, *, level: float) -> pd.DataFrame:
    """Return ``topic verdict sentence``, from the tables of :func:`hpiclock.study.everything.run_study`.

    ``verdict`` is ``says``, ``cannot tell``, or ``beware`` where a control fails. Numbers are those of the
    test split (of validation where there is no test), of the first run in the table.
    """
    rows = [
        *_design(tables),
        *_class(tables, level),
        *_phases(tables, level),
        *_windows(tables),
        *_detection(tables),
        *_time(tables, level),
        *_calibration(tables),
        *_single(tables),
    ]
    return pd.DataFrame(rows, columns=["topic", "verdict", "sentence"])


Sentences = Iterator[tuple[str, str, str]]


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
    gap = auc["value"] - same["value"]
    yield (
        "class",
        SAYS,
        (
            f"Among frames of the same hour the AUC is {number(same, 3, level)}; "
            + ("elapsed time adds" if gap > 0 else "elapsed time takes away")
            + f" {abs(gap):.3f}."
        ),
    )


def _phases(tables: Tables, level: float) -> Sentences:
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
        yield "after eclipse", SAYS, f"After the eclipse the AUC is {number(after, 3, level)}."


def _windows(tables: Tables) -> Sentences:
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
        yield "earliest window", SAYS, "In no window of hours post infection is the AUC surely above chance."
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
    yield from _stability(tables)


def _stability(tables: Tables) -> Sentences:
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
    yield (
        "stability",
        SAYS,
        (
            f"Over hours post infection the AUC ranges over {row['range']:.3f}, "
            + ("more than" if more else "no more than")
            + f" the {row['range_of_noise']:.3f} that noise alone explains; "
            f"its SD over windows is {row['sd']:.3f} ({row['sd_says']} by the usual marks)."
        ),
    )


def _detection(tables: Tables) -> Sentences:
    table = of_test(tables["detection"])
    rules = tables["detection_thresholds"].set_index("rule")
    for rule, words in (
        ("decision", "At the decision threshold"),
        ("controls", "At the controls' threshold"),
    ):
        rows = table[table["rule"].eq(rule) & table["group"].eq("all")]
        if rows.empty:
            note = str(rules.loc[rule, "note"]) if rule in rules.index else "no infected stacks"
            yield "detection", CANNOT, f"{words} the time of detection cannot be told: {note}."
            continue
        row = rows.iloc[0]
        half = (
            f"half of the {row['n_stacks']} infected stacks are detected by {row['half_h']:.1f} h "
            "post infection"
            if np.isfinite(row["half_h"])
            else f"{row['n_detected']} of {row['n_stacks']} infected stacks are detected, fewer than half"
        )
        limits = f" (interval {until(row['low_h'])} to {until(row['high_h'])})"
        note = f"; {rules.loc[rule, 'note']}" if rule == "controls" else ""
        yield "detection", SAYS, f"{words} {half}{limits if np.isfinite(row['half_h']) else ''}{note}."


def _time(tables: Tables, level: float) -> Sentences:
    mae = one_row(tables["metrics"], "infected", "mae")
    if mae is None or np.isnan(mae["value"]):
        yield "time", CANNOT, f"Cannot tell the time since infection: {reason(mae)}."
        return
    yield (
        "time",
        SAYS,
        f"Time since infection is off by {number(mae, 2, level)} (mean absolute error, hours).",
    )
    for metric, rival in (("skill_over_clock", "a clock alone"), ("skill_over_mean", "the mean time")):
        skill = one_row(tables["metrics"], "infected", metric)
        if skill is None or np.isnan(skill["value"]) or np.isnan(skill["low"]):
            yield "time", CANNOT, f"Cannot tell whether the time is better than {rival}: {reason(skill)}."
        elif skill["low"] > 0:
            yield "time", SAYS, f"Its error is {skill['value']:.0%} below that of {rival}."
        elif skill["high"] < 0:
            yield "time", "beware", f"Its error is larger than that of {rival} by {-skill['value']:.0%}."
        else:
            yield (
                "time",
                SAYS,
                f"Its error does not differ surely from that of {rival} ({number(skill, 2, level)}).",
            )


def _calibration(tables: Tables) -> Sentences:
    table = of_test(tables["temperature"])
    if table.empty:
        yield "calibration", CANNOT, "Cannot tell whether P(infected) is a probability: no scored frames."
        return
    row = table.iloc[0]
    if np.isnan(row["temperature"]):
        yield "calibration", CANNOT, f"Cannot tell whether P(infected) is a probability: {row['note']}."
        return
    sure = "too sure of itself" if row["temperature"] > 1.1 else "not sure enough"
    sure = "about as sure as it should be" if 0.9 <= row["temperature"] <= 1.1 else sure
    yield "calibration", SAYS, f"The model is {sure} (temperature {row['temperature']:.2f})."


def _single(tables: Tables) -> Sentences:
    table = tables["conformal"]
    whole = table[table["start_h"].isna()]
    for row in whole.itertuples():
        if np.isnan(row.width_h) or np.isnan(row.coverage):
            yield "single predictions", CANNOT, f"For frames {row.group}: {row.note}."
        else:
            yield (
                "single predictions",
                SAYS,
                (
                    f"For frames {row.group} the time +- {row.width_h / 2:.1f} h held the truth in "
                    f"{row.coverage:.0%} of {row.n} test frames (asked: {row.level:.0%})."
                ),
            )
