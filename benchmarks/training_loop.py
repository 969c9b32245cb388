"""The training loop against the bare step, and other people's loops beside it, on one CPU thread.

The bare step is forward, loss, backward, clip and AdamW on one fixed batch in memory; nothing can be faster.
hpiclock's loop is `hpiclock.clock.loop.fit` as a run calls it: batches from the cache with their random
changes, learning rates, checkpoints and a validation. The peers get ready batches and do no validation.

    uv pip install --target cache/peers --no-deps -r benchmarks/peers.txt
    python benchmarks/training_loop.py

Writes reports/benchmarks/training_loop.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from side_by_side import Row, one_thread, ratio, write

one_thread()
sys.path.append(str(Path(__file__).parents[1] / "cache" / "peers"))  # behind our own packages

import numpy as np
import pandas as pd
import torch
from torch import nn

from hpiclock.clock.batches import Batch, Batches
from hpiclock.clock.loop import fit
from hpiclock.clock.model import TwoHeads, build_model
from hpiclock.clock.objective import Objective
from hpiclock.config import Config
from hpiclock.configfile import config_of
from hpiclock.plate.cache import FrameCache

GOAL = 0.97
CPU = torch.device("cpu")


def settings(backbone: str, size: int, batch: int) -> Config:
    return config_of(
        {
            "image.size": size, "model.backbone": backbone, "model.weights": "none", "train.epochs": 1,
            "train.batch_size": batch, "train.lr": 1e-4, "train.threads": 1,
        }
    )  # fmt: skip


def data(size: int, batch: int, steps: int) -> tuple[FrameCache, pd.DataFrame]:
    """Random frames, as many as the steps need, and as FRAMES what batches ask of them."""
    n = batch * steps
    images = np.random.default_rng(0).integers(0, 256, (n, size, size), dtype=np.uint8)
    label = pd.array(np.arange(n) % 2, dtype="Int8")
    frames = pd.DataFrame({"stack_id": "a", "frame": np.arange(n), "label": label})
    return FrameCache(images, {"a": 0}, "benchmark"), frames.assign(time_target=np.arange(n) / n * 48)


class Work:
    """What every loop does: one model, one loss, the same optimiser and the same batches."""

    def __init__(self, cfg: Config, batches: list[Batch]) -> None:
        self.cfg, self.batches = cfg, batches
        self.n = sum(len(batch.label) for batch in batches)

    def parts(self) -> tuple[TwoHeads, Objective, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = build_model(self.cfg.model).to(memory_format=torch.channels_last).train()
        objective = Objective(self.cfg.objective, self.cfg.model)
        weights = [*model.parameters(), *objective.parameters()]
        return model, objective, torch.optim.AdamW(weights, lr=1e-4, fused=True)

    @staticmethod
    def loss(model: Any, objective: Objective, batch: Any) -> torch.Tensor:
        plain = getattr(model, "module", model)
        return objective(plain, model(batch[0]), batch[1], batch[2]).total


def bare(work: Work) -> Callable[[], int]:
    model, objective, optimiser = work.parts()

    def run() -> int:
        batch = work.batches[0]
        for _ in work.batches:
            optimiser.zero_grad(set_to_none=True)
            work.loss(model, objective, batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        return work.n

    return run


def ours(cfg: Config, cache: FrameCache, frames: pd.DataFrame) -> Callable[[], int]:
    train = Batches(cache, frames, batch_size=cfg.train.batch_size, device=CPU)
    val = Batches(cache, frames.iloc[:2], batch_size=2, device=CPU)

    def run() -> int:
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            fit(
                cfg, build_model(cfg.model), train, val, Path(folder),
                precision=torch.float32, say=lambda _: None,
            )  # fmt: skip
        return len(frames)

    return run


def with_fabric(work: Work) -> Callable[[], int]:
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    model, objective, optimiser = work.parts()
    wrapped, optimiser = fabric.setup(model, optimiser)

    def run() -> int:
        for batch in work.batches:
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(objective(model, wrapped(batch[0]), batch[1], batch[2]).total)
            fabric.clip_gradients(wrapped, optimiser, max_norm=1.0)
            optimiser.step()
        return work.n

    return run


def with_accelerate(work: Work) -> Callable[[], int]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, objective, optimiser = work.parts()
    wrapped, optimiser = accelerator.prepare(model, optimiser)

    def run() -> int:
        for batch in work.batches:
            optimiser.zero_grad(set_to_none=True)
            accelerator.backward(work.loss(wrapped, objective, batch))
            accelerator.clip_grad_norm_(wrapped.parameters(), 1.0)
            optimiser.step()
        return work.n

    return run


def with_trainer(work: Work) -> Callable[[], int]:
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.objective, self.made = work.parts()

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return work.loss(self.model, self.objective, batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return self.made

    def run() -> int:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        trainer = Trainer(accelerator="cpu", devices=1, max_epochs=1, gradient_clip_val=1.0,
                          enable_progress_bar=False, **quiet)  # fmt: skip
        trainer.fit(Module(), torch.utils.data.DataLoader(_Ready(work.batches), batch_size=None))
        return work.n

    return run


def with_fastai(work: Work) -> Callable[[], int]:
    import fastai.callback.progress  # noqa: F401 - adds no_bar
    from fastai.callback.training import GradientClip
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    model, objective, made = work.parts()

    class Loss(nn.Module):
        def forward(self, said: Any, label: torch.Tensor, hours: torch.Tensor) -> torch.Tensor:
            return objective(model, said, label, hours).total

    ready = torch.utils.data.DataLoader(_Ready(work.batches), batch_size=None)
    loaders = DataLoaders(ready, [], device=CPU)
    loaders.n_inp = 1  # images; label and hours go to the loss
    learner = Learner(loaders, model, loss_func=Loss(),
                      opt_func=lambda *_, **__: OptimWrapper(opt=made), cbs=[GradientClip(1.0)])  # fmt: skip
    learner.create_opt()

    def run() -> int:
        with learner.no_bar(), learner.no_logging():
            learner.fit(1)
        return work.n

    return run


class _Ready(torch.utils.data.Dataset):
    def __init__(self, batches: list[Batch]) -> None:
        self.batches = [tuple(batch) for batch in batches]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        return self.batches[index]


PEERS = {
    "Lightning Fabric": ("lightning", with_fabric),
    "Accelerate": ("accelerate", with_accelerate),
    "Lightning Trainer": ("lightning", with_trainer),
    "fastai": ("fastai", with_fastai),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", default="resnet10")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for peer in ("lightning", "fastai", "fastprogress", "torch.jit"):
        warnings.filterwarnings("ignore", module=peer)
    cfg = settings(args.backbone, args.size, args.batch)
    cache, frames = data(args.size, args.batch, args.steps)
    drawn = Batches(cache, frames, batch_size=args.batch, device=CPU).in_order
    ready = [Batch(*(part.clone() for part in batch)) for big in drawn() for batch in _cut(big, args.batch)]
    work, what = Work(cfg, ready), f"{args.backbone} at {args.size} px, {args.steps} steps of {args.batch}"
    mine, step = ours(cfg, cache, frames), bare(work)
    rows = [ratio(f"hpiclock, {what}", mine, step, against="bare step", goal=GOAL, repeats=args.repeats)]
    missing = []
    for name, (module, peer) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            missing.append(name)
            continue
        rows.append(_beside(name, what, mine, peer(work), args.repeats))
    write("training_loop", rows, notes={"Not measured": ", ".join(missing)} if missing else None)


def _beside(name: str, what: str, mine: Callable[[], int], peer: Callable[[], int], repeats: int) -> Row:
    return ratio(f"hpiclock, {what}", mine, peer, against=name, goal=1.0, repeats=repeats)


def _cut(batch: Batch, size: int) -> list[Batch]:
    return [Batch(*parts) for parts in zip(*(part.split(size) for part in batch), strict=True)]


if __name__ == "__main__":
    main()
