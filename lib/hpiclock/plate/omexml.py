"""What OME-XML says about one image: channel names, frame times, pixel size.

Open Microscopy Environment data model, schema 2016-06 (older namespaces read the same).
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpiclock.errors import InputError
from hpiclock.plate.readers import in_hours

_MICROMETRES = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}


@dataclass(frozen=True)
class OmeImage:
    """One ``Image`` element."""

    name: str
    channels: tuple[str, ...]
    interval_h: float | None
    times_h: tuple[float, ...] | None
    pixel_um: float | None


def read_ome(path: Path, text: str, number: int) -> OmeImage:
    """Read one image of an OME-XML text.

    Args:
        path: the file it comes from, for the error.
        text: the XML.
        number: which image, from 0.

    Raises:
        InputError: XML that cannot be parsed, or without that image.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: its OME-XML is damaged ({error}); export the file again") from None
    images = root.findall("{*}Image")
    if number >= len(images) or images[number].find("{*}Pixels") is None:
        raise InputError(f"{path}: its OME-XML describes {len(images)} images, not image {number}")
    image = images[number]
    pixels = image.find("{*}Pixels")
    assert pixels is not None
    n_frames = int(pixels.get("SizeT", "1"))
    times_h = _times(pixels, n_frames)
    interval_h = in_hours(_number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s"))
    if interval_h is None and times_h is not None and n_frames > 1:
        interval_h = float(np.median(np.diff(times_h)))
    return OmeImage(
        name=image.get("Name", ""),
        channels=tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel")),
        interval_h=interval_h,
        times_h=times_h,
        pixel_um=_micrometres(pixels),
    )


def _times(pixels: ElementTree.Element, n_frames: int) -> tuple[float, ...] | None:
    """Earliest time of each frame's planes, hours after frame 0; None unless every frame has one."""
    first: dict[int, float] = {}
    for plane in pixels.findall("{*}Plane"):
        delta = _number(plane.get("DeltaT"))
        hour = in_hours(1.0, plane.get("DeltaTUnit", "s"))
        if delta is None or hour is None:
            continue
        frame = int(plane.get("TheT", "0"))
        first[frame] = min(first.get(frame, np.inf), delta * hour)
    if len(first) != n_frames or n_frames == 1:
        return None
    times = np.array([first[frame] for frame in range(n_frames)])
    if not np.all(np.diff(times) > 0):  # all zero, or out of order: not measured times
        return None
    return tuple((times - times[0]).tolist())


def _micrometres(pixels: ElementTree.Element) -> float | None:
    size = _number(pixels.get("PhysicalSizeX"))
    factor = _MICROMETRES.get(pixels.get("PhysicalSizeXUnit", "µm"))
    return None if size is None or factor is None else size * factor


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
