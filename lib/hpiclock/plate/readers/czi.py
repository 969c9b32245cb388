"""Zeiss CZI files through Zeiss's own ``pylibCZIrw``."""

import math
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from pylibCZIrw import czi

from hpiclock.plate.readers import (
    RGB,
    Plane,
    Reader,
    StackFacts,
    all_planes,
    channel_names,
    hours_since_1970,
    in_hours,
)
from hpiclock.wells import normal_well

Part = tuple[slice, slice]
FILLED = "that part of each frame is filled with its median"
_GREY = {"Gray8": "uint8", "Gray16": "uint16", "Gray32Float": "float32"}
_DTYPES = _GREY | {"Bgr24": "uint8", "Bgr48": "uint16"}
_IMAGE = "./Metadata/Information/Image/"
_DIMENSIONS = _IMAGE + "Dimensions/"


class ImageReader(Reader):
    """One scene (stage position) of a CZI file; the name of a scene's shape is its well."""

    KIND, IMAGE = "a CZI file", "scene"

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> Any:
        return opened.enter_context(closing(czi.CziReader(str(path))))

    @classmethod
    def _images(cls, file: Any) -> dict[int, tuple[str, str, str]]:
        found = {number: ("", "", str(number)) for number in sorted(file.scenes_bounding_rectangle)}
        for scene in _metadata(file).findall(".//Dimensions/S/Scenes/Scene"):
            number, shape = int(scene.get("Index", "-1")), scene.find("Shape")
            well = "" if shape is None else normal_well(shape.get("Name", ""))
            if number in found:
                found[number] = (scene.get("Name", ""), well, str(number))
        return found

    def _read_facts(self) -> StackFacts:
        file = self._file
        places = file.scenes_bounding_rectangle
        self._scene = self.scene if places else None
        rectangle = places[self.scene] if places else file.total_bounding_rectangle
        box = file.total_bounding_box
        self._first = {axis: low for axis, (low, _) in box.items()}
        sizes = {axis: high - low for axis, (low, high) in box.items()}
        first, n_frames = self._first.get("T", 0), sizes.get("T", 1)
        kind = file.get_channel_pixel_type(0)
        if kind not in _DTYPES:
            raise self.error(f"pixels {kind} are not understood; export it as OME-TIFF")
        self._is_rgb = kind.startswith("Bgr")
        xml = _metadata(file)
        names = [one.get("Name") for one in xml.findall(_DIMENSIONS + "Channels/Channel")]
        scale = xml.findtext("./Metadata/Scaling/Items/Distance[@Id='X']/Value")
        step = xml.findtext(_DIMENSIONS + "T/Positions/Interval/Increment")
        offsets = (xml.findtext(_DIMENSIONS + "T/Positions/List/Offsets") or "").split()
        zero = xml.findtext(_DIMENSIONS + "T/StartTime") or xml.findtext(_IMAGE + "AcquisitionDateAndTime")
        self._look_for_tiles(rectangle, sizes)
        bare = self._bare.get(min(self._bare, default=(0, 0, 0)), [])
        share = sum(map(_area, bare)) / (rectangle.w * rectangle.h)
        return self._facts(
            sizes | {"Y": rectangle.h, "X": rectangle.w},
            _DTYPES[kind],
            interval_h=in_hours(float(step), "s") if step and n_frames > 1 else None,
            times_h=[float(s) / 3600 for s in offsets] if len(offsets) == n_frames > 1 else None,
            raster=tuple(range(first, first + n_frames)),
            start_h=float(xml.findtext(_DIMENSIONS + "T/Positions/Interval/Start") or 0) / 3600,
            zero_h=hours_since_1970(zero),
            channels=RGB if self._is_rgb else channel_names(names, sizes.get("C", 1)),
            pixel_um=float(scale) * 1e6 if scale else None,  # metres
            notes=(f"{share:.0%} of its mosaic was never imaged: {FILLED}",) if share else (),
        )

    def _look_for_tiles(self, rectangle: Any, sizes: dict[str, int]) -> None:
        """Find what no tile covers of each plane; a plane that lacks tiles that others have is absent.

        Planes without any: a scene that stopped early, frames that were dropped.
        """
        tiles: dict[Plane, set[tuple[int, int, int, int]]] = defaultdict(set)

        def note(_: int, block: Any) -> bool:
            at, tile = block.coordinate.to_dict(), block.logicalRect
            mine = self._scene is None or at.get("S", self._scene) == self._scene
            if mine and block.physicalSize.w == tile.w:  # else a smaller copy, for looking at
                t, c, z = (at.get(axis, 0) - self._first.get(axis, 0) for axis in "TCZ")
                place = (tile.x - rectangle.x, tile.y - rectangle.y, tile.w, tile.h)
                tiles[t, 0 if self._is_rgb else c, z].add(place)
            return True

        self._file.enumerate_subblocks(note)
        layouts = {frozenset(mine) for mine in tiles.values()}
        bare = {layout: _not_covered(layout, rectangle.w, rectangle.h) for layout in layouts}
        self._bare: dict[Plane, list[Part]] = {at: bare[frozenset(mine)] for at, mine in tiles.items()}
        lost = {at: sum(map(_area, parts)) for at, parts in self._bare.items()}
        half_a_tile = min((w * h / 2 for mine in tiles.values() for *_, w, h in mine), default=0)
        least = min(lost.values(), default=0)
        whole = {at for at, area in lost.items() if area - least < half_a_tile}
        self._bare = {at: parts for at, parts in self._bare.items() if at in whole}
        self.absent = set(all_planes(self.path, sizes | {"C": 1} if self._is_rgb else sizes)) - whole

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        wanted = {"T": frame, "Z": z, "C": 0 if self._is_rgb else channel}
        at = {axis: self._first[axis] + index for axis, index in wanted.items() if axis in self._first}
        image = self._file.read(plane=at, scene=self._scene)
        image = image[:, :, 2 - channel] if self._is_rgb else image[:, :, 0]  # stored blue, green, red
        if parts := self._bare[frame, wanted["C"], z]:
            there = np.ones(image.shape, bool)
            for part in parts:
                there[part] = False
            image[~there] = np.median(image[there]).astype(image.dtype)
        return image


def _not_covered(tiles: Iterable[tuple[int, int, int, int]], width: int, height: int) -> list[Part]:
    """The parts of a mosaic that none of its tiles (x, y, width, height) covers."""
    tiles = list(tiles)
    xs = np.unique(np.clip([0, width, *(x + more for x, _, w, _ in tiles for more in (0, w))], 0, width))
    ys = np.unique(np.clip([0, height, *(y + more for _, y, _, h in tiles for more in (0, h))], 0, height))
    covered = np.zeros((len(ys) - 1, len(xs) - 1), bool)
    for x, y, w, h in tiles:
        rows, columns = np.searchsorted(ys, (y, y + h)), np.searchsorted(xs, (x, x + w))
        covered[slice(*rows), slice(*columns)] = True
    return [(slice(*ys[i : i + 2]), slice(*xs[j : j + 2])) for i, j in np.argwhere(~covered)]


def _area(part: Part) -> int:
    return int(math.prod(side.stop - side.start for side in part))


def _metadata(file: Any) -> ElementTree.Element:
    return ElementTree.fromstring(file.raw_metadata)
