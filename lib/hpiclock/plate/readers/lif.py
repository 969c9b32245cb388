"""Leica LIF files through ``liffile``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import liffile
import numpy as np

from hpiclock.errors import InputError
from hpiclock.plate.readers import FAULTS, RGB, Reader, StackFacts, channel_names, hours_after_first, in_hours


class ImageReader(Reader):
    """One image of a LIF file, named as in the microscope's tree."""

    KIND = "a LIF file"
    DAMAGE = (*FAULTS, SyntaxError)  # ElementTree's ParseError is a SyntaxError

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> liffile.LifFile:
        file = opened.enter_context(liffile.LifFile(path))
        if not list(file.images):
            raise InputError(f"{path}: a LIF file without an image; take it out of the folder")
        return file

    @classmethod
    def _images(cls, file: Any) -> dict[int, tuple[str, str, str]]:
        names = [image.path for image in file.images]
        return {number: (name, "", name.rsplit("/", 1)[-1]) for number, name in enumerate(names)}

    def _read_facts(self) -> StackFacts:
        self._image: Any = list(self._file.images)[self.scene]
        sizes, stamps = self._image.sizes, self._image.timestamps
        n_frames = sizes.get("T", 1)
        times_h = None
        if stamps is not None and len(stamps) and len(stamps) % n_frames == 0:
            first = stamps.reshape(n_frames, -1)[:, 0]  # of each frame's planes
            times_h = hours_after_first((first - first[0]) / np.timedelta64(3_600_000, "ms"), n_frames)
        pixel_m = _step(self._image, "X")
        return self._facts(
            sizes,
            self._image.dtype,
            interval_h=in_hours(_step(self._image, "T"), "s"),
            times_h=times_h,
            channels=RGB if "S" in sizes else channel_names([], sizes.get("C", 1)),
            pixel_um=None if pixel_m is None else pixel_m * 1e6,
        )

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        wanted = {"T": frame, "C": channel, "Z": z}
        at = {axis: index for axis, index in wanted.items() if axis in self._image.sizes}
        image = np.asarray(self._image.frame(**at))
        return image[..., channel] if "S" in self._image.sizes else image


def _step(image: Any, axis: str) -> float | None:
    values = image.coords.get(axis)
    return None if values is None or len(values) < 2 else float(values[1] - values[0])
