"""Leica LIF files through ``liffile``."""

from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import liffile
import numpy as np

from hpiclock.errors import InputError
from hpiclock.plate.readers import RGB, Reader, StackFacts, channel_names, in_hours


class ImageReader(Reader):
    """One image of a LIF file, named as in the microscope's tree."""

    KIND = "a LIF file"

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
        n_frames, n_z = sizes.get("T", 1), sizes.get("Z", 1)
        n_channels = 1 if "S" in sizes else sizes.get("C", 1)
        stamps = np.array([] if stamps is None else stamps).astype("datetime64[ms]").astype(float) / 3.6e6
        per_frame = len(stamps) / n_frames
        if per_frame % 1:  # it was stopped: each frame that is there has as many as it has planes
            per_frame = 1 if len(stamps) < n_frames else n_channels * n_z
        times_h = np.full(n_frames, np.nan)
        if per_frame:
            firsts = stamps[:: int(per_frame)][: int(len(stamps) // per_frame)]  # of each frame's planes
            times_h[: len(firsts)] = (firsts - firsts[0])[:n_frames]
            lost = range(len(firsts), n_frames)
            self.absent = set(product(lost, range(n_channels), range(n_z)))
        pixel_m = _step(self._image, "X")
        return self._facts(
            sizes,
            self._image.dtype,
            interval_h=in_hours(_step(self._image, "T"), "s"),
            times_h=times_h,
            zero_h=float(stamps[0]) if len(stamps) else None,
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
