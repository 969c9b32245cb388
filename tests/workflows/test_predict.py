"""hpiclock predict: a trained run reads out plates that it never saw, with and without conditions."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile

from hpiclock import cli
from hpiclock.errors import InputError
from hpiclock.runs.run import Run
from hpiclock.simulate.design import design
from hpiclock.simulate.write import synthesize
from hpiclock.tables import PREDICTIONS
from hpiclock.workflows import predict as predicting
from hpiclock.workflows.predict import own_test_wells, predict, read_readout


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("newplate")


SETTINGS = {
    "model.backbone": "resnet10", "train.epochs": 2, "train.lr": 3e-3, "train.precision": "fp32",
    "image.intensity": "fixed", "image.low": 64, "image.high": 192, "targets.before_onset": "uninfected",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(base, quick_run):
    return quick_run(SETTINGS, folder=base)


@pytest.fixture(scope="module")
def run_in_bf16(base, quick_run):
    changes = {"experiment": "bf16", "train.precision": "bf16", "train.epochs": 1}
    return quick_run(SETTINGS | changes, folder=base)


@pytest.fixture(scope="module")
def other_run(base, quick_run):
    return quick_run(SETTINGS | {"seed": 1}, folder=base)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A plate with another seed and other wells, its plate map and its stacks alone."""
    wells = {"A1": 5.0, "A2": 0.0, "B1": 0.0, "B2": 5.0}
    plate = design("tiny", wells=wells).model_copy(update={"name": "second"})
    folder = tmp_path_factory.mktemp("second") / "plate"
    path = synthesize(folder, design=plate, seed=5, workers=1)
    bare = tmp_path_factory.mktemp("bare") / "plain"
    bare.mkdir()
    for stack in path.parent.rglob("*.tif*"):
        shutil.copy(stack, bare / stack.name)
    return path, bare


def quiet(_: str) -> None:
    return


def test_its_own_plate_gives_its_own_predictions(run, tiny_plate, tmp_path):
    lines: list[str] = []
    found = predict([run], tiny_plate, tmp_path / "p.parquet", changes={}, say=lines.append)
    own = run.read_table("predictions.parquet", PREDICTIONS).set_index(["stack_id", "frame"])
    mine = found.rows.set_index(["stack_id", "frame"]).loc[own.index]
    np.testing.assert_allclose(mine["p_infected"], own["p_infected"], atol=1e-5)
    np.testing.assert_allclose(mine["time_pred"], own["time_pred"], atol=1e-4)
    assert mine["label"].tolist() == own["label"].tolist()
    assert found.threshold == pytest.approx(pd.read_csv(run.path("tables", "threshold.csv"))["value"].item())
    assert (mine["called"] == (mine["p_infected"] >= found.threshold)).all()
    assert found.likeness["verdict"] in ("alike", "partly unlike")
    assert lines[-1] == found.likeness["sentence"]


def test_its_own_plate_gives_nearly_its_own_predictions_in_bfloat16(run_in_bf16, tiny_plate, tmp_path):
    """Batches are put together otherwise, which bfloat16 rounds otherwise: three digits are left."""
    found = predict([run_in_bf16], tiny_plate, tmp_path / "p.parquet", changes={}, say=quiet)
    own = run_in_bf16.read_table("predictions.parquet", PREDICTIONS).set_index(["stack_id", "frame"])
    mine = found.rows.set_index(["stack_id", "frame"]).loc[own.index]
    np.testing.assert_allclose(mine["p_infected"], own["p_infected"], atol=0.02)
    np.testing.assert_allclose(mine["time_pred"], own["time_pred"], atol=0.5)


def test_a_plain_folder_is_predicted_and_nothing_is_claimed(run, second, tmp_path):
    labelled = predict([run], second[0], tmp_path / "map.parquet", changes={}, say=quiet)
    plain = predict([run], second[1], tmp_path / "plain.parquet", changes={}, say=quiet)
    assert labelled.rows["label"].notna().all()
    assert plain.rows["label"].isna().all()
    assert set(plain.rows["condition"]) == {"unknown"}
    assert any("What was done to 4 of 4 stacks is unknown" in note for note in plain.notes)
    key = ["well", "frame"]
    one, other = (found.rows.sort_values(key)["p_infected"] for found in (labelled, plain))
    np.testing.assert_array_equal(one, other)
    again = read_readout(tmp_path / "plain.parquet")
    pd.testing.assert_frame_equal(again.rows, plain.rows)
    assert (again.thresholds, again.notes, again.runs) == (plain.thresholds, plain.notes, plain.runs)
    json.loads((tmp_path / "plain.json").read_text())


def test_what_the_plate_map_says_stands_in_the_rows(run, second, tmp_path):
    lines = ["wells:"]
    for well, dose in (("A1", 0), ("A2", 1), ("B1", 10), ("B2", 100)):
        lines.append(f"  {well}: {{compound: x, dose: {dose}, dose_unit: uM}}")
    shutil.copytree(second[1], tmp_path / "dosed")
    (tmp_path / "dosed" / "plate.yaml").write_text("\n".join(lines))
    rows = predict([run], tmp_path / "dosed", tmp_path / "p.csv", changes={}, say=quiet).rows
    assert rows.groupby("well")["dose"].first().to_dict() == {"A01": 0, "A02": 1, "B01": 10, "B02": 100}
    assert set(rows["condition"]) == {"unknown"}
    assert set(rows["compound"]) == {"x"}


def test_the_mean_of_two_runs_with_its_spread(run, other_run, second, tmp_path):
    apart = [
        predict([one], second[0], tmp_path / "p.parquet", changes={}, say=quiet) for one in (run, other_run)
    ]
    both = predict([run, other_run], second[0], tmp_path / "both.parquet", changes={}, say=quiet)
    p = np.stack([found.rows["p_infected"] for found in apart])
    np.testing.assert_allclose(both.rows["p_infected"], p.mean(0), atol=1e-12)
    np.testing.assert_allclose(both.rows["p_infected_sd"], np.abs(p[0] - p[1]) / np.sqrt(2), atol=1e-12)
    assert both.threshold == pytest.approx(np.mean([found.threshold for found in apart]))
    assert set(both.rows["run"]) == {"mean of 2 runs"}


def test_a_killed_prediction_goes_on_where_it_stopped(run, second, tmp_path, monkeypatch):
    from hpiclock.inference import predict as inference

    monkeypatch.setattr(predicting, "PIECE", 13)  # one stack
    whole = predict([run], second[0], tmp_path / "whole.parquet", changes={}, say=quiet)
    really, asked = inference.predict, []

    def ask(*given, **more):
        asked.append(len(given[2]))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return really(*given, **more)

    monkeypatch.setattr(inference, "predict", ask)
    with pytest.raises(KeyboardInterrupt):
        predict([run], second[0], tmp_path / "p.parquet", changes={}, say=quiet)
    assert not (tmp_path / "p.parquet").exists()
    assert asked == [13, 13, 13]
    found = predict([run], second[0], tmp_path / "p.parquet", changes={}, say=quiet)
    assert asked == [13] * 5  # the two stacks that were done are not asked again
    pd.testing.assert_frame_equal(found.rows, whole.rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "p.json", "p.parquet", "whole.json", "whole.parquet",
    ]  # fmt: skip


def test_stacks_are_never_cut_into_two_pieces():
    frames = pd.DataFrame({"stack_id": np.repeat(["a", "b", "c"], [5, 4, 7]), "frame": 0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "PIECE", 6)
        pieces = predicting.resume_chunks(frames)
    assert [list(piece["stack_id"].unique()) for piece in pieces] == [["a", "b"], ["c"]]


def test_a_plate_beyond_the_held_out_stacks_is_flagged_before_all_else(run, second, tmp_path, monkeypatch):
    really = predicting.reference_of

    def narrow(*given):
        found = really(*given)
        return found._replace(held_out=found.held_out * 0.1)  # held-out stacks as like training as can be

    monkeypatch.setattr(predicting, "reference_of", narrow)
    found = predict([run], second[0], tmp_path / "p.parquet", changes={}, say=quiet)
    assert found.likeness["verdict"] == "unlike"
    assert found.notes[0].startswith("THIS PLATE LOOKS UNLIKE THE TRAINING PLATE: 4 of 4 stacks")


def test_what_cannot_be_matched_is_refused(run, second, tmp_path):
    stack = np.zeros((3, 2, 64, 64), np.uint8)
    metadata = {"axes": "TCYX", "finterval": 3600.0, "tunit": "s"}
    (tmp_path / "colours").mkdir()
    tifffile.imwrite(tmp_path / "colours" / "s1_A1_p1.tif", stack, imagej=True, metadata=metadata)
    with pytest.raises(InputError, match=r"2 channels; set data\.channel"):
        predict([run], tmp_path / "colours", tmp_path / "p.parquet", changes={}, say=quiet)
    (tmp_path / "deep").mkdir()
    deep = np.zeros((3, 64, 64), np.uint16)
    metadata["axes"] = "TYX"
    tifffile.imwrite(tmp_path / "deep" / "s1_A1_p1.tif", deep, imagej=True, metadata=metadata)
    with pytest.raises(InputError, match="the new plate has uint16"):
        predict([run], tmp_path / "deep", tmp_path / "p.parquet", changes={}, say=quiet)
    with pytest.raises(InputError, match=r"--set image\.size: the run decides it"):
        predict([run], second[0], tmp_path / "p.parquet", changes={"image.size": 64}, say=quiet)
    assert not (tmp_path / "p.parquet").exists()


def test_a_run_that_is_not_trained(run, tmp_path, second):
    empty = Run.create(run.cfg, tmp_path / "run")
    with pytest.raises(InputError, match="is not finished"):
        predict([empty], second[0], tmp_path / "p.parquet", changes={}, say=quiet)


def test_a_run_without_its_plate_predicts_and_says_what_it_cannot_tell(run, second, tmp_path, monkeypatch):
    monkeypatch.setattr(predicting, "reference_of", lambda *_: None)
    lines: list[str] = []
    found = predict([run], second[0], tmp_path / "p.parquet", changes={}, say=lines.append)
    assert found.likeness["verdict"] == "not known"
    assert any("training frames are not at hand" in line for line in lines)
    assert found.rows["distance"].isna().all()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("x.json", "no format of an output; end the name in .parquet or .csv"),
        ("stack.tif", "no format of an output"),
        ("run/predictions.parquet", "was not made by this command"),
        ("run/results.csv", "results.json: is there and was not made by this command"),
        ("plate.csv", "is read or written by this command already"),
        ("link.csv", "is a link"),
        ("/dev/null/x.csv", "cannot be written"),
    ],
)
def test_predictions_replace_nothing_but_earlier_ones(run, second, tmp_path, monkeypatch, name, line):
    monkeypatch.setattr(predicting, "plate_config", None)  # refused before anything is opened
    (tmp_path / "run").mkdir()
    for there in ("stack.tif", "run/predictions.parquet", "run/results.json", "plate.csv"):
        (tmp_path / there).write_bytes(b"mine")
    (tmp_path / "link.csv").symlink_to(second[0])
    with pytest.raises(InputError, match=re.escape(line)):
        predict([run], tmp_path / "plate.csv", tmp_path / name, changes={}, say=quiet)
    for there in ("stack.tif", "run/predictions.parquet", "run/results.json", "plate.csv"):
        assert (tmp_path / there).read_bytes() == b"mine"


def test_on_the_command_line(run, second, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hpiclock", "predict", str(run.folder), str(second[0]), "-o",
                                      str(tmp_path / "p.parquet")])  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "p.parquet: 52 frames of 4 stacks; p.json says how to read it" in capsys.readouterr().out


def test_the_test_wells_of_a_run_can_stand_for_a_new_plate(run):
    found = own_test_wells(run)
    assert found.notes[0].startswith("No new plate is given")
    assert set(found.rows["split"]) == {"test"}


def test_another_runs_weights_are_refused(run, other_run, tmp_path):
    """They fit the model, so that nothing else tells them from the run's own."""
    shutil.copytree(run.folder, tmp_path / "run")
    shutil.copyfile(other_run.path(*predicting.BEST), tmp_path / "run" / "checkpoints" / "best.pt")
    with pytest.raises(InputError, match="is not the checkpoint that this run wrote"):
        predicting.trained_model(Run.open(tmp_path / "run"))
