"""Killed at any point, a run that is taken up again ends with the same bytes as one that was not."""

from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.precision

FILES = ("checkpoints/best.pt", "checkpoints/last.pt", "history.csv", "predictions.parquet")
EXIT = 41


@pytest.fixture(scope="module")
def start(quick_config, run_script, tmp_path_factory):
    """Train in a process of its own, which may be killed on the way; returns its exit code."""
    base = tmp_path_factory.mktemp("resume")
    changes = {
        "experiment": "killed", "train.epochs": 3, "train.batch_size": 8, "train.lr": 0.003,
        "train.balanced": True, "train.checkpoint_every_s": 0,
    }  # fmt: skip
    changes |= {f"frames.{s}.{c}.stride": 2 for s in ("train", "val") for c in ("infected", "uninfected")}
    config = quick_config(changes, folder=base)

    def run(folder: Path, kill: str = "") -> int:
        return run_script("killed_run.py", CONFIG=str(config), RUN=str(folder), KILL=kill, EXIT=EXIT)

    return run


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "seed0"
    assert start(folder) == 0
    return folder


@pytest.mark.parametrize(
    "kill",
    [
        "before the first checkpoint",
        "in the middle of an epoch",
        "while writing best.pt",
        "between best.pt and last.pt",
        "while writing last.pt",
        "while writing predictions.parquet",
    ],
)
def test_a_killed_run_ends_in_the_same_bytes(start, whole, tmp_path, kill):
    folder = tmp_path / "seed0"
    assert start(folder, kill) == EXIT
    assert not (folder / "predictions.parquet").exists()
    assert start(folder) == 0
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert not list((folder / "checkpoints").glob(".*"))


def test_two_kills_are_as_good_as_none(start, whole, tmp_path):
    folder = tmp_path / "seed0"
    assert start(folder, "while writing last.pt") == EXIT
    assert start(folder, "in the middle of an epoch") == EXIT
    assert start(folder) == 0
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_predictions_are_complete_once_each_and_in_order(whole):
    frames = pd.read_parquet(whole / "frames.parquet")
    said = pd.read_parquet(whole / "predictions.parquet")
    key = ["stack_id", "frame"]
    assert said[key].to_numpy().tolist() == frames[key].to_numpy().tolist()
    assert not said.duplicated(key).any()
    assert said[["p_infected", "time_pred"]].notna().all(axis=None)
    assert said["label"].isna().any()  # frames before the onset are asked about, too
