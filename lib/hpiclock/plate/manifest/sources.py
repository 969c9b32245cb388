"""Where stacks come from: a folder pair, a folder, a plate map or a manifest CSV -> one entry per stack."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hpiclock.config.schema import DataConfig, FolderPair
from hpiclock.errors import InputError
from hpiclock.plate.manifest import (
    Problem,
    Source,
    StackEntry,
    compile_pattern,
    complete_from_name,
    error_of,
    note_of,
)
from hpiclock.plate.manifest.manifest_csv import read_manifest_csv
from hpiclock.plate.manifest.plate_maps import PlateMap, WellTreatment, is_layout, read_platemap
from hpiclock.plate.manifest.spreadsheet import SUFFIXES as SHEETS
from hpiclock.plate.readers import SUFFIXES, Scene, list_stacks
from hpiclock.plate.readers.file_series import template
from hpiclock.progress import progress
from hpiclock.tables import UNKNOWN

NO_MATCH = "its name does not follow the name pattern"
MOCK_FOLDERS = ("uninfected", "mock", "control")  # names of the second folder of a pair
HELP = "set data.source to a folder pair, a plate map (.yaml, .csv, .xlsx), a manifest (.csv) or their folder"


def find_stacks(data: DataConfig, *, blind: bool = False) -> Source:
    """List the stacks of ``data.source``.

    Args:
        data: the source and its name pattern.
        blind: conditions may be unknown: a folder (or store) of stacks will do.

    Raises:
        InputError: no such source, nothing in it, or a table that cannot be read.
    """
    if isinstance(data.source, FolderPair):
        return _from_folder_pair(_folder(data.source.infected), _folder(data.source.uninfected), data)
    if not data.source:
        raise InputError(f"data.source is empty; {HELP}")
    path = Path(os.path.abspath(os.path.expanduser(data.source)))
    if path.is_dir():
        return _from_folder(path, data, blind)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; {HELP}")
    if blind and path.suffix.lower() in SUFFIXES:
        return _without_conditions(path, data)
    return _from_file(path, data, blind)


def _from_file(path: Path, data: DataConfig, blind: bool) -> Source:
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_platemap(path, data, blind)
    if path.suffix.lower() in SHEETS:
        return (
            _from_platemap(path, data, blind)
            if is_layout(path)
            else read_manifest_csv(path, data, blind=blind)
        )
    raise InputError(f"{path}: neither a plate map nor a manifest; {HELP}")


def _from_folder(folder: Path, data: DataConfig, blind: bool) -> Source:
    for name in ("plate.yaml", "plate.yml", "plate.csv", "plate.xlsx", "manifest.csv"):
        if (folder / name).is_file():
            return _from_file(folder / name, data, blind)
    second = [folder / name for name in MOCK_FOLDERS if (folder / name).is_dir()]
    if (folder / "infected").is_dir() and second:
        return _from_folder_pair(folder / "infected", second[0], data)
    maps = sorted(folder.glob("*/plate.yaml"))
    if maps:
        found = [_from_platemap(path, data, blind) for path in maps]
        return Source([e for one in found for e in one.entries], [p for one in found for p in one.problems])
    if blind:
        return _without_conditions(folder, data)
    raise InputError(
        f"{folder}: neither plate.yaml nor manifest.csv nor the folders infected and uninfected in it; {HELP}"
    )


def _from_folder_pair(infected: Path, mock: Path, data: DataConfig) -> Source:
    plate = Path(os.path.commonpath([infected, mock])).name
    named, problems = list_folders([infected, mock], data.name_pattern, "data.name_pattern")
    pairs = zip(("infected", "mock"), named, strict=True)
    return Source([entry for one in pairs for entry in _with_condition(*one, plate)], problems)


def _without_conditions(place: Path, data: DataConfig) -> Source:
    (named,), problems = list_folders([place], data.name_pattern, "data.name_pattern")
    return Source(_with_condition(UNKNOWN, named, place.name), problems)


def _with_condition(condition: str, entries: list[StackEntry], plate: str) -> list[StackEntry]:
    return [replace(entry, condition=condition, plate=entry.plate or plate) for entry in entries]


def _from_platemap(path: Path, data: DataConfig, blind: bool) -> Source:
    plate = read_platemap(path, blind=blind)
    key = "data.name_pattern" if plate.pattern is None else f"{path}: pattern"
    pattern = data.name_pattern if plate.pattern is None else plate.pattern
    (named,), problems = list_folders([_folder(plate.folder)], pattern, key)
    entries: list[StackEntry] = []
    for entry in named:
        well = plate.wells.get(entry.well)
        if well is None:
            where = (
                f"well {entry.well} is not in the plate map {path}" if entry.well else "its name says no well"
            )
            remedy = "add the well to the map, with exclude: why, if unused"
            problems.append(error_of(entry.path, where, remedy))
        elif well.exclude:
            problems.append(note_of(entry.path, f"well {entry.well} is left out: {well.exclude}"))
        else:
            entries.append(_treated(entry, well, plate, path))
    imaged = {entry.well for entry in entries}
    empty = [name for name, well in plate.wells.items() if not well.exclude and name not in imaged]
    if empty:
        problems.append(note_of(path, f"no stack of well {', '.join(empty)} in {plate.folder}"))
    return Source(entries, problems)


def _treated(entry: StackEntry, well: WellTreatment, plate: PlateMap, path: Path) -> StackEntry:
    optional = {key: getattr(well, key) for key in ("replicate", "virus", "compound", "dose", "dose_unit")}
    more = {key: value for key, value in optional.items() if value not in ("", None)}
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
        extra=entry.extra | more | well.more,
    )


def _folder(text: str) -> Path:
    path = Path(os.path.abspath(os.path.expanduser(text)))
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() in SUFFIXES):
        raise InputError(f"{path}: no such folder; correct data.source")
    return path


def list_folders(
    folders: Sequence[Path], pattern: str, key: str
) -> tuple[list[list[StackEntry]], list[Problem]]:
    """List the stacks of some folders and their subfolders.

    The pattern is searched in the file name; of a file with several images in ``file name/image name``,
    unless the file itself says the well. A pattern that names ``frame`` (or days, hours, minutes) makes one
    stack of all files that differ in nothing else.

    Args:
        folders: each a folder, or one file or store with many images.
        pattern: the name pattern.
        key: where the pattern stands, for errors.

    Returns:
        Of every folder one entry per stack, without its condition, and a problem for every name without a
        match.

    Raises:
        InputError: no image file in a folder, or a pattern that is found in no name.
    """
    compiled = compile_pattern(pattern, key)
    found: list[list[StackEntry]] = []
    problems: list[Problem] = []
    for folder in folders:
        files = _files(folder, problems)
        bar = progress(files, desc="looking into files", total=len(files), delay=2, leave=False)
        entries = [entry for path in bar for entry in _entries(path, compiled, problems)]
        found.append(list({entry.path: entry for entry in reversed(entries)}.values())[::-1])
    unmatched = [Path(problem.path).name for problem in problems if problem.problem == NO_MATCH]
    if unmatched and not any(found):
        raise InputError(
            f"{key}: {pattern!r} is found in none of {len(unmatched)} file names, e.g. {unmatched[0]}; "
            "write a pattern for these names (empty = names say nothing) or list the files in a manifest CSV"
        )
    return found, problems


def _entries(path: Path, pattern: re.Pattern[str], problems: list[Problem]) -> Iterator[StackEntry]:
    match = pattern.search(path.name)
    numbered = template(path.name, match) if match else None
    scenes = [Scene(str(path.with_name(numbered)))] if numbered else _images(path)
    for scene in scenes:
        entry = StackEntry(Path(scene.path), well=scene.well, position=scene.position)
        name = f"{path.name}/{scene.name}" if len(scenes) > 1 else path.name
        complete = complete_from_name(entry, name, pattern)
        if complete is None and not scene.well:
            remedy = "rename it, move it out, or set data.name_pattern"
            problems.append(error_of(scene.path, NO_MATCH, remedy))
        else:
            yield complete or entry


def _images(path: Path) -> list[Scene]:
    try:
        return list_stacks(path)
    except InputError:
        return [Scene(str(path))]  # opening it will say what is wrong


def _files(folder: Path, problems: list[Problem]) -> list[Path]:
    unreadable: list[Problem] = []
    files = [folder] if folder.suffix.lower() in SUFFIXES else list(_walk(folder, set(), unreadable))
    if not files and unreadable:
        raise InputError(unreadable[0].line())
    if not files:
        raise InputError(f"{folder}: no image files ({', '.join(SUFFIXES)}) in it; correct data.source")
    problems += unreadable
    return files


def _walk(folder: Path, seen: set[str], problems: list[Problem]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back
        return
    seen.add(real)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        problems.append(error_of(folder, f"cannot be read ({error.strerror})", "check its permissions"))
        return
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if path.suffix.lower() in SUFFIXES:
            yield path
        elif path.is_dir():
            yield from _walk(path, seen, problems)
