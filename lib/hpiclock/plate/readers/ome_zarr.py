"""OME-Zarr images and plates, versions 0.4 and 0.5 (OME-NGFF specification), through zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from hpiclock.errors import InputError
from hpiclock.plate.readers import (
    FAULTS,
    Scene,
    StackFacts,
    check_dtype,
    first_line,
    in_hours,
    in_micrometres,
)
from hpiclock.wells import normal_well


def scenes(path: Path) -> list[Scene]:
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
    children = sorted(
        (child for child in path.iterdir() if child.name.isdecimal()), key=lambda c: int(c.name)
    )
    found = [
        Scene(str(child), child.name, position=child.name)
        for child in children
        if "multiscales" in _ome(child)
    ]
    if not found:
        raise InputError(f"{path}: a Zarr store without OME metadata (multiscales or plate); export it again")
    return found if len(found) > 1 else [Scene(found[0].path)]


def _fields(plate: Path, well: str) -> list[Scene]:
    name = normal_well(well.replace("/", ""))
    fields = [str(image["path"]) for image in _ome(plate / well).get("well", {}).get("images", [])]
    return [Scene(str(plate / well / field), f"{name}/{field}", name, field) for field in fields]


def _ome(path: Path) -> dict[str, Any]:
    """The OME attributes of a group: under ``ome`` in 0.5, at the top in 0.4."""
    try:
        attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    except FAULTS as error:
        raise InputError(
            f"{path}: not a Zarr group, or damaged ({first_line(error)}); copy it again"
        ) from None
    inner = attributes.get("ome", attributes)
    return inner if isinstance(inner, dict) else {}


class ImageReader:
    """The full-resolution level of an OME-Zarr image."""

    def __init__(self, path: Path, scene: int = 0) -> None:
        del scene  # every image has a path of its own
        self.path = path
        ome = _ome(path)
        try:
            image = ome["multiscales"][0]
            axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image["axes"]]
            level = image["datasets"][0]
            self._array: Any = zarr.open_array(str(path / level["path"]), mode="r")
        except FAULTS as error:
            raise InputError(
                f"{path}: its multiscales metadata or array is damaged ({first_line(error)}); copy it again"
            ) from None
        self._axes = "".join(str(axis["name"]).upper() for axis in axes)
        if len(self._axes) != self._array.ndim or not {"Y", "X"} <= set(self._axes) <= set("TCZYX"):
            raise InputError(
                f"{path}: axes {self._axes} do not fit an array of shape {self._array.shape}; export it again"
            )
        sizes = dict(zip(self._axes, self._array.shape, strict=True))
        scales = _scales(level, image, self._axes)
        units = {name: str(axis.get("unit", "")) for name, axis in zip(self._axes, axes, strict=True)}
        self.facts = StackFacts(
            n_frames=sizes.get("T", 1),
            height=sizes["Y"],
            width=sizes["X"],
            dtype=check_dtype(str(path), self._array.dtype),
            interval_h=in_hours(scales.get("T"), units.get("T", "")) if sizes.get("T", 1) > 1 else None,
            channels=_channels(ome, sizes.get("C", 1)),
            n_z=sizes.get("Z", 1),
            axes=self._axes,
            pixel_um=in_micrometres(scales.get("X"), units["X"]),
        )

    def plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Read one plane, shape ``(height, width)``."""
        at = {"T": frame, "C": channel, "Z": z}
        try:
            return np.asarray(self._array[tuple(at.get(axis, slice(None)) for axis in self._axes)])
        except (*FAULTS, zarr.errors.BaseZarrError) as error:
            raise InputError(
                f"{self.path}: frame {frame} cannot be read ({first_line(error)}); copy it again"
            ) from None

    def close(self) -> None:
        """Nothing stays open."""


def _scales(level: dict[str, Any], image: dict[str, Any], axes: str) -> dict[str, float]:
    scales = dict.fromkeys(axes, 1.0)
    for holder in (level, image):
        for step in holder.get("coordinateTransformations", []):
            if step.get("type") == "scale":
                for axis, factor in zip(axes, step["scale"], strict=True):
                    scales[axis] *= float(factor)
    return scales


def _channels(ome: dict[str, Any], n_channels: int) -> tuple[str, ...]:
    labels = [str(one.get("label") or "") for one in ome.get("omero", {}).get("channels", [])]
    labels += [""] * n_channels
    return tuple(label or str(i) for i, label in enumerate(labels[:n_channels]))
