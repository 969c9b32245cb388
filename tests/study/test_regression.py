"""The regression line of predicted on true time, per split and clock."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpiclock.study.regression import regression


def rows(true, said, **more) -> pd.DataFrame:
    table = pd.DataFrame({"time_target": true, "time_pred": said}, dtype=float)
    fixed = {"label": 1, "plate": "P", "well": "A01", "stack_id": "s", "split": "test", "clock": "infection"}
    return table.assign(**(fixed | more))


def test_the_line_agrees_with_scipy():
    rng = np.random.default_rng(3)
    true = rng.uniform(0, 48, 40)
    said = 3 + 0.7 * true + rng.normal(0, 2, 40)
    line = regression(rows(true, said)).iloc[0]
    scipy = stats.linregress(true, said)
    assert line["slope"] == pytest.approx(scipy.slope, abs=1e-12)
    assert line["intercept"] == pytest.approx(scipy.intercept, abs=1e-12)
    assert line["correlation"] == pytest.approx(scipy.rvalue, abs=1e-12)


def test_clocks_and_splits_have_lines_of_their_own_with_their_n():
    # 1 + 2 x on the infection clock, x on the other; rows without a label or a time count for nothing
    table = pd.concat(
        [
            rows([0, 1, 2, 9], [1, 3, 5, 9], label=[1, 1, 1, None], stack_id=["a", "a", "b", "c"]),
            rows([0, 4, np.nan], [0, 4, 7], clock="experiment", label=0, well="B01"),
            rows([0, 1], [5, 4], split="val"),
        ],
        ignore_index=True,
    )
    lines = regression(table).set_index(["split", "clock"])
    assert lines.loc[("test", "infection"), ["slope", "intercept", "n", "n_stacks"]].tolist() == [2, 1, 3, 2]
    assert lines.loc[("test", "experiment"), ["slope", "intercept", "n", "n_wells"]].tolist() == [1, 0, 2, 1]
    assert lines.loc[("val", "infection"), ["slope", "correlation"]].tolist() == [-1, -1]


def test_without_variation_the_line_is_missing_and_its_n_stays():
    flat = regression(rows([3, 3], [1, 2])).iloc[0]
    assert np.isnan([flat["slope"], flat["intercept"], flat["correlation"]]).all()
    assert flat["n"] == 2
    constant = regression(rows([1, 2, 3], [4, 4, 4])).iloc[0]
    assert (constant["slope"], constant["intercept"]) == (0, 4)
    assert np.isnan(constant["correlation"])


def test_no_rows_give_an_empty_table():
    assert regression(rows([], [])).empty
