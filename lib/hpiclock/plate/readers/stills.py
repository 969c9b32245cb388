"""Single images (PNG, JPEG), and numbered series of single images (TIFF, too) as one stack.

A series is named by a template such as ``B03_p1_t{frame}.tif``.

Places in a template: ``{frame}`` or ``{days}``, ``{hours}``, ``{minutes}`` (numbers), ``{channel}`` (text)
and ``{z}`` (a number). The same words, as named groups of the name pattern, turn the files of a folder into
series.
"""

import os
import re
from contextlib import ExitStack, closing
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from hpiclock.errors import InputError
from hpiclock.plate import readers
from hpiclock.plate.readers import RGB, Reader, Scene, StackFacts

CLOCK = {"days": 24.0, "hours": 1.0, "minutes": 1 / 60}
PLACES = ("frame", *CLOCK, "channel", "z")
_ONE_FRAME = ("frame", *CLOCK)


class _Key(NamedTuple):
    time: float
    channel: str
    z: int


def template(name: str, match: re.Match[str]) -> str | None:
    """Return the template of the series to which a file name belongs; None where it counts no frames."""
    named = [place for place in PLACES if match.groupdict().get(place) is not None]
    spans = [(match.span(place), place) for place in named]
    if not any(place in _ONE_FRAME for _, place in spans):
        return None
    for (start, end), place in sorted(spans, reverse=True):
        name = f"{name[:start]}{{{place}}}{name[end:]}"
    return name


class SeriesReader(Reader):
    """A numbered series of single images; each file is opened when its plane is read."""

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
        del opened  # each file is opened for its plane
        return _files(path)

    def _read_facts(self) -> StackFacts:
        times_channels_z = zip(*self._file, strict=True)
        self._times, self._channels, self._z = (sorted(set(values)) for values in times_channels_z)
        self._refuse_holes()
        first = next(iter(self._file.values()))
        with closing(readers.open_reader(first)) as reader:
            one = reader.facts
        if one.n_frames * one.n_z * len(one.channels) > 1:
            raise InputError(f"{first}: several planes in a file of a numbered series; use one form")
        sizes = {"T": len(self._times), "C": len(self._channels), "Z": len(self._z)}
        sizes = {axis: size for axis, size in sizes.items() if size > 1} | {"Y": one.height, "X": one.width}
        clocked = any(f"{{{place}}}" in self.path.name for place in CLOCK)
        return self._facts(
            sizes,
            one.dtype,
            times_h=readers.hours_after_first(self._times, len(self._times)) if clocked else None,
            channels=readers.channel_names(self._channels, len(self._channels)),
            pixel_um=one.pixel_um,
        )

    def _refuse_holes(self) -> None:
        for time, channel, z in product(self._times, self._channels, self._z):
            if _Key(time, channel, z) not in self._file:
                what = f"time {time:g}, channel {channel or '-'}, z {z}"
                raise self.error(f"the file of {what} is missing; copy it again")
        if "{frame}" in self.path.name and len(self._times) > 2:
            steps = np.diff(self._times)
            jump = np.flatnonzero(steps != steps.min())
            if jump.size:
                last, following = self._times[jump[0]], self._times[jump[0] + 1]
                raise self.error(f"frames are missing between {last:g} and {following:g}; copy them again")

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        path = self._file[_Key(self._times[frame], self._channels[channel], self._z[z])]
        with closing(readers.open_reader(path)) as reader:
            plane = reader.plane(0, 0, 0)
        if plane.shape != (self.facts.height, self.facts.width):
            size = f"{plane.shape[0]} x {plane.shape[1]} px"
            series = f"a series of {self.facts.height} x {self.facts.width}"
            raise InputError(f"{path}: {size} in {series}; export it again")
        return plane


def _files(path: Path) -> dict[_Key, Path]:
    pattern = re.escape(path.name)
    for place in PLACES:
        digits = f"(?P<{place}>{'.+?' if place == 'channel' else '[0-9]+'})"
        pattern = pattern.replace(re.escape(f"{{{place}}}"), digits, 1)
    found: dict[_Key, Path] = {}
    for name in _names(path.parent, os.stat(path.parent).st_mtime_ns):
        match = re.fullmatch(pattern, name)
        if match is None:
            continue
        values = match.groupdict()
        hours = sum(float(values.get(place, 0)) * factor for place, factor in CLOCK.items())
        time = float(values["frame"]) if "frame" in values else hours
        key = _Key(time, values.get("channel", ""), int(values.get("z", 0)))
        if key in found:
            raise InputError(f"{path}: {found[key].name} and {name} are one frame; keep one")
        found[key] = path.parent / name
    if not found:
        raise InputError(f"{path}: no file fits this template; correct the path")
    return found


@lru_cache(maxsize=8)
def _names(folder: Path, changed_ns: int) -> tuple[str, ...]:
    """The names in a folder, read once while it does not change: many series share one."""
    del changed_ns  # a part of the key
    return tuple(sorted(os.listdir(folder)))


class ImageReader(Reader):
    """A PNG or JPEG image: one frame, one grey channel or the channels red, green, blue."""

    DAMAGE = (OSError, ValueError, SyntaxError)  # Pillow's errors for damaged files

    @classmethod
    def scenes(cls, path: Path) -> list[Scene]:
        """Return the image itself."""
        return [Scene(str(path))]

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> Image.Image:
        image = opened.enter_context(Image.open(path))
        image.load()
        return _plain(image)

    @classmethod
    def _damaged(cls, path: Path, error: Exception) -> InputError:
        if isinstance(error, UnidentifiedImageError):
            return InputError(f"{path}: not an image, whatever its name says; take it out of the folder")
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
