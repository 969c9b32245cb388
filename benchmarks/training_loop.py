"""The training loop against the bare step, and other people's loops beside it, on one CPU thread.

The bare step is forward, loss, backward, clip and AdamW on one fixed batch in memory; nothing can be faster.
hpiclock's loop is `hpiclock.training.loop.fit` as a run calls it: batches from the cache with their random
changes, learning rates, checkpoints and a validation. It goes on for some epochs, and after each of them
every other loop does as many steps, in changing order. The peers get ready batches and do no validation.

    uv pip install --target cache/peers --no-deps -r benchmarks/peers.txt
    python benchmarks/training_loop.py

Writes reports/benchmarks/training_loop.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from side_by_side import one_thread, row_of, write

one_thread()
sys.path.append(str(Path(__file__).parents[1] / "cache" / "peers"))  # behind our own packages

import torch
from torch import nn

from hpiclock.config.load import config_of
from hpiclock.config.schema import Config
from hpiclock.training.batches import Batch, Batches
from hpiclock.training.losses import Losses
from hpiclock.training.model import TwoHeads, build_model
from loops import GOAL, bare, data, in_turn, training

CPU = torch.device("cpu")


def settings(backbone: str, size: int, batch: int, epochs: int) -> Config:
    return config_of(
        {
            "image.size": size, "model.backbone": backbone, "model.weights": "none", "train.epochs": epochs,
            "train.batch_size": batch, "train.lr": 1e-4, "train.threads": 1, "train.precision": "fp32",
            "train.checkpoint_every_s": 30 * (2 + len(PEERS)),  # the others' time passes, too
        }
    )  # fmt: skip


class Work:
    """What every loop does: one model, one loss, the same optimiser and the same batches."""

    def __init__(self, cfg: Config, batches: list[Batch]) -> None:
        self.cfg, self.batches = cfg, batches
        self.n = sum(len(batch.label) for batch in batches)

    def parts(self) -> tuple[TwoHeads, Losses, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = build_model(self.cfg.model).to(memory_format=torch.channels_last).train()
        objective = Losses(self.cfg.objective, self.cfg.model)
        weights = [*model.parameters(), *objective.parameters()]
        return model, objective, torch.optim.AdamW(weights, lr=1e-4, fused=True)

    @staticmethod
    def loss(model: Any, objective: Losses, batch: Any) -> torch.Tensor:
        plain = getattr(model, "module", model)
        return objective(plain, model(batch[0]), batch[1], batch[2]).total


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
        def forward(self, output: Any, label: torch.Tensor, hours: torch.Tensor) -> torch.Tensor:
            return objective(model, output, label, hours).total

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
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for peer in ("lightning", "fastai", "fastprogress", "torch.jit"):
        warnings.filterwarnings("ignore", module=peer)
    cfg = settings(args.backbone, args.size, args.batch, 1 + args.repeats)
    cache, frames = data(args.size, args.batch, args.steps)
    train = Batches(cache, frames, batch_size=args.batch, device=CPU)
    val = Batches(cache, frames.iloc[:2], batch_size=2, device=CPU)
    drawn = train.epoch(1, seed=0, augment=cfg.train.augment, balanced=False)
    work = Work(cfg, [Batch(*(part.clone() for part in batch)) for batch in drawn])
    step, _ = bare(cfg, train)
    found = {name: peer for name, (module, peer) in PEERS.items() if importlib.util.find_spec(module)}
    others = {"bare step": step} | {name: peer(work) for name, peer in found.items()}
    pairs = in_turn(training(cfg, train, val), others, images=len(frames))
    what = f"hpiclock, {args.backbone} at {args.size} px, epochs of {args.steps} steps of {args.batch}"
    rows = [row_of(what, name, GOAL if name == "bare step" else 1.0, of) for name, of in pairs.items()]
    missing = ", ".join(PEERS.keys() - found.keys())
    write("training_loop", rows, notes={"Not measured": missing} if missing else None)


if __name__ == "__main__":
    main()
