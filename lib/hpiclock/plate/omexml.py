"""What OME-XML says about one image: channel names, frame times, pixel size.

Open Microscopy Environment data model, schema 2016-06 (older namespaces read the same).
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpiclock.errors import InputError
from hpiclock.plate.names import well_name
from hpiclock.plate.readers import in_hours, in_micrometres


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
        _image(image, pixels, places.get(image.get("ID", ""), ("", "")))
        for image in root.findall("{*}Image")
        if (pixels := image.find("{*}Pixels")) is not None
    ]
    if not images:
        raise InputError(f"{path}: its OME-XML describes no image; export the file again")
    return images


def _image(image: ElementTree.Element, pixels: ElementTree.Element, place: tuple[str, str]) -> OmeImage:
    n_frames = int(pixels.get("SizeT", "1"))
    times_h = _times(pixels, n_frames)
    interval_h = in_hours(_number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s"))
    if interval_h is None and times_h is not None:
        interval_h = float(np.median(np.diff(times_h)))
    files = [uuid.get("FileName", "") for uuid in pixels.findall("{*}TiffData/{*}UUID")]
    return OmeImage(
        name=image.get("Name", ""),
        well=place[0],
        position=place[1],
        files=tuple(dict.fromkeys(name for name in files if name)),
        channels=tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel")),
        interval_h=interval_h,
        times_h=times_h,
        pixel_um=in_micrometres(_number(pixels.get("PhysicalSizeX")), pixels.get("PhysicalSizeXUnit", "µm")),
    )


def _places(root: ElementTree.Element) -> dict[str, tuple[str, str]]:
    """Well and field by image, from the ``Plate`` element; rows and columns count from 0 there."""
    places = {}
    for well in root.findall("{*}Plate/{*}Well"):
        name = well_name(int(well.get("Row", "0")), int(well.get("Column", "0")))
        for field, sample in enumerate(well.findall("{*}WellSample")):
            reference = sample.find("{*}ImageRef")
            if reference is not None:
                places[reference.get("ID", "")] = (name, str(field))
    return places


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


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
