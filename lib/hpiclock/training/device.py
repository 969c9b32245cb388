"""Which device, how many threads, which precision."""

import contextlib
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hpiclock.config.schema import TrainConfig
from hpiclock.errors import InputError
from hpiclock.training.model import TwoHeads

KINDS = ("cpu", "cuda", "mps")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
MEASURED = 3  # steps with each number of threads
MUCH_QUICKER = 1.5  # times
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
    model.to(memory_format=torch.channels_last)  # bfloat16 convolutions then take half the time on a CPU
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


def quickest_threads(step: Callable[[], object], most: int) -> tuple[int, dict[int, float]]:
    """Let the CPU compute with as many threads as are quickest now; return their number and all seconds.

    Where others keep the cores busy, every step waits for the thread that waits for a core: fewer are then
    quicker by far. All threads are kept unless fewer are much quicker, for sums round otherwise with fewer.

    Args:
        step: what is measured.
        most: threads to begin with; half of them, a quarter, ... one are tried, too.
    """
    seconds = {}
    for threads in (most >> halved for halved in range(most.bit_length())):
        torch.set_num_threads(threads)
        step()  # memory is laid out at the first one
        took = []
        for _ in range(MEASURED):
            began = time.perf_counter()
            step()
            took.append(time.perf_counter() - began)
        seconds[threads] = sorted(took)[MEASURED // 2]
    quickest = min(seconds, key=lambda threads: seconds[threads])
    chosen = quickest if seconds[most] > MUCH_QUICKER * seconds[quickest] else most
    torch.set_num_threads(chosen)
    return chosen, seconds


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
