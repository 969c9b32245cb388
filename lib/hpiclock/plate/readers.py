"""What a reader of one image file gives: its facts, and one plane at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from hpiclock.errors import InputError

RGB = ("red", "green", "blue")
# what readers and codecs raise for damaged data
FAULTS = (ValueError, RuntimeError, OSError, IndexError, TypeError, KeyError, EOFError, AttributeError)

_HOURS = {
    "h": 1.0, "hr": 1.0, "hrs": 1.0, "hour": 1.0, "hours": 1.0,
    "min": 1 / 60, "mins": 1 / 60, "minute": 1 / 60, "minutes": 1 / 60,
    "s": 1 / 3600, "sec": 1 / 3600, "secs": 1 / 3600, "second": 1 / 3600, "seconds": 1 / 3600,
    "ms": 1 / 3.6e6, "msec": 1 / 3.6e6, "millisecond": 1 / 3.6e6, "milliseconds": 1 / 3.6e6,
    "us": 1 / 3.6e9, "µs": 1 / 3.6e9, "μs": 1 / 3.6e9, "microsecond": 1 / 3.6e9,
    "d": 24.0, "day": 24.0, "days": 24.0,
}  # fmt: skip

_MICROMETRES = {
    "nm": 1e-3, "nanometer": 1e-3, "mm": 1e3, "millimeter": 1e3, "m": 1e6, "meter": 1e6,
    "µm": 1.0, "μm": 1.0, "\\u00B5m": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "cm": 1e4, "centimeter": 1e4,
}  # fmt: skip


@dataclass(frozen=True)
class StackFacts:
    """What a file says about the stack it holds.

    Attributes:
        n_frames: time points.
        height: pixels.
        width: pixels.
        dtype: NumPy's name of the grey levels, e.g. ``uint16``.
        interval_h: hours between frames, None where the file does not say.
        times_h: acquisition time of each frame, hours after frame 0, None where the file does not say.
        channels: one name per channel; ``red, green, blue`` for colour images.
        n_z: focus planes.
        axes: the axes of the file as it stands, e.g. ``TCYX``.
        pixel_um: side of a pixel in micrometres, None where the file does not say.
        notes: what was noticed while opening, one sentence each.
    """

    n_frames: int
    height: int
    width: int
    dtype: str
    interval_h: float | None = None
    times_h: tuple[float, ...] | None = None
    channels: tuple[str, ...] = ("0",)
    n_z: int = 1
    axes: str = "YX"
    pixel_um: float | None = None
    notes: tuple[str, ...] = ()


class Scene(NamedTuple):
    """One image among those of a file: the path that opens it, and what the file says of its place."""

    path: str
    name: str = ""
    well: str = ""
    position: str = ""


class Reader(Protocol):
    """One open image file."""

    facts: StackFacts

    def plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Read one plane, shape ``(height, width)``."""

    def close(self) -> None:
        """Close the file."""


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


def check_dtype(path: str, dtype: np.dtype) -> str:
    """Return the name of a grey-level dtype.

    Raises:
        InputError: complex, boolean or structured pixels.
    """
    if dtype.kind not in "uif":
        raise InputError(
            f"{path}: pixels of type {dtype} are not grey levels; save as uint8, uint16 or float32"
        )
    return dtype.newbyteorder("=").name


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
