"""Intervals agree with published numbers and independent formulas, and say why where there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from hpiclock.analysis.clustered import jackknife_variance, samples_by_class
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.frame_scores import FrameScores, group_sums, icc_of_normal_scores
from hpiclock.analysis.intervals import (
    auc_variance_model,
    excess_joint_probability,
    metric_interval,
    variance_trust,
)
from hpiclock.config.schema import StudyConfig
from hpiclock.metrics import METRICS
from hpiclock.simulate.predictions import Simulation, simulate_predictions


def scores_of(
    truth: np.ndarray, p: np.ndarray, group: np.ndarray, error: np.ndarray | None = None
) -> FrameScores:
    n = len(p)
    nothing, zeros = np.full(n, np.nan), np.zeros(n, int)
    error = nothing if error is None else error
    truth = truth.astype(np.int8)
    return FrameScores(
        truth=truth, condition=truth, p=p.astype(float), called=p >= 0.5, group=group, stack=group,
        well=group, model=zeros, stratum=zeros, error=error,
        target=np.where(np.isnan(error), np.nan, np.arange(n)),
        target_predicted=nothing, error_predicted=nothing, off_clock=nothing, off_mean=nothing,
    )  # fmt: skip


def variance_of(scores: FrameScores, metric: str) -> float:
    sums = group_sums(scores)
    samples = list(samples_by_class(sums.kind, needed="all").values())
    return float(jackknife_variance(METRICS[metric].value(sums.without), samples)[0])


def clustered(rng: np.random.Generator, k: int, sizes: tuple[int, int]) -> FrameScores:
    """k infected and k mock groups of unequal size, scores rounded so that there are ties."""
    parts = []
    for group in range(2 * k):
        m = int(rng.integers(*sizes))
        score = norm.cdf(rng.normal(0, 0.7) + rng.normal(0, 1, m) + (group < k))
        parts.append(np.column_stack([np.full(m, group < k), np.round(score, 2), np.full(m, group)]))
    truth, p, group = np.concatenate(parts).T
    return scores_of(truth, p, group.astype(int))


def test_ungrouped_auc_has_the_published_standard_error_of_the_hanley_mcneil_ratings() -> None:
    # CT ratings 1..5 of 58 normal and 51 abnormal patients (Hanley and McNeil 1982, table I);
    # Stata's roctab prints AUC 0.8932, DeLong standard error 0.0307
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    p = np.concatenate([np.repeat(np.arange(1, 6), normal), np.repeat(np.arange(1, 6), abnormal)]) / 5
    truth = np.repeat([0, 1], [58, 51])
    scores = scores_of(truth, p, np.arange(109))
    assert float(METRICS["auc"].value(group_sums(scores).total)) == pytest.approx(0.8932, abs=5e-5)
    assert np.sqrt(variance_of(scores, "auc")) == pytest.approx(0.0307, abs=5e-5)


def delong_variance(truth: np.ndarray, p: np.ndarray) -> float:
    """DeLong, DeLong and Clarke-Pearson (1988), from the full table of pairs."""
    x, y = p[truth == 1], p[truth == 0]
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    return float(wins.mean(1).var(ddof=1) / len(x) + wins.mean(0).var(ddof=1) / len(y))


def test_ungrouped_auc_variance_is_delongs() -> None:
    rng = np.random.default_rng(3)
    truth = (np.arange(60) < 25).astype(int)
    p = np.round(rng.random(60) * 0.8 + 0.2 * truth, 1)
    scores = scores_of(truth, p, np.arange(60))
    assert variance_of(scores, "auc") == pytest.approx(delong_variance(truth, p), rel=1e-10)


def obuchowski_variance(scores: FrameScores) -> float:
    """Obuchowski (1997), equations 3-5, from the full table of pairs; groups may hold both classes."""
    x, y = scores.p[scores.truth == 1], scores.p[scores.truth == 0]
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    groups, parts, total = np.unique(scores.group), [], 0.0
    for truth, component in ((1, wins.mean(1)), (0, wins.mean(0))):
        group = scores.group[scores.truth == truth]
        sums = np.array([(component[group == one] - wins.mean()).sum() for one in groups])
        k = len(np.unique(group))
        total += k / (k - 1) * (sums**2).sum() / len(component) ** 2
        parts.append(sums / len(component))
    k = len(groups)
    return float(total + 2 * k / (k - 1) * (parts[0] * parts[1]).sum())


# Scores 1..10 of six infected and six mock groups of four.
RATINGS = [
    [5, 5, 5, 8], [8, 9, 7, 7], [7, 7, 10, 9], [7, 7, 5, 9], [6, 8, 10, 4], [4, 5, 7, 4],
    [5, 4, 4, 1], [6, 7, 6, 1], [5, 5, 4, 7], [1, 1, 3, 4], [6, 7, 7, 4], [9, 6, 4, 8],
]  # fmt: skip
# Ten groups that hold both classes: infected scores, then the others.
MIXED = (
    [[9, 8], [3, 3, 6], [5], [6, 8, 7], [5, 7], [10, 9], [10, 7], [8, 5, 6], [8, 6, 4, 10], [8, 4, 8, 8]],
    [[2, 7], [3], [2, 5, 5], [4, 2], [3], [8, 7, 4, 3], [7, 6, 2, 6], [3], [5, 3, 5], [5]],
)


def test_clustered_auc_variance_is_what_r_prints() -> None:
    # doAUCcluster of the R package mitoticFigureCounts (Obuchowski's method as the Cleveland Clinic's
    # funcs_clusteredROC.R has it), R 4.2.2, prints auc 0.7439236111, auc.var 0.009481397087
    p = np.concatenate(RATINGS) / 10
    scores = scores_of(np.repeat([1, 0], 24), p, np.repeat(np.arange(12), 4))
    assert float(METRICS["auc"].value(group_sums(scores).total)) == pytest.approx(0.7439236111, abs=5e-11)
    assert variance_of(scores, "auc") == pytest.approx(0.009481397087, abs=5e-13)


def test_clustered_auc_variance_of_mixed_groups_is_near_what_r_prints() -> None:
    # the same function prints auc 0.8050699301, auc.var 0.002084549424, auc.se 0.04565686612
    p = np.concatenate(MIXED[0] + MIXED[1]) / 10
    sizes = [[len(part) for part in side] for side in MIXED]
    group = np.concatenate([np.repeat(np.arange(10), side) for side in sizes])
    scores = scores_of(np.repeat([1, 0], [sum(sizes[0]), sum(sizes[1])]), p, group)
    assert float(METRICS["auc"].value(group_sums(scores).total)) == pytest.approx(0.8050699301, abs=5e-11)
    assert obuchowski_variance(scores) == pytest.approx(0.002084549424, abs=5e-13)
    # the jackknife is not linearised: with ten groups its standard error is a little larger
    assert 1 < np.sqrt(variance_of(scores, "auc")) / 0.04565686612 < 1.1


def test_clustered_auc_variance_is_obuchowskis() -> None:
    equal = clustered(np.random.default_rng(1), 8, (12, 13))
    assert variance_of(equal, "auc") == pytest.approx(obuchowski_variance(equal), rel=1e-10)
    # groups of unequal size: the jackknife and the linearised variance differ in second order only
    unequal = clustered(np.random.default_rng(1), 40, (8, 16))
    assert variance_of(unequal, "auc") == pytest.approx(obuchowski_variance(unequal), rel=0.05)


@pytest.mark.parametrize("metric", ["auc", "accuracy", "f1", "mae", "r2"])
def test_leaving_a_group_out_is_computing_without_it(metric: str) -> None:
    rng = np.random.default_rng(2)
    scores = clustered(rng, 4, (5, 9))
    scores = scores_of(scores.truth, scores.p, scores.group, rng.normal(0, 1, len(scores)))
    sums = group_sums(scores)
    for group in range(8):
        alone = group_sums(scores.take(scores.group != group))
        expected = float(METRICS[metric].value(alone.total))
        assert float(METRICS[metric].value(sums.without)[group]) == pytest.approx(expected, abs=1e-12)


def test_groups_that_hold_both_classes_are_left_out_with_both() -> None:
    rng = np.random.default_rng(4)
    truth, group = rng.integers(0, 2, 60), np.repeat(np.arange(6), 10)
    scores = scores_of(truth, np.round(rng.random(60), 1), group)
    sums = group_sums(scores)
    for one in range(6):
        kept = scores.group != one
        x, y = scores.p[kept & (truth == 1)], scores.p[kept & (truth == 0)]
        expected = ((x[:, None] > y) + 0.5 * (x[:, None] == y)).mean()
        assert float(METRICS["auc"].value(sums.without)[one]) == pytest.approx(expected, abs=1e-12)


def test_excess_is_the_bivariate_normal_integral() -> None:
    for b, rho in ((2.0, 0.3), (0.5, 0.9), (-1.0, 0.5), (2.3, 0.99)):
        value = norm.cdf(b)
        expected = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([b, b]) - value**2
        assert float(excess_joint_probability(np.array(value), np.array(rho))) == pytest.approx(
            expected, abs=1e-7
        )
    # the same frame twice: the variance of a yes or no
    assert float(excess_joint_probability(np.array(0.9), np.array(1.0))) == pytest.approx(0.09, abs=1e-9)


def test_the_shape_of_the_auc_is_its_variance_under_normal_scores() -> None:
    rng = np.random.default_rng(0)
    k, m, icc, auc = 5, 6, 0.4, 0.9
    deviations = [
        np.sqrt(icc) * rng.normal(size=(4000, k, 1)) + np.sqrt(1 - icc) * rng.normal(size=(4000, k, m))
        for _ in range(2)
    ]
    x = deviations[0].reshape(4000, -1) + np.sqrt(2) * norm.ppf(auc)
    y = deviations[1].reshape(4000, -1)
    seen = (x[:, :, None] > y[:, None, :]).mean((1, 2)).var()
    chances = (1 / (k * m), (m - 1) / (k * m))
    expected = auc_variance_model(chances, chances).variance(np.array(auc), np.array(icc))
    assert seen == pytest.approx(float(expected), rel=0.08)  # 4,000 draws: 2.2% standard error


def test_icc_is_one_for_groups_of_equal_scores_and_near_zero_for_shuffled_ones() -> None:
    group = np.repeat(np.arange(20), 10)
    assert icc_of_normal_scores(group / 20, group) == pytest.approx(1.0)
    shuffled = np.random.default_rng(0).permutation(200) / 200
    assert icc_of_normal_scores(shuffled, group) < 0.1


def test_trust_is_whole_when_all_groups_contribute_and_small_when_one_does() -> None:
    assert float(variance_trust(np.ones(12))) == 1.0
    assert float(variance_trust(np.eye(12)[0])) == pytest.approx(
        1 / 4
    )  # one of 12 groups, a third would be 4
    assert float(variance_trust(np.zeros(12))) == 0.0


def test_fewer_than_three_groups_give_no_interval_and_the_words_why() -> None:
    rng = np.random.default_rng(0)
    two = clustered(rng, 2, (6, 7))
    found = metric_interval(group_sums(two), "auc", level=0.95)
    assert np.isnan(found.low)
    assert found.note == "no interval: 2 infected groups, at least 3 needed"


def test_a_perfect_auc_has_an_interval_that_narrows_with_groups() -> None:
    lows = []
    for k in (3, 8, 20):
        group = np.repeat(np.arange(2 * k), 4)
        truth = (group < k).astype(int)
        rng = np.random.default_rng(k)
        p = 0.2 + 0.6 * truth + 0.1 * rng.random(len(group))
        found = metric_interval(group_sums(scores_of(truth, p, group)), "auc", level=0.95)
        assert found.high == 1.0
        lows.append(found.low)
    assert lows[0] < lows[1] < lows[2] < 1
    assert lows[0] < 0.9


def test_the_interval_is_mirrored_when_labels_are_flipped() -> None:
    scores = clustered(np.random.default_rng(7), 6, (8, 9))
    flipped = scores_of(1 - scores.truth, scores.p, scores.group)
    one, other = (metric_interval(group_sums(s), "auc", level=0.95) for s in (scores, flipped))
    assert one.low == pytest.approx(1 - other.high, abs=1e-6)
    assert one.high == pytest.approx(1 - other.low, abs=1e-6)


def test_intervals_of_the_error_do_not_depend_on_its_unit() -> None:
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(8), 10)
    truth, p = (group < 4).astype(int), rng.random(80)
    error = rng.normal(0, 1, 80) + rng.normal(0, 1, 8)[group]
    hours = metric_interval(group_sums(scores_of(truth, p, group, error)), "mae", level=0.95)
    minutes = metric_interval(group_sums(scores_of(truth, p, group, 60 * error)), "mae", level=0.95)
    assert 60 * hours.low == pytest.approx(minutes.low)
    assert 60 * hours.high == pytest.approx(minutes.high)
    assert hours.low < np.abs(error).mean() < hours.high


def test_a_wider_level_gives_a_wider_interval() -> None:
    sums = group_sums(clustered(np.random.default_rng(9), 6, (8, 12)))
    for metric in ("auc", "accuracy", "f1", "recall"):
        narrow, wide = metric_interval(sums, metric, level=0.8), metric_interval(sums, metric, level=0.95)
        assert wide.low < narrow.low < narrow.high < wide.high
    assert pd.isna(metric_interval(sums, "mae", level=0.95).low)


def test_metrics_name_the_method_of_each_interval_and_where_it_is_too_narrow() -> None:
    rows = simulate_predictions(Simulation(wells=3, interval_h=6.0), rng=np.random.default_rng(0))
    metrics = metrics_by_split(rows, threshold=0.5, study=StudyConfig())
    assert (metrics["method"] != "").eq(metrics["low"].notna()).all()
    of = metrics.dropna(subset=["low"]).set_index("metric")["method"]
    assert of["mae"].str.startswith("relative limits").all()
    assert of["auc"].str.startswith("score interval").all()
    assert of["rmse"].str.contains("too narrow where a few groups").all()
