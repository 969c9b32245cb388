"""Frames without a picture, and settings that leave none: what counts as one, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from hpiclock.acquisition import EMPTY_FRAMES, empty_frames
from hpiclock.config.load import config_of
from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.errors import InputError
from hpiclock.plate.cache import open_cache
from hpiclock.plate.frames import empty_notes, without_empty
from hpiclock.plate.preprocess import EMPTY, one_level, stack_images, stack_limits
from hpiclock.plate.readers import open_stack
from hpiclock.plate.timeline import expand_frames

SIDE = 64
SDS = {"a": 15, "b": 60, "c": 15}
RNG = np.random.default_rng(0)


def picture(dtype: str = "uint16", level: float = 500, sd: float = 20) -> np.ndarray:
    return RNG.normal(level, sd, (SIDE, SIDE)).clip(0).astype(dtype)


def flat(level: int, *odd: int, dtype: str = "uint16") -> np.ndarray:
    """One grey level, but for single pixels of others."""
    plane = np.full((SIDE, SIDE), level, dtype)
    plane.ravel()[: len(odd)] = odd
    return plane


EMPTIES = {
    "black": flat(0),
    "black with a hot pixel": flat(0, 65535),
    "grey with a dead and a hot pixel": flat(500, 0, 65535),
    "saturated throughout": flat(65535),
    "saturated in 12 bit": flat(4095, 4094),
    "white in 8 bit": flat(255, dtype="uint8"),
    "float": flat(1, dtype="float32"),
}
PICTURES = {
    "texture": picture(),
    "faint texture": picture(sd=0.8),
    "few cells on black": np.pad(picture()[:8, :8], ((0, SIDE - 8), (0, SIDE - 8))),
    "half saturated": np.where(np.arange(SIDE) < SIDE // 2, 65535, picture()),
}


@pytest.mark.parametrize("name", EMPTIES)
def test_a_frame_of_one_grey_level_holds_no_picture(name: str) -> None:
    assert one_level(EMPTIES[name]) >= EMPTY


@pytest.mark.parametrize("name", PICTURES)
def test_a_frame_that_shows_something_holds_a_picture(name: str) -> None:
    assert one_level(PICTURES[name]) < EMPTY


def stack_of(path: Path, *planes: np.ndarray) -> Path:
    tifffile.imwrite(path, np.stack(planes), photometric="minisblack")
    return path


def converted(path: Path, **settings: Any) -> tuple[np.ndarray, list[int], float]:
    with open_stack(path) as stack:
        return stack_images(stack, ImageConfig(size=16, **settings))


FIXED = {"intensity": "fixed"}
ERASING = {
    "limits below the grey levels": (FIXED | {"low": 64, "high": 192}, "100% of its pixels lie beyond"),
    "limits above the grey levels": (FIXED | {"low": 4000, "high": 9000}, "100% of its pixels lie beyond"),
    "limits far too wide": (
        FIXED | {"low": -1e9, "high": 1e9},
        "fixed -1e+09 to 1e+09 leaves one grey level",
    ),
    "percentiles too close": ({"intensity": "percentile", "low": 40, "high": 60}, "would be black or white"),
    "a stack's range taken by one pixel": ({"scope": "stack"}, "intensity minmax leaves one grey level"),
}


@pytest.mark.parametrize("name", ERASING)
def test_settings_that_erase_the_pictures_are_refused_with_the_grey_levels(tmp_path: Path, name: str) -> None:
    settings, words = ERASING[name]
    planes = [picture(), picture(), flat(0), picture(sd=1)]
    if "one pixel" in name:  # the last one has a texture of a few grey levels beside it
        planes = [*(picture(sd=5) for _ in range(3)), flat(500, 65535, *range(400, 600))]
    path = stack_of(tmp_path / "a.tif", *planes)
    with pytest.raises(InputError) as caught:
        converted(path, **settings)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert words in line
    assert "its grey levels are " in line
    assert (
        "; set image.intensity to percentile with image.low 1 and image.high 99, or limits that fit" in line
    )
    converted(path, intensity="percentile", low=1, high=99)  # the remedy works


def test_max_clipped_says_how_much_may_be_lost(tmp_path: Path) -> None:
    path = stack_of(tmp_path / "a.tif", picture(), picture())
    close = {"intensity": "percentile", "low": 40, "high": 60}
    assert converted(path, **close, max_clipped=0.9)[2] == pytest.approx(0.8, abs=0.05)
    with pytest.raises(InputError, match=r"7.% of its pixels"):
        converted(path, **close)


def test_frames_without_a_picture_do_not_set_the_limits_of_their_stack(tmp_path: Path) -> None:
    path = stack_of(tmp_path / "a.tif", flat(0), picture().clip(450, 550), flat(65535))
    with open_stack(path) as stack:
        assert stack_limits(stack, ImageConfig(scope="stack")) == (450.0, 550.0)
    with open_stack(stack_of(path, flat(0), flat(0))) as stack:
        assert stack_limits(stack, ImageConfig(scope="stack")) == (0.0, 0.0)


def manifest_of(paths: list[Path]) -> pd.DataFrame:
    rows = [
        {"stack_id": path.stem, "path": str(path), "plate": "p", "well": path.stem, "position": "1"}
        | {"condition": "infected" if index % 2 else "mock", "moi": np.nan, "onset_h": 0.0}
        | {"n_frames": 4, "height": SIDE, "width": SIDE, "dtype": "uint16", "interval_h": 2.0, "start_h": 1.0}
        for index, path in enumerate(paths)
    ]
    return pd.DataFrame(rows)


def test_the_cache_finds_them_and_the_hours_of_the_others_stay(tmp_path: Path) -> None:
    whole = [picture() for _ in range(4)]
    holes = [picture(), flat(0), picture(), flat(65535)]
    paths = [stack_of(tmp_path / f"{name}.tif", *planes) for name, planes in (("a", whole), ("b", holes))]
    cache = open_cache(
        manifest_of(paths), DataConfig(cache_dir=str(tmp_path / "cache")), ImageConfig(size=16)
    )
    found = cache.find_empty(manifest_of(paths))
    assert empty_frames(found) == {"a": [], "b": [1, 3]}
    frames = expand_frames(found)
    assert frames.loc[frames["stack_id"].eq("b"), ["frame", "hours"]].to_numpy().tolist() == [[0, 1], [2, 5]]
    assert len(frames) == 6
    assert empty_notes(found)[0].startswith("2 frames of 1 stack hold no picture")
    assert "the first: frame 1 of b" in empty_notes(found)[0]
    assert empty_notes(found.assign(**{EMPTY_FRAMES: "[]"})) == empty_notes(manifest_of(paths)) == []


def test_what_the_limits_cut_off_is_said_of_the_worst_stack(tmp_path: Path) -> None:
    paths = [
        stack_of(tmp_path / f"{name}.tif", *(picture(sd=sd) for _ in range(4))) for name, sd in SDS.items()
    ]
    image = ImageConfig(size=16, intensity="fixed", low=440, high=560)
    cache = open_cache(manifest_of(paths), DataConfig(cache_dir=str(tmp_path / "cache")), image)
    (note,) = cache.clipped_notes()
    assert note.startswith("Grey levels beyond image.low and image.high become black or white: 3")
    assert note.endswith("% of the pixels of b, 0% in the median stack.")


def test_controls_are_matched_again_where_infected_frames_are_left_out() -> None:
    manifest = manifest_of([Path("a.tif"), Path("b.tif")])
    frames = expand_frames(manifest).assign(split="train", fold=0)
    frames["label"] = frames["condition"].eq("infected").astype("Int8")
    manifest[EMPTY_FRAMES] = ["[]", json.dumps([2, 3])]  # b is infected
    sections = {name: {"match_controls": name == "train"} for name in ("train", "val", "test")}
    matched = without_empty(frames, manifest, config_of({"frames": sections}))
    assert matched[["stack_id", "frame"]].to_numpy().tolist() == [["a", 0], ["a", 1], ["b", 0], ["b", 1]]
    assert len(without_empty(frames, manifest, config_of({}))) == 6
