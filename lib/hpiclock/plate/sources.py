"""Where stacks come from: a folder pair, a folder, a plate map or a manifest CSV -> one entry per stack."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hpiclock.config import DataConfig, FolderPair
from hpiclock.errors import InputError
from hpiclock.plate.entries import Entry, Found, with_groups
from hpiclock.plate.names import compiled, parse_name
from hpiclock.plate.platemap import PlateMap, read_platemap
from hpiclock.plate.problems import Problem
from hpiclock.plate.stacks import SUFFIXES
from hpiclock.plate.table import read_table

PAIRED = ("uninfected", "mock", "control")  # names of the second folder of a pair
HELP = "set data.source to a folder pair, a plate map (.yaml), a manifest (.csv) or a folder with one of them"


def find(data: DataConfig) -> Found:
    """List the stacks of ``data.source``.

    Raises:
        InputError: no such source, nothing in it, or a table that cannot be read.
    """
    if isinstance(data.source, FolderPair):
        return _pair(_folder(data.source.infected), _folder(data.source.uninfected), data)
    if not data.source:
        raise InputError(f"data.source is empty; {HELP}")
    path = Path(os.path.abspath(os.path.expanduser(data.source)))
    if path.is_dir():
        return _from_folder(path, data)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; {HELP}")
    return _from_file(path, data)


def _from_file(path: Path, data: DataConfig) -> Found:
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_platemap(path, data)
    if path.suffix.lower() == ".csv":
        return read_table(path, data)
    raise InputError(f"{path}: neither a plate map nor a manifest; {HELP}")


def _from_folder(folder: Path, data: DataConfig) -> Found:
    for name in ("plate.yaml", "plate.yml", "manifest.csv"):
        if (folder / name).is_file():
            return _from_file(folder / name, data)
    second = [folder / name for name in PAIRED if (folder / name).is_dir()]
    if (folder / "infected").is_dir() and second:
        return _pair(folder / "infected", second[0], data)
    maps = sorted(folder.glob("*/plate.yaml"))
    if maps:
        found = [_from_platemap(path, data) for path in maps]
        return Found([e for one in found for e in one.entries], [p for one in found for p in one.problems])
    raise InputError(
        f"{folder}: neither plate.yaml nor manifest.csv nor the folders infected and uninfected in it; {HELP}"
    )


def _pair(infected: Path, mock: Path, data: DataConfig) -> Found:
    pattern = compiled(data.name_pattern, "data.name_pattern")
    shared = Path(os.path.commonpath([infected, mock]))
    entries: list[Entry] = []
    problems: list[Problem] = []
    for folder, condition in ((infected, "infected"), (mock, "mock")):
        for path in scan(folder):
            entry, problem = _named(Entry(path, condition), pattern)
            entries += [replace(entry, plate=entry.plate or shared.name)] if entry else []
            problems += [problem] if problem else []
    _refuse_silent(entries, problems, pattern, "data.name_pattern")
    return Found(entries, problems)


def _from_platemap(path: Path, data: DataConfig) -> Found:
    plate = read_platemap(path)
    key = f"{path}: pattern" if plate.pattern is not None else "data.name_pattern"
    pattern = compiled(data.name_pattern if plate.pattern is None else plate.pattern, key)
    entries: list[Entry] = []
    problems: list[Problem] = []
    for stack in scan(_folder(plate.folder)):
        entry, problem = _named(Entry(stack, "mock", plate.plate, place=path.name), pattern)
        problems += [problem] if problem else []
        if entry is not None:
            mapped = _mapped(entry, plate, path)
            (entries if isinstance(mapped, Entry) else problems).append(mapped)  # type: ignore[arg-type]
    _refuse_silent(entries, problems, pattern, key)
    empty = [well for well in plate.wells if not plate.wells[well].exclude]
    empty = [well for well in empty if well not in {entry.well for entry in entries}]
    if empty:
        problems.append(Problem(str(path), "note", f"no stack of well {', '.join(empty)} in {plate.folder}"))
    return Found(entries, problems)


def _mapped(entry: Entry, plate: PlateMap, path: Path) -> Entry | Problem:
    well = plate.wells.get(entry.well)
    if well is None:
        what = f"well {entry.well} is not in the plate map {path}" if entry.well else "its name says no well"
        return Problem(
            str(entry.path), "error", what, "add the well to the map, with exclude: why, if unused"
        )
    if well.exclude:
        return Problem(str(entry.path), "note", f"well {entry.well} is left out: {well.exclude}")
    more = {"replicate": well.replicate, "virus": well.virus, "compound": well.compound, "dose": well.dose}
    more |= {"dose_unit": well.dose_unit}
    return replace(
        entry,
        condition=well.condition,
        moi=well.moi,
        onset_h=well.onset_h,
        series=entry.series or well.series,
        interval_h=plate.interval_h,
        start_h=plate.start_h,
        extra=entry.extra | {key: value for key, value in more.items() if value not in ("", None)},
    )


def _named(entry: Entry, pattern: re.Pattern[str]) -> tuple[Entry | None, Problem | None]:
    groups = parse_name(entry.path.name, pattern)
    if groups is None:
        why = "its name does not follow the name pattern"
        return None, Problem(
            str(entry.path), "error", why, "rename it, move it out, or set data.name_pattern"
        )
    return with_groups(entry, groups), None


def _refuse_silent(entries: list[Entry], problems: list[Problem], pattern: re.Pattern[str], key: str) -> None:
    mute = [problem for problem in problems if "name pattern" in problem.problem]
    if mute and not entries and len(mute) == len(problems):
        name = Path(mute[0].path).name
        raise InputError(
            f"{key}: {pattern.pattern!r} is found in none of {len(mute)} file names, e.g. {name}; "
            "write a pattern for these names (empty = names say nothing) or list the files in a manifest CSV"
        )


def _folder(text: str) -> Path:
    path = Path(os.path.abspath(os.path.expanduser(text)))
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; correct data.source")
    return path


def scan(folder: Path) -> list[Path]:
    """List the image files of a folder and its subfolders, in order; hidden ones are passed over.

    Raises:
        InputError: none there.
    """
    files = list(_walk(folder, set()))
    if not files:
        raise InputError(f"{folder}: no image files ({', '.join(SUFFIXES)}) in it; correct data.source")
    return files


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back
        return
    seen.add(real)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if path.suffix.lower() in SUFFIXES:
            yield path
        elif path.is_dir():
            yield from _walk(path, seen)
