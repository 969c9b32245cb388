"""The audit in words: for the terminal, for notebooks, for the index."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import pandas as pd
from IPython.display import Markdown

from hpiclock.report.audit_tables import PROBES
from hpiclock.report.runs import VERDICT, Run
from hpiclock.study.audit_rows import ANSWERS, EARLY, ELAPSED, HOUR, WELL, range_words
from hpiclock.tables import read_any

MARKS: dict[str, str] = dict(zip(ANSWERS, ("+", "!", "?", "-"), strict=True))
OPENINGS = {"contradicted": "Contradicted", "not identifiable": "Cannot be told"}
# what is compared, and the rows of the sampling table: experiment, train, test
ALL, MATCHED, SPLIT, LATER = "all controls", "matched controls", "split", "later"
GAPS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "Frames dealt at random instead of whole wells held out",
        (SPLIT, "frames at random"),
        (SPLIT, "whole wells"),
    ),
    (
        "Learnt on early hours instead of late ones, asked of late ones",
        (LATER, "early hours"),
        (LATER, "late hours"),
    ),
    (
        "Asked of controls of all hours instead of matched ones",
        ("controls", ALL, ALL),
        ("controls", ALL, MATCHED),
    ),
    (
        "Learnt on controls of all hours instead of matched ones, asked of matched ones",
        ("controls", ALL, MATCHED),
        ("controls", MATCHED, MATCHED),
    ),
)
WIDTH = 96
ON_FEATURES = (WELL, EARLY, HOUR, ELAPSED)  # questions that a map of features lets one see


def verdict_lines(verdict: pd.DataFrame) -> Iterator[str]:
    """Yield the verdict for a terminal: a line per question, then its evidence and its remedy."""
    for row in verdict.fillna({"evidence": "", "remedy": ""}).itertuples():
        yield f"{MARKS[str(row.verdict)]} {row.question} {str(row.verdict).upper()}"
        yield from textwrap.wrap(str(row.evidence), WIDTH, initial_indent="    ", subsequent_indent="    ")
        if row.remedy:
            yield from textwrap.wrap(
                f"what would settle it: {row.remedy}", WIDTH, initial_indent="    ", subsequent_indent="    "
            )


def readable_verdict(verdict: pd.DataFrame) -> pd.DataFrame:
    """Return the verdict as a table to read, indexed by question."""
    rows = verdict.fillna({"evidence": "", "remedy": ""})
    effect = [
        range_words(row.effect, row.low, row.high) if pd.notna(row.effect) else ""
        for row in rows.itertuples()
    ]
    return pd.DataFrame(
        {"verdict": rows["verdict"].to_numpy(), "effect (95% interval)": effect,
         "evidence": rows["evidence"].to_numpy(), "what would settle it": rows["remedy"].to_numpy()},
        index=pd.Index(rows["question"], name="question"),
    )  # fmt: skip


def verdict_sentences(verdict: pd.DataFrame) -> Markdown:
    """Return what the verdict says as a list to show: what is contradicted or cannot be told first."""
    rows = verdict.fillna({"evidence": "", "remedy": ""})
    lines = []
    for answer, opening in OPENINGS.items():
        for row in rows[rows["verdict"].eq(answer)].itertuples():
            settle = f" *What would settle it:* {row.remedy}." if row.remedy else ""
            lines.append(f"- **{row.question}** {opening}: {str(row.evidence).rstrip('.')}.{settle}")
    for answer, opening in (("supported", "Nothing speaks against it"), ("not tested", "Not tested")):
        names = list(rows.loc[rows["verdict"].eq(answer), "question"])
        if names:
            lines.append(f"- {opening}: {' '.join(names)}")
    return Markdown("\n".join(lines))


def gap_sentences(sampling: pd.DataFrame) -> Markdown:
    """Return what the choice of frames adds to the AUC, a sentence per experiment that could be made."""
    auc = sampling.set_index(["experiment", "train", "test"])["auc"]
    lines = []
    for words, one, other in GAPS:
        values = [auc[[key[: len(of)] == of for key in auc.index]].dropna() for of in (one, other)]
        if all(len(value) for value in values):
            first, second = (float(value.iloc[0]) for value in values)
            gap = round(first - second, 2) + 0.0  # no -0.00
            lines.append(f"- {words}: {gap:+.2f} ({first:.2f} against {second:.2f}).")
    return Markdown("\n".join(lines) or "No two experiments can be compared: too few wells.")


def feature_reading(verdict: pd.DataFrame, probes: pd.DataFrame) -> dict[str, str]:
    """Return what the audit says of the model's features, by what it asked: probes first, then its verdict.

    Args:
        verdict: of :class:`hpiclock.report.audit.Audit`.
        probes: its table of that name.
    """
    said = {}
    for row in probes[probes["value"].notna()].itertuples():
        asked = PROBES[str(row.probe)].capitalize()
        said[asked] = f"{range_words(row.value, row.low, row.high)}, by chance {row.chance:.2f}"
    answers = verdict.set_index("question")["verdict"]
    return said | {question: answers[question] for question in ON_FEATURES if question in answers}


def verdict_of(run: Run) -> list[dict[str, str]]:
    """Return the verdict of a run's folder as rows of text; empty when it was not audited."""
    if not run.path(VERDICT).is_file():
        return []
    table = readable_verdict(read_any(run.path(VERDICT))).reset_index()
    names = {"effect (95% interval)": "effect", "what would settle it": "remedy"}
    return table.rename(columns=names).astype(str).to_dict("records")
