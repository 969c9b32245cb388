"""Frames to look at, and plain statistics of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.plate.frames import treatment_table
from hpiclock.plate.preprocess import frame_images, frame_limits, grey_levels, pick_frames, prepare_image

DATA, IMAGE = DataConfig(), ImageConfig(size=16)


def written(path: Path, planes: np.ndarray) -> str:
    tifffile.imwrite(path, planes, photometric="minisblack")
    return str(path)


def plate() -> pd.DataFrame:
    stacks = [("z", "mock", np.nan), ("y", "mock", np.nan), ("x", "infected", 5.0), ("w", "infected", 0.1)]
    parts = [
        pd.DataFrame({"stack_id": name, "condition": what, "moi": moi, "frame": range(5), "hours": range(5)})
        for name, what, moi in stacks
    ]
    return pd.concat(parts, ignore_index=True)


def test_strips_show_mock_first_then_rising_moi() -> None:
    picked = pick_frames(plate(), hours=[0, 2.4, 99], stacks_per_treatment=1)
    assert picked["stack_id"].tolist() == ["y"] * 3 + ["w"] * 3 + ["x"] * 3
    assert picked["frame"].tolist() == [0, 2, 4] * 3  # nearest to 2.4 is 2, to 99 the last


def test_a_frame_is_taken_once_and_several_stacks_when_asked() -> None:
    picked = pick_frames(plate(), hours=[0, 0.1, 0.2], stacks_per_treatment=2)
    assert picked[["stack_id", "frame"]].to_numpy().tolist() == [["y", 0], ["z", 0], ["w", 0], ["x", 0]]


def test_pictures_stand_in_the_order_of_the_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stacks = {name: rng.integers(0, 999, (3, 40, 40), dtype=np.uint16) for name in "ab"}
    paths = {name: written(tmp_path / f"{name}.tif", planes) for name, planes in stacks.items()}
    wanted = [("b", 2), ("a", 0), ("b", 0)]
    rows = pd.DataFrame(
        {"path": [paths[n] for n, _ in wanted], "frame": [f for _, f in wanted]}, index=[7, 3, 9]
    )
    found = frame_images(rows, DATA, IMAGE, size=24)
    larger = ImageConfig(size=24)
    for picture, (name, frame) in zip(found, wanted, strict=True):
        plane = stacks[name][frame]
        np.testing.assert_array_equal(picture, prepare_image(plane, frame_limits(plane, larger), larger))


def test_pictures_have_the_grey_levels_that_the_model_sees(tmp_path: Path) -> None:
    planes = np.zeros((2, 16, 16), np.uint8)
    planes[0, 0, 0], planes[1, 0, 0] = 100, 200
    rows = pd.DataFrame({"path": written(tmp_path / "a.tif", planes), "frame": [0]})
    assert frame_images(rows, DATA, IMAGE, size=16)[0, 0, 0] == 255
    whole = ImageConfig(size=16, scope="stack")  # 100 of 200 is half of 255
    assert frame_images(rows, DATA, whole, size=16)[0, 0, 0] == 128


def test_grey_levels_of_8_bit_frames_are_as_they_are(tmp_path: Path) -> None:
    planes = np.zeros((2, 20, 20), np.uint8)
    planes[1, :, 10:] = 100  # half 0, half 100: mean 50, SD 50
    rows = pd.DataFrame({"path": written(tmp_path / "a.tif", planes), "frame": [1, 0]}, index=[4, 2])
    found = grey_levels(rows, DATA, IMAGE)
    assert found.index.tolist() == [4, 2]
    assert found[["mean", "sd"]].to_numpy().tolist() == [[50.0, 50.0], [0.0, 0.0]]


def test_grey_levels_of_other_kinds_are_put_on_one_scale(tmp_path: Path) -> None:
    dark, bright = np.full((1, 20, 20), 1000, np.uint16), np.full((1, 20, 20), 3000, np.uint16)
    bright[0, :, 10:] = 5000
    paths = [written(tmp_path / "a.tif", dark), written(tmp_path / "b.tif", bright)]
    found = grey_levels(pd.DataFrame({"path": paths, "frame": 0}), DATA, IMAGE)
    # 1000 is 0 and 5000 is 255: the mean of 3000 and 5000 is 3/4 of the way, its SD a quarter
    assert found["mean"].tolist() == [0.0, pytest.approx(255 * 3 / 4)]
    assert found["sd"].tolist() == [0.0, pytest.approx(255 / 4)]


def test_grey_levels_leave_the_border_out(tmp_path: Path) -> None:
    planes = np.full((1, 20, 20), 7, np.uint8)
    planes[0, 0, :] = 255
    rows = pd.DataFrame({"path": written(tmp_path / "a.tif", planes), "frame": [0]})
    assert grey_levels(rows, DATA, ImageConfig(size=16, crop_border=0.05))["sd"].tolist() == [0.0]


def test_the_layout_counts_wells_stacks_and_frames() -> None:
    manifest = pd.DataFrame(
        {
            "stack_id": list("abcd"),
            "plate": "one",
            "condition": ["mock", "mock", "infected", "infected"],
            "moi": [np.nan, np.nan, 1.0, 1.0],
            "well": ["A1", "A1", "B1", "B2"],
            "n_frames": [5, 5, 5, 3],
            "interval_h": 0.5,
            "start_h": [0.0, 0.0, 0.0, 1.0],
            "onset_h": [np.nan, np.nan, 2.0, 3.5],
        }
    )
    table = treatment_table(manifest).set_index("condition")
    assert table[["wells", "stacks", "frames"]].loc["mock"].tolist() == [1, 2, 10]
    assert table[["wells", "stacks", "frames"]].loc["infected"].tolist() == [2, 2, 8]
    assert table.loc["infected", ["first_h", "last_h", "onset_h"]].tolist() == [0.0, 2.0, "2–3.5"]
    assert table.loc["mock", "onset_h"] == ""
