"""Benchmarks are run by hand: what they import from the package must be there all the same."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import contingency, linregress
from sklearn.metrics import roc_auc_score

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.fixture
def hard(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("hard_plates")


def many(hard, name):
    """Rows of a large plate: (wells of) ten plates' worth in one."""
    plate = hard.GENERATORS[name]
    plate = plate._replace(plates=tuple((10 * i, 10 * m) for i, m in plate.plates), splits=("test",))
    rows = hard.predictions(plate, np.random.default_rng(1))
    return rows, rows[rows["label"].notna()]


def cramers_v(rows):
    wells = rows.drop_duplicates(["plate", "well"])
    counts = pd.crosstab(wells["well"].str[1:], wells["condition"])
    return contingency.association(counts.to_numpy(), method="cramer")


def there(module: str, name: str) -> bool:
    package = importlib.import_module(module)
    submodule = hasattr(package, "__path__") and importlib.util.find_spec(f"{module}.{name}")
    return hasattr(package, name) or bool(submodule)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_name_that_a_benchmark_imports_is_there(script):
    nodes = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom)]
    names = [(node.module, one.name) for node in nodes for one in node.names if node.module]
    missing = [name for name in names if name[0].startswith("hpiclock") and not there(*name)]
    assert missing == []


def test_a_name_that_went_would_be_seen():
    assert there("hpiclock.plate", "readers")
    assert not there("hpiclock.analysis.windows", "no_such_name")
    assert not there("hpiclock.plate", "no_such_name")


def test_every_hard_plate_is_a_predictions_table_of_the_wells_that_it_says(hard):
    for plate in {plate.plates: plate for plate in hard.GENERATORS.values()}.values():
        rows = hard.predictions(plate, np.random.default_rng(0))
        of_test = rows[rows["split"].eq("test")].drop_duplicates(["plate", "well"])
        counts = pd.crosstab(of_test["plate"], of_test["condition"])[["infected", "mock"]]
        assert [tuple(row) for row in counts.to_numpy()] == list(plate.plates)


def test_truth_of_hard_plates_is_that_of_an_independent_count(hard):
    for name in ("ties", "clock, infected later", "size-dependent wells"):
        _, scored = many(hard, name)
        true = hard.truth(hard.GENERATORS[name], draws=2)
        infected = scored["label"].eq(1)
        assert roc_auc_score(infected, scored["p_infected"]) == pytest.approx(true.auc, abs=0.04)
        assert roc_auc_score(infected, scored["hours"]) == pytest.approx(true.hour_alone, abs=0.02)
        assert scored.loc[infected, "p_infected"].ge(0.5).mean() == pytest.approx(true.recall, abs=0.05)
        error = (scored["time_pred"] - scored["time_target"])[infected].abs().mean()
        assert error == pytest.approx(true.mae_h, abs=0.3)


@pytest.mark.parametrize("auc", [0.6, 0.7, 0.88])
def test_a_planted_early_difference_is_as_large_as_it_says(hard, auc):
    assert hard.truth(hard.HardPlate(early_auc=auc), draws=5).before_onset == pytest.approx(auc, abs=0.02)


def test_a_pure_clock_says_nothing_at_one_hour(hard):
    for name in (name for name in hard.GENERATORS if name.startswith("clock")):
        true = hard.truth(hard.GENERATORS[name], draws=5)
        assert true.same_hour == pytest.approx(0.5, abs=0.02)
    assert true.auc > 0.75  # the last: P high in the hours in which alone infected wells were imaged
    assert true.hour_alone == pytest.approx(0.5, abs=0.02)  # which a straight line in the hour cannot see


def test_a_plate_that_reads_higher_is_no_infection_within_plates(hard):
    true = hard.truth(hard.GENERATORS["two plates, 12:4 and 4:12, no signs"], draws=5)
    assert true.same_hour == pytest.approx(0.5, abs=0.02)
    assert true.auc > 0.65


@pytest.mark.parametrize("slope", [0, 0.25, 0.5, 0.75, 1])
def test_predicted_times_follow_the_onset_by_the_planted_slope(hard, slope):
    rows, _ = many(hard, "easy" if slope == 1 else f"slope {slope:g}")
    infected = rows[rows["condition"].eq("infected")]
    fit = linregress(infected["onset_h"], infected["time_pred"] - infected["hours"])
    assert -fit.slope == pytest.approx(slope, abs=0.1)


def test_layouts_are_aliased_as_they_say(hard):
    def v(name):
        return cramers_v(hard.predictions(hard.GENERATORS[name], np.random.default_rng(2)))

    assert v("by column") == v("by parity of the column") == pytest.approx(1)
    # 12 columns of 4 wells; two of them hold 3 : 1
    assert v("by column, one pair swapped") == pytest.approx(np.sqrt((10 + 2 * 0.25) / 12))
    assert v("by parity, one pair swapped") == pytest.approx(np.sqrt((10 + 2 * 0.25) / 12))


def test_frames_of_a_well_follow_one_another_and_wells_have_the_shapes_that_they_say(hard):
    rng = np.random.default_rng(3)
    noise = hard._frame_noise(0.8, (4000, 25), rng)
    assert np.corrcoef(noise[:, 3], noise[:, 5])[0, 1] == pytest.approx(0.64, abs=0.03)
    assert noise.std(0) == pytest.approx(np.ones(25), abs=0.05)
    for shape in ("normal", "skewed"):
        effects = hard._effects(shape, 40_000, rng)
        assert (effects.mean(), effects.std()) == pytest.approx((0, 1), abs=0.03)


def test_larger_wells_are_read_worse_and_some_infected_wells_did_not_take(hard):
    rows, scored = many(hard, "size-dependent wells")
    mine = scored[scored["label"].eq(1)].groupby("well")["p_infected"].agg(["size", "mean"])
    assert np.corrcoef(mine["size"], mine["mean"])[0, 1] < -0.2
    rows, _ = many(hard, "non-takes")
    late = rows[rows["hpi"].gt(24)].groupby("well")["p_infected"].mean()
    easy, _ = many(hard, "easy")
    usual = easy[easy["hpi"].gt(24)].groupby("well")["p_infected"].mean()
    assert late.lt(0.4).mean() - usual.lt(0.4).mean() == pytest.approx(0.1, abs=0.06)
