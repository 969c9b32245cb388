"""Settings of the microscope or of the export that differ within a plate are said, and judged."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from hpiclock.audit import SETTINGS
from hpiclock.config.load import config_of
from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.frames import open_plate
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.readers import open_stack
from hpiclock.workflows.audit import design_audit

WELLS = [f"{row}{column}" for row in "ABC" for column in (1, 2, 3, 4)]
INFECTED = WELLS[::2]


def write(path, *, seed=0, dtype="uint16", scale=1.0, n=4, **about):
    """Write an OME-TIFF of ``n`` frames; ``about`` are fields of its OME-XML."""
    rng = np.random.default_rng(seed)
    frames = (rng.normal(100, 20, (n, 24, 24)).clip(0, 250) * scale).astype(dtype)
    about = {"axes": "TYX", "TimeIncrement": 1800.0, "TimeIncrementUnit": "s", **about}
    names = about.get("Channel", {}).get("Name")
    if isinstance(names, list):
        frames, about["axes"] = np.stack([frames + 7 * (name == "GFP") for name in names], 1), "TCYX"
    tifffile.imwrite(path, frames, ome=True, photometric="minisblack", metadata=about)


def plate_of(folder, odd, other):
    """Write a plate whose wells named in ``odd`` were acquired otherwise: its config of data."""
    for number, well in enumerate(WELLS):
        write(folder / f"s1_{well}_p1.ome.tif", seed=number, **(other if well in odd else {}))
    lines = [
        f"  {well}: {{condition: {'infected' if well in INFECTED else 'mock'}, onset_h: 0}}"
        if well in INFECTED
        else f"  {well}: {{condition: mock}}"
        for well in WELLS
    ]
    (folder / "plate.yaml").write_text("\n".join(["plate: p", "wells:", *lines]) + "\n", encoding="utf-8")
    return DataConfig(source=str(folder))


def row_of(data):
    manifest, notes = load_manifest(data, 0.0)
    found = design_audit(manifest).verdict.set_index("question").loc[SETTINGS]
    return found, [note for note in notes if "not acquired or stored alike" in note]


OTHER = {
    "pixel type": {"dtype": "uint8"},
    "bit depth": {"SignificantBits": 12},
    "brightest grey level": {"scale": 16.0},
    "pixel size": {"PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "um"},
    "channel": {"Channel": {"Name": "phase"}},
    "interval": {"TimeIncrement": 3600.0},
    "number of frames": {"n": 6},
}


@pytest.mark.parametrize("name", OTHER)
def test_a_setting_that_goes_with_the_condition_contradicts_and_one_that_only_differs_is_a_note(
    tmp_path, name
):
    for folder, odd in (("with", INFECTED), ("without", [*INFECTED[:3], *WELLS[1:7:2]])):
        (tmp_path / folder).mkdir()
        row, notes = row_of(plate_of(tmp_path / folder, odd, OTHER[name]))
        assert row["verdict"] == ("contradicted" if folder == "with" else "not seen")
        assert name in row["evidence"]
        assert any(name in note for note in notes)


def test_stacks_that_were_acquired_alike_pass_the_file_check(tmp_path):
    row, notes = row_of(plate_of(tmp_path, [], {}))
    assert (row["verdict"], row["evidence"]) == ("shown", "all 12 stacks were acquired and stored alike")
    assert notes == []


def test_lengths_that_differ_from_well_to_well_do_not_go_with_the_condition(tmp_path):
    folder = plate_of(tmp_path, [], {})
    for number, well in enumerate(WELLS):
        write(tmp_path / f"s1_{well}_p1.ome.tif", seed=number, n=4 + number)
    assert row_of(folder)[0]["verdict"] == "not seen"


def test_a_number_that_picks_another_channel_in_some_files_is_refused_and_the_name_is_the_remedy(tmp_path):
    for number, well in enumerate(WELLS):
        names = ["GFP", "BF"] if well in INFECTED[:2] else ["BF", "GFP"]
        write(tmp_path / f"s1_{well}_p1.ome.tif", seed=number, Channel={"Name": names})
    wells = {well: "infected" if well in INFECTED else "mock" for well in WELLS}
    lines = [f"  {well}: {{condition: {condition}}}" for well, condition in wells.items()]
    (tmp_path / "plate.yaml").write_text("\n".join(["plate: p", "wells:", *lines]), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"this number is GFP, in other stacks BF.*set data.channel to a name"
    ):
        load_manifest(DataConfig(source=str(tmp_path), channel=0), 0.0)
    manifest, notes = load_manifest(DataConfig(source=str(tmp_path), channel="BF"), 0.0)
    assert set(manifest["channel_name"]) == {"BF"}
    assert any("channels: BF / GFP (10 stacks), GFP / BF (2 stacks)" in note for note in notes)


@pytest.mark.parametrize(
    ("other", "what"), [({"dtype": "uint8"}, "pixel type"), ({"SignificantBits": 12}, "bit depth")]
)
def test_fixed_limits_for_grey_levels_of_two_kinds_are_refused(tmp_path, other, what):
    data = plate_of(tmp_path, INFECTED[:3], other)
    image = {"image.intensity": "fixed", "image.low": 0, "image.high": 255}
    cfg = config_of({"data.source": data.source, **image})
    with pytest.raises(
        InputError, match=f"fixed limits for stacks of another {what}.*image.intensity to percen"
    ):
        open_plate(cfg)
    open_plate(config_of({"data.source": data.source}))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_inverted_grey_levels_are_read_as_they_are_shown(tmp_path, dtype, compression):
    shown = np.random.default_rng(0).integers(0, 200, (3, 24, 24)).astype(dtype)
    stored = np.iinfo(dtype).max - shown
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stored, photometric="miniswhite", compression=compression)
    with open_stack(path) as stack:
        assert all(np.array_equal(stack.frame(i), shown[i]) for i in range(3))
        assert stack.facts.dtype == stack.frame(0).dtype.name == dtype
        assert "stored inverted" in stack.facts.notes[0]


def test_a_palette_is_refused_unless_it_is_grey(tmp_path):
    levels = np.random.default_rng(0).integers(0, 255, (24, 24), dtype=np.uint8)
    ramp = np.arange(256, dtype=np.uint16) * 257
    for name, colours in {"grey": (ramp, ramp, ramp), "fire": (ramp, ramp // 2, ramp[::-1])}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", levels, photometric="palette", colormap=np.stack(colours))
    with open_stack(tmp_path / "grey.tif") as stack:
        assert np.array_equal(stack.frame(0), levels)
    with pytest.raises(
        InputError, match="its numbers are PALETTE, not grey levels or RGB; save it as greyscale"
    ):
        open_stack(tmp_path / "fire.tif")


@pytest.mark.parametrize(("wrong", "samples"), [("separated", 4), ("cielab", 3), ("cfa", 1)])
def test_numbers_that_are_no_grey_levels_are_refused(tmp_path, wrong, samples):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((24, 24, samples), np.uint8).squeeze() + 3, photometric=wrong)
    with pytest.raises(InputError, match=f"its numbers are {wrong.upper()}"):
        open_stack(path)


def test_what_the_files_say_of_their_acquisition_survives_the_manifest(tmp_path):
    manifest, _ = load_manifest(plate_of(tmp_path, INFECTED, {"SignificantBits": 12}), 0.0)
    assert set(manifest.loc[manifest["condition"].eq("infected"), "bit_depth"]) == {12}
    assert manifest.loc[manifest["condition"].eq("mock"), "bit_depth"].isna().all()
    assert pd.api.types.is_float_dtype(manifest["grey_max"])
