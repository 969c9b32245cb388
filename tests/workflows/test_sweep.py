"""Sweeps: what a file asks for, runs that are done once, kills that lose nothing, failures listed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hpiclock.config.sweep import load_sweep
from hpiclock.errors import InputError
from hpiclock.workflows.sweep import sweep
from hpiclock.workflows.sweep.executors import train_in_processes

TINY = {
    "image": {"size": 32},
    "model": {"backbone": "shufflenet_v2_x0_5", "hidden_dim": 8},
    "train": {"epochs": 2, "batch_size": 8, "lr": 0.003, "device": "cpu"},
    "study": {"resamples": 100},
    "windows": {"width_h": 24, "stride_h": 24},
}


def write(folder: Path, said: dict, plate: object = "plate.yaml", **changes: object) -> Path:
    """A base config and a sweep file beside it."""
    base = TINY | {"data": {"source": str(plate), "cache_dir": str(folder / "cache")}}
    base |= {"reports_dir": str(folder / "reports")} | changes
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"name": "s", "base": "base.yaml"} | said))
    return folder / "sweep.yaml"


def test_every_combination_is_a_run(tmp_path):
    said = {
        "set": {"split.folds": 3},
        "variants": {"both": {}, "class": {"model.tasks": ["class"], "train.best": "auc"}},
        "grid": {"seed": [0, 1], "split.fold": [0, 1, 2]},
    }
    plan = load_sweep(write(tmp_path, said))
    assert len(plan.trials) == len(plan.configs) == 2 * 2 * 3
    cfg = plan.configs["class_seed1_fold2"]
    assert (cfg.model.tasks, cfg.seed, cfg.split.fold, cfg.split.folds) == (("class",), 1, 2, 3)
    assert cfg.experiment == "s"
    assert plan.folder == tmp_path / "reports" / "s"


def test_a_run_named_by_a_value_lies_in_the_folder_of_its_sweep(tmp_path):
    plan = load_sweep(write(tmp_path, {"variants": {"..": {}, "a": {}}}))
    assert [Path(name).name == name and name not in (".", "..") for name in plan.configs] == [True, True]
    plan = load_sweep(write(tmp_path, {"grid": {"data.source": ["x" * 300]}}))
    assert len(next(iter(plan.configs))) < 150


def test_trials_that_only_ask_share_one_run(tmp_path):
    hours = {"start_h": 1, "until_h": [8, 16, 24], "controls": ["full", "matched"]}
    plan = load_sweep(write(tmp_path, {"hours": hours}))
    asking = [trial for trial in plan.trials if trial.labels["mode"] == "test-only"]
    assert len(asking) == 6
    assert {trial.run for trial in asking} == {"run"}
    assert len(plan.configs) == 1 + 6
    learnt = plan.configs["run_1-16h_matched"].frames.train
    assert (learnt.infected.start_h, learnt.infected.end_h, learnt.match_controls) == (1, 16, True)
    assert plan.configs["run"].frames.train.infected.end_h is None


def test_sliding_windows_and_other_keys_become_trials(tmp_path):
    said = {
        "hours": {"starts_h": [0, 12, 24], "width_h": 12, "modes": ["train-test"], "controls": ["matched"]},
        "grid": {"targets.onset_h": [0, 2]},
    }
    plan = load_sweep(write(tmp_path, said))
    assert len(plan.configs) == 6
    assert {(t.labels["start_h"], t.labels["end_h"]) for t in plan.trials} == {(0, 12), (12, 24), (24, 36)}
    assert plan.configs["onset_h-2_12-24h_matched"].targets.onset_h == 2


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"gird": {}}, "unknown key gird; did you mean grid?"),
        ({"grid": {"train.epoch": [1]}}, "train.epochs"),
        ({"grid": {"seed": []}}, "seed has no values"),
        ({"hours": {"until_h": [4], "starts_h": [1]}}, "until_h (intervals) or starts_h"),
        ({"hours": {"until": [4]}}, "unknown key hours.until; did you mean until_h?"),
        ({"base": "no.yaml"}, "no config file"),
        ({"frozen": {}, "variants": {"a": {}}}, "cannot be probed"),
        ({"variants": {"a/b": {}}}, "name of a folder"),
        ({"grid": {key: list(range(1000)) for key in "abc"}}, "asks for 1000000000 trials, at most 5000"),
        ({"grid": {"data.source": ["a/b", "a b"]}}, "two runs would have the folder source-a-b"),
    ],
)
def test_a_wrong_file_is_one_line_that_helps(tmp_path, said, words):
    with pytest.raises(InputError) as refused:
        load_sweep(write(tmp_path, said))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("? [a, b]\n: 1", "line 3: a key is a list, which names nothing; correct it there"),
        ("grid: {? {a: 1} : [1]}", "line 3: a key is a table"),
        ("set: {~: 1}", "line 3: a key is null"),
        ("7: 1", "unknown key 7; there are name, base"),
        ("hours: {3: 1}", "unknown key hours.3"),
        ("grid: {3: [1]}", "grid: the key 3 is not a word; write it in quotes"),
        ("variants: {a: {2: 3}}", "variants.a: the key 2 is not a word"),
        ("variants: {true: {}}", "variants: the key True is not a word"),
    ],
)
def test_a_key_that_is_no_word_is_one_line(tmp_path, text, words):
    path = write(tmp_path, {})
    path.write_text(f"name: s\nbase: base.yaml\n{text}\n")
    with pytest.raises(InputError) as refused:
        load_sweep(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def killed(tmp_path_factory, tiny_plate):
    """A sweep of four runs that is killed twice, and begun a third time; and what was done before that."""
    folder = tmp_path_factory.mktemp("sweep")
    said = {
        "variants": {"both": {}, "class": {"model.tasks": ["class"], "train.best": "auc"}},
        "set": {"split.train": 0.5, "split.val": 0.25, "split.test": 0.25, "train.checkpoint_every_s": 0},
        "grid": {"seed": [0, 1]},
    }
    path = write(folder, said, tiny_plate)
    command = [sys.executable, "-m", "hpiclock", "sweep", str(path), "--workers", "1", "--no-report"]
    seen = []
    for enough in ("*/results.json", "*/checkpoints/last.pt"):
        seen.append(kill_when(command, folder / "reports" / "s", enough, len(done(folder))))
    before = done(folder)
    last = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    return folder, seen, before, last


def done(folder: Path) -> dict[str, int]:
    """Run -> when its results were written."""
    found = (folder / "reports" / "s").glob("*/results.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in found}


def kill_when(command, folder, pattern, n):
    """Start a sweep; kill it and its workers as soon as more than ``n`` files are there."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    end = time.monotonic() + 300
    while len(list(folder.glob(pattern))) <= n and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return len(list(folder.glob(pattern)))


def test_killed_twice_it_loses_no_finished_run_and_repeats_none(killed):
    folder, _, before, last = killed
    assert last.returncode == 0, last.stderr
    assert 0 < len(before) < 4
    after = done(folder)
    assert set(after) == {"both_seed0", "both_seed1", "class_seed0", "class_seed1"}
    assert {name: after[name] for name in before} == before
    runs = pd.read_csv(folder / "reports" / "s" / "runs.csv")
    assert runs["state"].eq("done").all()
    assert f"{len(before)} done already" in last.stdout


def test_a_sweep_says_every_runs_test_scores_and_how_long_it_took(killed):
    folder, *_, last = killed
    runs = pd.read_csv(folder / "reports" / "s" / "runs.csv").set_index("run")
    metrics = pd.read_csv(folder / "reports" / "s" / "both_seed0" / "metrics.csv")
    over_all = metrics[metrics["split"].eq("test") & metrics["group"].eq("all") & metrics["start_h"].isna()]
    (auc,) = over_all.loc[over_all["metric"].eq("auc_stratified"), "value"]
    assert runs.loc["both_seed0", "auc_stratified"] == pytest.approx(auc)
    assert f"- both_seed0: AUC within plate and hour {auc:.3f}" in last.stdout
    assert re.search(r"^4 runs in \d+ min \d+ s$", last.stdout, re.MULTILINE)


def test_the_summary_puts_seeds_together(killed):
    folder, *_ = killed
    table = pd.read_csv(folder / "reports" / "s" / "summary.csv")
    auc = table[table["metric"].eq("auc") & table["group"].eq("all")]
    assert auc["variant"].tolist() == ["both", "class"]
    assert auc["n_seeds"].eq(2).all()
    first = pd.concat(pd.read_csv(p) for p in sorted((folder / "reports" / "s").glob("both_*/metrics.csv")))
    mine = first[first["split"].eq("test") & first["metric"].eq("auc") & first["group"].eq("all")]
    mine = mine[mine["start_h"].isna()]
    assert auc["value"].iloc[0] == pytest.approx(mine["value"].mean())
    assert (mine["n"] == auc["n"].iloc[0]).all()


def test_a_run_that_fails_is_listed_and_stops_no_other(tmp_path, tiny_plate):
    said = {
        "set": {"split.train": 0.5, "split.val": 0.25, "split.test": 0.25, "train.epochs": 1},
        "grid": {"model.backbone": ["no_such_net", "shufflenet_v2_x0_5"]},
    }
    lines: list[str] = []
    train = partial(train_in_processes, workers=1, say=lines.append)
    swept = sweep(load_sweep(write(tmp_path, said, tiny_plate)), train=train, say=lines.append)
    assert swept.failed == ["backbone-no_such_net"]
    message = swept.runs.set_index("run").loc["backbone-no_such_net", "message"]
    assert "no model no_such_net" in message
    assert any(line.startswith("backbone-no_such_net failed") for line in lines)
    assert swept.runs.set_index("run").loc["backbone-shufflenet_v2_x0_5", "state"] == "done"
    assert set(swept.summary["model.backbone"]) == {"shufflenet_v2_x0_5"}


SWEEPS = sorted((Path(__file__).parents[2] / "configs" / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_that_comes_along_can_be_asked_for(path):
    plan = load_sweep(path)
    assert len({trial.run for trial in plan.trials}) == len(plan.configs) > 1
    assert len({json.dumps(trial.labels, sort_keys=True) for trial in plan.trials}) == len(plan.trials)
    assert plan.file.name == path.stem or path.stem == "demo"
