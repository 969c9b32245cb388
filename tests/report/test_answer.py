"""The answer on top of every page: made from the run's tables, short, and cannot tell where it cannot."""

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from hpiclock import audit, figures
from hpiclock.analysis.sentences import HOW_LONG, INFECTED_OR_NOT, answer_sentences
from hpiclock.audit import PROBLEMS, USES
from hpiclock.audit.verdict import CHECKS
from hpiclock.report.audit_text import BELIEVED, NEXT, believed, effect_text
from hpiclock.report.pages import render

NAN = float("nan")
WHOLE = {
    ("all", "auc_stratified"): (0.92, 0.87, 0.95),
    ("before onset", "auc_stratified"): (0.45, 0.2, 0.8),
    ("after eclipse", "auc_stratified"): (0.99, 0.96, 1.0),
    ("after eclipse", "recall"): (0.91, 0.81, 0.96),
    ("after eclipse", "specificity"): (1.0, 0.85, 1.0),
    ("infected", "mae"): (6.7, 5.0, 14.0),
    ("infected", "mae_of_clock"): (8.0, 4.0, 12.0),
    ("infected", "gain_over_clock"): (1.3, -4.6, 7.2),
}


def study(**changed):
    facts = WHOLE | {tuple(name.split("/")): value for name, value in changed.items()}
    note = "unit well: 7 infected, 7 mock"
    rows = [
        {"group": group, "metric": metric, "value": v, "low": low, "high": high, "note": note}
        for (group, metric), (v, low, high) in facts.items()
    ]
    metrics = pd.DataFrame(rows).assign(run="r", split="test", n_wells=14, n_stacks=28, n=700)
    windows = pd.DataFrame({"start_h": [0.0, 6.0, 12.0], "value": [0.58, 0.97, 1.0]})
    windows["low_simultaneous"], windows["high_simultaneous"] = [0.3, 0.8, 0.79], [0.8, 0.99, 1.0]
    windows = windows.assign(end_h=windows["start_h"] + 6, group="all", split="test", n_wells=14)
    both = [windows.assign(metric=name) for name in ("auc_stratified", "recall")]
    return {"metrics": metrics, "windows_hpi": pd.concat(both, ignore_index=True)}


def verdict(answer, kind="inference"):
    rows = [{"question": check.question, "kind": kind, "verdict": answer} for check in CHECKS]
    made = pd.DataFrame(rows).assign(remedy="more wells per class, infected and mock", measure="AUC gain")
    return made.assign(effect=-0.05, low=-0.08, high=-0.02)


def test_it_says_from_when_on_how_well_and_beside_what():
    found = answer_sentences(study(), level=0.95, rival_mae=3.1)
    assert found[INFECTED_OR_NOT] == (
        "Yes: AUC 0.990 (0.96 to 1.00) after eclipse, first at 6-12 hpi (95% band 0.80 to 0.99); "
        "7 infected and 7 mock test wells. Recall 91% (81% to 96%), false positives 0% (0% to 15%)."
    )
    assert found[HOW_LONG] == (
        "Mean error 6.7 h (5.0 to 14.0), not told apart from a clock without images (8.0 h); "
        "linear model on frame statistics 3.1 h."
    )


def test_one_false_alarm_is_not_none():
    tables = study()
    metrics = tables["metrics"]
    metrics.loc[metrics["metric"].eq("specificity"), "value"] = 0.997
    assert "false positives 0.3% (" in answer_sentences(tables, level=0.95)[INFECTED_OR_NOT]


@pytest.mark.parametrize(
    ("gain", "says"), [((2.0, 1.0, 3.0), "h (5.0 to 14.0), less"), ((-2.0, -3.0, -1.0), ", more")]
)
def test_the_clock_is_beaten_or_beats_only_where_the_interval_leaves_zero_out(gain, says):
    found = answer_sentences(study(**{"infected/gain_over_clock": gain}), level=0.95)
    assert says in found[HOW_LONG]


def test_a_time_that_a_clock_knows_without_error_is_not_told_from_elapsed_time():
    found = answer_sentences(study(**{"infected/mae_of_clock": (0.0, NAN, NAN)}), level=0.95)
    assert found[HOW_LONG].startswith("Cannot be told from elapsed time: ")


def test_a_difference_before_the_onset_is_no_yes():
    found = answer_sentences(study(**{"before onset/auc_stratified": (0.8, 0.7, 0.9)}), level=0.95)
    assert found[INFECTED_OR_NOT].startswith("Not shown: infected and mock wells differ already before")


def test_without_bands_it_cannot_be_told():
    tables = study(**{"all/auc_stratified": (0.9, NAN, NAN)})
    tables["windows_hpi"]["low_simultaneous"] = NAN
    assert answer_sentences(tables, level=0.95)[INFECTED_OR_NOT].startswith("Cannot be told: ")


def test_training_rows_are_no_answer():
    tables = {name: table.assign(split="train") for name, table in study().items()}
    assert all(s.startswith("Cannot be told") for s in answer_sentences(tables, level=0.95).values())


def test_every_question_of_the_audit_has_its_words():
    assert set(PROBLEMS) == {check.question for check in CHECKS}


def test_what_it_can_be_used_for_stands_first_and_what_was_found_comes_with_its_size():
    table = verdict("shown")
    table.loc[table["question"].eq(audit.MORE), "verdict"] = "contradicted"
    table.loc[table["question"].eq(audit.EARLY), "verdict"] = "cannot tell"
    said = believed(table)
    assert said[BELIEVED] == (
        "Usable on such wells for: infected or mock, time since infection. "
        "Found: frame statistics alone (AUC gain: -0.05). Not ruled out: early signal."
    )
    assert said[NEXT] == "More wells per class, infected and mock."
    assert believed(None)[BELIEVED] == "Cannot be told: this run was not audited."


@pytest.mark.parametrize("question", [q for needed, others in USES.values() for q in (*needed, *others)])
def test_a_use_falls_with_each_question_that_it_rests_on(question):
    (use,) = [use for use, rows in USES.items() if question in (*rows[0], *rows[1])]
    table = verdict("shown")
    for answer, words in {
        "contradicted": "Not usable for",
        "not identifiable": "Not shown to be usable for",
    }.items():
        table.loc[table["question"].eq(question), "verdict"] = answer
        assert f"{words}: {use}." in believed(table)[BELIEVED]
    table.loc[table["question"].eq(question), "verdict"] = "cannot tell"
    needed = question in USES[use][0]
    assert (f"Not shown to be usable for: {use}." in believed(table)[BELIEVED]) == needed


def test_of_a_usual_run_it_is_at_most_120_words():
    table = verdict("shown", kind="file check")
    usual = {
        "contradicted": [audit.OTHER_LIGHT],
        "cannot tell": [audit.EARLY, audit.STEADY, audit.MORE, audit.CELLS],
        "shown": [audit.WELL, audit.HOUR, audit.ELAPSED],
        "not seen": [audit.LIGHT, audit.FOCUS, audit.BORDER, audit.ONSET],
    }
    for answer, questions in usual.items():
        table.loc[table["question"].isin(questions), ["verdict", "kind"]] = answer, "inference"
    rows = answer_sentences(study(), level=0.95, rival_mae=3.1) | believed(table)
    simulated = "Simulated data: scores on them say nothing about a virus."
    facts = {"simulated": simulated, "rows": rows.items(), "picture": "", "alt": "", "width": 0}
    words = BeautifulSoup(render("answer.html.j2", run="r", **facts), "html.parser").text.split()
    assert 90 < len(words) <= 120, len(words)


def test_the_figure_shows_windows_as_bars_marks_the_first_and_shades_the_eclipse():
    ax = figures.answer_over_hpi(study()["windows_hpi"], level=0.95, eclipse_h=6.0)
    bars = [c for c in ax.collections if hasattr(c, "get_segments") and "AUC" in c.get_label()]
    assert [tuple(s[:, 0]) for s in bars[0].get_segments()] == [(0.0, 6.0), (6.0, 12.0), (12.0, 18.0)]
    assert any("6 to 12 h" in line.get_label() for line in ax.get_lines())
    assert "eclipse (6 h)" in ax.get_legend_handles_labels()[1]
    assert "first band above 0.5: 6 to 12 h" in figures.alt_text(ax)


def test_an_effect_has_its_unit_behind_it():
    assert effect_text("predicted time of mock frames, h", -15.444, np.nan, np.nan).endswith(
        "frames: -15.44 h"
    )
    assert effect_text("onsets", 4.0, np.nan, np.nan) == "onsets: 4"
    assert effect_text("AUC", 0.9, 0.8, 0.95) == "AUC: 0.90 (0.80 to 0.95)"
