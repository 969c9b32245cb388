"""Which module reads which files, and how one image of a file that holds several is named.

``FILE`` is a file with one image; ``FILE#2`` is the third image of a file with several. The images of an
OME-Zarr plate have paths of their own (``plate.zarr/B/03/0``), and ``x_t{frame}.tif`` is a series of files.
"""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from hpiclock.errors import InputError
from hpiclock.plate.readers import Reader, Scene


class Format(NamedTuple):
    """Files of these suffixes are read by this module: its ``ImageReader`` and its ``scenes``."""

    suffixes: tuple[str, ...]
    module: str


FORMATS = (
    Format((".tif", ".tiff"), "tiff"),
    Format((".png", ".jpg", ".jpeg"), "stills"),
    Format((".zarr",), "omezarr"),
    Format((".nd2",), "nikon"),
    Format((".czi",), "zeiss"),
    Format((".lif",), "leica"),
)
SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
EXTRA = "pip install 'hpiclock[formats]'"


def open_reader(path: Path) -> Reader:
    """Open one image of a file.

    Raises:
        InputError: no such file, of no known format, or several images and none chosen.
    """
    if "{" in path.name:
        return _module("series", path).ImageReader(path)
    path, number = split_scene(path)
    found = scenes(path) if number is None else []
    if len(found) > 1:
        raise InputError(
            f"{path}: {len(found)} images in one file; name one of them, {found[0].path} to {found[-1].path}"
        )
    return _reading_module(path).ImageReader(path, number or 0)


def scenes(path: Path) -> list[Scene]:
    """List the images that a file holds; none for a file that is only a part of another's image.

    Raises:
        InputError: no such file, or none of a known format.
    """
    return _reading_module(path).scenes(path)


def source_files(path: str | Path) -> list[Path]:
    """List the files from which a stack is read: itself, the files of a series or a set, or a whole store.

    Raises:
        InputError: no such file.
    """
    path = Path(path)
    if "{" in path.name:
        return list(_module("series", path).files_of(path))
    file, _ = split_scene(path)
    if file.is_dir():
        return sorted(Path(folder) / name for folder, _, names in os.walk(file) for name in names)
    module = _reading_module(file)
    return list(module.files_of(file)) if hasattr(module, "files_of") else [file]


def split_scene(path: Path) -> tuple[Path, int | None]:
    """Split ``FILE#2`` into the file and 2; a file whose name is like that stays whole."""
    match = re.fullmatch(r"(.+)#(\d+)", path.name)
    if match is None or path.exists():
        return path, None
    return path.with_name(match[1]), int(match[2])


def _reading_module(path: Path) -> ModuleType:
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: a link to a file that is not there; restore the file or remove the link")
    if not path.exists():
        raise InputError(f"{path}: no such file; correct the path")
    if path.is_dir():
        if not any((path / name).is_file() for name in ("zarr.json", ".zattrs", ".zgroup")):
            raise InputError(f"{path}: a folder, not a file; rename it or take it out")
        return _module("omezarr", path)
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy it again")
    suffix = path.suffix.lower()
    for one in FORMATS:
        if suffix in one.suffixes:
            return _module(one.module, path)
    what = f"of type {suffix}" if suffix else "without a suffix"
    raise InputError(f"{path}: files {what} are not read; known are {', '.join(SUFFIXES)}")


def _module(name: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(f"hpiclock.plate.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hpiclock"):
            raise
        raise InputError(f"{path}: reading it needs the package {error.name}; {EXTRA}") from None
