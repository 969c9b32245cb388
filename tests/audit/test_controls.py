"""Negative controls and clocks: planted shortcuts are named, honest scores pass, few wells are named."""

import numpy as np
import pytest

from hpiclock.audit import BORDER, FOCUS, LIGHT, STATISTIC_KINDS, Evidence
from hpiclock.audit.clocks import (
    judge_elapsed,
    judge_hour,
    judge_onset,
    judge_steady,
    onset_shift_table,
    score_over_time,
)
from hpiclock.audit.controls import (
    SHARES,
    TRUTH,
    WINDOW,
    judge_early,
    judge_nuisance,
    judge_well,
    negative_controls,
    nuisance_table,
)
from hpiclock.config.schema import AuditConfig, StudyConfig, WindowsConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions

STUDY, AUDIT = StudyConfig(), AuditConfig(shuffles=2000)
KINDS = {"light": ["mean"], "focus": ["laplacian"], "contrast": ["sd"], "border": ["border_mean"]}


def predictions(*, seed=0, splits=("test",), **changes):
    design = Simulation(wells=6, interval_h=2.0, onset_h=(5.0, 11.0))._replace(**changes)
    return simulate_predictions(design, rng=np.random.default_rng(seed), splits=splits)


def evidence(rows, **parts):
    return Evidence(rows, rows, audit=AUDIT, **parts)


def infected(rows):
    return rows["condition"].eq("infected")


def rng():
    return np.random.default_rng(0)


def test_an_honest_score_passes_and_holds_over_wells():
    rows = predictions()
    early, well = (judge(evidence(rows)) for judge in (judge_early, judge_well))
    assert early.verdict == "cannot tell"  # six wells a class cannot show that nothing is there
    assert well.verdict == "shown"
    assert well.effect > 0.9
    assert "smallest possible 0.0011" in well.evidence  # 1 / (12 choose 6)


def test_a_score_that_knows_the_well_before_the_onset_is_contradicted():
    rows = predictions()
    rows["p_infected"] = np.clip(rows["p_infected"] + 0.5 * infected(rows), 0, 1)
    row = judge_early(evidence(rows))
    assert row.verdict == "contradicted"
    assert row.effect > 0.9


def test_too_few_wells_cannot_pass_the_control():
    row = judge_early(evidence(predictions(wells=3)))
    assert row.verdict == "cannot tell"
    assert "3 infected against 3 mock wells are too few" in row.evidence


def test_five_wells_against_five_can_just_fail_the_control():
    for wells, answer in ((4, "cannot tell"), (5, "contradicted")):  # 2 / 70 and 2 / 252, of either sign
        rows = predictions(wells=wells)
        rows["p_infected"] = infected(rows) * 0.5 + 0.2
        assert judge_early(evidence(rows)).verdict == answer


def test_one_well_a_class_is_never_shown_and_an_early_difference_is_called_the_well():
    rows = predictions(wells=1, stacks=8)
    assert judge_well(evidence(rows)).verdict == "not identifiable"
    rows["p_infected"] = infected(rows) * 0.5 + 0.2
    row = judge_early(evidence(rows))
    assert row.verdict == "contradicted"
    assert "not the infection" in row.evidence


def test_without_frames_before_the_onset_an_early_signal_cannot_be_told_from_a_shortcut():
    rows = predictions(onset_h=(0.0, 0.0))
    row = judge_early(evidence(rows))
    assert row.verdict == "not identifiable"
    assert "image at 0 hpi" in row.remedy


def test_a_score_of_chance_is_no_signal():
    rows = predictions(strength=0.0, stacks=4, well_sd=0.0, stack_sd=0.0, seed=1)
    row = judge_well(evidence(rows))
    assert row.verdict == "contradicted"
    assert row.high < 0.6


def statistics(rows, *, tint=0.0, seed=0):
    random = np.random.default_rng(seed)
    table = rows[["stack_id", "frame"]].copy()
    for name in ("mean", "laplacian", "sd", "border_mean"):
        table[name] = random.normal(size=len(rows))
    table["mean"] += tint * infected(rows)
    return table


def nuisance(rows, **changes):
    table = nuisance_table(
        rows, statistics(rows, **changes), KINDS, shuffles=AUDIT.shuffles, level=0.95, rng=rng()
    )
    return {
        question: judge_nuisance(evidence(rows, nuisance=table), question=question)
        for question in STATISTIC_KINDS
    }


def test_a_tint_is_named_by_the_row_on_brightness_only():
    found = nuisance(predictions(wells=8), tint=5.0)
    assert found[LIGHT].verdict == "contradicted"
    assert "mean" in found[LIGHT].evidence
    assert {found[name].verdict for name in (FOCUS, BORDER)} == {"not seen"}


def test_frames_after_the_onset_do_not_count_as_nuisance():
    rows = predictions()
    table = statistics(rows)
    table["mean"] += 5.0 * (infected(rows) & rows["hpi"].ge(0))
    found = nuisance_table(rows, table, KINDS, shuffles=AUDIT.shuffles, level=0.95, rng=rng())
    assert judge_nuisance(evidence(rows, nuisance=found), question=LIGHT).verdict == "not seen"


def test_nuisance_needs_frames_before_the_onset_and_wells():
    assert {row.verdict for row in nuisance(predictions(onset_h=(0.0, 0.0))).values()} == {"not identifiable"}
    assert {row.verdict for row in nuisance(predictions(wells=1, stacks=8)).values()} == {"not identifiable"}
    assert {row.verdict for row in nuisance(predictions(wells=4), tint=9.0).values()} == {"cannot tell"}


def test_stills_have_no_nuisance_test():
    rows = predictions(onset_h=(0.0, 0.0))
    rows = rows[rows["hours"].eq(0)]
    assert {row.verdict for row in nuisance(rows).values()} == {"not tested"}


def test_all_tests_together_stay_within_the_error_rate():
    assert set(SHARES) >= set(STATISTIC_KINDS)
    assert sum(SHARES.values()) <= 1
    assert min(SHARES.values()) * 0.05 > 2 / 252  # the smallest two-sided p of five wells against five


def test_a_clock_alone_is_called_a_clock():
    rows = predictions(splits=("test",))
    # labels of infected wells begin late, so that the hour tells the label
    rows["label"] = rows["label"].mask(infected(rows) & rows["hours"].lt(30))
    rows["p_infected"] = rows["hours"] / 48
    row = judge_hour(evidence(rows))
    assert row.verdict == "cannot tell"
    assert row.effect == 0.5  # within one hour every score is the same
    table = score_over_time(rows, audit=AUDIT, level=0.95, rng=rng())
    assert judge_steady(evidence(rows, over_time=table)).verdict == "contradicted"
    assert judge_hour(evidence(predictions())).verdict == "shown"


def test_times_that_follow_the_onset_are_read_from_the_infection():
    rows = predictions(wells=8, well_time_sd_h=0.3)
    row = judge_elapsed(evidence(rows))
    assert row.verdict == "shown"
    assert row.low < 1 < row.high


def test_times_that_follow_the_clock_are_read_from_the_clock():
    rows = predictions(wells=8)
    rows["time_pred"] = rows["hours"] - 8 + np.random.default_rng(0).normal(0, 1, len(rows))
    row = judge_elapsed(evidence(rows))
    assert row.verdict == "contradicted"
    assert row.effect == pytest.approx(0, abs=0.15)


def test_three_infected_wells_cannot_tell_the_clocks_apart():
    assert judge_elapsed(evidence(predictions(wells=3))).verdict == "cannot tell"
    nothing = predictions().assign(time_pred=np.nan)
    assert judge_elapsed(evidence(nothing)).verdict == "not tested"


def test_scores_of_controls_that_rise_with_time_are_found():
    rows = predictions(wells=4)
    flat = score_over_time(rows, audit=AUDIT, level=0.95, rng=rng()).set_index("label")
    assert flat.loc["mock", "p"] > 0.05
    assert flat.loc["infected", "rho"] > 0.5
    rows["p_infected"] = rows["hours"] / 48
    rising = score_over_time(rows, audit=AUDIT, level=0.95, rng=rng()).set_index("label")
    assert rising.loc["mock", "rho"] == pytest.approx(1)
    assert rising.loc["mock", "p"] == pytest.approx(1 / AUDIT.shuffles)


def test_not_yet_infected_frames_are_no_mock_frames_of_the_score_over_time():
    rows = predictions(wells=4)
    early = rows["condition"].eq("infected") & rows["label"].isna()
    assert early.any()
    known = rows.assign(label=rows["label"].fillna(0))
    one, other = (score_over_time(part, audit=AUDIT, level=0.95, rng=rng()) for part in (rows, known))
    assert one.iloc[0].equals(other.iloc[0])


def test_claims_that_stand_with_every_onset_are_not_seen_to_change():
    table = onset_shift_table(predictions(), study=STUDY, audit=AUDIT)
    assert sorted(table["shift_h"].unique()) == [-2, -1, 0, 1, 2]
    assert len(table) == 15
    assert judge_onset(evidence(predictions(), onset=table)).verdict == "not seen"


def test_a_claim_that_moves_with_the_onset_is_named():
    table = onset_shift_table(predictions(), study=STUDY, audit=AUDIT)
    claim = table["claim"].eq("infected after the eclipse") & table["shift_h"].eq(2)
    table.loc[claim, "stands"] = False
    row = judge_onset(evidence(predictions(), onset=table))
    assert row.verdict == "cannot tell"
    assert row.evidence == "infected after the eclipse: changes at +2 h"


def test_phases_windows_and_the_truth_stand_in_the_negative_controls():
    rows = predictions(wells=8, stacks=3, well_sd=0.3, stack_sd=0.2)
    table = negative_controls(rows, windows=WindowsConfig(), study=STUDY, visible_h=8.0)
    found = table.set_index("what")
    assert set(table.loc[table["start_h"].isna(), "what"]) == {"before onset", "eclipse", "after eclipse"}
    assert found.loc["before onset", "low"] < 0.5
    assert found.loc["after eclipse", "low"] > 0.9
    assert found.loc[TRUTH, "start_h"] == 8
    assert (table.loc[table["what"].eq(WINDOW), "start_h"] % 3 == 0).all()
