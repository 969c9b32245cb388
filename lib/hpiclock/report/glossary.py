"""The words of pages, each defined once: in ``glossary.yaml``, verdicts in ``hpiclock.audit``."""

import html
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from hpiclock.audit import ANSWERS

HEAD = """# Glossary

What the words of the pages mean. Each page lists those that it uses, folded at its end. Made from
`lib/hpiclock/report/glossary.yaml`: `python -m hpiclock.report.glossary > docs/glossary.md`.

| term | meaning | formula or reference |
| --- | --- | --- |
"""


class Term(NamedTuple):
    """A term, its meaning in one line, its formula or reference, and the patterns that find it on a page."""

    name: str
    meaning: str
    formula: str
    patterns: tuple[str, ...]

    def is_in(self, text: str) -> bool:
        """Whether a text uses it."""
        found = rf"(?<!\w)(?:{'|'.join(self.patterns)})(?!\w)"
        return re.search(found, text, flags=re.IGNORECASE) is not None


@cache
def terms() -> tuple[Term, ...]:
    """Return every term, in the order of the file; the verdicts of the audit last."""
    entries = yaml.safe_load(Path(__file__).with_name("glossary.yaml").read_text(encoding="utf-8"))
    verdicts = {
        name: {"meaning": meaning, "formula": "verdict of the audit"} for name, meaning in ANSWERS.items()
    }
    return tuple(
        Term(name, facts["meaning"], facts.get("formula", ""), (re.escape(name), *facts.get("also", ())))
        for name, facts in (entries | verdicts).items()
    )


def terms_in(page: str) -> list[Term]:
    """Return the terms that an HTML page uses, in its text or in the words of its pictures; code aside."""
    text = re.sub(r'(?s)<(style|script|details class="code")[ >].*?</(style|script|details)>', " ", page)
    verdicts = {cell for cell in ANSWERS if f">{cell}<" in text}  # plain words anywhere else
    text += " ".join(re.findall(r'\balt="([^"]*)"', text))
    text = html.unescape(re.sub(r"<[^>]*>", " ", text))
    return [term for term in terms() if (term.name in verdicts if term.name in ANSWERS else term.is_in(text))]


def as_markdown_table(rows: Iterable[Term]) -> str:
    """Return terms as rows of a Markdown table."""
    cells = ((term.name, term.meaning, term.formula) for term in rows)
    return "".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in row)} |\n" for row in cells)


if __name__ == "__main__":
    print(HEAD + as_markdown_table(terms()), end="")
