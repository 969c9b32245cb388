"""What one training step computes, on one device or on its share of many, compiled where that is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hpiclock.clock.device import autocast
from hpiclock.clock.model import TwoHeads
from hpiclock.clock.objective import Losses, Objective
from hpiclock.clock.world import World
from hpiclock.errors import InputError


class Learner(nn.Module):
    """Model and losses in one module: what one step computes, on one device or on its share of many."""

    def __init__(self, model: TwoHeads, objective: Objective, precision: torch.dtype, world: World) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.precision = precision
        self.world = world

    def forward(self, images: Tensor, label: Tensor, time_target_h: Tensor) -> Losses:
        """Return the losses of a batch, or of this process's share of one."""
        with autocast(images.device, self.precision):
            output = self.model(images)
        shares = None
        if self.world.size > 1:  # gradients are averaged over processes, and shares differ in size
            mine = self.objective.counts(label)
            shares = mine * self.world.size / self.world.summed(mine.clone()).clamp(min=1.0)
        return self.objective(self.model, output, label, time_target_h, shares)


def together(learner: Learner, *, compiled: bool) -> nn.Module:
    """Return the module that a step calls: the learner, for its share of a batch where there are several.

    Args:
        learner: what is computed.
        compiled: let ``torch.compile`` make kernels of it, at the first step; only training is compiled.
    """
    if compiled:
        learner.compile(dynamic=False)  # batches have two lengths at most; kernels for any length are slower
    if learner.world.size == 1:
        return learner
    unused = learner.objective.log_variance is not None  # that of a task that is not learnt
    return DistributedDataParallel(learner, find_unused_parameters=unused, broadcast_buffers=False)


def warmed_up(learner: nn.Module, batch: tuple[Tensor, ...], sizes: Sequence[int]) -> float:
    """Compute losses and gradients once for each size of batch, so that all is compiled; return the seconds.

    Nothing is learnt: gradients are dropped, and what BatchNorm has seen is put back.

    Args:
        learner: what :func:`together` gave, compiled.
        batch: one of the largest.
        sizes: how many frames the batches have.

    Raises:
        InputError: this machine has nothing to compile with.
    """
    from torch._dynamo.exc import TorchDynamoException  # takes a second

    began = time.perf_counter()
    kept = {name: value.clone() for name, value in learner.state_dict().items()}
    try:
        for size in sizes:
            learner(*(part[:size] for part in batch)).total.backward()
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"train.compile: {reason}; install what is missing, or set it to false") from error
    learner.zero_grad(set_to_none=True)
    learner.load_state_dict(kept)
    if batch[0].is_cuda:
        torch.cuda.synchronize(batch[0].device)
    return time.perf_counter() - began
