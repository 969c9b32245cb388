"""Where stacks come from: a folder pair, a folder, a plate map or a manifest CSV -> one entry per stack."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from hpiclock.config import DataConfig, FolderPair
from hpiclock.errors import InputError
from hpiclock.plate.entries import Entry, Found
from hpiclock.plate.layout import is_layout
from hpiclock.plate.names import compiled
from hpiclock.plate.platemap import PlateMap, read_platemap
from hpiclock.plate.problems import Problem
from hpiclock.plate.scan import refuse_silent, stacks_in
from hpiclock.plate.sheet import SUFFIXES as SHEETS
from hpiclock.plate.stacks import SUFFIXES
from hpiclock.plate.table import read_table
from hpiclock.plate.wells import Well
from hpiclock.tables import UNKNOWN

PAIRED = ("uninfected", "mock", "control")  # names of the second folder of a pair
HELP = "set data.source to a folder pair, a plate map (.yaml, .csv, .xlsx), a manifest (.csv) or their folder"


def find(data: DataConfig, *, blind: bool = False) -> Found:
    """List the stacks of ``data.source``.

    Args:
        data: the source and its name pattern.
        blind: what was done to the wells need not be said: a folder (or store) of stacks will do.

    Raises:
        InputError: no such source, nothing in it, or a table that cannot be read.
    """
    if isinstance(data.source, FolderPair):
        return _pair(_folder(data.source.infected), _folder(data.source.uninfected), data)
    if not data.source:
        raise InputError(f"data.source is empty; {HELP}")
    path = Path(os.path.abspath(os.path.expanduser(data.source)))
    if path.is_dir():
        return _from_folder(path, data, blind)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; {HELP}")
    if blind and path.suffix.lower() in SUFFIXES:
        return _unmapped_stacks(path, data)
    return _from_file(path, data, blind)


def _from_file(path: Path, data: DataConfig, blind: bool) -> Found:
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_platemap(path, data, blind)
    if path.suffix.lower() in SHEETS:
        return _from_platemap(path, data, blind) if is_layout(path) else read_table(path, data, blind=blind)
    raise InputError(f"{path}: neither a plate map nor a manifest; {HELP}")


def _from_folder(folder: Path, data: DataConfig, blind: bool) -> Found:
    for name in ("plate.yaml", "plate.yml", "plate.csv", "plate.xlsx", "manifest.csv"):
        if (folder / name).is_file():
            return _from_file(folder / name, data, blind)
    second = [folder / name for name in PAIRED if (folder / name).is_dir()]
    if (folder / "infected").is_dir() and second:
        return _pair(folder / "infected", second[0], data)
    maps = sorted(folder.glob("*/plate.yaml"))
    if maps:
        found = [_from_platemap(path, data, blind) for path in maps]
        return Found([e for one in found for e in one.entries], [p for one in found for p in one.problems])
    if blind:
        return _unmapped_stacks(folder, data)
    raise InputError(
        f"{folder}: neither plate.yaml nor manifest.csv nor the folders infected and uninfected in it; {HELP}"
    )


def _pair(infected: Path, mock: Path, data: DataConfig) -> Found:
    pattern = compiled(data.name_pattern, "data.name_pattern")
    shared = Path(os.path.commonpath([infected, mock]))
    entries: list[Entry] = []
    problems: list[Problem] = []
    for folder, condition in ((infected, "infected"), (mock, "mock")):
        named, wrong = stacks_in(folder, pattern)
        entries += [replace(one, condition=condition, plate=one.plate or shared.name) for one in named]
        problems += wrong
    refuse_silent(entries, problems, pattern, "data.name_pattern")
    return Found(entries, problems)


def _unmapped_stacks(place: Path, data: DataConfig) -> Found:
    pattern = compiled(data.name_pattern, "data.name_pattern")
    named, problems = stacks_in(place, pattern)
    refuse_silent(named, problems, pattern, "data.name_pattern")
    return Found([replace(e, condition=UNKNOWN, plate=e.plate or place.name) for e in named], problems)


def _from_platemap(path: Path, data: DataConfig, blind: bool) -> Found:
    plate = read_platemap(path, blind=blind)
    key = f"{path}: pattern" if plate.pattern is not None else "data.name_pattern"
    pattern = compiled(data.name_pattern if plate.pattern is None else plate.pattern, key)
    entries: list[Entry] = []
    problems: list[Problem] = []
    named, wrong = stacks_in(_folder(plate.folder), pattern)
    problems += wrong
    refuse_silent(named, problems, pattern, key)
    for entry in named:
        well = plate.wells.get(entry.well)
        if well is None:
            problems.append(_unmapped(entry, path))
        elif well.exclude:
            why = f"well {entry.well} is left out: {well.exclude}"
            problems.append(Problem(str(entry.path), "note", why))
        else:
            entries.append(_treated(entry, well, plate, path))
    empty = [well for well in plate.wells if not plate.wells[well].exclude]
    empty = [well for well in empty if well not in {entry.well for entry in entries}]
    if empty:
        problems.append(Problem(str(path), "note", f"no stack of well {', '.join(empty)} in {plate.folder}"))
    return Found(entries, problems)


def _unmapped(entry: Entry, path: Path) -> Problem:
    what = f"well {entry.well} is not in the plate map {path}" if entry.well else "its name says no well"
    return Problem(str(entry.path), "error", what, "add the well to the map, with exclude: why, if unused")


def _treated(entry: Entry, well: Well, plate: PlateMap, path: Path) -> Entry:
    more = {"replicate": well.replicate, "virus": well.virus, "compound": well.compound, "dose": well.dose}
    more |= {"dose_unit": well.dose_unit}
    return replace(
        entry,
        plate=plate.plate,
        place=path.name,
        condition=well.condition,
        moi=well.moi,
        onset_h=well.onset_h,
        series=entry.series or well.series,
        interval_h=plate.interval_h,
        start_h=plate.start_h,
        extra=entry.extra
        | {key: value for key, value in more.items() if value not in ("", None)}
        | well.more,
    )


def _folder(text: str) -> Path:
    path = Path(os.path.abspath(os.path.expanduser(text)))
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() in SUFFIXES):
        raise InputError(f"{path}: no such folder; correct data.source")
    return path
