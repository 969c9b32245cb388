"""The verdict: one row per question, design before model, one sentence over all."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.audit import (
    ANSWERS,
    CLOCKS,
    EARLY,
    ELAPSED,
    MORE,
    ONSET,
    OUTDATED,
    PLACE,
    TWICE,
    WELL,
    Answer,
    Evidence,
    summary_line,
)
from hpiclock.audit import verdict as table_of_checks
from hpiclock.audit.clocks import onset_shift_table
from hpiclock.audit.verdict import CHECKS, COLUMNS, QUESTIONS, Check, verdict
from hpiclock.config.schema import AuditConfig, StudyConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions

AUDIT = AuditConfig(shuffles=1000)


def judged(*, seed=0, **changes):
    design = Simulation(wells=6, interval_h=2.0, onset_h=(5.0, 11.0))._replace(**changes)
    predictions = simulate_predictions(design, rng=np.random.default_rng(seed), splits=("test",))
    claims = onset_shift_table(predictions, study=StudyConfig(), audit=AUDIT)
    return verdict(Evidence(predictions, predictions, onset=claims, audit=AUDIT))


def test_every_question_has_one_row_in_its_order():
    table = judged()
    assert list(table.columns) == COLUMNS
    assert tuple(table["question"]) == QUESTIONS
    assert set(table["verdict"]) <= set(ANSWERS)
    assert table["evidence"].ne("").all()


def test_a_check_alone_answers_as_among_all():
    chosen = [check for check in CHECKS if check.question in (WELL, PLACE)]
    rows = simulate_predictions(
        Simulation(wells=6, interval_h=4.0), rng=np.random.default_rng(1), splits=("test",)
    )
    alone, among = (
        verdict(Evidence(rows, predictions=rows, audit=AUDIT), checks) for checks in (chosen, None)
    )
    kept = among[among["question"].isin([WELL, PLACE])].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, kept)


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
    assert set(staggered.set_index("question").loc[[CLOCKS, ELAPSED], "verdict"]) == {"shown"}


def test_the_same_seed_gives_the_same_verdict_and_rows_may_come_in_any_order():
    predictions = simulate_predictions(
        Simulation(wells=4, interval_h=4.0), rng=np.random.default_rng(0), splits=("test",)
    )
    mixed = predictions.sample(frac=1, random_state=1).reset_index(drop=True)
    first, second = (verdict(Evidence(rows, rows, audit=AUDIT)) for rows in (predictions, mixed))
    numbers = ["effect", "low", "high"]
    pd.testing.assert_frame_equal(first[numbers], second[numbers])
    assert first["verdict"].equals(second["verdict"])


def test_predictions_of_one_class_are_judged_by_the_design_alone():
    predictions = simulate_predictions(
        Simulation(wells=4, interval_h=4.0), rng=np.random.default_rng(0), splits=("test",)
    )
    mock = predictions[predictions["condition"].eq("mock")]
    table = verdict(Evidence(predictions, mock, audit=AUDIT))
    assert table.set_index("question").loc[EARLY, "verdict"] == "not tested"


def test_honest_simulated_predictions_are_hardly_ever_contradicted():
    wrong = [judged(seed=seed).query("verdict == 'contradicted'")["question"].tolist() for seed in range(6)]
    assert sum(bool(names) for names in wrong) <= 1, wrong


def test_the_sentence_names_what_is_wrong_and_counts_the_rest():
    answers = {WELL: "contradicted", PLACE: "not identifiable", EARLY: "not seen", TWICE: "not seen"}
    table = pd.DataFrame({"question": QUESTIONS, "kind": [check.kind for check in CHECKS]})
    table["verdict"] = table["question"].map(answers).fillna("not tested")
    assert summary_line(table, opening="Confound audit.") == (
        "Confound audit. Found: well-to-well differences. Not ruled out: place on the plate. "
        f"Not seen: 1; file checks passed: 1 of 5; not tested: {len(QUESTIONS) - 4}."
    )
    old = table.assign(verdict="supported").drop(columns="kind")
    assert summary_line(old, opening="Confound audit.") == f"Confound audit. {OUTDATED}"


def test_a_check_is_added_by_one_entry(monkeypatch):
    def judge(evidence):
        return Answer("contradicted", f"{len(evidence.marks)} marks", "clean the lens", 3.0)

    toy = Check("Infection or dust?", judge, ("marks",), measure="motes")
    monkeypatch.setattr(table_of_checks, "CHECKS", (*CHECKS, toy))
    rows = simulate_predictions(
        Simulation(wells=2, interval_h=8.0), rng=np.random.default_rng(0), splits=("test",)
    )
    without = verdict(Evidence(rows)).set_index("question").loc["Infection or dust?"]
    assert without["verdict"] == "not tested"
    marks = pd.DataFrame({"condition": ["infected", "mock", "both"], "pixels": 0.0, "note": ""})
    row = verdict(Evidence(rows, marks=marks)).iloc[-1]
    assert row.to_dict() | {"low": None, "high": None} == {
        "question": "Infection or dust?",
        "kind": "inference",
        "verdict": "contradicted",
        "measure": "motes",
        "effect": 3.0,
        "low": None,
        "high": None,
        "evidence": "3 marks",
        "remedy": "clean the lens",
    }


def test_every_check_is_made_when_all_evidence_is_there():
    assert all(check.judge or check.design for check in CHECKS)
    assert judged().set_index("question").loc[ONSET, "verdict"] == "not seen"
    needed = {name for check in CHECKS for name in check.needs}
    assert all(hasattr(Evidence(pd.DataFrame()), name) for name in needed - {"test", "held_out", "split"})


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_end_as_questions_do(question):
    assert question.endswith("?")
