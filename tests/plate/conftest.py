"""Small plates on disk, for the tests of this room."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile


@pytest.fixture
def write_stack() -> Callable[..., Path]:
    """Write an ImageJ stack of random grey levels: path, frames, side in pixels, hours between frames."""

    def write(path: Path, n_frames: int = 3, size: int = 16, interval_h: float | None = 0.5) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(zlib.crc32(path.name.encode()))
        stack = rng.integers(0, 255, (n_frames, size, size), dtype=np.uint8)
        metadata: dict[str, object] = {"axes": "TYX"}
        if interval_h is not None:
            metadata |= {"finterval": interval_h * 3600, "tunit": "s"}
        tifffile.imwrite(path, stack, imagej=True, metadata=metadata)
        return path

    return write
