"""What must be known before a TIFF is read: its OME-XML, whose image it is, what tifffile says of it."""

from __future__ import annotations

import logging
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tifffile

from hpiclock.errors import InputError
from hpiclock.plate.omexml import read_ome
from hpiclock.plate.readers import Scene, first_line


def scenes(path: Path) -> list[Scene]:
    """List the images of a file; of an OME-TIFF set, each image belongs to the first file that holds it.

    Raises:
        InputError: not a TIFF file, or OME-XML that cannot be read.
    """
    text = ome_text(path)
    if not text:
        return [Scene(str(path))]
    images = read_ome(path, text)
    found = []
    for number, image in enumerate(images):
        there = [name for name in image.files if (path.parent / name).exists()]
        if not there or there[0] == path.name:
            own = str(path) if len(images) == 1 else f"{path}#{number}"
            found.append(Scene(own, image.name, image.well, image.position))
    return found


def files_of(path: Path) -> list[Path]:
    """List the files of the OME-TIFF set to which a file belongs; itself where it stands alone."""
    text = ome_text(path)
    named = {name for image in read_ome(path, text) for name in image.files} if text else set()
    return sorted({path, *(path.parent / name for name in named if (path.parent / name).is_file())})


def ome_text(path: Path) -> str:
    """The OME-XML of a file, or of the companion file that it names; empty where there is none."""
    with ExitStack() as opened:
        handle = opened.enter_context(tifffile.FileHandle(path))
        try:
            with LISTENER.collecting():
                tiff = opened.enter_context(tifffile.TiffFile(handle))
                text = tiff.pages.first.description if tiff.is_ome else ""
        except (ValueError, KeyError, IndexError, struct.error) as error:
            raise InputError(why_not(path, error)) from None
    other = re.search(r"<(?:\w+:)?BinaryOnly[^>]*MetadataFile=\"([^\"]+)\"", text)
    if other is None:
        return text
    master = path.parent / other[1]
    if not master.is_file():
        raise InputError(f"{path}: a part of an OME-TIFF set; put {other[1]}, which describes it, beside it")
    return ome_text(master) if master.suffix != ".ome" else master.read_text(encoding="utf-8")


def why_not(path: Path, error: Exception) -> str:
    """Return the line for a file that tifffile refuses: damaged, or no TIFF at all."""
    with open(path, "rb") as stream:
        magic = stream.read(4)
    if magic[:2] in (b"II", b"MM"):
        return f"{path}: cut short or damaged ({first_line(error)}); copy it again"
    return f"{path}: not a TIFF file, whatever its name says; export it as TIFF or take it out of the folder"


class Listener(logging.Handler):
    """Collects what tifffile logs in this thread: it reports damage in log lines and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._local = threading.local()
        tifffile.logger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message while this thread collects."""
        messages = getattr(self._local, "messages", None)
        if messages is not None:
            messages.append(record.getMessage())

    @contextmanager
    def collecting(self) -> Iterator[list[str]]:
        """Give the list that fills while the block runs."""
        messages: list[str] = []
        self._local.messages = messages
        try:
            yield messages
        finally:
            self._local.messages = None


LISTENER = Listener()
