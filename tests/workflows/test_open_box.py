"""Notebook 02 in the open: its cells leave the folder of `hpiclock train`, and tell of changes by hand."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch

from hpiclock import workbook
from hpiclock.config.load import load_config
from hpiclock.errors import InputError
from hpiclock.runs.run import Run
from hpiclock.tables import HISTORY, METRICS, PREDICTIONS
from hpiclock.workflows.predict import predict as predict_plate
from hpiclock.workflows.train import train

ROOT = Path(__file__).parents[2]
DEMO = str(ROOT / "configs" / "demo.yaml")
OF_ITS_TIME = {"provenance.json", "run.log"}


@pytest.fixture(autouse=True)
def _one_thread_and_no_bars(monkeypatch):
    monkeypatch.setenv("HPICLOCK_PROGRESS", "off")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def settings(tmp_path_factory, tiny_plate):
    base = tmp_path_factory.mktemp("box")
    return {
        "data.source": str(tiny_plate), "data.cache_dir": str(base / "cache"), "image.size": 32,
        "reports_dir": str(base / "reports"), "model.backbone": "shufflenet_v2_x0_5", "model.hidden_dim": 8,
        "train.epochs": 2, "train.threads": 1, "train.device": "cpu", "train.precision": "fp32",
        "study.resamples": 100, "split.train": 0.5, "split.val": 0.25, "split.test": 0.25,
        "model.time_on": "infected",
    }  # fmt: skip


def run_cells(name, settings, folder, *, after=None):
    """Run the cells of a notebook in this process; ``after``: cell id -> code of a cell put behind it."""
    names = {"__name__": "notebook"}
    for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            names |= {"config": DEMO, "overrides": settings, "run_dir": str(folder)}
        elif cell.cell_type == "code":
            exec(compile(cell.source, cell.id, "exec"), names)
            if cell.id in (after or {}):
                exec(after[cell.id], names)
    return names


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def commanded(settings, tmp_path_factory):
    """The folder that the command leaves."""
    folder = tmp_path_factory.mktemp("command") / "seed0"
    train(load_config(DEMO, settings), folder, say=str)
    return folder


def test_the_cells_and_the_command_leave_the_same_folder(settings, commanded, tmp_path):
    folder = tmp_path / "seed0"
    names = run_cells("02_training", settings, folder)
    assert files(folder) == files(commanded)
    for name in sorted(files(commanded) - OF_ITS_TIME):
        if name != "config.yaml":  # paths in it are relative to the folder
            assert (folder / name).read_bytes() == (commanded / name).read_bytes(), name
    run = Run.open(folder)
    kept = run.read_table("predictions.parquet", PREDICTIONS)
    pd.testing.assert_frame_equal(names["predictions"], kept, check_dtype=False)
    assert names["history"].equals(run.read_table("history.csv", HISTORY))
    assert "by_hand" not in run.read_json("provenance.json")


def test_a_time_that_was_never_trained_is_not_predicted(commanded):
    rows = Run.open(commanded).read_table("predictions.parquet", PREDICTIONS)
    mock = rows["label"].eq(0)
    assert rows.loc[mock, "time_pred"].isna().all()
    assert rows.loc[~mock.fillna(False), "time_pred"].notna().all()
    assert rows["p_infected"].notna().all()
    history = Run.open(commanded).read_table("history.csv", HISTORY)
    tested = history[history["split"].eq("test")].set_index("metric")["value"]
    infected = rows[rows["split"].eq("test") & rows["label"].eq(1)]
    errors = (infected["time_pred"] - infected["time_target"]).abs()
    assert tested["mae"] == pytest.approx(errors.mean())


def test_a_finished_run_is_shown_and_its_model_is_the_trained_one(settings, commanded, capsys):
    before = {path: path.read_bytes() for path in commanded.rglob("*") if path.is_file()}
    names = run_cells("02_training", settings, commanded)
    assert "is done; its results are kept" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in commanded.rglob("*") if path.is_file()} == before
    best = torch.load(commanded / "checkpoints" / "best.pt", weights_only=True)["model"]
    assert all(torch.equal(value, best[name]) for name, value in names["model"].state_dict().items())


def test_a_finished_run_is_shown_where_its_plate_and_its_device_are_gone(
    settings, tiny_plate, tmp_path, monkeypatch
):
    def no_device(*_):
        raise InputError("train.device: cuda is not to be had here")

    source = tmp_path / "plate"
    shutil.copytree(tiny_plate.parent, source)
    settings = settings | {"data.source": str(source / tiny_plate.name)}
    first = run_cells("02_training", settings, tmp_path / "run")
    shutil.rmtree(source)
    monkeypatch.setattr("hpiclock.workflows.train.place_model", no_device)
    again = run_cells("02_training", settings, tmp_path / "run")
    assert again["predictions"].equals(run_predictions(tmp_path / "run"))
    assert again["frames"]["time_target"].equals(first["frames"]["time_target"])


def test_a_change_by_hand_that_was_never_kept_is_not_remembered(settings, tmp_path, monkeypatch):
    folder = tmp_path / "taken_back"

    def kill(line):
        if line.startswith("Epoch   1/"):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules["builtins"].__dict__, "kill", kill)
    cut = {"02-24": LOSS + "\nfrom functools import partial\nfit = partial(fit, say=kill)"}
    settings = settings | {"train.checkpoint_every_s": 1000.0}
    with pytest.raises(KeyboardInterrupt):
        run_cells("02_training", settings, folder, after=cut)
    assert Run.open(folder).state == "new"
    run_cells("02_training", settings, folder)
    assert not any("by hand" in note for note in Run.open(folder).notes)


def run_predictions(folder):
    return Run.open(folder).read_table("predictions.parquet", PREDICTIONS)


def test_notebook_03_computes_the_metrics_that_the_run_keeps(settings, commanded):
    cells = nbformat.read(ROOT / "notebooks" / "03_evaluation.ipynb", as_version=4).cells
    names = {"config": DEMO, "overrides": settings, "run_dir": str(commanded)}
    for cell in cells:
        if cell.id in ("03-01", "03-03", "03-04", "03-61"):
            exec(compile(cell.source, cell.id, "exec"), names)
    kept = Run.open(commanded).read_table("metrics.csv", METRICS)
    over_all_hours = kept[kept["start_h"].isna()].reset_index(drop=True)
    found = names["metrics"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, over_all_hours[list(found.columns)], check_dtype=False)


NETWORK = """
from torch import nn
model.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
model.class_head, model.time_head = nn.Linear(16, 2), nn.Linear(16, 1)
"""
LOSS = "from torch import nn\nlosses.time_loss = nn.L1Loss(reduction='none')"


@pytest.mark.parametrize(
    ("place", "code", "parts"),
    [("02-23", NETWORK, ["the model"]), ("02-24", LOSS, ["the losses"]),
     ("02-21", "frames = frames[frames['frame'] % 2 == 0]", ["the frames"])],
    ids=["model", "loss", "frames"],
)  # fmt: skip
def test_what_is_changed_by_hand_is_trained_and_said(settings, tmp_path, place, code, parts):
    folder = tmp_path / "own"
    names = run_cells("02_training", settings, folder, after={place: code})
    run = Run.open(folder)
    assert run.state == "done"
    assert list(run.read_json("provenance.json")["by_hand"]) == parts
    sentence = f"Changed by hand: {parts[0]}. The config alone does not give this run."
    assert run.notes[0] == sentence  # hence on every page, and in the summary
    assert ("cannot rebuild it" in run.notes[1]) == (parts == ["the model"])
    assert sentence in run.path("training_summary.txt").read_text(encoding="utf-8")
    assert len(names["predictions"]) == len(names["frames"])
    # the same cells show it again; it is not shown as the results of other parts
    assert run_cells("02_training", settings, folder, after={place: code})["history"].equals(names["history"])
    other = {"02-24": "losses.class_weight = 3.0"}
    with pytest.raises(InputError, match=r"was begun with other parts than these: .*the losses.*run_dir"):
        run_cells("02_training", settings, folder, after=other)
    assert run_cells("02_training", settings, folder)["predictions"].equals(names["predictions"])


def test_a_training_that_goes_on_keeps_its_parts(settings, tmp_path, monkeypatch):
    folder, epochs = tmp_path / "killed", []

    def kill(line):
        epochs.append(line)
        if line.startswith("Epoch   1/"):
            raise KeyboardInterrupt

    cut = {"02-24": LOSS + "\nfrom functools import partial\nfit = partial(fit, say=kill)"}
    monkeypatch.setitem(sys.modules["builtins"].__dict__, "kill", kill)
    settings = settings | {"train.checkpoint_every_s": 0}
    with pytest.raises(KeyboardInterrupt):
        run_cells("02_training", settings, folder, after=cut)
    with pytest.raises(InputError, match="the losses changed by hand"):
        run_cells("02_training", settings, folder)
    cut["02-24"] = LOSS
    names = run_cells("02_training", settings, folder, after=cut)
    assert names["history"]["epoch"].max() == 2
    assert Run.open(folder).read_json("provenance.json")["by_hand"].keys() == {"the losses"}


def test_a_network_made_by_hand_cannot_be_rebuilt_and_that_is_one_clear_line(settings, tmp_path, tiny_plate):
    folder = tmp_path / "own"
    run_cells("02_training", settings, folder, after={"02-23": NETWORK})
    with pytest.raises(InputError, match="its network was changed by hand"):
        predict_plate([Run.open(folder)], tiny_plate, tmp_path / "p.parquet", changes={}, say=str)


def test_names_of_the_workbook_are_there_and_torch_waits():
    code = "import sys\nfrom hpiclock.workbook import *\nassert 'torch' not in sys.modules\nbuild = 1\n"
    code += "from hpiclock.workbook import build_model\nassert 'torch' in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(hasattr(workbook, name) for name in dir(workbook))
    with pytest.raises(AttributeError, match="no attribute 'fits'"):
        _ = workbook.fits


def test_the_words_of_the_question_stand_in_cells_of_notebook_02():
    cells = nbformat.read(ROOT / "notebooks" / "02_training.ipynb", as_version=4).cells
    called = {
        node.func.id
        for cell in cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert {"open_plate", "add_targets", "split_frames", "build_model", "Losses", "fit", "predict"} <= called
