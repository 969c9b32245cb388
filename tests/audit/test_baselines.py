"""Shortcut baselines, probes and sampling experiments recover what was planted in features."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.units import label_codes
from hpiclock.audit import Evidence, clocks
from hpiclock.audit.baselines import (
    judge_beyond_statistics,
    model_and_clock,
    perturbation_effects,
    probe_features,
    sampling_experiments,
    shortcut_baselines,
)
from hpiclock.audit.permutation import auc_gain, mean_over_wells, score_auc
from hpiclock.config.schema import StudyConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions

SMALL = Simulation(wells=4, interval_h=4.0, onset_h=(4.0, 12.0))
KEYS = ["stack_id", "frame"]


@pytest.fixture(scope="module")
def predictions():
    return simulate_predictions(SMALL, rng=np.random.default_rng(0), splits=("train", "val", "test"))


def features(rows, *columns, seed=0, noise=0.1):
    """A feature table: the given columns and three that say nothing."""
    random = np.random.default_rng(seed)
    table = rows[KEYS].reset_index(drop=True)
    for i, values in enumerate(columns):
        table[f"f{i}"] = np.asarray(values, float) + random.normal(0, noise, len(rows))
    for i in range(3):
        table[f"g{i}"] = random.normal(size=len(rows))
    return table


def well_code(rows):
    return pd.factorize(rows["well"])[0]


def test_a_baseline_finds_the_label_where_it_is_and_nothing_where_it_is_not(predictions):
    label = predictions["condition"].eq("infected")
    sources = {"tells": features(predictions, label), "noise": features(predictions)}
    found = shortcut_baselines(predictions, sources, level=0.95)[0].set_index("source")
    assert found.loc["tells", "auc"] == pytest.approx(1)
    assert found.loc["tells", "auc_before"] == pytest.approx(1)  # also before the onset: a shortcut
    assert 0.3 < found.loc["noise", "auc"] < 0.7


def test_the_hour_alone_is_one_clock_on_all_pages(predictions):
    rows = predictions.assign(p_infected=0.5, time_pred=predictions["time_target"], run="r", fold=0, seed=0)
    alone = model_and_clock(rows, level=0.95).set_index("source").loc["the hour alone"]
    assert alone["auc"] == 0.5  # within an hour it knows nothing
    metrics = metrics_by_split(rows, threshold=0.5, study=StudyConfig()).query("split == 'test'")
    of_study = metrics.set_index(["group", "metric"])["value"]["infected", "mae_of_clock"]
    assert alone["mae"] == pytest.approx(of_study)
    said = clocks.judge_hour(Evidence(rows, rows)).evidence
    assert f"the best function of the hour alone {alone['auc_all']:.2f}" in said
    assert alone["auc_all"] > 0.55  # labelled infected frames are later


def test_the_time_baseline_reads_the_time_where_it_is(predictions):
    sources = {
        "tells": features(predictions, predictions["hours"] - predictions["onset_h"].fillna(0)),
        "noise": features(predictions),
    }
    found = shortcut_baselines(predictions, sources, level=0.95)[0].set_index("source")["mae"]
    assert found["tells"] < 1
    assert found["noise"] > 5


def test_the_model_is_compared_with_plain_statistics_frame_by_frame(predictions):
    test = predictions[predictions["split"].eq("test")]
    test = test.assign(p_infected=0.1 + 0.8 * label_codes(test).clip(0))
    sources = {
        "plain": features(predictions),
        "tells": features(predictions, predictions["condition"].eq("infected")),
    }
    _, scores = shortcut_baselines(predictions, sources, level=0.95)
    assert (
        judge_beyond_statistics(Evidence(predictions, test, plain_scores=scores["plain"])).verdict == "shown"
    )
    row = judge_beyond_statistics(Evidence(predictions, test, plain_scores=scores["tells"]))
    assert row.effect == pytest.approx(0)
    assert row.verdict == "contradicted"  # gains are excluded
    worse = test.assign(p_infected=1 - test["p_infected"])
    assert (
        judge_beyond_statistics(Evidence(predictions, worse, plain_scores=scores["tells"])).verdict != "shown"
    )


def test_probes_read_the_well_the_stack_and_the_time_when_features_carry_them(predictions):
    held = predictions[predictions["split"].ne("train") & predictions["condition"].eq("mock")]
    stack, well = np.eye(16)[pd.factorize(held["stack_id"])[0]], np.eye(8)[well_code(held)]
    by_well = probe_features(held, features(held, *(5 * well.T), held["hours"]), level=0.95).set_index(
        "probe"
    )
    assert by_well.loc["well", "value"] == 1
    assert by_well.loc["well", "chance"] == pytest.approx(1 / 8)
    assert by_well.loc["time", "value"] < 0.2 * by_well.loc["time", "chance"]
    by_stack = probe_features(held, features(held, *(5 * stack.T)), level=0.95).set_index("probe")
    assert by_stack.loc["stack", "value"] == 1
    assert by_stack.loc["stack", "chance"] == pytest.approx(1 / 16)


def test_probes_of_noise_are_at_chance(predictions):
    held = predictions[predictions["split"].ne("train")]
    found = probe_features(held, features(held), level=0.95).set_index("probe")
    assert found.loc["well", "low"] < 1 / 8
    assert found.loc["stack", "low"] < 1 / 16
    assert found.loc["time", "value"] > 0.8 * found.loc["time", "chance"]


def test_probes_without_wells_to_ask_say_why(predictions):
    one = predictions[
        predictions["stack_id"].eq(predictions.loc[predictions["condition"].eq("mock"), "stack_id"].iloc[0])
    ]
    found = probe_features(one, features(one), level=0.95)
    assert found["value"].isna().all()
    assert found["note"].str.contains("fewer than two").all()


def test_matched_controls_take_the_hours_out_of_the_score(predictions):
    # the features know only the hour; infected wells are imaged late
    rows = predictions[~(predictions["condition"].eq("infected") & predictions["hours"].lt(24))]
    found = sampling_experiments(rows, features(rows, rows["hours"]), level=0.95, seed=0)
    table = found[found["experiment"].eq("controls")].set_index(["train", "test"])["auc"]
    assert table["all controls", "all controls"] > 0.7
    assert 0.3 < table["matched controls", "matched controls"] < 0.7


def test_frames_at_random_flatter_features_that_know_the_well(predictions):
    # one-hot wells: a perfect score where the well was seen, none where it was not
    wells = np.eye(well_code(predictions).max() + 1)[well_code(predictions)] * 5
    rows = predictions[predictions["split"].ne("train")]
    found = sampling_experiments(predictions, features(predictions, *wells.T), level=0.95, seed=0)
    table = found[found["experiment"].eq("split")].set_index("train")["auc"]
    assert table["frames at random"] > 0.99
    assert table["whole wells"] < 0.8
    assert found.loc[found["experiment"].eq("split"), "n_test"].eq(rows["label"].notna().sum()).all()


def test_early_frames_do_not_teach_late_signs(predictions):
    late = predictions["hpi"].gt(20)
    found = sampling_experiments(predictions, features(predictions, late * 5.0), level=0.95, seed=0)
    table = found[found["experiment"].eq("later")].set_index("train")["auc"]
    assert table["late hours"] > 0.8
    assert list(table.index) == ["early hours", "late hours"]


def test_one_well_a_class_leaves_nothing_to_hold_out():
    rows = simulate_predictions(SMALL._replace(wells=1), rng=np.random.default_rng(0), splits=("test",))
    found = sampling_experiments(rows, features(rows), level=0.95, seed=0)
    assert "nothing can be held out" in found.loc[found["experiment"].eq("split"), "note"].iloc[0]


def test_aucs_agree_with_scikit_learn(predictions):
    test = predictions[predictions["split"].eq("test") & predictions["label"].notna()]
    score, truth = test["p_infected"].to_numpy(), label_codes(test)
    found = score_auc(test, score * 1000 - 3, truth, level=0.95, metric="auc")
    assert found.value == pytest.approx(roc_auc_score(truth, score))
    assert found.low < found.value < found.high


def test_a_score_gains_nothing_over_itself(predictions):
    test = predictions[predictions["split"].eq("test")]
    score = test["p_infected"].to_numpy()
    gain = auc_gain(test, score, score, level=0.95)
    assert gain[:3] == (0, 0, 0)
    assert auc_gain(test, score, -score, level=0.95).low > 0.5


def test_means_over_groups_by_hand():
    # groups 1, 2, 6: mean 3, SD sqrt(7), t(0.975, 2) = 4.302653
    found = mean_over_wells(np.array([0.0, 2.0, 2.0, 6.0]), np.array([0, 0, 1, 2]), level=0.95)
    half = 4.302653 * np.sqrt(7 / 3)
    assert found[:3] == pytest.approx((3, 3 - half, 3 + half), rel=1e-6)
    assert np.isnan(mean_over_wells(np.array([1.0, 2.0]), np.array([0, 1]), level=0.95).low)


def test_changes_of_images_are_summed_up_by_condition(predictions):
    test = predictions[predictions["split"].eq("test")]
    same = test[[*KEYS, "p_infected", "time_pred"]].assign(change="same")
    moved = same.assign(change="moved", p_infected=0.5, time_pred=same["time_pred"] + 3)
    found = (
        perturbation_effects(test, pd.concat([same, moved]), level=0.95)
        .set_index(["change", "condition", "answer"])
        .sort_index()
    )
    assert found.loc["same", "effect"].abs().max() == 0
    assert found.loc[("moved", "mock", "time_pred"), "effect"] == pytest.approx(3)
    mock = test.loc[test["condition"].eq("mock"), "p_infected"]
    assert found.loc[("moved", "mock", "p_infected"), "effect"] == pytest.approx(0.5 - mock.mean())
    assert found.loc[("moved", "mock", "p_infected"), "auc"] == 0.5
    assert found["n_wells"].eq(4).all()
