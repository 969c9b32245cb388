"""Small plates on disk, for the tests of this room."""

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.readers import open_stack


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


@pytest.fixture
def refusal() -> Callable[..., str]:
    """Return the line with which a stack (a path) or a source (its config) is refused."""

    def refused(place: Path | DataConfig, **options: Any) -> str:
        read = open_stack if isinstance(place, Path) else partial(load_manifest, onset_h=1.5)
        with pytest.raises(InputError) as caught:
            read(place, **options)
        message = str(caught.value)
        assert "\n" not in message
        if isinstance(place, Path):
            assert message.startswith(str(place).partition("#")[0])
            assert "; " in message  # problem; remedy
        return message

    return refused
