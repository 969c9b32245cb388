"""Where stacks come from: a folder pair, a folder, a plate map or a manifest CSV -> one entry per stack.

Also the quarantine list: stacks that are left out, and why.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hpiclock.acquisition import COLUMNS as ACQUISITION
from hpiclock.acquisition import EMPTY_FRAMES
from hpiclock.config.schema import MOST_H, DataConfig, FolderPair
from hpiclock.errors import InputError
from hpiclock.files import check_file, write_csv
from hpiclock.plate.manifest import Problem, Source, StackEntry, error_of, note_of, plate_maps
from hpiclock.plate.manifest.plate_maps import SHEETS, PlateMap, WellTreatment
from hpiclock.plate.readers import SUFFIXES, Scene, list_stacks, source_files
from hpiclock.plate.readers.stills import PLACES, template
from hpiclock.progress import progress
from hpiclock.tables import (
    MANIFEST,
    PREDICTIONS,
    TIME_HEADS,
    UNKNOWN,
    check_names,
    misspelled,
    other_unit,
    plain_name,
)
from hpiclock.wells import normal_well

NO_MATCH = "its name does not follow the name pattern"
MOCK_FOLDERS = ("uninfected", "mock", "control")  # names of the second folder of a pair
# columns of a manifest CSV; what is measured is read from the files again
REQUIRED = ("path", "condition")
TEXTS = ("plate", "well", "position", "series")
NUMBERS = ("moi", "interval_h", "start_h", "onset_h", "hours")
MEASURED = ("stack_id", "n_frames", "height", "width", "dtype", "times_h", *ACQUISITION, EMPTY_FRAMES)
PICKED = ("channel", "z")  # by the config, for all stacks
# what the programs of microscopes, cameras and computers put beside the pictures
SERVICE = ("@eadir", "__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "#recycle", "lost+found")
THUMBNAIL = "_thumb"
_FRAMES = re.compile(r"_t(\d+)-(\d+)(?!\d)")
_NO_TEXT = re.compile("[\\x00-\\x1f\\x7f\\ud800-\\udfff]")  # control characters, bytes that are no UTF-8
COMPANIONS = {".yaml", ".yml", ".json", ".xml", ".ome", ".txt", ".md", ".log", ".pdf", ".html"}
QUARANTINE = ("path", "reason")
READ = (*REQUIRED, *TEXTS, *NUMBERS, *MEASURED, *PICKED, "allocation")
KNOWN = {*REQUIRED, *TEXTS, *NUMBERS, *MEASURED, *PICKED, *QUARANTINE}
# columns that a source cannot have: they are made from it
RESERVED = {*PREDICTIONS.columns} - {*MANIFEST.columns, *NUMBERS}
RESERVED |= {
    *MEASURED,
    *PICKED,
    "called",
    "member",
    "distance",
    "p_calibrated",
    "p_infected_sd",
    "time_pred_sd",
    *TIME_HEADS,
}
HELP = "set data.source to a folder pair, a plate map (.yaml, .csv, .xlsx), a manifest (.csv) or their folder"


def find_stacks(data: DataConfig, *, blind: bool = False) -> Source:
    """List the stacks of ``data.source``.

    Args:
        data: the source and its name pattern.
        blind: conditions may be unknown: a folder (or store) of stacks will do.

    Raises:
        InputError: no such source, nothing in it, a table that cannot be read, or a column that is made.
    """
    source = _find_stacks(data, blind)
    if made := sorted(RESERVED & {key for entry in source.entries for key in entry.extra}):
        why = "is what hpiclock makes"
        if picked := [name for name in made if name in PICKED]:
            made, why = picked, f"is not read, data.{picked[0]} picks it for all stacks"
        raise InputError(f"{data.source}: column {', '.join(made)} {why}; give it another name")
    return source


def _find_stacks(data: DataConfig, blind: bool) -> Source:
    if isinstance(data.source, FolderPair):
        infected, mock = _folder(data.source.infected), _folder(data.source.uninfected)
        return _from_folders({"infected": infected, "mock": mock}, data)
    if not data.source:
        raise InputError(f"data.source is empty; {HELP}")
    path = Path(os.path.abspath(os.path.expanduser(data.source)))
    if os.path.isdir(path):
        return _from_folder(path, data, blind)
    check_file(path, f"{HELP}, or make a simulated plate: hpiclock synth {data.source}", "file or folder")
    if blind and path.suffix.lower() in SUFFIXES:
        return _from_folders({UNKNOWN: path}, data)
    return _from_file(path, data, blind)


def _from_file(path: Path, data: DataConfig, blind: bool) -> Source:
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml") or (suffix in plate_maps.SHEETS and plate_maps.is_layout(path)):
        return _from_platemap(path, data, blind)
    if suffix in plate_maps.SHEETS:
        return read_manifest_csv(path, data, blind=blind)
    raise InputError(f"{path}: neither a plate map nor a manifest; {HELP}")


def _from_folder(folder: Path, data: DataConfig, blind: bool) -> Source:
    names = ("plate.yaml", "plate.yml", "plate.csv", "plate.xlsx", "manifest.csv")
    if held := [name for name in names if (folder / name).is_file()]:
        source = _from_file(folder / held[0], data, blind)
        why = f"is read, {', '.join(held[1:])} beside it is not"
        passed_over = [note_of(folder / held[0], why, "name the other in data.source, or take one out")]
        return source._replace(problems=[*source.problems, *passed_over[: len(held) - 1]])
    second = [folder / name for name in MOCK_FOLDERS if (folder / name).is_dir()]
    if (folder / "infected").is_dir() and second:
        return _from_folders({"infected": folder / "infected", "mock": second[0]}, data)
    maps = sorted(folder.glob("*/plate.yaml"))
    if maps:
        found = [_from_platemap(path, data, blind) for path in maps]
        return Source([e for one in found for e in one.entries], [p for one in found for p in one.problems])
    if blind:
        return _from_folders({UNKNOWN: folder}, data)
    raise InputError(
        f"{folder}: neither plate.yaml nor manifest.csv nor the folders infected and uninfected in it; {HELP}"
    )


def _from_folders(folders: dict[str, Path], data: DataConfig) -> Source:
    """The stacks of one folder per condition; the folder above all of them names the plate."""
    plate = Path(os.path.commonpath(folders.values())).name
    named, problems = list_folders(list(folders.values()), data.name_pattern, "data.name_pattern")
    entries = [
        replace(entry, condition=condition, plate=entry.plate or plate)
        for condition, found in zip(folders, named, strict=True)
        for entry in found
    ]
    return Source(entries, problems)


def _from_platemap(path: Path, data: DataConfig, blind: bool) -> Source:
    plate = plate_maps.read_platemap(path, blind=blind)
    columns = {key for well in plate.wells.values() for key in well.more}
    if len({well.more.get("plate") for well in plate.wells.values()}) == 1:
        columns -= {"plate"}  # one name for all wells tells nothing apart
    if of_stacks := sorted(columns & {*TEXTS, *NUMBERS, *MEASURED}):
        remedy = "take it out, or list the stacks with it in a manifest CSV (with a column path)"
        raise InputError(f"{path}: column {', '.join(of_stacks)} is of stacks, not of wells; {remedy}")
    key = "data.name_pattern" if plate.pattern is None else f"{path}: pattern"
    pattern = data.name_pattern if plate.pattern is None else plate.pattern
    (named,), problems = list_folders([_folder(plate.folder)], pattern, key)
    entries: list[StackEntry] = []
    for entry in named:
        well = plate.wells.get(entry.well)
        if well is None:
            where = f"well {entry.well} is not in the plate map {path}"
            remedy = "add the well to the map, with exclude: why, if unused"
            if not entry.well:
                where, remedy = "its name says no well", f"name it in {key}: (?P<well>...), or row and column"
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
    keys = ("replicate", "block", "virus", "compound", "dose", "dose_unit")
    optional = {key: getattr(well, key) for key in keys} | {"allocation": plate.allocation}
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
    if not os.path.isdir(path) and not (os.path.isfile(path) and path.suffix.lower() in SUFFIXES):
        raise InputError(f"{path}: no such folder; correct data.source")
    return path


Listed = tuple[list[list[StackEntry]], list[Problem]]


def list_folders(folders: Sequence[Path], pattern: str, key: str) -> Listed:
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
        films: dict[Path, list[StackEntry]] = {}  # by its path, or the template of the parts of one
        partless = [path for path in bar if not _list_file(path, folder, compiled, films, problems)]
        entries = [
            mine[0] if len(mine) == 1 else replace(mine[0], path=film, n_named=None, first_frame=None)
            for film, mine in films.items()
        ]
        problems += _unowned(partless, entries)
        found.append(entries)
    unmatched = [Path(problem.path).name for problem in problems if problem.problem == NO_MATCH]
    if unmatched and not any(found):
        usual = pattern == DataConfig().name_pattern  # a regular expression that its reader did not write
        wanted = "a name such as s1_B03_p2 (series, well, position)" if usual else repr(pattern)
        raise InputError(
            f"{key}: {wanted} is found in none of {len(unmatched)} file names, e.g. {unmatched[0]}; "
            "write a pattern for these names (with / in it, it is searched in the path below the folder; "
            "empty = names say nothing) or list the files in a manifest CSV"
        )
    return found, problems


def _list_file(
    path: Path,
    folder: Path,
    pattern: re.Pattern[str],
    films: dict[Path, list[StackEntry]],
    problems: list[Problem],
) -> int:
    """Add the stacks of a file to ``films``; return how many images it holds, or is a part of by its name."""
    # most patterns are of the file's name alone; one with a folder in it sees where the file lies
    below = path.relative_to(folder).as_posix() if "/" in pattern.pattern and path != folder else path.name
    above = Path(str(path)[: -len(below)])
    match = pattern.search(below)
    numbered = template(below, match) if match else None
    scenes = [Scene(str(above / numbered))] if numbered else _images(path)
    for scene in scenes:
        entry = StackEntry(Path(scene.path), well=scene.well, position=scene.position, series=scene.series)
        name = f"{below}/{scene.name}" if len(scenes) > 1 else below
        complete = complete_from_name(entry, name, pattern)
        if complete is None and not scene.well:
            remedy = "rename it, move it out, or set data.name_pattern"
            problems.append(error_of(scene.path, NO_MATCH, remedy))
            continue
        film = template(below, match, parts=True) if match and len(scenes) == 1 and not numbered else None
        mine = films.setdefault(above / film if film else entry.path, [])
        if not numbered or not mine:
            mine.append(complete or entry)
    return len(scenes)


def _unowned(paths: list[Path], entries: list[StackEntry]) -> list[Problem]:
    """A note for files that hold no stack of their own and are part of none that is listed."""
    if not paths:
        return []
    used = {file for entry in entries for file in _files_of(entry.path)}
    why = "holds no stack of its own and is part of none that is listed"
    return [
        note_of(path, why, "its set is described by another file: put them together")
        for path in paths
        if path not in used
    ]


def _files_of(path: Path) -> list[Path]:
    try:
        return source_files(path)
    except InputError:
        return []  # opening it will say what is wrong


def _images(path: Path) -> list[Scene]:
    try:
        return list_stacks(path)
    except InputError:
        return [Scene(str(path))]  # opening it will say what is wrong


def _files(folder: Path, problems: list[Problem]) -> list[Path]:
    if folder.suffix.lower() in SUFFIXES:
        return [folder]
    unreadable: list[Problem] = []
    other: list[Path] = []
    files = list(_walk(folder, set(), unreadable, other))
    if not files and unreadable:
        raise InputError(unreadable[0].line())
    if not files:
        held = f" (there are {_suffixes(other)})" if other else ""
        raise InputError(f"{folder}: no image files ({', '.join(SUFFIXES)}) in it{held}; correct data.source")
    problems += unreadable
    if other:
        why = f"{len(other)} files of other kinds are passed over ({_suffixes(other)}), the first {other[0]}"
        problems.append(note_of(folder, why))
    return files


def _suffixes(paths: list[Path]) -> str:
    kinds = Counter(THUMBNAIL if THUMBNAIL in path.stem else path.suffix or "no suffix" for path in paths)
    return ", ".join(f"{kind}: {n}" for kind, n in kinds.most_common(5))


def _walk(folder: Path, seen: set[str], problems: list[Problem], other: list[Path]) -> Iterator[Path]:
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
        if name.startswith(".") or name.lower() in SERVICE:
            continue
        if _NO_TEXT.search(name):
            shown = os.fsencode(path).decode("utf-8", "backslashreplace")
            shown = _NO_TEXT.sub(lambda odd: repr(odd[0])[1:-1], shown)
            problems.append(error_of(shown, "its name is not text in UTF-8", "rename it"))
        elif THUMBNAIL in path.stem.lower():
            other.append(path)
        elif path.suffix.lower() in SUFFIXES:
            yield path
        elif path.is_dir():
            yield from _walk(path, seen, problems, other)
        elif path.suffix.lower() not in (*SHEETS, *COMPANIONS):
            other.append(path)


def complete_from_name(entry: StackEntry, name: str, pattern: re.Pattern[str]) -> StackEntry | None:
    """Fill in what a file name says and the source does not; None where the pattern is not found in it.

    The named groups ``plate well position series`` are the entry's own fields, ``first_frame last_frame`` say
    how many frames the file should hold, and all others become columns.
    """
    match = pattern.search(name)
    if match is None:
        return None
    groups = {key: value for key, value in match.groupdict().items() if value is not None}
    first, last = groups.pop("first_frame", ""), groups.pop("last_frame", "")
    if (
        "first_frame" not in pattern.groupindex
    ):  # a pattern of a person's own need not name what all names say
        frames = _FRAMES.search(name)
        first, last = frames.groups() if frames else ("", "")
    counted = first.isdecimal() and last.isdecimal()
    n_named = int(last) - int(first) + 1 if counted else None
    if "row" in groups and "column" in groups and "well" not in groups:
        row = f"R{groups['row']}C" if groups["row"].isdecimal() else groups["row"]
        groups["well"] = row + groups["column"]
    groups["well"] = normal_well(groups.get("well", ""))
    places: dict[str, Any] = {key: getattr(entry, key) or groups.get(key, "") for key in TEXTS}
    more = {key: value for key, value in groups.items() if key not in (*TEXTS, *PLACES)}
    n_named = n_named if entry.n_named is None else entry.n_named
    first_frame = int(first) if counted else entry.first_frame
    return replace(entry, n_named=n_named, first_frame=first_frame, extra=more | entry.extra, **places)


def compile_pattern(pattern: str, place: str) -> re.Pattern[str]:
    """Compile a name pattern.

    Args:
        pattern: a regular expression with named groups.
        place: the key that holds it, for the error.

    Raises:
        InputError: not a regular expression, or a group that would be passed over.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"{place}: {pattern!r} is not a regular expression ({error})") from None
    if unread := sorted({*compiled.groupindex} & {*REQUIRED, *NUMBERS, "exclude"} - {*PLACES}):
        remedy = "give the group another name, or list the stacks with it in a manifest CSV"
        raise InputError(f"{place}: {unread[0]} is not read from names; {remedy}")
    return compiled


def read_manifest_csv(path: Path, data: DataConfig, *, blind: bool = False) -> Source:
    """Read a manifest CSV; ``blind``: a stack without a condition is of an unknown one.

    Raises:
        InputError: not such a table, or a value that cannot be; the message names row and column.
    """
    rows = read_text_table(path)
    for name, hint in other_unit(rows.columns, ("interval_h", "start_h", "onset_h", "hours")).items():
        raise InputError(f"{path}: column {name}: {hint}")
    for name, hint in misspelled(rows.columns, (*READ, *plate_maps.KEYS)).items():
        raise InputError(f"{path}: unknown column {name}; {hint}")
    if blind:
        condition = rows["condition"] if "condition" in rows.columns else pd.Series("", rows.index)
        rows = rows.assign(condition=condition.mask(condition.eq(""), UNKNOWN))
    missing = [name for name in REQUIRED if name not in rows.columns]
    if missing:
        lacks = f"column {', '.join(missing)} missing (there are {', '.join(rows.columns)})"
        raise InputError(f"{path}: {lacks}; a manifest needs path and condition")
    if rows.empty:
        raise InputError(f"{path}: no rows in it; list one stack per row")
    if "exclude" in rows.columns and not rows["exclude"].str.lower().isin(plate_maps.NOT).all():
        raise InputError(f"{path}: column exclude: stacks are left out by data.quarantine; take it out")
    pattern = compile_pattern(data.name_pattern, "data.name_pattern")
    extra = _typed(rows.drop(columns=[*REQUIRED, *TEXTS, *NUMBERS, *MEASURED], errors="ignore"))
    stated = _typed(rows[rows.columns.intersection(MEASURED)]).to_dict("index")
    entries = []
    for index, row in zip(rows.index, rows.to_dict("records"), strict=True):
        place = f"{path}: row {index}"
        entry = _entry(path, place, {str(key): str(value) for key, value in row.items()})
        more = {str(key): value for key, value in extra.loc[index].to_dict().items()}
        entry = complete_from_name(entry, entry.path.name, pattern) or entry
        plate = entry.plate or Path(os.path.abspath(path)).parent.name
        entries.append(replace(entry, plate=plate, extra=entry.extra | more, stated=stated[index]))
    return Source(entries, [])


def _entry(path: Path, place: str, row: dict[str, str]) -> StackEntry:
    try:
        condition = plate_maps.read_condition(row["condition"])
    except ValueError as error:
        raise InputError(f"{place}, column condition: {error}") from None
    if not row["path"]:
        raise InputError(f"{place}, column path: is empty; every row names a file")
    numbers = {name: plate_maps.number_in(row.get(name, ""), f"{place}, column {name}") for name in NUMBERS}
    for name, value in numbers.items():
        low, high = {"moi": (0.0, 1e6), "interval_h": (math.ulp(0.0), MOST_H)}.get(name, (-MOST_H, MOST_H))
        if value is not None and not low <= value <= high:
            raise InputError(f"{place}, column {name}: {row[name]} cannot be; write a number it can have")
    n_frames = row.get("n_frames", "")
    if n_frames and not (n_frames.isdecimal() and len(n_frames) < 10):
        raise InputError(f"{place}, column n_frames: {n_frames!r} is not a whole number; correct it")
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
        named_by="the table" if n_frames else "its name",
        well=normal_well(row.get("well", "")),
        position=row.get("position", ""),
        series=row.get("series", ""),
        listed=True,
        n_named=int(n_frames) if n_frames else None,
        **numbers,  # type: ignore[arg-type]
    )


def _beside(table: Path, text: str) -> Path:
    path = Path(os.path.abspath(table.parent / os.path.expanduser(text)))
    if not os.path.exists(path) and "\\" in text:  # written on Windows
        return Path(os.path.abspath(table.parent / text.replace("\\", "/")))
    return path


def read_text_table(path: Path) -> pd.DataFrame:
    """Read the first sheet of a CSV or XLSX file as text, without blanks around names and values.

    Raises:
        InputError: cannot be read as a table.
    """
    rows = [[cell.text for cell in row] for row in plate_maps.read_sheets(path)[0].rows]
    numbers = [number for number, row in enumerate(rows, start=1) if any(row)]
    names = [plain if (plain := plain_name(name)) in KNOWN else name for name in rows[numbers[0] - 1]]
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
    missing = [name for name in QUARANTINE if name not in rows.columns]
    if missing:
        lacks = f"column {', '.join(missing)} missing"
        raise InputError(f"{path}: {lacks}; a quarantine list needs path and reason")
    bare = rows.index[rows["reason"].eq("") | rows["path"].eq("")]
    if len(bare):
        raise InputError(f"{path}: row {bare[0]}: path or reason is empty; say why the stack is left out")
    base = Path(os.path.abspath(path)).parent
    stacks = [os.path.normpath(base / stack) for stack in rows["path"]]
    return dict(zip(stacks, rows["reason"], strict=True))


def write_quarantine(stacks: pd.DataFrame, path: str | Path) -> Path:
    """Write a list that ``data.quarantine`` reads.

    Args:
        stacks: rows with ``path`` (absolute) and ``reason``.
        path: a CSV file; paths in it are relative to it.
    """
    path = Path(path)
    base = os.path.abspath(path.parent)
    relative = [Path(os.path.relpath(stack, base)).as_posix() for stack in stacks["path"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(stacks[list(QUARANTINE)].assign(path=relative), path)
    return path
