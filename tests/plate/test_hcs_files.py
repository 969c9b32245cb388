"""Plates of screening microscopes, described by the formats' own libraries: wells, fields, channels, times.

OME-TIFF: the XML comes from ome-types, the OME data model in Python. OME-Zarr 0.4: the metadata come from
yaozarrs, and its validator passes the store (0.5 is written whole by yaozarrs, in test_formats).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaozarrs
import zarr
from ome_types import model as ome
from yaozarrs import v04

from hpiclock.config.schema import DataConfig
from hpiclock.plate.manifest.survey import acquisition_times, load_manifest
from hpiclock.plate.readers import list_stacks, open_stack

HEIGHT, WIDTH, FRAMES = 6, 8, 4
FIELDS = [("B", 2, 0), ("B", 2, 1), ("C", 11, 0), ("C", 11, 1)]  # row, column, field
MINUTES = [0.0, 30.0, 60.0, 96.0]  # the last frame came late
CHANNELS = ("phase", "GFP")
UUID = "urn:uuid:00000000-0000-0000-0000-00000000000"


@pytest.fixture
def stacks() -> np.ndarray:
    """The pixels, (fields, frames, channels, height, width)."""
    shape = (len(FIELDS), FRAMES, len(CHANNELS), HEIGHT, WIDTH)
    return np.arange(np.prod(shape)).reshape(shape).astype("uint16")


def plate_map(folder: Path, path: Path) -> DataConfig:
    text = f"plate: screen\nfolder: {path.name}\n"
    text += "wells:\n  B2: {condition: infected}\n  C11: {condition: mock}\n"
    (folder / "plate.yaml").write_text(text)
    return DataConfig(source=str(folder / "plate.yaml"), channel="phase")


def check_manifest(manifest: pd.DataFrame) -> None:
    assert manifest["stack_id"].tolist() == [
        "screen/B02/p0", "screen/B02/p1", "screen/C11/p0", "screen/C11/p1",
    ]  # fmt: skip
    assert manifest["condition"].tolist() == ["infected", "infected", "mock", "mock"]
    assert manifest["n_frames"].eq(FRAMES).all()
    np.testing.assert_allclose(manifest["interval_h"], 0.5)
    np.testing.assert_allclose(manifest["pixel_um"], 0.65)
    assert set(manifest["channel_name"]) == {"phase"}


def ome_image(number: int) -> ome.Image:
    name = f"field{number}.ome.tif"
    planes = [
        ome.Plane(the_t=t, the_c=c, the_z=0, delta_t=60 * MINUTES[t] + 5 * c, delta_t_unit="s")
        for t in range(FRAMES) for c in range(len(CHANNELS))
    ]  # fmt: skip
    blocks = [
        ome.TiffData(
            ifd=t * len(CHANNELS) + c, first_t=t, first_c=c, plane_count=1,
            uuid=ome.TiffData.UUID(value=f"{UUID}{number}", file_name=name),
        )
        for t in range(FRAMES) for c in range(len(CHANNELS))
    ]  # fmt: skip
    pixels = ome.Pixels(
        id=f"Pixels:{number}", dimension_order="XYZCT", type="uint16", size_x=WIDTH, size_y=HEIGHT, size_z=1,
        size_c=len(CHANNELS), size_t=FRAMES, physical_size_x=0.65, physical_size_y=0.65, time_increment=30,
        time_increment_unit="min", tiff_data_blocks=blocks, planes=planes,
        channels=[ome.Channel(id=f"Channel:{number}:{c}", name=CHANNELS[c]) for c in range(len(CHANNELS))],
    )  # fmt: skip
    return ome.Image(id=f"Image:{number}", name=f"field {number}", pixels=pixels)


def ome_plate() -> str:
    wells: dict[tuple[str, int], list[ome.WellSample]] = {}
    for number, (row, column, field) in enumerate(FIELDS):
        sample = ome.WellSample(
            id=f"WellSample:{number}", index=field, image_ref=ome.ImageRef(id=f"Image:{number}")
        )
        wells.setdefault((row, column), []).append(sample)
    plate = ome.Plate(
        id="Plate:0",
        wells=[
            ome.Well(id=f"Well:{i}", row=ord(row) - ord("A"), column=column - 1, well_samples=samples)
            for i, ((row, column), samples) in enumerate(wells.items())
        ],
    )
    return ome.OME(plates=[plate], images=[ome_image(number) for number in range(len(FIELDS))]).to_xml()


def test_an_ome_tiff_plate_of_four_files(tmp_path: Path, stacks: np.ndarray) -> None:
    folder = tmp_path / "tiffs"
    folder.mkdir()
    for number, stack in enumerate(stacks):
        tifffile.imwrite(
            folder / f"field{number}.ome.tif", stack, description=ome_plate(), metadata=None,
            photometric="minisblack",
        )  # fmt: skip
    manifest, notes = load_manifest(plate_map(tmp_path, folder), 0.0, need_both=True)
    check_manifest(manifest)
    # 6 min late, of the frames as they were taken, channel by channel
    assert len(notes) == 2  # the other: the ladder of grey levels goes on from stack to stack
    assert "+6 min off the nominal 0.5 h raster" in notes[0]
    for times in acquisition_times(manifest).values():
        np.testing.assert_allclose(times, np.array(MINUTES) / 60)
    for path, stack in zip(manifest["path"], stacks, strict=True):
        for channel, name in enumerate(CHANNELS):
            with open_stack(path, channel=name) as opened:
                assert opened.facts.axes == "TCYX"
                assert opened.facts.channels == CHANNELS
                for frame in range(FRAMES):
                    np.testing.assert_array_equal(opened.frame(frame), stack[frame, channel])


def write_04(path: Path, stacks: np.ndarray) -> None:
    """A plate of 0.4: arrays by zarr in its format 2, metadata by yaozarrs."""

    def group(where: Path, metadata: v04.Plate | v04.Well | v04.Image) -> zarr.Group:
        made = zarr.open_group(str(where), mode="a", zarr_format=2)
        made.attrs.update(metadata.model_dump(mode="json", exclude_none=True, exclude={"uri"}))
        return made

    rows, columns = (list(dict.fromkeys(one[i] for one in FIELDS)) for i in (0, 1))
    wells = list(dict.fromkeys((row, column) for row, column, _ in FIELDS))
    group(path, v04.Plate(plate=v04.PlateDef(
        name="screen", field_count=2,
        rows=[v04.Row(name=name) for name in rows],
        columns=[v04.Column(name=str(name)) for name in columns],
        wells=[v04.PlateWell(path=f"{row}/{column}", rowIndex=i, columnIndex=i)
               for i, (row, column) in enumerate(wells)],
    )))  # fmt: skip
    axes = [v04.TimeAxis(name="t", unit="minute"), v04.ChannelAxis(name="c")]
    axes += [v04.SpaceAxis(name=name, unit="micrometer") for name in "yx"]
    level = v04.Dataset(
        path="0", coordinateTransformations=[v04.ScaleTransformation(scale=[30.0, 1.0, 0.65, 0.65])]
    )
    window = v04.OmeroWindow(start=0, end=9, min=0, max=9)
    channels = [v04.OmeroChannel(label=name, color="FFFFFF", window=window) for name in CHANNELS]
    image = v04.Image(
        multiscales=[v04.Multiscale(axes=axes, datasets=[level])], omero=v04.Omero(channels=channels)
    )
    for row, column in wells:
        fields = [v04.FieldOfView(path=str(field)) for r, c, field in FIELDS if (r, c) == (row, column)]
        group(path / row / str(column), v04.Well(well=v04.WellDef(images=fields)))
    for (row, column, field), stack in zip(FIELDS, stacks, strict=True):
        made = group(path / row / str(column) / str(field), image)
        made.create_array("0", data=stack, chunks=(1, 1, HEIGHT, WIDTH),
                          chunk_key_encoding={"name": "v2", "separator": "/"})  # fmt: skip


def test_an_ome_zarr_04_plate(tmp_path: Path, stacks: np.ndarray) -> None:
    path = tmp_path / "plate.ome.zarr"
    write_04(path, stacks)
    yaozarrs.validate_zarr_store(path)
    assert [(scene.well, scene.position) for scene in list_stacks(path)] == [
        ("B02", "0"), ("B02", "1"), ("C11", "0"), ("C11", "1"),
    ]  # fmt: skip
    manifest, notes = load_manifest(plate_map(tmp_path, path), 0.0, need_both=True)
    assert [note for note in notes if "grey level" not in note] == []  # the ladder of levels goes on
    check_manifest(manifest)
    for place, stack in zip(manifest["path"], stacks, strict=True):
        with open_stack(place, channel="GFP") as opened:
            assert opened.facts.axes == "TCYX"
            assert opened.facts.channels == CHANNELS
            np.testing.assert_array_equal(opened.frame(FRAMES - 1), stack[-1, 1])
