"""The image files of a folder: which stacks they hold, and what their names say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from hpiclock.errors import InputError
from hpiclock.plate.entries import Entry, with_groups
from hpiclock.plate.names import parse_name
from hpiclock.plate.problems import Problem
from hpiclock.plate.series import template
from hpiclock.plate.stacks import SUFFIXES, Scene, list_stacks
from hpiclock.progress import progress

MUTE = "its name does not follow the name pattern"


def stacks_in(folder: Path, pattern: re.Pattern[str]) -> tuple[list[Entry], list[Problem]]:
    """List the stacks of a folder and its subfolders.

    The pattern is searched in the file name; of a file with several images in ``file name/image name``,
    unless the file itself says the well. A pattern that names ``frame`` (or days, hours, minutes) makes one
    stack of all files that differ in nothing else.

    Args:
        folder: the folder, or one file or store with many images.
        pattern: the name pattern.

    Returns:
        One entry per stack, without its condition, and a problem for every name without a match.

    Raises:
        InputError: no image file there.
    """
    found: dict[Path, Entry] = {}
    files, problems = _scan(folder)
    for path in progress(files, desc="looking into files", total=len(files), delay=2, leave=False):
        match = pattern.search(path.name)
        numbered = template(path.name, match) if match else None
        scenes = [Scene(str(path.with_name(numbered)))] if numbered else _images(path)
        for scene in scenes:
            groups = parse_name(f"{path.name}/{scene.name}" if len(scenes) > 1 else path.name, pattern)
            entry = Entry(Path(scene.path), well=scene.well, position=scene.position)
            if groups is None and not scene.well:
                remedy = "rename it, move it out, or set data.name_pattern"
                problems.append(Problem(scene.path, "error", MUTE, remedy))
            else:
                found.setdefault(entry.path, with_groups(entry, groups or {}))
    return list(found.values()), problems


def refuse_silent(entries: list[Entry], problems: list[Problem], pattern: re.Pattern[str], key: str) -> None:
    """Refuse a name pattern that is found in no name.

    Raises:
        InputError: it names the pattern, the key it comes from and one of the names.
    """
    mute = [problem for problem in problems if problem.problem == MUTE]
    if mute and not entries:
        name = Path(mute[0].path).name
        raise InputError(
            f"{key}: {pattern.pattern!r} is found in none of {len(mute)} file names, e.g. {name}; "
            "write a pattern for these names (empty = names say nothing) or list the files in a manifest CSV"
        )


def _images(path: Path) -> list[Scene]:
    try:
        return list_stacks(path)
    except InputError:
        return [Scene(str(path))]  # opening it will say what is wrong


def _scan(folder: Path) -> tuple[list[Path], list[Problem]]:
    problems: list[Problem] = []
    files = [folder] if folder.suffix.lower() in SUFFIXES else list(_walk(folder, set(), problems))
    if not files and problems:
        raise InputError(problems[0].line())
    if not files:
        raise InputError(f"{folder}: no image files ({', '.join(SUFFIXES)}) in it; correct data.source")
    return files, problems


def _walk(folder: Path, seen: set[str], problems: list[Problem]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back
        return
    seen.add(real)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        problems.append(Problem(str(folder), "error", why, "check its permissions"))
        return
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if path.suffix.lower() in SUFFIXES:
            yield path
        elif path.is_dir():
            yield from _walk(path, seen, problems)
