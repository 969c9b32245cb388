"""A training, the bare step, and both in turn: what the loops of this folder are measured with."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from hpiclock.config.schema import Config
from hpiclock.plate.cache import FrameCache
from hpiclock.training.batches import Batches
from hpiclock.training.device import pick_precision
from hpiclock.training.distributed import SINGLE
from hpiclock.training.loop import TrainingStep, distribute, fit
from hpiclock.training.losses import Losses
from hpiclock.training.model import build_model

GOAL = 0.97


def data(size: int, batch: int, steps: int) -> tuple[FrameCache, pd.DataFrame]:
    """Random frames, as many as the steps need, and as FRAMES what batches ask of them."""
    n = batch * steps
    images = np.random.default_rng(0).integers(0, 256, (n, size, size), dtype=np.uint8)
    label = pd.array(np.arange(n) % 2, dtype="Int8")
    frames = pd.DataFrame({"stack_id": "a", "frame": np.arange(n), "label": label})
    return FrameCache(images, {"a": 0}, "benchmark"), frames.assign(time_target=np.arange(n) / n * 48)


def bare(cfg: Config, batches: Batches) -> tuple[Callable[[], int], str]:
    """Return what does an epoch's steps on one batch in memory, and what it computes in.

    A step is forward, loss, backward, clip and AdamW; ``run`` returns how many images that were.
    """
    model = build_model(cfg.model).to(batches.device, memory_format=torch.channels_last).train()
    objective = Losses(cfg.objective, cfg.model).to(batches.device)
    model.precision = pick_precision(cfg.train, model, batches.device)
    learner = distribute(TrainingStep(model, objective, SINGLE), compiled=cfg.train.compile)
    weights = [*model.parameters(), *objective.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=1e-4, fused=True)
    epoch = batches.epoch(1, seed=0, augment=cfg.train.augment, balanced=False)
    batch = tuple(part.clone() for part in next(epoch))

    def run() -> int:
        for _ in range(len(batches)):
            optimiser.zero_grad(set_to_none=True)
            learner(*batch).total.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
        return len(batches) * len(batch[0])

    return run, str(model.precision).removeprefix("torch.")


def in_turn(
    train: Callable[[Callable[[str], None]], None],
    others: Mapping[str, Callable[[], int]],
    *,
    images: int,
    now: Callable[[], float] = time.process_time,
) -> dict[str, list[tuple[float, float]]]:
    """Train, and let the others work after every epoch but the first, in which caches fill.

    Args:
        train: trains, and says a line that begins with ``Epoch`` after each epoch.
        others: by name; each returns how many images it trained on.
        images: of one epoch of the training.
        now: the clock, in seconds.

    Returns:
        By name, pairs of images per second: of the training and of the other, an epoch each.
    """
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in others}
    began, warm, order = now(), False, random.Random(0)

    def say(line: str) -> None:
        nonlocal began, warm
        if line.startswith("Epoch"):
            mine = images / (now() - began)
            for name in order.sample(list(others), len(others)):
                began = now()
                theirs = others[name]() / (now() - began)
                if warm:
                    pairs[name].append((mine, theirs))
            warm = True
        began = now()

    train(say)
    return pairs


def training(cfg: Config, train: Batches, val: Batches) -> Callable[[Callable[[str], None]], None]:
    """Return a training of this config from nothing, which takes what is called with each line it says."""

    def run(say: Callable[[str], None]) -> None:
        torch.manual_seed(0)
        model = build_model(cfg.model).to(train.device)
        model.precision = pick_precision(cfg.train, model, train.device)
        losses = Losses(cfg.objective, cfg.model)
        with tempfile.TemporaryDirectory() as folder:
            fit(model, losses, train, val, cfg, Path(folder), say=say)

    return run
