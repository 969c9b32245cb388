"""`hpiclock predict` killed with kill -9 at any point goes on, and ends in the bytes of one left alone."""

import signal
from pathlib import Path

import pytest

from hpiclock.simulate.design import design, grid
from hpiclock.simulate.write import synthesize

pytestmark = pytest.mark.precision

SUFFIXES = (".parquet", ".json")


@pytest.fixture(scope="module")
def run(quick_run):
    return quick_run()


@pytest.fixture(scope="module")
def predict(run, run_script, tmp_path_factory):
    """Predict a second plate of 8 stacks in a process of its own; returns its exit code."""
    optics = {"size_px": 48, "pitch_px": 9.0}
    plate = design(
        "second-plate", wells=grid(4, (0.0, 1.0)), n_frames=13, microscope=optics | {"positions": 1}
    )
    source = synthesize(tmp_path_factory.mktemp("new") / "plate", design=plate, seed=4)

    def ask(output: Path, kill: str = "") -> int:
        cache = output.parent / "cache"
        words = [str(run.folder), str(source), "-o", str(output), "--set", f"data.cache_dir={cache}"]
        return run_script("killed_prediction.py", WORDS=words, KILL=kill)

    return ask


@pytest.fixture(scope="module")
def whole(predict, tmp_path_factory):
    """The output of a prediction that nothing stopped."""
    output = tmp_path_factory.mktemp("whole") / "p.parquet"
    assert predict(output) == 0
    return output


@pytest.mark.parametrize(
    "kills",
    [
        ("while writing 00002.parquet",),
        ("while writing p.parquet",),
        ("while converting", "after 00000.parquet", "after p.parquet"),
    ],
    ids=" and ".join,
)
def test_killed_anywhere_it_ends_in_the_same_bytes(predict, whole, tmp_path, kills):
    output = tmp_path / "p.parquet"
    for kill in kills:
        assert predict(output, kill) == -signal.SIGKILL
        assert not output.with_suffix(".json").exists()
    assert predict(output) == 0
    for suffix in SUFFIXES:
        assert output.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".p.")}
    assert left == {"cache", "p.json", "p.parquet"}
