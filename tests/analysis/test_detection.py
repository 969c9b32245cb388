"""Detection times by hand, Kaplan-Meier as the library has it, thresholds with the bound controls support."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.datasets import load_waltons

from hpiclock.analysis.detection import (
    _survival,
    choose_threshold,
    control_threshold,
    detection_curve_with_limits,
    detection_curves,
    detection_times,
    false_alarms,
)
from hpiclock.analysis.import_predictions import complete_predictions


def rows_of(stack: str, condition: str, scores: list[float], **more: object) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "stack_id": stack, "well": stack, "condition": condition,
            "hours": np.arange(len(scores), dtype=float),
            "label": int(condition == "infected"), "p_infected": scores, "split": "test",
            "onset_h": 1.0 if condition == "infected" else np.nan,
        } | more
    )  # fmt: skip


def table_of(*parts: pd.DataFrame) -> pd.DataFrame:
    return complete_predictions(pd.concat(parts))[0]


def test_detection_is_the_first_of_two_frames_in_a_row_after_the_onset() -> None:
    table = table_of(
        rows_of("a", "infected", [0.9, 0.9, 0.1, 0.9, 0.9, 0.1]),  # 0 h is before the onset; 3 h is 2 h hpi
        rows_of("b", "infected", [0.1, 0.9, 0.1, 0.9, 0.1, 0.9]),  # never two in a row: censored at 4 h hpi
        rows_of("c", "mock", [0.1, 0.9, 0.9, 0.1, 0.1, 0.1]),  # a false alarm at 1 h
    )
    times = detection_times(table, thresholds={"decision": 0.5}, frames=2).set_index("stack_id")
    assert times["detected"].to_dict() == {"a": True, "b": False, "c": True}
    assert times["time_h"].to_dict() == {"a": 2.0, "b": 4.0, "c": 1.0}
    alarms = false_alarms(times.reset_index())
    assert alarms[["n_stacks", "n_alarms", "share"]].iloc[0].tolist() == [1, 1, 1.0]


def test_runs_do_not_reach_into_the_next_stack() -> None:
    table = table_of(
        rows_of("a", "infected", [0.1, 0.1, 0.9]), rows_of("b", "infected", [0.9, 0.9, 0.1], onset_h=0.0)
    )
    times = detection_times(table, thresholds={"decision": 0.5}, frames=2).set_index("stack_id")
    assert times["detected"].to_dict() == {"a": False, "b": True}


def test_the_curve_by_hand() -> None:
    # detected at 1, 2 and 2 h, one censored at 3 h: 1/4, then 3/4 are detected
    stacks = pd.DataFrame(
        {"time_h": [1.0, 2.0, 2.0, 3.0], "detected": [True, True, True, False], "plate": "", "well": "",
         "stack_id": list("abcd")}
    )  # fmt: skip
    curve, facts = detection_curve_with_limits(stacks, level=0.95)
    at = curve.set_index("time_h")["share"]
    assert at[1.0] == pytest.approx(0.25)
    assert at[2.0] == pytest.approx(0.75)
    assert at[3.0] == pytest.approx(0.75)
    assert facts["half_h"] == 2.0
    assert facts["n_detected"] == 3


def test_the_leave_one_out_curve_is_that_of_the_library() -> None:
    data = load_waltons()
    time, event = data["T"].to_numpy(float), data["E"].to_numpy(bool)
    fitter = KaplanMeierFitter().fit(time, event)
    at = fitter.survival_function_.index.to_numpy(float)
    np.testing.assert_allclose(_survival(time, event, at), fitter.survival_function_.iloc[:, 0], atol=1e-12)


def test_two_wells_give_a_curve_without_limits_and_say_so() -> None:
    stacks = pd.DataFrame(
        {"time_h": [1.0, 2.0, 3.0, 4.0], "detected": True, "plate": "P", "well": ["A", "A", "B", "B"],
         "stack_id": list("abcd")}
    )  # fmt: skip
    curve, facts = detection_curve_with_limits(stacks, level=0.95)
    assert curve["low"].isna().all()
    assert facts["note"] == "no interval: 2 wells, at least 3 needed"


def test_fewer_than_half_detected_has_no_half_time_but_a_reason() -> None:
    table = table_of(*(rows_of(f"s{i}", "infected", [0.1, 0.1, 0.9 * (i == 0)]) for i in range(4)))
    times = detection_times(table, thresholds={"decision": 0.5}, frames=1)
    _, summary = detection_curves(times, level=0.95)
    assert np.isnan(summary["half_h"].iloc[0])
    assert "fewer than half" in summary["note"].iloc[0]


@pytest.mark.parametrize(("n", "bound"), [(59, 0.05), (8, 0.3123), (3, 0.6316)])
def test_the_bound_is_what_the_number_of_controls_supports(n: int, bound: float) -> None:
    # the highest of n controls: 1 - 0.05^(1/n); 59 are the fewest for 5% (Tong, Feng and Li 2018)
    controls = [rows_of(f"s{i:03d}", "mock", [0.1, i / 100], split="val") for i in range(n)]
    found = control_threshold(table_of(*controls), frames=1)
    assert found.n_controls == n
    assert found.bound == pytest.approx(bound, abs=5e-4)
    assert found.value > (n - 1) / 100


def test_without_validation_controls_there_is_no_control_threshold() -> None:
    found = control_threshold(table_of(rows_of("a", "mock", [0.1, 0.2])), frames=1)
    assert np.isnan(found.value)
    assert found.note == "no control stacks in validation"


def test_the_threshold_is_the_middle_of_the_best_interval_and_never_looks_at_test() -> None:
    val = [rows_of("a", "mock", [0.1, 0.2], split="val"), rows_of("b", "infected", [0.6, 0.8], split="val")]
    test = [rows_of("c", "mock", [0.9, 0.9]), rows_of("d", "infected", [0.1, 0.1])]
    for rule, words in (("youden", "Youden index"), ("f1", "F1 score")):
        found = choose_threshold(table_of(*val, *test), rule=rule)
        assert found.value == pytest.approx(0.4)  # between 0.2 and 0.6
        assert found.note == f"the largest {words} on 4 validation frames"
    assert choose_threshold(table_of(*test), rule="youden").note == "0.5 without a choice: no validation rows"


def stacks_of(wells: int, *, time_h: list[float], first_h: float = 0.0) -> pd.DataFrame:
    names = [f"A{number + 1:02d}" for number in range(wells)]
    same = {
        "run": "r",
        "split": "test",
        "rule": "decision",
        "condition": "infected",
        "moi": np.nan,
        "plate": "",
    }
    stacks = pd.DataFrame({"stack_id": names, "well": names, "time_h": time_h, "first_h": first_h})
    after = stacks["time_h"].sub(1).where(stacks["time_h"].gt(first_h), 0.0)
    return stacks.assign(after_h=after, detected=True, **same)


def test_the_time_of_half_has_an_upper_limit_where_all_are_detected() -> None:
    row = detection_curves(stacks_of(8, time_h=[5, 6, 7, 8, 9, 10, 11, 12]), level=0.95)[1].iloc[0]
    assert (row["after_h"], row["half_h"]) == (7, 8)
    assert 0 < row["low_h"] <= 7
    assert row["half_h"] < row["high_h"] <= 12
    few = detection_curves(stacks_of(4, time_h=[5, 6, 7, 8]), level=0.95)[1].iloc[0]
    assert np.isnan(few["high_h"])  # 4 wells of 4: a share of 0.40 and more


def test_stacks_detected_where_watching_begins_were_detected_before() -> None:
    few = detection_curves(stacks_of(8, time_h=[6, 6, 6, 7, 8, 9, 10, 11], first_h=6.0), level=0.95)[1].iloc[
        0
    ]
    assert (few["n_at_first"], few["watched_from_h"], few["half_h"]) == (3, 6.0, 7.0)
    assert few["after_h"] == 6.0
    most = detection_curves(stacks_of(8, time_h=[6, 6, 6, 6, 8, 9, 10, 11], first_h=6.0), level=0.95)[1].iloc[
        0
    ]
    assert most["n_at_first"] == 4
    assert (most["after_h"], most["half_h"]) == (0.0, 6.0)
    # imaging from the onset on: a detection at its first frame is one at 0 h
    start = detection_curves(stacks_of(8, time_h=[0.0] * 8), level=0.95)[1].iloc[0]
    assert (start["n_at_first"], start["half_h"]) == (0, 0.0)


def test_what_is_seen_at_a_frame_came_after_the_frame_before_it() -> None:
    # frames every 2 h from an onset at 0 h; seen at 4, 6 and 8 h, and never
    courses = ([0.1, 0.1, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.9, 0.9], [0.1, 0.1, 0.1, 0.1, 0.9], [0.1] * 5)
    table = table_of(*(rows_of(f"s{i}", "infected", list(p)) for i, p in enumerate(courses)))
    table = table.assign(hours=2 * table["hours"], hpi=2 * table["hpi"])
    times = detection_times(table, thresholds={"decision": 0.5}, frames=1).set_index("stack_id")
    step = (times["time_h"] - times["after_h"]).to_dict()
    assert step == {"s0": 2.0, "s1": 2.0, "s2": 2.0, "s3": 0.0}
    row = detection_curves(times.reset_index(), level=0.95)[1].iloc[0]
    assert row["half_h"] - row["after_h"] == 2.0
    assert row["low_h"] <= row["after_h"]
