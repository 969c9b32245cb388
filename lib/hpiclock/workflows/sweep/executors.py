"""Who trains the runs of a sweep: processes of this machine, or jobs of Snakemake.

Jobs run on the cores of this machine, or on a cluster with a shared disk.
"""

import contextlib
import difflib
import importlib.util
import json
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from hpiclock.config.sweep import Sweep
from hpiclock.errors import InputError, RunFailed
from hpiclock.files import atomic, make_folder
from hpiclock.progress import OFF, progress
from hpiclock.runs.run import CONFIG, Run, Say

Engine = Literal["local", "snakemake", "slurm"]
ATTEMPTS = 2  # of a run whose process was killed from outside, for example for want of memory
SNAKEFILE = Path(__file__).with_name("Snakefile")
FLAGS = ("--keep-going", "--rerun-incomplete", "--nolock", "--rerun-triggers", "mtime")
NO_MESSAGE = "its job ended without a message"
LOOK_S = 1.0  # how often the folders of runs are looked at for the bar


def state_of(plan: Sweep, name: str) -> str:
    """Return how far a run of a sweep is: ``new``, ``training`` or ``done``."""
    folder = plan.folder / name
    return Run(folder, plan.configs[name]).state if (folder / CONFIG).is_file() else "new"


def train_in_processes(plan: Sweep, todo: list[str], *, workers: int | None, say: Say) -> dict[str, str]:
    """Train runs of a sweep, each in a process of its own, and go on when one fails.

    Args:
        plan: the sweep.
        todo: names of the runs.
        workers: processes at a time; None = one per GPU, else per core.
        say: takes a line per run that fails.

    Returns:
        Run -> why it failed, empty where it did not.
    """
    most = min(workers or default_workers(), len(todo))
    tried = dict.fromkeys(todo, 0)
    messages: dict[str, str] = {}
    waiting, total = todo, len(plan.configs)
    with progress(desc=plan.file.name, total=total, initial=total - len(todo), unit="run") as bar:
        while waiting:
            begun, waiting = waiting, []
            with _pool(most) as pool:
                futures = {pool.submit(train_one, plan, name): name for name in begun}
                for future in as_completed(futures):
                    name = futures[future]
                    tried[name] += (plan.folder / name / CONFIG).is_file()  # else it had not begun
                    try:
                        messages[name] = future.result()
                    except BrokenProcessPool:  # its process was killed, or a neighbour
                        if tried[name] < ATTEMPTS:
                            waiting.append(name)  # it goes on from its checkpoint
                            continue
                        messages[name] = "its process was killed"
                    if messages[name]:
                        say(f"{name} failed: {messages[name]}")
                    bar.update()
    return messages


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


def train_one(plan: Sweep, name: str) -> str:
    """Train a run in a process of its own; return why it failed, or nothing. It logs to ``run.log``."""
    from hpiclock.workflows.train import train

    # a worker can outlive its sweep that was killed: a second one waits for it, and then finds the run done
    lock = FileLock(plan.folder / f".{name}.lock")
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere), lock:
        try:
            train(plan.configs[name], plan.folder / name, say=lambda _: None)
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


def train_as_jobs(
    plan: Sweep,
    todo: list[str],
    *,
    engine: Engine,
    overrides: Mapping[str, Any],
    most: int | None,
    options: Sequence[str] | None,
) -> dict[str, str]:
    """Train runs of a sweep as jobs of Snakemake, and go on when one fails.

    Every job is ``hpiclock sweep FILE --run NAME``; its log is ``jobs/NAME.log`` in the sweep's folder,
    Snakemake's own is ``jobs/snakemake.log`` there.

    Args:
        plan: the sweep.
        todo: names of the runs.
        engine: ``snakemake`` = cores of this machine, ``slurm`` = jobs of a cluster.
        overrides: what was set over the sweep file.
        most: jobs at a time; None = one per core, or on a cluster all at once.
        options: more options for Snakemake, e.g. ``--default-resources slurm_partition=gpu``.

    Returns:
        Run -> why it failed, empty where it did not.

    Raises:
        InputError: Snakemake is not installed, or no Slurm here.
        RunFailed: Snakemake could not begin.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise InputError(f"--engine {engine}: Snakemake is not here; pip install 'hpiclock[cluster]'")
    folder = make_folder((plan.folder / "jobs").resolve())
    for name in todo:
        (folder / f"{name}.log").unlink(missing_ok=True)
    file = str(plan.path.resolve())
    sets = [part for key, value in overrides.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    command = shlex.join([sys.executable, "-m", "hpiclock", "sweep", file, *sets])
    job = {"sweep": file, "overrides": dict(overrides), "command": command}
    with atomic(folder / "config.json") as partial:
        partial.write_text(json.dumps(job, indent=1), encoding="utf-8")
    most = most or (len(todo) if engine == "slurm" else default_workers())
    places = {"--snakefile": SNAKEFILE, "--directory": folder, "--configfile": folder / "config.json"}
    snakemake = [sys.executable, "-m", "snakemake", "all", *FLAGS]
    snakemake += [str(part) for place in places.items() for part in place]
    snakemake += _on_cluster(most) if engine == "slurm" else ["--cores", str(most)]
    code = _watched([*snakemake, *(options or ())], plan, todo, folder / "snakemake.log")
    return _messages(plan, todo, folder, code)


def train_only(plan: Sweep, name: str) -> None:
    """Train one run of a sweep in this process: what a job does.

    Raises:
        InputError: no such run.
        RunFailed: why it failed.
    """
    if name not in plan.configs or plan.file.frozen:
        near = difflib.get_close_matches(name, plan.configs, n=1) or list(plan.configs)[:1]
        why = "a probe has no runs to train" if plan.file.frozen else f"did you mean {near[0]}?"
        raise InputError(f"{plan.path}: no run {name}; {why}")
    message = train_one(plan, name)
    if message:
        raise RunFailed(message)


def _on_cluster(most: int) -> list[str]:
    if shutil.which("sbatch") is None:
        why = "start it on a node that submits jobs of the cluster"
        raise InputError(f"--engine slurm: no sbatch here; {why}")
    options = ["--executor", "slurm", "--jobs", str(most)]
    # without accounting sacct always fails, and the plug-in would wait for its answer for ever
    tried = shutil.which("sacct") and subprocess.run(["sacct", "-n", "-X"], capture_output=True, check=False)
    return options if tried and tried.returncode == 0 else [*options, "--slurm-status-command", "squeue"]


def _watched(command: list[str], plan: Sweep, todo: list[str], log: Path) -> int:
    """Run Snakemake, with a bar over the runs that are done; return its exit code."""
    with (
        open(log, "w", encoding="utf-8") as out,
        progress(desc=plan.file.name, total=len(todo), unit="run") as bar,
        subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as jobs,
    ):
        while jobs.poll() is None:
            time.sleep(LOOK_S)
            bar.update(sum(state_of(plan, name) == "done" for name in todo) - bar.n)
    return jobs.returncode


def _messages(plan: Sweep, todo: list[str], folder: Path, code: int) -> dict[str, str]:
    logs = {name: folder / f"{name}.log" for name in todo}
    messages = {name: _last_line(log) or NO_MESSAGE for name, log in logs.items() if log.is_file()}
    messages |= {name: "" for name in todo if state_of(plan, name) == "done"}
    if code and not messages:
        log = folder / "snakemake.log"
        why = _last_line(log) or "no message"
        raise RunFailed(f"Snakemake could not begin: {why}; {log} holds all it said")
    return dict.fromkeys(todo, NO_MESSAGE) | messages


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")
