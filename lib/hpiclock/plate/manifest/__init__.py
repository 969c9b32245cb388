"""What a source says about its stacks before any file is opened, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from hpiclock.errors import InputError
from hpiclock.plate.readers.file_series import PLACES
from hpiclock.wells import normal_well

MAX_SEPARATE_NOTES = 3  # notes that say the same of more stacks than this become one


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


def problem_from_error(path: str, error: InputError) -> Problem:
    """Turn ``PATH: problem; remedy`` into a problem of that path."""
    problem, _, remedy = str(error).removeprefix(f"{path}: ").rpartition("; ")
    return Problem(path, "error", problem or remedy, remedy if problem else "")


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
            lines.append(Problem(f"{len(paths)} stacks (first {paths[0]})", "note", problem, remedy).line())
        else:
            lines += [Problem(path, "note", problem, remedy).line() for path in paths]
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
    named_by: str = "its name"
    listed: bool = False  # a row of a table, written on purpose
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """The entries of a source and what is wrong with it."""

    entries: list[StackEntry]
    problems: list[Problem]


def complete_from_name(entry: StackEntry, groups: dict[str, str]) -> StackEntry:
    """Fill in what a file name says and the source does not."""
    known = {"plate", "well", "position", "series", "first_frame", "last_frame", *PLACES}
    more = {key: value for key, value in groups.items() if key not in known}
    return replace(
        entry,
        plate=entry.plate or groups.get("plate", ""),
        well=entry.well or groups.get("well", ""),
        position=entry.position or groups.get("position", ""),
        series=entry.series or groups.get("series", ""),
        n_named=frames_in_name(groups) if entry.n_named is None else entry.n_named,
        extra=more | entry.extra,
    )


def compile_pattern(pattern: str, place: str) -> re.Pattern[str]:
    """Compile a name pattern.

    Args:
        pattern: a regular expression with named groups.
        place: the key that holds it, for the error.

    Raises:
        InputError: not a regular expression.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f"{place}: {pattern!r} is not a regular expression ({error})") from None


def parse_name(name: str, pattern: re.Pattern[str]) -> dict[str, str] | None:
    """Return the named groups found in a file name, the well as ``B03``; None without a match."""
    match = pattern.search(name)
    if match is None:
        return None
    groups = {key: value for key, value in match.groupdict().items() if value is not None}
    if "well" in groups:
        groups["well"] = normal_well(groups["well"])
    return groups


def frames_in_name(groups: dict[str, str]) -> int | None:
    """Return how many frames ``first_frame`` and ``last_frame`` of a name promise."""
    first, last = groups.get("first_frame", ""), groups.get("last_frame", "")
    return int(last) - int(first) + 1 if first.isdecimal() and last.isdecimal() else None
