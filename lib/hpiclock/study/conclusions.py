"""What this says: sentences made from the tables, with "cannot tell" where the data cannot."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.study.conclusions_time import calibration, detection, single_predictions, time_error
from hpiclock.study.wording import (
    CANNOT,
    SAYS,
    Sentences,
    Tables,
    abs_of,
    number,
    of_test,
    one_row,
    reason,
)

VAGUE = 0.5  # an interval of an AUC wider than this holds chance and near certainty alike


def conclusions(tables: Tables, *, level: float, eclipse_h: float) -> pd.DataFrame:
    """Return ``topic verdict sentence``, from the tables of :func:`hpiclock.study.everything.run_study`.

    ``verdict`` is ``says``, ``cannot tell``, or ``beware`` where a control fails. Numbers are those of the
    test split (of validation where there is no test), of the first run in the table.
    """
    rows = [
        *_design(tables),
        *_class(tables, level),
        *_phases(tables, level, eclipse_h),
        *_windows(tables, level),
        *detection(tables),
        *time_error(tables, level),
        *calibration(tables, level),
        *single_predictions(tables),
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
