"""Frame statistics: worked out by hand on frames whose light, focus and border are known."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.cache import FrameCache
from hpiclock.plate.quality import (
    FRAME_STATISTICS,
    KINDS,
    cached_statistics,
    frame_statistics,
    image_statistics,
)


def texture(side=64, seed=0):
    return np.random.default_rng(seed).normal(128, 10, (side, side))


def test_every_column_is_of_one_kind():
    named = [name for names in KINDS.values() for name in names]
    assert sorted(named) == sorted(FRAME_STATISTICS)
    assert set(image_statistics(texture())) == set(FRAME_STATISTICS)


def test_a_constant_frame_has_a_mean_and_nothing_else():
    found = image_statistics(np.full((32, 32), 90, np.uint8))
    assert found.pop("mean") == 90
    assert found.pop("median") == 90
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-4)


def test_levels_of_a_frame_of_two_halves():
    # half 0, half 100: mean 50, SD 50; the percentiles are less the median
    image = np.repeat([0.0, 100.0], 32)[None, :].repeat(64, axis=0)
    found = image_statistics(image)
    assert found["mean"] == 50
    assert found["sd"] == 50
    assert found["p99"] - found["p01"] == 100


def test_a_tint_moves_the_mean_only():
    plain, tinted = image_statistics(texture()), image_statistics(texture() + 6)
    changed = {name for name in FRAME_STATISTICS if abs(plain[name] - tinted[name]) > 1e-3}
    assert changed == {"mean", "median"}
    assert tinted["mean"] - plain["mean"] == pytest.approx(6, abs=1e-3)


def test_contrast_changes_the_spread_and_not_the_focus():
    plain, strong = image_statistics(texture()), image_statistics((texture() - 128) * 2 + 128)
    assert strong["sd"] == pytest.approx(2 * plain["sd"], rel=1e-4)
    for name in KINDS["focus"]:
        assert strong[name] == pytest.approx(plain[name], rel=1e-4)


def test_blur_lowers_every_measure_of_focus():
    from scipy.ndimage import gaussian_filter

    sharp, soft = image_statistics(texture()), image_statistics(gaussian_filter(texture(), 1.0))
    assert all(soft[name] < sharp[name] for name in KINDS["focus"])


def test_shading_is_the_slope_and_the_curvature_put_in():
    # 3 per half side to the right, -2 per half side down, 5 from the middle to an edge
    line = np.linspace(-1, 1, 65)
    image = 100 + 3 * line[None, :] - 2 * line[:, None] + 5 * (line[None, :] ** 2 + line[:, None] ** 2)
    found = image_statistics(image)
    assert (found["tilt_x"], found["tilt_y"], found["bowl"]) == pytest.approx((3, -2, 5), abs=1e-4)


def test_a_mark_on_one_side_is_seen_on_that_side():
    image = np.full((64, 64), 100.0)
    image[:4, :] = 160  # the border of 64 px is 4 px wide
    found = image_statistics(image)
    assert found["border_top"] == 60
    assert found["border_bottom"] == 0
    assert found["border_left"] == pytest.approx(60 * 4 / 64)
    # the ring has 4 * 64 + 4 * 64 + 2 * 4 * 56 = 960 pixels, of which 256 are marked
    assert found["border_mean"] == pytest.approx(60 * 256 / 960)


def test_raw_frames_are_read_as_they_are_and_in_the_order_of_the_rows(tmp_path):
    frames = np.stack([np.full((16, 16), level, np.uint16) for level in (100, 200, 300)])
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", frames + (1000 if name == "b" else 0), imagej=True,
                         metadata={"axes": "TYX"})  # fmt: skip
    rows = pd.DataFrame({"stack_id": ["b", "a", "b"], "frame": [2, 0, 0]})
    rows["path"] = [str(tmp_path / f"{name}.tif") for name in rows["stack_id"]]
    found = frame_statistics(rows, DataConfig())
    assert found["mean"].tolist() == [1300, 100, 1100]
    assert found[["stack_id", "frame"]].equals(rows[["stack_id", "frame"]])


def test_a_stack_that_is_gone_is_one_line(tmp_path):
    rows = pd.DataFrame({"stack_id": ["a"], "frame": [0], "path": [str(tmp_path / "gone.tif")]})
    with pytest.raises(InputError, match=r"gone\.tif"):
        frame_statistics(rows, DataConfig())


def test_cached_frames_are_found_by_stack_and_frame():
    images = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 16, 16), np.uint8)
    cache = FrameCache(images, {"a": 0, "b": 2}, "key")
    rows = pd.DataFrame({"stack_id": ["b", "a"], "frame": [1, 1]})
    assert cached_statistics(cache, rows)["mean"].tolist() == [3, 1]
