"""A plate is scanned, checked and converted frame by frame: its size on disk does not matter."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from hpiclock.config.schema import DataConfig, ImageConfig, QualityConfig
from hpiclock.plate.cache import open_cache
from hpiclock.plate.manifest.survey import survey
from hpiclock.plate.quality import passport

STACKS, FRAMES, SIDE = 6, 48, 256
MIB = 1 << 20


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six stacks of 6 MiB."""
    folder = tmp_path_factory.mktemp("large")
    metadata = {"axes": "TYX", "finterval": 1800.0}
    for number in range(STACKS):
        rng = np.random.default_rng(number)
        pages = rng.integers(0, 4000, (FRAMES, SIDE, SIDE)).astype(np.uint16)
        tifffile.imwrite(folder / f"x_s1_A{number + 1}_p1.tif", pages, imagej=True, metadata=metadata)
    return folder


def test_scanning_checking_and_converting_hold_a_few_frames_at_a_time(plate: Path, tmp_path: Path) -> None:
    data = DataConfig(source=str(plate), cache_dir=str(tmp_path / "cache"))
    on_disk = sum(path.stat().st_size for path in plate.iterdir())
    assert on_disk > 36 * MIB
    survey(data, 0.0, blind=True)  # what is imported on the way stays
    tracemalloc.start()
    try:
        found = survey(data, 0.0, blind=True)
        passport(found.manifest, found.problems, data, QualityConfig())
        cache = open_cache(found.manifest, data, ImageConfig(size=32))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert cache.images.shape == (STACKS * FRAMES, 32, 32)
    assert peak < 8 * MIB  # a frame is 128 KiB, in float64 four times that
