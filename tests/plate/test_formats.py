"""OME-TIFF sets, OME-Zarr images and plates, numbered series: written here, read back plane by plane."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from yaozarrs import v05
from yaozarrs.write.v05 import write_image, write_plate

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.readers import Scene, list_stacks, open_stack, source_files

Refusal = Callable[..., str]
HEIGHT, WIDTH = 6, 8
GREY = {"photometric": "minisblack"}


def levels(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype("uint16")


def plate_map(folder: Path, wells: dict[str, str], **keys: object) -> DataConfig:
    lines = [f"{key}: {value}" for key, value in keys.items()] + ["wells:"]
    lines += [f"  {well}: {{condition: {condition}}}" for well, condition in wells.items()]
    (folder / "plate.yaml").write_text("\n".join(lines) + "\n")
    return DataConfig(source=str(folder / "plate.yaml"))


# --- OME-TIFF sets: one file per position, every file describes the whole plate


def ome_plate(names: list[str]) -> str:
    images = "".join(
        f'<Image ID="Image:{i}" Name="field {i}">'
        f'<Pixels ID="Pixels:{i}" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="{WIDTH}" SizeY="{HEIGHT}" SizeZ="1" SizeC="1" SizeT="3" TimeIncrement="0.5" '
        f'TimeIncrementUnit="h"><Channel ID="Channel:{i}:0" SamplesPerPixel="1"/>'
        + "".join(
            f'<TiffData IFD="{t}" FirstT="{t}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{i}</UUID>'
            "</TiffData>"
            for t in range(3)
        )
        + "</Pixels></Image>"
        for i, name in enumerate(names)
    )
    wells = "".join(
        f'<Well ID="Well:{i}" Row="1" Column="{i + 1}"><WellSample ID="S:{i}" Index="{i}">'
        f'<ImageRef ID="Image:{i}"/></WellSample></Well>'
        for i in range(len(names))
    )
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    return f'<?xml version="1.0"?><OME {space}><Plate ID="Plate:0">{wells}</Plate>{images}</OME>'


@pytest.fixture
def ome_set(tmp_path: Path) -> Path:
    names = ["first.ome.tif", "second.ome.tif"]
    for i, name in enumerate(names):
        tifffile.imwrite(
            tmp_path / name,
            levels(2, 3, HEIGHT, WIDTH)[i],
            description=ome_plate(names),
            metadata=None,
            **GREY,
        )
    return tmp_path


def test_each_file_of_an_ome_set_gives_its_own_image_with_its_well(ome_set: Path) -> None:
    first, second = ome_set / "first.ome.tif", ome_set / "second.ome.tif"
    assert list_stacks(first) == [Scene(f"{first}#0", "field 0", "B02", "0")]
    assert list_stacks(second) == [Scene(f"{second}#1", "field 1", "B03", "0")]
    stack = levels(2, 3, HEIGHT, WIDTH)
    for number, path in enumerate((f"{first}#0", f"{second}#1")):
        with open_stack(path) as opened:
            assert opened.facts.interval_h == 0.5
            assert opened.facts.n_frames == 3
            np.testing.assert_array_equal(opened.frame(2), stack[number, 2])
    assert source_files(first) == [first, second]


def test_ome_wells_need_no_name_pattern(ome_set: Path) -> None:
    manifest, notes = load_manifest(plate_map(ome_set, {"B2": "infected", "B3": "mock"}), 0.0, need_both=True)
    assert [note for note in notes if "grey level" not in note] == []  # the ladder of levels goes on
    assert list(manifest["well"]) == ["B02", "B03"]
    assert list(manifest["condition"]) == ["infected", "mock"]
    assert list(manifest["path"]) == [str(ome_set / name) for name in ("first.ome.tif#0", "second.ome.tif#1")]


def test_a_file_of_an_ome_set_that_is_gone_or_short_takes_its_own_image_only(
    ome_set: Path, refusal: Refusal
) -> None:
    first, second = ome_set / "first.ome.tif", ome_set / "second.ome.tif"
    for damage in (lambda: first.write_bytes(first.read_bytes()[:-60]), first.unlink):
        damage()
        with open_stack(f"{second}#1") as opened:
            np.testing.assert_array_equal(opened.frame(2), levels(2, 3, HEIGHT, WIDTH)[1, 2])
    assert [scene.path for scene in list_stacks(second)] == [f"{second}#0", f"{second}#1"]
    assert "image 0 of its OME-XML has no planes (first.ome.tif)" in refusal(Path(f"{second}#0"))


def test_parts_of_a_set_find_their_companion_file(tmp_path: Path, refusal: Refusal) -> None:
    stack = levels(3, HEIGHT, WIDTH)
    master = ome_plate(["part.ome.tif"])
    (tmp_path / "set.companion.ome").write_text(master)
    binary = '<OME UUID="urn:uuid:0"><BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:9"/></OME>'
    tifffile.imwrite(tmp_path / "part.ome.tif", stack, description=binary, metadata=None, **GREY)
    (only,) = list_stacks(tmp_path / "part.ome.tif")
    assert (only.path, only.well) == (str(tmp_path / "part.ome.tif"), "B02")
    with open_stack(only.path) as opened:
        assert opened.facts.interval_h == 0.5
        np.testing.assert_array_equal(opened.frame(1), stack[1])
    (tmp_path / "set.companion.ome").unlink()
    assert "put set.companion.ome, which describes it, beside it" in refusal(Path(only.path))


def test_several_images_in_one_file_need_a_choice(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "two.ome.tif"
    stack = levels(2, 3, HEIGHT, WIDTH)
    with tifffile.TiffWriter(path, ome=True) as writer:
        for one in stack:
            writer.write(one, metadata={"axes": "TYX"}, **GREY)
    assert f"2 images in one file; name one of them, {path}#0 to {path}#1" in refusal(path)
    with open_stack(f"{path}#1") as opened:
        np.testing.assert_array_equal(opened.frame(2), stack[1, 2])
    assert "no image 2; it holds images 0-1" in refusal(Path(f"{path}#2"))


def test_pyramid_levels_are_not_images(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.ome.tif"
    stack = levels(3, 32, 32)
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(stack, subifds=1, tile=(16, 16), metadata={"axes": "TYX"}, **GREY)
        writer.write(stack[:, ::2, ::2], subfiletype=1, tile=(16, 16), **GREY)
    assert len(list_stacks(path)) == 1
    with open_stack(path) as opened:
        assert (opened.facts.n_frames, opened.facts.height, opened.facts.width) == (3, 32, 32)
        np.testing.assert_array_equal(opened.frame(2), stack[2])


def test_a_name_with_a_number_sign_stays_a_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "run#3.tif", levels(2, HEIGHT, WIDTH))
    with open_stack(tmp_path / "run#3.tif") as opened:
        assert opened.facts.n_frames == 2


# --- OME-Zarr


def model(time_unit: str = "minute") -> v05.Image:
    axes = [
        v05.TimeAxis(name="t", unit=time_unit),
        v05.ChannelAxis(name="c"),
        v05.SpaceAxis(name="y", unit="micrometer"),
        v05.SpaceAxis(name="x", unit="micrometer"),
    ]
    scale = v05.ScaleTransformation(scale=[30.0, 1.0, 0.65, 0.65])
    level = v05.Dataset(path="0", coordinateTransformations=[scale])
    channels = [{"label": "phase", "color": "FFFFFF"}, {"label": "GFP", "color": "00FF00"}]
    channels = [c | {"window": {"start": 0, "end": 9, "min": 0, "max": 9}} for c in channels]
    return v05.Image(multiscales=[v05.Multiscale(axes=axes, datasets=[level])], omero={"channels": channels})


def test_ome_zarr_05_image(tmp_path: Path, refusal: Refusal) -> None:
    stack = levels(4, 2, HEIGHT, WIDTH)
    path = write_image(tmp_path / "a.zarr", model(), stack, writer="zarr")
    assert "2 channels; set data.channel to one of 0 (phase), 1 (GFP)" in refusal(path)
    with open_stack(path, channel="GFP") as opened:
        facts = opened.facts
        assert (facts.n_frames, facts.height, facts.width, facts.dtype) == (4, HEIGHT, WIDTH, "uint16")
        assert facts.interval_h == pytest.approx(0.5)
        assert facts.pixel_um == pytest.approx(0.65)
        assert facts.axes == "TCYX"
        np.testing.assert_array_equal(opened.frame(3), stack[3, 1])


def test_ome_zarr_05_plate_gives_wells_and_fields(tmp_path: Path) -> None:
    stack = levels(4, 4, 2, HEIGHT, WIDTH)
    wells = [("B", "2", "0"), ("B", "2", "1"), ("C", "11", "0"), ("C", "11", "1")]
    images = {key: (model(), [one]) for key, one in zip(wells, stack, strict=True)}
    path = write_plate(tmp_path / "plate.zarr", images, writer="zarr")
    assert [(scene.well, scene.position) for scene in list_stacks(path)] == [
        ("B02", "0"),
        ("B02", "1"),
        ("C11", "0"),
        ("C11", "1"),
    ]
    source = plate_map(tmp_path, {"B2": "infected", "C11": "mock"}, plate="screen")
    source = source.model_copy(update={"channel": "phase"})
    manifest, notes = load_manifest(source, 0.0, need_both=True)
    assert [note for note in notes if "grey level" not in note] == []  # the ladder of levels goes on
    assert list(manifest["stack_id"]) == [
        "screen/B02/p0",
        "screen/B02/p1",
        "screen/C11/p0",
        "screen/C11/p1",
    ]
    with open_stack(manifest["path"].iloc[3], channel="phase") as opened:
        np.testing.assert_array_equal(opened.frame(2), stack[3, 2, 0])


def write_04(path: Path, stack: np.ndarray) -> None:
    """An image as the 0.4 specification has it: Zarr format 2, metadata at the top of the attributes."""
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", data=stack, chunks=(1, *stack.shape[1:]))
    axes = [{"name": "t", "type": "time", "unit": "second"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    steps = [{"type": "scale", "scale": [1.0, 2.0, 0.5, 0.5]}]
    level = {"path": "0", "coordinateTransformations": steps}
    whole = [{"type": "scale", "scale": [1800.0, 1.0, 1.0, 1.0]}]
    one = {"version": "0.4", "axes": axes, "datasets": [level], "coordinateTransformations": whole}
    group.attrs["multiscales"] = [one]


def test_ome_zarr_04_image_with_planes(tmp_path: Path, refusal: Refusal) -> None:
    stack = levels(3, 2, HEIGHT, WIDTH)
    write_04(tmp_path / "a.ome.zarr", stack)
    assert "2 focus planes (axes TZYX)" in refusal(tmp_path / "a.ome.zarr")
    with open_stack(tmp_path / "a.ome.zarr", z="max") as opened:
        assert opened.facts.interval_h == pytest.approx(0.5)  # scale of the level times scale of the image
        assert opened.facts.pixel_um == pytest.approx(0.5)
        np.testing.assert_array_equal(opened.frame(2), stack[2].max(axis=0))


def test_ome_zarr_04_plate(tmp_path: Path, refusal: Refusal) -> None:
    root = zarr.open_group(str(tmp_path / "p.zarr"), mode="w", zarr_format=2)
    root.attrs["plate"] = {"version": "0.4", "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]}
    well = zarr.open_group(str(tmp_path / "p.zarr" / "A" / "1"), mode="w", zarr_format=2)
    well.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}], "version": "0.4"}
    for field in range(2):
        write_04(tmp_path / "p.zarr" / "A" / "1" / str(field), levels(3, 2, HEIGHT, WIDTH) + field)
    found = list_stacks(tmp_path / "p.zarr")
    assert [(scene.well, scene.position) for scene in found] == [("A01", "0"), ("A01", "1")]
    with open_stack(found[1].path, z=0) as opened:
        np.testing.assert_array_equal(opened.frame(0), levels(3, 2, HEIGHT, WIDTH)[0, 0] + 1)
    assert f"2 images in one file; name one of them, {found[0].path}" in refusal(tmp_path / "p.zarr")


def test_damaged_zarr_is_one_line(tmp_path: Path, refusal: Refusal) -> None:
    path = write_image(tmp_path / "a.zarr", model(), levels(4, 2, HEIGHT, WIDTH), writer="zarr")
    chunk = next(file for file in sorted(path.rglob("*")) if file.is_file() and file.suffix != ".json")
    chunk.write_bytes(b"broken")
    with open_stack(path, channel=0) as opened, pytest.raises(InputError, match="frame 0 cannot be read"):
        opened.frame(0)
    (path / "zarr.json").write_text("{}")
    assert "not a Zarr group, or damaged" in refusal(path)
    zarr.open_group(str(tmp_path / "bare.zarr"), mode="w")
    assert "a Zarr store without OME metadata" in refusal(tmp_path / "bare.zarr")


# --- one file per frame


def test_numbered_files_are_one_stack(tmp_path: Path) -> None:
    stack = levels(12, HEIGHT, WIDTH)
    for t, image in enumerate(stack):  # 8, 9, 10: order by number, not by letters
        tifffile.imwrite(tmp_path / f"s1_a1_p2_t{t}.tif", image)
    pattern = DataConfig().name_pattern.split("(?:")[0] + r"_t(?P<frame>\d+)"
    source = plate_map(tmp_path, {"A1": "mock"}, interval_h=0.25)
    manifest, notes = load_manifest(source.model_copy(update={"name_pattern": pattern}), 0.0)
    assert notes == []
    assert list(manifest["path"]) == [str(tmp_path / "s1_a1_p2_t{frame}.tif")]
    assert list(manifest["n_frames"]) == [12]
    with open_stack(manifest["path"].iloc[0]) as opened:
        for t in range(12):
            np.testing.assert_array_equal(opened.frame(t), stack[t])
    assert source_files(manifest["path"].iloc[0])[10] == tmp_path / "s1_a1_p2_t10.tif"


def test_series_with_channels_and_planes_in_the_names(tmp_path: Path, refusal: Refusal) -> None:
    stack = levels(3, 2, 2, HEIGHT, WIDTH)
    for t, c, z in np.ndindex(3, 2, 2):
        Image.fromarray(stack[t, c, z]).save(tmp_path / f"f{t:03d}_{('GFP', 'phase')[c]}_z{z + 1}.png")
    path = tmp_path / "f{frame}_{channel}_z{z}.png"
    assert "2 channels; set data.channel to one of 0 (GFP), 1 (phase)" in refusal(path, z=0)
    with open_stack(path, channel="phase", z=1) as opened:
        assert (opened.facts.n_frames, opened.facts.axes) == (3, "TCZYX")
        np.testing.assert_array_equal(opened.frame(2), stack[2, 1, 1])


def test_times_written_in_file_names_are_acquisition_times(tmp_path: Path) -> None:
    for name in ("00d00h00m", "00d12h30m", "01d01h00m"):
        tifffile.imwrite(tmp_path / f"VID1_B2_1_{name}.tif", levels(HEIGHT, WIDTH))
    with open_stack(tmp_path / "VID1_B2_1_{days}d{hours}h{minutes}m.tif") as opened:
        assert opened.facts.times_h == pytest.approx((0.0, 12.5, 25.0))
        assert opened.facts.interval_h == pytest.approx(12.5)


def test_missing_and_empty_files_of_a_series_are_gaps_at_their_hours(
    tmp_path: Path, refusal: Refusal
) -> None:
    for t in (20, 21, 22, 25, 26):
        tifffile.imwrite(tmp_path / f"t{t}_c0.tif", levels(HEIGHT, WIDTH) + t)
    (tmp_path / "t24_c0.tif").touch()
    with open_stack(tmp_path / "t{frame}_c0.tif") as opened:
        assert (opened.facts.n_frames, opened.facts.first_frame) == (5, 20)
        assert opened.facts.raster == (0, 1, 2, 5, 6)
        assert opened.facts.notes == (
            "1 of its files are empty: t24_c0.tif",
            "2 of its 7 frames are not there (3, 4): gaps at their hours",
        )
        assert opened.frame(3)[0, 0] == 25
    tifffile.imwrite(tmp_path / "t21_c1.tif", levels(HEIGHT, WIDTH))
    with open_stack(tmp_path / "t{frame}_c{channel}.tif", channel="1") as opened:
        assert (opened.facts.n_frames, opened.facts.raster) == (1, (1,))
    assert "no file fits this template" in refusal(tmp_path / "u{frame}.tif")


def test_series_with_a_file_of_another_size_is_refused_when_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t0.tif", levels(HEIGHT, WIDTH))
    tifffile.imwrite(tmp_path / "t1.tif", levels(HEIGHT, WIDTH + 1))
    with (
        open_stack(tmp_path / "t{frame}.tif") as opened,
        pytest.raises(InputError, match="6 x 9 px in a series of 6 x 8"),
    ):
        opened.frame(1)


# --- what cannot be read


def test_a_format_without_its_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    (tmp_path / "a.nd2").write_bytes(b"some")

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name}", name="nd2")

    monkeypatch.setattr("hpiclock.plate.readers.importlib.import_module", absent)
    message = refusal(tmp_path / "a.nd2")
    assert message.endswith("a.nd2: reading it needs the package nd2; pip install 'hpiclock[formats]'")


def test_a_file_without_permission_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", levels(HEIGHT, WIDTH))

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("hpiclock.plate.readers.tiff.tifffile.FileHandle", denied)
    assert "cannot be opened (Permission denied); check its permissions" in refusal(tmp_path / "a.tif")
