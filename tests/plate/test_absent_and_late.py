"""Planes that were never written are gaps at their hours; late films are late; any file is survived."""

import json
import os
import socket
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pylibCZIrw import czi

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.frames import expand_frames, treatment_table
from hpiclock.plate.manifest.survey import load_manifest, survey
from hpiclock.plate.readers import hours_since_1970, list_stacks, open_stack

Refusal = Callable[..., str]
SIDE = 16
WELLS = {"A1": "infected", "A2": "mock"}


def grey(frame: int, well: int = 0) -> np.ndarray:
    """A frame whose grey levels say its number; all wells are alike bright."""
    rng = np.random.default_rng(1000 * well + frame)
    image = rng.integers(400, 600, (SIDE, SIDE), dtype=np.uint16)
    image[0, :3] = 0, 1000, frame
    return image


def numbers(path: str | Path, **options: object) -> list[int]:
    with open_stack(path, **options) as stack:  # type: ignore[arg-type]
        return [int(stack.frame(index)[0, 2]) for index in range(stack.facts.n_frames)]


def plate(folder: Path, /, **keys: object) -> DataConfig:
    lines = [f"{key}: {value}" for key, value in ({"plate": "p"} | keys).items()] + ["wells:"]
    lines += [f"  {well}: {{condition: {condition}}}" for well, condition in WELLS.items()]
    (folder / "plate.yaml").write_text("\n".join(lines) + "\n")
    return DataConfig(source=str(folder / "plate.yaml"))


def ome_xml(uuid: str, blocks: list[tuple[int, int, str, str]], date: str = "") -> str:
    """``blocks``: time, page, name and UUID of the file of each plane of one image."""
    planes = "".join(
        f'<TiffData IFD="{page}" FirstT="{t}" PlaneCount="1"><UUID FileName="{name}">{its}</UUID></TiffData>'
        for t, page, name, its in blocks
    )
    sizes = f'SizeX="{SIDE}" SizeY="{SIDE}" SizeZ="1" SizeC="1" SizeT="{len(blocks)}"'
    acquired = f"<AcquisitionDate>{date}</AcquisitionDate>" if date else ""
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    return (
        f'<OME {space} UUID="{uuid}"><Image ID="I:0">{acquired}'
        '<Pixels ID="P:0" DimensionOrder="XYZCT" Type="uint16" TimeIncrement="0.5" TimeIncrementUnit="h" '
        f'{sizes}><Channel ID="C:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
    )


def hours(data: DataConfig) -> dict[str, list[float]]:
    frames = expand_frames(load_manifest(data, 0.0)[0])
    return {str(well): mine["hours"].round(6).tolist() for well, mine in frames.groupby("well")}


def notes(data: DataConfig) -> list[str]:
    return load_manifest(data, 0.0)[1]


# --- planes that are not there


def test_frames_that_a_czi_lacks_are_gaps_in_every_scene(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    with czi.create_czi(str(path)) as document:
        for scene, written in enumerate(((0, 1, 2), (1, 2, 5))):
            for t in written:
                place = {"scene": scene, "location": (scene * 100, 0)}
                document.write(grey(t)[..., None], plane={"T": t, "C": 0, "Z": 0}, **place)
        document.write_metadata("plate")
    assert numbers(f"{path}#0") == [0, 1, 2]
    assert numbers(f"{path}#1") == [1, 2, 5]
    with open_stack(f"{path}#1") as stack:
        assert stack.facts.raster == (1, 2, 5)
        assert stack.facts.notes == ("3 of its 6 frames are not there (0, 3, 4): gaps at their hours",)


@pytest.mark.parametrize("version", [2, 3])
def test_a_plane_without_a_chunk_is_a_gap_not_zeros(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    made = group.create_array(
        "0", shape=(6, 2, SIDE, SIDE), chunks=(1, 1, 8, 8), dtype="uint16", fill_value=0
    )
    axes = [{"name": name} for name in "tcyx"]
    axes[0] |= {"type": "time", "unit": "hour"}
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 1, 1, 1]}]}
    image = {"axes": axes, "datasets": [level], "version": "0.4"}
    group.attrs.update({"ome": {"multiscales": [image]}} if version == 3 else {"multiscales": [image]})
    for t in range(6):
        made[t, 0] = grey(t)
        if t not in (0, 3):
            made[t, 1] = grey(t)
    assert numbers(path, channel=0) == [0, 1, 2, 3, 4, 5]
    assert numbers(path, channel=1) == [1, 2, 4, 5]


def test_a_chunk_that_is_cut_short_or_lost_in_part_of_a_plane_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    made = group.create_array("0", shape=(3, SIDE, SIDE), chunks=(1, SIDE, 8), dtype="uint16")
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}
    group.attrs.update({"multiscales": [{"axes": [{"name": n} for n in "tyx"], "datasets": [level]}]})
    made[:] = np.stack([grey(t) for t in range(3)])
    chunk = path / "0" / "1.0.1"
    for share in (0.5, 0.99, 0):
        whole = chunk.read_bytes()
        chunk.write_bytes(whole[: int(share * len(whole))])
        with open_stack(path) as stack:
            with pytest.raises(InputError, match=r"frame 1 cannot be read \(0/1\.0\.1 is cut short"):
                stack.frame(1)
            assert (stack.frame(2) == grey(2)).all()
        chunk.write_bytes(whole)
    assert numbers(path) == [0, 1, 2]
    chunk.unlink()
    with open_stack(path) as stack:
        assert "1 of its 3 planes lack some of their chunks: the parts that" in stack.facts.notes[0]


@pytest.mark.parametrize("lost", [(0,), (2, 3), (5,)])
def test_files_of_an_ome_set_that_are_gone_are_gaps(tmp_path: Path, lost: tuple[int, ...]) -> None:
    names = [f"s1_A1_p1_{t}.ome.tif" for t in range(6)]
    for t, name in enumerate(names):
        blocks = [(number, 0, other, str(number)) for number, other in enumerate(names)]
        tifffile.imwrite(tmp_path / name, grey(t), description=ome_xml(str(t), blocks), metadata=None)
    for t in lost:
        (tmp_path / names[t]).unlink()
    owners = [scene for t in range(6) if t not in lost for scene in list_stacks(tmp_path / names[t])]
    assert len(owners) == 1
    assert numbers(owners[0].path) == [t for t in range(6) if t not in lost]
    (tmp_path / "s1_A2_p1.tif").touch()
    found = survey(plate(tmp_path), 0.0)
    times = expand_frames(found.manifest)["hours"].tolist()
    assert times == [t / 2 for t in range(6) if t not in lost]


def test_a_corner_that_no_tile_covers_is_said_and_a_tile_that_is_lost_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    corners = ((0, 0), (SIDE, 0), (0, SIDE))  # of the four
    with czi.create_czi(str(path)) as document:
        for t in range(4):
            for place in corners[: 2 if t == 2 else 3]:
                document.write(grey(t)[..., None], plane={"T": t, "C": 0, "Z": 0}, scene=0, location=place)
        document.write_metadata("mosaic")
    assert numbers(path) == [0, 1, 3]
    with open_stack(path) as stack:
        assert stack.facts.raster == (0, 1, 3)
        assert "25% of its mosaic was never imaged: that part of each frame is filled" in stack.facts.notes[0]
        image = stack.frame(0)
    np.testing.assert_array_equal(image[:SIDE, SIDE:], grey(0))
    there = np.concatenate([grey(0).ravel()] * 3)
    assert set(image[SIDE:, SIDE:].ravel()) == {int(np.median(there))}


class Nd2:
    """What our reader asks of the package, of two positions and three frames of two planes."""

    dtype, is_rgb = np.dtype("uint16"), False
    experiment = (SimpleNamespace(type="TimeLoop", parameters=SimpleNamespace(periodMs=1.8e6)),)
    loop_indices = tuple({"T": t, "P": p, "Z": z} for t in range(3) for p in range(2) for z in range(2))
    metadata = SimpleNamespace(channels=[SimpleNamespace(channel=SimpleNamespace(name="BF"))])
    attributes = SimpleNamespace(widthBytes=2 * SIDE, heightPx=SIDE, compressionType=None)

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        self.sizes = {"T": 3, "P": 2, "Z": 2, "Y": SIDE, "X": SIDE}
        # of position 1, frame 1 has no first plane, and the second of frame 2 lies beyond the end
        offsets = dict.fromkeys(range(12), 0)
        del offsets[6]
        offsets[11] = size
        self._rdr = SimpleNamespace(_frame_offsets=offsets)

    def __enter__(self) -> "Nd2":
        return self

    def __exit__(self, *_: object) -> None: ...

    def events(self) -> list[dict[str, float]]:
        return [{"Index": n, "Time [s]": 60.0 + 1800 * at["T"]} for n, at in enumerate(self.loop_indices)]

    def frame_metadata(self, _: int) -> SimpleNamespace:
        # 2024-03-01 12:01 UTC, one minute after the time from which its times count
        time = SimpleNamespace(absoluteJulianDayNumber=2460371.0 + 1 / 1440, relativeTimeMs=60_000.0)
        return SimpleNamespace(channels=[SimpleNamespace(time=time)])

    def voxel_size(self) -> SimpleNamespace:
        return SimpleNamespace(x=0.65)

    def read_frame(self, number: int) -> np.ndarray:
        return grey(self.loop_indices[number]["T"], self.loop_indices[number]["P"])


def test_planes_that_an_nd2_lacks_are_gaps_and_its_dates_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nd2.ND2File", Nd2)
    path = tmp_path / "a.nd2"
    path.write_bytes(bytes(4096))
    assert [scene.path for scene in list_stacks(path)] == [f"{path}#0", f"{path}#1"]
    assert numbers(f"{path}#0", z=1) == [0, 1, 2]
    assert numbers(f"{path}#1", z=0) == [0, 2]
    assert numbers(f"{path}#1", z=1) == [0, 1]
    assert numbers(f"{path}#1", z="max") == [0]
    with open_stack(f"{path}#1", z=0) as stack:
        facts = stack.facts
    assert facts.raster == (0, 2)
    assert facts.interval_h == pytest.approx(0.5)
    assert facts.times_h == pytest.approx((0.0, 1.0))
    assert facts.start_h == pytest.approx(1 / 60)
    assert facts.zero_h == pytest.approx(hours_since_1970("2024-03-01T12:00:00Z"), abs=1e-4)


# --- hours of the plate


@pytest.mark.parametrize(("starts", "expected"), [((0, 86_400), 24.0), ((None, None), 0.0), ((0, None), 0.0)])
def test_a_round_of_a_store_begins_when_it_says_or_a_note_says_that_it_does_not(
    tmp_path: Path, starts: tuple[int | None, ...], expected: float
) -> None:
    path = tmp_path / "a.zarr"

    def group(where: Path, attributes: dict[str, object]) -> zarr.Group:
        made = zarr.open_group(str(where), mode="a", zarr_format=2)
        made.attrs.update(attributes)
        return made

    rounds = [{"id": n} | ({} if s is None else {"starttime": s}) for n, s in enumerate(starts)]
    wells = [
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        {"path": "A/2", "rowIndex": 0, "columnIndex": 1},
    ]
    group(path, {"plate": {"acquisitions": rounds, "wells": wells}})
    axes = [{"name": "t", "unit": "hour"}, {"name": "y"}, {"name": "x"}]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 1, 1]}]}
    for k, well in enumerate(("A/1", "A/2")):
        fields = [{"path": str(number), "acquisition": number} for number in range(2)]
        group(path / well, {"well": {"images": fields}})
        for number in range(2):
            made = group(path / well / str(number), {"multiscales": [{"axes": axes, "datasets": [level]}]})
            made.create_array("0", data=np.stack([grey(t, k) for t in range(3)]))
    data = plate(tmp_path, folder="a.zarr")
    manifest, said = load_manifest(data, 0.0)
    assert manifest.groupby("series")["start_h"].unique().map(list).tolist() == [[0.0], [expected]]
    known = [note for note in said if "series 0, 1 of one field (p/A01/0) begin together, at 0 h" in note]
    assert len(known) == (expected == 0)
    assert any("2 of 4 stacks have a date of acquisition" in note for note in said) == (starts == (0, None))


@pytest.mark.parametrize(("first", "expected"), [(0, 0), (20, 20), (1, 0)])
def test_the_frames_that_a_name_counts_give_the_start(tmp_path: Path, first: int, expected: int) -> None:
    for k, well in enumerate(WELLS):
        stack = np.stack([grey(t, k) for t in range(4)])
        tifffile.imwrite(tmp_path / f"s1_{well}_p1_t{first}-{first + 3}.tif", stack, photometric="minisblack")
    whole = [expected + t for t in range(4)]
    assert hours(plate(tmp_path, interval_h=1)) == {"A01": whole, "A02": whole}
    table = treatment_table(load_manifest(plate(tmp_path, interval_h=1), 0.0)[0])
    assert table[["first_h", "last_h"]].to_numpy().tolist() == [[expected, expected + 3]] * 2


def test_parts_of_a_film_are_one_stack_and_what_lies_between_them_is_a_gap(tmp_path: Path) -> None:
    for well, cuts in (("A1", (0, 3, 6)), ("A2", (0, 3, 8))):
        for low, high in pairwise(cuts):
            low += (well, low) == ("A2", 3)
            stack = np.stack([grey(t) for t in range(low, high)])
            tifffile.imwrite(
                tmp_path / f"s1_{well}_p1_t{low}-{high - 1}.tif", stack, photometric="minisblack"
            )
    data = plate(tmp_path, interval_h=0.5)
    manifest, _ = load_manifest(data, 0.0)
    assert manifest["stack_id"].tolist() == ["p/A01/p1", "p/A02/p1"]
    assert [numbers(path) for path in manifest["path"]] == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 4, 5, 6, 7]]
    assert hours(data) == {"A01": [t / 2 for t in range(6)], "A02": [t / 2 for t in (0, 1, 2, 4, 5, 6, 7)]}


def test_parts_that_overlap_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    for low in (0, 2):
        stack = np.stack([grey(t) for t in range(3)])
        tifffile.imwrite(tmp_path / f"s1_A1_p1_t{low}-{low + 2}.tif", stack, photometric="minisblack")
    assert "both hold frame 2; keep one" in refusal(tmp_path / "s1_A1_p1_t{first_frame}-{last_frame}.tif")


DATES = r"_(?P<well>[A-H]\d+)_(?P<position>\d+)_.*?(?P<days>\d+)d_(?P<hours>\d+)h(?P<minutes>\d+)m"


def test_dates_in_names_run_over_the_end_of_a_month_and_a_late_well_is_late(tmp_path: Path) -> None:
    stamps = ["2023y12m31d_20h00m", "2023y12m31d_22h30m", "2024y01m01d_01h00m", "2024y01m01d_03h30m"]
    for k, (well, mine) in enumerate((("A1", stamps[:3]), ("A2", stamps[1:]))):
        for t, stamp in enumerate(mine):
            tifffile.imwrite(tmp_path / f"VID1_{well}_1_{stamp}.tif", grey(t, k))
    data = plate(tmp_path).model_copy(update={"name_pattern": DATES})
    assert hours(data) == {"A01": [0, 2.5, 5], "A02": [2.5, 5, 7.5]}
    assert any("it begins at 2.5 h by its times" in note for note in notes(data))


def test_elapsed_hours_in_names_are_hours_of_the_plate(tmp_path: Path) -> None:
    for k, (well, mine) in enumerate((("A1", (8, 16, 24)), ("A2", (24, 32, 48)))):
        for hour in mine:
            tifffile.imwrite(tmp_path / f"V_{well}_1_{hour // 24:02d}d{hour % 24:02d}h.tif", grey(hour, k))
    pattern = r"_(?P<well>[A-H]\d+)_(?P<position>\d+)_(?P<days>\d+)d(?P<hours>\d+)h"
    data = plate(tmp_path).model_copy(update={"name_pattern": pattern})
    assert hours(data) == {"A01": [8, 16, 24], "A02": [24, 32, 48]}


@pytest.mark.parametrize(
    ("late_min", "stated", "expected"),
    [(3, {}, 0.0), (600, {}, 10.0), (600, {"start_h": 2}, 12.0), (0, {"start_h": 2}, 2.0)],
)
def test_acquisition_dates_make_a_late_stack_late(
    tmp_path: Path, late_min: int, stated: dict[str, float], expected: float
) -> None:
    for k, well in enumerate(WELLS):
        path = tmp_path / f"s1_{well}_p1.ome.tif"
        stack = np.stack([grey(t, k) for t in range(3)])
        date = f"2024-03-01T{8 + (k * late_min) // 60:02d}:{(k * late_min) % 60:02d}:00"
        xml = ome_xml(well, [(t, t, path.name, well) for t in range(3)], date)
        tifffile.imwrite(path, stack, description=xml, metadata=None, photometric="minisblack")
    found = hours(plate(tmp_path, **stated))
    assert found["A01"] == [stated.get("start_h", 0.0) + t / 2 for t in range(3)]
    assert found["A02"] == [expected + t / 2 for t in range(3)]


def test_timepoint_folders_are_one_film_and_thumbnails_are_passed_over_with_a_word(tmp_path: Path) -> None:
    for t in range(1, 4):
        folder = tmp_path / f"TimePoint_{t}"
        folder.mkdir()
        for k, well in enumerate(("A01", "A02")):
            tifffile.imwrite(folder / f"pl_{well}_s1.TIF", grey(t, k))
            tifffile.imwrite(folder / f"pl_{well}_s1_thumb.TIF", grey(t, k)[::4, ::4])
    pattern = r"TimePoint_(?P<frame>\d+)/.*_(?P<well>[A-P]\d+)_s(?P<position>\d+)\."
    data = plate(tmp_path, interval_h=1).model_copy(update={"name_pattern": pattern})
    assert hours(data) == {"A01": [0, 1, 2], "A02": [0, 1, 2]}
    assert [note for note in notes(data) if "_thumb: 6" in note]


# --- times that cannot be


@pytest.mark.parametrize(
    ("interval_h", "words"),
    [(1 / 7 / 3600, "0.143 s apart"), (1 / 3600, "1 s apart"), (30.0, "30 h apart"), (20.0, "")],
)
def test_an_interval_that_cannot_be_is_questioned(tmp_path: Path, interval_h: float, words: str) -> None:
    for k, well in enumerate(WELLS):
        stack = np.stack([grey(t, k) for t in range(3)])
        metadata = {"axes": "TYX", "finterval": interval_h * 3600}
        tifffile.imwrite(tmp_path / f"s1_{well}_p1.tif", stack, imagej=True, metadata=metadata)
    said = notes(plate(tmp_path))
    assert (words in " ".join(said)) if words else said == []


def test_hours_of_months_are_questioned(tmp_path: Path) -> None:
    for k, well in enumerate(WELLS):
        stack = np.stack([grey(t, k) for t in range(100)])
        tifffile.imwrite(tmp_path / f"s1_{well}_p1.tif", stack, photometric="minisblack")
    assert any("taken at hour 2,376, day 99" in note for note in notes(plate(tmp_path, interval_h=24)))


@pytest.mark.parametrize(("onset_h", "words"), [(120, "infected from hour 120 on, after its last"), (2, "")])
def test_an_onset_long_after_the_last_frame_is_questioned(tmp_path: Path, onset_h: float, words: str) -> None:
    for k, well in enumerate(WELLS):
        stack = np.stack([grey(t, k) for t in range(4)])
        tifffile.imwrite(tmp_path / f"s1_{well}_p1.tif", stack, photometric="minisblack")
    data = plate(tmp_path, interval_h=1)
    said = "\n".join(load_manifest(data, float(onset_h))[1])
    assert (words in said) if words else "infected from" not in said


# --- axes


@pytest.mark.parametrize(
    "shape",
    [
        (6, 2, 16, 16),
        (2, 6, 16, 16),
        (16, 16, 2),
        (6, 16, 16, 2),
        (48, 80, 6),
        (64, 80, 12),
        (3, 2, 2, 16, 16),
    ],
)
def test_axes_that_a_file_does_not_tell_are_refused(
    tmp_path: Path, shape: tuple[int, ...], refusal: Refusal
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones(shape, np.uint16), photometric="minisblack")
    assert "OME-TIFF with the axes T, C, Z, Y, X" in refusal(tmp_path / "a.tif")


def test_a_frame_of_a_few_pixels_on_one_side_is_refused_in_any_format(
    tmp_path: Path, refusal: Refusal
) -> None:
    Image.fromarray(np.zeros((40, 3), np.uint8)).save(tmp_path / "a.png")
    assert "frames of 40 x 3 px (axes YX) are no pictures" in refusal(tmp_path / "a.png")


def test_pages_beyond_what_the_header_promises_are_said(tmp_path: Path) -> None:
    header = "ImageJ=1.53t\nimages=3\nframes=3\nhyperstack=true\nfinterval=1800.0\n"
    stack = np.stack([grey(t) for t in range(6)])
    tifffile.imwrite(tmp_path / "a.tif", stack, description=header, metadata=None, photometric="minisblack")
    with open_stack(tmp_path / "a.tif") as opened:
        assert opened.facts.notes == ("its header promises 3 pages, the file has 6: the others are not read",)


def test_a_film_whose_header_is_lost_is_said_to_be_read_as_one_frame(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 60_000, (9, 100, 100), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        handle = tiff.filehandle
        handle.seek(tiff.pages.first.offset + 2 + 12 * len(tiff.pages.first.tags))
        handle.write(bytes(4))  # no next page
    with open_stack(tmp_path / "a.tif") as opened:
        assert opened.facts.n_frames == 1
        assert "belong to no page, it is read as one frame" in opened.facts.notes[0]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_film_in_a_file_named_like_a_still_is_refused(tmp_path: Path, refusal: Refusal, name: str) -> None:
    frames = [Image.fromarray((grey(t) >> 2).astype(np.uint8)) for t in range(3)]
    for kind in ("TIFF", "GIF", *(("PNG",) if name == "a.png" else ())):
        frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:])
        said = refusal(tmp_path / name)
        assert ("holds 3 pictures, of which one" if kind == "PNG" else "not a PNG or JPEG image") in said


# --- what stands in a folder


def test_service_folders_are_passed_over_and_unknown_kinds_are_named_in_one_line(tmp_path: Path) -> None:
    for k, well in enumerate(WELLS):
        stack = np.stack([grey(t, k) for t in range(3)])
        tifffile.imwrite(tmp_path / f"s1_{well}_p1.tif", stack, photometric="minisblack")
        (tmp_path / f"._s1_{well}_p1.tif").write_bytes(b"\0\5\x16\7")
    for name in ("@eaDir", "__MACOSX"):
        (tmp_path / name / "s1_A1_p1.tif").mkdir(parents=True)
        (tmp_path / name / "s1_A2_p1.tif").write_bytes(b"x")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert notes(plate(tmp_path, interval_h=1)) == []
    for name in ("one.avi", "two.avi", "three.vsi"):
        (tmp_path / name).write_bytes(b"x")
    (only,) = notes(plate(tmp_path, interval_h=1))
    assert "3 files of other kinds are passed over (.avi: 2, .vsi: 1), the first" in only


def test_a_renamed_ome_set_is_owned_by_uuid(tmp_path: Path) -> None:
    for k, (well, other) in enumerate((("A1", "A2"), ("A2", "A1"))):
        xml = ome_xml(
            well, [(t, t, f"s1_{other}_p1.ome.tif", well) for t in range(3)]
        )  # names were exchanged
        stack = np.stack([grey(t, k) for t in range(3)])
        path = tmp_path / f"s1_{well}_p1.ome.tif"
        tifffile.imwrite(path, stack, description=xml, metadata=None, photometric="minisblack")
    manifest, _ = load_manifest(plate(tmp_path, interval_h=1), 0.0)
    assert manifest["well"].tolist() == ["A01", "A02"]


# --- files that hold anything


TYX = {"axes": "TYX"}


@pytest.mark.parametrize(
    "how",
    [
        {"imagej": True, "metadata": TYX},
        {"ome": True, "metadata": TYX},
        {},
        {"metadata": None},
        {"bigtiff": True},
        {"compression": "zlib"},
    ],
)
def test_pages_that_are_stored_in_different_ways_are_refused(
    tmp_path: Path, refusal: Refusal, how: dict[str, object]
) -> None:
    path = tmp_path / "a.tif"
    kind = {} if "imagej" in how else {"photometric": "minisblack"}
    tifffile.imwrite(path, np.stack([grey(t) for t in range(3)]), **how, **kind)  # type: ignore[arg-type]
    assert numbers(path) == [0, 1, 2]
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[2].tags["PhotometricInterpretation"].overwrite(0)
    assert "(MINISBLACK, MINISWHITE)" in refusal(path)


def bomb(path: Path) -> None:
    image = np.zeros((16, 16), np.uint8)
    tifffile.imwrite(path, image, compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages.first.tags[name].overwrite(60_000)


def ome(size: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        xml = ome_xml("urn", [(t, t, path.name, "urn") for t in range(3)]).replace(
            'SizeT="3"', f'SizeT="{size}"'
        )
        stack = np.stack([grey(t) for t in range(3)])
        tifffile.imwrite(path, stack, description=xml, metadata=None, photometric="minisblack")

    return write


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bomb, "promises frames of 3,600 MB in a file of"),
        (ome("x"), "its OME-XML cannot be read (invalid literal"),
        (ome("999999999"), "promises 999,999,999 planes"),
        (os.mkfifo, "is a FIFO, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
        (lambda path: path.mkdir(), "a folder, not a file"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "is a device, not a file"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_whatever_a_file_is_the_plate_survives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    stack = np.stack([grey(t) for t in range(3)])
    tifffile.imwrite(tmp_path / "s1_A1_p1.tif", stack, photometric="minisblack")
    make(Path("s1_A2_p1.tif"))
    found = survey(plate(tmp_path, interval_h=1), 0.0)
    assert found.manifest["well"].tolist() == ["A01"]
    (row,) = found.problems[found.problems["severity"].eq("error")].to_dict("records")
    assert row["path"].endswith("s1_A2_p1.tif")
    assert words in row["problem"]
    assert row["remedy"]


def test_what_a_store_lacks_or_holds_of_another_kind_is_one_line(tmp_path: Path, refusal: Refusal) -> None:
    for number, attributes in enumerate(({"plate": {}}, {"multiscales": []}, {"multiscales": [{}]})):
        path = tmp_path / f"{number}.zarr"
        zarr.open_group(str(path), mode="w", zarr_format=2).attrs.update(attributes)
        refusal(path)
    deep = tmp_path / "deep.zarr"
    deep.mkdir()
    (deep / ".zgroup").write_text('{"zarr_format": 2}')
    (deep / ".zattrs").write_text("[" * 100_000 + "]" * 100_000)
    refusal(deep)
    twice = tmp_path / "twice.zarr"
    group = zarr.open_group(str(twice), mode="w", zarr_format=2)
    group.create_array("0", shape=(3, 2, 16, 16), dtype="uint8")
    scale = {"type": "scale", "scale": [1.0] * 4}
    level = {"path": "0", "coordinateTransformations": [scale]}
    group.attrs["multiscales"] = [{"axes": [{"name": name} for name in "ttyx"], "datasets": [level]}]
    assert "axes TTYX do not fit an array of shape (3, 2, 16, 16)" in refusal(twice)
    piped = tmp_path / "piped.zarr"
    piped.mkdir()
    (piped / ".zgroup").write_text('{"zarr_format": 2}')
    (piped / ".zattrs").write_text(json.dumps({"multiscales": [{"axes": [], "datasets": [{"path": "0"}]}]}))
    os.mkfifo(piped / "0")
    assert "is a FIFO, not a file" in refusal(piped)


def test_a_codec_that_runs_out_of_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey(t) for t in range(3)]), photometric="minisblack")
    for error in (MemoryError(), RecursionError("too deep"), AssertionError(), ZeroDivisionError()):
        with open_stack(tmp_path / "a.tif") as opened:

            def fails(*_: object, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(opened._reader, "_read_plane", fails)
            with pytest.raises(InputError, match="frame 1 cannot be read"):
                opened.frame(1)


@given(st.text(min_size=1, max_size=30).filter(lambda name: not set("/\0") & set(name)))
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_name_is_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    try:
        path = tmp_path / f"s1_A1_p1_{name}.tif"
        tifffile.imwrite(path, np.stack([grey(t) for t in range(3)]), photometric="minisblack")
    except (OSError, UnicodeEncodeError):
        return
    said: list[str] = []
    try:
        found = survey(DataConfig(source=str(tmp_path), interval_h=1.0), 0.0, blind=True)
        said = [*found.problems["path"], *found.problems["problem"], *found.manifest["path"]]
    except InputError as error:
        said = [str(error)]
    path.unlink()
    assert said
    assert not any("\n" in line for line in said)
    "".join(said).encode()


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("YXT", (16, 20, 3)), ("TYXC", (2, 16, 20, 3)), ("YTX", (16, 3, 20)), ("TXY", (3, 20, 16))],
)
def test_pages_that_are_no_whole_frames_are_refused(
    tmp_path: Path, refusal: Refusal, axes: str, shape: tuple[int, ...]
) -> None:
    image = np.random.default_rng(0).integers(0, 999, shape, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack", metadata={"axes": axes})
    line = refusal(tmp_path / "a.tif")
    assert f"axes {axes}" in line
    assert "its pages are no whole frames; save it as ImageJ or OME-TIFF" in line


def test_an_image_that_a_plain_tiff_does_not_hold_is_no_damage(tmp_path: Path, refusal: Refusal) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey(0))
    assert "no image 9; it holds one: leave #9 away" in refusal(Path(f"{tmp_path / 'a.tif'}#9"))
