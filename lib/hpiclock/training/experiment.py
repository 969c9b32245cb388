"""One experiment on one machine: the model is made, trained, and asked about every frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from hpiclock.config.schema import Config, ModelConfig
from hpiclock.errors import InputError
from hpiclock.plate.cache import FrameCache
from hpiclock.training.batches import Batches
from hpiclock.training.device import pick_device, pick_precision, set_threads
from hpiclock.training.distributed import SINGLE, ProcessGroup
from hpiclock.training.evaluate import evaluate, output_table, predict
from hpiclock.training.loop import fit
from hpiclock.training.losses import TIMED
from hpiclock.training.model import Output, TwoHeads, build_model, refuse_size

WORDS = {0: "uninfected", 1: "infected"}


class LoadedModel(NamedTuple):
    """A model and what it runs on."""

    model: TwoHeads
    device: torch.device
    precision: torch.dtype
    threads: int
    world: ProcessGroup = SINGLE

    def facts(self) -> dict[str, str | int]:
        """Return what belongs into a run's provenance."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        facts: dict[str, str | int] = {
            "device": name,
            "precision": str(self.precision).removeprefix("torch."),
            "threads": self.threads,
        }
        return facts | ({"processes": self.world.size} if self.world.size > 1 else {})


class TrainingResult(NamedTuple):
    """What an experiment gives: HISTORY rows, and every FRAMES row with what the model says."""

    history: pd.DataFrame
    predictions: pd.DataFrame


def prepare_model(cfg: Config, *, pretrained: bool, world: ProcessGroup = SINGLE) -> LoadedModel:
    """Make the model on its device; the seed alone decides the weights that are not pretrained.

    Args:
        cfg: the experiment.
        pretrained: False leaves ``model.weights`` unread, for a run that goes on from its checkpoint.
        world: the processes that train it together.

    Raises:
        InputError: a device, backbone, weights or image size that cannot be had.
    """
    threads = set_threads(cfg.train)
    device = pick_device(cfg.train)
    torch.manual_seed(cfg.seed)
    model = build_model(cfg.model, pretrained=pretrained).to(device)
    refuse_size(model, cfg.model.backbone, cfg.image.size)
    return LoadedModel(model, device, pick_precision(cfg.train, model, device), threads, world)


def train_and_predict(
    cfg: Config,
    machine: LoadedModel,
    cache: FrameCache,
    frames: pd.DataFrame,
    folder: Path,
    *,
    say: Callable[[str], None],
) -> TrainingResult:
    """Train, or go on training; then ask the best checkpoint about every frame, once.

    Training frames are asked too: baselines of the study are fitted on them, and never on test frames.

    Args:
        cfg: the experiment.
        machine: from :func:`set_up`.
        cache: the frames' pixels.
        frames: a FRAMES table that passed :func:`refuse_unlearnable`.
        folder: where the checkpoints are.
        say: takes each line of the log.
    """
    model, device, precision, threads, world = machine
    learnt_from = frames[trainable_frames(frames, cfg.model)]
    asked = frames.reset_index(drop=True)

    def batches(rows: pd.DataFrame) -> Batches:
        return Batches(cache, rows, batch_size=cfg.train.batch_size, device=device, world=world)

    train, val = (batches(learnt_from[learnt_from["split"].eq(split)]) for split in ("train", "val"))
    counts = f"{len(train.rows)} train, {len(val.rows)} val, {asked['split'].eq('test').sum()} test frames"
    on = f"{threads} CPU thread{'s' if threads > 1 else ''}" if device.type == "cpu" else device.type
    if world.size > 1:
        on = f"{world.size} processes, each on {on}"
    say(f"{counts}; {cfg.model.backbone} on {on}, {machine.facts()['precision']}")
    fitted = fit(cfg, model, train, val, folder, precision=precision, say=say)

    everything = batches(asked)
    output = predict(model, everything, precision, desc="predicting")
    said = output_table(model, output)
    tested = np.flatnonzero(asked["split"].eq("test") & trainable_frames(asked, cfg.model))
    scored = evaluate(
        cfg,
        model,
        fitted.objective,
        _rows(output, tested),
        everything.label[tested],
        everything.time_target_h[tested],
    )
    rows = [{"epoch": fitted.best_epoch, "split": "test", "metric": k, "value": v} for k, v in scored.items()]
    # a time that was never learnt is no answer
    said.loc[asked["label"].isin(_untimed(cfg.model)), "time_pred"] = np.nan
    history = pd.concat([fitted.history, pd.DataFrame(rows)], ignore_index=True)
    return TrainingResult(history, pd.concat([asked, said], axis=1))


def trainable_frames(frames: pd.DataFrame, model: ModelConfig) -> pd.Series:
    """Return which rows of a FRAMES table the model's tasks can learn from: (rows,) bool.

    They have a label; where only time is learnt, it is one of those whose time is learnt.
    """
    labels = [0, 1] if "class" in model.tasks else list(TIMED[model.time_on])
    return frames["label"].isin(labels)


def check_trainable(cfg: Config, frames: pd.DataFrame) -> None:
    """Refuse frames from which the tasks cannot be learnt, or the best epoch not be chosen, or none tested.

    Raises:
        InputError: a split without frames, or without one of the classes.
    """
    model = cfg.model
    usable = frames[trainable_frames(frames, model)]
    for split in ("train", "val", "test"):
        labels = set(usable.loc[usable["split"].eq(split), "label"])
        if not labels:
            raise InputError(f"{split}: no frame to use is left; widen frames.{split} or the split")
        if split == "test":
            continue  # one class leaves some metrics undefined, with their reason
        if "class" in model.tasks and len(labels) < 2:
            only = WORDS[int(next(iter(labels)))]
            raise InputError(f"{split}: all labelled frames are {only}; widen frames.{split} or the split")


def task_notes(cfg: Config, frames: pd.DataFrame) -> list[str]:
    """Return the sentences on what these tasks and test frames leave unknown, for every report."""
    model, notes = cfg.model, []
    if model.tasks == ("class",):
        notes.append("This run learns the class only: it says nothing about time.")
    if model.tasks == ("time",):
        notes.append("This run learns time only: it says nothing about the class.")
    if "time" in model.tasks and model.time_on != "both":
        notes.append(
            f"Time is learnt on {model.time_on} frames only; the other frames have no predicted time."
        )
    tested = set(frames.loc[frames["split"].eq("test") & trainable_frames(frames, model), "label"])
    if "class" in model.tasks and len(tested) == 1:
        only = WORDS[int(tested.pop())]
        notes.append(f"All labelled test frames are {only}: telling the classes apart is not tested.")
    return notes


def _untimed(model: ModelConfig) -> list[int]:
    return [label for label in WORDS if label not in TIMED[model.time_on]]


def _rows(output: Output, rows: np.ndarray) -> Output:
    logits, time = (None if part is None else part[torch.from_numpy(rows).to(part.device)] for part in output)
    return Output(logits, time)
