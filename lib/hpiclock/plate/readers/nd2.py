"""Nikon ND2 files through the ``nd2`` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nd2
import numpy as np

from hpiclock.errors import InputError
from hpiclock.plate.readers import FAULTS, RGB, Scene, StackFacts, check_dtype, first_line, in_hours


def scenes(path: Path) -> list[Scene]:
    """List the stage positions of a file.

    Raises:
        InputError: not an ND2 file.
    """
    with _opened(path) as file:
        try:
            names = _position_names(file)
        except FAULTS as error:
            raise _damaged(path, error) from None
    if len(names) < 2:
        return [Scene(str(path))]
    return [Scene(f"{path}#{i}", name, position=name or str(i)) for i, name in enumerate(names)]


class ImageReader:
    """One stage position of an ND2 file."""

    def __init__(self, path: Path, scene: int = 0) -> None:
        self.path = path
        self._file = file = _opened(path)
        try:
            if scene >= max(file.sizes.get("P", 1), 1):
                raise InputError(f"{path}: no position {scene}; it holds {file.sizes.get('P', 1)}")
            self._number = {
                (at.get("T", 0), at.get("Z", 0)): number
                for number, at in enumerate(file.loop_indices)
                if at.get("P", 0) == scene
            }
            self.facts = self._read_facts()
        except InputError:
            file.close()
            raise
        except FAULTS as error:
            file.close()
            raise _damaged(path, error) from None

    def _read_facts(self) -> StackFacts:
        file = self._file
        unknown = [axis for axis, size in file.sizes.items() if axis not in "TPZCYXS" and size > 1]
        if unknown:
            raise InputError(
                f"{self.path}: axes {''.join(file.sizes)} are not understood; export it as OME-TIFF"
            )
        n_frames = file.sizes.get("T", 1)
        times_h = self._times(n_frames)
        nominal = [loop.parameters.periodMs for loop in file.experiment if loop.type == "TimeLoop"]
        interval_h = in_hours(nominal[0], "ms") if nominal else None
        if interval_h is None and times_h is not None:
            interval_h = float(np.median(np.diff(times_h)))
        names = [channel.channel.name for channel in file.metadata.channels or []]
        n_channels = file.sizes.get("C", 1)
        return StackFacts(
            n_frames=n_frames,
            height=file.sizes["Y"],
            width=file.sizes["X"],
            dtype=check_dtype(str(self.path), file.dtype),
            interval_h=interval_h,
            times_h=times_h,
            channels=RGB if file.is_rgb else tuple((names or ["0"])[:n_channels]),
            n_z=file.sizes.get("Z", 1),
            axes="".join(file.sizes),
            pixel_um=file.voxel_size().x,
        )

    def _times(self, n_frames: int) -> tuple[float, ...] | None:
        """Recorded time of each frame's first plane, hours after frame 0."""
        seconds = {event["Index"]: event.get("Time [s]") for event in self._file.events()}
        firsts = [seconds.get(self._number.get((frame, 0))) for frame in range(n_frames)]
        if n_frames == 1 or any(value is None for value in firsts):
            return None
        times = np.array(firsts, dtype=float) / 3600
        return tuple((times - times[0]).tolist()) if (np.diff(times) > 0).all() else None

    def plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Read one plane, shape ``(height, width)``."""
        try:
            image = np.asarray(self._file.read_frame(self._number[frame, z]))
        except FAULTS as error:
            raise InputError(
                f"{self.path}: frame {frame} cannot be read ({first_line(error)}); copy or export it again"
            ) from None
        if self._file.is_rgb:
            return image[..., channel]
        return image[channel] if image.ndim == 3 else image  # (C, Y, X) or (Y, X)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _opened(path: Path) -> Any:
    try:
        return nd2.ND2File(path)
    except FAULTS as error:
        raise _damaged(path, error) from None


def _position_names(file: Any) -> list[str]:
    for loop in file.experiment:
        if loop.type == "XYPosLoop":
            return [point.name or "" for point in loop.parameters.points]
    return [""] * file.sizes.get("P", 1)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not an ND2 file, or cut short ({first_line(error)}); copy it again")
