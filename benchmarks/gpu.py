"""The training loop on a GPU against the bare step, and how busy it keeps the GPU.

The bare step is forward, loss, backward, clip and AdamW on one fixed batch in the GPU's memory. It is timed
after every epoch of a real training (`hpiclock.training.loop.fit` with its random changes, checkpoints and
validation), so both see the same clock speeds. The share of busy time is nvidia-smi's, over further epochs.

    python benchmarks/gpu.py           writes reports/benchmarks/gpu.md; without a GPU it says so
    python benchmarks/gpu.py --try     a tiny network on the CPU, to see that all of it works; writes nothing
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from hpiclock.config.load import config_of
from hpiclock.config.schema import Config
from hpiclock.training.batches import Batches
from loops import GOAL, bare, data, in_turn, training
from side_by_side import Row, row_of, write

BUSY = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]


class Net(NamedTuple):
    """What is trained: frames of ``size`` pixels, ``batch`` at a time, ``steps`` to the epoch."""

    backbone: str
    size: int
    batch: int
    steps: int


NETS = (Net("resnet50", 224, 128, 60), Net("resnet50", 512, 32, 60), Net("resnet18", 224, 256, 60))
TRIAL = (Net("resnet10", 32, 8, 3),)


def settings(net: Net, device: torch.device, *, compiled: bool, epochs: int) -> Config:
    return config_of(
        {
            "image.size": net.size, "model.backbone": net.backbone, "model.weights": "none",
            "train.epochs": epochs, "train.batch_size": net.batch, "train.lr": 1e-4,
            "train.device": device.type, "train.compile": compiled,
        }
    )  # fmt: skip


def measured(net: Net, device: torch.device, *, compiled: bool, repeats: int) -> tuple[Row, str]:
    """Return how the loop compares with the bare step; how busy the GPU was and how long compiling took."""
    cfg = settings(net, device, compiled=compiled, epochs=1 + repeats)
    cache, frames = data(net.size, net.batch, net.steps)
    train = Batches(cache, frames, batch_size=net.batch, device=device)
    learn = training(cfg, train, Batches(cache, frames.iloc[:2], batch_size=2, device=device))
    step, precision = bare(cfg, train)
    notes = []

    def aloud(say: Callable[[str], None]) -> None:
        def both(line: str) -> None:
            if line.startswith("Compiled"):
                notes.append(line)
            say(line)

        learn(both)

    now = partial(when_done, device)
    pairs = in_turn(aloud, {"bare step": step}, images=len(frames), now=now)["bare step"]
    if device.type == "cuda":
        notes.append(f"GPU busy {busy(learn):.0%} of the time")
    kind = "compiled" if compiled else "eager"
    what = f"{net.backbone} at {net.size} px, epochs of {net.steps} steps of {net.batch}, {precision}, {kind}"
    return row_of(what, "bare step", GOAL, pairs), "; ".join(notes)


def busy(learn: Callable[[Callable[[str], None]], None]) -> float:
    """Return the share of time in which the GPU computed, after the first epoch of a training."""
    watching: list[subprocess.Popen[str]] = []

    def say(line: str) -> None:
        if line.startswith("Epoch") and not watching:
            watching.append(subprocess.Popen(BUSY, stdout=subprocess.PIPE, text=True))

    learn(say)
    watching[0].terminate()
    percent, _ = watching[0].communicate()
    return statistics.mean(map(float, percent.split())) / 100


def when_done(device: torch.device) -> float:
    """Return the time when the device has done what it was given, in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--try", action="store_true", dest="trial")
    options = parser.parse_args()
    if not options.trial and not torch.cuda.is_available():
        print("no CUDA device here; nothing measured")
        return
    device = torch.device("cpu" if options.trial else "cuda")
    rows, notes = [], {} if options.trial else {"GPU": torch.cuda.get_device_name(device)}
    for net in TRIAL if options.trial else NETS:
        for compiled in (False, True):
            row, note = measured(net, device, compiled=compiled, repeats=options.repeats)
            rows.append(row)
            notes[row.what] = note
            print(note)
    if not options.trial:
        notes["Not measured"] = "linear probes in batches: they are fitted on the CPU"
        write("gpu", rows, notes={key: text for key, text in notes.items() if text}, second="second")


if __name__ == "__main__":
    main()
