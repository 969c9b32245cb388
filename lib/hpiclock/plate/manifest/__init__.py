"""What a source says about its stacks before any file is opened, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from hpiclock.errors import InputError
from hpiclock.wells import normal_well

SIMULATED = "Simulated data"  # how the note begins that stands first on every page
RECIPE = "synth.json"  # stands by the stacks of a simulated plate
MAX_SEPARATE_NOTES = 3  # notes that say the same of more stacks than this become one


class Problem(NamedTuple):
    """One line of the table of problems: an error stops a run, a note travels into its reports."""

    path: str
    severity: Literal["error", "note"]
    problem: str
    remedy: str = ""

    @classmethod
    def from_error(cls, path: Path, error: InputError) -> Problem:
        """Turn ``PATH: problem; remedy`` into a problem of that path."""
        problem, _, remedy = str(error).removeprefix(f"{path}: ").rpartition("; ")
        return error_of(path, problem or remedy, remedy if problem else "")

    def line(self) -> str:
        """Return it as one sentence: path, problem, remedy."""
        where = f"{self.path}: " if self.path else ""
        return where + self.problem + (f"; {self.remedy}" if self.remedy else "")


def error_of(path: str | Path, problem: str, remedy: str = "") -> Problem:
    """Return a problem that stops a run."""
    return Problem(str(path), "error", problem, remedy)


def note_of(path: str | Path, problem: str, remedy: str = "") -> Problem:
    """Return a problem that travels into the reports."""
    return Problem(str(path), "note", problem, remedy)


def problem_table(problems: Iterable[Problem]) -> pd.DataFrame:
    """Return the columns ``path, severity, problem, remedy``, errors first."""
    rows = sorted(problems, key=lambda problem: problem.severity)  # stable: order of discovery within
    return pd.DataFrame(rows, columns=list(Problem._fields)).astype(object)


def note_lines(problems: Iterable[Problem]) -> list[str]:
    """Return one line per note, or one for all stacks with the same note."""
    same: dict[tuple[str, str], list[str]] = {}
    for one in problems:
        if one.severity == "note":
            same.setdefault((one.problem, one.remedy), []).append(one.path)
    lines = []
    for (problem, remedy), paths in same.items():
        if len(paths) > MAX_SEPARATE_NOTES:
            paths = [f"{len(paths)} stacks (first {paths[0]})"]
        lines += [note_of(path, problem, remedy).line() for path in paths]
    return lines


@dataclass(frozen=True)
class StackEntry:
    """What a source says about one stack; None and "" where it says nothing."""

    path: Path
    condition: str = ""
    plate: str = ""
    place: str = ""  # of this entry in its source, for errors
    well: str = ""
    position: str = ""
    series: str = ""
    moi: float | None = None
    onset_h: float | None = None
    interval_h: float | None = None
    start_h: float | None = None
    hours: float | None = None
    n_named: int | None = None  # frames that the name or the table promises
    first_frame: int | None = None  # and the number of the first of them
    named_by: str = "its name"
    listed: bool = False  # a row of a table, written on purpose
    extra: dict[str, object] = field(default_factory=dict)
    stated: dict[str, object] = field(default_factory=dict)  # of what is read from the file itself


class Source(NamedTuple):
    """The entries of a source and what is wrong with it."""

    entries: list[StackEntry]
    problems: list[Problem]
