"""The simulated plate on disk: same seed, same bytes; readable by the workbook; nothing half-written."""

import errno
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.timeline import expand_frames
from hpiclock.simulate import write
from hpiclock.simulate.design import design
from hpiclock.simulate.write import synthesize

SMALL = {"wells": {"A1": 0.0, "B2": 5.0}, "n_frames": 4, "interval_h": 8.0}


def make(folder: Path, *, name: str = "tiny", seed: int = 0, workers: int = 1, **changes: Any) -> Path:
    plan = design(name, **(SMALL | changes))
    return synthesize(folder, design=plan, seed=seed, workers=workers)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    plan = design("tiny", n_frames=3, interval_h=12.0)
    for number, workers in enumerate((1, 3, 2)):
        synthesize(tmp_path / str(number), design=plan, seed=7, workers=workers)
    first = digests(tmp_path / "0")
    assert len(first) == 8 + 3  # stacks, plate map, truth, recipe
    assert digests(tmp_path / "1") == first
    assert digests(tmp_path / "2") == first


def test_another_seed_gives_other_pictures(tmp_path: Path) -> None:
    one, two = digests(make(tmp_path / "1", seed=1).parent), digests(make(tmp_path / "2", seed=2).parent)
    assert set(one) == set(two)
    assert all(one[name] != two[name] for name in one if name.endswith(".tiff"))


def test_stacks_are_imagej_files_with_axes_and_interval(tmp_path: Path) -> None:
    folder = make(tmp_path / "plate").parent
    assert sorted(p.name for p in folder.glob("*.tiff")) == [
        "tiny_s1_a1_p1_t0-3.tiff",
        "tiny_s1_b2_p1_t0-3.tiff",
    ]
    with tifffile.TiffFile(folder / "tiny_s1_b2_p1_t0-3.tiff") as stack:
        assert stack.series[0].axes == "TYX"
        assert stack.series[0].shape == (4, 64, 64)
        assert stack.imagej_metadata is not None
        assert stack.imagej_metadata["finterval"] == 8 * 3600


def test_the_workbook_reads_the_plate_and_the_truth_joins_on_stack_and_frame(tmp_path: Path) -> None:
    source = make(tmp_path / "plate", microscope={"positions": 2})
    manifest, notes = load_manifest(DataConfig(source=str(source)), 0.0)
    assert [note.partition(":")[0] for note in notes] == ["Simulated data"]
    assert manifest["condition"].tolist() == ["mock", "mock", "infected", "infected"]
    assert manifest["moi"].iloc[2] == 5.0
    assert manifest["onset_h"].iloc[2] == 4.0
    truth = pd.read_csv(source.parent / "truth.csv", dtype={"position": str})
    keys = ["stack_id", "well", "position", "condition", "onset_h", "frame", "hours"]
    pd.testing.assert_frame_equal(truth[keys], expand_frames(manifest)[keys], check_dtype=False)


def test_a_planted_clock_is_written_as_a_manifest_with_its_starts(tmp_path: Path) -> None:
    source = make(tmp_path / "plate", plant={"infected_h": (16.0, 24.0), "mock_h": (0.0, 8.0)})
    assert source.name == "manifest.csv"
    manifest, _ = load_manifest(DataConfig(source=str(source)), 0.0)
    assert dict(zip(manifest["condition"], manifest["start_h"], strict=True)) == {
        "mock": 0.0,
        "infected": 16.0,
    }
    truth = pd.read_csv(source.parent / "truth.csv")
    assert truth["hours"].tolist() == expand_frames(manifest)["hours"].tolist()


def test_masks_stand_beside_the_stacks_and_are_not_taken_for_stacks(tmp_path: Path) -> None:
    source = make(tmp_path / "plate", masks=True)
    manifest, _ = load_manifest(DataConfig(source=str(source)), 0.0)
    assert len(manifest) == 2
    folder = source.parent
    mask = tifffile.imread(folder / "masks" / "tiny_s1_b2_p1_t0-3_cpe.tiff")
    truth = pd.read_csv(folder / "truth.csv").query("well == 'B02'")
    assert set(np.unique(mask)) == {0, 255}
    assert (mask > 0).mean(axis=(1, 2)).tolist() == pytest.approx(truth["cpe_area"].tolist())
    assert not tifffile.imread(folder / "masks" / "tiny_s1_a1_p1_t0-3_cpe.tiff").any()


def test_a_folder_that_holds_this_plate_is_used_as_it_is(tmp_path: Path) -> None:
    path = make(tmp_path / "plate")
    stack = next(path.parent.glob("*.tiff"))
    written = stack.stat().st_mtime_ns
    assert make(tmp_path / "plate") == path
    assert stack.stat().st_mtime_ns == written


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "plate").mkdir()
    assert make(tmp_path / "plate").is_file()


@pytest.mark.parametrize("changes", [{"seed": 1}, {"n_frames": 5}])
def test_a_folder_with_another_plate_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    make(tmp_path / "plate")
    before = digests(tmp_path)
    with pytest.raises(InputError, match="already holds another simulated plate; name a new or empty folder"):
        make(tmp_path / "plate", **changes)
    assert digests(tmp_path) == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plate").mkdir()
    (tmp_path / "plate" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already holds other files"):
        make(tmp_path / "plate")
    with pytest.raises(InputError, match="is a file"):
        make(tmp_path / "plate" / "notes.txt")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write.tifffile, "imwrite", full)
    with pytest.raises(InputError, match="No space left on device"):
        make(tmp_path / "plate")
    assert list(tmp_path.iterdir()) == []


def test_a_pixel_size_is_written_and_changes_nothing_where_there_is_none(tmp_path: Path) -> None:
    plain, sized = make(tmp_path / "plain"), make(tmp_path / "sized", microscope={"pixel_um": 0.65})
    assert "pixel_um" not in (plain.parent / "synth.json").read_text()
    manifests = [load_manifest(DataConfig(source=str(path)), 0.0)[0] for path in (plain, sized)]
    assert "pixel_um" not in manifests[0].columns
    np.testing.assert_allclose(manifests[1]["pixel_um"], 0.65, rtol=1e-5)
    stacks = [tifffile.imread(manifest["path"].iloc[0]) for manifest in manifests]
    np.testing.assert_array_equal(stacks[0], stacks[1])
