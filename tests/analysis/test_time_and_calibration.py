"""Conformal intervals hold for new wells, lines and limits of agreement by hand, temperature is recovered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import linregress, spearmanr

from hpiclock.analysis.calibration import temperature_scaling
from hpiclock.analysis.curves import (
    confusion_table,
    reliability_curve,
    roc_curve,
    worst_frames,
)
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.import_predictions import complete_predictions
from hpiclock.analysis.time_errors import (
    conformal_intervals,
    half_width,
    limits_of_agreement,
    needed_groups,
    stack_trajectories,
    time_error_by_call,
    time_regression,
    worst_hours,
)
from hpiclock.config.schema import StudyConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return simulate_predictions(Simulation(wells=12, interval_h=3.0), rng=np.random.default_rng(4))


def test_nine_groups_are_needed_for_90_percent_and_19_for_95() -> None:
    assert needed_groups(0.9) == 9
    assert needed_groups(0.95) == 19


def test_the_half_width_by_hand() -> None:
    # nine groups of one frame, the new one counts as the tenth: 90% is reached at the largest of nine
    residuals = np.arange(1.0, 10.0)
    assert half_width(residuals, np.arange(9), level=0.9) == 9.0
    assert half_width(residuals, np.arange(9), level=0.5) == 5.0
    assert half_width(residuals[:8], np.arange(8), level=0.9) == np.inf
    # a group of many frames counts as one: its hundred small errors do not hide the other eight
    many = np.concatenate([np.full(100, 0.01), residuals[:8]])
    assert half_width(many, np.append(np.zeros(100, int), np.arange(1, 9)), level=0.9) == 8.0


def test_intervals_hold_for_frames_of_new_wells_where_frames_as_units_do_not() -> None:
    rng = np.random.default_rng(0)
    held, naive = [], []
    for _ in range(600):
        wells = rng.normal(0, 2, 13)
        residuals = np.abs(wells[:12, None] + rng.normal(0, 0.5, (12, 20)))
        new = abs(wells[12] + rng.normal(0, 0.5))
        held.append(new <= half_width(residuals.ravel(), np.repeat(np.arange(12), 20), level=0.8))
        naive.append(new <= np.quantile(residuals, 0.8))
    assert np.mean(held) == pytest.approx(0.8, abs=0.06) or np.mean(held) > 0.8
    assert np.mean(naive) < np.mean(held)


def test_coverage_is_given_per_call_and_window_and_refused_with_few_wells(predictions: pd.DataFrame) -> None:
    edges = [(0.0, 24.0), (24.0, 48.0)]
    rows, table = conformal_intervals(predictions, threshold=0.5, level=0.9, edges=edges)
    assert set(table["group"]) == {"called infected", "called mock"}
    assert len(table) == 6
    whole = table[table["start_h"].isna()]
    assert whole["coverage"].between(0.75, 1).all()
    assert (rows["time_high"] > rows["time_low"]).sum() == rows["time_pred"].notna().sum()
    few = predictions[
        predictions["well"].isin(predictions["well"].unique()[:8]) | predictions["split"].eq("test")
    ]
    _, refused = conformal_intervals(few, threshold=0.5, level=0.9, edges=edges)
    assert refused["width_h"].isna().any()
    assert refused.loc[refused["width_h"].isna(), "note"].str.startswith("no interval: ").all()


def test_the_line_is_least_squares(predictions: pd.DataFrame) -> None:
    lines = time_regression(predictions, level=0.95).query("split == 'test'").set_index("clock")
    for clock in ("infection", "experiment"):
        rows = predictions[
            predictions["split"].eq("test") & predictions["clock"].eq(clock) & predictions["label"].notna()
        ]
        expected = linregress(rows["time_target"], rows["time_pred"])
        assert lines.loc[clock, "slope"] == pytest.approx(expected.slope, abs=1e-10)
        assert lines.loc[clock, "intercept"] == pytest.approx(expected.intercept, abs=1e-9)
        assert lines.loc[clock, "slope_low"] < expected.slope < lines.loc[clock, "slope_high"]


def test_limits_of_agreement_by_hand() -> None:
    # one frame a stack, errors -1, 0, 1, 2: bias 0.5, SD of the errors 1.29099
    rows = pd.DataFrame(
        {"stack_id": list("abcd"), "hours": 5.0, "label": 0, "p_infected": 0.1, "time_target": 5.0,
         "time_pred": [4.0, 5.0, 6.0, 7.0]}
    )  # fmt: skip
    found = limits_of_agreement(complete_predictions(rows)[0], level=0.95).iloc[0]
    assert found["bias"] == pytest.approx(0.5)
    assert found["upper"] == pytest.approx(0.5 + 1.96 * 1.2909944)
    assert found["n_stacks"] == 4


def test_time_by_call_counts_what_has_no_truth(predictions: pd.DataFrame) -> None:
    table = time_error_by_call(predictions, threshold=0.5).query("split == 'test'")
    false_alarms = table.query("label == 0 and called == 1")
    assert (false_alarms["n_with_predicted_clock"] == 0).all()
    right = table.query("label == called")
    assert right["mae"].to_numpy() == pytest.approx(right["mae_predicted_clock"].to_numpy())


def test_a_planted_temperature_is_found() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, 20_000)
    rows = pd.DataFrame(
        {"stack_id": [f"s{i % 40}" for i in range(len(z))], "frame": np.arange(len(z)), "hours": 1.0,
         "label": (rng.random(len(z)) < expit(z)).astype(int), "p_infected": expit(2.5 * z), "split": "val"}
    )  # fmt: skip
    found = temperature_scaling(complete_predictions(rows)[0]).iloc[0]
    assert found["temperature"] == pytest.approx(2.5, rel=0.05)
    assert found["brier_after"] < found["brier"]
    assert found["log_loss_after"] < found["log_loss"]


def test_no_temperature_for_separated_classes() -> None:
    rows = pd.DataFrame(
        {"stack_id": list("abcd"), "hours": 1.0, "label": [0, 0, 1, 1], "p_infected": [0.1, 0.2, 0.8, 0.9],
         "split": "val"}
    )  # fmt: skip
    found = temperature_scaling(complete_predictions(rows)[0]).iloc[0]
    assert np.isnan(found["temperature"])
    assert "separates the classes" in found["note"]


def test_skill_over_the_clock_by_hand() -> None:
    # onsets 1 and 3 h: the clock says hours - 2 and is off by 1; the model is off by 0.5 everywhere
    parts = []
    for split in ("val", "test"):
        for stack, onset in enumerate((1.0, 3.0)):
            hours = np.arange(4.0, 10.0)
            parts.append(
                pd.DataFrame(
                    {"stack_id": f"{split}{stack}", "hours": hours, "label": 1, "p_infected": 0.9,
                     "onset_h": onset, "time_target": hours - onset, "time_pred": hours - onset + 0.5,
                     "clock": "infection", "split": split}
                )
            )  # fmt: skip
    table = metrics_by_split(complete_predictions(pd.concat(parts))[0], threshold=0.5, study=StudyConfig())
    value = table.query("split == 'test' and group == 'infected'").set_index("metric")["value"]
    assert value["mae"] == pytest.approx(0.5)
    assert value["mae_of_clock"] == pytest.approx(1.0)
    assert value["skill_over_clock"] == pytest.approx(0.5)
    val = table.query("split == 'val' and group == 'infected' and metric == 'skill_over_clock'").iloc[0]
    assert "no training or validation frames to fit the baseline on" in val["note"]


def test_stacks_are_ranked_by_their_errors_and_monotony_is_spearmans(predictions: pd.DataFrame) -> None:
    table = stack_trajectories(predictions, threshold=0.5)
    test = table[table["split"].eq("test")]
    assert test["rank"].tolist() == list(range(1, len(test) + 1))
    assert test["share_wrong"].is_monotonic_decreasing
    first = test.iloc[0]
    rows = predictions[predictions["stack_id"].eq(first["stack_id"])].sort_values("hours")
    assert first["time_monotony"] == pytest.approx(spearmanr(rows["hours"], rows["time_pred"]).statistic)
    steps = np.diff(rows["time_pred"])
    assert first["time_back"] == pytest.approx((steps < 0).mean())
    extra = steps - np.diff(rows["hours"])
    assert first["largest_jump_h"] == pytest.approx(extra[np.abs(extra).argmax()])


def test_worst_hours_and_frames_come_worst_first(predictions: pd.DataFrame) -> None:
    hours = worst_hours(predictions, threshold=0.5, bin_h=6).query("split == 'test'")
    assert hours["share_wrong"].is_monotonic_decreasing
    frames = worst_frames(predictions, threshold=0.5, n=3)
    missed = frames.query("split == 'test' and reason == 'missed infection'")
    assert missed["p_infected"].is_monotonic_increasing
    assert len(missed) == 3


def test_small_tables_add_up(predictions: pd.DataFrame) -> None:
    test = predictions[predictions["split"].eq("test") & predictions["label"].notna()]
    cells = confusion_table(predictions, threshold=0.5).query("split == 'test'")
    assert cells["n"].sum() == len(test)
    assert cells.groupby("label")["share"].sum().tolist() == pytest.approx([1.0, 1.0])
    curve = roc_curve(predictions).query("split == 'test'")
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    table = metrics_by_split(predictions, threshold=0.5, study=StudyConfig())
    auc = table.query("split == 'test' and group == 'all' and metric == 'auc'")["value"].iloc[0]
    assert area == pytest.approx(auc, abs=1e-12)
    bins = reliability_curve(predictions, bins=5, level=0.95).query("split == 'test'")
    assert bins["n"].sum() == len(test)
    assert ((bins["low"] <= bins["rate"]) & (bins["rate"] <= bins["high"])).all()


def test_reliability_bands_take_infected_and_mock_wells_as_two_samples() -> None:
    # two bins of a wide one: 4 infected and 20 mock wells, a frame each, all of a well at one P
    rows = pd.DataFrame(
        {"run": "r", "split": "test", "plate": "P", "well": [f"W{i}" for i in range(24)], "p_infected": 0.5,
         "condition": ["infected"] * 4 + ["mock"] * 20, "label": [1] * 4 + [0] * 20}
    )  # fmt: skip
    rows["stack_id"] = rows["well"]
    many = pd.concat([rows.assign(frame=frame) for frame in range(5)], ignore_index=True)
    band = reliability_curve(many, bins=1, level=0.95).iloc[0]
    # the numbers of wells are given, and wells of a class agree: nothing varies but what k wells leave open
    assert band["rate"] == pytest.approx(1 / 6)
    assert band["low"] < 1 / 6 < band["high"]
    two = reliability_curve(many[~many["well"].isin(["W0", "W1"])], bins=1, level=0.95).iloc[0]
    assert np.isnan(two["low"])
    assert two["note"] == "no band: 2 infected groups, at least 3 needed"
