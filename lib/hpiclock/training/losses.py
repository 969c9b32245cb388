"""The losses and their weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpiclock.config.schema import ModelConfig, ObjectiveConfig
from hpiclock.training.model import Output, TwoHeads

TIMED = {"both": (0, 1), "infected": (1,), "uninfected": (0,)}  # model.time_on -> labels whose time is learnt


class LossValues(NamedTuple):
    """Losses of a batch, each a scalar; a task without a frame in the batch has loss 0."""

    total: Tensor
    of_class: Tensor
    of_time: Tensor


class Losses(nn.Module):
    """Cross-entropy for the class and smooth L1 for standardised time, weighted.

    With ``weighting: uncertainty`` the weights are learnt: each loss L enters as exp(-s) L + s with a free
    s per task (Kendall, Gal & Cipolla, CVPR 2018, in the form that is linear in L).
    """

    def __init__(self, objective: ObjectiveConfig, model: ModelConfig) -> None:
        super().__init__()
        self.tasks = model.tasks
        self.class_weight = objective.class_weight if "class" in model.tasks else 0.0
        self.time_weight = objective.time_weight if "time" in model.tasks else 0.0
        self.time_on = model.time_on
        learnt = objective.weighting == "uncertainty"
        self.log_variance = nn.Parameter(torch.zeros(2)) if learnt else None  # (2,): class, time

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
            of_class = F.cross_entropy(output.class_logits.float(), label)
        if output.time is not None:
            # a masked mean, not a selection: no shape depends on the data, so no device has to wait
            weight = self.timed(label).float()
            error = F.smooth_l1_loss(output.time.float(), model.standardise(time_target_h), reduction="none")
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

    def named(self, losses: tuple[float, float, float]) -> dict[str, float]:
        """Return losses by the names they have in the history; a task that is not learnt has none."""
        names = {"class": "class_loss", "time": "time_loss"}
        by_task = dict(zip(names, losses[1:], strict=True))
        return {"loss": losses[0]} | {names[task]: by_task[task] for task in names if task in self.tasks}
