"""A plate of 432 stacks scanned, cached and predicted in bounded memory; killed on the way, it goes on.

Twelve wells of 36 positions and 93 frames, written small. Every step is the command a user types, in a
process of its own, with its time and its largest memory, beside the same on a twelfth of the positions.
One prediction is killed (SIGKILL) while it converts and once more while it predicts, then ends by itself:
its files must be those of the one that was left alone. Writes reports/benchmarks/big_plate.md:
python benchmarks/big_plate.py
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from side_by_side import FOLDER, machine, one_thread

one_thread()
os.environ["HPICLOCK_PROGRESS"] = "off"

import numpy as np
import tifffile
import yaml

from hpiclock.plate.designs import design
from hpiclock.plate.synth import synthesize

WELLS, POSITIONS, FRAMES, SIDE = 12, 36, 93, 24
SIZE = 16  # of the image that the model sees


class Step(NamedTuple):
    """One line of the table: a command on a plate of so many stacks, its exit code and what it took."""

    what: str
    stacks: int
    code: int
    wall_s: float
    cpu_s: float
    peak_mib: float


def write_plate(folder: Path, positions: int) -> Path:
    """Write a plate of small textured fields; half of the wells are infected."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(WELLS):
        well = f"{'AB'[number % 2]}{number // 2 + 1}"
        for position in range(positions):
            stack = rng.integers(60, 200, (FRAMES, SIDE, SIDE)).astype(np.uint8)
            tifffile.imwrite(folder / f"big_s1_{well}_p{position + 1}.tif", stack, imagej=True,
                             metadata={"axes": "TYX", "finterval": 1800.0})  # fmt: skip
    wells = {f"{row}{column + 1}": {"condition": condition} for column in range(WELLS // 2)
             for row, condition in (("A", "mock"), ("B", "infected"))}  # fmt: skip
    (folder / "plate.yaml").write_text(yaml.safe_dump({"wells": wells}), encoding="utf-8")
    return folder


def hpiclock(what: str, stacks: int, *words: object, until: Callable[[], bool] | None = None) -> Step:
    """Run a command; kill it as soon as ``until`` says so. Exits where a command fails by itself."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "hpiclock", *map(str, words)], stdout=said, stderr=subprocess.STDOUT
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
            said.seek(0)
            raise SystemExit(said.read().decode())
    assert usage is not None
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    step = Step(what, stacks, code, time.perf_counter() - began, usage.ru_utime + usage.ru_stime,
                usage.ru_maxrss / unit)  # fmt: skip
    print(f"{what}, {stacks} stacks: {step.wall_s:.1f} s, peak {step.peak_mib:.0f} MiB, exit {code}")
    return step


def trained(folder: Path) -> Path:
    """Train a small model for a moment; what it says does not matter here."""
    plate = synthesize(folder / "tiny", design=design("tiny"), seed=0, progress=False)
    settings = {
        "data": {"source": str(plate), "cache_dir": str(folder / "cache")}, "image": {"size": SIZE},
        "model": {"backbone": "resnet10", "hidden_dim": 8}, "study": {"resamples": 100},
        "split": {"train": 0.5, "val": 0.25, "test": 0.25},
        "train": {"epochs": 1, "device": "cpu", "threads": 1}, "reports_dir": str(folder / "reports"),
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    hpiclock("train", 8, "train", folder / "config.yaml", "--run-dir", folder / "run")
    return folder / "run"


def measured(base: Path) -> list[Step]:
    run, steps = trained(base), []
    for positions in (POSITIONS // 12, POSITIONS):
        stacks = WELLS * positions
        plate = write_plate(base / f"plate{stacks}", positions)
        output = base / f"whole{stacks}.parquet"
        steps += [
            hpiclock("scan (manifest)", stacks, "manifest", plate, "--no-frames"),
            hpiclock("scan and read every frame (passport)", stacks, "manifest", plate),
            hpiclock("predict: convert and ask", stacks, "predict", run, plate, "-o", output),
        ]
    cache, killed = base / "other cache", base / "killed.parquet"
    again = ("predict", run, plate, "-o", killed, "--set", f"data.cache_dir={cache}")

    def converted() -> bool:
        return any(
            len(path.read_bytes().splitlines()) > stacks // 3 for path in cache.glob("*.partial/ready")
        )

    def predicted() -> bool:
        return len(list(base.glob(f".{killed.name}.pieces/*.parquet"))) >= 3

    steps += [
        hpiclock("predict, killed while it converts", stacks, *again, until=converted),
        hpiclock("predict again, killed while it predicts", stacks, *again, until=predicted),
    ]
    assert not killed.exists()
    assert [step.code for step in steps[-2:]] == [-signal.SIGKILL] * 2
    steps.append(hpiclock("predict again, to the end", stacks, *again))
    for suffix in (".parquet", ".json"):
        same = killed.with_suffix(suffix).read_bytes() == output.with_suffix(suffix).read_bytes()
        assert same, f"{suffix}: other bytes than without a kill"
    print("the same bytes as without a kill")
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = measured(Path(folder))
    lines = ["| step | stacks | frames | seconds | CPU seconds | peak memory, MiB | ends |",
             "| --- | ---: | ---: | ---: | ---: | ---: | --- |"]  # fmt: skip
    lines += [
        f"| {step.what} | {step.stacks} | {step.stacks * FRAMES:,} | {step.wall_s:.1f} | {step.cpu_s:.1f} "
        f"| {step.peak_mib:.0f} | {'killed' if step.code else 'done'} |"
        for step in steps
    ]
    same = "The prediction that was killed twice ends in the same bytes as the one left alone."
    lines += [
        "",
        same,
        "",
        "Machine: " + "; ".join(f"{key} {value}" for key, value in machine().items()) + ".",
    ]
    (FOLDER / "big_plate.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{FOLDER.name}/big_plate.md")


if __name__ == "__main__":
    main()
