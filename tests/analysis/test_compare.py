"""Comparisons of runs: the same frames or a refusal, paired by well, and words that claim no more."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from hpiclock.analysis.clustered import sign_flips
from hpiclock.analysis.compare import add_holm_p_values, compare
from hpiclock.analysis.compare.align_runs import align_runs
from hpiclock.analysis.compare.paired_tests import (
    difference_limits,
    limits_of_both,
    paired_difference,
    seed_of,
    sign_flip_test,
    widened,
)
from hpiclock.analysis.frame_scores import FrameScores
from hpiclock.config.schema import CompareConfig, StudyConfig, WindowsConfig
from hpiclock.errors import InputError
from hpiclock.simulate.predictions import Simulation, simulate_predictions

STUDY = StudyConfig(threshold=0.5)
SETTINGS = CompareConfig(shuffles=1000)
WINDOWS = WindowsConfig(width_h=12, stride_h=12)


def plate(wells=6, **changes):
    """Test frames of 2 x ``wells`` wells, every 4 h."""
    design = Simulation(wells=wells, stacks=1, interval_h=4.0, **changes)
    return simulate_predictions(design, rng=np.random.default_rng(0), splits=("test",))


def rerun(table, run, *, seed=0, fold=0, p=None, time=None):
    """The same frames with other answers."""
    changed = {"run": run, "seed": seed, "fold": fold}
    changed |= {"p_infected": p} if p is not None else {}
    changed |= {"time_pred": time} if time is not None else {}
    return table.assign(**changed)


def noisy(table, rng, *, by=1.0):
    """The same answers with noise of every well and frame."""
    well = pd.factorize(table["well"])[0]
    push = rng.normal(0, by, well.max() + 1)[well] + rng.normal(0, by, len(table))
    odds = np.log(table["p_infected"] / (1 - table["p_infected"])) + push
    return 1 / (1 + np.exp(-odds)), table["time_pred"] + push


def compared(variants, **changes):
    settings = {"windows": WINDOWS, "end_h": 48.0, "study": STUDY, "settings": SETTINGS, "seed": 0}
    return compare(variants, **(settings | changes))


def row_of(tables, group, metric):
    table = tables["comparison"]
    return table[table["group"].eq(group) & table["metric"].eq(metric)].iloc[0]


@pytest.fixture(scope="module")
def two():
    """Two runs of one plate that differ by noise."""
    table = plate()
    p, time = noisy(table, np.random.default_rng(1))
    return {"one": [rerun(table, "r/one")], "other": [rerun(table, "r/other", p=p, time=time)]}


def test_values_are_those_of_scikit_learn(two):
    tables = compared(two)
    for name, column in (("one", "value_against"), ("other", "value")):
        rows = two[name][0]
        rows = rows[rows["label"].notna()]
        truth, p = rows["label"].to_numpy(int), rows["p_infected"]
        expected = {
            ("all", "auc"): roc_auc_score(truth, p),
            ("all", "accuracy"): accuracy_score(truth, p >= 0.5),
            ("all", "f1"): f1_score(truth, p >= 0.5),
            ("infected", "mae"): np.abs(rows["time_pred"] - rows["time_target"])[truth == 1].mean(),
        }
        for place, value in expected.items():
            assert row_of(tables, *place)[column] == pytest.approx(value, rel=1e-12)


def test_what_groups_add_is_the_difference(two):
    aligned = align_runs(two, rule=0.5)
    k = int(aligned.unit.codes.max()) + 1
    one, other = ([seed_of(scores, k) for scores in side.seeds] for side in aligned.sides)
    for metric in ("accuracy", "f1", "mae", "brier"):
        found = paired_difference(one, other, metric, k)
        assert found.of_group.sum() == pytest.approx(found.value, rel=1e-9), metric
    auc = paired_difference(one, other, "auc", k)
    for at in auc.samples:  # pairs stand with an infected well and with a mock one
        assert auc.of_group[at].sum() == pytest.approx(auc.value, rel=1e-9)


def test_exchanging_the_variants_changes_the_sign_alone(two):
    there, back = compared(two), compared({"other": two["other"], "one": two["one"]})
    for column in ("p", "p_floor", "could_see", "n_wells"):
        np.testing.assert_allclose(there["comparison"][column], back["comparison"][column], rtol=1e-9)
    for column, mirror in (("difference", "difference"), ("low", "high"), ("value", "value_against")):
        sign = 1 if column == "value" else -1
        np.testing.assert_allclose(
            there["comparison"][column], sign * back["comparison"][mirror], rtol=1e-9, atol=1e-12
        )


def test_wells_of_one_size_are_tested_as_scipys_paired_permutations():
    table = plate(wells=7, onset_h=(0.0, 0.0))
    one = rerun(table, "one", time=table["time_target"] + 1.0)
    shift = dict(zip(table["well"].unique(), [0.1, -0.5, 0.7, 0.9, 1.1, -0.2, 0.4] * 2, strict=True))
    other = rerun(table, "other", time=table["time_target"] + 1.0 + table["well"].map(shift))
    row = row_of(compared({"one": [one], "other": [other]}), "infected", "mae")
    gains = [abs(1 + d) - 1 for d in [0.1, -0.5, 0.7, 0.9, 1.1, -0.2, 0.4]]
    expected = stats.permutation_test((gains,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert row["p"] == pytest.approx(expected.pvalue, rel=1e-12)
    assert row["difference"] == pytest.approx(np.mean(gains))


def test_five_pairs_cannot_give_less_than_one_in_sixteen():
    table = plate(wells=5)
    worse = rerun(table, "worse", time=table["time_pred"] + 20)
    tables = compared({"one": [rerun(table, "one")], "worse": [worse]})
    row = row_of(tables, "infected", "mae")
    assert row["p"] == row["p_floor"] == 0.0625
    said = tables["conclusions"]["sentence"]
    assert said[said.str.contains("time error of infected")].str.contains("least that so few wells").any()
    assert row["low"] <= 0  # so no interval of 95% leaves zero out


def test_holm_is_that_of_the_textbook():
    table = pd.DataFrame({"p": [0.01, 0.04, np.nan, 0.03, 0.005]})
    np.testing.assert_allclose(add_holm_p_values(table)["p_holm"], [0.03, 0.06, np.nan, 0.06, 0.02])


def test_an_interval_leaves_zero_out_exactly_where_the_chance_is_small():
    rng = np.random.default_rng(3)
    table = plate(wells=8)
    agree = []
    for gain in np.linspace(0, 1.5, 5):
        p, time = noisy(table, rng)
        other = rerun(table, "other", p=p, time=time + gain)
        rows = compared({"one": [rerun(table, "one")], "other": [other]})["comparison"]
        known = rows[rows["low"].notna()]
        agree += ((known["low"] > 0) | (known["high"] < 0)).eq(known["p"] <= 0.05).tolist()
    assert all(agree)


def test_the_same_predictions_are_equal():
    table = plate()
    tables = compared({"one": [rerun(table, "one")], "again": [rerun(table, "again")]})
    assert tables["comparison"]["p"].eq(1).all()
    assert tables["comparison"]["verdict"].eq("equal within the margin").all()
    assert tables["steadiness"]["p"].eq(1).all()


def test_a_planted_gain_is_found_and_said():
    table = plate(wells=10, strength=3.0)
    p, time = noisy(table, np.random.default_rng(1), by=2.0)
    better = {"noisy": [rerun(table, "n", p=p, time=time + 3)], "clear": [rerun(table, "c")]}
    tables = compared(better)
    assert row_of(tables, "infected", "mae")["verdict"] == "better"
    assert row_of(tables, "infected", "mae")["difference"] < 0
    said = " ".join(tables["conclusions"]["sentence"])
    assert "Every difference is clear less noisy" in said
    assert said.count("clear against noisy") == 1  # not in every sentence
    assert "clear is better in this." in said


def test_no_difference_shown_says_how_small_a_one_could_have_been_seen(two):
    tables = compared(two)
    row = row_of(tables, "infected", "mae")
    said = tables["conclusions"]["sentence"]
    mine = said[said.str.contains("time error of infected frames: ")].iloc[0]
    assert row["verdict"] == "no difference shown"
    assert "No difference is shown: with these wells" in mine
    assert f"a difference of {row['could_see']:.2f} h would have been seen in 80%" in mine


def test_equal_takes_the_margin_that_was_set(two):
    wide = compared(two, settings=SETTINGS.model_copy(update={"margin_h": 20.0}))
    narrow = compared(two, settings=SETTINGS.model_copy(update={"margin_h": 0.01}))
    assert row_of(wide, "infected", "mae")["verdict"] == "equal within the margin"
    assert row_of(narrow, "infected", "mae")["verdict"] == "no difference shown"


def scores_with(auc, wells, shared, rng, *, frames=24):
    """Scores of wells of either class: 0.6 of the variance is of the well, and 0.8 of it is ``shared``."""
    well, frame = (np.sqrt(0.8) * part + np.sqrt(0.2) * rng.normal(size=part.shape) for part in shared)
    truth = np.repeat([1, 0], wells)
    score = np.sqrt(0.6) * well + np.sqrt(0.4) * frame + truth[:, None] * np.sqrt(2) * stats.norm.ppf(auc)
    group, n = np.repeat(np.arange(2 * wells), frames), 2 * wells * frames
    nothing, zeros = np.full(n, np.nan), np.zeros(n, int)
    truth = np.repeat(truth, frames)
    return FrameScores(
        truth=truth, condition=truth, p=stats.norm.cdf(score).ravel(), called=score.ravel() > 0,
        group=group, stack=group, well=group, model=zeros, stratum=zeros, target=nothing, error=nothing,
        target_predicted=nothing, error_predicted=nothing, off_clock=nothing, off_mean=nothing,
    )  # fmt: skip


def test_equality_is_seldom_claimed_where_the_difference_is_the_margin():
    claims = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=(16, 1)), rng.normal(size=(16, 24))
        one, other = ([seed_of(scores_with(auc, 8, shared, rng), 16)] for auc in (0.99, 0.97))
        low, high = limits_of_both(one, other, "auc", level=0.9)
        claims.append(low > -0.02 and high < 0.02)
    assert np.mean(claims) <= 0.06


def test_the_interval_of_a_difference_holds_it_near_an_auc_of_one():
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=(16, 1)), rng.normal(size=(16, 24))
        one, other = ([seed_of(scores_with(auc, 8, shared, rng), 16)] for auc in (0.99, 0.97))
        found = paired_difference(one, other, "auc", 16)
        result = sign_flip_test(found, sign_flips(found.samples, 16, shuffles=500, rng=rng))
        limits = difference_limits(found, result, level=0.95)  # alone these hold it in about 0.7
        low, high = widened(limits, limits_of_both(one, other, "auc", level=0.95))
        assert (low > 0 or high < 0) == (limits[0] > 0 or limits[1] < 0)
        held.append(low <= 0.02 <= high)
    assert np.mean(held) >= 0.9


def test_equality_is_shown_with_the_interval_that_shows_it(two):
    tables = compared(two, settings=SETTINGS.model_copy(update={"margin_h": 20.0}))
    row = row_of(tables, "infected", "mae")
    said = tables["conclusions"].query("verdict == 'equal within the margin'")["sentence"]
    assert -20 < row["low_margin"] < row["difference"] < row["high_margin"] < 20
    limits = f"the 90% interval for it is {row['low_margin']:+.2f} h to {row['high_margin']:+.2f} h"
    assert said.str.contains(limits, regex=False).any()


def test_a_run_without_times_is_compared_by_class_alone(two):
    silent = rerun(two["one"][0], "class only", time=np.nan)
    tables = compared({"both": two["other"], "class only": [silent]})
    row = row_of(tables, "infected", "mae")
    assert row["verdict"] == "cannot tell"
    assert row["note"] == "the first gives no time for these frames"
    assert row_of(tables, "all", "auc")["verdict"] != "cannot tell"
    assert set(tables["steadiness"]["metric"]) == {"auc", "accuracy", "f1"}


def test_folds_are_put_together_and_seeds_averaged():
    table = plate(wells=6)
    fold = pd.factorize(table["well"])[0] % 2
    rng = np.random.default_rng(2)
    variants = {"one": [], "other": []}
    for name, runs in variants.items():
        for seed in (0, 1):
            for number in (0, 1):
                rows = table[fold == number]
                p, time = noisy(rows, rng)
                runs.append(rerun(rows, f"{name}/{seed}{number}", seed=seed, fold=number, p=p, time=time))
    tables = compared(variants)
    row = row_of(tables, "all", "accuracy")
    values = []
    for runs in variants.values():
        whole = pd.concat(runs)
        whole = whole[whole["label"].notna()]
        values.append(accuracy_score(whole["label"].to_numpy(int), whole["p_infected"] >= 0.5))
    assert row["value_against"] == pytest.approx(values[0])
    assert row["value"] == pytest.approx(values[1])
    assert (row["n_wells"], row["n_seeds"]) == (12, 2)
    auc = row_of(tables, "all", "auc")["value"]
    parts = [r[r["label"].notna()] for r in variants["other"]]
    wins = sum(roc_auc_score(r["label"].to_numpy(int), r["p_infected"]) * _pairs(r) for r in parts)
    assert auc == pytest.approx(wins / sum(map(_pairs, parts)))  # frames of two models never meet


def _pairs(rows):
    return rows["label"].eq(1).sum() * rows["label"].eq(0).sum()


def test_seeds_that_differ_in_skill_make_a_difference_less_sure():
    table = plate(wells=8)
    seeds = range(3)
    alike = [rerun(table, f"a{s}", seed=s, time=table["time_pred"] + 1.0) for s in seeds]
    unlike = [rerun(table, f"u{s}", seed=s, time=table["time_pred"] + d) for s, d in enumerate((0, 1, 2))]
    plain = [rerun(table, f"p{s}", seed=s) for s in seeds]
    sure = row_of(compared({"plain": plain, "other": alike}), "infected", "mae")
    unsure = row_of(compared({"plain": plain, "other": unlike}), "infected", "mae")
    assert unsure["p"] > sure["p"]
    assert unsure["high"] - unsure["low"] > sure["high"] - sure["low"]
    assert unsure["seeds_agree"] == "2 of 3"


def test_one_seed_is_said_to_compare_models_not_ways_of_training(two):
    notes = compared(two)["notes"]["note"]
    assert notes.str.contains("One seed of one, other").any()


def test_a_window_of_difference_is_found_where_it_is():
    table = plate(wells=10, well_sd=0.3, stack_sd=0.2)
    late = table["hours"] >= 36
    wrong = table["time_pred"] + np.where(late, 8.0, 0.0)
    tables = compared({"one": [rerun(table, "one")], "late": [rerun(table, "late", time=wrong)]})
    rows = tables["comparison_windows"]
    rows = rows[rows["axis"].eq("hours") & rows["group"].eq("mock") & rows["metric"].eq("mae")]
    found = rows[rows["p_over_all_windows"] <= 0.05]
    assert found["start_h"].tolist() == [36.0]
    assert (rows["p_over_all_windows"] >= rows["p"] - 1e-12).all()


def test_a_variant_that_fades_is_less_steady_and_one_that_is_worse_throughout_is_not():
    table = plate(wells=10)
    fades = table["time_pred"] + table["hours"] / 4
    rng = np.random.default_rng(5)
    _, jitter = noisy(table, rng, by=0.3)
    steady = rerun(table, "steady", time=jitter)
    tables = compared({"steady": [steady], "fades": [rerun(table, "fades", time=fades)]})
    mine = tables["steadiness"].query("metric == 'mae' and group == 'mock'")
    assert (mine["p_holm"] <= 0.05).all()
    assert (mine["difference"] > 0).all()
    assert tables["conclusions"]["sentence"].str.contains("fades is less steady over time").any()
    worse = rerun(table, "worse", time=table["time_target"] + 9.0)
    flat = rerun(table, "flat", time=table["time_target"] + 1.0)
    even = compared({"flat": [flat], "worse": [worse]})["steadiness"].query("metric == 'mae'")
    assert (even["p"] > 0.05).all()


def test_exchanges_are_complete_where_they_are_few():
    signs = sign_flips([np.array([0, 2, 3])], 5, shuffles=2000, rng=np.random.default_rng(0))
    assert signs.shape == (8, 5)
    assert len(np.unique(signs, axis=0)) == 8
    assert (signs[0] == 1).all()
    assert (signs[:, [1, 4]] == 1).all()


def test_too_few_wells_give_no_interval():
    table = plate(wells=2)
    tables = compared({"one": [rerun(table, "one")], "other": [rerun(table, "o", time=table["hours"])]})
    row = row_of(tables, "infected", "mae")
    assert np.isnan(row["low"])
    assert row["note"].startswith("no interval: 2 groups")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t[t["stack_id"] != t["stack_id"].iloc[0]],
            "other has other test frames than one: it lacks 13 ",
        ),
        (lambda t: t.assign(label=t["label"].mask(t["label"].eq(1) & t["hours"].eq(48), 0)), "another label"),
        (lambda t: t.assign(split="val"), "other has no test frames"),
    ],
)
def test_what_cannot_be_paired_is_refused_with_what_differs(change, words):
    table = plate()
    with pytest.raises(InputError, match="compare: ") as refused:
        compared({"one": [rerun(table, "one")], "other": [change(rerun(table, "other"))]})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_runs_of_a_variant_are_seeds_or_folds_and_nothing_between():
    table = plate()
    stacks = table["stack_id"].unique()
    part = table[table["stack_id"].isin(stacks[1:7])]
    most = table[table["stack_id"].isin(stacks[:6])]
    with pytest.raises(InputError, match="overlap in part"):
        align_runs({"one": [rerun(most, "a"), rerun(part, "b")], "other": [rerun(table, "c")]}, rule=0.5)
    with pytest.raises(InputError, match="a and b have the same seed 0"):
        align_runs({"one": [rerun(table, "a"), rerun(table, "b")], "other": [rerun(table, "c")]}, rule=0.5)
    with pytest.raises(InputError, match="one way of training alone"):
        align_runs({"one": [rerun(table, "a")]}, rule=0.5)


def test_an_unfinished_fold_is_refused():
    table = plate()
    stacks = table["stack_id"].unique()
    halves = [table[table["stack_id"].isin(stacks[i::2])] for i in (0, 1)]
    runs = [rerun(halves[0], "a", seed=0), rerun(halves[1], "b", seed=0), rerun(halves[0], "c", seed=1)]
    with pytest.raises(InputError, match="1 seeds in one fold and 2 in another"):
        align_runs({"one": runs, "other": runs}, rule=0.5)


def test_times_of_other_clocks_are_compared_with_a_warning():
    table = plate()
    one_clock = rerun(table, "one clock").assign(time_target=table["hours"].where(table["label"].notna()))
    notes = align_runs({"two": [rerun(table, "two")], "one": [one_clock]}, rule=0.5).notes
    assert any("different clocks" in note for note in notes)


def test_a_difference_without_groups_is_not_tested(two):
    aligned = align_runs(two, rule=0.5)
    nobody = [seed_of(s.take(np.zeros(len(s), bool)), 12) for s in aligned.sides[0].seeds]
    found = paired_difference(nobody, nobody, "accuracy", 12)
    result = sign_flip_test(found, np.ones((1, 12)))
    assert np.isnan(result.p)
    assert result.note == "no frames"
