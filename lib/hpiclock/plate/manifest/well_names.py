"""What a file name says: well, position, series, frames; and how wells are written."""

from __future__ import annotations

import re

from hpiclock.errors import InputError

_WELL = re.compile(r"([A-Za-z]{1,2})0*(\d{1,2})")


def normal_well(text: str) -> str:
    """Write a well as ``B03``; a name that is no well of a plate (a donor, a slide) stays as it is."""
    match = _WELL.fullmatch(text.strip())
    return f"{match[1].upper()}{int(match[2]):02d}" if match and int(match[2]) else text.strip()


def well_name(row: int, column: int) -> str:
    """Return ``B03`` for row 1, column 2; both count from 0, and row 26 is AA."""
    letters = chr(ord("A") + row) if row < 26 else "A" + chr(ord("A") + row - 26)
    return f"{letters}{column + 1:02d}"


def compiled(pattern: str, place: str) -> re.Pattern[str]:
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
