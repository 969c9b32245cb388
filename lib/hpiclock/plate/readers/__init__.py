"""The one door to image files: which reader reads which, the facts of a file, and one plane at a time."""

from __future__ import annotations

import importlib
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from hpiclock.errors import InputError
from hpiclock.files import check_file

# hours of what a clock in a file name counts; with a year and a month, days are those of a date
CLOCK = {"days": 24.0, "hours": 1.0, "minutes": 1 / 60, "seconds": 1 / 3600, "milliseconds": 1 / 3.6e6}
PLACES = ("frame", "first_frame", "last_frame", "year", "month", *CLOCK, "channel", "z")  # in a template
MAX_PLANES = 1_000_000  # of one stack
MOST_GREY = 1e12  # more than any camera, less than what cannot be squared
RGB = ("red", "green", "blue")
GREY = "grey"
_PLACE = re.compile(r"\{(" + "|".join(PLACES) + r")\}")
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights of Pillow's mode L
EXTRA = "pip install 'hpiclock[formats]'"
Z = int | Literal["max", "mean"]
Plane = tuple[int, int, int]  # time point, channel (0 for all of a colour image), focus plane
FEW_PIXELS = 5  # a side shorter than this is an axis taken for another
# what readers and codecs raise for damaged data
FAULTS = (ValueError, RuntimeError, OSError, IndexError, TypeError, KeyError, EOFError, AttributeError)
BOMB_BYTES, BOMB_RATIO = 1 << 26, 1000  # a plane above this size, as a multiple of its file, is none


@dataclass(frozen=True)
class StackFacts:
    """What a file says about the stack it holds.

    Attributes:
        n_frames: time points that are there.
        height: pixels.
        width: pixels.
        dtype: NumPy's name of the grey levels, e.g. ``uint16``.
        interval_h: hours between frames, None where the file does not say.
        times_h: acquisition time of each frame, hours after frame 0, None where the file does not say.
        raster: where frames stand among equal intervals, e.g. ``(0, 1, 3)`` where one was not written.
        start_h: hours of frame 0 after the zero of the recorded times, None where the file does not say.
        zero_h: that zero, hours since 1970 (UTC), None where the file does not say.
        first_frame: the number of frame 0 in the names of the files, None where they count none.
        channels: one name per channel; ``red, green, blue`` for colour images.
        n_z: focus planes.
        axes: the axes of the file as it stands, e.g. ``TCYX``.
        pixel_um: side of a pixel in micrometres, None where the file does not say.
        bit_depth: significant bits of a grey level, None where the file does not say.
        notes: what was noticed while opening, one sentence each.
    """

    n_frames: int
    height: int
    width: int
    dtype: str
    interval_h: float | None = None
    times_h: tuple[float, ...] | None = None
    raster: tuple[int, ...] = ()
    start_h: float | None = None
    zero_h: float | None = None
    first_frame: int | None = None
    channels: tuple[str, ...] = ("0",)
    n_z: int = 1
    axes: str = "YX"
    pixel_um: float | None = None
    bit_depth: int | None = None
    notes: tuple[str, ...] = ()


class Scene(NamedTuple):
    """One image among those of a file: the path that opens it, and what the file says of its place."""

    path: str
    name: str = ""
    well: str = ""
    position: str = ""
    series: str = ""


class Stack:
    """One position over time. Use it as a context manager; frames are read one by one, on demand."""

    def __init__(self, path: Path, reader: Reader, channel: int | None, z: Z) -> None:
        self.path = path
        self._reader = reader
        self._channel = channel  # None: luminance of a colour image
        self._z = z
        colour = channel is None or reader.facts.channels == RGB
        planes = range(reader.facts.n_z) if isinstance(z, str) else (z,)
        absent = {t for t, c, at in reader.absent if c == (0 if colour else channel) and at in planes}
        self._there = [t for t in range(reader.facts.n_frames) if t not in absent]
        self.facts = _facts_there(path, reader.facts, self._there)

    @property
    def channel_name(self) -> str:
        """The name that the file gives to the channel that is read; empty where it gives none."""
        if self._channel is None:
            return GREY
        name = self.facts.channels[self._channel]
        return "" if name == str(self._channel) else name

    def frame(self, index: int) -> np.ndarray:
        """Read one frame, shape ``(height, width)``, in the file's dtype.

        Raises:
            InputError: no such frame, a plane that cannot be read, or grey levels that are no numbers.
        """
        image = self._frame(index)
        checked = image.dtype.kind == "f" or image.dtype.itemsize == 8
        if checked and not (np.abs(image) <= MOST_GREY).all():  # which no NaN is
            wrong = f"beyond {MOST_GREY:g}" if np.isfinite(image).all() else "NaN or infinite"
            raise InputError(
                f"{self.path}: frame {index} holds grey levels that are {wrong}; export it again"
            )
        return image

    def _frame(self, index: int) -> np.ndarray:
        if not 0 <= index < self.facts.n_frames:
            raise InputError(f"{self.path}: no frame {index}; it holds frames 0-{self.facts.n_frames - 1}")
        if isinstance(self._z, int):
            return self._plane(self._there[index], self._z)
        planes = np.stack([self._plane(self._there[index], z) for z in range(self.facts.n_z)])
        if self._z == "max":
            return planes.max(axis=0)
        return _rounded(planes.mean(axis=0, dtype=np.float64), planes.dtype)

    def _plane(self, index: int, z: int) -> np.ndarray:
        if self._channel is not None:
            return self._reader.plane(index, self._channel, z)
        colours = [self._reader.plane(index, number, z) for number in range(len(RGB))]
        luminance = sum(w * colour.astype(np.float64) for w, colour in zip(_LUMA, colours, strict=True))
        return _rounded(np.asarray(luminance), colours[0].dtype)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_stack(path: str | Path, *, channel: int | str | None = None, z: Z | None = None) -> Stack:
    """Open a stack of frames.

    Args:
        path: an image file; one image of several as ``FILE#2`` (see :mod:`hpiclock.plate.readers`).
        channel: index or name; needed when the file has several. Colour images have the channels ``red``,
            ``green``, ``blue`` and also ``grey``, their luminance (ITU-R BT.601).
        z: index of a focus plane, or ``max`` or ``mean`` over all; needed when the file has several.

    Raises:
        InputError: no such file, not an image, cut short, or a choice of channel or z that is missing or not
            possible.
    """
    path = Path(path)
    with _one_line(path):
        reader = open_reader(path)
    try:
        return Stack(path, reader, _pick_channel(path, reader.facts, channel), _pick_z(path, reader.facts, z))
    except InputError:
        reader.close()
        raise


def list_stacks(path: str | Path) -> list[Scene]:
    """List the stacks that a file holds: the path that opens each, and its place where the file says it.

    None for a file that is only a part of another's image.

    Raises:
        InputError: as :func:`open_stack`.
    """
    path = Path(path)
    with _one_line(path):
        return _reader_for(path).scenes(path)


def source_files(path: str | Path) -> list[Path]:
    """List the files from which a stack is read: itself, the files of a series or a set, or a whole store.

    Raises:
        InputError: no such file.
    """
    path = Path(path)
    with _one_line(path):
        if is_template(path):
            return _reader_in("stills", path, "SeriesReader").files(path)
        file, _ = split_scene(path)
        return _reader_for(file).files(file)


# suffix -> the module whose ImageReader reads such files; .btf, .tf2 and .tf8 are BigTIFF
FORMATS = dict.fromkeys((".tif", ".tiff", ".btf", ".tf2", ".tf8"), "tiff") | dict.fromkeys(
    (".png", ".jpg", ".jpeg"), "stills"
)
FORMATS |= {".zarr": "ome_zarr", ".nd2": "nd2", ".czi": "czi", ".lif": "lif"}
SUFFIXES = tuple(FORMATS)
MARKS = ("zarr.json", ".zattrs", ".zgroup")  # a folder with one of them is a Zarr group


def open_reader(path: Path) -> Reader:
    """Open one image of a file.

    Raises:
        InputError: no such file, of no known format, or several images and none chosen.
    """
    if is_template(path):
        return _reader_in("stills", path, "SeriesReader")(path)
    path, number = split_scene(path)
    found = _reader_for(path).scenes(path) if number is None else []
    if len(found) > 1:
        held = f"{len(found)} images in one file"
        raise InputError(f"{path}: {held}; name one of them, {found[0].path} to {found[-1].path}")
    return _reader_for(path)(path, number or 0)


def is_template(path: Path) -> bool:
    """Return whether a path names a series (``B03_t{frame}.tif``) and no file has this very name."""
    return _PLACE.search(str(path)) is not None and not path.exists()


def split_scene(path: Path) -> tuple[Path, int | None]:
    """Split ``FILE#2`` into the file and 2; a file whose name is like that stays whole."""
    match = re.fullmatch(r"(.+)#(\d+)", path.name)
    if match is None or path.exists():
        return path, None
    return path.with_name(match[1]), int(match[2])


class Reader(ABC):
    """One open image of a file: the base of every format.

    A format says what its library says: how a file is opened (``_open``), which images it holds
    (``_images``), the facts of one (``_read_facts``) and how a plane is read (``_read_plane``). What a
    library raises for a damaged file becomes one line here, and a file that is refused is closed.

    Args:
        path: the file.
        scene: which of its images.

    Raises:
        InputError: not a file of this format, a damaged one, or one without this image.
    """

    KIND = "an image"  # for the line on a file that is none
    IMAGE = "image"  # the microscope's word for one of several
    facts: StackFacts
    absent: Collection[Plane] = ()  # planes of ``facts`` that were never written

    def __init__(self, path: Path, scene: int = 0) -> None:
        self.path = path
        self.scene = scene
        with self._faults_named(path), ExitStack() as opened:
            self._file = self._open(path, opened)
            images = self._images(self._file)
            if images and scene not in images:
                held = f"{self.IMAGE}s {min(images)}-{max(images)}"
                raise InputError(f"{path}: no {self.IMAGE} {scene}; it holds {held}")
            self.facts = self._read_facts()
            self._refuse_what_cannot_be()
            self._opened = opened.pop_all()

    @classmethod
    def scenes(cls, path: Path) -> list[Scene]:
        """List the images of a file.

        Raises:
            InputError: not a file of this format, or a damaged one.
        """
        with cls._faults_named(path), ExitStack() as opened:
            images = cls._images(cls._open(path, opened))
        if len(images) < 2:
            return [Scene(str(path))]
        return [Scene(f"{path}#{number}", *place) for number, place in images.items()]

    @classmethod
    def files(cls, path: Path) -> list[Path]:
        """List the files from which an image is read."""
        if path.is_dir():
            return sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        return [path]

    def plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Read one plane, shape ``(height, width)``, in the machine's byte order.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return self._read_plane(frame, channel, z)
        except InputError:
            raise
        except Exception as error:  # whatever a codec raises, the plate survives it
            raise self.error(
                f"frame {frame} cannot be read ({first_line(error)}); copy or export it again"
            ) from None

    def error(self, problem: str) -> InputError:
        """Return the error that names the file before ``problem``."""
        return InputError(f"{self.path}: {problem}")

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    @classmethod
    @contextmanager
    def _faults_named(cls, path: Path) -> Iterator[None]:
        try:
            yield
        except (InputError, PermissionError, ModuleNotFoundError):
            raise
        except Exception as error:  # whatever a library raises for a file, the plate survives it
            raise cls._damaged(path, error) from None

    @classmethod
    def _damaged(cls, path: Path, error: Exception) -> InputError:
        return InputError(f"{path}: not {cls.KIND}, or cut short ({first_line(error)}); copy it again")

    @classmethod
    @abstractmethod
    def _open(cls, path: Path, opened: ExitStack) -> Any:
        """Return the library's open file; what must be closed is entered into ``opened``."""

    @classmethod
    def _images(cls, file: Any) -> dict[int, tuple[str, str, str]]:
        """Return name, well and position of every image by its number; empty where a file is one image."""
        del file
        return {}

    @abstractmethod
    def _read_facts(self) -> StackFacts:
        """Return what the library says of the image."""

    @abstractmethod
    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Return one plane as the library reads it."""

    def _facts(self, sizes: Mapping[str, int], dtype: Any, **more: Any) -> StackFacts:
        """Build the facts from the sizes of the axes (T, C, Z, Y, X, S); ``more`` are its other fields.

        ``times_h`` are the times of all time points as they are recorded, hours, NaN for none;
        :class:`Stack` counts them from its frame 0.

        Raises:
            InputError: other axes, or pixels that are not grey levels.
        """
        other = [axis for axis, size in sizes.items() if axis not in "TCZYXS" and size > 1]
        if other or not {"Y", "X"} <= set(sizes):
            raise self.error(f"axes {''.join(sizes)} are not understood; export it as OME-TIFF")
        dtype = np.dtype(dtype)
        if dtype.kind not in "uif":
            raise self.error(f"pixels of type {dtype} are not grey levels; save as uint8, uint16 or float32")
        all_planes(self.path, sizes)
        more.setdefault("axes", "".join(sizes))
        name, size = dtype.newbyteorder("=").name, (sizes["Y"], sizes["X"])
        return StackFacts(sizes.get("T", 1), *size, name, n_z=sizes.get("Z", 1), **more)

    def _refuse_what_cannot_be(self) -> None:
        """Refuse frames of a few pixels on one side, and frames that their file cannot hold."""
        side, other = sorted((self.facts.height, self.facts.width))
        if side < FEW_PIXELS:
            size = f"{self.facts.height} x {self.facts.width} px (axes {self.facts.axes})"
            remedy = (
                "an axis of channels or times stands last? save it as OME-TIFF with the axes T, C, Z, Y, X"
            )
            raise self.error(f"frames of {size} are no pictures; {remedy}")
        plane = side * other * np.dtype(self.facts.dtype).itemsize
        if plane > BOMB_BYTES:
            refuse_bomb(self.path, plane, sum(file.stat().st_size for file in self.files(self.path)))


def channel_names(names: Iterable[str | None], n_channels: int) -> tuple[str, ...]:
    """Return a name per channel; its number where the file gives none."""
    known = [*names, *[None] * n_channels]
    return tuple(name or str(number) for number, name in enumerate(known[:n_channels]))


def refuse_bomb(path: Path, plane_bytes: int, file_bytes: int) -> None:
    """Refuse a plane that its file is too small to hold, before memory is asked for it.

    Raises:
        InputError: more than :data:`BOMB_RATIO` times the file.
    """
    if plane_bytes > BOMB_BYTES and plane_bytes > BOMB_RATIO * file_bytes:
        held = f"promises frames of {plane_bytes / 1e6:,.0f} MB in a file of {file_bytes / 1e6:.2g} MB"
        raise InputError(f"{path}: {held}; it is damaged: export it again or take it out")


def all_planes(path: Path, sizes: Mapping[str, int]) -> Iterator[Plane]:
    """Return all planes of a stack of these sizes (T, C, Z).

    Raises:
        InputError: more than any stack has.
    """
    axes = [sizes.get(axis, 1) for axis in "TCZ"]
    if math.prod(axes) > MAX_PLANES:
        raise InputError(f"{path}: promises {math.prod(axes):,} planes; it is damaged: export it again")
    return product(*map(range, axes))  # type: ignore[return-value]


def refuse_special(path: Path) -> None:
    """Refuse a pipe, a socket or a device: opening one may wait for ever, or never end.

    Raises:
        InputError: one of them stands there.
    """
    if path.exists() and not path.is_dir():
        check_file(path, "take it out or name a file")


def hours_since_1970(text: str | None) -> float | None:
    """Read a time in ISO 8601 (UTC where no zone is given) as hours since 1970; None where it is none."""
    try:
        stamp = datetime.fromisoformat((text or "").strip())
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp() / 3600
    except (ValueError, OverflowError):
        return None


def _facts_there(path: Path, facts: StackFacts, there: list[int]) -> StackFacts:
    """The facts of the time points that are there, recorded times counted from the first of them."""
    if not there:
        raise InputError(f"{path}: none of its {facts.n_frames} frames was written; take it out")
    raster = np.array(facts.raster or range(facts.n_frames))[there]
    recorded = np.array([np.nan] * facts.n_frames if facts.times_h is None else facts.times_h, float)[there]
    whole = range((promised := facts.raster or range(facts.n_frames))[0], promised[-1] + 1)
    notes = list(facts.notes)
    if lost := sorted(set(whole).difference(raster.tolist())):
        named = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
        notes.append(f"{len(lost)} of its {len(whole)} frames are not there ({named}): gaps at their hours")
    times_h, interval_h, start_h = None, facts.interval_h, facts.start_h
    if np.isfinite(recorded).all() and ((steps := np.diff(recorded)) > 0).all():
        start_h = float(recorded[0]) + (start_h or 0.0)
        raster = raster - raster[0]
        if len(there) > 1:
            times_h = tuple((recorded - recorded[0]).tolist())
            interval_h = interval_h or float(np.median(steps / np.diff(raster)))
    gaps = raster if (raster != np.arange(len(there))).any() else ()
    return replace(
        facts,
        n_frames=len(there),
        times_h=times_h,
        raster=tuple(int(place) for place in gaps),
        start_h=start_h,
        interval_h=interval_h,
        notes=tuple(notes),
    )


def _per_name(units: dict[str, float]) -> dict[str, float]:
    return {name: factor for names, factor in units.items() for name in names.split()}


# fmt: off
_HOURS = _per_name({
    "d day days": 24.0,
    "h hr hrs hour hours": 1.0,
    "min mins minute minutes": 1 / 60,
    "s sec secs second seconds": 1 / 3600,
    "ms msec millisecond milliseconds": 1 / 3.6e6,
    "us µs μs microsecond": 1 / 3.6e9,
})
_MICROMETRES = _per_name({
    "m meter": 1e6,
    "cm centimeter": 1e4,
    "mm millimeter": 1e3,
    "µm μm um \\u00B5m micron microns micrometer": 1.0,
    "nm nanometer": 1e-3,
})
# fmt: on


def in_hours(value: float | None, unit: str) -> float | None:
    """Convert a duration; None for a missing or zero duration, or a unit that is not one of time."""
    factor = _HOURS.get(unit.strip().lower())
    if value is None or factor is None or not np.isfinite(value) or value <= 0:
        return None
    return float(value) * factor


def in_micrometres(value: float | None, unit: str) -> float | None:
    """Convert a length; None for a missing one or a unit that is not one of length."""
    factor = _MICROMETRES.get(unit.strip())
    return None if value is None or factor is None else float(value) * factor


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _reader_for(path: Path) -> type[Reader]:
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: a link to a file that is not there; restore the file or remove the link")
    if not path.exists():
        raise InputError(f"{path}: no such file; correct the path")
    refuse_special(path)
    if path.is_dir():
        if not any((path / name).is_file() for name in MARKS):
            raise InputError(f"{path}: a folder, not a file; rename it or take it out")
        return _reader_in("ome_zarr", path)
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy it again")
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        return _reader_in(FORMATS[suffix], path)
    what = f"of type {suffix}" if suffix else "without a suffix"
    raise InputError(f"{path}: files {what} are not read; known are {', '.join(SUFFIXES)}")


def _reader_in(module: str, path: Path, name: str = "ImageReader") -> type[Reader]:
    try:
        reader: type[Reader] = getattr(importlib.import_module(f"hpiclock.plate.readers.{module}"), name)
        return reader
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hpiclock"):
            raise
        raise InputError(f"{path}: reading it needs the package {error.name}; {EXTRA}") from None


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"{path}: cannot be opened ({why}); check its permissions") from None
    except Exception as error:  # whatever a file holds, the plate survives it
        raise InputError(f"{path}: cannot be read ({first_line(error)}); export it again") from None


def _pick_channel(path: Path, facts: StackFacts, channel: int | str | None) -> int | None:
    names = facts.channels
    choices = [f"{i} ({name})" if name != str(i) else name for i, name in enumerate(names)]
    choices += [GREY] if names == RGB else []
    if channel is None:
        if len(names) == 1:
            return 0
        over = " (or, if they are frames over time, save it with axes TYX)" if facts.axes[0] == "S" else ""
        remedy = f"set data.channel to one of {', '.join(choices)}{over}"
        raise InputError(f"{path}: {len(names)} channels; {remedy}")
    if isinstance(channel, str) and channel in names:
        return names.index(channel)
    if channel == GREY and (names == RGB or len(names) == 1):  # grey and colour stills may be mixed
        return None if names == RGB else 0
    index = int(channel) if str(channel).isdecimal() else -1
    if 0 <= index < len(names):
        return index
    raise InputError(f"{path}: no channel {channel}; set data.channel to one of {', '.join(choices)}")


def _pick_z(path: Path, facts: StackFacts, z: Z | None) -> Z:
    if z is None and facts.n_z == 1:
        return 0
    if z is None or (isinstance(z, int) and not 0 <= z < facts.n_z):
        problem = f"{facts.n_z} focus planes" if z is None else f"no focus plane {z}"
        raise InputError(
            f"{path}: {problem} (axes {facts.axes}); set data.z to 0-{facts.n_z - 1}, max or mean, or, if "
            "they are frames over time, correct the file in ImageJ (Image > Properties)"
        )
    return z


def _rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (np.rint(values) if dtype.kind in "ui" else values).astype(dtype)
