"""Bands over all windows are wider, planted changes are found, a level course is not called a change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.clustered import samples_by_class
from hpiclock.analysis.run_study import run_study
from hpiclock.analysis.sentences import design_sentences
from hpiclock.analysis.units import choose_resampling_unit
from hpiclock.analysis.windows import (
    WindowJackknife,
    simultaneous_level,
    slope_per_h,
    temporal_stability,
    window_edges,
    window_flips,
    windowed_frames,
)
from hpiclock.config.schema import AuditConfig, StudyConfig, WindowsConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions

STUDY = StudyConfig(resamples=500)


def windows_of(values: np.ndarray, spread: np.ndarray) -> WindowJackknife:
    """Eight groups of one sample; group i moves window w by spread[i, w]."""
    k = len(spread)
    left_out = values[:, None] - spread.T / (k - 1)
    whole = float(np.nanmean(values))
    added = (values[:, None] - whole + spread.T - spread.T.mean(1, keepdims=True)) / k
    return WindowJackknife(values, left_out, whole, added, [np.arange(k)], "")


def test_a_band_over_many_independent_windows_is_wider_than_over_copies_of_one() -> None:
    rng = np.random.default_rng(0)
    apart, same = rng.normal(0, 1, (8, 12)), np.tile(rng.normal(0, 1, (8, 1)), 12)
    levels = [
        simultaneous_level(windows_of(np.zeros(12), spread), level=0.95, resamples=4000, rng=rng)
        for spread in (apart, same)
    ]
    assert levels[1] == pytest.approx(0.95, abs=0.01)  # copies: the band is the pointwise one
    assert levels[0] > 0.985


def test_one_window_that_differs_is_found_and_the_others_are_not() -> None:
    rng = np.random.default_rng(1)
    values = np.array([0.8, 0.8, 0.8, 0.2])
    spread = rng.normal(0, 0.1, (12, 4))
    added = (values[:, None] - 0.8 + spread.T - spread.T.mean(1, keepdims=True)) / 12
    found = windows_of(values, spread)._replace(whole=0.8, added=added)
    p = window_flips(found, level=0.95, resamples=1000, rng=rng).p
    assert p[3] < 0.01
    assert (p[:3] > 0.5).all()


def test_a_level_course_is_rarely_called_a_change() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(100):
        spread = rng.normal(0, 1, (12, 5))
        found = windows_of(spread.mean(0), spread)._replace(whole=0.0, added=spread.T / 12)
        alarms += (window_flips(found, level=0.95, resamples=200, rng=rng).p < 0.05).any()
    assert alarms <= 14  # 5 are expected; 15 or more have a chance below 1 in 5,000


def test_the_slope_by_hand_and_its_interval() -> None:
    spread = np.random.default_rng(3).normal(0, 0.1, (10, 3))
    slope, low, high = slope_per_h(
        windows_of(np.array([0.1, 0.2, 0.3]), spread), np.array([3.0, 6.0, 9.0]), level=0.95
    )
    assert slope == pytest.approx(0.1 / 3)
    assert low < slope < high


def test_undefined_windows_are_left_out_not_counted_as_zero() -> None:
    rng = np.random.default_rng(4)
    values = np.array([0.5, np.nan, 0.5])
    found = windows_of(values, rng.normal(0, 0.1, (8, 3)))
    flips = window_flips(found, level=0.95, resamples=500, rng=rng)
    assert np.isnan(flips.p).tolist() == [False, True, False]
    assert flips.range_by_chance < 0.5


@pytest.mark.parametrize(("wells", "floor"), [(3, 1 / 4), (5, 1 / 16)])
def test_no_chance_over_windows_is_below_what_so_few_wells_can_give(wells: int, floor: float) -> None:
    rows = simulate_predictions(
        Simulation(wells=wells, interval_h=2.0), rng=np.random.default_rng(9), splits=("test",)
    )
    views = windowed_frames(rows, window_edges(WindowsConfig(), end_h=48), axis="hours", threshold=0.5)
    stability, windows = temporal_stability(views, axis="hours", study=STUDY, rng=np.random.default_rng(0))
    for table, name in (
        (stability, "smallest_p"),
        (stability, "p_of_range"),
        (windows, "p_over_all_windows"),
    ):
        assert table.query("metric == 'mae'")[name].min() >= floor, name
    # no range is more than chance where no chance is below 0.05
    assert stability.query("metric == 'mae'")["range_of_noise"].isna().all()


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    rows = simulate_predictions(Simulation(wells=6, interval_h=2.0), rng=np.random.default_rng(5))
    return run_study(
        rows, cfg_windows=WindowsConfig(), end_h=48, cfg_study=STUDY, cfg_audit=AuditConfig(), seed=0
    )


def test_simultaneous_limits_enclose_the_pointwise_ones(tables: dict[str, pd.DataFrame]) -> None:
    rows = tables["windows_hpi"].dropna(subset=["low_simultaneous", "low"])
    assert len(rows) > 50
    assert (rows["low_simultaneous"] <= rows["low"] + 1e-9).all()
    assert (rows["high"] <= rows["high_simultaneous"] + 1e-9).all()


def test_the_rise_after_the_eclipse_is_a_change_of_the_auc(tables: dict[str, pd.DataFrame]) -> None:
    row = (
        tables["stability"]
        .query("split == 'test' and group == 'all' and axis == 'hpi' and metric == 'auc'")
        .iloc[0]
    )
    assert row["n_windows"] == 15
    assert row["range"] > row["range_of_noise"]
    assert row["smallest_p"] < 0.05
    assert row["slope_low"] > 0


def test_the_same_seed_gives_the_same_tables(tables: dict[str, pd.DataFrame]) -> None:
    rows = simulate_predictions(Simulation(wells=6, interval_h=2.0), rng=np.random.default_rng(5))
    again = run_study(
        rows, cfg_windows=WindowsConfig(), end_h=48, cfg_study=STUDY, cfg_audit=AuditConfig(), seed=0
    )
    assert list(again) == list(tables)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table)


def test_conclusions_raise_no_alarm_before_the_onset_and_say_when_infection_is_seen(
    tables: dict[str, pd.DataFrame],
) -> None:
    said = tables["conclusions"].set_index("topic")["sentence"]
    assert "what differs there" not in said["before onset"]
    assert said["earliest window"].startswith("The first window whose AUC is above 0.5")


def test_one_well_per_class_is_said_in_the_conclusions() -> None:
    rows = simulate_predictions(
        Simulation(wells=1, stacks=4, interval_h=6.0, onset_h=(1.0, 1.0)), rng=np.random.default_rng(6)
    )
    test = rows[rows["split"].eq("test")]
    notes = " ".join(design_sentences(test))
    assert "cannot separate infection from well" in notes
    assert "time since infection cannot be told from time since start" in notes
    study = run_study(
        test, cfg_windows=WindowsConfig(), end_h=48, cfg_study=STUDY, cfg_audit=AuditConfig(), seed=0
    )
    design = study["conclusions"].query("topic == 'design'")
    assert (design["verdict"] == "cannot tell").all()
    assert any("cannot separate infection from well" in text for text in design["sentence"])


def test_two_wells_a_class_stay_the_unit_and_give_no_interval() -> None:
    rows = simulate_predictions(
        Simulation(wells=2, stacks=6, interval_h=6.0), rng=np.random.default_rng(7), splits=("test",)
    )
    assert choose_resampling_unit(rows).unit == "well"
    study = run_study(
        rows, cfg_windows=WindowsConfig(), end_h=48, cfg_study=STUDY, cfg_audit=AuditConfig(), seed=0
    )
    auc = study["metrics"].query("group == 'all' and metric == 'auc'").iloc[0]
    assert not np.isnan(auc["value"])
    assert np.isnan(auc["low"])
    assert "no interval: 2 infected wells, at least 3 needed" in auc["note"]


def test_plates_are_the_unit_when_three_hold_each_class() -> None:
    rows = simulate_predictions(
        Simulation(wells=6, plates=3, interval_h=12.0), rng=np.random.default_rng(8), splits=("test",)
    )
    assert choose_resampling_unit(rows).unit == "plate"
    # every plate holds both classes: one sample of plates
    assert list(samples_by_class(np.array([2, 2, 2]), needed="all")) == ["both"]
