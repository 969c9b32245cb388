"""Several processes that train one model together, as ``torchrun`` starts them: one per device.

Each batch is drawn as one process would draw it, and dealt out; sums go over the whole batch, in the losses
and in BatchNorm. So the number of processes changes rounding and nothing else, as long as nothing is drawn
on the devices (dropout) or per pixel (noise), which each process draws for itself.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce

from hpiclock.config.schema import TrainConfig


class ProcessGroup(NamedTuple):
    """Which of how many processes this one is; ``local_rank`` counts on its machine."""

    rank: int
    size: int
    local_rank: int

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Return which of ``n`` rows are this process's: contiguous, as even as can be."""
        ends = np.linspace(0, n, self.size + 1).round().astype(int)
        return slice(int(ends[self.rank]), int(ends[self.rank + 1]))

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Let the main process go through the context before the others."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def all_reduce(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def all_gather(self, rows: Tensor, n: int) -> Tensor:
        """Put together the shares of ``n`` rows that the processes have: (share, …) -> (n, …)."""
        if self.size == 1:
            return rows
        longest = -(-n // self.size)
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        lengths = [self._replace(rank=rank).share(n) for rank in range(self.size)]
        return torch.cat([part[: s.stop - s.start] for part, s in zip(parts, lengths, strict=True)])


SINGLE = ProcessGroup(0, 1, 0)


@contextlib.contextmanager
def process_group(train: TrainConfig) -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` started: over NCCL between CUDA devices, else over Gloo.

    Without what ``torchrun`` sets in the environment this process is alone.
    """
    alone = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
    group = ProcessGroup(*(int(os.environ.get(name, value)) for name, value in alone.items()))
    if group.size == 1:
        yield group
        return
    on_gpu = train.device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(group.local_rank)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield group
    finally:
        dist.destroy_process_group()


def synchronize_batchnorm(model: nn.Module, group: ProcessGroup) -> None:
    """Let the BatchNorm layers of a model take mean and variance over the batch of all processes."""
    if group.size == 1:
        return
    if next(model.parameters()).device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # replaces the layers inside
        return
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.BatchNorm2d):
                setattr(parent, name, SynchronizedBatchNorm.of(layer))


class SynchronizedBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose mean and variance are those of the batch of all processes, also on a CPU.

    Images (share, channels, height, width); the shares may differ in size.
    """

    @classmethod
    def of(cls, layer: nn.BatchNorm2d) -> Self:
        """Return a layer with the parameters and running values of another."""
        new = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        new.load_state_dict(layer.state_dict())
        return new.train(layer.training)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise; in training over all processes."""
        if not self.training:
            return super().forward(images)
        dtype = images.dtype  # under autocast bfloat16; sums over many pixels need float32, as torch's own
        images = images.to(torch.promote_types(dtype, torch.float32))
        pixels = images.new_full((1,), images.numel() / self.num_features)
        sums = all_reduce(torch.cat([images.sum((0, 2, 3)), pixels]))
        n = sums[-1]
        mean = sums[:-1] / n
        away = images - mean[:, None, None]
        variance = all_reduce(away.square().sum((0, 2, 3))) / n
        self._update_running(mean.detach(), (variance * n / (n - 1)).detach())
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        scaled = away * scale[:, None, None]
        return (scaled + self.bias[:, None, None] if self.affine else scaled).to(dtype)

    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)
