"""The manifest CSV (one row per stack), and the quarantine list: stacks that are left out, and why."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError, nearest
from hpiclock.files import atomic
from hpiclock.plate.manifest import Problem, Source, StackEntry, compile_pattern, complete_from_name, note_of
from hpiclock.plate.manifest.plate_maps import read_condition
from hpiclock.plate.manifest.spreadsheet import check_names, number_in, read_sheets
from hpiclock.tables import UNKNOWN
from hpiclock.wells import normal_well

REQUIRED = ("path", "condition")
TEXTS = ("plate", "well", "position", "series")
NUMBERS = ("moi", "interval_h", "start_h", "onset_h", "hours")
MEASURED = (
    "stack_id",
    "n_frames",
    "height",
    "width",
    "dtype",
    "times_h",
    "pixel_um",
)  # read from the files again
COLUMNS = ("path", "reason")


def read_manifest_csv(path: Path, data: DataConfig, *, blind: bool = False) -> Source:
    """Read a manifest CSV; ``blind``: a stack without a condition is of an unknown one.

    Raises:
        InputError: not such a table, or a value that cannot be; the message names row and column.
    """
    rows = read_text_table(path)
    if blind:
        condition = rows["condition"] if "condition" in rows.columns else pd.Series("", rows.index)
        rows = rows.assign(condition=condition.mask(condition.eq(""), UNKNOWN))
    missing = [name for name in REQUIRED if name not in rows.columns]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} missing (there are {', '.join(rows.columns)}); "
            "a manifest needs path and condition"
        )
    if rows.empty:
        raise InputError(f"{path}: no rows in it; list one stack per row")
    problems = _misspelled(path, rows)
    pattern = compile_pattern(data.name_pattern, "data.name_pattern")
    extra = _typed(rows.drop(columns=[*REQUIRED, *TEXTS, *NUMBERS, *MEASURED], errors="ignore"))
    entries = []
    for index, row in zip(rows.index, rows.to_dict("records"), strict=True):
        place = f"{path}: row {index}"
        entry = _entry(path, place, {str(key): str(value) for key, value in row.items()})
        more = {str(key): value for key, value in extra.loc[index].to_dict().items()}
        entry = complete_from_name(entry, entry.path.name, pattern) or entry
        plate = entry.plate or Path(os.path.abspath(path)).parent.name
        entries.append(replace(entry, plate=plate, extra=entry.extra | more))
    return Source(entries, problems)


def _entry(path: Path, place: str, row: dict[str, str]) -> StackEntry:
    try:
        condition = read_condition(row["condition"])
    except ValueError as error:
        raise InputError(f"{place}, column condition: {error}") from None
    if not row["path"]:
        raise InputError(f"{place}, column path: is empty; every row names a file")
    numbers = {name: number_in(row.get(name, ""), f"{place}, column {name}") for name in NUMBERS}
    for name, lowest in (("moi", 0.0), ("interval_h", math.ulp(0.0))):
        value = numbers[name]
        if value is not None and value < lowest:
            raise InputError(f"{place}, column {name}: {row[name]} cannot be; write a number it can have")
    if condition == "mock":
        if numbers["moi"]:
            raise InputError(f"{place}, column moi: mock with MOI {numbers['moi']:g}; leave it empty or 0")
        numbers["onset_h"] = None  # a mock well has no onset, whatever a filled-down column says
    elif numbers["moi"] == 0:
        raise InputError(f"{place}, column moi: infected with MOI 0; give the MOI or write mock")
    if numbers["hours"] is not None and numbers["start_h"] not in (None, numbers["hours"]):
        raise InputError(f"{place}: hours and start_h differ; give one of them")
    return StackEntry(
        path=_beside(path, row["path"]),
        condition=condition,
        plate=row.get("plate", ""),
        place=place.removeprefix(f"{path.parent}{os.sep}").replace(":", ""),
        named_by="the table" if row.get("n_frames", "").isdecimal() else "its name",
        well=normal_well(row.get("well", "")),
        position=row.get("position", ""),
        series=row.get("series", ""),
        listed=True,
        n_named=int(row["n_frames"]) if row.get("n_frames", "").isdecimal() else None,
        **numbers,  # type: ignore[arg-type]
    )


def _beside(table: Path, text: str) -> Path:
    path = Path(os.path.abspath(table.parent / os.path.expanduser(text)))
    if not path.exists() and "\\" in text:  # written on Windows
        return Path(os.path.abspath(table.parent / text.replace("\\", "/")))
    return path


def _misspelled(path: Path, rows: pd.DataFrame) -> list[Problem]:
    optional = [*TEXTS, *NUMBERS]
    free = [name for name in optional if name not in rows.columns]
    problems = []
    for name in rows.columns:
        near = nearest(str(name), free, 0.8)
        if near and name not in optional:
            why = f"column {name} is kept as it is"
            problems.append(note_of(path, why, f"did you mean {near}?"))
    return problems


def read_text_table(path: Path) -> pd.DataFrame:
    """Read the first sheet of a CSV or XLSX file as text, without blanks around names and values.

    Raises:
        InputError: cannot be read as a table.
    """
    rows = [[cell.text for cell in row] for row in read_sheets(path)[0].rows]
    numbers = [number for number, row in enumerate(rows, start=1) if any(row)]
    names = rows[numbers[0] - 1]
    while names and not names[-1]:
        names = names[:-1]
    check_names(path, names)
    for number in numbers[1:]:
        if any(rows[number - 1][len(names) :]):
            raise InputError(f"{path}: row {number} has more cells than the header; correct the row")
    cells = {number: rows[number - 1][: len(names)] for number in numbers[1:]}
    return pd.DataFrame.from_dict(cells, orient="index", columns=names, dtype=object)


def _typed(extra: pd.DataFrame) -> pd.DataFrame:
    typed = extra.copy()
    for name in typed.columns:
        values = pd.to_numeric(typed[name].replace("", "nan"), errors="coerce")
        if values.notna().any() and bool((values.notna() | typed[name].eq("")).all()):
            typed[name] = values
    return typed


def read_quarantine(path: str | Path) -> dict[str, str]:
    """Read a list of stacks to leave out: absolute path to reason.

    Args:
        path: a CSV or XLSX file with the columns ``path`` (relative to the file) and ``reason``.

    Raises:
        InputError: not such a table, or a stack without a reason.
    """
    path = Path(path)
    rows = read_text_table(path)
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} missing; a quarantine list needs path and reason"
        )
    bare = rows.index[rows["reason"].eq("") | rows["path"].eq("")]
    if len(bare):
        raise InputError(f"{path}: row {bare[0]}: path or reason is empty; say why the stack is left out")
    base = Path(os.path.abspath(path)).parent
    return {
        os.path.normpath(base / stack): reason
        for stack, reason in zip(rows["path"], rows["reason"], strict=True)
    }


def write_quarantine(stacks: pd.DataFrame, path: str | Path) -> Path:
    """Write a list that ``data.quarantine`` reads.

    Args:
        stacks: rows with ``path`` (absolute) and ``reason``.
        path: a CSV file; paths in it are relative to it.
    """
    path = Path(path)
    base = os.path.abspath(path.parent)
    rows = stacks[list(COLUMNS)].assign(
        path=[Path(os.path.relpath(stack, base)).as_posix() for stack in stacks["path"]]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        rows.to_csv(partial, index=False)
    return path
