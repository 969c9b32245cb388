"""Intervals of errors: from chi-square where errors are independent, wider where few groups share them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from hpiclock.analysis.clustered import samples_by_class, too_few_groups
from hpiclock.analysis.intervals import (
    error_limits,
    factors_of_mean_square,
    variance_of_mean_absolute_error,
    variance_of_mean_squared_error,
)


def linear(errors: np.ndarray) -> dict[str, np.ndarray]:
    """errors: (groups, frames)."""
    k, m = errors.shape
    return {"n_time": np.full(k, float(m)), "err": errors.sum(1), "sq": (errors**2).sum(1)}


def test_a_mean_square_of_independent_normal_errors_has_the_textbook_interval() -> None:
    low, high = factors_of_mean_square(
        np.array(2 / 30), level=0.95
    )  # 30 frames: variance 2 / 30 of its square
    assert low == pytest.approx(30 / chi2.ppf(0.975, 30))
    assert high == pytest.approx(30 / chi2.ppf(0.025, 30))


def test_the_floors_are_the_variances_that_simulated_normal_errors_have() -> None:
    rng = np.random.default_rng(0)
    k, m, shared = 40, 6, 0.5
    drawn = 2 * (
        np.sqrt(shared) * rng.normal(size=(4000, k, 1)) + np.sqrt(1 - shared) * rng.normal(size=(4000, k, m))
    )
    samples = [np.arange(k)]
    absolute = np.array([variance_of_mean_absolute_error(linear(e), samples, suffix="") for e in drawn[:500]])
    square = np.array([variance_of_mean_squared_error(linear(e), samples, suffix="") for e in drawn[:500]])
    assert absolute.mean() == pytest.approx(np.abs(drawn).mean((1, 2)).var(), rel=0.1)
    # enlarged on purpose: with 40 groups by less than a tenth
    assert 0.97 < square.mean() / (drawn**2).mean((1, 2)).var() < 1.25


def test_independent_errors_have_the_variance_of_a_chi_square() -> None:
    errors = np.random.default_rng(1).normal(0, 3, (500, 4))
    found = variance_of_mean_squared_error(linear(errors), [np.arange(500)], suffix="")
    assert float(found) == pytest.approx(2 * 3.0**4 / 2000, rel=0.25)


def test_the_upper_limit_of_a_spread_stays_finite_and_grows_with_the_step() -> None:
    steps = np.array([0.1, 0.5, 0.9, 1.5, 3.0])
    low, high = error_limits(np.full(5, 2.0), steps)
    assert low == pytest.approx(2 / (1 + steps))
    assert high[:2] == pytest.approx([2 / 0.9, 4.0])  # |2 - t| = step x t
    assert (np.diff(high) > 0).all()
    assert np.isfinite(high).all()


def test_two_groups_that_hold_infected_frames_are_too_few_whatever_else_they_hold() -> None:
    both_and_mock = np.array([2, 2, 0, 0, 0, 0, 0])
    assert (
        too_few_groups(samples_by_class(both_and_mock, needed="all"))
        == "no interval: 2 infected groups, at least 3 needed"
    )
    enough = np.array([1, 2, 2, 0, 0, 0])
    assert list(samples_by_class(enough, needed="all")) == ["both"]
