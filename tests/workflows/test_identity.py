"""A run is its config, plate, split and code: where the plate became another one, nothing of it is shown."""

import os
import shutil

import pytest
import tifffile
import yaml

from hpiclock.config.load import dump_config
from hpiclock.errors import InputError
from hpiclock.runs.run import Run
from hpiclock.workflows import identity
from hpiclock.workflows.audit import audit_run, open_audit
from hpiclock.workflows.compare import compare_runs
from hpiclock.workflows.export import export
from hpiclock.workflows.identity import check_what_was_learnt
from hpiclock.workflows.notebooks import run_chain
from hpiclock.workflows.predict import predict
from hpiclock.workflows.readout import open_readout
from hpiclock.workflows.study import study_file
from hpiclock.workflows.train import train


@pytest.fixture(scope="module")
def made(tiny_plate, quick_run, tmp_path_factory):
    """A finished run of a plate of its own."""
    folder = tmp_path_factory.mktemp("identity")
    shutil.copytree(tiny_plate.parent, folder / "plate")
    changes = {"data.source": str(folder / "plate" / tiny_plate.name), "train.precision": "fp32"}
    return quick_run(changes, folder=folder)


@pytest.fixture
def run(made):
    """The same, and its folder and plate are put back at the end."""
    base = made.folder.parents[2]
    shutil.copytree(base, base.with_name("kept"))
    yield made
    shutil.rmtree(base)
    base.with_name("kept").rename(base)


def plate_of(run):
    return run.folder.parents[2] / "plate"


def lines_of(run):
    lines = []
    train(run.cfg, run.folder, say=lines.append)
    return lines


def swap_conditions(run):
    path = plate_of(run) / "plate.yaml"
    content = yaml.safe_load(path.read_text())
    wells = content["wells"]
    infected = next(name for name, well in wells.items() if well["condition"] == "infected")
    mock = next(name for name, well in wells.items() if well["condition"] == "mock")
    wells[infected], wells[mock] = wells[mock], wells[infected]
    path.write_text(yaml.safe_dump(content))


def shift_an_onset(run):
    path = plate_of(run) / "plate.yaml"
    content = yaml.safe_load(path.read_text())
    next(well for well in content["wells"].values() if well["condition"] == "infected")["onset_h"] = 9.25
    path.write_text(yaml.safe_dump(content))


def add_a_stack(run):
    first = plate_of(run) / "tiny_s1_a1_p1_t0-12.tiff"
    shutil.copy(first, first.with_name("tiny_s1_a1_p2_t0-12.tiff"))


def paint_over(run):
    path = next(plate_of(run).rglob("*.tiff"))
    frames = tifffile.memmap(path, mode="r+")
    frames[3, 10:50, 10:50] = frames.max()
    frames.flush()


CHANGES = {
    swap_conditions: r"condition of \d+ stacks \(.* was (mock|infected), now (mock|infected)\)",
    shift_an_onset: r"onset_h of \d+ stacks? \(.*, now 9.25\)",
    add_a_stack: r"1 stack new",
    paint_over: r"pixels of the stacks",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_finished_run_of_another_plate_is_not_done(run, change):
    change(run)
    with pytest.raises(
        InputError, match=rf"its plate changed since: .*{CHANGES[change]}.*another run folder"
    ):
        lines_of(run)


def test_a_killed_run_does_not_go_on_with_other_labels(run):
    run.path("results.json").unlink()
    swap_conditions(run)
    before = run.path("manifest.csv").read_bytes()
    with pytest.raises(InputError, match="its plate changed since: condition of"):
        lines_of(run)
    assert run.path("manifest.csv").read_bytes() == before


def test_a_killed_run_does_not_go_on_with_other_code(run, monkeypatch):
    run.path("results.json").unlink()
    other = {"hpiclock": "9.9", "git": {"commit": "a" * 40, "dirty": False}}
    monkeypatch.setattr(identity, "software", lambda: other)
    line = r"was begun with hpiclock 0.* this is 9\.9 \(commit aaaaaaaaaa\); go on with that version"
    with pytest.raises(InputError, match=line):
        lines_of(run)


def test_neither_audit_nor_study_nor_pages_show_results_of_another_plate(run, tmp_path, monkeypatch):
    swap_conditions(run)
    monkeypatch.setattr("hpiclock.workflows.notebooks._execute_all", None)
    config = tmp_path / "config.yaml"
    config.write_text(dump_config(run.cfg, tmp_path))
    for show in (
        lambda: audit_run(run, say=str),
        lambda: open_audit(run, say=str),
        lambda: study_file(run.path("predictions.parquet"), tmp_path / "study", run.cfg),
        lambda: run_chain(config, {}, run_dir=run.folder, notebooks="03"),
    ):
        with pytest.raises(InputError, match="its plate changed since: condition of"):
            show()
    assert not (tmp_path / "study").exists()


def uses_of(run, folder, say=str):
    """What makes use of what a finished run has learnt, by its name."""
    return {
        "predict": lambda: predict([run], plate_of(run), folder / "new.parquet", changes={}, say=say),
        "export": lambda: export(run, folder / "exported", say=say),
        "compare": lambda: compare_runs([run], say=say),
        "read-out": lambda: open_readout(run, predictions="", source="", more_runs=[], hour=None),
    }


@pytest.mark.parametrize("use", ["predict", "export", "compare", "read-out"])
def test_a_run_that_learnt_other_labels_is_not_used(run, tmp_path, use):
    swap_conditions(run)
    with pytest.raises(InputError, match=r"its plate changed since: condition of .*; train again with the"):
        uses_of(run, tmp_path)[use]()
    assert not list(tmp_path.iterdir())


def test_stacks_that_came_since_or_a_plate_that_is_gone_stop_no_prediction(run):
    lines = []
    add_a_stack(run)
    check_what_was_learnt([run, run], say=lines.append)
    assert (
        lines
        == [f"note: the plate of {run.name} changed since it was trained: 1 stack new (tiny/A01/p2)"] * 2
    )
    shutil.rmtree(plate_of(run))
    lines.clear()
    check_what_was_learnt([run, run], say=lines.append)
    assert len(lines) == 1
    assert lines[0].startswith(f"note: the plate of {run.name} was not compared")


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.yaml", "crop_border: 0.0", "crop_border: 0.3"),
        ("manifest.csv", ",infected,", ",mock,"),
    ],
)
def test_a_run_whose_own_files_were_edited_is_not_opened(run, name, old, new):
    edited(run.path(name), old, new)
    with pytest.raises(InputError, match=rf"{name}: was changed since this run was made; put the file back"):
        Run.open(run.folder)


@pytest.mark.parametrize(
    "name",
    [
        *("split.json", "results.json", "notes.json", "predictions.parquet", "tables/threshold.csv"),
        "checkpoints/looks.csv",
    ],
)
def test_a_run_of_which_a_result_is_damaged_or_gone_is_not_opened(run, name):
    path = run.path(name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: was changed since this run was made; put the file back"):
        Run.open(run.folder)
    path.unlink()
    if run.state == "done":
        with pytest.raises(InputError, match=rf"{name}: is gone; put the file back as it was"):
            Run.open(run.folder)


def test_a_finished_run_that_does_not_say_where_it_comes_from_is_not_opened(run):
    run.path("provenance.json").unlink()
    with pytest.raises(InputError, match=r"provenance\.json: no such file; put the file back as it was"):
        Run.open(run.folder)


@pytest.mark.parametrize("use", ["predict", "export"])
def test_a_run_whose_test_is_not_over_is_not_used(run, tmp_path, use):
    run.path("results.json").unlink()
    with pytest.raises(InputError, match=r"is not finished \(state: training\); go on with hpiclock train"):
        uses_of(run, tmp_path)[use]()


def test_nothing_is_measured_anew_on_pixels_that_were_not_trained_on(run, tmp_path):
    paint_over(run)
    shutil.rmtree(run.cfg.data.cache_dir)
    for name in ("likeness.npz", "looks.csv"):
        run.path("checkpoints", name).unlink()
    lines = []
    uses_of(run, tmp_path, lines.append)["export"]()
    assert any("random images" in line for line in lines)
    uses_of(run, tmp_path, lines.append)["predict"]()
    assert any("training frames are not at hand" in line for line in lines)
    assert not run.path("checkpoints", "likeness.npz").is_file()
    assert not run.path("checkpoints", "looks.csv").is_file()


def test_where_things_lie_may_be_edited(run):
    edited(run.path("config.yaml"), "source: ", "source: ../elsewhere/")
    assert Run.open(run.folder).state == "done"


def test_files_with_new_dates_in_a_new_place_are_the_same_plate(run):
    for path in plate_of(run).rglob("*.tiff"):
        os.utime(path)
    assert lines_of(run) == [f"{run.name} is done; its results are kept"]


def test_a_plate_that_is_not_at_hand_is_said_to_be_not_compared(run):
    shutil.rmtree(plate_of(run))
    note, done = lines_of(run)
    assert note.startswith(f"note: the plate of {run.name} was not compared with what the run keeps of it: ")
    assert done.endswith("its results are kept")
