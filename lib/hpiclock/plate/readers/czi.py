"""Zeiss CZI files through Zeiss's own ``pylibCZIrw``."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
from pylibCZIrw import czi

from hpiclock.errors import InputError
from hpiclock.plate.readers import FAULTS, RGB, Scene, StackFacts, first_line, in_hours
from hpiclock.wells import normal_well

_DTYPES = {"Gray8": "uint8", "Gray16": "uint16", "Gray32Float": "float32"}
_DTYPES |= {"Bgr24": "uint8", "Bgr48": "uint16"}
_DIMENSIONS = "./Metadata/Information/Image/Dimensions/"


def scenes(path: Path) -> list[Scene]:
    """List the scenes (stage positions) of a file; the name of a scene's shape is its well.

    Raises:
        InputError: not a CZI file.
    """
    document = _opened(path)
    try:
        numbers = sorted(document.scenes_bounding_rectangle)
        named = {
            int(scene.get("Index", "-1")): (scene.get("Name", ""), _well(scene))
            for scene in _metadata(document).findall(".//Dimensions/S/Scenes/Scene")
        }
    finally:
        document.close()
    if len(numbers) < 2:
        return [Scene(str(path))]
    found = [(number, *named.get(number, ("", ""))) for number in numbers]
    return [Scene(f"{path}#{number}", name, well, str(number)) for number, name, well in found]


class ImageReader:
    """One scene of a CZI file."""

    def __init__(self, path: Path, scene: int = 0) -> None:
        self.path = path
        self._document = document = _opened(path)
        try:
            places = document.scenes_bounding_rectangle
            if places and scene not in places:
                raise InputError(f"{path}: no scene {scene}; it holds scenes {min(places)}-{max(places)}")
            self._scene = scene if places else None
            rectangle = places[scene] if places else document.total_bounding_rectangle
            self._first = {axis: low for axis, (low, _) in document.total_bounding_box.items()}
            self.facts = self._read_facts(rectangle.h, rectangle.w)
        except InputError:
            document.close()
            raise
        except FAULTS as error:
            document.close()
            raise _damaged(path, error) from None

    def _read_facts(self, height: int, width: int) -> StackFacts:
        sizes = {axis: high - low for axis, (low, high) in self._document.total_bounding_box.items()}
        unknown = [axis for axis, size in sizes.items() if axis not in "TZCYX" and size > 1]
        kind = self._document.get_channel_pixel_type(0)
        if unknown or kind not in _DTYPES:
            raise InputError(
                f"{self.path}: axes {''.join(sizes)} with pixels {kind} are not understood; "
                "export it as OME-TIFF"
            )
        self._is_rgb = kind.startswith("Bgr")
        xml = _metadata(self._document)
        n_channels = sizes.get("C", 1)
        names = [one.get("Name", "") for one in xml.findall(_DIMENSIONS + "Channels/Channel")]
        names = (names + [""] * n_channels)[:n_channels]
        scale = xml.findtext("./Metadata/Scaling/Items/Distance[@Id='X']/Value")
        step = xml.findtext(_DIMENSIONS + "T/Positions/Interval/Increment")
        return StackFacts(
            n_frames=sizes.get("T", 1),
            height=height,
            width=width,
            dtype=_DTYPES[kind],
            interval_h=in_hours(float(step), "s") if step and sizes.get("T", 1) > 1 else None,
            channels=RGB if self._is_rgb else tuple(n or str(i) for i, n in enumerate(names)),
            n_z=sizes.get("Z", 1),
            axes="".join(sizes),
            pixel_um=float(scale) * 1e6 if scale else None,  # metres
        )

    def plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Read one plane, shape ``(height, width)``."""
        wanted = {"T": frame, "Z": z, "C": 0 if self._is_rgb else channel}
        at = {axis: self._first[axis] + index for axis, index in wanted.items() if axis in self._first}
        try:
            image = self._document.read(plane=at, scene=self._scene)
        except FAULTS as error:
            raise InputError(
                f"{self.path}: frame {frame} cannot be read ({first_line(error)}); copy or export it again"
            ) from None
        return image[:, :, 2 - channel] if self._is_rgb else image[:, :, 0]  # stored blue, green, red

    def close(self) -> None:
        """Close the file."""
        self._document.close()


def _opened(path: Path) -> Any:
    try:
        return czi.CziReader(str(path))
    except FAULTS as error:
        raise _damaged(path, error) from None


def _metadata(document: Any) -> ElementTree.Element:
    return ElementTree.fromstring(document.raw_metadata)


def _well(scene: ElementTree.Element) -> str:
    shape = scene.find("Shape")
    return normal_well(shape.get("Name", "")) if shape is not None else ""


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a CZI file, or cut short ({first_line(error)}); copy it again")
