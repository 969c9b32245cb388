"""Intervals of errors hold the truth where wells are heavy-tailed, and say why where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hpiclock.analysis.clustered import samples_by_class, too_few_groups
from hpiclock.analysis.frame_scores import FrameScores, group_sums
from hpiclock.analysis.intervals import error_limits, metric_interval


def scores_of(error: np.ndarray) -> FrameScores:
    """Frames of infected wells with these errors: (wells, frames)."""
    n, well = error.size, np.repeat(np.arange(len(error)), error.shape[1])
    nothing, ones = np.full(n, np.nan), np.ones(n, np.int8)
    return FrameScores(
        truth=ones, condition=ones, p=nothing, called=ones == 0, group=well, stack=well, well=well,
        model=ones, stratum=ones, target=nothing, error=error.ravel(), target_predicted=nothing,
        error_predicted=nothing, off_clock=nothing, off_mean=nothing,
    )  # fmt: skip


def t3_errors(rng: np.random.Generator, wells: int, frames: int, *, between: float) -> np.ndarray:
    of_well = rng.standard_t(3, (wells, 1)) / np.sqrt(3)
    return np.sqrt(between) * of_well + np.sqrt(1 - between) * rng.normal(size=(wells, frames))


@pytest.mark.parametrize(("metric", "least"), [("mae", 0.93), ("rmse", 0.87)])
def test_intervals_of_time_errors_cover_where_wells_are_heavy_tailed(metric: str, least: float) -> None:
    rng = np.random.default_rng(0)
    many = t3_errors(rng, 200_000, 1, between=0.3)
    truth = np.abs(many).mean() if metric == "mae" else np.sqrt((many**2).mean())
    found = [
        metric_interval(group_sums(scores_of(t3_errors(rng, 20, 6, between=0.3))), metric, level=0.95)
        for _ in range(600)
    ]
    assert np.mean([one.low <= truth <= one.high for one in found]) > least


def test_a_mean_square_is_judged_by_its_root() -> None:
    sums = group_sums(scores_of(np.random.default_rng(1).normal(0, 3, (9, 5))))
    root, square = (metric_interval(sums, name, level=0.95) for name in ("rmse", "mse"))
    assert (square.low, square.high) == pytest.approx((root.low**2, root.high**2))


def test_the_limits_by_hand() -> None:
    # ten groups of mean 2: left out, they leave 2 - d / 9; 9 degrees of freedom below, 2.5 above
    d = np.array([-0.3, -0.2, -0.1, 0.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3])
    error = d.std(ddof=1) / np.sqrt(10) / 2
    low, high = error_limits(np.array(2.0), 2 - d / 9, [np.arange(10)], level=0.95)
    assert low == pytest.approx(2 / (1 + stats.t.ppf(0.97, 9) * error))
    assert high == pytest.approx(2 / (1 - stats.t.ppf(0.975, 2.5) * error))


def test_the_upper_limit_stays_finite_and_grows_with_the_spread() -> None:
    d = np.arange(5.0) - 2
    left_out = 2 - np.array([[0.1], [0.5], [1.0], [2.0]]) * d / 4
    low, high = error_limits(np.full(4, 2.0), left_out, [np.arange(5)], level=0.95)
    assert (np.diff(high) > 0).all()
    assert (np.diff(low) < 0).all()
    assert np.isfinite(high).all()


def test_two_groups_that_hold_infected_frames_are_too_few_whatever_else_they_hold() -> None:
    both_and_mock = np.array([2, 2, 0, 0, 0, 0, 0])
    assert (
        too_few_groups(samples_by_class(both_and_mock, needed="all"))
        == "no interval: 2 infected groups, at least 3 needed"
    )
    enough = np.array([1, 2, 2, 0, 0, 0])
    assert list(samples_by_class(enough, needed="all")) == ["both"]
