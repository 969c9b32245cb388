"""Which device, how many threads, which precision."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

from hpiclock.config import TrainConfig
from hpiclock.errors import InputError


def pick_device(train: TrainConfig) -> torch.device:
    """Return the device of the config; ``auto`` takes CUDA, then MPS, then the CPU. Sets the thread count.

    Raises:
        InputError: a device that this machine does not have.
    """
    if train.threads is not None:
        torch.set_num_threads(train.threads)
    if train.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(train.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise InputError(f"train.device: {train.device} is not to be had here; take auto or cpu") from None
    return device


def pick_precision(train: TrainConfig, model: nn.Module, device: torch.device) -> torch.dtype:
    """Return the type that convolutions compute in; ``auto`` takes bfloat16 where it pays.

    It pays for dense convolutions on a device with bfloat16 units, and costs for depthwise ones
    (``benchmarks/`` measures both).
    """
    if train.precision != "auto":
        return torch.bfloat16 if train.precision == "bf16" else torch.float32
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in model.modules())
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.bfloat16 if fast and not depthwise else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Return a context in which convolutions compute in ``precision``."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)
