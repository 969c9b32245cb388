"""The one door to image files: open a stack, know its facts, read one frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from hpiclock.errors import InputError
from hpiclock.plate.formats import SUFFIXES, open_reader, scenes, source_files
from hpiclock.plate.readers import RGB, Reader, Scene, StackFacts

__all__ = ["SUFFIXES", "Scene", "Stack", "StackFacts", "list_stacks", "open_stack", "source_files"]

GREY = "grey"
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights of Pillow's mode L

Z = int | Literal["max", "mean"]


class Stack:
    """One position over time. Use it as a context manager; frames are read when asked for."""

    def __init__(self, path: Path, reader: Reader, channel: int | None, z: Z) -> None:
        self.path = path
        self.facts = reader.facts
        self._reader = reader
        self._channel = channel  # None: luminance of a colour image
        self._z = z

    @property
    def channel_name(self) -> str:
        """The name that the file gives to the channel that is read; empty where it gives none."""
        if self._channel is None:
            return GREY
        name = self.facts.channels[self._channel]
        return "" if name == str(self._channel) else name

    def frame(self, index: int) -> np.ndarray:
        """Read one frame, shape ``(height, width)``, in the file's dtype.

        Raises:
            InputError: no such frame, or a plane that cannot be read.
        """
        if not 0 <= index < self.facts.n_frames:
            raise InputError(f"{self.path}: no frame {index}; it holds frames 0-{self.facts.n_frames - 1}")
        if isinstance(self._z, int):
            return self._plane(index, self._z)
        planes = np.stack([self._plane(index, z) for z in range(self.facts.n_z)])
        if self._z == "max":
            return planes.max(axis=0)
        return _rounded(planes.mean(axis=0, dtype=np.float64), planes.dtype)

    def _plane(self, index: int, z: int) -> np.ndarray:
        if self._channel is not None:
            return self._reader.plane(index, self._channel, z)
        colours = [self._reader.plane(index, number, z) for number in range(len(RGB))]
        luminance = sum(w * colour.astype(np.float64) for w, colour in zip(_LUMA, colours, strict=True))
        return _rounded(np.asarray(luminance), colours[0].dtype)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_stack(path: str | Path, *, channel: int | str | None = None, z: Z | None = None) -> Stack:
    """Open a stack of frames.

    Args:
        path: an image file; one image of several as ``FILE#2`` (see :mod:`hpiclock.plate.formats`).
        channel: index or name; needed when the file has several. Colour images have the channels ``red``,
            ``green``, ``blue`` and also ``grey``, their luminance (ITU-R BT.601).
        z: index of a focus plane, or ``max`` or ``mean`` over all; needed when the file has several.

    Raises:
        InputError: no such file, not an image, cut short, or a choice of channel or z that is missing or not
            possible.
    """
    path = Path(path)
    reader = _reader(path)
    try:
        return Stack(path, reader, _pick_channel(path, reader.facts, channel), _pick_z(path, reader.facts, z))
    except InputError:
        reader.close()
        raise


def list_stacks(path: str | Path) -> list[Scene]:
    """List the stacks that a file holds: the path that opens each, and its place where the file says it.

    Raises:
        InputError: as :func:`open_stack`.
    """
    try:
        return scenes(Path(path))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be opened ({error.strerror or error}); check its permissions"
        ) from None


def _reader(path: Path) -> Reader:
    try:
        return open_reader(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be opened ({error.strerror or error}); check its permissions"
        ) from None


def _pick_channel(path: Path, facts: StackFacts, channel: int | str | None) -> int | None:
    names = facts.channels
    choices = [f"{i} ({name})" if name != str(i) else name for i, name in enumerate(names)]
    choices += [GREY] if names == RGB else []
    if channel is None:
        if len(names) == 1:
            return 0
        raise InputError(f"{path}: {len(names)} channels; set data.channel to one of {', '.join(choices)}")
    if isinstance(channel, str) and channel in names:
        return names.index(channel)
    if channel == GREY and (names == RGB or len(names) == 1):  # grey and colour stills may be mixed
        return None if names == RGB else 0
    index = int(channel) if str(channel).isdecimal() else -1
    if 0 <= index < len(names):
        return index
    raise InputError(f"{path}: no channel {channel}; set data.channel to one of {', '.join(choices)}")


def _pick_z(path: Path, facts: StackFacts, z: Z | None) -> Z:
    if z is None and facts.n_z == 1:
        return 0
    if z is None or (isinstance(z, int) and not 0 <= z < facts.n_z):
        problem = f"{facts.n_z} focus planes" if z is None else f"no focus plane {z}"
        raise InputError(
            f"{path}: {problem} (axes {facts.axes}); set data.z to 0-{facts.n_z - 1}, max or mean, or, if "
            "they are frames over time, correct the file in ImageJ (Image > Properties)"
        )
    return z


def _rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (np.rint(values) if dtype.kind in "ui" else values).astype(dtype)
