"""The losses, their weights, and the frames from which they can be learnt."""

from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from hpiclock.config.schema import Config, ModelConfig, ObjectiveConfig
from hpiclock.errors import InputError
from hpiclock.training.model import Output, TwoHeads

TIMED = {"both": (0, 1), "infected": (1,), "uninfected": (0,)}  # model.time_on -> labels whose time is learnt
WORDS = {0: "uninfected", 1: "infected"}


class LossValues(NamedTuple):
    """Losses of a batch, each a scalar; a task without a frame in the batch has loss 0."""

    total: Tensor
    of_class: Tensor
    of_time: Tensor


class Losses(nn.Module):
    """Cross-entropy for the class and smooth L1 for standardised time, weighted.

    ``class_loss`` takes logits (batch, 2) and labels (batch,) and gives their mean; ``time_loss`` takes
    standardised times, predicted and true, (batch,) each, and gives one value a frame. Both may be replaced.
    With ``weighting: uncertainty`` the weights are learnt: each loss L enters as exp(-s) L + s with a free
    s per task (Kendall, Gal & Cipolla, CVPR 2018, in the form that is linear in L).
    """

    def __init__(self, objective: ObjectiveConfig, model: ModelConfig) -> None:
        super().__init__()
        self.class_loss: nn.Module = nn.CrossEntropyLoss()
        self.time_loss: nn.Module = nn.SmoothL1Loss(reduction="none")
        self.tasks = model.tasks
        self.class_weight = objective.class_weight if "class" in model.tasks else 0.0
        self.time_weight = objective.time_weight if "time" in model.tasks else 0.0
        self.time_on = model.time_on
        learnt = objective.weighting == "uncertainty"
        self.log_variance = nn.Parameter(torch.zeros(2)) if learnt else None  # (2,): class, time

    def extra_repr(self) -> str:
        """Tell the weights where the module is shown."""
        return f"class_weight={self.class_weight}, time_weight={self.time_weight}, time_on={self.time_on!r}"

    def forward(
        self,
        model: TwoHeads,
        output: Output,
        label: Tensor,
        time_target_h: Tensor,
        shares: Tensor | None = None,
    ) -> LossValues:
        """Compare an output with ``label`` (batch,) 0 or 1 and ``time_target_h`` (batch,) in hours.

        ``shares`` (2,): what each loss is multiplied by where this is one process's share of a batch.
        """
        zero = label.new_zeros((), dtype=torch.float32)
        of_class = of_time = zero
        if output.class_logits is not None:
            of_class = self.class_loss(output.class_logits.float(), label)
        if output.time is not None:
            # a masked mean, not a selection: no shape depends on the data, so no device has to wait
            weight = self.timed(label).float()
            time = output.time_given(label).float()
            error = self.time_loss(time, model.standardise(time_target_h))
            of_time = (error * weight).sum() / weight.sum().clamp(min=1.0)
        if shares is not None:
            of_class, of_time = of_class * shares[0], of_time * shares[1]
        terms = [self.class_weight * of_class, self.time_weight * of_time]
        if self.log_variance is not None:
            used = [self.class_weight > 0, self.time_weight > 0]
            terms = [
                torch.exp(-s) * term + s if use else term
                for term, s, use in zip(terms, self.log_variance, used, strict=True)
            ]
        return LossValues(terms[0] + terms[1], of_class.detach(), of_time.detach())

    def counts(self, label: Tensor) -> Tensor:
        """Return how many frames enter each loss: (2,), class and time."""
        timed = self.timed(label).float().sum()
        return torch.stack([torch.full_like(timed, len(label)), timed])

    def timed(self, label: Tensor) -> Tensor:
        """Return which frames' time is learnt, (batch,) bool."""
        return torch.stack([label == kind for kind in TIMED[self.time_on]]).any(dim=0)

    def named(self, total: float, of_class: float, of_time: float) -> dict[str, float]:
        """Return losses by the names they have in the history; a task that is not learnt has none."""
        of_task = {"class": of_class, "time": of_time}
        return {"loss": total} | {f"{task}_loss": of_task[task] for task in of_task if task in self.tasks}


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
    usable = frames[trainable_frames(frames, cfg.model)]
    for split in ("train", "val", "test"):
        labels = set(usable.loc[usable["split"].eq(split), "label"])
        if not labels:
            raise InputError(f"{split}: no frame to use is left; widen frames.{split} or the split")
        # of test frames one class leaves some metrics undefined, with their reason
        if split != "test" and "class" in cfg.model.tasks and len(labels) < 2:
            only = WORDS[int(labels.pop())]
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
