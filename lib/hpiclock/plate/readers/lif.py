"""Leica LIF files through ``liffile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import liffile
import numpy as np

from hpiclock.errors import InputError
from hpiclock.plate.readers import FAULTS, RGB, Scene, StackFacts, check_dtype, first_line, in_hours


def scenes(path: Path) -> list[Scene]:
    """List the images of a file, named as in the microscope's tree.

    Raises:
        InputError: not a LIF file, or one without an image.
    """
    with _opened(path) as file:
        names = [image.path for image in _images(path, file)]
    if len(names) == 1:
        return [Scene(str(path))]
    return [Scene(f"{path}#{i}", name, position=name.rsplit("/", 1)[-1]) for i, name in enumerate(names)]


class ImageReader:
    """One image of a LIF file."""

    def __init__(self, path: Path, scene: int = 0) -> None:
        self.path = path
        self._file = _opened(path)
        try:
            images = _images(path, self._file)
            if scene >= len(images):
                raise InputError(f"{path}: no image {scene}; it holds images 0-{len(images) - 1}")
            self._image = images[scene]
            self.facts = self._read_facts()
        except InputError:
            self._file.close()
            raise
        except FAULTS as error:
            self._file.close()
            raise _damaged(path, error) from None

    def _read_facts(self) -> StackFacts:
        image, sizes = self._image, self._image.sizes
        unknown = [
            axis for axis, size in sizes.items() if axis not in ("T", "C", "Z", "Y", "X", "S") and size > 1
        ]
        if unknown or not {"Y", "X"} <= set(sizes):
            raise InputError(f"{self.path}: axes {''.join(sizes)} are not understood; export it as OME-TIFF")
        n_frames = sizes.get("T", 1)
        return StackFacts(
            n_frames=n_frames,
            height=sizes["Y"],
            width=sizes["X"],
            dtype=check_dtype(str(self.path), image.dtype),
            interval_h=in_hours(_step(image, "T"), "s"),
            times_h=_times(image, n_frames),
            channels=RGB if "S" in sizes else tuple(str(i) for i in range(sizes.get("C", 1))),
            n_z=sizes.get("Z", 1),
            axes="".join(sizes),
            pixel_um=None if (step := _step(image, "X")) is None else step * 1e6,  # metres
        )

    def plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Read one plane, shape ``(height, width)``."""
        wanted = {"T": frame, "C": channel, "Z": z}
        at = {axis: index for axis, index in wanted.items() if axis in self._image.sizes}
        try:
            image = np.asarray(self._image.frame(**at))
        except FAULTS as error:
            raise InputError(
                f"{self.path}: frame {frame} cannot be read ({first_line(error)}); copy or export it again"
            ) from None
        return image[..., channel] if "S" in self._image.sizes else image

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _opened(path: Path) -> Any:
    try:
        return liffile.LifFile(path)
    except (*FAULTS, SyntaxError) as error:  # ElementTree's ParseError is a SyntaxError
        raise _damaged(path, error) from None


def _images(path: Path, file: Any) -> list[Any]:
    images = list(file.images)
    if not images:
        raise InputError(f"{path}: a LIF file without an image; take it out of the folder")
    return images


def _step(image: Any, axis: str) -> float | None:
    values = image.coords.get(axis)
    return None if values is None or len(values) < 2 else float(values[1] - values[0])


def _times(image: Any, n_frames: int) -> tuple[float, ...] | None:
    """Recorded time of each frame's first plane, hours after frame 0, where the file has all of them."""
    stamps = image.timestamps
    if n_frames == 1 or stamps is None or len(stamps) == 0 or len(stamps) % n_frames:
        return None
    first = stamps.reshape(n_frames, -1)[:, 0]
    hours = (first - first[0]) / np.timedelta64(3_600_000, "ms")
    return tuple(hours.tolist()) if (np.diff(hours) > 0).all() else None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a LIF file, or cut short ({first_line(error)}); copy it again")
