"""The plain looks of a stack: medians over its frames, and a sign for exchanged bright and dark."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.plate import quality as module
from hpiclock.plate.cache import FrameCache
from hpiclock.plate.quality import STACK_STATISTICS, stack_statistics


def cache(images: np.ndarray, n_frames: int) -> tuple[FrameCache, pd.DataFrame]:
    names = [f"s{i}" for i in range(len(images) // n_frames)]
    offset = {name: i * n_frames for i, name in enumerate(names)}
    rows = [(name, "p", name.upper(), frame) for name in names for frame in range(n_frames)]
    return FrameCache(images, offset, "key"), pd.DataFrame(
        rows, columns=["stack_id", "plate", "well", "frame"]
    )


def pictures(n: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 5, (n, 16, 16))
    noise[:, 3:6, 3:6] += 60  # few bright spots on an even ground
    return np.clip(100 + noise, 0, 255).astype(np.uint8)


def test_a_stack_is_the_median_of_its_frames() -> None:
    images = pictures(6)
    images[2] += 50  # one frame of three
    table = stack_statistics(*cache(images, 3)).set_index("stack_id")
    assert list(table.columns) == [
        "plate",
        "well",
        *STACK_STATISTICS,
        *(f"{name}_start" for name in STACK_STATISTICS),
    ]
    assert table["well"].tolist() == ["S0", "S1"]
    means = images.reshape(2, 3, -1).mean(-1)
    np.testing.assert_allclose(table["mean"], np.median(means, axis=1), rtol=1e-6)
    np.testing.assert_allclose(table["mean_start"], means[:, :2].mean(axis=1), rtol=1e-6)


def test_exchanging_bright_and_dark_changes_the_sign_and_nothing_else() -> None:
    images = pictures(3)
    one, other = (stack_statistics(*cache(grey, 3)).iloc[0] for grey in (images, 255 - images))
    assert one["asymmetry"] > 0.3
    np.testing.assert_allclose(other["asymmetry"], -one["asymmetry"], rtol=1e-9)
    for name in ("sd", "laplacian", "gradient", "sharpness", "border_sd"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5)


def test_a_frame_of_one_grey_level_has_no_asymmetry() -> None:
    assert stack_statistics(*cache(np.full((2, 16, 16), 9, np.uint8), 2))["asymmetry"].item() == 0


def test_of_a_large_plate_every_stack_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FRAMES", 4)
    asked = []
    really = module.cached_statistics

    def count(cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
        asked.append(len(frames))
        return really(cache, frames)

    monkeypatch.setattr(module, "cached_statistics", count)
    assert len(stack_statistics(*cache(pictures(12), 6))) == 2
    assert asked == [6]  # every third of each stack, and its first two
