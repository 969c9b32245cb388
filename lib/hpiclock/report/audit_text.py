"""The audit in words: sentences and readable tables for the terminal, for notebooks, for the index."""

import textwrap
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from hpiclock.analysis.acquisition_shift import STATISTIC_WORDS
from hpiclock.audit import (
    ANSWERS,
    EARLY,
    ELAPSED,
    HOUR,
    OPEN,
    PROBLEMS,
    USES,
    VERDICT_WORDS,
    WELL,
    counts_text,
    is_current,
)
from hpiclock.format import number_text, p_text, short_interval, significant_text
from hpiclock.metrics import METRICS
from hpiclock.report.text import Column, as_markdown, note_words, or_blank, readable, two_digits
from hpiclock.runs.run import VERDICT, VERDICT_COLUMNS, Run
from hpiclock.tables import read_any

PROBES = {
    "stack": "stack named right (share)",
    "well": "well named right (share)",
    "time": "hour read from mock frames (mean error, h)",
}
MAP_CHECKS = {
    "weights drawn anew": "similarity to maps of a model with weights drawn anew (rank correlation)",
    "labels shuffled": "similarity to maps of one trained on shuffled labels",
    "deletion": "effect of deleting by the map less that of deleting at random (class: P; time: h)",
    "border": "share of the weight on the border",
}
STANDS = {True: "stands", False: "falls"}
MARKS: dict[str, str] = dict(zip(ANSWERS, "+o!??-", strict=True))
ON_FEATURES = (WELL, EARLY, HOUR, ELAPSED)  # questions that a map of features lets one see
WIDTH = 96
# what is compared, and the rows of the sampling table: experiment, train, test
ALL, MATCHED = "all controls", "matched controls"
# fmt: off
GAPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Frames split at random instead of whole wells held out":
        (("split", "frames at random"), ("split", "whole wells")),
    "Trained on early hours instead of late ones, evaluated on late ones":
        (("later", "early hours"), ("later", "late hours")),
    "Evaluated on controls of all hours instead of matched ones":
        (("controls", ALL, ALL), ("controls", ALL, MATCHED)),
    "Trained on controls of all hours instead of matched ones, evaluated on matched ones":
        (("controls", ALL, MATCHED), ("controls", MATCHED, MATCHED)),
}
# fmt: on


def hours_of(start_h: float, end_h: float) -> str:
    """Return ``6 to 12``, one hour alone, or nothing."""
    if pd.isna(start_h):
        return ""
    return f"{start_h:g}" if start_h == end_h else f"{start_h:g} to {end_h:g}"


interval = partial(short_interval, missing="")


def effect_text(measure: str, effect: float, low: float, high: float) -> str:
    """Return ``AUC: 0.93 (0.81 to 0.98)`` or ``predicted time: 2.1 h``; nothing without an effect."""
    if pd.isna(effect):
        return ""
    value = interval(effect, low, high) if np.isfinite(low) else f"{round(effect, 2):g}"
    name = measure.removesuffix(", h")
    return f"{name}: {value}{' h' if name != measure else ''}".removeprefix(": ")


AUC = Column(f"{METRICS['auc_stratified'].label} (95% interval)", ("auc", "low", "high"), interval)
NOTE = Column("note", "note", note_words)
P, SMALLEST_P = Column("p", "p", p_text), Column("smallest p", "floor", p_text)
BY_CLASS = [Column("infected wells", "n_infected"), Column("mock wells", "n_mock")]
TABLES: dict[str, list[Column]] = {
    "design": [
        Column("aspect", "aspect"),
        Column("value", "value", partial(significant_text, missing="not defined")),
        Column("detail", "detail", or_blank),
    ],
    "before_onset": [
        Column("question", "question"),
        Column("differs most", "statistic", lambda name: STATISTIC_WORDS.get(name, name)),
        AUC,
        Column("difference (SD between wells)", "difference", two_digits),
        *(P, SMALLEST_P, *BY_CLASS),
    ],
    "controls": [
        Column("where", "what"),
        Column("hours after onset", ("start_h", "end_h"), hours_of),
        AUC,
        Column("frames", "n"),
        NOTE,
    ],
    "baselines": [
        Column("sees", "source"),
        AUC,
        Column(METRICS["auc"].label, "auc_all", two_digits),
        Column("AUC before the onset", "auc_before", two_digits),
        Column("time error, infected (MAE, h)", "mae", two_digits),
        Column("frames", "n"),
        Column("wells", "n_wells"),
    ],
    "probes": [
        Column("probe", "probe", PROBES.get),
        Column("value (95% interval)", ("value", "low", "high"), interval),
        Column("chance", "chance", two_digits),
        Column("wells", "n_groups"),
        NOTE,
    ],
    "permutations": [
        Column("when", "frames"),
        AUC,
        Column("frames", "n"),
        Column("shuffled", "unit", "{}s".format),
        *(P, SMALLEST_P, Column("smallest p of wells", "well_floor", p_text), *BY_CLASS),
    ],
    "over_time": [
        Column("at a given label", "label", "{} frames".format),
        Column("rank correlation with the hour (95% interval)", ("rho", "low", "high"), interval),
        *(P, SMALLEST_P),
        Column(
            "change of P from first to last hour (95% interval)",
            ("change", "change_low", "change_high"),
            interval,
        ),
        Column("stacks", "n_stacks"),
        Column("wells", "n_wells"),
    ],
    "verdict": [
        Column("question", "question"),
        Column("verdict", "verdict"),
        Column("effect (95% interval)", ("measure", "effect", "low", "high"), effect_text),
        Column("evidence", "evidence", or_blank),
        Column("what would settle it", "remedy", or_blank),
    ],
}


def readable_audit(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one table of an audit to read, indexed by what its rows are of.

    Args:
        table: of an :class:`hpiclock.workflows.audit.Audit`, or its verdict.
        name: which one, a key of :data:`TABLES`; of ``controls`` the windows are left to their figure.
    """
    if name == "controls":
        table = table[table["what"].ne("window")]
    if name == "verdict":
        table = table.assign(measure=table.get("measure", ""))  # older verdicts do not name it
        order = list(VERDICT_WORDS)
        table = table.sort_values("verdict", key=lambda answers: answers.map(order.index), kind="stable")
    return readable(table, TABLES[name])


def _intervals(table: pd.DataFrame) -> list[str]:
    return [interval(*row) for row in table[["value", "low", "high"]].astype(float).itertuples(index=False)]


def onset_claims(onset: pd.DataFrame) -> pd.DataFrame:
    """Return what is claimed (rows) under each shift of the onset (columns), with whether it stands."""
    unknown = np.where(onset["low"].notna(), "cannot be told", "no interval")
    stands = onset["stands"].map(STANDS).fillna(pd.Series(unknown, onset.index))
    cells = [
        f"{value}: {verdict}".removeprefix(": ")
        for value, verdict in zip(_intervals(onset), stands, strict=True)
    ]
    columns = [f"onset {shift:+g} h" if shift else "as given" for shift in onset["shift_h"]]
    first: Any = {"values": "cell", "aggfunc": "first", "sort": False}
    wide = onset.assign(cell=cells, column=columns).pivot_table(index="claim", columns="column", **first)
    return wide[list(dict.fromkeys(columns))].rename_axis(columns=None)


def readable_maps(checks: pd.DataFrame) -> pd.DataFrame:
    """Return the checks of the attribution maps, a row for each head and method.

    Args:
        checks: of :class:`hpiclock.runs.results.KeptExplanations`.
    """
    depths = checks.loc[checks["depth"].ne(""), "depth"].dropna()
    rows = checks[checks["depth"].isin(["", *depths.iloc[-1:]])]
    cells = rows.assign(cell=_intervals(rows), check=rows["check"].map(MAP_CHECKS))
    first: Any = {"values": "cell", "aggfunc": "first", "sort": False}
    wide = cells.pivot_table(index=["head", "method"], columns="check", **first)
    wide = wide.reindex(columns=[name for name in MAP_CHECKS.values() if name in wide])
    area = checks.loc[checks["check"].eq("border"), "chance"]
    if len(area):
        wide["area of the border"] = number_text(area.iloc[0], 2)
    return wide.rename_axis(columns=None)


def verdict_lines(verdict: pd.DataFrame) -> Iterator[str]:
    """Yield the verdict for a terminal: a line per question, then its evidence and its remedy."""
    wrapped = partial(textwrap.wrap, width=WIDTH, initial_indent="    ", subsequent_indent="    ")
    for row in verdict.fillna({"evidence": "", "remedy": ""}).itertuples():
        yield f"{MARKS[str(row.verdict)]} {row.question} {str(row.verdict).upper()}"
        yield from wrapped(str(row.evidence))
        if row.remedy:
            yield from wrapped(f"what would settle it: {row.remedy}")


def verdict_sentences(verdict: pd.DataFrame) -> Markdown:
    """Return the verdict as a list to show: what is found or open first, and what would settle it."""
    rows = verdict.fillna({"remedy": ""})
    lines = []
    for words, of in _by_words(rows):
        if of["verdict"].isin(["contradicted", *OPEN]).any():
            for remedy, rows in of.groupby("remedy", sort=False):
                settle = f" *What would settle it:* {as_markdown(str(remedy))}." if remedy else ""
                lines.append(f"- **{words}:** {', '.join(rows['question'].map(PROBLEMS))}.{settle}")
        else:
            lines.append(f"- {words}: {', '.join(of['question'].map(PROBLEMS))}.")
    return Markdown("\n".join(lines))


def _by_words(verdict: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of a verdict by what they say, what is found first."""
    meaning = verdict["verdict"].map(VERDICT_WORDS)
    for words in dict.fromkeys(VERDICT_WORDS.values()):
        if meaning.eq(words).any():
            yield words, verdict[meaning.eq(words)]


def gap_sentences(sampling: pd.DataFrame) -> Markdown:
    """Return what the choice of frames adds to the AUC, a sentence per experiment that could be made."""
    auc = sampling.set_index(["experiment", "train", "test"])["auc"]
    lines = []
    for words, pair in GAPS.items():
        values = [auc[[key[: len(of)] == of for key in auc.index]].dropna() for of in pair]
        if all(len(value) for value in values):
            first, second = (float(value.iloc[0]) for value in values)
            gap = number_text(first - second, 2, signed=True)
            lines.append(f"- {words}: {gap} ({first:.2f} against {second:.2f}, over plates and hours).")
    return Markdown("\n".join(lines) or "No two experiments can be compared: too few wells.")


def feature_reading(verdict: pd.DataFrame, probes: pd.DataFrame) -> dict[str, str]:
    """Return what the audit says of the model's features, by its question: probes first, then its verdict.

    Args:
        verdict: of :class:`hpiclock.workflows.audit.Audit`.
        probes: its table of that name.
    """
    known = probes[probes["value"].notna()].itertuples()
    reading = {
        PROBES[row.probe].capitalize(): f"{interval(row.value, row.low, row.high)}, chance {row.chance:.2f}"
        for row in known
    }
    answers = verdict.set_index("question")["verdict"]
    return reading | {question: answers[question] for question in ON_FEATURES if question in answers}


USABLE = {True: "Usable on such wells for", False: "Not usable for", None: "Not shown to be usable for"}
BELIEVED, NEXT = "Can it be believed?", "What next?"
AUDIT_FIRST = "Audit this run: hpiclock audit, or notebook 05."


def believed(verdict: pd.DataFrame | None) -> dict[str, str]:
    """Return what the run can be used for, what was found and cannot be ruled out, and the next step.

    Args:
        verdict: of :func:`kept_verdict`.
    """
    if verdict is None:
        return {BELIEVED: "Cannot be told: this run was not audited.", NEXT: AUDIT_FIRST}
    uses = {use: _usable(verdict.set_index("question")["verdict"], *rows) for use, rows in USES.items()}
    clauses = {words: [use for use in uses if uses[use] is found] for found, words in USABLE.items()}
    steps = []
    for words, rows in _by_words(verdict[verdict["verdict"].isin(["contradicted", *OPEN])]):
        steps += list(rows["remedy"].fillna("").loc[lambda found: found.ne("")].value_counts().index[:1])
        clauses[words] = [PROBLEMS[row.question] + _size(row) for row in rows.itertuples()]
    step = steps[0] if steps else "a second plate, left out of training"
    sentences = [f"{words}: {', '.join(names)}." for words, names in clauses.items() if names]
    return {BELIEVED: " ".join(sentences), NEXT: f"{step[:1].upper()}{step[1:]}."}


def _size(row: Any) -> str:
    """Return how large what was found is, in brackets; nothing of what was not found."""
    if row.verdict != "contradicted" or pd.isna(row.effect):
        return ""
    return f" ({effect_text(getattr(row, 'measure', ''), row.effect, np.nan, np.nan)})"


def _usable(answers: pd.Series, needed: tuple[str, ...], others: tuple[str, ...]) -> bool | None:
    """Return whether all that is needed is shown and nothing speaks against it; None where that is open."""
    judged = answers[answers.index.isin([*needed, *others])]
    if judged.eq("contradicted").any():
        return False
    shown = answers.reindex(needed).eq("shown").all() and not judged.eq("not identifiable").any()
    return True if shown else None


def verdict_rows(run: Run) -> tuple[list[dict[str, str]], str]:
    """Return the verdict of a run's folder as rows of text, and counts of its answers in words.

    Both are empty when there is no verdict of this version.
    """
    found = kept_verdict(run)
    if found is None:
        return [], ""
    table = readable_audit(found, "verdict").reset_index()
    names = {"effect (95% interval)": "effect", "what would settle it": "remedy"}
    return table.rename(columns=names).astype(str).to_dict("records"), counts_text(found)


def kept_verdict(run: Run) -> pd.DataFrame | None:
    """Return the verdict of a run's folder; None when there is none, or one of an older version."""
    found = read_any(run.path(VERDICT), VERDICT_COLUMNS) if run.path(VERDICT).is_file() else None
    return None if found is None or not is_current(found) else found
