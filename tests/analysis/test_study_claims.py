"""Sentences claim what was shown at this design, and no more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from hpiclock.analysis.run_study import run_study
from hpiclock.analysis.sentences import BEWARE, CANNOT, SAYS, conclusions, design_sentences
from hpiclock.analysis.time_errors import clock_times
from hpiclock.config.schema import AuditConfig, StudyConfig, WindowsConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions

STUDY = StudyConfig(resamples=200)


def simulated(*, splits: tuple[str, ...] = ("val", "test"), seed: int = 0, **design: object) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return simulate_predictions(Simulation(interval_h=3.0)._replace(**design), rng=rng, splits=splits)


def studied(rows: pd.DataFrame, study: StudyConfig = STUDY) -> dict[str, pd.DataFrame]:
    windows = WindowsConfig(width_h=12, stride_h=12)
    return run_study(rows, cfg_windows=windows, end_h=48, cfg_study=study, cfg_audit=AuditConfig(), seed=0)


def said(tables: dict[str, pd.DataFrame], topic: str) -> list[str]:
    rows = tables["conclusions"]
    return rows.loc[rows["topic"].eq(topic), "sentence"].tolist()


@pytest.mark.parametrize("stacks", [3, 6])
def test_one_test_well_a_class_gives_points_and_the_words_why(stacks: int) -> None:
    tables = studied(simulated(wells=1, stacks=stacks, splits=("train", "val", "test")))
    for name in ("metrics", "windows_hours", "windows_hpi"):
        assert tables[name]["low"].isna().all(), name
    assert tables["metrics"]["value"].notna().any()
    assert "Only 1 infected well and 1 mock well in the test" in " ".join(said(tables, "design"))
    every = " ".join(tables["conclusions"]["sentence"])
    assert "95% interval" not in every
    assert "The first window" not in every
    assert (
        "hour on infection is seen: 1 infected well, at least 3 needed" in said(tables, "earliest window")[0]
    )


def test_early_frames_of_infected_wells_replace_no_mock_well() -> None:
    """Under ``before_onset: uninfected`` infected wells hold frames of both labels."""
    rows = simulated(wells=5, splits=("test",), onset_h=(5.0, 9.0))
    mock = rows["condition"].eq("mock")
    one = rows[~mock | rows["well"].eq(rows.loc[mock, "well"].iloc[0])]
    metrics = studied(one.assign(label=one["label"].fillna(0)))["metrics"].query("group == 'all'")
    auc = metrics.set_index("metric").loc["auc"]
    assert auc["note"].startswith("no interval: 1 mock well, at least 3 needed")
    assert np.isnan(auc["low"])


def test_the_design_is_judged_on_the_split_that_is_reported() -> None:
    rows = simulated(wells=4, splits=("train", "test"))
    test = rows["split"].eq("test")
    kept = rows.loc[test].groupby("condition")["well"].first()
    few = rows[~test | rows["well"].isin(kept)]
    assert not any("wells" in sentence for sentence in design_sentences(rows))
    assert any("Only 1 infected well and 1 mock well in the test" in each for each in design_sentences(few))


@pytest.fixture(scope="module")
def four_wells() -> dict[str, pd.DataFrame]:
    return studied(simulated(wells=4))


def test_positions_are_the_unit_only_where_wells_are_not_given_and_each_interval_says_so(
    four_wells: dict[str, pd.DataFrame],
) -> None:
    of_positions = said(studied(simulated(wells=4, splits=("test",)).assign(well="")), "class")
    assert all("95% interval over positions taken as independent" in sentence for sentence in of_positions)
    assert all("95% interval over wells" in sentence for sentence in said(four_wells, "class"))


@pytest.fixture(scope="module")
def unequal_plates() -> pd.DataFrame:
    """Nothing is to be seen; the first of two plates reads higher and holds 12 infected and 4 mock wells."""
    rows = simulated(wells=24, stacks=1, plates=2, strength=0.0, splits=("test",))
    place = rows.groupby(["plate", "condition"])["well"].transform(lambda well: pd.factorize(well)[0])
    first, infected = rows["plate"].eq("P1"), rows["condition"].eq("infected")
    shifted = expit(logit(rows["p_infected"]) + 3.0 * first)
    return rows.assign(p_infected=shifted)[place < np.where(first == infected, 12, 4)]


def test_an_auc_over_plates_of_unequal_shares_does_not_stand_alone(unequal_plates: pd.DataFrame) -> None:
    tables = studied(unequal_plates)
    value = tables["metrics"].query("group == 'all'").set_index("metric")["value"]
    assert value["auc"] > 0.65
    assert value["auc_stratified"] == pytest.approx(0.5, abs=0.08)
    first, second = said(tables, "class")
    assert f"(AUC {value['auc_stratified']:.3f}, 95% interval over wells" in first
    assert "same plate and hour" in first
    assert f"together the AUC is {value['auc']:.3f}" in second
    assert "on the same frames that is higher than within plate and hour" in second
    assert any("Two plates in the test" in each for each in said(tables, "design"))


def test_phases_and_matched_controls_compare_within_the_plate(unequal_plates: pd.DataFrame) -> None:
    early = unequal_plates[unequal_plates["hpi"].lt(5) | unequal_plates["condition"].eq("mock")]
    value = studied(early)["metrics"].query("metric == 'auc_stratified'").set_index("group")["value"]
    assert value["eclipse"] == pytest.approx(0.5, abs=0.15)


def test_late_frames_without_a_control_of_their_hour_are_counted_not_blamed_on_the_clock() -> None:
    """Infected wells were imaged to 48 h, mock ones to 24 h; P does not know the hour at a given label."""
    rows = simulated(wells=6, splits=("test",), rise_h=15.0, onset_h=(0.0, 0.0))
    rows = rows[rows["condition"].eq("infected") | rows["hours"].lt(24)]
    tables = studied(rows)
    value = tables["metrics"].query("group == 'all'").set_index("metric")
    late = int((rows["hours"].ge(24) & rows["label"].notna()).sum())
    assert value.loc["auc", "n"] - value.loc["auc_stratified", "n"] == late
    assert value.loc["auc", "value"] - value.loc["auc_stratified", "value"] > 0.05  # the late are easier
    text = said(tables, "class")[1]
    assert f"{late} of {value.loc['auc', 'n']} frames have no frame of the other class" in text
    assert "adds" not in text


def known_before_onset(value: float, low: float, high: float) -> pd.DataFrame:
    """The metrics of a study in which only the AUC before onset is known."""
    row = {"run": "r", "split": "test", "group": "before onset", "metric": "auc_stratified"}
    row |= {"value": value, "low": low, "high": high, "n": 90, "n_stacks": 20, "n_wells": 10}
    return pd.DataFrame([row | {"note": "unit well: 5 infected, 5 mock"}])


@pytest.mark.parametrize(
    ("auc", "verdict", "words"),
    [
        ((0.767, 0.464, 0.915), CANNOT, "only an interval within 0.4 to 0.6 would show it"),
        ((0.50, 0.39, 0.58), CANNOT, "only an interval within 0.4 to 0.6 would show it"),
        ((0.52, 0.45, 0.58), SAYS, "at chance within 0.4 to 0.6: 0.520, 95% interval over wells"),
        ((0.233, 0.091, 0.430), BEWARE, "Already before the onset"),
    ],
)
def test_chance_before_onset_is_said_only_of_an_interval_inside_the_margin(
    four_wells: dict[str, pd.DataFrame], auc: tuple[float, float, float], verdict: str, words: str
) -> None:
    tables = four_wells | {"metrics": known_before_onset(*auc)}
    rows = conclusions(tables, level=0.95, eclipse_h=6.0, margin=0.1).set_index("topic")
    assert rows.loc["before onset", "verdict"] == verdict
    assert words in rows.loc["before onset", "sentence"]
    assert "should be" not in rows.loc["before onset", "sentence"]


def test_each_run_of_a_file_has_its_sentences_and_its_name() -> None:
    rows = simulated(wells=4)
    both = pd.concat([rows.assign(run="one"), rows.assign(run="two", p_infected=1 - rows["p_infected"])])
    found = studied(both)["conclusions"]
    assert set(found["run"]) == {"one", "two"}
    assert all(
        sentence.startswith(f"{run}: ") for run, sentence in zip(found["run"], found["sentence"], strict=True)
    )
    of_class = found[found["topic"].eq("class")].groupby("run")["sentence"].first()
    assert of_class["one"].removeprefix("one: ") != of_class["two"].removeprefix("two: ")


def test_training_rows_alone_are_no_result() -> None:
    found = studied(simulated(wells=4, splits=("train",)))["conclusions"]
    assert found["sentence"].tolist() == ["These are training rows, which the model has seen: no result."]


def test_the_clock_is_never_worse_than_the_mean_on_frames_it_is_fitted_on() -> None:
    """Late onsets, whose early frames have no label: one lead for all hours was worse than the mean."""
    rows = simulated(wells=8, splits=("train",), onset_h=(1.0, 40.0))
    late = rows[rows["label"].eq(1)]
    clock = (clock_times(late, late["hours"].to_numpy(float)) - late["time_target"]).abs().mean()
    constant = (late["time_target"] - late["time_target"].median()).abs().mean()
    one_lead = (late["hours"] - late["time_target"]).median()
    assert clock <= constant + 1e-9
    assert clock <= (late["hours"] - one_lead - late["time_target"]).abs().mean() + 1e-9


def test_hours_gained_and_skill_are_one_test(four_wells: dict[str, pd.DataFrame]) -> None:
    rows = four_wells["metrics"].query("split == 'test' and group == 'infected'").set_index("metric")
    gain, skill = rows.loc["gain_over_clock"], rows.loc["skill_over_clock"]
    rival = rows.loc["mae_of_clock", "value"]
    assert np.isfinite(gain["low"])
    for name in ("value", "low", "high"):  # no error is less than none
        assert skill[name] == pytest.approx(min(gain[name] / rival, 1.0))


def test_treatments_given_by_column_are_said_beside_intervals_over_wells() -> None:
    rows = simulated(wells=4, splits=("test",))
    wells = {name: place for place, name in enumerate(sorted(rows["well"].unique()))}
    infected = rows["condition"].eq("infected")
    column = 1 + 2 * (rows["well"].map(wells) % 2) + infected  # two columns a class, rows A to D
    lines = rows.drop(columns="allocation", errors="ignore").assign(
        well=[f"{'ABCDEFGH'[wells[w]]}{c:02d}" for w, c in zip(rows["well"], column, strict=True)]
    )
    said = "Treatments were given by column: intervals over the wells in the test are too narrow where"
    assert any(sentence.startswith(said) for sentence in design_sentences(lines))
    stated = lines.assign(allocation="well")
    assert not any("given by" in sentence for sentence in design_sentences(stated))
