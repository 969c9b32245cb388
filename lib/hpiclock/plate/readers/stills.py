"""Single images (PNG, JPEG), and series of files (TIFF and others, too) as one stack.

A series is named by a template such as ``B03_p1_t{frame}.tif`` or ``TimePoint_{frame}/B03.tif``.

Places in a template: ``{frame}``, or ``{days}``, ``{hours}``, ``{minutes}``, ``{seconds}`` and
``{milliseconds}`` since imaging began, or a date with ``{year}`` and ``{month}``; ``{channel}`` (text) and
``{z}`` (a number). ``{first_frame}`` and ``{last_frame}`` name files that are parts of one film. The same
words, as named groups of the name pattern, turn the files of a folder into series.
"""

import math
import os
import re
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from hpiclock.errors import InputError
from hpiclock.plate import readers
from hpiclock.plate.readers import CLOCK, PLACES, RGB, Reader, Scene, StackFacts

PARTS = ("first_frame", "last_frame")
_ONE_FRAME = ("frame", *CLOCK)
_DATE = re.compile(r"(?<!\d)(?P<year>(?:19|20)\d\d)\D?(?P<month>0[1-9]|1[0-2])\D?$")  # before a day


class _Key(NamedTuple):
    time: float
    channel: str
    z: int


def template(name: str, match: re.Match[str], *, parts: bool = False) -> str | None:
    """Return the template of the series to which a file name belongs; None where it counts no frames.

    A year and a month that stand right before the days are places of it, too.

    Args:
        name: of the file, below its folder.
        match: of the name pattern in it.
        parts: of the film of which the file is a part, by ``first_frame`` and ``last_frame``.
    """
    skipped = () if parts else PARTS
    spans = {
        place: match.span(place) for place in PLACES if match.groupdict().get(place) and place not in skipped
    }
    if "days" in spans and "year" not in spans:
        date = _DATE.search(name[: spans["days"][0]])
        if date is not None:
            spans |= {place: date.span(place) for place in ("year", "month")}
    if not any(place in spans for place in (PARTS if parts else _ONE_FRAME)):
        return None
    for (start, end), place in sorted(((span, place) for place, span in spans.items()), reverse=True):
        name = f"{name[:start]}{{{place}}}{name[end:]}"
    return name


class SeriesReader(Reader):
    """Files that are one film: numbered single images, or parts; each is opened when it is read."""

    @classmethod
    def files(cls, path: Path) -> list[Path]:
        """List the files of the series, in order of time, channel and plane.

        Raises:
            InputError: none there.
        """
        files = _files(path)
        return [files[key] for key in sorted(files)]

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> dict[_Key, Path]:
        del opened  # each file is opened when it is read
        return _files(path)

    def _read_facts(self) -> StackFacts:
        self._last: tuple[Path, Reader] | None = None
        files = {key: path for key, path in sorted(self._file.items()) if path.stat().st_size}
        empty = sorted(path.name for path in set(self._file.values()).difference(files.values()))
        if not files:
            raise self.error("its files are empty (0 bytes); copy them again")
        places = set(re.findall(r"{(\w+)}", str(self.path)))
        numbered, clocked = "frame" in places, not places.isdisjoint(CLOCK)
        one = _inner_facts(next(iter(files.values())))
        parts = "first_frame" in places or (clocked and one.n_frames > 1)
        held = ({"channel"} if len(one.channels) > 1 else set()) | ({"z"} if one.n_z > 1 else set())
        if held & places or (numbered and one.n_frames > 1):
            raise self.error(
                f"several planes in a file ({files[min(files)].name}) of a numbered series; use one form"
            )
        self._where: dict[_Key, tuple[Path, int]] = {}
        for key, path in files.items():
            for index, later in enumerate(self._steps(path, clocked) if parts else [0.0]):
                at = key._replace(time=key.time + later)
                if at in self._where:
                    other = self._where[at][0].name
                    raise self.error(f"{other} and {path.name} both hold frame {at.time:g}; keep one")
                self._where[at] = path, index
        kept = zip(*self._where, strict=True)
        self._times, self._channels, self._z = (sorted(set(values)) for values in kept)
        n_channels = len(one.channels) if "channel" in held else len(self._channels)
        n_z = one.n_z if "z" in held else len(self._z)
        self._held = held
        sizes = {"T": len(self._times), "C": n_channels, "Z": n_z}
        self.absent = {at for at in readers.all_planes(self.path, sizes) if self._key(*at) not in self._where}
        sizes = {axis: size for axis, size in sizes.items() if size > 1} | {"Y": one.height, "X": one.width}
        times, dated = np.array(self._times), "month" in places
        numbers = [round(time) for time in self._times]
        step = math.gcd(*np.diff(numbers).tolist()) or 1
        return self._facts(
            sizes,
            one.dtype,
            interval_h=None if clocked and not parts else one.interval_h,
            times_h=times - times[0] * dated if clocked else None,
            raster=() if clocked else tuple((number - numbers[0]) // step for number in numbers),
            zero_h=float(times[0]) if dated else None,
            first_frame=None if clocked else numbers[0] // step,
            channels=one.channels if "channel" in held else readers.channel_names(self._channels, n_channels),
            pixel_um=one.pixel_um,
            notes=(f"{len(empty)} of its files are empty: {', '.join(empty[:3])}",) if empty else (),
        )

    def _steps(self, path: Path, clocked: bool) -> list[float]:
        """Times of the frames of a part after its first: hours where names say hours, else their numbers."""
        facts = _inner_facts(path)
        if not clocked:
            return [float(index) for index in range(facts.n_frames)]
        interval_h = facts.interval_h
        if interval_h is None and facts.n_frames > 1:
            unknown = f"{path.name} does not say how far apart its frames are"
            raise self.error(f"{unknown}; count them in the names: (?P<first_frame>...) in data.name_pattern")
        return [index * (interval_h or 0.0) for index in range(facts.n_frames)]

    def _key(self, frame: int, channel: int, z: int) -> _Key:
        name = "" if "channel" in self._held else self._channels[channel]
        return _Key(self._times[frame], name, self._z[0 if "z" in self._held else z])

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        path, index = self._where[self._key(frame, channel, z)]
        if self._last is None or self._last[0] != path:
            self._close_last()
            self._last = path, readers.open_reader(path)
        at = (channel if "channel" in self._held else 0, z if "z" in self._held else 0)
        plane = self._last[1].plane(index, *at)
        if plane.shape != (self.facts.height, self.facts.width):
            size = f"{plane.shape[0]} x {plane.shape[1]} px"
            series = f"a series of {self.facts.height} x {self.facts.width}"
            raise InputError(f"{path}: {size} in {series}; export it again")
        return plane

    def close(self) -> None:
        """Close the file that was read last."""
        self._close_last()
        super().close()

    def _close_last(self) -> None:
        if self._last is not None:
            self._last[1].close()
        self._last = None


def _inner_facts(path: Path) -> StackFacts:
    with closing(readers.open_reader(path)) as reader:
        return reader.facts


def _files(path: Path) -> dict[_Key, Path]:
    """The files of a template by time (frame number or hours), channel and plane."""
    depth = next(number for number, part in enumerate(path.parts) if readers.is_template(Path(part)))
    base, parts = Path(*path.parts[:depth]), path.parts[depth:]
    patterns = [_as_pattern(part) for part in parts]
    names = [""]
    for number, pattern in enumerate(patterns):
        folders = [base / name for name in names if number == 0 or (base / name).is_dir()]
        found = ((folder, name) for folder in folders for name in _names(folder, os.stat(folder).st_mtime_ns))
        names = [
            (folder / name).relative_to(base).as_posix()
            for folder, name in found
            if re.fullmatch(pattern, name)
        ]
    files: dict[_Key, Path] = {}
    for name in names:
        match = re.fullmatch("/".join(patterns), name)
        if match is None:
            continue
        key = _key_of(match.groupdict())
        if key in files:
            raise InputError(f"{path}: {files[key].name} and {Path(name).name} are one frame; keep one")
        files[key] = base / name
    if not files:
        raise InputError(f"{path}: no file fits this template; correct the path")
    return files


def _as_pattern(part: str) -> str:
    pattern = re.escape(part)
    for place in PLACES:
        digits = f"(?P<{place}>{'.+?' if place == 'channel' else '[0-9]+'})"
        pattern = pattern.replace(re.escape(f"{{{place}}}"), digits, 1)
    return pattern


def _key_of(values: dict[str, str]) -> _Key:
    hours = sum(float(values.get(place, 0)) * factor for place, factor in CLOCK.items())
    if "month" in values:
        first = datetime(int(values["year"]), int(values["month"]), 1, tzinfo=UTC)
        hours += first.timestamp() / 3600 - CLOCK["days"]
    clocked = not values.keys().isdisjoint(CLOCK)
    time = hours if clocked else float(values.get("frame", values.get("first_frame", 0)))
    return _Key(time, values.get("channel", ""), int(values.get("z", 0)))


@lru_cache(maxsize=64)
def _names(folder: Path, changed_ns: int) -> tuple[str, ...]:
    """The names in a folder, read once while it does not change: many series share one."""
    del changed_ns  # a part of the key
    return tuple(sorted(os.listdir(folder)))


class ImageReader(Reader):
    """A PNG or JPEG image: one frame, one grey channel or the channels red, green, blue."""

    @classmethod
    def scenes(cls, path: Path) -> list[Scene]:
        """Return the image itself."""
        return [Scene(str(path))]

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> Image.Image:
        image = opened.enter_context(Image.open(path, formats=("PNG", "JPEG")))
        readers.refuse_bomb(path, math.prod(image.size) * len(image.getbands()), path.stat().st_size)
        if (n := getattr(image, "n_frames", 1)) > 1 and image.format == "PNG":  # in a JPEG, small copies
            raise InputError(f"{path}: holds {n} pictures, of which one would be read; export it as TIFF")
        image.load()
        return _plain(image)

    @classmethod
    def _damaged(cls, path: Path, error: Exception) -> InputError:
        if isinstance(error, UnidentifiedImageError):
            remedy = "name it by its format, or take it out of the folder"
            return InputError(f"{path}: not a PNG or JPEG image, whatever its name says; {remedy}")
        return InputError(f"{path}: damaged or cut short ({error}); copy it again")

    def _read_facts(self) -> StackFacts:
        self._pixels = np.asarray(self._file)
        sizes = dict(zip("YXC", self._pixels.shape, strict=False))
        colour = {"channels": RGB} if "C" in sizes else {}
        return self._facts(sizes, self._pixels.dtype, **colour)

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        del frame, z  # a still has one of each
        return self._pixels if self._pixels.ndim == 2 else self._pixels[:, :, channel]


def _plain(image: Image.Image) -> Image.Image:
    """Turn palettes, transparency and print colours into RGB, and bilevel into grey."""
    if image.mode in ("L", "I", "F", "RGB") or image.mode.startswith("I;16"):
        return image
    return image.convert("L" if image.mode in ("1", "LA") else "RGB")
