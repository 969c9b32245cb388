"""Arithmetic of maps by hand: shares inside a place, the border, ranks, tiles, what goes first."""

import numpy as np
import pytest
from scipy import stats

from hpiclock.analysis.saliency_maps import (
    border_mask,
    deletion_order,
    rank_correlation,
    share_inside,
    shrink_maps,
    tile_means,
)


def test_the_share_inside_is_that_of_the_weight_not_of_the_area():
    weight = np.array([[[3.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    place = np.array([[True, True], [False, False]])
    np.testing.assert_array_equal(share_inside(weight, place), [0.75, np.nan])
    each = np.stack([place, ~place])
    np.testing.assert_array_equal(share_inside(weight[[0, 0]], each), [0.75, 0.25])


def test_the_border_is_a_sixteenth_wide_and_never_nothing():
    assert border_mask(64).sum() == 64**2 - 56**2
    assert border_mask(8).sum() == 8**2 - 6**2


def test_rank_correlation_is_that_of_scipy_for_each_map():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(3, 5, 5)), rng.normal(size=(3, 5, 5)).round(1)
    expected = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_correlation(one, other), expected)
    np.testing.assert_allclose(rank_correlation(one, np.exp(one)), 1)
    np.testing.assert_allclose(rank_correlation(one, -one), -1)


def test_a_flat_map_is_like_no_other():
    one = np.arange(4.0).reshape(1, 2, 2)
    assert np.isnan(rank_correlation(one, np.ones((1, 2, 2))))


def test_tiles_are_means_and_what_fills_none_is_left_out():
    maps = np.arange(25.0).reshape(1, 5, 5)
    np.testing.assert_array_equal(tile_means(maps, 2), [[[3.0, 5.0], [13.0, 15.0]]])
    assert shrink_maps(maps, 8) is maps
    assert shrink_maps(maps, 2).shape == (1, 2, 2)
    with pytest.raises(ValueError, match="5 px cannot be cut into 8 tiles"):
        tile_means(maps, 8)


def test_the_largest_goes_first_and_equal_ones_in_their_order():
    np.testing.assert_array_equal(deletion_order(np.array([[[1.0, 3.0], [2.0, 3.0]]])), [[1, 3, 2, 0]])
