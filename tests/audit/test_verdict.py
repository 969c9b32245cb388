"""The verdict: one row per question, design before model, one sentence over all."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.audit import (
    ANSWERS,
    CLOCKS,
    COLUMNS,
    EARLY,
    ELAPSED,
    MORE,
    PLACE,
    QUESTIONS,
    TWICE,
    WELL,
    AuditRow,
    summary_line,
    verdict_table,
)
from hpiclock.audit.verdict import Evidence, verdict
from hpiclock.config.schema import AuditConfig, StudyConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions

STUDY, AUDIT = StudyConfig(), AuditConfig(shuffles=1000)


def judged(*, seed=0, **changes):
    design = Simulation(wells=6, interval_h=2.0, onset_h=(5.0, 11.0))._replace(**changes)
    said = simulate_predictions(design, rng=np.random.default_rng(seed), splits=("test",))
    evidence = Evidence(said, predictions=said)
    return verdict(evidence, study=STUDY, audit=AUDIT, rng=np.random.default_rng(0))


def test_every_question_has_one_row_in_its_order():
    table = judged()
    assert list(table.columns) == COLUMNS
    assert tuple(table["question"]) == QUESTIONS
    assert set(table["verdict"]) <= set(ANSWERS)
    assert table["evidence"].ne("").all()


def test_what_nothing_was_given_for_is_not_tested():
    table = judged().set_index("question")["verdict"]
    assert table[TWICE] == "not tested"
    assert table[MORE] == "not tested"


def test_the_design_forbids_what_the_model_seems_to_show():
    table = judged(wells=1, stacks=8).set_index("question")
    assert table.loc[WELL, "verdict"] == "not identifiable"
    assert table.loc[WELL, "effect"] > 0.9
    assert "1 infected and 1 mock well" in table.loc[WELL, "evidence"]
    assert "AUC of the test" in table.loc[WELL, "evidence"]


def test_one_onset_is_not_identifiable_however_well_times_fit():
    fixed, staggered = judged(onset_h=(6.0, 6.0)), judged(wells=8, well_time_sd_h=0.2)
    assert set(fixed.set_index("question").loc[[CLOCKS, ELAPSED], "verdict"]) == {"not identifiable"}
    assert set(staggered.set_index("question").loc[[CLOCKS, ELAPSED], "verdict"]) == {"supported"}


def test_the_same_seed_gives_the_same_verdict_and_rows_may_come_in_any_order():
    said = simulate_predictions(
        Simulation(wells=4, interval_h=4.0), rng=np.random.default_rng(0), splits=("test",)
    )
    mixed = said.sample(frac=1, random_state=1).reset_index(drop=True)
    first, second = (
        verdict(Evidence(rows, predictions=rows), study=STUDY, audit=AUDIT, rng=np.random.default_rng(0))
        for rows in (said, mixed)
    )
    numbers = ["effect", "low", "high"]
    pd.testing.assert_frame_equal(first[numbers], second[numbers])
    assert first["verdict"].equals(second["verdict"])


def test_predictions_of_one_class_are_judged_by_the_design_alone():
    said = simulate_predictions(
        Simulation(wells=4, interval_h=4.0), rng=np.random.default_rng(0), splits=("test",)
    )
    mock = said[said["condition"].eq("mock")]
    table = verdict(Evidence(said, predictions=mock), study=STUDY, audit=AUDIT, rng=np.random.default_rng(0))
    assert table.set_index("question").loc[EARLY, "verdict"] == "not tested"


def test_honest_simulated_predictions_are_hardly_ever_contradicted():
    wrong = [judged(seed=seed).query("verdict == 'contradicted'")["question"].tolist() for seed in range(6)]
    assert sum(bool(names) for names in wrong) <= 1, wrong


def test_the_sentence_names_what_is_wrong_and_counts_the_rest():
    table = verdict_table(
        [
            AuditRow(WELL, "contradicted", "x"),
            AuditRow(PLACE, "not identifiable", "y"),
            AuditRow(EARLY, "supported", "z"),
        ]
    )
    assert summary_line(table, opening="Confound audit.") == (
        "Confound audit. Contradicted: Infection or well?; "
        "Not identifiable: Infection or place on the plate?; "
        f"Supported: 1 of {len(QUESTIONS)}, not tested: {len(QUESTIONS) - 3}."
    )


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_end_as_questions_do(question):
    assert question.endswith("?")
