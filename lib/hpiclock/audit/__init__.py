"""The questions of the audit, the four answers, and the shape of a row."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pandas as pd

Answer = Literal["supported", "contradicted", "not identifiable", "not tested"]
ANSWERS: tuple[Answer, ...] = ("supported", "contradicted", "not identifiable", "not tested")
COLUMNS = ["question", "verdict", "effect", "low", "high", "evidence", "remedy"]

WELL = "Infection or well?"
PLATE = "Infection or plate?"
PLACE = "Infection or place on the plate?"
HOUR = "Infection or hour?"
LIGHT = "Infection or brightness?"
FOCUS = "Infection or focus?"
BORDER = "Infection or border?"
MARK = "Infection or burned-in mark?"
UNSEEN = "Unseen wells in the test?"
TWICE = "The same picture twice?"
EARLY = "Early signal or shortcut?"
MORE = "More than frame statistics?"
CLOCKS = "Can the two clocks be told apart?"
ELAPSED = "Time since infection or elapsed time?"
ONSET = "The same with another onset?"
QUESTIONS = (
    WELL,
    EARLY,
    HOUR,
    CLOCKS,
    ELAPSED,
    UNSEEN,
    TWICE,
    LIGHT,
    FOCUS,
    BORDER,
    MARK,
    PLATE,
    PLACE,
    MORE,
    ONSET,
)
KIND_OF = {LIGHT: ("light",), FOCUS: ("focus", "contrast"), BORDER: ("border",)}

BEFORE = "image at 0 hpi or earlier: frames before the onset must look alike in both classes"
MORE_WELLS = "more wells per class, infected and mock"

# Frame statistics in words; a name that is not here stands for itself.


class AuditRow(NamedTuple):
    """One answer. ``effect`` with ``low`` and ``high`` is what ``evidence`` says it is."""

    question: str
    verdict: Answer
    evidence: str
    remedy: str = ""
    effect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def verdict_table(rows: list[AuditRow]) -> pd.DataFrame:
    """Return the verdict table, a row per question, in the order of :data:`QUESTIONS`.

    Questions without a row stand as ``not tested``.
    """
    given = {row.question: row for row in rows}
    every = [given.get(name) or AuditRow(name, "not tested", "nothing to test it with") for name in QUESTIONS]
    return pd.DataFrame(every, columns=list(AuditRow._fields))[COLUMNS]


def summary_line(verdict: pd.DataFrame, *, opening: str) -> str:
    """Return a line after the opening: what is contradicted, what cannot be told, how much is supported."""
    parts = []
    for answer in ("contradicted", "not identifiable"):
        names = list(verdict.loc[verdict["verdict"].eq(answer), "question"])
        if names:
            parts.append(f"{answer}: {' '.join(names)}")
    n = int(verdict["verdict"].eq("supported").sum())
    untested = int(verdict["verdict"].eq("not tested").sum())
    parts.append(f"supported: {n} of {len(verdict)}" + (f", not tested: {untested}" if untested else ""))
    return f"{opening} " + "; ".join(part[0].upper() + part[1:] for part in parts) + "."
