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
    time_sentences,
)
from hpiclock.analysis.windows import with_range_limits

PLACE = {"run": "r", "split": "test", "group": "infected", "note": "few wells"}


def metric(name: str, value: float, low: float, high: float) -> dict[str, object]:
    return PLACE | {"metric": name, "value": value, "low": low, "high": high}


def times(gain: tuple[float, float, float], slope: tuple[float, float, float]) -> dict[str, pd.DataFrame]:
    rows = [metric("mae", 3.0, 2.0, 4.0)]
    rows += [metric(f"gain_over_{rival}", *gain) for rival in ("clock", "mean")]
    rows += [metric(f"skill_over_{rival}", 0.4, np.nan, np.nan) for rival in ("clock", "mean")]
    line = {"run": "r", "split": "test", "clock": "infection", "slope": slope[0], "slope_low": slope[1],
            "slope_high": slope[2]}  # fmt: skip
    return {"metrics": pd.DataFrame(rows), "time_lines": pd.DataFrame([line])}


def test_a_gain_whose_interval_holds_zero_cannot_be_told() -> None:
    said = list(time_sentences(times((0.5, -1.0, 2.0), (0.95, 0.8, 1.1)), 0.95))
    assert [verdict for _, verdict, _ in said] == [SAYS, CANNOT, CANNOT, SAYS]
    assert "0.5 h smaller (95% interval 1.0 h larger to 2.0 h smaller)" in said[1][2]


def test_a_sure_gain_is_said_in_hours_and_as_a_share() -> None:
    said = list(time_sentences(times((2.0, 1.0, 3.0), (0.5, 0.3, 0.7)), 0.95))
    assert said[1][1] == SAYS
    assert (
        "smaller than that of a clock that sees no image by 2.0 h (95% interval 1.0 to 3.0), 40%"
        in said[1][2]
    )
    assert said[3][1] == BEWARE  # pulled to the middle
    worse = list(time_sentences(times((-2.0, -3.0, -1.0), (1.4, 1.2, 1.6)), 0.95))
    assert worse[1][1] == BEWARE
    assert "larger than that of a clock that sees no image by 2.0 h (95% interval 1.0 to 3.0)" in worse[1][2]


def found(alarms: int, bound: float) -> list[tuple[str, str, str]]:
    key = {"run": "r", "split": "test", "group": "all"}
    half = {"n_stacks": 10, "n_detected": 10, "half_h": 5.0, "low_h": 3.0, "high_h": np.nan}
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
    assert "by 5.0 h post infection (interval 3.0 h to no end); 0 of 10 mock stacks" in calm[0][2]
    assert [verdict for _, verdict, _ in loud] == [BEWARE, BEWARE]
    assert "but 5 of 10 mock stacks are by the same rule" in loud[0][2]
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
