"""Border, grey levels and size, worked out by hand and held against Pillow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hpiclock.config.schema import ImageConfig
from hpiclock.errors import InputError
from hpiclock.plate.preprocess import crop, frame_limits, prepare_image, stack_images, stack_limits
from hpiclock.plate.readers import open_stack

SIZE = 16  # the smallest that a config allows


def config(**changes: object) -> ImageConfig:
    return ImageConfig.model_validate({"size": SIZE} | changes)


def square(*levels: float, dtype: str = "uint16") -> np.ndarray:
    """A plane of SIZE x SIZE px whose first pixels have these levels, the others the first of them."""
    plane = np.full(SIZE * SIZE, levels[0], dtype)
    plane[: len(levels)] = levels
    return plane.reshape(SIZE, SIZE)


@pytest.mark.parametrize(
    ("shape", "border", "kept"),
    [
        ((100, 200), 0.05, (5, 95, 10, 190)),
        ((100, 200), 0.0, (0, 100, 0, 200)),
        ((21, 21), 0.1, (2, 19, 2, 19)),  # 2.1 px
        ((16, 16), 0.49, (7, 9, 7, 9)),  # 7.84 px would leave nothing
        ((3, 5), 0.4, (1, 2, 2, 3)),
    ],
)
def test_the_border_is_a_share_of_each_side(
    shape: tuple[int, int], border: float, kept: tuple[int, int, int, int]
) -> None:
    plane = np.arange(shape[0] * shape[1]).reshape(shape)
    top, bottom, left, right = kept
    np.testing.assert_array_equal(crop(plane, border), plane[top:bottom, left:right])


def test_minmax_puts_the_darkest_at_0_and_the_brightest_at_255() -> None:
    plane = square(100, 150, 200, 300)
    image = config()
    assert frame_limits(plane, image) == (100.0, 300.0)
    # (150 - 100) / 200 * 255 = 63.75, (200 - 100) / 200 * 255 = 127.5 rounds to the even 128
    assert prepare_image(plane, (100.0, 300.0), image)[0, :4].tolist() == [0, 64, 128, 255]


def test_limits_come_from_inside_the_border() -> None:
    plane = np.full((20, 20), 50, np.uint8)
    plane[0, 0], plane[10, 10] = 255, 60
    assert frame_limits(plane, config(crop_border=0.1)) == (50.0, 60.0)
    assert frame_limits(plane, config()) == (50.0, 255.0)


def test_percentiles_leave_a_bright_speck_out() -> None:
    plane = np.arange(101, dtype=np.float32).reshape(1, 101)  # its p-th percentile is p
    image = config(intensity="percentile", low=5, high=90)
    assert frame_limits(plane, image) == (5.0, 90.0)
    speck = square(5, 90, 255, 0)
    assert prepare_image(speck, (5.0, 90.0), image)[0, :4].tolist() == [0, 255, 255, 0]  # clipped beyond


def test_fixed_limits_are_taken_as_they_are() -> None:
    image = config(intensity="fixed", low=0, high=1000)
    assert frame_limits(square(5, 7), image) == (0.0, 1000.0)
    assert prepare_image(square(0, 200, 1000, 5000), (0.0, 1000.0), image)[0, :4].tolist() == [
        0,
        51,
        255,
        255,
    ]


def test_fixed_limits_may_be_below_zero() -> None:
    image = config(intensity="fixed", low=-1.0, high=0.0)
    assert frame_limits(square(5, 7), image) == (-1.0, 0.0)


def test_a_constant_frame_is_black() -> None:
    plane = square(7)
    assert not prepare_image(plane, frame_limits(plane, config()), config()).any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
def test_the_kind_of_grey_levels_does_not_matter(dtype: str) -> None:
    plane = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(dtype)
    expected = prepare_image(plane.astype("uint8"), (0.0, 255.0), config(size=32))
    np.testing.assert_array_equal(prepare_image(plane, (0.0, 255.0), config(size=32)), expected)


@pytest.mark.parametrize("dtype", ["uint32", "float64"])
def test_small_contrast_on_a_large_offset_is_kept(dtype: str) -> None:
    base = 2**30
    plane = square(base, base + 1, base + 2, base + 4, dtype=dtype)  # float32 would round all to one level
    assert prepare_image(plane, frame_limits(plane, config()), config())[0, :4].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize(("shape", "size"), [((64, 64), 32), ((50, 80), 32), ((20, 20), 48), ((32, 32), 32)])
def test_pixels_are_those_of_the_plain_way_per_frame(shape: tuple[int, int], size: int) -> None:
    plane = np.random.default_rng(1).integers(200, 4000, shape).astype(np.uint16)
    image = config(size=size, crop_border=0.05)
    found = prepare_image(plane, frame_limits(plane, image), image)
    # the usual item of a data set: cut, min-max to 8 bit, Pillow's bilinear resize
    rows, columns = round(0.05 * shape[0]), round(0.05 * shape[1])
    cut = plane[rows : shape[0] - rows, columns : shape[1] - columns].astype(np.float64)
    grey = np.rint((cut - cut.min()) / (cut.max() - cut.min()) * 255).astype(np.uint8)
    expected = np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(found, expected)


def test_a_stack_has_one_range_or_each_frame_its_own(tmp_path: Path) -> None:
    stack = np.stack([square(0, 100), square(100, 200)])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with open_stack(tmp_path / "a.tif") as opened:
        assert stack_limits(opened, config(scope="stack")) == (0.0, 200.0)
        whole, *_ = stack_images(opened, config(scope="stack"))
        each, *_ = stack_images(opened, config())
    assert whole.shape == each.shape == (2, SIZE, SIZE)
    # 100 / 200 * 255 = 127.5 rounds to the even 128
    assert whole[:, 0, :2].tolist() == [[0, 128], [128, 255]]
    assert each[:, 0, :2].tolist() == [[0, 255], [0, 255]]


def test_percentiles_of_a_stack_come_from_every_fourth_pixel(tmp_path: Path) -> None:
    stack = np.zeros((2, SIZE, SIZE), np.uint16)
    stack[0, ::4, ::4], stack[1, ::4, ::4] = 10, 20
    stack[:, 1, 1] = 999  # between the pixels that are read
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with open_stack(tmp_path / "a.tif") as opened:
        image = config(scope="stack", intensity="percentile", low=0, high=100)
        assert stack_limits(opened, image) == (10.0, 20.0)
        fixed = config(scope="stack", intensity="fixed", low=3, high=4)
        assert stack_limits(opened, fixed) == (3.0, 4.0)


def test_levels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    stack = np.zeros((3, SIZE, SIZE), np.float32)
    stack[1, 2, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with open_stack(tmp_path / "a.tif") as opened, pytest.raises(InputError) as caught:
        stack_images(opened, config())
    assert str(caught.value) == (
        f"{tmp_path / 'a.tif'}: frame 1 holds grey levels that are NaN or infinite; export it again"
    )


def test_every_frame_of_a_stack_is_read(tmp_path: Path, write_stack: Callable[..., Path]) -> None:
    path = write_stack(tmp_path / "a.tif", n_frames=5, size=SIZE)
    with open_stack(path) as opened:
        images, *_ = stack_images(opened, config(intensity="fixed", low=0, high=255))
    np.testing.assert_array_equal(images, tifffile.imread(path))
