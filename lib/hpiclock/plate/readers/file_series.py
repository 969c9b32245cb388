"""One file per frame: a numbered series as one stack, named by a template such as ``B03_p1_t{frame}.tif``.

Places in a template: ``{frame}`` or ``{days}``, ``{hours}``, ``{minutes}`` (numbers), ``{channel}`` (text)
and ``{z}`` (a number). The same words, as named groups of the name pattern, turn the files of a folder into
series.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpiclock.errors import InputError
from hpiclock.plate.readers import Scene, StackFacts, open_reader

CLOCK = {"days": 24.0, "hours": 1.0, "minutes": 1 / 60}
PLACES = ("frame", *CLOCK, "channel", "z")
_ONE_FRAME = ("frame", *CLOCK)


class _Key(NamedTuple):
    time: float
    channel: str
    z: int


def template(name: str, match: re.Match[str]) -> str | None:
    """Return the template of the series to which a file name belongs; None where it counts no frames."""
    spans = [
        (match.span(place), place)
        for place in PLACES
        if place in match.re.groupindex and match.group(place) is not None
    ]
    if not any(place in _ONE_FRAME for _, place in spans):
        return None
    for (start, end), place in sorted(spans, reverse=True):
        name = f"{name[:start]}{{{place}}}{name[end:]}"
    return name


def scenes(path: Path) -> list[Scene]:
    """A series is one image."""
    return [Scene(str(path))]


class ImageReader:
    """A numbered series of single images; each file is opened when its plane is read."""

    def __init__(self, path: Path, scene: int = 0) -> None:
        del scene  # there is one
        self.path = path
        self._files = _files(path)
        keys = list(self._files)
        self._times = sorted({key.time for key in keys})
        self._channels = sorted({key.channel for key in keys})
        self._z = sorted({key.z for key in keys})
        self._refuse_holes()
        first = open_reader(self._files[keys[0]])
        try:
            one = first.facts
        finally:
            first.close()
        if one.n_frames * one.n_z * len(one.channels) > 1:
            raise InputError(
                f"{self._files[keys[0]]}: several planes in a file of a numbered series; use one form"
            )
        clocked = any(f"{{{place}}}" in path.name for place in CLOCK)
        hours = np.array(self._times) - self._times[0] if clocked and len(self._times) > 1 else None
        self.facts = StackFacts(
            n_frames=len(self._times),
            height=one.height,
            width=one.width,
            dtype=one.dtype,
            interval_h=None if hours is None else float(np.median(np.diff(hours))),
            times_h=None if hours is None else tuple(hours.tolist()),
            channels=tuple(name or str(i) for i, name in enumerate(self._channels)),
            n_z=len(self._z),
            axes="".join(
                axis
                for axis, values in (("T", self._times), ("C", self._channels), ("Z", self._z))
                if len(values) > 1
            )
            + "YX",
            pixel_um=one.pixel_um,
        )

    def _refuse_holes(self) -> None:
        for time in self._times:
            for channel in self._channels:
                for z in self._z:
                    if _Key(time, channel, z) not in self._files:
                        what = f"time {time:g}, channel {channel or '-'}, z {z}"
                        raise InputError(f"{self.path}: the file of {what} is missing; copy it again")
        if "{frame}" in self.path.name and len(self._times) > 2:
            steps = np.diff(self._times)
            jump = np.flatnonzero(steps != steps.min())
            if jump.size:
                last, following = self._times[jump[0]], self._times[jump[0] + 1]
                raise InputError(
                    f"{self.path}: frames are missing between {last:g} and {following:g}; copy them again"
                )

    def plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Read one plane, shape ``(height, width)``."""
        path = self._files[_Key(self._times[frame], self._channels[channel], self._z[z])]
        reader = open_reader(path)
        try:
            plane = reader.plane(0, 0, 0)
        finally:
            reader.close()
        if plane.shape != (self.facts.height, self.facts.width):
            size = f"{self.facts.height} x {self.facts.width}"
            raise InputError(
                f"{path}: {plane.shape[0]} x {plane.shape[1]} px in a series of {size}; export it again"
            )
        return plane

    def close(self) -> None:
        """Nothing stays open."""


def files_of(path: Path) -> list[Path]:
    """Return the files of a series, in order of time, channel and plane.

    Raises:
        InputError: none there.
    """
    files = _files(path)
    return [files[key] for key in sorted(files)]


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
        said = match.groupdict()
        hours = sum(float(said.get(place, 0)) * factor for place, factor in CLOCK.items())
        time = float(said["frame"]) if "frame" in said else hours
        key = _Key(time, said.get("channel", ""), int(said.get("z", 0)))
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
