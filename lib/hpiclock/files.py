"""Writing files so that nothing is half-written."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hpiclock.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


_NO_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # reserved by Windows
_LONGEST = 120  # bytes: leaves room for what callers put before and after it, of 255
_DIGEST = re.compile(r"-[0-9a-f]{8}$")


def safe_name(text: str, taken: Container[str] = ()) -> str:
    """Return a name for a file or folder, made of any text (a plate, a value, a run) and in one folder.

    A text that is a fit name stays as it is. Of any other what can be kept is kept, and a digest of the text
    follows, so that two texts have two names.

    Args:
        text: any text.
        taken: names in lower case that are given away: on some disks ``P1`` and ``p1`` are one file.
    """
    plain = "".join(c if c.isalnum() or c in "-_.+ " else "-" for c in unicodedata.normalize("NFC", text))
    kept = plain.encode()[:_LONGEST].decode(errors="ignore").strip(". ")
    fit = kept == text and kept and not _NO_NAME.fullmatch(kept) and not _DIGEST.search(kept)
    if fit and kept.lower() not in taken:
        return kept
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{kept}-{digest}" if kept and not _NO_NAME.fullmatch(kept) else f"_{kept}-{digest}"


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
