"""Frames that a microscope lost leave training, tests and new plates, and are asked about in the audit."""

import shutil

import numpy as np
import pytest
import tifffile

from hpiclock.audit import EMPTY, HOUR
from hpiclock.config.load import config_of
from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.runs.run import NOTES
from hpiclock.tables import FRAMES, MANIFEST, PREDICTIONS
from hpiclock.workflows.audit import audit_run, check_plate, design_audit
from hpiclock.workflows.predict import predict
from hpiclock.workflows.train import train

LOST = {8: 0, 9: 255}  # frame -> grey level


def quiet(_: str) -> None:
    pass


def with_lost_frames(plate, folder, condition, *, wells=None, lost=LOST):
    """Copy a plate; frames of the wells of a condition become black or white."""
    shutil.copytree(plate.parent, folder)
    source = folder / plate.name
    manifest = design_manifest(source)
    for path in manifest.loc[manifest["condition"].isin(condition), "path"].iloc[:wells]:
        stack = tifffile.memmap(path, mode="r+")
        for frame, level in lost.items():
            stack[frame] = level
        stack.flush()
    return source


def design_manifest(source):
    from hpiclock.plate.manifest.survey import load_manifest

    return load_manifest(DataConfig(source=str(source)), 0.0)[0]


@pytest.fixture(scope="module")
def lossy(tiny_plate, tmp_path_factory):
    return with_lost_frames(tiny_plate, tmp_path_factory.mktemp("lossy") / "plate", ["infected"])


@pytest.fixture(scope="module")
def run(lossy, quick_settings):
    return train(config_of(quick_settings({"data.source": str(lossy)})), None, say=quiet)


def test_they_leave_train_validation_test_and_predictions(run):
    manifest = run.read_table("manifest.csv", MANIFEST)
    infected = manifest.loc[manifest["condition"].eq("infected"), "stack_id"]
    for name, table in (("frames.parquet", FRAMES), ("predictions.parquet", PREDICTIONS)):
        rows = run.read_table(name, table)
        mine = rows[rows["stack_id"].isin(infected)]
        assert not mine["frame"].isin(LOST).any()
        assert {7, 10} <= set(mine["frame"])
        assert set(LOST) <= set(rows.loc[~rows["stack_id"].isin(infected), "frame"])
        step = mine["hours"] / mine["frame"].where(mine["frame"] > 0)
        assert np.allclose(step.dropna(), step.dropna().iloc[0])  # the hours around the gap stay
    note = next(note for note in run.read_json(NOTES) if "hold no picture" in note)
    assert note.startswith("8 frames of 4 stacks hold no picture")


def test_the_audit_says_that_they_go_with_the_condition(run, tmp_path):
    verdict = audit_run(run, tmp_path, say=quiet).set_index("question")
    row = verdict.loc[EMPTY]
    assert row["verdict"] == "contradicted"
    assert row["evidence"].startswith(
        "8 empty frames of 4 stacks are left out: infected some (4 wells); mock"
    )


@pytest.mark.parametrize(
    ("condition", "wells", "answer"),
    [(["infected", "mock"], None, "not seen"), (["mock"], 1, "cannot tell"), ([], None, "shown")],
)
def test_the_check_of_a_plate_asks_before_training(tiny_plate, tmp_path, condition, wells, answer):
    source = with_lost_frames(tiny_plate, tmp_path / "plate", condition, wells=wells)
    lines: list[str] = []
    checked = check_plate(config_of({"data.source": str(source)}), read_frames=True, say=lines.append)
    verdict = design_audit(checked.looked_at).verdict.set_index("question")["verdict"]
    assert verdict[EMPTY] == answer
    assert any("frames of one grey level" in line for line in lines) == bool(condition)
    assert HOUR not in verdict.index  # the same hours are lost in both, or in one well of many


def test_a_new_plate_gives_no_answer_for_them(run, tiny_plate, tmp_path):
    source = with_lost_frames(tiny_plate, tmp_path / "plate", ["mock"], wells=2)
    lines: list[str] = []
    found = predict([run], source, tmp_path / "new.parquet", changes={}, say=lines.append)
    n = design_manifest(source)["n_frames"].sum()
    assert len(found.rows) == n - 4
    assert any("4 frames of 2 stacks hold no picture" in note for note in found.notes)
    assert any("4 frames of 2 stacks hold no picture" in line for line in lines)


def test_a_new_plate_without_any_picture_is_refused(run, tiny_plate, tmp_path):
    n = int(design_manifest(tiny_plate)["n_frames"].max())
    everything = dict.fromkeys(range(n), 0)
    source = with_lost_frames(tiny_plate, tmp_path / "plate", ["infected", "mock"], lost=everything)
    with pytest.raises(InputError, match="no frame holds a picture"):
        predict([run], source, tmp_path / "new.parquet", changes={}, say=quiet)
    assert not (tmp_path / "new.parquet").exists()


def test_a_class_without_any_picture_is_refused_before_training(tiny_plate, quick_settings, tmp_path):
    n = int(design_manifest(tiny_plate)["n_frames"].max())
    source = with_lost_frames(tiny_plate, tmp_path / "plate", ["infected"], lost=dict.fromkeys(range(n), 255))
    cfg = config_of(quick_settings({"data.source": str(source)}, folder=tmp_path))
    with pytest.raises(InputError, match="train: all labelled frames are uninfected"):
        train(cfg, tmp_path / "run", say=quiet)
    assert not (tmp_path / "run").exists()


def test_fixed_limits_that_do_not_fit_stop_before_a_run_is_made(quick_settings, tmp_path):
    image = {"image.intensity": "fixed", "image.low": 1000, "image.high": 2000}
    cfg = config_of(quick_settings(image, folder=tmp_path))
    with pytest.raises(InputError, match=r"100% of its pixels lie beyond image.low and image.high"):
        train(cfg, tmp_path / "run", say=quiet)
    assert not (tmp_path / "run").exists()
