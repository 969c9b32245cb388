"""OME-Zarr images and plates, versions 0.4 and 0.5 (OME-NGFF specification), through zarr."""

import math
import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, cached_property
from itertools import product
from operator import floordiv
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from hpiclock.errors import InputError
from hpiclock.plate import readers
from hpiclock.plate.readers import MARKS, Reader, Scene, StackFacts
from hpiclock.wells import normal_well

BLOSC_HEAD = 16  # bytes, the last four the length of the chunk


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
            times = ome["plate"].get("acquisitions") or ()
            wells = [str(well["path"]) for well in ome["plate"].get("wells", [])]
            return [scene for well in wells for scene in _fields(path, well, len(times) > 1)]
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
    def files(cls, path: Path) -> list[Path]:
        """List the files of a store; anything else in it is refused."""
        files = super().files(path)
        for file in files:
            readers.refuse_special(file)
        return files

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> Any:
        del opened  # chunks are files: nothing stays open
        cls.files(path)
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
        self._folder = self.path / str(level["path"])
        self._array: Any = zarr.open_array(str(self._folder), mode="r")
        self._axes = "".join(str(axis["name"]).upper() for axis in axes)
        if len(set(self._axes)) != self._array.ndim or not {"Y", "X"} <= set(self._axes) <= set("TCZYX"):
            raise self.error(
                f"axes {self._axes} do not fit an array of shape {self._array.shape}; export it again"
            )
        sizes = dict(zip(self._axes, self._array.shape, strict=True))
        steps = _transforms(level, image, "scale")
        scales = {axis: math.prod(one[i] for one in steps) for i, axis in enumerate(self._axes)}
        units = {name: str(axis.get("unit", "")) for name, axis in zip(self._axes, axes, strict=True)}
        notes = self._look_for_chunks(sizes)
        start = sum(one[0] for one in _transforms(level, image, "translation") if self._axes[0] == "T")
        step = scales.get("T") if sizes.get("T", 1) > 1 else None
        labels = [str(one.get("label") or "") for one in ome.get("omero", {}).get("channels", [])]
        return self._facts(
            sizes,
            self._array.dtype,
            interval_h=readers.in_hours(step, units.get("T", "")),
            start_h=readers.in_hours(start, units.get("T", "")),
            zero_h=_acquired(self.path),
            channels=readers.channel_names(labels, sizes.get("C", 1)),
            pixel_um=readers.in_micrometres(scales.get("X"), units["X"]),
            notes=notes,
        )

    def _look_for_chunks(self, sizes: dict[str, int]) -> tuple[str, ...]:
        """Find the planes of which no chunk is there: reading them would give the store's fill value.

        Returns a note on those of which some are there: a store leaves out chunks that hold that value alone.
        """
        there = {file.relative_to(self._folder).as_posix() for file in self.files(self._folder)}
        planes = list(readers.all_planes(self.path, sizes))
        lost = {plane: [key for key in self._chunks(*plane) if key not in there] for plane in planes}
        self.absent = {plane for plane in planes if len(lost[plane]) == len(self._chunks(*plane))}
        partly = sum(bool(keys) for keys in lost.values()) - len(self.absent)
        value = f"the parts that they lack are the store's fill value, {self._array.fill_value}"
        return (f"{partly} of its {len(planes)} planes lack some of their chunks: {value}",) if partly else ()

    def _chunks(self, *plane: int) -> tuple[str, ...]:
        """The names of the chunks that hold a plane."""
        chunks = self._array.shards or self._array.chunks
        sides = [dict(zip(self._axes, chunks, strict=True)).get(axis, 1) for axis in "TCZ"]
        return self._chunk_names(*map(floordiv, plane, sides))

    @cached_property
    def _chunk_names(self) -> Callable[..., tuple[str, ...]]:
        chunks = self._array.shards or self._array.chunks
        grid = [range(-(-size // chunk)) for size, chunk in zip(self._array.shape, chunks, strict=True)]

        @cache
        def names(*leading: int) -> tuple[str, ...]:
            fixed = dict(zip("TCZ", leading, strict=True))
            at = [[fixed[axis]] if axis in fixed else grid[i] for i, axis in enumerate(self._axes)]
            return tuple(self._array.metadata.encode_chunk_key(key) for key in product(*at))

        return names

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        if not self._array.shards and any("Blosc" in type(one).__name__ for one in self._array.compressors):
            for file in filter(Path.is_file, (self._folder / key for key in self._chunks(frame, channel, z))):
                self._refuse_cut_short(file)
        at = {"T": frame, "C": channel, "Z": z}
        return np.asarray(self._array[tuple(at.get(axis, slice(None)) for axis in self._axes)])

    def _refuse_cut_short(self, file: Path) -> None:
        """Refuse a Blosc chunk that is shorter than it says: decoding it would give what stands in memory."""
        with file.open("rb") as stream:
            head, size = stream.read(BLOSC_HEAD), file.stat().st_size
        promised = int.from_bytes(head[-4:], "little")
        if len(head) < BLOSC_HEAD or size < promised:
            raise EOFError(f"{file.relative_to(self.path)} is cut short: {size} bytes are there")


def _fields(plate: Path, well: str, timed: bool = False) -> list[Scene]:
    """The fields of a well; with several acquisitions, each is a series and counts its own fields."""
    name = normal_well(well.replace("/", ""))
    count: Counter[str] = Counter()
    found = []
    for image in _ome(plate / well).get("well", {}).get("images", []):
        field, series = str(image["path"]), str(image.get("acquisition", "")) if timed else ""
        position = str(count[series]) if timed else field
        count[series] += 1
        found.append(Scene(str(plate / well / field), f"{name}/{field}", name, position, series))
    return found


def _acquired(field: Path) -> float | None:
    """Start of the acquisition to which a field of a plate belongs, hours since 1970."""
    well, plate = (Path(os.path.abspath(field / up)) for up in ("..", "../../.."))
    if not all(any((group / name).is_file() for name in MARKS) for group in (well, plate)):
        return None
    images = _ome(well).get("well", {}).get("images", [])
    number = next((one.get("acquisition") for one in images if str(one.get("path")) == field.name), None)
    known = _ome(plate).get("plate", {}).get("acquisitions") or ()
    start = next((one.get("starttime") for one in known if one.get("id") == number), None)
    if number is None or start is None:
        return None
    return float(start) / 3600 / (1000 if start > 1e11 else 1)  # seconds; some write milliseconds


def _ome(path: Path) -> dict[str, Any]:
    """The OME attributes of a group: under ``ome`` in 0.5, at the top in 0.4."""
    try:
        attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    except Exception as error:
        why = f"not a Zarr group, or damaged ({readers.first_line(error)})"
        raise InputError(f"{path}: {why}; copy it again") from None
    inner = attributes.get("ome", attributes)
    return inner if isinstance(inner, dict) else {}


def _transforms(level: dict[str, Any], image: dict[str, Any], kind: str) -> list[list[float]]:
    steps = [step for one in (level, image) for step in one.get("coordinateTransformations", [])]
    return [[float(value) for value in step[kind]] for step in steps if step.get("type") == kind]
