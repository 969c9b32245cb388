"""Sentences follow the tables: no claim without a difference, no early detection among false alarms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.curves import POINTS, roc_curve
from hpiclock.analysis.sentences import (
    BEWARE,
    CANNOT,
    SAYS,
    detection_sentences,
    swing_sentences,
    time_sentences,
)
from hpiclock.analysis.windows import with_range_limits

PLACE = {"run": "r", "split": "test", "group": "infected", "note": "few wells"}


def metric(name: str, value: float, low: float, high: float) -> dict[str, object]:
    return PLACE | {"metric": name, "value": value, "low": low, "high": high}


def times(gain: tuple[float, float, float], line: tuple[float, ...]) -> dict[str, pd.DataFrame]:
    """Tables of a time error of 3 h; ``line`` is slope, its limits, and intercept over 0-40 h."""
    rows = [metric("mae", 3.0, 2.0, 4.0), metric("gain_over_clock", *gain)]
    rows += [metric(f"mae_of_{rival}", 5.0, 4.0, 6.0) for rival in ("clock", "mean")]
    names = ("slope", "slope_low", "slope_high", "intercept")
    where = {"run": "r", "split": "test", "clock": "infection", "start_h": 0.0, "end_h": 40.0}
    return {
        "metrics": pd.DataFrame(rows),
        "time_lines": pd.DataFrame([where | dict(zip(names, line, strict=True))]),
    }


def test_a_gain_whose_interval_holds_zero_cannot_be_told() -> None:
    said = list(time_sentences(times((0.5, -1.0, 2.0), (0.95, 0.8, 1.1, 0.0)), 0.95))
    assert [verdict for _, verdict, _ in said] == [SAYS, CANNOT, SAYS]
    assert "0.5 h smaller (95% interval 1.0 h larger to 2.0 h smaller)" in said[1][2]


def test_a_sure_gain_is_said_once_in_hours_and_as_a_share_of_the_clock() -> None:
    said = list(time_sentences(times((2.0, 1.0, 3.0), (1.0, 0.9, 1.1, 0.0)), 0.95))
    assert said[1][1] == SAYS
    clock = "that of a clock that sees no image by 2.0 h (95% interval 1.0 to 3.0), 40% of its 5.0 h"
    assert f"smaller than {clock}" in said[1][2]
    worse = list(time_sentences(times((-2.0, -3.0, -1.0), (1.0, 0.9, 1.1, 0.0)), 0.95))
    assert worse[1][1] == BEWARE
    assert f"larger than {clock}" in worse[1][2]


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        ((0.8, 0.7, 0.9, -6.0), "it is 6.0 h too early at 0 hpi and 14.0 h too early at 40 hpi"),
        ((0.5, 0.3, 0.7, 10.0), "it is 10.0 h too late at 0 hpi and 10.0 h too early at 40 hpi"),
        ((1.4, 1.2, 1.6, 1.0), "it is 1.0 h too late at 0 hpi and 17.0 h too late at 40 hpi"),
    ],
)
def test_early_and_late_are_said_of_the_ends_of_the_line_not_of_its_slope(
    line: tuple[float, ...], ends: str
) -> None:
    verdict, sentence = list(time_sentences(times((2.0, 1.0, 3.0), line), 0.95))[2][1:]
    assert verdict == BEWARE
    assert ends in sentence


def test_swings_within_a_stack_are_counted_and_the_largest_jump_is_named() -> None:
    stacks = pd.DataFrame({
        "stack_id": ["a", "b", "c", "d"], "condition": ["infected", "infected", "mock", "mock"],
        "n_scored": 9, "crossings": [1, 3, 0, 2],
        "largest_jump_h": [-30.0, 2.0, 4.0, -9.0], "jump_at_h": [2.0, 4.0, 6.0, 8.0],
    })  # fmt: skip
    calls, jumps = (sentence for _, _, sentence in swing_sentences(stacks))
    assert "1 of 2 infected stacks passes the threshold more than once, that of 1 of 2 mock stacks" in calls
    assert "by up to 9.0 h" in jumps
    assert "(d at 8 h; the largest jump of a stack has a median of 6.5 h over 2 mock stacks)" in jumps
    assert list(swing_sentences(stacks.assign(n_scored=0, largest_jump_h=np.nan))) == []


def found(alarms: int, bound: float) -> list[tuple[str, str, str]]:
    key = {"run": "r", "split": "test", "group": "all"}
    half = {
        "n_stacks": 10,
        "n_detected": 10,
        "after_h": 4.0,
        "half_h": 5.0,
        "low_h": 3.0,
        "high_h": np.nan,
        "n_at_first": 0,
        "watched_from_h": np.nan,
        "note": "unit well: 5",
    }
    tables = {
        "detection": pd.DataFrame([key | {"rule": rule} | half for rule in ("controls", "decision")]),
        "detection_thresholds": pd.DataFrame(
            {"rule": ["decision", "controls"], "bound": [np.nan, bound], "note": ["youden", "9 controls"]}
        ),
        "false_alarms": pd.DataFrame(
            [key | {"rule": rule, "n_stacks": 10, "n_alarms": alarms, "share": alarms / 10}
             for rule in ("controls", "decision")]
        ),
    }  # fmt: skip
    return list(detection_sentences(tables))


def test_a_time_of_detection_stands_beside_the_false_alarms_of_its_rule() -> None:
    calm, loud = found(0, 0.2), found(5, 0.2)
    assert [verdict for _, verdict, _ in calm] == [SAYS, SAYS]
    assert (
        "between 4.0 and 5.0 h post infection (interval over wells from 3.0 h, without an upper limit)"
        in calm[0][2]
    )
    assert "; 0 of 10 mock stacks" in calm[0][2]
    assert [verdict for _, verdict, _ in loud] == [BEWARE, BEWARE]
    assert "but 5 of 10 mock stacks are detected by the same rule" in loud[0][2]
    assert [verdict for _, verdict, _ in found(0, 0.78)] == [SAYS, CANNOT]


def test_limits_of_a_range_come_from_the_bands_of_all_windows() -> None:
    key = {"run": "r", "split": "test", "group": "all", "metric": "auc"}
    bands = [(0.5, 0.4, 0.6), (0.9, 0.8, 0.95), (0.7, 0.65, 0.75)]
    windows = pd.DataFrame(
        [key | {"value": v, "low_simultaneous": a, "high_simultaneous": b} for v, a, b in bands]
    )
    row = with_range_limits(pd.DataFrame([key | {"range": 0.4}]), windows).iloc[0]
    assert row["range_low"] == pytest.approx(0.8 - 0.6)  # the bands of the first two do not meet
    assert row["range_high"] == pytest.approx(0.95 - 0.4)
    windows.loc[2, ["low_simultaneous", "high_simultaneous"]] = np.nan
    assert np.isnan(with_range_limits(pd.DataFrame([key | {"range": 0.4}]), windows)["range_high"].iloc[0])


def test_a_long_roc_curve_keeps_its_shape_in_few_points() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 20_000)
    rows = pd.DataFrame({"split": "test", "label": truth, "p_infected": rng.random(20_000) + 0.3 * truth})
    curve = roc_curve(rows)
    assert len(curve) <= POINTS + 1
    assert curve[["fpr", "tpr"]].iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    order = rows["p_infected"].rank().to_numpy()
    n1, n0 = truth.sum(), (1 - truth).sum()
    assert area == pytest.approx((order[truth == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * n0), abs=1e-4)
