"""TIFF files (plain multi-page, ImageJ, OME-TIFF) through tifffile, and what their OME-XML says.

The XML is read with ElementTree: ``ome-types`` takes some 15 times as long (4 s for 20,000 planes, at every
opening), and refuses XML of older schemas unless lxml is there, and any without a namespace.
"""

from __future__ import annotations

import logging
import math
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import tifffile

from hpiclock.errors import InputError
from hpiclock.plate import readers
from hpiclock.plate.readers import RGB, Reader, Scene, StackFacts
from hpiclock.wells import well_name

# what tifffile says, as a log line only, of a file whose end is missing
_DAMAGE = ("invalid page offset", "invalid value offset", "corrupt", "invalid tag", "series raised")


class ImageReader(Reader):
    """One image series of a TIFF file; pages are read on demand."""

    DAMAGE = (ValueError, KeyError, IndexError, struct.error)

    @classmethod
    def scenes(cls, path: Path) -> list[Scene]:
        """List the images of a file; of an OME-TIFF set, each image belongs to the first file that holds it.

        Raises:
            InputError: not a TIFF file, or OME-XML that cannot be read.
        """
        text = cls._ome_text(path)
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

    @classmethod
    def files(cls, path: Path) -> list[Path]:
        """List the files of the OME-TIFF set to which a file belongs; itself where it stands alone."""
        text = cls._ome_text(path)
        named = {name for image in read_ome(path, text) for name in image.files} if text else set()
        return sorted({path, *(path.parent / name for name in named if (path.parent / name).is_file())})

    @classmethod
    def _damaged(cls, path: Path, error: Exception) -> InputError:
        with open(path, "rb") as stream:
            magic = stream.read(4)
        if magic[:2] in (b"II", b"MM"):
            return InputError(f"{path}: cut short or damaged ({readers.first_line(error)}); copy it again")
        remedy = "export it as TIFF or take it out of the folder"
        return InputError(f"{path}: not a TIFF file, whatever its name says; {remedy}")

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> tuple[Any, str]:
        """Return tifffile's file and its OME-XML."""
        xml = cls._ome_text(path)
        # its own handle: tifffile leaves the file open when it refuses it
        handle = opened.enter_context(tifffile.FileHandle(path))
        with LISTENER.collecting() as messages:
            tiff = opened.enter_context(tifffile.TiffFile(handle, omexml=xml or None))
            n_series = len(tiff.series)
        damage = [text for text in messages if any(sign in text.lower() for sign in _DAMAGE)]
        if damage:
            what = re.sub(r"^<tifffile[^>]*> |<TiffTag.fromfile> raised ", "", damage[0])
            if tiff.is_ome and "series raised" in damage[0]:
                raise InputError(f"{path}: its OME-XML cannot be read ({what}); export the file again")
            raise InputError(f"{path}: cut short or damaged ({what}); copy it again")
        if n_series == 0:
            raise InputError(f"{path}: a TIFF file without an image; take it out of the folder")
        return tiff, xml

    @classmethod
    def _ome_text(cls, path: Path) -> str:
        """The OME-XML of a file, or of the companion file that it names; empty where there is none."""
        with (
            cls._faults_named(path),
            tifffile.FileHandle(path) as handle,
            LISTENER.collecting(),
            tifffile.TiffFile(handle) as tiff,
        ):
            text = tiff.pages.first.description if tiff.is_ome else ""
        other = re.search(r"<(?:\w+:)?BinaryOnly[^>]*MetadataFile=\"([^\"]+)\"", text)
        if other is None:
            return text
        master = path.parent / other[1]
        if not master.is_file():
            remedy = f"put {other[1]}, which describes it, beside it"
            raise InputError(f"{path}: a part of an OME-TIFF set; {remedy}")
        return cls._ome_text(master) if master.suffix != ".ome" else master.read_text(encoding="utf-8")

    def _read_facts(self) -> StackFacts:
        self._tiff, xml = self._file
        everything = self._tiff.series
        self._ome = self._ome_image(xml, self.scene, len(everything))
        if len(everything) > 1 and self._ome is None:
            sizes_ = ", ".join(" x ".join(map(str, one.shape)) for one in everything[:3])
            raise self.error(f"pages of different sizes ({sizes_}); save one size per file")
        self._series = series = everything[self.scene]
        self._page_axes = series.keyframe.axes
        self._contiguous = series.dataoffset
        # pages of a contiguous stack are found by arithmetic: reading their tags takes 20 times as long
        self._pages = [] if self._contiguous is not None else list(series.pages)
        self._check_complete()
        self._imagej = (self._tiff.imagej_metadata if series.kind == "imagej" else None) or {}
        sizes = dict(zip(series.axes, series.shape, strict=True))
        if sizes.get("C", 1) > 1 and "S" in sizes:
            raise self.error("colour images in several channels; save the channels as grey images")
        notes: list[str] = []
        self._inverted = self._stored_inverted(notes)
        self._time = self._time_axis(sizes, notes)
        n_frames = sizes.pop(self._time, 1)
        names = self._ome.channels if self._ome is not None else ()
        colours = sizes.get("S", 0)
        channels = readers.channel_names(names, colours or sizes.get("C", 1))
        interval_h, times_h = self._timing(n_frames, notes)
        return self._facts(
            sizes | {"T": n_frames},
            series.dtype,
            interval_h=interval_h,
            times_h=times_h,
            channels=RGB[:colours] if colours >= 3 else channels,
            axes=series.axes,
            pixel_um=self._pixel_um(),
            bit_depth=self._bit_depth(),
            notes=tuple(notes),
        )

    def _ome_image(self, text: str, scene: int, n_scenes: int) -> OmeImage | None:
        if not text or self._tiff.series[0].kind != "ome":
            return None
        images = read_ome(self.path, text)
        if scene >= len(images):
            raise self.error(f"no image {scene}; it holds images 0-{len(images) - 1}")
        if len(images) != n_scenes:  # tifffile leaves out images without a plane, so numbers would shift
            raise self.error(
                f"{len(images) - n_scenes} of the {len(images)} images in its OME-XML have no "
                "planes; put all files of the set into one folder, or export it again"
            )
        return images[scene]

    def _stored_inverted(self, notes: list[str]) -> bool:
        """Whether 0 is shown as white; numbers that are no grey levels at all are refused."""
        page = self._series.keyframe
        shown = tifffile.PHOTOMETRIC
        stated = "PhotometricInterpretation" in page.tags
        decoded = page.photometric == shown.YCBCR and page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS
        if not stated or decoded or page.photometric in (shown.MINISBLACK, shown.RGB):  # codecs give RGB
            return False
        if page.photometric == shown.MINISWHITE and page.dtype.kind == "u":
            notes.append("its grey levels are stored inverted (0 is white); they are read as shown")
            return True
        ramp = page.colormap if page.photometric == shown.PALETTE else None
        if ramp is not None and (ramp == ramp[0]).all() and (np.diff(ramp[0].astype(float)) >= 0).all():
            return False  # a grey palette, from black to white
        raise self.error(
            f"its numbers are {getattr(page.photometric, 'name', page.photometric)}, not grey levels or RGB; "
            "save it as greyscale (ImageJ: Image > Lookup Tables > Grays, then Image > Type)"
        )

    def _bit_depth(self) -> int | None:
        stated = self._ome.bit_depth if self._ome is not None else None
        stored: int = self._series.keyframe.bitspersample
        bits = stated or stored
        return bits if bits != 8 * self._series.dtype.itemsize else None

    def _check_complete(self) -> None:
        if self._contiguous is not None:
            end, size = self._contiguous + self._series.nbytes, self._tiff.filehandle.size
            self._tiff.pages[len(self._tiff.pages) - 1]  # fails where the tags of the last page are cut
            if end > size:
                raise self.error(f"cut short: {size} bytes of {end} are there; copy it again")
        for number, page in enumerate(self._pages, start=1):
            if page is not None and _end(page) > page.parent.filehandle.size:
                where = f"page {number} of {len(self._pages)} ends beyond the end of the file"
                raise self.error(f"cut short: {where}; copy it again")
        holes = [number for number, page in enumerate(self._pages) if page is None]
        if holes:
            raise self.error(
                f"{len(holes)} planes that its OME-XML promises are missing (the first is plane "
                f"{holes[0]}); put all files of the set into one folder, or export it again"
            )

    def _time_axis(self, sizes: dict[str, int], notes: list[str]) -> str:
        """Return the axis that is time.

        ImageJ calls the pages of any plain stack slices; they are focus planes only if it says so.
        """
        plain = self._imagej and not (self._imagej.get("hyperstack") or "spacing" in self._imagej)
        if plain and sizes.get("Z", 1) > 1 and sizes.get("T", 1) == 1:
            notes.append(f"ImageJ calls its {sizes['Z']} pages slices; they are read as frames over time")
            return "Z"
        other = [axis for axis, size in sizes.items() if axis not in "TCZYXS" and size > 1]
        if len(other) > 1 or (other and sizes.get("T", 1) > 1):
            raise self.error(
                f"axes {self._series.axes} of sizes {self._series.shape} are not understood; "
                "save it as ImageJ or OME-TIFF with the axes T, C, Z, Y, X"
            )
        return other[0] if other else "T"  # pages in a row, without a name for the row: time

    def _timing(self, n_frames: int, notes: list[str]) -> tuple[float | None, tuple[float, ...] | None]:
        if self._ome is not None:
            return self._ome.interval_h, self._ome.times_h if n_frames > 1 else None
        step = self._imagej.get("finterval")
        if n_frames == 1 or not step:
            return None, None
        unit = str(self._imagej.get("tunit", "s"))
        interval_h = readers.in_hours(float(step), unit)
        if interval_h is None:
            notes.append(f"its frame interval {step} {unit} is not a time and is not used")
        return interval_h, None

    def _pixel_um(self) -> float | None:
        """ImageJ counts pixels per unit in the resolution tag; an inch is a printer's unit, not a scale."""
        if self._ome is not None:
            return self._ome.pixel_um
        per_unit = self._tiff.pages.first.tags.valueof("XResolution")
        if not self._imagej or not per_unit or 0 in per_unit:
            return None
        return readers.in_micrometres(per_unit[1] / per_unit[0], str(self._imagej.get("unit", "")))

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        wanted = {"Z": z, "C": channel, "S": channel, self._time: frame}
        sizes = list(zip(self._series.axes, self._series.shape, strict=True))
        at = [wanted.get(axis, 0) if size > 1 else 0 for axis, size in sizes]
        inside = len(sizes) - len(self._page_axes)
        number = 0
        for (_, size), index in zip(sizes[:inside], at[:inside], strict=True):
            number = number * size + index
        cut = [slice(None) if axis in "YX" else i for (axis, _), i in zip(sizes, at, strict=True)]
        return self._page(number)[tuple(cut[inside:])]

    def _page(self, number: int) -> np.ndarray:
        series = self._series
        shape = series.shape[len(series.shape) - len(self._page_axes) :]
        if self._contiguous is None:
            image = self._pages[number].asarray()
        else:
            stored = series.keyframe.dtype.newbyteorder(self._tiff.byteorder)
            handle = self._tiff.filehandle
            handle.seek(self._contiguous + number * math.prod(shape) * stored.itemsize)
            image = handle.read_array(stored, count=math.prod(shape))
        if self._inverted:
            image = 2**series.keyframe.bitspersample - 1 - image
        return np.asarray(image, dtype=image.dtype.newbyteorder("=")).reshape(shape)


def _end(page: Any) -> int:
    return max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)


@dataclass(frozen=True)
class OmeImage:
    """One ``Image`` element.

    ``files`` are the files that hold its planes, in order; empty where the XML names none.
    """

    name: str
    well: str
    position: str
    files: tuple[str, ...]
    channels: tuple[str, ...]
    interval_h: float | None
    times_h: tuple[float, ...] | None
    pixel_um: float | None
    bit_depth: int | None


def read_ome(path: Path, text: str) -> list[OmeImage]:
    """Read the images of an OME-XML text.

    Args:
        path: the file it comes from, for the error.
        text: the XML.

    Raises:
        InputError: XML that cannot be parsed, or that describes no image.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: its OME-XML cannot be read ({error}); export the file again") from None
    places = _places(root)
    images = [
        _image(image, pixels, places)
        for image in root.findall("{*}Image")
        for pixels in image.findall("{*}Pixels")[:1]
    ]
    if not images:
        raise InputError(f"{path}: its OME-XML describes no image; export the file again")
    return images


def _image(image: Element, pixels: Element, places: dict[str, tuple[str, str]]) -> OmeImage:
    unit = pixels.get("PhysicalSizeXUnit", "µm")
    well, position = places.get(image.get("ID", ""), ("", ""))
    n_frames = int(pixels.get("SizeT", "1"))
    times_h = _times(pixels, n_frames)
    interval_h = readers.in_hours(_number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s"))
    if interval_h is None and times_h is not None:
        interval_h = float(np.median(np.diff(times_h)))
    files = [uuid.get("FileName", "") for uuid in pixels.findall("{*}TiffData/{*}UUID")]
    return OmeImage(
        name=image.get("Name", ""),
        well=well,
        position=position,
        files=tuple(dict.fromkeys(name for name in files if name)),
        channels=tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel")),
        interval_h=interval_h,
        times_h=times_h,
        pixel_um=readers.in_micrometres(_number(pixels.get("PhysicalSizeX")), unit),
        bit_depth=int(_number(pixels.get("SignificantBits")) or 0) or None,
    )


def _places(root: Element) -> dict[str, tuple[str, str]]:
    """Well and field by image, from the ``Plate`` element; rows and columns count from 0 there."""
    places = {}
    for well in root.findall("{*}Plate/{*}Well"):
        name = well_name(int(well.get("Row", "0")), int(well.get("Column", "0")))
        for field, sample in enumerate(well.findall("{*}WellSample")):
            reference = sample.find("{*}ImageRef")
            if reference is not None:
                places[reference.get("ID", "")] = (name, str(field))
    return places


def _times(pixels: Element, n_frames: int) -> tuple[float, ...] | None:
    """Earliest time of each frame's planes, hours after frame 0; None unless every frame has one."""
    first: dict[int, float] = {}
    for plane in pixels.findall("{*}Plane"):
        delta = _number(plane.get("DeltaT"))
        hour = readers.in_hours(1.0, plane.get("DeltaTUnit", "s"))
        if delta is not None and hour is not None:
            frame = int(plane.get("TheT", "0"))
            first[frame] = min(first.get(frame, np.inf), delta * hour)
    return readers.hours_after_first((first.get(frame) for frame in range(n_frames)), n_frames)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


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
