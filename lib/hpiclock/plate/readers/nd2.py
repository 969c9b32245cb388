"""Nikon ND2 files through the ``nd2`` package."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nd2
import numpy as np

from hpiclock.plate.readers import RGB, Reader, StackFacts, channel_names, hours_after_first, in_hours


class ImageReader(Reader):
    """One stage position of an ND2 file."""

    KIND, IMAGE = "an ND2 file", "position"

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> nd2.ND2File:
        return opened.enter_context(nd2.ND2File(path))

    @classmethod
    def _images(cls, file: Any) -> dict[int, tuple[str, str, str]]:
        stage = [loop.parameters.points for loop in file.experiment if loop.type == "XYPosLoop"]
        names = [point.name or "" for point in stage[0]] if stage else [""] * file.sizes.get("P", 1)
        return {number: (name, "", name or str(number)) for number, name in enumerate(names)}

    def _read_facts(self) -> StackFacts:
        file = self._file
        self._number = {
            (at.get("T", 0), at.get("Z", 0)): number
            for number, at in enumerate(file.loop_indices)
            if at.get("P", 0) == self.scene
        }
        sizes = {axis: size for axis, size in file.sizes.items() if axis != "P"}
        n_frames = sizes.get("T", 1)
        seconds = {event["Index"]: event.get("Time [s]") for event in file.events()}
        firsts = [seconds.get(self._number.get((frame, 0))) for frame in range(n_frames)]
        nominal = [loop.parameters.periodMs for loop in file.experiment if loop.type == "TimeLoop"]
        names = [channel.channel.name for channel in file.metadata.channels or []]
        return self._facts(
            sizes,
            file.dtype,
            interval_h=in_hours(nominal[0], "ms") if nominal else None,
            times_h=hours_after_first([s if s is None else s / 3600 for s in firsts], n_frames),
            channels=RGB if file.is_rgb else channel_names(names, sizes.get("C", 1)),
            axes="".join(file.sizes),
            pixel_um=file.voxel_size().x,
        )

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        image = np.asarray(self._file.read_frame(self._number[frame, z]))
        if self._file.is_rgb:
            return image[..., channel]
        return image[channel] if image.ndim == 3 else image  # (C, Y, X) or (Y, X)
