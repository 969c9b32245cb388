"""Every metric equals scikit-learn, and the time errors what one works out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.time_errors import time_errors
from hpiclock.analysis.units import in_window
from hpiclock.analysis.windows import metrics_by_window, window_edges
from hpiclock.config.schema import StudyConfig, WindowsConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    rows = simulate_predictions(Simulation(wells=4, interval_h=2.0), rng=np.random.default_rng(1))
    return rows.assign(p_infected=rows["p_infected"].round(2))  # many ties


@pytest.fixture(scope="module")
def table(predictions: pd.DataFrame) -> pd.DataFrame:
    return metrics_by_split(predictions, threshold=0.4, study=StudyConfig())


def value_of(table: pd.DataFrame, split: str, group: str, metric: str) -> float:
    rows = table[table["split"].eq(split) & table["group"].eq(group) & table["metric"].eq(metric)]
    assert len(rows) == 1
    return float(rows["value"].iloc[0])


@pytest.mark.parametrize("split", ["val", "test"])
def test_class_metrics_are_those_of_scikit_learn(
    predictions: pd.DataFrame, table: pd.DataFrame, split: str
) -> None:
    rows = predictions[predictions["split"].eq(split) & predictions["label"].notna()]
    truth, p = rows["label"].to_numpy(int), rows["p_infected"].to_numpy()
    called = (p >= 0.4).astype(int)
    expected = {
        "auc": sk.roc_auc_score(truth, p),
        "accuracy": sk.accuracy_score(truth, called),
        "f1": sk.f1_score(truth, called),
        "precision": sk.precision_score(truth, called),
        "recall": sk.recall_score(truth, called),
        "specificity": sk.recall_score(truth, called, pos_label=0),
        "brier": sk.brier_score_loss(truth, p),
    }
    for metric, value in expected.items():
        assert value_of(table, split, "all", metric) == pytest.approx(value, abs=1e-12), metric


@pytest.mark.parametrize("group", ["all", "infected", "mock"])
def test_time_metrics_are_those_of_scikit_learn(
    predictions: pd.DataFrame, table: pd.DataFrame, group: str
) -> None:
    rows = predictions[predictions["split"].eq("test") & predictions["label"].notna()]
    if group != "all":
        rows = rows[rows["label"].eq(int(group == "infected"))]
    y, guess = rows["time_target"].to_numpy(), rows["time_pred"].to_numpy()
    expected = {
        "mae": sk.mean_absolute_error(y, guess),
        "mse": sk.mean_squared_error(y, guess),
        "rmse": sk.root_mean_squared_error(y, guess),
        "r2": sk.r2_score(y, guess),
        "bias": np.mean(guess - y),
        "median_error": np.median(guess - y),
    }
    for metric, value in expected.items():
        assert value_of(table, "test", group, metric) == pytest.approx(value, abs=1e-12), metric


def test_predicted_clock_metrics_are_those_of_the_rows_it_is_defined_on(
    predictions: pd.DataFrame, table: pd.DataFrame
) -> None:
    rows = time_errors(predictions, threshold=0.4)
    rows = rows[rows["split"].eq("test") & rows["label"].notna() & rows["error_predicted_clock_h"].notna()]
    error = rows["error_predicted_clock_h"]
    y = rows["time_pred"] - error
    assert value_of(table, "test", "all", "mae_predicted_clock") == pytest.approx(
        error.abs().mean(), abs=1e-12
    )
    assert value_of(table, "test", "all", "r2_predicted_clock") == pytest.approx(
        sk.r2_score(y, rows["time_pred"]), abs=1e-12
    )


def test_the_predicted_clock_by_hand() -> None:
    # onset 2 h: an infected frame at 10 h is 8 h post infection
    rows = pd.DataFrame(
        {
            "label": pd.array([1, 1, 0, 0], dtype="Int8"),
            "clock": ["infection", "infection", "experiment", "experiment"],
            "hours": 10.0,
            "hpi": [8.0, 8.0, np.nan, np.nan],
            "time_target": [8.0, 8.0, 10.0, 10.0],
            "time_pred": [9.0, 9.0, 9.0, 9.0],
            "p_infected": [0.9, 0.1, 0.1, 0.9],
        }
    )
    found = time_errors(rows, threshold=0.5)
    assert found["error_h"].tolist() == [1.0, 1.0, -1.0, -1.0]
    assert found["clock_pred"].tolist() == ["infection", "experiment", "experiment", "infection"]
    # called infected: 9 - 8; called mock: 9 - 10; mock called infected: no onset, no truth
    np.testing.assert_array_equal(found["error_predicted_clock_h"], [1.0, -1.0, -1.0, np.nan])


def test_auc_with_ties_by_hand(predictions: pd.DataFrame) -> None:
    # infected 0.5 and 0.9 against mock 0.5 and 0.1: wins 0.5 + 1 + 1 + 1 of 4 pairs
    four = predictions[predictions["split"].eq("test") & predictions["label"].notna()]
    four = pd.concat([four[four["label"].eq(1)].head(2), four[four["label"].eq(0)].head(2)])
    four = four.assign(p_infected=[0.5, 0.9, 0.5, 0.1])
    table = metrics_by_split(four, threshold=0.5, study=StudyConfig())
    assert value_of(table, "test", "all", "auc") == 0.875


def test_time_stratified_auc_compares_frames_of_the_same_hour_only(predictions: pd.DataFrame) -> None:
    test = predictions[predictions["split"].eq("test") & predictions["label"].notna()]
    # the score is the clock: late infected frames win against early mock frames, never at the same hour
    clock = test.assign(p_infected=test["hours"] / 100, label=test["label"])
    late = clock[clock["label"].eq(0) | clock["hours"].ge(24)]
    table = metrics_by_split(late, threshold=0.5, study=StudyConfig())
    assert value_of(table, "test", "all", "auc") > 0.7
    assert value_of(table, "test", "all", "auc_stratified") == 0.5


def test_pairs_of_two_models_are_never_compared(predictions: pd.DataFrame) -> None:
    test = predictions[predictions["split"].eq("test") & predictions["label"].notna()]
    # a second fold whose scores are all shifted up: still each model ranks its own frames as before
    other = test.assign(fold=1, p_infected=0.5 + test["p_infected"] / 2)
    both = pd.concat([test.assign(p_infected=test["p_infected"] / 2), other])
    table = metrics_by_split(both, threshold=0.5, study=StudyConfig())
    expected = sk.roc_auc_score(test["label"].to_numpy(int), test["p_infected"])
    assert value_of(table, "test", "all", "auc") == pytest.approx(expected, abs=1e-12)


def test_flipped_labels_give_one_minus_auc_and_row_order_does_not_matter(predictions: pd.DataFrame) -> None:
    args = {"threshold": 0.4, "study": StudyConfig()}
    one = metrics_by_split(predictions, **args)
    shuffled = metrics_by_split(predictions.sample(frac=1, random_state=3), **args)
    pd.testing.assert_frame_equal(one, shuffled, rtol=1e-9, atol=1e-12)
    other = {"infected": "mock", "mock": "infected"}
    flipped = predictions.assign(
        label=1 - predictions["label"], condition=predictions["condition"].map(other)
    )
    table = metrics_by_split(flipped, **args)
    assert value_of(table, "test", "all", "auc") == pytest.approx(
        1 - value_of(one, "test", "all", "auc"), abs=1e-12
    )


def test_fifteen_windows_half_open_and_the_last_one_closed() -> None:
    edges = window_edges(WindowsConfig(width_h=6, stride_h=3), end_h=48)
    assert len(edges) == 15
    assert edges[0] == (0, 6)
    assert edges[-1] == (42, 48)
    hours = np.array([0.0, 5.9, 6.0, 48.0])
    assert in_window(hours, 0, 6, last=False).tolist() == [True, True, False, False]
    assert in_window(hours, 42, 48, last=True).tolist() == [False, False, False, True]


def test_hpi_windows_hold_mock_frames_of_the_same_hours_and_every_window_stays(
    predictions: pd.DataFrame,
) -> None:
    table = metrics_by_window(
        predictions, windows=WindowsConfig(), end_h=48, axis="hpi", threshold=0.4, study=StudyConfig(),
        rng=np.random.default_rng(0),
    )  # fmt: skip
    auc = table[table["metric"].eq("auc") & table["group"].eq("all") & table["split"].eq("test")]
    assert len(auc) == 15
    test = predictions[predictions["split"].eq("test")]
    inside = test["hpi"].ge(6) & test["hpi"].lt(12)
    hours = test.loc[inside, "hours"].unique()
    part = test[inside | (test["condition"].eq("mock") & test["hours"].isin(hours))]
    expected = sk.roc_auc_score(part["label"].astype(int), part["p_infected"])
    row = auc[auc["start_h"].eq(6)].iloc[0]
    assert row["value"] == pytest.approx(expected, abs=1e-12)
    assert row["n"] == len(part)
    assert row["n_infected"] == inside.sum()
