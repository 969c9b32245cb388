"""The training loop, top to bottom: fit, score, keep the best, resume."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hpiclock.config.schema import Config
from hpiclock.errors import InputError, RunFailed
from hpiclock.progress import progress
from hpiclock.training.batches import UNLABELLED, Batches
from hpiclock.training.checkpoint import Checkpoints, read_checkpoint
from hpiclock.training.device import autocast, quickest_threads
from hpiclock.training.distributed import ProcessGroup, synchronize_batchnorm
from hpiclock.training.evaluate import evaluate, predict
from hpiclock.training.losses import Losses, LossValues
from hpiclock.training.model import TwoHeads


class TrainingStep(nn.Module):
    """Model and losses in one module: what one step computes, on one device or on its share of many."""

    def __init__(self, model: TwoHeads, losses: Losses, group: ProcessGroup) -> None:
        super().__init__()
        self.model = model
        self.losses = losses
        self.group = group

    def forward(self, images: Tensor, label: Tensor, time_target_h: Tensor) -> LossValues:
        """Return the losses of a batch, or of this process's share of one."""
        with autocast(images.device, self.model.precision):
            output = self.model(images)
        shares = None
        if self.group.size > 1:  # gradients are averaged over processes, and shares differ in size
            mine = self.losses.counts(label)
            shares = mine * self.group.size / self.group.all_reduce(mine.clone()).clamp(min=1.0)
        return self.losses(self.model, output, label, time_target_h, shares)


def distribute(step: TrainingStep, *, compiled: bool) -> nn.Module:
    """Return the module that a step calls; among several processes each computes its share of a batch.

    Args:
        step: what is computed.
        compiled: let ``torch.compile`` make kernels of it, at the first step; only training is compiled.
    """
    if compiled:
        step.compile(dynamic=False)  # batches have two lengths at most; kernels for any length are slower
    if step.group.size == 1:
        return step
    unused = step.losses.log_variance is not None  # that of a task that is not learnt
    return DistributedDataParallel(step, find_unused_parameters=unused, broadcast_buffers=False)


def compile_ahead(step: nn.Module, batch: tuple[Tensor, ...], sizes: Sequence[int]) -> float:
    """Compute losses and gradients once for each size of batch, so that all is compiled; return the seconds.

    Nothing is learnt: gradients are dropped, and what BatchNorm has seen is put back.

    Args:
        step: from :func:`distribute`, compiled.
        batch: one of the largest.
        sizes: how many frames the batches have.

    Raises:
        InputError: this machine has nothing to compile with.
    """
    from torch._dynamo.exc import TorchDynamoException  # takes a second

    began = time.perf_counter()
    try:
        with _nothing_learnt(step):
            for size in sizes:
                step(*(part[:size] for part in batch)).total.backward()
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"train.compile: {reason}; install what is missing, or set it to false") from error
    if batch[0].is_cuda:
        torch.cuda.synchronize(batch[0].device)
    return time.perf_counter() - began


@contextmanager
def _nothing_learnt(step: nn.Module) -> Iterator[None]:
    """Drop gradients at the end, and put back what BatchNorm has seen."""
    kept = {name: value.clone() for name, value in step.state_dict().items()}
    yield
    step.zero_grad(set_to_none=True)
    step.load_state_dict(kept)


def choose_threads(step: nn.Module, batch: tuple[Tensor, ...], most: int) -> str:
    """Take the number of CPU threads that is quickest now (:func:`quickest_threads`); return a line of it."""
    with _nothing_learnt(step):
        before = torch.get_num_threads()
        threads, seconds = quickest_threads(lambda: step(*batch).total.backward(), most)
    rates = ", ".join(f"{n}: {len(batch[0]) / took:.0f}" for n, took in seconds.items())
    line = f"Images/s by number of threads {rates}; {threads} compute"
    if threads == before:
        return line
    return f"{line}. Sums round otherwise than with {before}: weights then agree closely, not to the last bit"


Scores = dict[str, float]  # by metric
MEASURED_FROM = 100  # steps to come: of fewer the measurement would be a good part
FAR_LONGER = 2.0  # times that an epoch takes before threads are counted again
LOWER_IS_BETTER = ("mae", "loss")
TIE = 1e-4  # validation AUC saturates: scores closer than this are equal, and the lower losses win
UNITS = {"auc": "AUC {:.4f}", "accuracy": "accuracy {:.3f}", "f1": "F1 {:.3f}", "mae": "MAE {:.2f} h"}


class FitResult(NamedTuple):
    """What training leaves: HISTORY rows, and the epoch whose weights the model now has."""

    history: pd.DataFrame
    best_epoch: int
    best_value: float


def fit(
    model: TwoHeads,
    losses: Losses,
    train: Batches,
    val: Batches,
    cfg: Config,
    folder: Path,
    *,
    say: Callable[[str], None],
) -> FitResult:
    """Train a model; ``folder/best.pt`` holds the best weights, ``folder/last.pt`` all that resuming needs.

    If ``last.pt`` is there, training goes on after its epoch. Both are there at the end, and on the way every
    ``train.checkpoint_every_s`` seconds. On a CPU with the same number of threads it
    then ends with the same bytes as if it had not stopped.

    Args:
        model: on the device of the batches.
        losses: what is minimised; learnt weights of the tasks are in it.
        train: training batches, labelled frames only.
        val: validation batches, labelled frames only.
        cfg: the experiment: ``train``, ``seed``, ``targets.range_h``.
        folder: where the checkpoints are.
        say: takes one line per epoch.

    Raises:
        InputError: frames too few for BatchNorm, or checkpoints of another model.
        RunFailed: the loss is no longer a number.
    """
    device, options, group = train.device, cfg.train, train.group
    _check(model, train, val)
    synchronize_batchnorm(model, group)
    losses.to(device)
    _set_time_scale(model, losses, train)
    training_step = distribute(TrainingStep(model, losses, group), compiled=options.compile)
    # a task's weight is no network weight: nothing pulls it to zero
    weights = [*model.parameters(), *losses.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": model.parameters()},
        {"params": losses.parameters(), "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(
        groups, lr=options.lr, weight_decay=options.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    steps = min(len(train), options.max_steps or len(train))
    parts = {"model": model, "objective": losses, "optimiser": optimiser}
    checkpoints = Checkpoints(folder, parts, options.checkpoint_every_s)
    rows: list[dict[str, Any]] = []
    best = {"epoch": 0, "value": math.nan, "top": -math.inf, "losses": math.inf}

    first, most = 1, torch.get_num_threads()
    if (folder / "last.pt").is_file():
        extra = read_checkpoint(folder / "last.pt", parts, device)
        rows, best, first = extra["history"], extra["best"], extra["epoch"] + 1
        if options.threads is None and device.type == "cpu":
            torch.set_num_threads(extra.get("threads", most))  # as before, so that sums round as before
        say(_resume(extra["epoch"], options.epochs, device))

    shuffled = partial(train.epoch, seed=cfg.seed, augment=options.augment, balanced=options.balanced)
    if options.compile and first <= options.epochs:
        seconds = compile_ahead(training_step.train(), next(shuffled(first)), train.sizes)
        say(f"Compiled for {device.type} in {seconds:.0f} s")

    # several processes share the cores as torchrun says, and a compiled step is made for its threads
    measured = most > 1 and device.type == "cpu" and options.threads is None and group.size == 1
    measured &= not options.compile and (options.epochs - first + 1) * steps >= MEASURED_FROM
    if measured and first == 1:
        say(choose_threads(training_step.train(), next(shuffled(first)), most))
    quickest_s = math.inf
    for epoch in range(first, options.epochs + 1):
        began = time.perf_counter()
        if options.patience and epoch - best["epoch"] > options.patience and best["epoch"]:
            say(f"Stopped early: no new best for {options.patience} epochs")
            break
        torch.manual_seed(cfg.seed * 100_003 + epoch + 1_000_003 * group.rank)  # dropout; repeatable
        model.train()
        sums = torch.zeros(3, device=device)  # read once an epoch, so the device never waits
        with progress(desc=f"epoch {epoch}/{options.epochs}", total=steps, unit="step", leave=False) as bar:
            for step, batch in zip(range(steps), shuffled(epoch), strict=False):
                for parameters in optimiser.param_groups:
                    parameters["lr"] = _cosine(options.lr, (epoch - 1) * steps + step, steps * options.epochs)
                loss = training_step(*batch)
                optimiser.zero_grad(set_to_none=True)
                loss.total.backward()
                nn.utils.clip_grad_norm_(weights, options.clip_norm)
                optimiser.step()
                sums += torch.stack([loss.total.detach(), loss.of_class, loss.of_time])
                bar.update()

        means = (group.all_reduce(sums) / (steps * group.size)).tolist()
        trained = losses.named(*means) | {"lr": _cosine(options.lr, epoch * steps, steps * options.epochs)}
        output = predict(model, val, desc="validating")
        if not math.isfinite(means[0]) or not all(part is None or part.isfinite().all() for part in output):
            raise RunFailed(f"{folder}: epoch {epoch}: the loss is no longer a number; lower train.lr")
        validated = evaluate(model, losses, output, val.label, val.time_target_h, range_h=cfg.targets.range_h)
        for split, values in (("train", trained), ("val", validated)):
            rows += [{"epoch": epoch, "split": split, "metric": k, "value": v} for k, v in values.items()]
        best = _better_of(best, epoch, validated, options.best)
        new_best = best["epoch"] == epoch
        if group.is_main:
            if new_best:
                checkpoints.best({"epoch": epoch, "value": best["value"]})
            threads = torch.get_num_threads()
            checkpoints.last({"epoch": epoch, "history": rows, "best": best, "threads": threads})
        took_s = time.perf_counter() - began
        quickest_s = min(quickest_s, took_s)
        say(_log_line(epoch, options.epochs, trained, validated, options.best if new_best else ""))
        if measured and epoch < options.epochs and took_s > FAR_LONGER * quickest_s:
            say(choose_threads(training_step.train(), next(shuffled(epoch + 1)), most))

    checkpoints.flush()
    group.wait()  # until it is written
    read_checkpoint(folder / "best.pt", {"model": model}, device)  # the best is what is tested
    return FitResult(pd.DataFrame(rows), int(best["epoch"]), float(best["value"]))


def _cosine(lr: float, step: int, steps: int) -> float:
    """Return the learning rate before ``step`` of ``steps``: ``lr`` at 0, falling to 0 at ``steps``."""
    return 0.5 * lr * (1 + math.cos(math.pi * step / steps))


def _check(model: TwoHeads, train: Batches, val: Batches) -> None:
    if any((batches.label == UNLABELLED).any() for batches in (train, val)):
        raise ValueError("a frame without a label cannot be trained on or evaluated")
    if train.smallest < train.group.size:
        raise InputError(
            f"train.batch_size: {train.group.size} processes need as many training frames in a batch; the "
            f"smallest would have {train.smallest}"
        )
    normed = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if normed and train.smallest < 2:
        raise InputError(
            "train.batch_size: the BatchNorm layers of this backbone need at least two training frames in a "
            f"batch; the smallest would have {train.smallest}"
        )


def _set_time_scale(model: TwoHeads, losses: Losses, train: Batches) -> None:
    timed = losses.timed(torch.from_numpy(train.label)).numpy()
    hours = train.time_target_h[timed].astype(np.float64)
    if hours.size:
        model.time_mean_h.fill_(float(hours.mean()))
        model.time_sd_h.fill_(float(hours.std()) or 1.0)  # stills of one hour have no spread


def _better_of(best: Scores, epoch: int, validated: Scores, metric: str) -> Scores:
    """Return what is kept of the best epoch so far, or of this one if it is better."""
    if metric == "last":
        return best | {"epoch": epoch}
    value, old = validated[metric], best["top"]
    new = -value if metric in LOWER_IS_BETTER else value
    new = -math.inf if math.isnan(new) else new  # an undefined score is below all others
    # without the tasks' weights, which may be learnt and then move
    task_losses = validated.get("class_loss", 0.0) + validated.get("time_loss", 0.0)
    tied = new == old or abs(new - old) <= TIE
    if (task_losses >= best["losses"]) if tied else (new <= old):
        return best
    # the top never falls, so that ties cannot lead down step by step
    return {"epoch": epoch, "value": value, "top": max(old, new), "losses": task_losses}


def _resume(epoch: int, epochs: int, device: torch.device) -> str:
    line = f"Going on after epoch {epoch} of {epochs}"
    if device.type == "cpu":
        return line
    return (
        f"{line}; frames, their changes, dropout seeds and learning rates repeat exactly, but sums on a "
        f"{device.type} device may round otherwise: weights then agree closely, not to the last bit"
    )


def _log_line(epoch: int, epochs: int, trained: Scores, validated: Scores, new_best: str) -> str:
    parts = [f"Epoch {epoch:3d}/{epochs}"]
    for split, values in (("train", trained), ("val", validated)):
        tasks = [f"{t} {values[f'{t}_loss']:.4f}" for t in ("class", "time") if f"{t}_loss" in values]
        parts.append(f"{split} loss {values['loss']:.4f} ({', '.join(tasks)})")
    parts.append("  ".join(text.format(validated[name]) for name, text in UNITS.items() if name in validated))
    if new_best in validated:
        parts.append(f"new best {new_best} {validated[new_best]:.4f}")
    return " | ".join(parts)
