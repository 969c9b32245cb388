"""Opening stacks: axes, times, channels and planes come from the file, damage is one clear line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hpiclock.errors import InputError
from hpiclock.plate.readers import open_stack

Refusal = Callable[..., str]
HEIGHT, WIDTH = 6, 8
GREY = {"photometric": "minisblack"}  # three pages are not the colours of one


def levels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    """Grey levels that tell every pixel of every plane apart."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "int16"])
def test_plain_pages_are_frames_over_time(tmp_path: Path, dtype: str) -> None:
    stack = levels(5, HEIGHT, WIDTH, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata=None, photometric="minisblack")
    with open_stack(tmp_path / "a.tif") as opened:
        facts = opened.facts
        assert (facts.n_frames, facts.height, facts.width, facts.dtype) == (5, HEIGHT, WIDTH, dtype)
        assert (facts.interval_h, facts.times_h, facts.n_z, facts.channels) == (None, None, 1, ("0",))
        for index in (4, 0, 2):
            assert opened.frame(index).dtype == dtype
            np.testing.assert_array_equal(opened.frame(index), stack[index])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_byte_order_and_compression_do_not_matter(tmp_path: Path, byteorder: str, compression: str) -> None:
    stack = levels(3, HEIGHT, WIDTH)
    tifffile.imwrite(
        tmp_path / "a.tif", stack, byteorder=byteorder, compression=compression, metadata=None, **GREY
    )
    with open_stack(tmp_path / "a.tif") as opened:
        np.testing.assert_array_equal(opened.frame(2), stack[2])
        assert opened.frame(2).dtype.isnative


def test_pages_of_one_by_one_written_files_are_found(tmp_path: Path) -> None:
    stack = levels(4, HEIGHT, WIDTH)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for image in stack:
            writer.write(image, metadata=None, contiguous=False, compression="zlib")
    with open_stack(tmp_path / "a.tif") as opened:
        assert opened.facts.n_frames == 4
        np.testing.assert_array_equal(opened.frame(3), stack[3])


def test_single_page_is_one_frame(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", levels(HEIGHT, WIDTH))
    with open_stack(tmp_path / "a.tif") as opened:
        assert opened.facts.n_frames == 1
        np.testing.assert_array_equal(opened.frame(0), levels(HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("value", "unit", "hours"), [(900.0, "s", 0.25), (30.0, "min", 0.5), (1.5, "h", 1.5), (7.2e6, "ms", 2.0)]
)
def test_imagej_frame_interval_is_read_with_its_unit(
    tmp_path: Path, value: float, unit: str, hours: float
) -> None:
    metadata = {"axes": "TYX", "finterval": value, "tunit": unit}
    tifffile.imwrite(tmp_path / "a.tif", levels(3, HEIGHT, WIDTH), imagej=True, metadata=metadata)
    with open_stack(tmp_path / "a.tif") as opened:
        assert opened.facts.interval_h == pytest.approx(hours, rel=1e-12)


def test_interval_in_no_unit_of_time_is_noted_not_used(tmp_path: Path) -> None:
    metadata = {"axes": "TYX", "finterval": 2.0, "tunit": "frame"}
    tifffile.imwrite(tmp_path / "a.tif", levels(3, HEIGHT, WIDTH), imagej=True, metadata=metadata)
    with open_stack(tmp_path / "a.tif") as opened:
        assert opened.facts.interval_h is None
        assert opened.facts.notes == ("its frame interval 2.0 frame is not a time and is not used",)


def test_imagej_stack_with_one_directory_for_all_pages_is_read(tmp_path: Path) -> None:
    stack = levels(5, HEIGHT, WIDTH)  # as ImageJ writes above 4 GB
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, truncate=True, metadata={"axes": "TYX"})
    with open_stack(tmp_path / "a.tif") as opened:
        assert opened.facts.n_frames == 5
        np.testing.assert_array_equal(opened.frame(4), stack[4])


def test_plain_imagej_slices_are_frames_and_said_to_be(tmp_path: Path) -> None:
    pages = levels(4, HEIGHT, WIDTH)
    description = "ImageJ=1.46a\nimages=4\nslices=4\nloop=false\n"
    tifffile.imwrite(tmp_path / "a.tif", pages, description=description, metadata=None, **GREY)
    with open_stack(tmp_path / "a.tif") as opened:
        assert (opened.facts.n_frames, opened.facts.n_z) == (4, 1)
        assert "4 pages slices" in opened.facts.notes[0]
        np.testing.assert_array_equal(opened.frame(3), pages[3])


def test_imagej_hyperstack_reads_each_channel_and_plane(tmp_path: Path) -> None:
    stack = levels(2, 3, 4, HEIGHT, WIDTH)  # T, Z, C
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    for t, z, c in np.ndindex(2, 3, 4):
        with open_stack(tmp_path / "a.tif", channel=c, z=z) as opened:
            np.testing.assert_array_equal(opened.frame(t), stack[t, z, c])
    with open_stack(tmp_path / "a.tif", channel=1, z="max") as opened:
        np.testing.assert_array_equal(opened.frame(1), stack[1, :, 1].max(axis=0))
    with open_stack(tmp_path / "a.tif", channel=1, z="mean") as opened:
        assert opened.frame(1).dtype == "uint16"
        np.testing.assert_array_equal(opened.frame(1), stack[1, 1, 1])  # the mean of an even ladder


def test_several_channels_or_planes_need_a_choice(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, levels(2, 3, 4, HEIGHT, WIDTH), imagej=True, metadata={"axes": "TZCYX"})
    assert "4 channels; set data.channel to one of 0, 1, 2, 3" in refusal(path, z=0)
    assert "3 focus planes (axes TZCYX); set data.z to 0-2, max or mean" in refusal(path, channel=0)
    assert "no channel 4; set data.channel" in refusal(path, channel=4, z=0)
    assert "no channel GFP" in refusal(path, channel="GFP", z=0)
    assert "no focus plane 3" in refusal(path, channel=0, z=3)


def test_ome_tiff_gives_channels_times_and_pixel_size(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "a.ome.tif"
    stack = levels(3, 2, HEIGHT, WIDTH)
    metadata = {
        "axes": "TCYX",
        "Channel": {"Name": ["phase", "GFP"]},
        "TimeIncrement": 30.0,
        "TimeIncrementUnit": "min",
        "PhysicalSizeX": 650.0,
        "PhysicalSizeXUnit": "nm",
        # two planes of one frame, a second apart: the earlier counts
        "Plane": {"DeltaT": [10.0, 11.0, 1810.0, 1811.0, 3700.0, 3701.0], "DeltaTUnit": ["s"] * 6},
    }
    tifffile.imwrite(path, stack, metadata=metadata)
    with open_stack(path, channel="GFP") as opened:
        facts = opened.facts
        assert facts.channels == ("phase", "GFP")
        assert facts.interval_h == pytest.approx(0.5)
        assert facts.times_h == pytest.approx((0.0, 0.5, 3690 / 3600))
        assert facts.pixel_um == pytest.approx(0.65)
        np.testing.assert_array_equal(opened.frame(2), stack[2, 1])
    assert "2 channels; set data.channel to one of 0 (phase), 1 (GFP)" in refusal(path)


def test_ome_interval_comes_from_plane_times_when_no_increment_is_given(tmp_path: Path) -> None:
    times = {"DeltaT": [0.0, 0.25, 0.5, 0.75], "DeltaTUnit": ["h"] * 4}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", levels(4, HEIGHT, WIDTH), metadata={"axes": "TYX", "Plane": times}
    )
    with open_stack(tmp_path / "a.ome.tif") as opened:
        assert opened.facts.interval_h == pytest.approx(0.25)


def test_rgb_tiff_and_png_need_a_colour_and_offer_grey(tmp_path: Path, refusal: Refusal) -> None:
    colours = levels(HEIGHT, WIDTH, 3, dtype="uint8")
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    Image.fromarray(colours).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        path = tmp_path / name
        assert "set data.channel to one of 0 (red), 1 (green), 2 (blue), grey" in refusal(path)
        with open_stack(path, channel="blue") as opened:
            np.testing.assert_array_equal(opened.frame(0), colours[:, :, 2])
        with open_stack(path, channel="grey") as opened:
            pillow = np.asarray(Image.fromarray(colours).convert("L")).astype(int)
            assert np.abs(opened.frame(0).astype(int) - pillow).max() <= 1  # Pillow rounds in fixed point


@pytest.mark.parametrize(("mode", "dtype"), [("L", "uint8"), ("I;16", "uint16")])
def test_grey_png_is_one_frame(tmp_path: Path, mode: str, dtype: str) -> None:
    image = levels(HEIGHT, WIDTH, dtype=dtype)
    still = Image.fromarray(image)
    assert still.mode == mode
    still.save(tmp_path / "a.png")
    with open_stack(tmp_path / "a.png") as opened:
        assert (opened.facts.n_frames, opened.facts.dtype, opened.facts.channels) == (1, dtype, ("0",))
        np.testing.assert_array_equal(opened.frame(0), image)
    with open_stack(tmp_path / "a.png", channel="grey") as opened:  # grey and colour stills may be mixed
        np.testing.assert_array_equal(opened.frame(0), image)


def test_frame_outside_the_stack_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", levels(3, HEIGHT, WIDTH), **GREY)
    with open_stack(tmp_path / "a.tif") as opened:
        for index in (3, -1):
            with pytest.raises(InputError, match=r"no frame -?\d; it holds frames 0-2"):
                opened.frame(index)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["shaped", "plain", "imagej", "imagej-one", "ome", "pages", "rgb"])
def test_a_file_cut_short_anywhere_is_refused(
    tmp_path: Path, kind: str, share: float, refusal: Refusal
) -> None:
    path = tmp_path / "a.tif"
    stack = np.random.default_rng(0).integers(0, 255, (7, 32, 40), dtype=np.uint8)
    options: dict[str, dict] = {
        "shaped": {},
        "plain": {"metadata": None, "photometric": "minisblack"},
        "imagej": {"imagej": True, "metadata": {"axes": "TYX"}},
        "imagej-one": {"imagej": True, "metadata": {"axes": "TYX"}, "truncate": True},
        "ome": {"ome": True, "metadata": {"axes": "TYX"}},
        "rgb": {"photometric": "rgb"},
    }
    if kind == "pages":
        with tifffile.TiffWriter(path) as writer:
            for image in stack:
                writer.write(image, metadata=None, contiguous=False, compression="zlib")
    else:
        tifffile.imwrite(path, np.stack([stack] * 3, -1) if kind == "rgb" else stack, **options[kind])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    message = refusal(path)
    assert "cut short" in message
    assert "copy it again" in message


def test_a_damaged_compressed_frame_is_named_when_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    stack = np.random.default_rng(0).integers(0, 255, (3, 32, 40), dtype=np.uint8)
    tifffile.imwrite(path, stack, compression="zlib", metadata=None, **GREY)
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[1].dataoffsets[0], tiff.pages[1].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = bytes(count)
    path.write_bytes(content)
    with open_stack(path) as opened:
        np.testing.assert_array_equal(opened.frame(0), stack[0])
        with pytest.raises(InputError, match=r"frame 1 cannot be read .*; copy or export it again"):
            opened.frame(1)


def test_files_that_are_no_images_say_what_they_are(tmp_path: Path, refusal: Refusal) -> None:
    for name in ("text.tif", "text.png"):
        (tmp_path / name).write_text("well,condition\n")
        assert "whatever its name says" in refusal(tmp_path / name)
    for name in ("empty.tif", "empty.png"):
        (tmp_path / name).touch()
        assert "the file is empty (0 bytes)" in refusal(tmp_path / name)
    (tmp_path / "movie.avi").write_bytes(b"RIFF")
    assert "files of type .avi are not read; known are .tif, .tiff" in refusal(tmp_path / "movie.avi")
    assert "no such file" in refusal(tmp_path / "absent.tif")
    assert "a folder, not a file" in refusal(tmp_path)


def test_png_cut_short_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert "damaged or cut short" in refusal(path)


def test_pages_of_two_sizes_in_one_file_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(levels(HEIGHT, WIDTH), metadata=None)
        writer.write(levels(HEIGHT, WIDTH + 1), metadata=None)
    assert "pages of different sizes (6 x 8, 6 x 9)" in refusal(tmp_path / "a.tif")


def test_ome_tiff_with_missing_planes_has_gaps_and_with_broken_xml_is_refused(
    tmp_path: Path, refusal: Refusal
) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, levels(3, HEIGHT, WIDTH), metadata={"axes": "TYX"})
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'SizeT="3"', b'SizeT="5"'))
    with open_stack(path) as opened:
        assert opened.facts.n_frames == 3
        assert opened.facts.notes == ("2 of its 5 frames are not there (3, 4): gaps at their hours",)
    path.write_bytes(whole.replace(b"</Pixels>", b"</Pixel> "))
    assert "its OME-XML cannot be read" in refusal(path)


def test_names_with_spaces_unicode_and_great_length_open(tmp_path: Path) -> None:
    folder = tmp_path / "Überstand α" / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    path = folder / "Zelle 1 – Kopie.tif"
    tifffile.imwrite(path, levels(2, HEIGHT, WIDTH))
    with open_stack(path) as opened:
        assert opened.facts.n_frames == 2


@pytest.mark.parametrize(
    ("unit", "per_unit", "pixel_um"),
    [("um", 1 / 0.65, 0.65), ("\\u00B5m", 2.0, 0.5), ("micron", 0.8, 1.25), ("cm", 1e4, 1.0),
     ("inch", 72.0, None), ("pixel", 1.0, None)],
)  # fmt: skip
def test_imagej_pixel_size_is_read_with_its_unit(
    tmp_path: Path, unit: str, per_unit: float, pixel_um: float | None
) -> None:
    metadata = {"axes": "TYX", "unit": unit}
    stack = np.zeros((3, 8, 8), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, resolution=(per_unit, per_unit), metadata=metadata
    )
    with open_stack(tmp_path / "a.tif") as found:
        assert found.facts.pixel_um == (None if pixel_um is None else pytest.approx(pixel_um, rel=1e-5))


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (np.nan, "float32", "NaN or infinite"),
        (-np.inf, "float64", "NaN or infinite"),
        (1e38, "float32", r"beyond 1e\+12"),
        (-1e300, "float64", r"beyond 1e\+12"),
        (2**62, "uint64", r"beyond 1e\+12"),
        (-(2**62), "int64", r"beyond 1e\+12"),
    ],
)
def test_what_is_no_grey_level_is_refused_whatever_reads_it(
    tmp_path: Path, value: float, dtype: str, words: str
) -> None:
    frames = np.arange(3 * 16 * 16).reshape(3, 16, 16).astype(dtype)
    frames[1, 2, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack", metadata={"axes": "TYX"})
    with open_stack(tmp_path / "a.tif") as stack:
        assert stack.frame(2).shape == (16, 16)
        with pytest.raises(InputError, match=rf"a\.tif: frame 1 holds grey levels that are {words}; export"):
            stack.frame(1)


@pytest.mark.parametrize("times", [[np.nan] * 3, [0.0, np.inf, np.inf], [0.0, 1.0, np.nan]])
def test_recorded_times_that_are_none_are_not_used(tmp_path: Path, times: list[float]) -> None:
    planes = {"DeltaT": times, "DeltaTUnit": ["h"] * 3}
    frames = np.arange(3 * 16 * 16, dtype=np.uint16).reshape(3, 16, 16)
    tifffile.imwrite(tmp_path / "a.ome.tif", frames, metadata={"axes": "TYX", "Plane": planes})
    with open_stack(tmp_path / "a.ome.tif") as stack:
        assert stack.facts.times_h is None
