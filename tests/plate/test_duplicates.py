"""Overlapping and doubled fields, burned-in marks: found where they were put, and only there."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from hpiclock.config.schema import DataConfig
from hpiclock.plate.duplicates import (
    FIELD_PX,
    Fields,
    burned_in_marks,
    downscaled,
    evenly_spaced,
    load_fields,
    overlapping_fields,
)


def scene(seed, height=96, width=96):
    """Grainy structure of a few pixels, as cells are."""
    noise = np.random.default_rng(seed).normal(size=(2, height, width))
    return gaussian_filter(noise, (0, 1.5, 1.5)) * 60 + 128


def fields_of(*stacks):
    return Fields([f"s{i}" for i in range(len(stacks))], np.stack(stacks).astype(np.float32))


def noisy(frames, seed):
    return frames + np.random.default_rng(seed).normal(0, 2, frames.shape)


def test_unrelated_fields_do_not_match():
    fields = fields_of(*(scene(seed) for seed in range(8)))
    pairs, compared = overlapping_fields(fields, groups=["a"] * 8, max_pairs=1000)
    assert pairs.empty
    assert compared == 28  # 8 * 7 / 2


def test_the_same_field_twice_overlaps_wholly():
    once = scene(0)
    fields = fields_of(noisy(once, 1), scene(2), noisy(once, 3))
    (pair,) = overlapping_fields(fields, groups=["a"] * 3, max_pairs=1000)[0].itertuples()
    assert (pair.a, pair.b) == ("s0", "s2")
    assert pair.overlap == 1
    assert pair.correlation > 0.9


def test_a_neighbour_is_found_with_its_shift():
    # the second field begins 60 px further right and 8 px further down: 36 x 88 of 96 x 96 px are shared
    wide = scene(5, 120, 200)
    fields = fields_of(noisy(wide[:, :96, :96], 1), noisy(wide[:, 8:104, 60:156], 2))
    (pair,) = overlapping_fields(fields, groups=["a", "b"], max_pairs=10)[0].itertuples()
    assert (pair.shift_x, pair.shift_y) == pytest.approx((60 / 96, 8 / 96))
    assert pair.overlap == pytest.approx(36 * 88 / 96**2)


def test_two_frames_must_agree_on_the_shift():
    once = scene(0)
    moved = np.stack([once[0], np.roll(once[1], 20, axis=1)])
    assert overlapping_fields(fields_of(once, moved), groups=["a", "b"], max_pairs=10)[0].empty


def test_dust_that_all_fields_share_is_no_match():
    dust = scene(99)
    fields = fields_of(*(scene(seed) + 1.5 * (dust - 128) for seed in range(8)))
    assert overlapping_fields(fields, groups=["a"] * 8, max_pairs=1000)[0].empty
    assert not overlapping_fields(fields, groups=[str(i) for i in range(8)], max_pairs=1000)[0].empty


def test_no_more_pairs_are_compared_than_asked_for():
    fields = fields_of(*(scene(seed) for seed in range(6)))
    assert overlapping_fields(fields, groups=["a"] * 6, max_pairs=4)[1] == 3  # all of 3 fields


def test_a_picture_that_stands_twice_is_found_among_more_fields_than_can_be_compared():
    once = scene(0)
    fields = fields_of(*(scene(seed) for seed in range(1, 30)), noisy(once, 1), scene(50), noisy(once, 2))
    pairs, compared = overlapping_fields(fields, groups=["a"] * 32, max_pairs=10)
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [("s29", "s31")]
    assert compared <= 10


def marks(images, conditions):
    wells = [f"w{i}" for i in range(len(conditions))]
    stacks = pd.DataFrame({"plate": "P", "well": wells, "condition": conditions})
    return burned_in_marks(fields_of(*images), stacks).set_index("condition")


def test_a_mark_in_one_condition_is_counted_there():
    images = [scene(seed) for seed in range(24)]
    for image in images[:12]:
        image[:, 3:8, 10:30] = 200  # 100 pixels
    found = marks(images, ["infected"] * 12 + ["mock"] * 12)
    assert found["pixels"].to_dict() == {"infected": 100, "mock": 0, "both": 0}
    assert found.loc["infected", "share"] == 100 / 96**2


def test_a_scale_bar_in_every_image_gives_nothing_away():
    images = [scene(seed) for seed in range(24)]
    for image in images:
        image[:, 90:93, 60:90] = 255
    found = marks(images, ["infected"] * 12 + ["mock"] * 12)
    assert found["pixels"].to_dict() == {"infected": 0, "mock": 0, "both": 90}


def test_few_stacks_cannot_tell_a_mark_from_chance():
    found = marks([scene(seed) for seed in range(8)], ["infected"] * 4 + ["mock"] * 4)
    assert found["pixels"].isna().all()
    assert "4 stacks are too few" in found.loc["infected", "note"]


def test_frames_are_taken_evenly_from_the_first_half():
    assert evenly_spaced(np.arange(49), 3).tolist() == [0, 12, 24]
    assert evenly_spaced(np.array([7]), 2).tolist() == [7, 7]


def test_large_frames_are_shrunk_by_their_means_and_small_ones_kept():
    blocks = np.arange(4.0).reshape(2, 2).repeat(FIELD_PX, 0).repeat(FIELD_PX, 1)
    assert downscaled(blocks).shape == (FIELD_PX, FIELD_PX)
    assert downscaled(blocks)[0, 0] == 0
    assert downscaled(blocks)[-1, -1] == 3
    assert downscaled(np.ones((48, 48), np.uint8)).shape == (48, 48)


def test_fields_are_read_from_stacks(tmp_path):
    frames = np.stack([np.full((32, 32), level, np.uint8) for level in (10, 20, 30, 40)])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
    rows = pd.DataFrame({"stack_id": "a", "path": str(path), "frame": range(4)})
    found = load_fields(rows, DataConfig(), per_stack=2)
    assert found.stack_id == ["a"]
    assert found.images.mean((2, 3)).tolist() == [[10, 20]]  # frame 0, and (4 - 1) // 2 = 1


def test_pictures_of_different_sizes_are_compared_at_the_smallest(tmp_path):
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, side in zip(paths, (40, 64), strict=True):
        tifffile.imwrite(path, np.arange(side * side, dtype=np.uint16).reshape(side, side))
    frames = pd.DataFrame({"stack_id": ["a", "b"], "path": [str(path) for path in paths], "frame": 0})
    fields = load_fields(frames, DataConfig(), per_stack=2)
    assert fields.images.shape == (2, 2, 40, 40)


def test_single_pictures_that_share_an_outline_are_no_copies():
    y, x = np.mgrid[:96, :96]
    inside = np.hypot(y - 48, x - 48) < 40
    cells = [np.stack([np.where(inside, 2 * scene(seed)[0] - 128, 40)] * 2) for seed in range(3)]
    fields = fields_of(*cells, noisy(cells[0], 1)[[0, 0]])
    pairs = overlapping_fields(fields, groups=[str(i) for i in range(4)], max_pairs=100)[0]
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [("s0", "s3")]
