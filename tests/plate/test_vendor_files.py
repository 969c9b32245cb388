"""Files of Nikon, Zeiss and Leica microscopes: axes, channels, times and pixels as they were written."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from pylibCZIrw import czi

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.readers import hours_since_1970, list_stacks, open_stack

Refusal = Callable[..., str]
HEIGHT, WIDTH = 6, 8
REAL = Path(__file__).parents[3] / "shared" / "real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/real beside the project")


def levels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# --- Nikon ND2, real files


@needs_real
@pytest.mark.parametrize("name", ["example-timelapse.nd2", "example-multichannel.nd2"])
def test_nd2_agrees_with_its_known_metadata(name: str) -> None:
    known = yaml.safe_load((REAL / "nd2" / "known-metadata.yml").read_text())[name]
    with open_stack(REAL / "nd2" / name, channel=0) as opened:
        facts = opened.facts
    assert len(facts.channels) == len(known)
    for channel in known.values():
        resolution = channel["resolution"]
        assert (facts.height, facts.width) == (resolution["y_size_px"], resolution["x_size_px"])
        assert facts.n_z == resolution["z_size_px"]
        assert facts.pixel_um == pytest.approx(resolution["xy_step_um"], rel=1e-9)


@needs_real
def test_nd2_time_lapse_has_53_frames_half_a_second_apart() -> None:
    with open_stack(REAL / "nd2" / "example-timelapse.nd2") as opened:
        facts = opened.facts
        assert (facts.n_frames, facts.channels, facts.dtype) == (53, ("GFP 488 nm",), "uint16")
        assert facts.interval_h is not None
        assert facts.interval_h * 3600 == pytest.approx(0.50016, abs=1e-5)  # the period that the file records
        assert facts.times_h is not None
        assert facts.times_h[0] == 0
        assert facts.times_h[52] * 3600 == pytest.approx(30.23551816601679 - 4.227198097657412)
        assert opened.frame(0).shape == (64, 64)
        assert not np.array_equal(opened.frame(0), opened.frame(52))


@needs_real
def test_nd2_channels_are_chosen_by_name(refusal: Refusal) -> None:
    path = REAL / "nd2" / "example-multichannel.nd2"
    message = "4 channels; set data.channel to one of 0 (Mono), 1 (DAPI), 2 (FITC BP), 3 (TRITC BP)"
    assert message in refusal(path)
    means = []
    for channel in ("Mono", "DAPI", "FITC BP", "TRITC BP"):
        with open_stack(path, channel=channel) as opened:
            means.append(opened.frame(0).mean())
    assert len(set(means)) == 4


@needs_real
def test_nd2_with_time_planes_and_channels(refusal: Refusal) -> None:
    path = REAL / "pims" / "cluster.nd2"
    assert "10 focus planes" in refusal(path, channel=0)
    planes = []
    for z in range(10):
        with open_stack(path, channel=1, z=z) as opened:
            assert opened.facts.n_frames == 3
            planes.append(opened.frame(2))
    with open_stack(path, channel=1, z="max") as opened:
        np.testing.assert_array_equal(opened.frame(2), np.max(planes, axis=0))


@needs_real
def test_nd2_cut_short_is_one_line(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "cut.nd2"
    path.write_bytes((REAL / "nd2" / "example-timelapse.nd2").read_bytes()[:300_000])
    assert "not an ND2 file, or cut short" in refusal(path)
    path.write_text("no microscope")
    assert "not an ND2 file, or cut short" in refusal(path)


# --- Zeiss CZI, written by Zeiss's own library

TIMES = "<T><Positions><Interval><Start>0</Start><Increment>900</Increment></Interval></Positions></T>"
WELLS = (
    '<S><Scenes><Scene Index="0" Name="P1"><Shape Name="B2"/></Scene>'
    '<Scene Index="1" Name="P2"><Shape Name="C11"/></Scene></Scenes></S>'
)


def write_czi(path: Path, stack: np.ndarray, *, extra: str = "") -> Path:
    """``stack``: scenes, T, C, Z, Y, X, or with a last axis of blue, green, red."""
    colours = stack.shape[6:] or (1,)
    with czi.create_czi(str(path)) as document:
        for s, t, c, z in np.ndindex(stack.shape[:4]):
            plane = stack[s, t, c, z].reshape(*stack.shape[4:6], *colours)
            document.write(plane, plane={"T": t, "C": c, "Z": z}, scene=s, location=(s * 100, 0))
        document.write_metadata("plate", channel_names={0: "phase", 1: "GFP"}, scale_x=6.5e-7, scale_y=6.5e-7)
    if extra:
        editor = czi.CziEditor(str(path))
        with editor.edit_session() as session:
            xml = session.get_xml()
            session.set_xml(xml.replace("<Dimensions>", f"<Dimensions>{extra}", 1))
        editor.close()
    return path


def test_czi_scenes_channels_times_and_pixels(tmp_path: Path, refusal: Refusal) -> None:
    stack = levels(2, 3, 2, 2, HEIGHT, WIDTH)
    path = write_czi(tmp_path / "a.czi", stack, extra=TIMES + WELLS)
    assert [(scene.path, scene.well) for scene in list_stacks(path)] == [
        (f"{path}#0", "B02"),
        (f"{path}#1", "C11"),
    ]
    assert "2 images in one file" in refusal(path)
    assert "2 channels; set data.channel to one of 0 (phase), 1 (GFP)" in refusal(Path(f"{path}#0"), z=0)
    with open_stack(f"{path}#1", channel="GFP", z=1) as opened:
        facts = opened.facts
        assert (facts.n_frames, facts.n_z, facts.height, facts.width) == (3, 2, HEIGHT, WIDTH)
        assert facts.dtype == "uint16"
        assert facts.interval_h == pytest.approx(0.25)
        assert facts.pixel_um == pytest.approx(0.65)
        for t in range(3):
            np.testing.assert_array_equal(opened.frame(t), stack[1, t, 1, 1])
    assert "no scene 2" in refusal(Path(f"{path}#2"), channel=0, z=0)


def test_czi_with_many_positions_is_a_plate(tmp_path: Path) -> None:
    write_czi(tmp_path / "plate.czi", levels(2, 3, 1, 1, HEIGHT, WIDTH), extra=TIMES + WELLS)
    (tmp_path / "plate.yaml").write_text(
        "folder: plate.czi\nwells: {B2: {condition: infected}, C11: {condition: mock}}"
    )
    manifest, notes = load_manifest(DataConfig(source=str(tmp_path / "plate.yaml")), 0.0, need_both=True)
    assert [note for note in notes if "grey level" not in note] == []  # the ladder of levels goes on
    assert list(manifest["well"]) == ["B02", "C11"]
    assert manifest["interval_h"].eq(0.25).all()


def test_czi_colours_are_red_green_blue(tmp_path: Path, refusal: Refusal) -> None:
    stack = levels(1, 2, 1, 1, HEIGHT, WIDTH, 3, dtype="uint8")
    path = write_czi(tmp_path / "a.czi", stack)
    assert "0 (red), 1 (green), 2 (blue), grey" in refusal(path)
    with open_stack(path, channel="blue") as opened:
        np.testing.assert_array_equal(opened.frame(1), stack[0, 1, 0, 0, :, :, 0])


def test_czi_cut_short_is_one_line(tmp_path: Path, refusal: Refusal) -> None:
    path = write_czi(tmp_path / "a.czi", levels(1, 3, 1, 1, 64, 64))
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        assert "not a CZI file, or cut short" in refusal(path)


# --- Leica LIF, put together from the published layout of the file

FILETIME_2024 = 133_485_408_000_000_000  # 2024-01-01 in units of 100 ns since 1601


def lif_image(name: str, block: str, n_frames: int, n_channels: int, n_stamps: int | None) -> str:
    plane = HEIGHT * WIDTH * 2
    sizes = [
        (1, WIDTH, 2, 0.65e-6),
        (2, HEIGHT, WIDTH * 2, 0.65e-6),
        (4, n_frames, plane * n_channels, 1800.0),
    ]
    dimensions = "".join(
        f'<DimensionDescription DimID="{axis}" NumberOfElements="{n}" Origin="0" Length="{step * (n - 1)}" '
        f'Unit="{"s" if axis == 4 else "m"}" BitInc="0" BytesInc="{inc}"/>'
        for axis, n, inc, step in sizes
    )
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" NameOfMeasuredQuantity="" Min="0" '
        f'Max="65535" Unit="" LUTName="Gray" IsLUTInverted="0" BytesInc="{c * plane}" BitInc="0"/>'
        for c in range(n_channels)
    )
    # the second frame came a minute late
    minutes = [30 * t + (t == 1) for t in range(n_frames) for _ in range(n_channels)][:n_stamps]
    stamps = " ".join(f"{FILETIME_2024 + minute * 600_000_000:x}" for minute in minutes)
    return (
        f'<Element Name="{name}"><Memory Size="{plane * n_frames * n_channels}" MemoryBlockID="{block}"/>'
        f"<Data><Image><ImageDescription><Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
        f"</ImageDescription><TimeStampList NumberOfTimeStamps='{len(minutes)}'>{stamps}</TimeStampList>"
        "</Image></Data></Element>"
    )


def write_lif(path: Path, stack: np.ndarray, n_stamps: int | None = None) -> Path:
    """``stack``: images, T, C, Y, X; ``n_stamps``: planes of each with a time, None = all."""
    n_images, n_frames, n_channels = stack.shape[:3]
    images = "".join(
        lif_image(f"pos{i}", f"MemBlock_{i}", n_frames, n_channels, n_stamps) for i in range(n_images)
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="project">'
        f"<Children>{images}</Children></Element></LMSDataContainerHeader>"
    )
    content = struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml)) + xml.encode("utf-16-le")
    for i, image in enumerate(stack):
        name = f"MemBlock_{i}"
        head = struct.pack("<IIBQBI", 0x70, 2 * len(name) + 14, 0x2A, image.nbytes, 0x2A, len(name))
        content += head + name.encode("utf-16-le") + image.astype("<u2").tobytes()
    path.write_bytes(content)
    return path


def test_lif_images_channels_times_and_pixels(tmp_path: Path) -> None:
    stack = levels(2, 3, 2, HEIGHT, WIDTH)
    path = write_lif(tmp_path / "a.lif", stack)
    assert [(s.path, s.name, s.position) for s in list_stacks(path)] == [
        (f"{path}#0", "pos0", "pos0"),
        (f"{path}#1", "pos1", "pos1"),
    ]
    with open_stack(f"{path}#1", channel=1) as opened:
        facts = opened.facts
        assert (facts.n_frames, facts.height, facts.width, facts.dtype) == (3, HEIGHT, WIDTH, "uint16")
        assert facts.interval_h == pytest.approx(0.5)
        assert facts.times_h == pytest.approx((0.0, 31 / 60, 1.0))
        assert facts.pixel_um == pytest.approx(0.65)
        for t in range(3):
            np.testing.assert_array_equal(opened.frame(t), stack[1, t, 1])


def test_a_lif_that_was_stopped_has_the_frames_that_its_stamps_tell_and_a_date(tmp_path: Path) -> None:
    stack = levels(1, 3, 2, HEIGHT, WIDTH)
    path = write_lif(tmp_path / "a.lif", stack, n_stamps=4)  # of 6 planes
    with open_stack(path, channel=1) as opened:
        facts = opened.facts
        assert (facts.n_frames, facts.times_h) == (2, pytest.approx((0.0, 31 / 60)))
        assert facts.notes == ("1 of its 3 frames are not there (2): gaps at their hours",)
        assert facts.zero_h == hours_since_1970("2024-01-01T00:00:00Z")
        np.testing.assert_array_equal(opened.frame(1), stack[0, 1, 1])


def test_lif_cut_short_is_one_line(tmp_path: Path, refusal: Refusal) -> None:
    path = write_lif(tmp_path / "a.lif", levels(1, 3, 1, HEIGHT, WIDTH))
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    assert "not a LIF file, or cut short" in refusal(path)
    path.write_bytes(whole[:-50])
    with open_stack(path) as opened, pytest.raises(InputError, match="frame 2 cannot be read"):
        opened.frame(2)
