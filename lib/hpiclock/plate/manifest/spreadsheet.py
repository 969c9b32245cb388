"""Spreadsheets and CSV files as rows of cells that know their address."""

from __future__ import annotations

import csv
import math
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hpiclock.errors import InputError
from hpiclock.plate.readers import FAULTS
from hpiclock.wells import letters

SUFFIXES = (".csv", ".tsv", ".xlsx")


class Cell(NamedTuple):
    """The text of a cell without blanks around it, its address (``sheet moi, cell C4``) and its file."""

    text: str
    address: str
    path: Path

    def error(self, problem: str) -> InputError:
        """Return the error that names file and cell before ``problem``."""
        return InputError(f"{self.path}: {self.address}: {problem}")


class Sheet(NamedTuple):
    """A sheet's name (empty for a text file) and its rows, all of one length."""

    name: str
    rows: list[list[Cell]]


def read_sheets(path: Path) -> list[Sheet]:
    """Read a CSV file (comma, semicolon or tab) or the sheets of an XLSX workbook; empty sheets are left out.

    In a workbook every cell of a merged range holds the range's text, as a reader of the sheet sees it.

    Raises:
        InputError: cannot be read as a table, or nothing in it.
    """
    sheets = _workbook(path) if path.suffix.lower() == ".xlsx" else [("", _text_rows(path))]
    found = [
        Sheet(name, _addressed(path, name, rows)) for name, rows in sheets if any(any(row) for row in rows)
    ]
    if not found:
        raise InputError(f"{path}: the file is empty; fill it or correct data.source")
    return found


def number_in(text: str, place: str) -> float | None:
    """Return the number of a cell; None for an empty one (or ``-``, ``na``, ``nan``, ``none``, ``null``).

    Raises:
        InputError: not a finite number; the message begins with ``place``.
    """
    if text.lower() in ("", "-", "na", "n/a", "nan", "none", "null"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = f"write {text.replace(',', '.')}" if text.count(",") == 1 else "write a number"
        raise InputError(f"{place}: {text!r} is not a number; {hint} or leave it empty")
    return value


def check_names(path: Path, names: Iterable[str]) -> None:
    """Refuse a table in which two columns have one name.

    Raises:
        InputError: it names them.
    """
    doubled = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if doubled:
        raise InputError(f"{path}: column {', '.join(doubled)} stands twice; keep one")


def _addressed(path: Path, sheet: str, rows: list[list[str]]) -> list[list[Cell]]:
    place = f"sheet {sheet}, " if sheet else ""
    width = max(len(row) for row in rows)
    return [
        [
            Cell(text, f"{place}cell {letters(column)}{number}", path)
            for column, text in enumerate([*row, *[""] * (width - len(row))])
        ]
        for number, row in enumerate(rows, start=1)
    ]


def _text_rows(path: Path) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            text = stream.read()
        separator = max(",;\t", key=text.count)
        return [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=separator)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check data.source") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: not a text table; save it as CSV UTF-8") from None


def _workbook(path: Path) -> list[tuple[str, list[list[str]]]]:
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: reading it needs the package openpyxl; pip install 'hpiclock[formats]'"
        ) from None
    try:
        book = openpyxl.load_workbook(path, data_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check data.source") from None
    except (*FAULTS, zipfile.BadZipFile, SyntaxError) as error:
        raise InputError(f"{path}: not an XLSX workbook ({type(error).__name__}); save it again") from None
    sheets = []
    for sheet in book.worksheets:
        rows = [[_shown(value) for value in row] for row in sheet.iter_rows(values_only=True)]
        for area in sheet.merged_cells.ranges:
            for row in range(area.min_row - 1, area.max_row):
                for column in range(area.min_col - 1, area.max_col):
                    rows[row][column] = rows[area.min_row - 1][area.min_col - 1]
        sheets.append((sheet.title, rows or [[]]))
    book.close()
    return sheets


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
