"""The glossary: one home, made into docs/glossary.md, and each of its words is used on a page."""

import re
from pathlib import Path

import pytest

from hpiclock.audit import ANSWERS
from hpiclock.metrics import METRICS
from hpiclock.report import audit_text, text
from hpiclock.report.glossary import HEAD, as_markdown_table, terms, terms_in

ROOT = Path(__file__).parents[2]
ROOMS = ("report", "figures", "analysis", "audit", "plate")
WORDS = [
    *(metric.label for metric in METRICS.values()),
    *(column.words for column in text.METRIC_COLUMNS),
    *(column.words for columns in (audit_text.TABLES | text.READOUT_TABLES).values() for column in columns),
    *audit_text.PROBES.values(),
    *audit_text.MAP_CHECKS.values(),
    *ANSWERS,
]
# What needs no definition, beside one-letter words.
PLAIN = set(
    re.findall(
        r"\S+",
        """
    after all alone and area aspect at before better between border brier by called change class
    compound detail difference differ differs does doses dose effect error evidence first from given
    group h² highest hour hours in infected is it known labels last less like lowest map maps mean median
    metric model more most mse named note of on one outside over own plate plates predicted
    predicting quantity question random read reads response right rmse score see sees settle share
    similarity slope smallest statistic than that the them this time to trained training value verdict
    weight what when where with within would
    """,
    )
)


def source_of_pages():
    files = [*ROOT.glob("notebooks/*.ipynb")]
    for room in ROOMS:
        files += [
            path
            for path in (ROOT / "lib" / "hpiclock" / room).rglob("*")
            if path.suffix in (".py", ".yaml", ".j2")
        ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.stem != "glossary")


def test_the_page_is_made_from_the_file():
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert page == HEAD + as_markdown_table(terms()), "python -m hpiclock.report.glossary > docs/glossary.md"


def test_every_term_has_its_meaning_in_one_line_and_is_used():
    written = source_of_pages()
    assert all(term.meaning and "\n" not in term.meaning + term.formula for term in terms())
    assert [term.name for term in terms() if not term.is_in(written)] == []


@pytest.mark.parametrize("words", sorted(set(WORDS)))
def test_every_word_of_a_table_is_plain_or_in_the_glossary(words):
    left = words
    for term in terms():
        left = re.sub(rf"(?<!\w)(?:{'|'.join(term.patterns)})(?!\w)", " ", left, flags=re.IGNORECASE)
    assert [word for word in re.findall(r"[^\W\d]{2,}²?", left.lower()) if word not in PLAIN] == []


def test_of_a_page_its_text_its_pictures_words_and_its_verdicts_count_and_its_code_does_not():
    page = (
        '<p>Shown at 6 hpi.</p><img alt="the ROC curve">'
        '<details class="code"><pre>precision</pre></details><table><tr><td>not seen</td></tr></table>'
    )
    assert [term.name for term in terms_in(page)] == ["hpi", "ROC curve", "not seen"]
