"""Runs of a sweep as jobs of Snakemake, on this machine."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import yaml

RUNS = {"backbone-no_such_net": "failed", "backbone-shufflenet_v2_x0_5": "done"}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, tiny_plate):
    """A sweep of one run that can be trained and one that cannot, by Snakemake, begun twice."""
    folder = tmp_path_factory.mktemp("jobs")
    base = {
        "data": {"source": str(tiny_plate), "cache_dir": str(folder / "cache")},
        "reports_dir": str(folder / "reports"),
        "image": {"size": 32},
        "model": {"hidden_dim": 8},
        "split": {"train": 0.5, "val": 0.25, "test": 0.25},
        "train": {"batch_size": 8, "device": "cpu"},
        "study": {"resamples": 100},
        "windows": {"width_h": 24, "stride_h": 24},
    }
    said = {
        "name": "s", "base": "base.yaml",
        "grid": {"model.backbone": ["no_such_net", "shufflenet_v2_x0_5"]},
    }  # fmt: skip
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "sweep.yaml").write_text(yaml.safe_dump(said))
    first = hpiclock("sweep", folder / "sweep.yaml", "--engine", "snakemake", "--set", "train.epochs=1")
    written = (folder / "reports" / "s" / "backbone-shufflenet_v2_x0_5" / "results.json").stat().st_mtime_ns
    second = hpiclock("sweep", folder / "sweep.yaml", "--engine", "snakemake", "--set", "train.epochs=1")
    return folder / "reports" / "s", (first, second), written


def hpiclock(*words):
    command = [sys.executable, "-m", "hpiclock", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


def test_every_run_is_tried_and_the_one_that_cannot_be_is_listed_with_its_reason(jobs):
    folder, (first, _), _ = jobs
    assert first.returncode == 1, first.stderr
    assert "1 of 2 runs failed" in first.stderr
    runs = pd.read_csv(folder / "runs.csv").set_index("run")
    assert runs["state"].to_dict() == RUNS
    assert "no model no_such_net" in runs.loc["backbone-no_such_net", "message"]
    assert set(pd.read_csv(folder / "summary.csv")["model.backbone"]) == {"shufflenet_v2_x0_5"}


def test_jobs_were_given_what_was_set_over_the_file(jobs):
    folder, *_ = jobs
    assert json.loads((folder / "jobs" / "config.json").read_text())["overrides"] == {"train.epochs": 1}
    history = pd.read_csv(folder / "backbone-shufflenet_v2_x0_5" / "history.csv")
    assert history["epoch"].max() == 1


def test_begun_again_it_repeats_no_finished_run(jobs):
    folder, (_, second), written = jobs
    assert "2 runs, 1 done already" in second.stdout
    assert (folder / "backbone-shufflenet_v2_x0_5" / "results.json").stat().st_mtime_ns == written


def test_a_run_that_is_not_there_is_one_line(jobs):
    folder, *_ = jobs
    said = hpiclock("sweep", folder.parents[1] / "sweep.yaml", "--run", "backbone-shuffle")
    assert (said.returncode, said.stdout) == (2, "")
    assert "did you mean backbone-shufflenet_v2_x0_5?" in said.stderr
    assert said.stderr.count("\n") == 1


def test_snakemake_that_cannot_begin_says_why(jobs):
    folder, *_ = jobs
    said = hpiclock(
        "sweep", folder.parents[1] / "sweep.yaml", "--engine", "snakemake", "--", "--no-such-option"
    )
    assert said.returncode == 1
    assert "Snakemake could not begin" in said.stderr
    assert "--no-such-option" in said.stderr


def test_options_of_snakemake_without_snakemake_are_refused(jobs):
    folder, *_ = jobs
    said = hpiclock("sweep", folder.parents[1] / "sweep.yaml", "--", "--dry-run")
    assert said.returncode == 2
    assert "--engine" in said.stderr
