"""Names of wells and formats of culture plates, from 6 to 1536 wells.

They stand at the bottom of the package because readers, the audit and the figures all need them, and the last
two import nothing of ``plate``.
"""

import re
from collections.abc import Iterable

FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))  # rows x columns
_WELL = re.compile(
    r"(?P<letters>[A-Za-z]{1,2})(?: ?[-/:_ ] ?)?0*(?P<column>[1-9][0-9]?)"
    r"|0*(?P<column1>[1-9][0-9]?)(?: ?[-/:_ ] ?)?(?P<letters1>[A-Za-z]{1,2})"
    r"|[Rr]0*(?P<row>[1-9][0-9]?)(?: ?[-/:_ ] ?)?[Cc]0*(?P<column2>[1-9][0-9]?)"
)


def letters(index: int) -> str:
    """Return the letters of a plate's row or a sheet's column, counted from 0: A, B, ... Z, AA, AB, ..."""
    first, last = divmod(index, 26)
    return (letters(first - 1) if first else "") + chr(ord("A") + last)


def well_name(row: int, column: int) -> str:
    """Return ``B03`` for row 1, column 2; both count from 0, and row 26 is AA."""
    return f"{letters(row)}{column + 1:02d}"


def parse_well(text: str) -> tuple[int, int] | None:
    """Return row and column, both from 0, of a well as people and machines write it.

    ``B3``, ``B03``, ``b-3``, ``B - 03``, ``B/3``, ``3B`` and ``R02C03`` are one well. None where the name
    says no place.
    """
    match = _WELL.fullmatch(text.strip())
    if match is None:
        return None
    column = int(match["column"] or match["column1"] or match["column2"]) - 1
    row = int(match["row"] or 0)
    for letter in (match["letters"] or match["letters1"] or "").upper():
        row = 26 * row + ord(letter) - ord("A") + 1
    return row - 1, column


def normal_well(text: str) -> str:
    """Write a well as ``B03``; a name that is no well of a plate (a donor, a slide) stays as it is."""
    place = parse_well(text)
    return text.strip() if place is None else well_name(*place)


def plate_format(places: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """Return rows and columns of the smallest plate that holds these places; None where none does."""
    rows, columns = map(max, zip((0, 0), *places, strict=True))
    return next((size for size in FORMATS if rows < size[0] and columns < size[1]), None)
