"""Weighted sums are the metrics of the repeated frames, for every resample."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from hpiclock.analysis.frame_scores import FrameScores, frame_scores
from hpiclock.analysis.intervals.bootstrap import bootstrap_weights, resampled_metric, resampling_table
from hpiclock.analysis.units import group_codes
from hpiclock.simulate.predictions import Simulation, simulate_predictions

METRICS = ("auc", "accuracy", "f1", "mae", "r2", "recall", "bias")


@pytest.fixture(scope="module")
def scores() -> FrameScores:
    rows = simulate_predictions(
        Simulation(wells=4, interval_h=4.0), rng=np.random.default_rng(2), splits=("test",)
    )
    rows = rows[rows["label"].notna()].reset_index(drop=True)
    rows["p_infected"] = rows["p_infected"].round(1)  # ties
    return frame_scores(rows, threshold=0.5, group=group_codes(rows, "position"))


def test_resamples_equal_scikit_learn_on_the_repeated_frames(scores: FrameScores) -> None:
    kind = pd.Series(scores.truth).groupby(scores.group).first().to_numpy()
    weights = bootstrap_weights(kind, 12, np.random.default_rng(0))
    found = resampled_metric([resampling_table(scores, k=len(kind))], weights, METRICS)
    guess = scores.target + scores.error
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(len(scores)), weight[scores.group].astype(int))
        y, call = scores.truth[rows], scores.called[rows]
        expected = {
            "auc": sk.roc_auc_score(y, scores.p[rows]),
            "accuracy": sk.accuracy_score(y, call),
            "f1": sk.f1_score(y, call),
            "recall": sk.recall_score(y, call),
            "mae": sk.mean_absolute_error(scores.target[rows], guess[rows]),
            "r2": sk.r2_score(scores.target[rows], guess[rows]),
            "bias": (guess[rows] - scores.target[rows]).mean(),
        }
        for metric, value in expected.items():
            assert found[metric][draw, 0] == pytest.approx(value, abs=1e-12), metric


def test_a_resample_keeps_the_number_of_groups_of_each_class() -> None:
    kind = np.array([0, 0, 0, 1, 1, 1, 1])
    weights = bootstrap_weights(kind, 50, np.random.default_rng(0))
    assert (weights[:, kind == 0].sum(1) == 3).all()
    assert (weights[:, kind == 1].sum(1) == 4).all()


def test_more_resamples_than_a_chunk_are_those_of_the_pieces(scores: FrameScores) -> None:
    kind = pd.Series(scores.truth).groupby(scores.group).first().to_numpy()
    weights = bootstrap_weights(kind, 1203, np.random.default_rng(0))
    table = [resampling_table(scores, k=len(kind))]
    whole = resampled_metric(table, weights, ("auc",))["auc"]
    np.testing.assert_allclose(
        resampled_metric(table, weights[700:], ("auc",))["auc"], whole[700:], atol=1e-14
    )


def test_a_resample_of_one_class_is_undefined_not_a_number(scores: FrameScores) -> None:
    kind = pd.Series(scores.truth).groupby(scores.group).first().to_numpy()
    only_mock = (kind == 0).astype(float)[None]
    found = resampled_metric([resampling_table(scores, k=len(kind))], only_mock, ("auc", "f1", "accuracy"))
    assert np.isnan(found["auc"][0, 0])
    assert np.isnan(found["f1"][0, 0])
    assert not np.isnan(found["accuracy"][0, 0])
