"""Runs of a sweep as jobs of Snakemake: on the cores of this machine, or on a cluster with a shared disk."""

from __future__ import annotations

import difflib
import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hpiclock.config.load import Sweep
from hpiclock.errors import InputError, RunFailed
from hpiclock.files import atomic, make_folder
from hpiclock.progress import progress
from hpiclock.workflows.sweep import state_of
from hpiclock.workflows.sweep.executor_local import default_workers, train_one

Engine = Literal["local", "snakemake", "slurm"]
SNAKEFILE = Path(__file__).with_name("Snakefile")
FLAGS = ("--keep-going", "--rerun-incomplete", "--nolock", "--rerun-triggers", "mtime")
LOOK_S = 1.0  # how often the folders of runs are looked at for the bar
NO_MESSAGE = "its job ended without a message"


def train_as_jobs(
    plan: Sweep,
    todo: list[str],
    *,
    engine: Engine,
    overrides: Mapping[str, Any],
    most: int | None,
    options: Sequence[str],
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
    job = {"sweep": str(plan.path.resolve()), "overrides": dict(overrides)}
    job["command"] = shlex.join(_command(plan, overrides))
    with atomic(folder / "config.json") as partial:
        partial.write_text(json.dumps(job, indent=1), encoding="utf-8")
    most = most or (len(todo) if engine == "slurm" else default_workers())
    places = {"--snakefile": SNAKEFILE, "--directory": folder, "--configfile": folder / "config.json"}
    command = [sys.executable, "-m", "snakemake", "all", *FLAGS]
    command += [str(part) for place in places.items() for part in place]
    command += _on_cluster(most) if engine == "slurm" else ["--cores", str(most)]
    code = _watched([*command, *options], plan, todo, folder / "snakemake.log")
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
    overrides = next(trial.overrides for trial in plan.trials if trial.run == name)
    message = train_one(str(plan.base), overrides, str(plan.folder / name))
    if message:
        raise RunFailed(message)


def _command(plan: Sweep, overrides: Mapping[str, Any]) -> list[str]:
    sets = [part for key, value in overrides.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    return [sys.executable, "-m", "hpiclock", "sweep", str(plan.path.resolve()), *sets]


def _on_cluster(most: int) -> list[str]:
    if shutil.which("sbatch") is None:
        raise InputError(
            "--engine slurm: no sbatch here; start it on a node that submits jobs of the cluster"
        )
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
    messages = {}
    for name in todo:
        log = folder / f"{name}.log"
        if state_of(plan, name) == "done":
            messages[name] = ""
        elif log.is_file():
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
            messages[name] = next((line for line in reversed(lines) if line.strip()), NO_MESSAGE)
    if code and not messages:
        lines = (folder / "snakemake.log").read_text(encoding="utf-8", errors="replace").splitlines()
        why = next((line for line in reversed(lines) if line.strip()), "no message")
        raise RunFailed(f"Snakemake could not begin: {why}; {folder / 'snakemake.log'} holds all it said")
    return messages | {name: NO_MESSAGE for name in todo if name not in messages}
