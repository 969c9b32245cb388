"""Readable tables are made from their columns; what cannot be told says so in its cell."""

import html
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import openpyxl
import pandas as pd
import pytest
from nbconvert.filters.markdown_mistune import markdown2html_mistune as markdown2html

from hpiclock import audit
from hpiclock.report import audit_text
from hpiclock.report import text as text_of_page
from hpiclock.report.audit_text import gap_sentences, onset_claims, readable_audit
from hpiclock.report.text import Column, or_blank, or_dash, readable, readable_readout

NAN = float("nan")


def test_a_column_is_written_from_one_source_or_several():
    table = pd.DataFrame({"name": ["a", "b"], "n": [3, 4], "low": [0.5, NAN], "high": [1.0, NAN]})
    columns = [
        Column("named", "name", str.upper),
        Column("count", "n"),
        Column("span", ("low", "high"), lambda low, high: f"{or_dash(low)}/{or_dash(high, signed=True)}"),
    ]
    shown = readable(table, columns)
    assert shown.index.tolist() == ["A", "B"]
    assert shown.index.name == "named"
    assert shown["count"].dtype == table["n"].dtype
    assert shown["span"].tolist() == ["0.500/+1.000", "–/–"]
    assert readable(table, columns, index=2).index.names == ["named", "count"]
    assert readable(table.head(0), columns).empty


def test_audit_tables_leave_blank_what_there_is_not():
    controls = pd.DataFrame(
        {"what": ["before onset", "window", "first visible in truth"], "start_h": [NAN, 0.0, 5.0],
         "end_h": [NAN, 6.0, 5.0], "auc": [0.3, 0.5, NAN], "low": [0.1, NAN, NAN], "high": [0.6, NAN, NAN],
         "n": [268, 20, 0], "note": ["7 infected", NAN, NAN]}
    )  # fmt: skip
    shown = readable_audit(controls, "controls")
    assert shown.index.tolist() == ["before onset", "first visible in truth"]
    assert shown.iloc[0].tolist() == ["", "0.30 (0.10 to 0.60)", 268, "7 infected"]
    assert shown.iloc[1].tolist() == ["5", "", 0, ""]
    design = pd.DataFrame({"aspect": ["plates", "V"], "value": [1.0, NAN], "detail": [NAN, "one plate"]})
    assert readable_audit(design, "design").to_numpy().tolist() == [["1", ""], ["not defined", "one plate"]]


def test_an_effect_says_what_it_is_and_its_unit():
    rows = pd.DataFrame({
        "question": ["a", "b", "c", "d"], "verdict": "shown", "evidence": "e", "remedy": NAN,
        "effect": [0.5613, 4.0, 1 / 6, NAN], "low": [0.28, NAN, NAN, NAN], "high": [0.8, NAN, NAN, NAN],
    })  # fmt: skip
    measures = {"measure": ["AUC", "onsets", "association, 0 to 1", "AUC"]}
    cells = readable_audit(rows.assign(**measures), "verdict")["effect (95% interval)"].tolist()
    assert cells == ["AUC: 0.56 (0.28 to 0.80)", "onsets: 4", "association, 0 to 1: 0.17", ""]
    answers = pd.Series(["not seen", "cannot tell", "shown", "contradicted"])
    assert readable_audit(rows.assign(verdict=answers), "verdict").index.tolist() == ["d", "b", "c", "a"]
    older = readable_audit(rows, "verdict")["effect (95% interval)"].tolist()
    assert older == ["0.56 (0.28 to 0.80)", "4", "0.17", ""]


def test_what_the_audit_found_comes_first_and_one_remedy_is_said_once():
    answers = {audit.EARLY: "cannot tell", audit.STEADY: "cannot tell", audit.MORE: "contradicted"}
    rows = pd.DataFrame(
        {"question": answers.keys(), "verdict": answers.values(), "remedy": ["more wells"] * 3}
    )
    assert audit_text.verdict_sentences(rows).data.splitlines() == [
        "- **Found:** frame statistics alone. *What would settle it:* more wells.",
        "- **Not ruled out:** early signal, mock drift. *What would settle it:* more wells.",
    ]


def test_claims_stand_side_by_side_under_each_shift_of_the_onset():
    onset = pd.DataFrame({
        "claim": ["seen late"] * 3, "shift_h": [0.0, 1.5, 2.0], "value": [0.9, 0.6, 0.6],
        "low": [0.8, NAN, 0.4], "high": [0.95, NAN, 0.7], "stands": [True, None, None],
    })  # fmt: skip
    wide = onset_claims(onset)
    assert wide.loc["seen late"].to_dict() == {
        "as given": "0.90 (0.80 to 0.95): stands",
        "onset +1.5 h": "0.60: no interval",
        "onset +2 h": "0.60 (0.40 to 0.70): cannot be told",
    }


def test_a_gap_between_two_experiments_needs_both():
    rows = [
        ("split", "frames at random", "", 0.971),
        ("split", "whole wells", "", 0.968),
        ("later", "late hours", "", 0.8),
    ]
    sampling = pd.DataFrame(rows, columns=["experiment", "train", "test", "auc"])
    text = gap_sentences(sampling).data
    said = "+0.00 (0.97 against 0.97, over plates and hours)."
    assert text == f"- Frames split at random instead of whole wells held out: {said}"
    assert "too few wells" in gap_sentences(sampling.tail(1)).data


@pytest.mark.parametrize(("unlike", "shown"), [(0, 6), (7, 7), (9, 9)])
def test_every_statistic_that_is_unlike_is_shown(unlike, shown):
    table = pd.DataFrame({
        "words": [f"statistic {i}" for i in range(9)], "value": 12345.678, "low": 0.001234, "high": 1.0,
        "outside": 2, "n_stacks": 9, "unlike": np.arange(9) < unlike,
    })  # fmt: skip
    rows = readable_readout(table, "looks")
    assert len(rows) == shown
    assert rows.iloc[0].tolist()[:3] == ["1.23e+04", "0.00123 to 1", "2 of 9"]
    assert (rows[""] == "unlike").sum() == unlike


def test_blank_stands_for_nothing_alone():
    assert [or_blank(value) for value in (NAN, None, "few", 0)] == ["", "", "few", 0]


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))", "![x](http://evil.org/a.png)", "<img src=x onerror=alert(1)>",
        "<script>x</script>", "https://evil.org", "www.evil.org", "<https://evil.org>", "[x][y]",
        "[x]: javascript:a", "a\n\n# b\n<b>c</b>", "$\\href{javascript:a}{x}$", "\\<b>", "</td><b>",
        "a | b", "AUC 0.9 [0.8, 1.0], p < 0.05 at C:\\data",
    ],
)  # fmt: skip
def test_a_name_from_the_data_is_no_link_and_no_tag(text: str) -> None:
    shown = markdown2html(f"- {text_of_page.as_markdown(text)}")
    assert not re.search("<(?!/?(ul|li|p)>)", shown), shown
    assert html.unescape(re.sub("</?(ul|li|p)>", "", shown)).strip() == " ".join(text.splitlines())


def test_a_caption_shows_names_of_plates_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr(text_of_page, "display", shown.append)
    text_of_page.show(plt.figure(), "Plate [x](javascript:a)<b>: a line per field.")
    assert shown[-1].data == r"Plate [x]\(javascript:a)\<b>: a line per field."


def test_a_workbook_holds_no_formula_and_what_it_cannot_hold_is_left_out(tmp_path: Path) -> None:
    table = pd.DataFrame({"plate": ["=1+1", "@x", "a\x01b"], "=cmd()": [1.0, -2.0, 3.0]})
    text_of_page.write_workbook({"wells": table}, tmp_path / "w.xlsx")
    rows = list(openpyxl.load_workbook(tmp_path / "w.xlsx")["wells"].iter_rows())
    assert all(cell.data_type != "f" for row in rows for cell in row)
    assert [row[0].value for row in rows] == ["plate", "'=1+1", "'@x", "ab"]
    assert rows[2][1].value == -2
