"""What a source says about its stacks, before any file is opened."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from hpiclock.plate.names import frames_in_name
from hpiclock.plate.problems import Problem
from hpiclock.plate.series import PLACES


@dataclass(frozen=True)
class Entry:
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
class Found:
    """The entries of a source and what is wrong with it."""

    entries: list[Entry]
    problems: list[Problem]


def with_groups(entry: Entry, groups: dict[str, str]) -> Entry:
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
