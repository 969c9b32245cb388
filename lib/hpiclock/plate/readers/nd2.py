"""Nikon ND2 files through the ``nd2`` package."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nd2
import numpy as np

from hpiclock.plate.readers import RGB, Plane, Reader, StackFacts, channel_names, in_hours

JULIAN_1970 = 2440587.5  # days


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
        self.absent = self._never_written()
        n_frames = sizes.get("T", 1)
        seconds = {event["Index"]: event.get("Time [s]") for event in file.events()}
        firsts = [seconds.get(self._number.get((frame, 0))) for frame in range(n_frames)]
        nominal = [loop.parameters.periodMs for loop in file.experiment if loop.type == "TimeLoop"]
        names = [channel.channel.name for channel in file.metadata.channels or []]
        return self._facts(
            sizes,
            file.dtype,
            interval_h=in_hours(nominal[0], "ms") if nominal else None,
            times_h=[np.nan if s is None else s / 3600 for s in firsts],
            zero_h=self._zero_h(),
            channels=RGB if file.is_rgb else channel_names(names, sizes.get("C", 1)),
            axes="".join(file.sizes),
            pixel_um=file.voxel_size().x,
        )

    def _never_written(self) -> set[Plane]:
        """Planes without a place in the file's map; the package would give zeros for them."""
        offsets = getattr(self._file._rdr, "_frame_offsets", None)  # older files hold every frame
        if offsets is None:
            return set()
        attributes = self._file.attributes
        whole = (attributes.widthBytes or 0) * attributes.heightPx if not attributes.compressionType else 1
        size, n_channels = self.path.stat().st_size, 1 if self._file.is_rgb else self._file.sizes.get("C", 1)
        lost = [
            at for at, number in self._number.items() if not 0 <= offsets.get(number, size) <= size - whole
        ]
        return {(t, c, z) for t, z in lost for c in range(n_channels)}

    def _zero_h(self) -> float | None:
        """The moment from which its times count; days before noon of 1 January 4713 BC in the file."""
        channels = self._file.frame_metadata(0).channels or []
        time = getattr(channels[0], "time", None) if channels else None
        if time is None or not time.absoluteJulianDayNumber:
            return None
        return (time.absoluteJulianDayNumber - JULIAN_1970) * 24 - time.relativeTimeMs / 3.6e6

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        # the package gives a view of the mapped file, which is gone once the file is closed
        image = np.array(self._file.read_frame(self._number[frame, z]))
        if self._file.is_rgb:
            return image[..., channel]
        return image[channel] if image.ndim == 3 else image  # (C, Y, X) or (Y, X)
