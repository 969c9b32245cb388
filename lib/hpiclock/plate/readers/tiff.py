"""TIFF files (plain multi-page, ImageJ, OME-TIFF) through tifffile, and what their OME-XML says.

The XML is read with ElementTree: ``ome-types`` takes some 15 times as long (4 s for 20,000 planes, at every
opening), and refuses XML of older schemas unless lxml is there, and any without a namespace.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
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
_UUID = re.compile(r"(<(?:\w+:)?OME\b[^>]*?\bUUID=\")([^\"]+)")
PHOTOMETRIC = 262  # a tag
FEW_BYTES = 100_000  # that a file may hold beside its one page
STRIP = 3  # unnamed axes: a frame so much narrower than it is high is a channel-last picture


class ImageReader(Reader):
    """One image series of a TIFF file; pages are read on demand."""

    @classmethod
    def scenes(cls, path: Path) -> list[Scene]:
        """List the images of a file; of an OME-TIFF set, each image belongs to the first file that holds it.

        Raises:
            InputError: not a TIFF file, or OME-XML that cannot be read.
        """
        text, uuid = cls._ome_text(path)
        if not text:
            return [Scene(str(path))]
        images = read_ome(path, text)
        # an image whose files are all gone is named by the first file of its set that is there
        lost = _owner(path, uuid, [block for image in images for block in image.blocks], lost=True)
        found = []
        for number, image in enumerate(images):
            if _owner(path, uuid, image.blocks, lost=lost):
                own = str(path) if len(images) == 1 else f"{path}#{number}"
                found.append(Scene(own, image.name, image.well, image.position))
        return found

    @classmethod
    def files(cls, path: Path) -> list[Path]:
        """List the files of the OME-TIFF set to which a file belongs; itself where it stands alone."""
        text, _ = cls._ome_text(path)
        named = {name for image in read_ome(path, text) for _, name in image.blocks} if text else set()
        return sorted(
            {path, *(path.parent / name for name in named if name and (path.parent / name).is_file())}
        )

    @classmethod
    def _damaged(cls, path: Path, error: Exception) -> InputError:
        with open(path, "rb") as stream:
            magic = stream.read(4)
        if magic[:2] in (b"II", b"MM"):
            return InputError(f"{path}: cut short or damaged ({readers.first_line(error)}); copy it again")
        remedy = "export it as TIFF or take it out of the folder"
        return InputError(f"{path}: not a TIFF file, whatever its name says; {remedy}")

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> tuple[Any, list[OmeImage]]:
        """Return tifffile's file and the images of its OME-XML."""
        xml, _ = cls._ome_text(path)
        images = read_ome(path, xml) if xml else []
        others = {name for image in images for _, name in image.blocks} - {"", path.name}
        for name in others:
            other = path.parent / name
            readers.refuse_special(other)
            if other.is_file() and not _opens(other, other.stat().st_mtime_ns):
                xml = xml.replace(f'FileName="{name}"', 'FileName=""')  # its images are then without a page
        # its own handle: tifffile leaves the file open when it refuses it
        handle = opened.enter_context(tifffile.FileHandle(path))
        with LISTENER.collecting() as messages:
            tiff = opened.enter_context(tifffile.TiffFile(handle, omexml=xml or None))
            own = len(tiff.pages) and len(messages)
            n_series = len(tiff.series)
        # what is said of the other files of a set is left to the images that need them
        mine = [text for text in messages[own:] if not others or "series raised" in text]
        damage = [text for text in messages[:own] + mine if any(sign in text.lower() for sign in _DAMAGE)]
        if damage:
            what = re.sub(r"^<tifffile[^>]*> |<TiffTag.fromfile> raised ", "", damage[0])
            if tiff.is_ome and "series raised" in damage[0]:
                raise InputError(f"{path}: its OME-XML cannot be read ({what}); export the file again")
            raise InputError(f"{path}: cut short or damaged ({what}); copy it again")
        if n_series == 0:
            raise InputError(f"{path}: a TIFF file without an image; take it out of the folder")
        return tiff, images

    @classmethod
    def _ome_text(cls, path: Path) -> tuple[str, str]:
        """The OME-XML of a file, or of the companion file that it names, and its own UUID; empty for none."""
        with (
            cls._faults_named(path),
            tifffile.FileHandle(path) as handle,
            LISTENER.collecting(),
            tifffile.TiffFile(handle) as tiff,
        ):
            text = tiff.pages.first.description if tiff.is_ome else ""
        own = _UUID.search(text)
        uuid = own[2] if own else ""
        other = re.search(r"<(?:\w+:)?BinaryOnly[^>]*MetadataFile=\"([^\"]+)\"", text)
        if other is None:
            return text, uuid
        master = path.parent / other[1]
        if not master.is_file() or master == path:
            remedy = f"put {other[1]}, which describes it, beside it"
            raise InputError(f"{path}: a part of an OME-TIFF set; {remedy}")
        text = master.read_text(encoding="utf-8") if master.suffix == ".ome" else cls._ome_text(master)[0]
        # tifffile takes the UUID at the top for that of the file that it reads
        return (_UUID.sub(rf"\g<1>{uuid}", text, count=1) if uuid else text), uuid

    def _read_facts(self) -> StackFacts:
        self._tiff, images = self._file
        # a small copy of a page, for looking at, is none of its frames
        everything = [one for one in self._tiff.series if one.kind == "ome" or not one.keyframe.is_reduced]
        self._ome, number = self._ome_image(images, self.scene)
        if len(everything) > 1 and self._ome is None:
            ways = {
                "sizes": [" x ".join(map(str, one.keyframe.shape)) for one in everything],
                "types": [str(one.dtype) for one in everything],
                "kinds": [getattr(one.keyframe.photometric, "name", "") for one in everything],
            }
            what, kinds = next(((k, v) for k, v in ways.items() if len(set(v)) > 1), ("kinds", []))
            raise self.error(f"pages of different {what} ({', '.join(kinds[:3])}); save one per file")
        if number >= len(everything):
            raise self.error(f"no image {number}; it holds one: leave #{number} away")
        self._series = series = everything[number]
        self._page_axes = series.keyframe.axes
        self._contiguous = series.dataoffset
        # pages of a contiguous stack are found by arithmetic: reading their tags takes 20 times as long
        self._pages = [] if self._contiguous is not None else list(series.pages)
        self._imagej = (self._tiff.imagej_metadata if series.kind == "imagej" else None) or {}
        notes: list[str] = []
        self._time = self._time_axis(notes)
        sizes = dict(zip(series.axes, series.shape, strict=True))
        if sizes.get("C", 1) > 1 and "S" in sizes:
            raise self.error("colour images in several channels; save the channels as grey images")
        self._inverted = self._stored_inverted(notes)
        self._check_complete(notes)
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
            zero_h=None if self._ome is None else self._ome.zero_h,
            channels=RGB[:colours] if colours >= 3 else channels,
            axes=series.axes,
            pixel_um=self._pixel_um(),
            bit_depth=self._bit_depth(),
            notes=tuple(notes),
        )

    def _ome_image(self, images: list[OmeImage], scene: int) -> tuple[OmeImage | None, int]:
        """The image of this number, and of tifffile's series, which leave out images without a page."""
        if not images or self._tiff.series[0].kind != "ome":
            return None, scene
        if scene >= len(images):
            raise self.error(f"no image {scene}; it holds images 0-{len(images) - 1}")
        opened = {"", *self._tiff._files}
        there = [i for i, image in enumerate(images) if not opened.isdisjoint(u for u, _ in image.blocks)]
        remedy = "put all files of the set into one folder, or export it again"
        if scene not in there:
            lost = ", ".join(dict.fromkeys(name for _, name in images[scene].blocks if name))
            raise self.error(f"image {scene} of its OME-XML has no planes ({lost or 'no file'}); {remedy}")
        if len(there) != len(self._tiff.series):
            lacking = f"{len(images) - len(self._tiff.series)} of the {len(images)} images in its OME-XML"
            raise self.error(f"{lacking} have no planes; {remedy}")
        return images[scene], there.index(scene)

    def _stored_inverted(self, notes: list[str]) -> bool:
        """Whether 0 is shown as white; numbers that are no grey levels at all are refused."""
        page = self._series.keyframe
        shown = tifffile.PHOTOMETRIC
        if len(kinds := self._photometrics()) > 1:
            stored = ", ".join(getattr(shown(kind), "name", str(kind)) for kind in kinds)
            raise self.error(f"its pages are stored in different ways ({stored}); export it again")
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

    def _photometrics(self) -> list[int]:
        """How the numbers of its pages are to be shown: this tag alone, as all take 20 times as long."""
        form, handle, page = self._tiff.tiff, self._tiff.filehandle, self._series.keyframe
        order: Literal["little", "big"] = "little" if form.byteorder == "<" else "big"
        stated: dict[int, int] = {}  # by page
        number, offset, seen = 0, self._tiff.pages.first.offset, set[int]()
        while offset and offset not in seen:
            seen.add(offset)
            handle.seek(offset)
            n = int.from_bytes(handle.read(form.tagnosize), order)
            tags, following = handle.read(n * form.tagsize), handle.read(form.offsetsize)
            if len(following) < form.offsetsize:
                break
            codes = np.frombuffer(tags, f"{form.byteorder}u2").reshape(n, -1)  # code, kind, count, value
            for at in np.flatnonzero(codes[:, 0] == PHOTOMETRIC):
                stated[number] = int(codes[at, (4 + form.offsetsize) // 2])
            number, offset = number + 1, int.from_bytes(following, order)
        if self._contiguous is None:
            mine = [one.index for one in self._pages if one is not None and one.parent is self._tiff]
        else:
            mine = list(
                range(page.index, page.index + math.prod(self._series.shape) // math.prod(page.shape))
            )
        return list(dict.fromkeys(stated[index] for index in mine if index in stated))

    def _bit_depth(self) -> int | None:
        stated = self._ome.bit_depth if self._ome is not None else None
        stored: int = self._series.keyframe.bitspersample
        bits = stated or stored
        return bits if bits != 8 * self._series.dtype.itemsize else None

    def _check_complete(self, notes: list[str]) -> None:
        """Note which planes are not there; refuse a file that is cut short."""
        series, tiff = self._series, self._tiff
        n_pages = len(tiff.pages)
        if self._contiguous is not None:
            end, size = self._contiguous + series.nbytes, tiff.filehandle.size
            tiff.pages[n_pages - 1]  # fails where the tags of the last page are cut
            if end > size:
                raise self.error(f"cut short: {size} bytes of {end} are there; copy it again")
        leading = len(series.shape) - len(self._page_axes)
        promised = math.prod(series.shape[:leading])
        if self._contiguous is None and len(self._pages) < promised:
            raise self.error(
                f"cut short: {promised} pages are promised, {len(self._pages)} there; copy it again"
            )
        parts = {page.parent for page in self._pages if page is not None}
        absent = []
        for number, page in enumerate(self._pages):
            if page is None:
                absent.append(number)
            elif _end(page) > page.parent.filehandle.size:
                if len(parts) == 1:
                    where = f"page {number + 1} of {len(self._pages)} ends beyond the end of the file"
                    raise self.error(f"cut short: {where}; copy it again")
                absent.append(number)
        stored = sum(tiff.pages.first.databytecounts)
        unread = tiff.filehandle.size - stored
        if n_pages == promised == 1 and unread > max(stored, FEW_BYTES):
            whole = f"{unread / 1e6:,.1f} MB of its {tiff.filehandle.size / 1e6:,.1f} MB belong to no page"
            notes.append(f"{whole}, it is read as one frame: a film whose header is lost?")
        inside = dict(zip(series.axes[leading:], series.shape[leading:], strict=True))
        planes = set()
        for number in absent:
            at = dict(
                zip(series.axes, map(int, np.unravel_index(number, series.shape[:leading])), strict=False)
            )
            slices = [at["Z"]] if "Z" in at else range(inside.get("Z", 1))
            planes |= {(at.get(self._time, 0), at.get("C", 0), z) for z in slices}
        self.absent = planes
        used = sum(one.keyframe is not None and len(one) for one in tiff.series)
        if n_pages > used and series.kind in ("imagej", "shaped", "ome") and len(parts) < 2:
            notes.append(f"its header promises {used} pages, the file has {n_pages}: the others are not read")

    def _time_axis(self, notes: list[str]) -> str:
        """Return the axis that is time.

        ImageJ calls the pages of any plain stack slices; they are focus planes only if it says so.
        """
        axes = [
            (axis, size) for axis, size in zip(self._series.axes, self._series.shape, strict=True) if size > 1
        ]
        sizes = dict(axes)
        plain = self._imagej and not (self._imagej.get("hyperstack") or "spacing" in self._imagej)
        if plain and sizes.get("Z", 1) > 1 and sizes.get("T", 1) == 1:
            notes.append(f"ImageJ calls its {sizes['Z']} pages slices; they are read as frames over time")
            return "Z"
        other = [axis for axis, _ in axes if axis not in "TCZYXS"]
        remedy = "save it as ImageJ or OME-TIFF with the axes T, C, Z, Y, X"
        told = f"axes {self._series.axes} of sizes {self._series.shape}"
        if len(axes) > len(sizes) or len(other) > 1 or (other and "T" in sizes):
            raise self.error(f"{told} are not understood; {remedy}")
        last = self._series.shape[-1]
        leading = self._series.axes.removesuffix(self._page_axes)
        if {"Y", "X"} & set(leading) or leading == self._series.axes:  # its pages are no frames
            raise self.error(f"{told}: its pages are no whole frames; {remedy}")
        if other and "S" not in sizes and last * STRIP < min(sizes[other[0]], sizes.get("Y", 1)):
            raise self.error(f"{told}: the last one looks like channels or times; {remedy}")
        return other[0] if other else "T"  # pages in a row, without a name for the row: time

    def _timing(self, n_frames: int, notes: list[str]) -> tuple[float | None, tuple[float, ...] | None]:
        if self._ome is not None:
            return self._ome.interval_h, self._ome.times_h
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
            page = self._pages[number]
            with ExitStack() as opened:
                if page.parent.filehandle.closed:  # tifffile closes the other files of a set
                    page.parent.filehandle.open()
                    opened.callback(page.parent.filehandle.close)
                image = page.asarray()
        else:
            stored = series.keyframe.dtype.newbyteorder(self._tiff.byteorder)
            handle = self._tiff.filehandle
            handle.seek(self._contiguous + number * math.prod(shape) * stored.itemsize)
            image = handle.read_array(stored, count=math.prod(shape))
        if self._inverted:
            image = 2**series.keyframe.bitspersample - 1 - image
        return np.asarray(image, dtype=image.dtype.newbyteorder("=")).reshape(shape)


@lru_cache(maxsize=1024)
def _opens(path: Path, changed_ns: int) -> bool:
    """Whether a file of a set has all its tags; what tifffile raises where not takes the whole set along."""
    del changed_ns  # a part of the key
    try:
        with tifffile.FileHandle(path) as handle, tifffile.TiffFile(handle) as tiff:
            return tiff.pages[len(tiff.pages) - 1].index >= 0
    except Exception:
        return False


def _end(page: Any) -> int:
    return max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)


@dataclass(frozen=True)
class OmeImage:
    """One ``Image`` element.

    ``blocks`` are the UUID and the name of the file of each ``TiffData``, empty where it names none.
    """

    name: str
    well: str
    position: str
    blocks: tuple[tuple[str, str], ...]
    channels: tuple[str, ...]
    interval_h: float | None
    times_h: tuple[float, ...]
    zero_h: float | None
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
    try:
        places = _places(root)
        images = [
            _image(path, image, pixels, places)
            for image in root.findall("{*}Image")
            for pixels in image.findall("{*}Pixels")[:1]
        ]
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: its OME-XML cannot be read ({error}); export the file again") from None
    if not images:
        raise InputError(f"{path}: its OME-XML describes no image; export the file again")
    return images


def _image(path: Path, image: Element, pixels: Element, places: dict[str, tuple[str, str]]) -> OmeImage:
    unit = pixels.get("PhysicalSizeXUnit", "µm")
    well, position = places.get(image.get("ID", ""), ("", ""))
    sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "TCZ"}
    data = pixels.findall("{*}TiffData")
    readers.all_planes(path, sizes)
    for block in data:
        readers.all_planes(path, {"T": max((int(v) for v in block.attrib.values() if v.strip()), default=1)})
    interval_h = readers.in_hours(_number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s"))
    named = [block.find("{*}UUID") for block in data]
    pairs = [("", "") if one is None else (one.text or "", one.get("FileName", "")) for one in named]
    return OmeImage(
        name=image.get("Name", ""),
        well=well,
        position=position,
        blocks=tuple(dict.fromkeys(pairs)),
        channels=tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel")),
        interval_h=interval_h,
        times_h=_times(pixels, sizes["T"]),
        zero_h=readers.hours_since_1970(image.findtext("{*}AcquisitionDate")),
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


def _times(pixels: Element, n_frames: int) -> tuple[float, ...]:
    """Earliest time of each frame's planes, hours; NaN where none has one."""
    first: dict[int, float] = {}
    for plane in pixels.findall("{*}Plane"):
        delta = _number(plane.get("DeltaT"))
        hour = readers.in_hours(1.0, plane.get("DeltaTUnit", "s"))
        if delta is not None and hour is not None:
            frame = int(plane.get("TheT", "0"))
            first[frame] = min(first.get(frame, np.inf), delta * hour)
    return tuple(first.get(frame, np.nan) for frame in range(n_frames))


def _owner(path: Path, uuid: str, blocks: Sequence[tuple[str, str]], *, lost: bool) -> bool:
    """Whether the first file that is there of those that hold an image is this one; ``lost`` where none is.

    A file is known by its UUID, and by its name only where it has none: files are renamed.
    """
    for its, name in blocks:
        if not name or (its == uuid if uuid else name == path.name):
            return True
        if name != path.name and (path.parent / name).exists():
            return False
    return lost


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
