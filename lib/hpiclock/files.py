"""Writing files so that nothing is half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hpiclock.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Write to the partial file that this gives; it replaces ``path`` only when all went well.

    Raises:
        InputError: the folder of ``path`` is not there or cannot be written, or ``path`` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.chmod(0o666 & ~umask())
    with open(partial, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(partial, path)


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write the rows of a table without their index, atomically."""
    with atomic(path) as partial:
        table.to_csv(partial, index=False)


def up_to_date(made: Path, source: Path) -> bool:
    """Return whether a file is there and not older than what it was made from."""
    return made.is_file() and made.stat().st_mtime >= source.stat().st_mtime


def umask() -> int:
    """Return the mode bits that new files of this process lack; they can only be read by setting them."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_folder(folder: str | Path) -> Path:
    """Make a folder and its parents where they are missing.

    Raises:
        InputError: it cannot be made, or is a file.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return folder


def cannot_write(path: str | Path, error: OSError) -> InputError:
    """Return the one line that says why nothing can be written there."""
    return InputError(f"{path}: cannot be written ({error.strerror}); name another place")
