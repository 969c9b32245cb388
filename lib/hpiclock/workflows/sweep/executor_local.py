"""Runs of a sweep in processes of this machine, bounded by its GPUs or cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from filelock import FileLock

from hpiclock.config.load import Sweep, load_config
from hpiclock.errors import InputError, RunFailed
from hpiclock.progress import OFF, progress
from hpiclock.runs.run import CONFIG

ATTEMPTS = 2  # of a run whose process was killed from outside, for example for want of memory


def train_in_processes(
    plan: Sweep, todo: list[str], *, workers: int | None, say: Callable[[str], None]
) -> dict[str, str]:
    """Train runs of a sweep, each in a process of its own, and go on when one fails.

    Args:
        plan: the sweep.
        todo: names of the runs.
        workers: processes at a time; None = one per GPU, else per core.
        say: takes a line per run that fails.

    Returns:
        Run -> why it failed, empty where it did not.
    """
    overrides = {trial.run: trial.overrides for trial in plan.trials}
    most = min(workers or default_workers(), len(todo))
    tried = dict.fromkeys(todo, 0)
    messages: dict[str, str] = {}
    waiting = list(todo)
    with progress(
        desc=plan.file.name, total=len(plan.configs), initial=len(plan.configs) - len(todo), unit="run"
    ) as bar:
        while waiting:
            begun, waiting = waiting, []
            with _pool(most) as pool:
                futures = {
                    pool.submit(train_one, str(plan.base), overrides[name], str(plan.folder / name)): name
                    for name in begun
                }
                for future in as_completed(futures):
                    name = futures[future]
                    message = _outcome(future)
                    tried[name] += (plan.folder / name / CONFIG).is_file()  # else it had not begun
                    if message is None and tried[name] < ATTEMPTS:
                        waiting.append(name)  # it goes on from its checkpoint
                        continue
                    messages[name] = "its process was killed" if message is None else message
                    if messages[name]:
                        say(f"{name} failed: {messages[name]}")
                    bar.update()
    return messages


def _outcome(future: Future[str]) -> str | None:
    """Return why a run failed, nothing when it did not, None when its process (or a neighbour) was killed."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(["hpiclock.workflows.train"])  # torch is imported once
    places = context.Queue()
    for number in range(workers):
        places.put(number)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_settle, initargs=(places,))


def _settle(places: Any) -> None:
    """Give a worker its own GPU (where there are some), one thread, and no bar."""
    os.environ[OFF] = "off"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    from hpiclock.training.device import gpu_count, use_gpu

    if gpu_count():
        use_gpu(places.get() % gpu_count())


def train_one(config: str, overrides: dict[str, Any], folder: str) -> str:
    """Train a run in a process of its own; return why it failed, or nothing. It logs to ``run.log``."""
    from hpiclock.workflows.train import train

    place = Path(folder)
    # a worker can outlive its sweep that was killed: a second one waits for it, and then finds the run done
    lock = FileLock(place.with_name(f".{place.name}.lock"))
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere), lock:
        try:
            train(load_config(config, overrides), folder, say=lambda _: None)
        except (InputError, RunFailed) as error:
            return " ".join(str(error).splitlines())
        except Exception as error:  # one broken run must not end the others; its message is listed
            return f"{type(error).__name__}: {' '.join(str(error).splitlines()) or 'no message'}"
    return ""


def default_workers() -> int:
    """Return how many runs may be trained at a time: one per GPU, else one per core of this process."""
    from hpiclock.training.device import gpu_count

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return gpu_count() or cores
