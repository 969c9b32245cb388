"""Commands as a user types them, each in a process of its own: its time and its largest memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
import yaml

from hpiclock.simulate.design import design
from hpiclock.simulate.write import synthesize


class Step(NamedTuple):
    """One line of the table: a command on a plate, its exit code and what it took."""

    what: str
    stacks: int
    frames: int
    code: int
    wall_s: float
    cpu_s: float
    peak_mib: float


class Plate(NamedTuple):
    """A folder of stacks: wells × positions × frames."""

    folder: Path
    stacks: int
    frames: int


def write_plate(folder: Path, *, columns: int, positions: int, frames: int, side: int) -> Plate:
    """Write two rows of wells, mock above infected, of small textured fields."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    wells = {f"{row}{column + 1}": {"condition": condition} for column in range(columns)
             for row, condition in (("A", "mock"), ("B", "infected"))}  # fmt: skip
    for well in wells:
        for position in range(positions):
            stack = rng.integers(60, 200, (frames, side, side)).astype(np.uint8)
            tifffile.imwrite(folder / f"big_s1_{well}_p{position + 1}.tif", stack, imagej=True,
                             metadata={"axes": "TYX", "finterval": 1800.0})  # fmt: skip
    (folder / "plate.yaml").write_text(yaml.safe_dump({"wells": wells}), encoding="utf-8")
    stacks = len(wells) * positions
    return Plate(folder, stacks, stacks * frames)


def hpiclock(what: str, plate: Plate, *words: object, until: Callable[[], bool] | None = None) -> Step:
    """Run a command; kill it as soon as ``until`` says so. Exits where a command fails by itself."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "hpiclock", *map(str, words)], stdout=output, stderr=subprocess.STDOUT
        )
        ended, status, usage = 0, 0, None
        while not ended:
            if until is not None and until():
                process.send_signal(signal.SIGKILL)
                until = None
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            time.sleep(0.01)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if code not in (0, -signal.SIGKILL):
            output.seek(0)
            raise SystemExit(output.read().decode())
    assert usage is not None
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    step = Step(what, plate.stacks, plate.frames, code, time.perf_counter() - began,
                usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)  # fmt: skip
    print(f"{what}, {plate.frames:,} frames: {step.wall_s:.1f} s, peak {step.peak_mib:.0f} MiB, exit {code}")
    return step


def small_run(folder: Path, *, size: int) -> Path:
    """Train a small model on a tiny plate for a moment; what it says does not matter here."""
    source = synthesize(folder / "tiny", design=design("tiny"), seed=0)
    settings = {
        "data": {"source": str(source), "cache_dir": str(folder / "cache")}, "image": {"size": size},
        "model": {"backbone": "resnet10", "hidden_dim": 8}, "study": {"resamples": 100},
        "split": {"train": 0.5, "val": 0.25, "test": 0.25},
        "train": {"epochs": 1, "device": "cpu", "threads": 1}, "reports_dir": str(folder / "reports"),
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    tiny = Plate(source, 8, 8 * design("tiny").n_frames)
    hpiclock("train", tiny, "train", folder / "config.yaml", "--run-dir", folder / "run")
    return folder / "run"


def table(steps: Sequence[Step]) -> list[str]:
    """Return the steps as lines of Markdown."""
    return [
        "| step | stacks | frames | seconds | CPU seconds | peak memory, MiB | ends |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *(
            f"| {step.what} | {step.stacks} | {step.frames:,} | {step.wall_s:.1f} | {step.cpu_s:.1f} "
            f"| {step.peak_mib:.0f} | {'killed' if step.code else 'done'} |"
            for step in steps
        ),
    ]
