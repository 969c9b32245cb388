"""Real files as labs have them; skipped where the shared folder is not beside the project."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.readers import open_stack

REAL = Path(__file__).parents[3] / "shared" / "real"

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/real beside the project")


def test_syncytia_are_eight_stacks_of_two_wells() -> None:
    manifest, notes = load_manifest(DataConfig(source=str(REAL / "syncytia")), 0.0, need_both=True)
    assert notes == []  # the names say t0-120, and 121 frames are there
    assert len(manifest) == 8
    assert manifest["n_frames"].eq(121).all()
    assert manifest["interval_h"].eq(0.25).all()
    assert manifest[["height", "width"]].eq(100).all(axis=None)
    wells = manifest.groupby("well")["condition"].agg(["nunique", "first", "size"])
    assert wells.to_dict("index") == {
        "A01": {"nunique": 1, "first": "infected", "size": 4},
        "B01": {"nunique": 1, "first": "mock", "size": 4},
    }


def test_syncytia_frames_differ_over_time() -> None:
    path = next((REAL / "syncytia" / "infected").glob("*_p1_*.tiff"))
    with open_stack(path) as stack:
        first, last = stack.frame(0), stack.frame(120)
    assert first.shape == last.shape == (100, 100)
    assert first.dtype == "uint8"
    assert np.abs(first.astype(float) - last).mean() > 1


def test_another_interval_for_syncytia_is_used_and_said() -> None:
    manifest, notes = load_manifest(DataConfig(source=str(REAL / "syncytia"), interval_h=0.5), 0.0)
    assert manifest["interval_h"].eq(0.5).all()
    assert any("0.5 h apart by data.interval_h; the file's 0.25 h are not used" in note for note in notes)


def test_a_label_file_is_no_manifest_and_the_error_says_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"column path, condition missing \(there are file, field"):
        load_manifest(DataConfig(source=str(REAL / "plasmodium_stages" / "labels.csv")), 0.0)


def test_plasmodium_stages_as_stills_with_hours(tmp_path: Path) -> None:
    folder = REAL / "plasmodium_stages"
    labels = pd.read_csv(folder / "labels.csv")
    own = pd.DataFrame(
        {
            "path": [str(folder / name) for name in labels["file"]],
            "condition": "infected",
            "well": "field " + labels["field"].astype(str),
            "hours": labels["stage_score"],
        }
    )
    own.to_csv(tmp_path / "stages.csv", index=False)
    source = DataConfig(source=str(tmp_path / "stages.csv"), channel="grey")
    manifest, notes = load_manifest(source, 0.0)
    assert len(manifest) == 115
    assert manifest["stack_id"].is_unique
    np.testing.assert_allclose(manifest["start_h"], labels["stage_score"])
    assert manifest["n_frames"].eq(1).all()
    np.testing.assert_array_equal(manifest[["width", "height"]], labels[["width", "height"]])
    assert len(notes) == 1
    assert "stills of" in notes[0]


def test_malaria_cells_as_stills_grouped_by_slide(tmp_path: Path) -> None:
    folder = REAL / "malaria_cells"
    labels = pd.read_csv(folder / "labels.csv").groupby("label").head(60)
    own = pd.DataFrame(
        {
            "path": [str(folder / name) for name in labels["file"]],
            "condition": labels["label"].map({1: "infected", 0: "mock"}),
            "well": labels["slide"],
        }
    )
    own.to_csv(tmp_path / "cells.csv", index=False)
    source = DataConfig(source=str(tmp_path / "cells.csv"), channel="green")
    manifest, _ = load_manifest(source, 0.0, need_both=True)
    assert len(manifest) == 120
    assert manifest["condition"].value_counts().to_dict() == {"infected": 60, "mock": 60}
    assert manifest["stack_id"].is_unique
    with open_stack(manifest["path"].iloc[0], channel="green") as stack:
        assert stack.frame(0).shape == tuple(manifest.loc[0, ["height", "width"]])


@pytest.mark.parametrize("name", ["stuck.tif", "tiff_stack.tif"])
def test_stacks_with_little_metadata_are_five_frames(name: str) -> None:
    with open_stack(REAL / "pims" / name) as stack:
        facts = stack.facts
        assert (facts.n_frames, facts.height, facts.width, facts.dtype) == (5, 512, 512, "uint16")
        assert (facts.interval_h, facts.n_z, len(facts.channels)) == (None, 1, 1)
        means = [stack.frame(index).mean() for index in range(5)]
    assert len(set(means)) == 5
