"""OME-Zarr images and plates, versions 0.4 and 0.5 (OME-NGFF specification), through zarr."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from hpiclock.errors import InputError
from hpiclock.plate import readers
from hpiclock.plate.readers import Reader, Scene, StackFacts
from hpiclock.wells import normal_well


class ImageReader(Reader):
    """The full-resolution level of an OME-Zarr image; every image of a store has a path of its own."""

    @classmethod
    def scenes(cls, path: Path) -> list[Scene]:
        """List the images of a store: itself, the fields of a plate, or the images of a converted file.

        Raises:
            InputError: not an OME-Zarr store.
        """
        ome = _ome(path)
        if "plate" in ome:
            return [scene for well in ome["plate"]["wells"] for scene in _fields(path, well["path"])]
        if "well" in ome:
            return _fields(path.parent.parent, f"{path.parent.name}/{path.name}")
        if "multiscales" in ome:
            return [Scene(str(path))]
        numbers = sorted((child.name for child in path.iterdir() if child.name.isdecimal()), key=int)
        images = [number for number in numbers if "multiscales" in _ome(path / number)]
        found = [Scene(str(path / number), number, position=number) for number in images]
        if not found:
            lacks = "a Zarr store without OME metadata (multiscales or plate)"
            raise InputError(f"{path}: {lacks}; export it again")
        return found if len(found) > 1 else [Scene(found[0].path)]

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> Any:
        del opened  # chunks are files: nothing stays open
        return _ome(path)

    @classmethod
    def _damaged(cls, path: Path, error: Exception) -> InputError:
        why = f"its multiscales metadata or array is damaged ({readers.first_line(error)})"
        return InputError(f"{path}: {why}; copy it again")

    def _read_facts(self) -> StackFacts:
        ome = self._file
        image = ome["multiscales"][0]
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image["axes"]]
        level = image["datasets"][0]
        self._array: Any = zarr.open_array(str(self.path / level["path"]), mode="r")
        self._axes = "".join(str(axis["name"]).upper() for axis in axes)
        if len(self._axes) != self._array.ndim or not {"Y", "X"} <= set(self._axes) <= set("TCZYX"):
            raise self.error(
                f"axes {self._axes} do not fit an array of shape {self._array.shape}; export it again"
            )
        sizes = dict(zip(self._axes, self._array.shape, strict=True))
        scales = _scales(level, image, self._axes)
        units = {name: str(axis.get("unit", "")) for name, axis in zip(self._axes, axes, strict=True)}
        step = scales.get("T") if sizes.get("T", 1) > 1 else None
        labels = [str(one.get("label") or "") for one in ome.get("omero", {}).get("channels", [])]
        return self._facts(
            sizes,
            self._array.dtype,
            interval_h=readers.in_hours(step, units.get("T", "")),
            channels=readers.channel_names(labels, sizes.get("C", 1)),
            pixel_um=readers.in_micrometres(scales.get("X"), units["X"]),
        )

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        at = {"T": frame, "C": channel, "Z": z}
        return np.asarray(self._array[tuple(at.get(axis, slice(None)) for axis in self._axes)])


def _fields(plate: Path, well: str) -> list[Scene]:
    name = normal_well(well.replace("/", ""))
    fields = [str(image["path"]) for image in _ome(plate / well).get("well", {}).get("images", [])]
    return [Scene(str(plate / well / field), f"{name}/{field}", name, field) for field in fields]


def _ome(path: Path) -> dict[str, Any]:
    """The OME attributes of a group: under ``ome`` in 0.5, at the top in 0.4."""
    try:
        attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    except readers.FAULTS as error:
        why = f"not a Zarr group, or damaged ({readers.first_line(error)})"
        raise InputError(f"{path}: {why}; copy it again") from None
    inner = attributes.get("ome", attributes)
    return inner if isinstance(inner, dict) else {}


def _scales(level: dict[str, Any], image: dict[str, Any], axes: str) -> dict[str, float]:
    scales = dict.fromkeys(axes, 1.0)
    for holder in (level, image):
        for step in holder.get("coordinateTransformations", []):
            if step.get("type") == "scale":
                for axis, factor in zip(axes, step["scale"], strict=True):
                    scales[axis] *= float(factor)
    return scales
