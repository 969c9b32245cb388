"""The helpers for grouped values equal SciPy's and what one works out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpiclock.analysis.clustered import one_way_anova, t_interval
from hpiclock.analysis.units import each_run_and_split
from hpiclock.tables import table_of


def test_a_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(0).normal(3, 2, 9)
    left_out = (values.sum() - values) / 8
    low, high = t_interval(values.mean(), left_out, [np.arange(9)], level=0.9)
    expected = stats.t.interval(0.9, 8, values.mean(), values.std(ddof=1) / 3)
    np.testing.assert_allclose((low, high), expected)


def test_the_analysis_of_variance_is_scipys():
    rng = np.random.default_rng(1)
    group = np.repeat([7, 3, 5, 4], [2, 5, 3, 6])
    values = rng.normal(size=16) + group
    found = one_way_anova(values, group)
    parts = [values[group == code] for code in np.unique(group)]
    assert found.between / found.within == pytest.approx(stats.f_oneway(*parts).statistic)


def test_icc_by_hand():
    # means 1 and 5, overall 3: squares between 2 x 4 + 2 x 4 with 1 df, within 4 x 1 with 2 df
    found = one_way_anova(np.array([0.0, 2.0, 4.0, 6.0]), np.array([0, 0, 1, 1]))
    assert (found.between, found.within, found.size) == (16, 2, 2)
    assert float(found.variance_between) == 7  # (16 - 2) / 2
    assert float(found.icc) == pytest.approx(14 / 18)


def test_one_group_and_equal_values_have_no_variance_between():
    assert float(one_way_anova(np.arange(4.0), np.zeros(4, int)).variance_between) == 0
    same = one_way_anova(np.ones(6), np.repeat([0, 1], 3))
    assert float(same.variance_between) == 0
    assert np.isnan(same.icc)


def test_runs_and_splits_come_in_order_with_a_fresh_index():
    rows = pd.DataFrame(
        {"run": ["b", "a", "a", "a"], "split": ["test", "test", "val", "test"], "x": range(4)}
    )
    found = [(key, part["x"].tolist(), part.index.tolist()) for key, part in each_run_and_split(rows)]
    assert found == [
        ({"run": "a", "split": "val"}, [2], [0]),
        ({"run": "a", "split": "test"}, [1, 3], [0, 1]),
        ({"run": "b", "split": "test"}, [0], [0]),
    ]


def test_a_table_has_its_columns_also_without_rows():
    assert table_of([], "a b").columns.tolist() == ["a", "b"]
    table = table_of([{"b": 1, "a": 2}, {"a": 3}], "a b")
    assert table["a"].tolist() == [2, 3]
    assert np.isnan(table["b"].iloc[1])
