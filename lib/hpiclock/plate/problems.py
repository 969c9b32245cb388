"""What is wrong with a stack or a plate map, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import pandas as pd

from hpiclock.errors import InputError

MANY = 3  # notes that say the same of more stacks than this become one


class Problem(NamedTuple):
    """One line of the table of problems: an error stops a run, a note travels into its reports."""

    path: str
    severity: Literal["error", "note"]
    problem: str
    remedy: str = ""

    def line(self) -> str:
        """Return it as one sentence: path, problem, remedy."""
        where = f"{self.path}: " if self.path else ""
        return where + self.problem + (f"; {self.remedy}" if self.remedy else "")


def from_error(path: str, error: InputError) -> Problem:
    """Turn ``PATH: problem; remedy`` into a problem of that path."""
    problem, _, remedy = str(error).removeprefix(f"{path}: ").rpartition("; ")
    return Problem(path, "error", problem or remedy, remedy if problem else "")


def table(problems: Iterable[Problem]) -> pd.DataFrame:
    """Return the columns ``path, severity, problem, remedy``, errors first."""
    rows = sorted(problems, key=lambda problem: problem.severity)  # stable: order of discovery within
    return pd.DataFrame(rows, columns=list(Problem._fields)).astype(object)


def as_notes(problems: Iterable[Problem]) -> list[str]:
    """Return one line per note, or one for all stacks of which the same is to be said."""
    same: dict[tuple[str, str], list[str]] = {}
    for one in problems:
        if one.severity == "note":
            same.setdefault((one.problem, one.remedy), []).append(one.path)
    lines = []
    for (problem, remedy), paths in same.items():
        if len(paths) > MANY:
            lines.append(Problem(f"{len(paths)} stacks (first {paths[0]})", "note", problem, remedy).line())
        else:
            lines += [Problem(path, "note", problem, remedy).line() for path in paths]
    return lines
