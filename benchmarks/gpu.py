"""The training loop on a GPU against the bare step, and how busy it keeps the GPU.

The bare step is forward, loss, backward, clip and AdamW on one fixed batch in the GPU's memory. It is timed
after every epoch of a real training (`hpiclock.clock.loop.fit` with its random changes, checkpoints and
validation), so both see the same clock speeds. The share of busy time is nvidia-smi's, over further epochs.

    python benchmarks/gpu.py           writes reports/benchmarks/gpu.md; without a GPU it says so
    python benchmarks/gpu.py --try     a tiny network on the CPU, to see that all of it works; writes nothing
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from hpiclock.clock.batches import Batches
from hpiclock.clock.device import pick_precision
from hpiclock.clock.loop import fit
from hpiclock.clock.model import build_model
from hpiclock.clock.objective import Objective
from hpiclock.clock.step import Learner, together
from hpiclock.clock.world import ALONE
from hpiclock.config import Config
from hpiclock.configfile import config_of
from side_by_side import Row, row_of, write
from training_loop import GOAL, data

BUSY = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
UNMEASURED = 1  # the first epoch chooses kernels


class Net(NamedTuple):
    """What is trained: frames of ``size`` pixels, ``batch`` at a time, ``steps`` to the epoch."""

    backbone: str
    size: int
    batch: int
    steps: int


NETS = (Net("resnet50", 224, 128, 60), Net("resnet50", 512, 32, 60), Net("resnet18", 224, 256, 60))
TRIAL = (Net("resnet10", 32, 8, 3),)


class Measured(NamedTuple):
    """One network: its row, the seconds its compilation took, and the share of time the GPU was busy."""

    row: Row
    compiled: str
    busy: float | None


def settings(net: Net, device: torch.device, *, compiled: bool, epochs: int) -> Config:
    return config_of(
        {
            "image.size": net.size, "model.backbone": net.backbone, "model.weights": "none",
            "train.epochs": epochs, "train.batch_size": net.batch, "train.lr": 1e-4,
            "train.device": device.type, "train.compile": compiled,
        }
    )  # fmt: skip


class Bench:
    """A network and the frames it learns from."""

    def __init__(self, net: Net, device: torch.device, *, compiled: bool) -> None:
        self.net, self.device, self.compiled = net, device, compiled
        cache, frames = data(net.size, net.batch, net.steps)
        self.train = Batches(cache, frames, batch_size=net.batch, device=device)
        self.val = Batches(cache, frames.iloc[:2], batch_size=2, device=device)

    def measured(self, repeats: int) -> Measured:
        """Return how the loop compares, epoch by epoch, and how busy it keeps the GPU."""
        net, kind = self.net, "compiled" if self.compiled else "eager"
        pairs, said = self._in_turn(repeats)
        cfg = settings(net, self.device, compiled=self.compiled, epochs=1)
        precision = str(pick_precision(cfg.train, build_model(cfg.model), self.device)).removeprefix("torch.")
        what = f"{net.backbone} at {net.size} px, {net.steps} steps of {net.batch}, {precision}, {kind}"
        row = row_of(what, "bare step", GOAL, pairs)
        return Measured(row, "; ".join(said), self._busy(repeats))

    def _in_turn(self, repeats: int) -> tuple[list[tuple[float, float]], list[str]]:
        """Return images/s of the loop and of the bare step, epoch by epoch, and what compiling said."""
        bare = self._bare()
        pairs: list[tuple[float, float]] = []
        lines: list[str] = []

        def say(line: str) -> None:
            nonlocal began
            if line.startswith("Compiled"):
                lines.append(line)
            elif line.startswith("Epoch"):
                ours, n = self._now() - began, self.net.steps * self.net.batch
                began = self._now()
                bare()
                pairs.append((n / ours, n / (self._now() - began)))
            began = self._now()

        bare()
        began = self._now()
        self._fit(UNMEASURED + repeats, say)
        return pairs[UNMEASURED:], lines

    def _busy(self, repeats: int) -> float | None:
        """Return the share of time in which the GPU computed, after the first epoch; None on a CPU."""
        if self.device.type != "cuda":
            return None
        watching: list[subprocess.Popen[str]] = []

        def say(line: str) -> None:
            if line.startswith("Epoch") and not watching:
                watching.append(subprocess.Popen(BUSY, stdout=subprocess.PIPE, text=True))

        self._fit(UNMEASURED + repeats, say)
        watching[0].terminate()
        percent, _ = watching[0].communicate()
        return statistics.mean(map(float, percent.split())) / 100

    def _fit(self, epochs: int, say: Callable[[str], None]) -> None:
        cfg = settings(self.net, self.device, compiled=self.compiled, epochs=epochs)
        torch.manual_seed(0)
        model = build_model(cfg.model).to(self.device)
        precision = pick_precision(cfg.train, model, self.device)
        with tempfile.TemporaryDirectory() as folder:
            fit(cfg, model, self.train, self.val, Path(folder), precision=precision, say=say)

    def _bare(self) -> Callable[[], None]:
        cfg = settings(self.net, self.device, compiled=self.compiled, epochs=1)
        model = build_model(cfg.model).to(self.device, memory_format=torch.channels_last).train()
        objective = Objective(cfg.objective, cfg.model).to(self.device)
        precision = pick_precision(cfg.train, model, self.device)
        learner = together(Learner(model, objective, precision, ALONE), compiled=self.compiled)
        weights = [*model.parameters(), *objective.parameters()]
        optimiser = torch.optim.AdamW(weights, lr=1e-4, fused=True)
        epoch = self.train.epoch(1, seed=0, augment=cfg.train.augment, balanced=False)
        batch = tuple(part.clone() for part in next(epoch))

        def run() -> None:
            for _ in range(self.net.steps):
                optimiser.zero_grad(set_to_none=True)
                learner(*batch).total.backward()
                nn.utils.clip_grad_norm_(weights, 1.0)
                optimiser.step()

        return run

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--try", action="store_true", dest="trial")
    options = parser.parse_args()
    if not options.trial and not torch.cuda.is_available():
        print("gpu: no CUDA device here; nothing measured")
        return
    device = torch.device("cpu" if options.trial else "cuda")
    rows, notes = [], {} if options.trial else {"GPU": torch.cuda.get_device_name(device)}
    for net in TRIAL if options.trial else NETS:
        for compiled in (False, True):
            row, said, busy = Bench(net, device, compiled=compiled).measured(options.repeats)
            rows.append(row)
            print(f"{row.what}: {row.ratio:.3g}x of the bare step, {row.ours_per_s:.4g} images/s. {said}")
            if busy is not None:
                notes[row.what] = f"GPU busy {busy:.0%} of the time. {said}"
    if not options.trial:
        notes["Not measured"] = "linear probes in batches: they are fitted on the CPU"
        write("gpu", rows, notes=notes, second="second")


if __name__ == "__main__":
    main()
