"""A run's folder: made once, taken up by the same config only, never half-written, and readable anywhere."""

import hashlib
import json
import logging
import os
import random
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hpiclock import tables
from hpiclock.config.load import load_config
from hpiclock.errors import InputError
from hpiclock.runs.results import load_arrays, read_study_tables
from hpiclock.runs.run import Run, default_folder, git_state, write_figure, write_figures
from hpiclock.workflows.compare import find_runs


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "configs" / "plate.yaml"
    path.parent.mkdir()
    path.write_text("experiment: plate\nseed: 3\ndata: {source: ../stacks}\n")
    return path


def test_a_run_lies_under_reports_by_experiment_and_seed(config, tmp_path):
    run = Run.create(load_config(config), "")
    assert run.folder == tmp_path / "reports" / "plate" / "seed3"
    assert run.name == "plate/seed3"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({"split.folds": 5, "split.fold": 2}, "seed3_fold2"),
        ({"split.folds": 5}, "seed3_fold0"),
        ({"split.leave_out_plate": "plate 2/b"}, "seed3_without_plate-2-b"),
    ],
)
def test_fold_and_left_out_plate_are_in_the_name(config, overrides, name):
    assert default_folder(load_config(config, overrides)).name == name


def test_the_stored_config_reads_back_as_the_same_config(config):
    cfg = load_config(config, {"train.epochs": 7})
    run = Run.create(cfg, None)
    assert Run.open(run.folder).cfg == cfg
    assert "../../../stacks" in run.path("config.yaml").read_text()  # relative to the run: the tree can move


def test_a_moved_tree_is_still_the_same_run(config, tmp_path):
    Run.create(load_config(config), None)
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("configs", "reports"):
        shutil.move(tmp_path / name, other / name)
    cfg = load_config(other / "configs" / "plate.yaml")
    assert Run.create(cfg, None).folder == other / "reports" / "plate" / "seed3"


def test_the_same_config_takes_the_folder_up_again(config, tmp_path):
    first = Run.create(load_config(config), tmp_path / "run")
    first.save_json("results.json", {"auc": 1.0})
    again = Run.create(load_config(config, {"data.cache_dir": str(tmp_path / "fast disk")}), tmp_path / "run")
    assert again.read_json("results.json") == {"auc": 1.0}


def test_another_config_is_refused_in_one_line_with_three_keys(config, tmp_path):
    Run.create(load_config(config), tmp_path / "run")
    changes = {"train.epochs": 7, "train.lr": 0.5, "image.size": 64, "model.dropout": 0.0}
    with pytest.raises(InputError) as error:
        Run.create(load_config(config, changes), tmp_path / "run")
    line = str(error.value)
    assert "\n" not in line
    assert "image.size was 224, now 64" in line
    assert "and 1 more" in line
    assert sum(key in line for key in changes) == 3
    assert "another run folder" in line
    assert load_config(tmp_path / "run" / "config.yaml").train.epochs == load_config(config).train.epochs


def test_a_source_that_became_a_folder_pair_is_another_config(config, tmp_path):
    Run.create(load_config(config), tmp_path / "run")
    pair = {"data.source": {"infected": "a", "uninfected": "b"}}
    with pytest.raises(InputError, match=r"data\.source\.infected was None"):
        Run.create(load_config(config, pair), tmp_path / "run")


def test_a_folder_with_other_things_is_never_written_to(config, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(InputError, match="is no run's folder"):
        Run.create(load_config(config), tmp_path / "photos")
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["cat.png"]


@pytest.mark.parametrize("name", [".git", ".env"])
def test_a_folder_with_dot_files_is_not_empty(config, tmp_path, name):
    (tmp_path / "project" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"project: is there and is no run's folder"):
        Run.create(load_config(config), tmp_path / "project")
    assert [p.name for p in (tmp_path / "project").iterdir()] == [name]


def test_what_a_kill_left_is_no_content_and_is_swept(config, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    left = f".config.{os.getpid()}-ab12cd34.tmp.yaml"  # of a process that had this number
    (tmp_path / "run" / left).touch()
    (tmp_path / "run" / "checkpoints").rmdir()
    run = Run.create(load_config(config), tmp_path / "run")
    assert not list(run.folder.glob(".*"))


def test_a_log_that_cannot_be_written_is_one_line(config, tmp_path):
    run = Run.create(load_config(config), tmp_path / "run")
    run.path("run.log").mkdir()
    with pytest.raises(InputError, match=r"run\.log: cannot be written \(Is a directory\)"), run.logged():
        pass


def test_opening_what_is_no_run_names_the_command(tmp_path):
    with pytest.raises(InputError, match="hpiclock train"):
        Run.open(tmp_path)


def test_the_state_follows_from_the_files(config, tmp_path):
    run = Run.create(load_config(config), tmp_path / "run")
    assert run.state == "new"
    run.path("checkpoints").mkdir()
    run.path("checkpoints", "last.pt").write_bytes(b"weights")
    assert run.state == "training"
    run.path("predictions.parquet").write_bytes(b"rows")
    assert run.state == "training"
    run.save_json("results.json", {})
    assert run.state == "done"


def test_json_is_valid_whatever_the_numbers(config, tmp_path):
    run = Run.create(load_config(config), tmp_path / "run")
    data = {
        "nan": float("nan"),
        "inf": np.float32("inf"),
        "f32": np.float32(0.5),
        "n": np.int64(3),
        "yes": np.bool_(True),
        "curve": np.array([1.0, np.nan]),
        "pair": (1, None),
        "missing": pd.NA,
        4: tmp_path.name,
    }
    run.save_json("results.json", data)

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    read = json.loads(run.path("results.json").read_text(), parse_constant=refuse)
    assert read == {
        "nan": None,
        "inf": None,
        "f32": 0.5,
        "n": 3,
        "yes": True,
        "curve": [1.0, None],
        "pair": [1, None],
        "missing": None,
        "4": tmp_path.name,
    }


def test_what_cannot_be_written_leaves_the_old_file(config, tmp_path):
    run = Run.create(load_config(config), tmp_path / "run")
    run.save_json("results.json", {"auc": 1.0})
    with pytest.raises(TypeError):
        run.save_json("results.json", {"auc": object()})
    figure = Figure()
    write_figure(figure, run.path("training_curves.png"))
    before = run.path("training_curves.png").read_bytes()
    figure.savefig = lambda *_, **__: 1 / 0
    with pytest.raises(ZeroDivisionError):
        write_figure(figure, run.path("training_curves.png"))
    assert run.read_json("results.json") == {"auc": 1.0}
    assert run.path("training_curves.png").read_bytes() == before
    assert not [p for p in run.folder.iterdir() if p.name.startswith(".")]


def test_a_figure_holds_its_words_and_is_the_same_file_each_time(tmp_path):
    axes = Figure().add_subplot()
    axes.plot([0, 1], [1, 0])
    axes.set_label("ROC of the test frames")
    paths = write_figures({"roc": axes}, tmp_path)
    assert paths == [tmp_path / "roc.png", tmp_path / "roc.svg"]
    png, svg = (path.read_bytes() for path in paths)
    assert png.startswith(b"\x89PNG")
    assert b"ROC of the test frames" in png
    assert b"ROC of the test frames" in svg
    write_figures({"roc": axes.figure}, tmp_path)
    assert paths[1].read_bytes() == svg  # no date, no random ids


def test_a_table_is_checked_before_it_is_written(config, tmp_path):
    run = Run.create(load_config(config), tmp_path / "run")
    history = pd.DataFrame({"epoch": [1], "split": ["val"], "metric": ["auc"], "value": [0.75]})
    run.save_table("history.csv", tables.HISTORY, history)
    assert run.read_table("history.csv", tables.HISTORY).to_dict("list") == history.to_dict("list")
    with pytest.raises(InputError, match="column split"):
        run.save_table("history.csv", tables.HISTORY, history.assign(split="holdout"))
    with pytest.raises(InputError, match=r"not so far \(state: new\)"):
        run.read_table("metrics.csv", tables.METRICS)


@pytest.mark.parametrize("name", ["provenance.json", "notes.json"])
@pytest.mark.parametrize("content", ["", "null", "3", "[" * 100_000, '"a"', "other"])
def test_a_file_of_a_run_that_holds_something_else_is_one_line(config, tmp_path, name, content):
    run = Run.create(load_config(config), tmp_path / "run")
    other = "{}" if name == "notes.json" else "[]"
    run.path(name).write_text(other if content == "other" else content)
    with pytest.raises(InputError, match=rf"{name}: .*; put the file back as it was") as refused:
        _ = run.notes if name == "notes.json" else run.by_hand
    assert "\n" not in str(refused.value)


def test_a_damaged_archive_of_arrays_is_read_or_is_one_line(tmp_path):
    path, rng = tmp_path / "a.npz", random.Random(0)
    np.savez_compressed(path, a=np.arange(50), b=np.ones((3, 4), np.float32))
    whole = path.read_bytes()
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
        try:
            load_arrays(path)
        except InputError as error:
            refused += "\n" not in str(error)
    assert refused > 100


def test_what_a_file_of_a_run_lacks_is_named(config, tmp_path):
    run = Run.create(load_config(config), tmp_path / "run")
    run.save_json("provenance.json", {"seed": 0})
    with pytest.raises(InputError, match=r"provenance\.json: cache is missing; put the file back as it was"):
        run.read_json("provenance.json")["cache"]
    run.path("tables").mkdir()
    run.path("tables", "metrics.csv").write_text("run\n")
    with pytest.raises(InputError, match=r"tables: threshold is missing; put the file back as it was"):
        read_study_tables(run.folder)["threshold"]
    run.path("tables", "threshold.csv").write_text("[]\n")
    with pytest.raises(InputError, match=r"threshold\.csv: column value, note missing; put the file back"):
        read_study_tables(run.folder)


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "device"])
def test_what_is_no_run_s_folder_is_refused_and_never_waited_for(special_file, kind):
    path = special_file(kind, "run")
    with pytest.raises(InputError, match="no run here") as refused:
        Run.open(path)
    assert str(path) in str(refused.value)
    with pytest.raises(InputError, match=r"no such folder|holds no run"):
        find_runs([path])


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "device"])
def test_what_stands_in_place_of_a_file_of_a_run_is_never_waited_for(config, tmp_path, special_file, kind):
    run = Run.create(load_config(config), tmp_path / "run")
    other = special_file(kind, "other")
    run.path("config.yaml").unlink()
    run.path("config.yaml").symlink_to(other)
    run.path("metrics.csv").symlink_to(other)
    with pytest.raises(InputError, match="no run here"):
        Run.open(run.folder)
    with pytest.raises(InputError, match="no such file; this run is not so far"):
        run.read_table("metrics.csv", tables.METRICS)


def test_provenance_holds_versions_and_hashes_and_no_machine(config, tmp_path):
    run = Run.create(load_config(config), tmp_path / "run")
    run.path("manifest.csv").write_text("stack_id\na\n")
    run.record(device="cpu")
    facts = run.read_json("provenance.json")
    assert facts["config_sha256"] == hashlib.sha256(run.path("config.yaml").read_bytes()).hexdigest()
    assert facts["manifest_sha256"] == hashlib.sha256(b"stack_id\na\n").hexdigest()
    assert facts["packages"]["numpy"] == np.__version__
    assert (facts["seed"], facts["device"]) == (3, "cpu")
    known = {"created", "hpiclock", "python", "platform", "packages", "git", "seed", "device"}
    assert facts.keys() == known | {"config_sha256", "manifest_sha256", "settings_sha256"}
    text = run.path("provenance.json").read_text()
    assert not re.search(r'"/\w', text)


def test_going_on_with_other_software_is_written_down(config, tmp_path, monkeypatch):
    run = Run.create(load_config(config), tmp_path / "run")
    began = run.read_json("provenance.json")["packages"]["numpy"]
    monkeypatch.setattr("hpiclock.runs.run.metadata.version", lambda _: "99.0")
    for _ in range(2):  # said once, however often it is opened
        Run.create(load_config(config), tmp_path / "run")
    facts = run.read_json("provenance.json")
    assert facts["packages"]["numpy"] == began
    assert [entry["packages"]["numpy"] for entry in facts["taken_up"]] == ["99.0"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commit_and_dirty_flag_come_from_the_repository_that_tracks_the_code(tmp_path):
    assert git_state(tmp_path) is None

    def git(*arguments):
        env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()

    git("init", "-q")
    (tmp_path / "model.py").write_text("x = 1\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "other.py").write_text("y = 1\n")
    git("add", "model.py")
    git("commit", "-q", "-m", "one")
    (tmp_path / ".git" / "info" / "exclude").write_text("venv\n")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    os.utime(tmp_path / "model.py", (0, 0))  # git would note the new date
    index = (tmp_path / ".git" / "index").read_bytes()
    assert not git_state(tmp_path)["dirty"]
    assert (tmp_path / ".git" / "index").read_bytes() == index
    assert git_state(tmp_path / "venv") is None  # lies in the repository, is not tracked by it
    (tmp_path / "model.py").write_text("x = 2\n")
    assert git_state(tmp_path)["dirty"]


def test_the_log_of_a_run_is_a_file_in_it(config, tmp_path):
    run = Run.create(load_config(config), tmp_path / "run")
    log, said = logging.getLogger("hpiclock"), []
    with run.logged(said.append, opening="training: ") as tell:
        log.info("epoch 1")
        tell("epoch 2")
    log.warning("after")
    assert said == ["epoch 2"]
    assert "INFO training: epoch 2" in run.path("run.log").read_text()
    assert "INFO epoch 1" in run.path("run.log").read_text()
    assert "after" not in run.path("run.log").read_text()
    assert logging.getLogger("hpiclock").handlers == []
