"""Where a model computes: which device, how many threads, which precision, and among how many processes.

Several processes train one model together, as ``torchrun`` starts them: one per device. Each batch is drawn
as one process would draw it, and dealt out; sums go over the whole batch, in the losses and in BatchNorm. So
the number of processes changes rounding and nothing else, as long as nothing is drawn on the devices
(dropout) or per pixel (noise), which each process draws for itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce

from hpiclock.config.schema import TrainConfig
from hpiclock.errors import InputError
from hpiclock.training.model import TwoHeads

KINDS = ("cpu", "cuda", "mps")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
AUTO_PRECISION = "HPICLOCK_PRECISION"  # the environment variable that says what ``auto`` means
BF16_UNITS = ("avx512_bf16", "amx_bf16", "sve_bf16")  # without them a CPU only imitates bfloat16


def pick_device(train: TrainConfig) -> torch.device:
    """Return the device of the config; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        InputError: a device that this machine does not have.
    """
    if train.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(train.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # torch built without a device asserts
        device = None
    if device is None or device.type not in KINDS:
        raise InputError(f"train.device: {train.device} is not to be had here; take auto or cpu")
    return device


def place_model(model: TwoHeads, train: TrainConfig) -> TwoHeads:
    """Put a model where the config says: its device, CPU threads and precision; return it.

    Raises:
        InputError: a device that this machine does not have.
    """
    if train.threads is not None:
        torch.set_num_threads(train.threads)
    model.to(pick_device(train))
    model.precision = pick_precision(train, model, model.device)
    return model


def device_facts(model: TwoHeads, processes: int = 1) -> dict[str, str | int]:
    """Return what a run's provenance tells of the device that a model is on."""
    on_gpu = model.device.type == "cuda"
    facts: dict[str, str | int] = {
        "device": torch.cuda.get_device_name(model.device) if on_gpu else model.device.type,
        "precision": str(model.precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }
    return facts | ({"processes": processes} if processes > 1 else {})


def pick_precision(train: TrainConfig, model: nn.Module, device: torch.device) -> torch.dtype:
    """Return the type that convolutions compute in; ``auto`` takes bfloat16 where it pays.

    It pays for dense convolutions on a device with bfloat16 units, and costs for depthwise ones
    (``benchmarks/`` measures both). The environment variable ``HPICLOCK_PRECISION`` (``fp32`` or ``bf16``)
    says what ``auto`` means, so that one machine can compute as another kind would.

    Raises:
        InputError: the variable holds something else.
    """
    if train.precision != "auto":
        return PRECISIONS[train.precision]
    if meant := os.environ.get(AUTO_PRECISION):
        if meant not in PRECISIONS:
            raise InputError(f"{AUTO_PRECISION}={meant}: no such precision; take {' or '.join(PRECISIONS)}")
        return PRECISIONS[meant]
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in model.modules())
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # older torch cannot say: then float32
        units: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = any(units.get(name) for name in BF16_UNITS)
    return torch.bfloat16 if fast and not depthwise else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Return a context in which convolutions compute in ``precision``."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


def in_halves_on_memory_error(read: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return what ``read`` makes of images, in halves of halves where the device has no memory for all.

    Args:
        read: images (n, ...) -> (n, ...), each image by itself (no BatchNorm in training).
        images: at least one.

    Raises:
        torch.OutOfMemoryError: one image alone is too large.
    """
    try:
        return read(images)
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
    torch.cuda.empty_cache()
    return torch.cat([in_halves_on_memory_error(read, part) for part in images.chunk(2)])


def gpu_count() -> int:
    """Return how many CUDA devices this process may use."""
    return torch.cuda.device_count()


def use_gpu(number: int) -> None:
    """Make this CUDA device the one that ``cuda`` means in this process."""
    torch.cuda.set_device(number)


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
    def of(cls, layer: nn.BatchNorm2d) -> SynchronizedBatchNorm:
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
