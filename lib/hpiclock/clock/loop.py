"""The training loop, top to bottom: fit, score, keep the best, resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from hpiclock.clock.batches import Batches
from hpiclock.clock.checkpoint import read_checkpoint, sweep_leftovers, write_checkpoint
from hpiclock.clock.device import autocast, pick_precision
from hpiclock.clock.model import TwoHeads
from hpiclock.clock.objective import Objective
from hpiclock.clock.scoring import score
from hpiclock.config import Config
from hpiclock.progress import progress

LOWER_IS_BETTER = ("mae", "loss")
TIE = 1e-4  # validation AUC saturates: scores closer than this are equal, and the lower loss wins


class Fit(NamedTuple):
    """What training leaves: HISTORY rows, the epoch whose weights the model now has, the losses' weights."""

    history: pd.DataFrame
    objective: Objective
    best_epoch: int
    best_value: float


def fit(
    cfg: Config,
    model: TwoHeads,
    train: Batches,
    val: Batches,
    folder: Path,
    *,
    say: Callable[[str], None],
) -> Fit:
    """Train a model; ``folder/best.pt`` holds the best weights, ``folder/last.pt`` all that resuming needs.

    If ``last.pt`` is there, training goes on after its epoch, exactly as if it had not stopped.

    Args:
        cfg: the experiment.
        model: on the device of the batches.
        train: training batches.
        val: validation batches, labelled frames only.
        folder: where the checkpoints are.
        say: takes one line per epoch.
    """
    device, options = train.device, cfg.train
    precision = pick_precision(options, model, device)
    model.to(memory_format=torch.channels_last)
    objective = Objective(cfg.objective, cfg.model).to(device)
    _set_time_scale(model, objective, train)
    weights = [*model.parameters(), *objective.parameters()]
    optimiser = torch.optim.AdamW(
        weights, lr=options.lr, weight_decay=options.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    steps = min(len(train), options.max_steps or len(train))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * min(step / (steps * options.epochs), 1)))
    )
    rows: list[dict[str, Any]] = []
    best = {"epoch": 0, "value": math.nan, "loss": math.inf}
    parts = {"model": model, "objective": objective, "optimiser": optimiser, "schedule": schedule}

    sweep_leftovers(folder)
    first = 1
    if (folder / "last.pt").is_file():
        extra = read_checkpoint(folder / "last.pt", parts, device)
        rows, best, first = extra["history"], extra["best"], extra["epoch"] + 1
        say(f"Going on after epoch {first - 1} of {options.epochs}")

    for epoch in range(first, options.epochs + 1):
        if _stopped(epoch, best, options.patience):
            say(f"Stopped early: no new best for {options.patience} epochs")
            break
        torch.manual_seed(cfg.seed * 100_003 + epoch)  # dropout; repeatable after a kill
        model.train()
        sums = torch.zeros(3, device=device)  # read once an epoch, so the device never waits
        batches = train.epoch(epoch, seed=cfg.seed, augment=options.augment, balanced=options.balanced)
        bar = progress(desc=f"epoch {epoch}/{options.epochs}", total=steps, leave=False)
        for _, batch in zip(range(steps), batches, strict=False):
            with autocast(device, precision):
                output = model(batch.images)
            losses = objective(model, output, batch.label, batch.time_target_h)
            optimiser.zero_grad(set_to_none=True)
            losses.total.backward()
            torch.nn.utils.clip_grad_norm_(weights, options.clip_norm)
            optimiser.step()
            schedule.step()
            sums += torch.stack([losses.total.detach(), losses.of_class, losses.of_time])
            bar.update()
        bar.close()

        total, of_class, of_time = (sums / steps).tolist()
        learnt = {"loss": total, "class_loss": of_class, "time_loss": of_time}
        learnt["lr"] = schedule.get_last_lr()[0]
        scored = score(cfg, model, objective, val, precision)
        for split, values in (("train", learnt), ("val", scored)):
            rows += [{"epoch": epoch, "split": split, "metric": k, "value": v} for k, v in values.items()]
        new_best = _better(scored, best, options.best)
        if new_best:
            best = {"epoch": epoch, "value": scored[options.best], "loss": scored["loss"]}
            write_checkpoint(folder / "best.pt", {"model": model}, {"epoch": epoch, "value": best["value"]})
        # best first: after a kill in between, this epoch is repeated and writes the same best again
        write_checkpoint(folder / "last.pt", parts, {"epoch": epoch, "history": rows, "best": best})
        say(_line(epoch, options.epochs, learnt, scored, new_best))

    read_checkpoint(folder / "best.pt", {"model": model}, device)  # the best is what is tested
    return Fit(pd.DataFrame(rows), objective, int(best["epoch"]), float(best["value"]))


def _set_time_scale(model: TwoHeads, objective: Objective, train: Batches) -> None:
    timed = objective.timed(torch.from_numpy(train.label)).numpy()
    hours = train.time_target_h[timed].astype(np.float64)
    if hours.size:
        model.time_mean_h.fill_(float(hours.mean()))
        model.time_sd_h.fill_(float(hours.std()) or 1.0)  # stills of one hour have no spread


def _better(scored: dict[str, float], best: dict[str, float], metric: str) -> bool:
    if best["epoch"] == 0:
        return True
    gain = scored[metric] - best["value"]
    gain = -gain if metric in LOWER_IS_BETTER else gain
    return gain > TIE or (abs(gain) <= TIE and scored["loss"] < best["loss"])


def _stopped(epoch: int, best: dict[str, float], patience: int | None) -> bool:
    return patience is not None and best["epoch"] > 0 and epoch - best["epoch"] > patience


def _line(epoch: int, epochs: int, learnt: dict[str, float], scored: dict[str, float], new_best: bool) -> str:
    parts = [f"Epoch {epoch:3d}/{epochs}"]
    for name, values in (("train", learnt), ("val", scored)):
        losses = f"(class {values['class_loss']:.4f}, time {values['time_loss']:.4f})"
        parts.append(f"{name} loss {values['loss']:.4f} {losses}")
    units = {"auc": "AUC {:.4f}", "accuracy": "accuracy {:.3f}", "f1": "F1 {:.3f}", "mae": "MAE {:.2f} h"}
    parts.append("  ".join(text.format(scored[name]) for name, text in units.items() if name in scored))
    return " | ".join(parts) + ("  new best" if new_best else "")
