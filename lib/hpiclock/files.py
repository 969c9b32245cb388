"""Writing files so that nothing is half-written, nothing of anyone else is lost and nothing is left over."""

from __future__ import annotations

import atexit
import codecs
import csv
import errno
import hashlib
import os
import re
import shutil
import stat
import struct
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

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


# what numpy raises for an archive of arrays that is damaged
NPZ_FAULTS = (
    OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, MemoryError, RuntimeError,
    OverflowError, BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def check_file(path: str | Path, remedy: str, what: str = "file") -> None:
    """Refuse what is no plain file before it is opened: reading a FIFO or a device may never end.

    Args:
        path: the file to be read.
        remedy: ends the message.
        what: what the file should be, for the message.

    Raises:
        InputError: no such file, a folder, a FIFO, a device, or a name that cannot be.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise InputError(f"{path}: no such {what}; {remedy}") from None
    except (OSError, ValueError) as error:  # a ValueError is a name with a NUL
        raise InputError(f"{path}: cannot be read ({_reason(error)}); {remedy}") from None
    if not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "FIFO" if stat.S_ISFIFO(mode) else "device"
        raise InputError(f"{path}: is a {kind}, not a {what}; {remedy}")


def read_text(path: str | Path, remedy: str, *, most: int, what: str = "file") -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with its byte order mark, without that mark.

    Args:
        path: the file.
        remedy: ends the message of an error.
        most: bytes that it may have.
        what: what the file should be, for the message.

    Raises:
        InputError: no plain file, a larger one, or one that is no text.
    """
    place, save = ("correct the name", remedy) if "UTF-8" in remedy else (remedy, "save it in UTF-8")
    check_file(path, place, what)
    try:
        if (size := os.path.getsize(path)) > most:
            raise InputError(f"{path}: has {size:,} bytes, a {what} may have {most:,}; {remedy}")
        content = Path(path).read_bytes()
        text = content.decode(
            "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}); {remedy}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8; {save}") from None
    if re.search("[\x00-\x08]", text):  # what no text holds
        raise InputError(f"{path}: is not text in UTF-8; {save}")
    return text


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


LEFTOVER = re.compile(r"\..*\.(\d+)-\w{8}\.tmp(\.\w*)?")  # a partial file, with the process that writes it
FULL = (errno.ENOSPC, errno.EDQUOT)
_writing: set[str] = set()  # partial files of this process


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Write to the partial file that this gives; it replaces ``path`` only when all went well.

    Raises:
        InputError: the folder of ``path`` is not there or cannot be written, or ``path`` is a folder.
        OSError: the disk is full; it names ``path``.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    prefix = f".{path.stem[:40]}.{os.getpid()}-"
    try:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=f".tmp{path.suffix}", dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None
    os.close(handle)
    partial = Path(name)
    _writing.add(name)
    try:
        yield partial
        partial.chmod(0o666 & ~umask())
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            error.filename = str(path)
        raise
    finally:
        _writing.discard(name)


def is_leftover(path: Path) -> bool:
    """Return whether this is the partial file of a process that was killed while writing it."""
    found = LEFTOVER.fullmatch(path.name)
    if found is None or str(path) in _writing:
        return False
    if int(found[1]) == os.getpid():  # in a container every process has the same few numbers
        return True
    with suppress(PermissionError):
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            return True
    return False


def sweep(folder: Path) -> None:
    """Remove the partial files that kills have left in a folder and below."""
    for path in filter(is_leftover, list(folder.rglob(".*.tmp*"))):
        path.unlink(missing_ok=True)


def check_output(
    path: str | Path,
    *,
    over: Iterable[str | Path] = (),
    suffixes: tuple[str, ...] = (),
    own: Callable[[Path], bool],
) -> None:
    """Refuse a place for an output file where something would be lost, before anything is computed.

    Args:
        path: where the file will go.
        over: files that are read, or written as well.
        suffixes: the formats that can be written; empty = any.
        own: whether a file that is there is of the kind that is written, and may be replaced.

    Raises:
        InputError: another suffix, a link, a folder, a device or a pipe, an input, a file of another kind,
            or a place that cannot be written.
    """
    path = Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: no format of an output; end the name in {' or '.join(suffixes)}")
    same = {os.path.realpath(other) for other in over}
    if os.path.realpath(path) in same or (path.exists() and any(_is_same(path, other) for other in over)):
        raise InputError(f"{path}: is read or written by this command already; name another file")
    _check_place(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise InputError(f"{path}: is {kind}; name a file")
    if path.is_file() and not own(path):
        raise InputError(f"{path}: is there and was not made by this command; name another file")


def check_output_folder(
    folder: str | Path, *, over: Iterable[str | Path] = (), own: Callable[[Path], bool] = lambda _: False
) -> None:
    """Refuse a folder for outputs that holds anything but earlier outputs of the same kind.

    Args:
        folder: where the files will go.
        over: files that are read.
        own: whether what a folder holds was made by the same command, and may be replaced.

    Raises:
        InputError: not a folder, one that holds other things, or a place that cannot be written.
    """
    folder = Path(folder)
    _check_place(folder, link=folder.is_dir())
    if not folder.exists():
        return
    if not folder.is_dir():
        kind = "a file" if folder.is_file() else "a device or a pipe"
        raise InputError(f"{folder}: is {kind}; name a folder")
    inside = [other for other in over if Path(other).resolve().is_relative_to(folder.resolve())]
    there = [path for path in folder.iterdir() if not is_leftover(path)]
    if inside or (there and not own(folder)):
        holds = f"holds {inside[0]}, which is read" if inside else "is there and not empty"
        raise InputError(f"{folder}: {holds}; name a new folder")


def _is_same(path: Path, other: str | Path) -> bool:
    return os.path.exists(other) and os.path.samefile(path, other)


def _check_place(path: Path, *, link: bool = False) -> None:
    if path.is_symlink() and not link:
        raise InputError(f"{path}: is a link; name what is to be written itself")
    try:
        there = next(place for place in Path(os.path.abspath(path)).parents if place.exists())
    except OSError as error:
        raise cannot_write(path, error) from None
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = errno.ENOTDIR if not there.is_dir() else errno.EACCES
        raise cannot_write(path, OSError(why, os.strerror(why)))


def remove_content(folder: Path, *, and_itself: bool) -> None:
    """Remove what is in a folder, and the folder itself where it was made for it."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if and_itself:
        folder.rmdir()


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write the rows of a table without their index, atomically, text that is a formula as :func:`inert`."""
    table = inert(table)
    words = table.select_dtypes(object)
    returns = any("\r" in str(text) for name in words for text in [name, *words[name].unique()])
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL  # which leaves a carriage return bare
    with atomic(path) as partial:
        table.to_csv(partial, index=False, quoting=quoting)


# What a spreadsheet takes for the start of a formula, and is no number; an apostrophe makes it text.
_FORMULA = re.compile(r"'*(?:[=@\t\r\uff1d\uff20\uff0b\uff0d]|[+-](?!\d*\.?\d*(?:[eE][-+]?\d+)?$))")


def inert(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of which no spreadsheet runs a text or a name: before formulas stands an apostrophe."""
    return _texts(table, lambda text: f"'{text}" if _FORMULA.match(text) else text)


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of which :func:`inert` made this one."""
    return _texts(table, as_text)


def as_text(text: str) -> str:
    """Return the text of which :func:`inert` made this one."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def _texts(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    changed = table.rename(columns=lambda name: change(str(name)))
    for name in changed.columns[
        [str(kind) in ("object", "category", "string", "str") for kind in table.dtypes]
    ]:
        texts = {text: change(text) for text in changed[name].unique() if isinstance(text, str)}
        if any(text != new for text, new in texts.items()):
            changed[name] = [texts.get(value, value) for value in changed[name].astype(object)]
    return changed


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


def spare_home() -> None:
    """Keep libraries out of a home folder in which they have no folder yet, here and in kernels.

    Matplotlib keeps a list of fonts and IPython a profile: both get a folder that goes with this process.
    """
    homes = {
        "MPLCONFIGDIR": "~/.matplotlib ~/.config/matplotlib ~/.cache/matplotlib",
        "IPYTHONDIR": "~/.ipython",
    }
    for name, folders in homes.items():
        if name in os.environ or any(os.path.isdir(os.path.expanduser(one)) for one in folders.split()):
            continue
        os.environ[name] = tempfile.mkdtemp(prefix="hpiclock-")
        atexit.register(shutil.rmtree, os.environ[name], ignore_errors=True)
