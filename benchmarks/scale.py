"""What ten times as much costs, in frames, stacks, windows, resamples; and a plate of 100,000 frames.

Every size runs in a process of its own, on one thread; its time is CPU time of the work alone, its memory
the largest that the process held. Then the plate: 96 wells, 12 positions and 88 frames of 96 px, each step
the command a user types. Writes reports/benchmarks/scale.md:

    python benchmarks/scale.py             the whole, some minutes
    python benchmarks/scale.py --growth    without the plate
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from side_by_side import one_thread, write_page

one_thread()
os.environ["HPICLOCK_PROGRESS"] = "off"

import numpy as np
import pandas as pd
import yaml

from commands import hpiclock, table, write_plate
from hpiclock.analysis.run_study import run_study
from hpiclock.config.load import config_of
from hpiclock.config.schema import AuditConfig, DataConfig, StudyConfig, WindowsConfig
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.simulate.predictions import Simulation, simulate_predictions
from stacks import frames_of, write_stacks

LIMIT = 12.0  # what ten times as much may cost: ten, and some noise
Work = Callable[[], object]


def predictions(n: int) -> pd.DataFrame:
    """Return about ``n`` predictions of stacks with 97 frames, 16 wells a split."""
    design = Simulation(wells=16, stacks=max(1, round(n / 64 / 97)), interval_h=0.5)
    return simulate_predictions(design, rng=np.random.default_rng(0))


def study(rows: pd.DataFrame, *, stride_h: float = 3.0, resamples: int = 2000) -> Work:
    windows, judged = WindowsConfig(stride_h=stride_h), StudyConfig(resamples=resamples)
    return lambda: run_study(
        rows, cfg_windows=windows, end_h=48, cfg_study=judged, cfg_audit=AuditConfig(), seed=0
    )


def converting(n: int, folder: Path) -> Work:
    manifest = write_stacks(folder, stacks=n // 50, frames=50, side=128)
    cfg = config_of({"image.size": 96, "data.cache_dir": str(folder / "cache")})
    data = DataConfig(source=str(folder), cache_dir=str(folder / "cache"))
    return lambda: open_cache(manifest, data, cfg.image)


def scanning(n: int, folder: Path) -> Work:
    plate = write_plate(folder / "plate", columns=10, positions=n // 20, frames=2, side=32)
    data = DataConfig(source=str(plate.folder), cache_dir=str(folder / "cache"))
    return lambda: load_manifest(data, 0.0)


def training(n: int, folder: Path) -> Work:
    import torch

    from hpiclock.training.batches import Batches
    from hpiclock.training.loop import fit
    from hpiclock.training.losses import Losses
    from hpiclock.training.model import build_model

    torch.set_num_threads(1)
    cfg = config_of({"image.size": 32, "model.backbone": "resnet10", "train.epochs": 1})
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32), dtype=np.uint8)
    frames = frames_of(pd.DataFrame({"stack_id": ["a"], "path": ["a"], "n_frames": [n]}))
    cache, cpu = FrameCache(images, {"a": 0}, "benchmark"), torch.device("cpu")
    train = Batches(cache, frames, batch_size=32, device=cpu)
    val = Batches(cache, frames, batch_size=32, device=cpu)
    losses = Losses(cfg.objective, cfg.model)
    return lambda: fit(build_model(cfg.model), losses, train, val, cfg, folder, say=lambda _: None)


class Growth(NamedTuple):
    """One kind of work at a size and at ten times that size."""

    what: str
    n: int
    made: Callable[[int, Path], Work]


GROWTHS = {
    "stacks": Growth("stacks scanned", 100, scanning),
    "frames": Growth("frames converted, 128 to 96 px", 2_000, converting),
    "epoch": Growth("frames of an epoch with its validation, ResNet-10 at 32 px", 2_000, training),
    "rows": Growth("predictions studied", 50_000, lambda n, _: study(predictions(n))),
    "windows": Growth("windows of a study", 15,
                      lambda n, _: study(predictions(20_000), stride_h=42 / (n - 1))),
    "resamples": Growth("resamples of a study", 1_000, lambda n, _: study(predictions(20_000), resamples=n)),
}  # fmt: skip


def one(name: str, n: int) -> None:
    """Do one size in this process; print what it took as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        if name in ("rows", "windows", "resamples"):
            study(predictions(2_000))()  # compiles, once
        work = GROWTHS[name].made(n, Path(folder))
        before, began = _peak_mib(), time.process_time()
        work()
        taken = time.process_time() - began
    print(json.dumps({"cpu_s": taken, "before_mib": before, "peak_mib": _peak_mib()}))


def grown(name: str) -> str:
    """Return a line of the table."""
    growth, found = GROWTHS[name], []
    for n in (growth.n, 10 * growth.n):
        command = [sys.executable, __file__, "--one", name, str(n)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append(json.loads(output.splitlines()[-1]))
    small, large = found
    times = large["cpu_s"] / small["cpu_s"]
    line = (
        f"| {growth.what} | {growth.n:,} | {10 * growth.n:,} | {small['cpu_s']:.2f} | {large['cpu_s']:.2f} "
        f"| {times:.1f} | {small['peak_mib']:.0f} | {large['peak_mib']:.0f} |"
    )
    print(line)
    if times > LIMIT:
        raise SystemExit(f"{growth.what}: ten times as much takes {times:.1f} times as long")
    return line


def big_plate(base: Path) -> list[str]:
    """Convert, train for a few steps, predict and study 100,000 frames; return the table."""
    plate = write_plate(base / "plate", columns=48, positions=12, frames=88, side=96)
    settings = {
        "data": {"source": str(plate.folder), "cache_dir": str(base / "cache")}, "image": {"size": 64},
        "model": {"backbone": "resnet10"}, "reports_dir": str(base / "reports"),
        "train": {"epochs": 2, "max_steps": 50, "device": "cpu", "threads": 1},
    }  # fmt: skip
    config, run = base / "config.yaml", base / "run"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    predictions = base / "predictions.parquet"
    steps = [
        hpiclock("scan and read every frame (passport)", plate, "manifest", plate.folder),
        hpiclock("convert, train 100 steps of 32, test", plate, "train", config, "--run-dir", run),
        hpiclock("predict", plate, "predict", run, plate.folder, "-o", predictions),
        hpiclock("study: every table and figure", plate, "study", run / "predictions.parquet",
                 "--out", base / "study"),
    ]  # fmt: skip
    highest = max(step.peak_mib for step in steps)
    if highest > 8 * 1024:
        raise SystemExit(f"{highest:.0f} MiB: more than 8 GiB")
    return [
        *table(steps),
        "",
        f"Largest memory of all: {highest / 1024:.1f} GiB; at most 8 GiB were allowed.",
    ]


def _peak_mib() -> float:
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--one", nargs=2, metavar=("WORK", "N"), help="one size of one kind, in this process")
    parser.add_argument("--growth", action="store_true", help="not the plate of 100,000 frames")
    options = parser.parse_args()
    if options.one:
        one(options.one[0], int(options.one[1]))
        return
    lines = [
        "| work | n | 10 n | CPU seconds, n | 10 n | times | peak memory MiB, n | 10 n |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(grown(name) for name in GROWTHS),
    ]
    if not options.growth:
        with tempfile.TemporaryDirectory() as folder:
            lines += ["", *big_plate(Path(folder))]
    write_page("scale", lines)


if __name__ == "__main__":
    main()
