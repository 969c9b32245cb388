"""Many runs from one file, on the cores or GPUs of this machine: resumed, bounded, failures listed.

A run that is done is skipped; one that was killed goes on from its checkpoint, because training itself
does. Nothing but the runs' folders is needed to know how far a sweep is.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from filelock import FileLock

from hpiclock.configfile import load_config
from hpiclock.errors import InputError, RunFailed
from hpiclock.files import atomic, make_folder
from hpiclock.plate.frames import select
from hpiclock.progress import OFF, progress
from hpiclock.report.runs import CONFIG, Run
from hpiclock.study.pooled import COLUMNS, pooled
from hpiclock.sweepfile import Sweep, Trial
from hpiclock.tables import PREDICTIONS, read_any

RUNS, SUMMARY = "runs.csv", "summary.csv"
ATTEMPTS = 2  # of a run whose process was killed from outside, for example for want of memory
FOLDED = ("seed", "split.fold")  # what the summary puts together
Say = Callable[[str], None]


class Swept(NamedTuple):
    """A sweep as it stands: ``runs`` (run, state, message), and the summary of what is done."""

    folder: Path
    runs: pd.DataFrame
    summary: pd.DataFrame

    @property
    def failed(self) -> list[str]:
        """Names of runs that failed."""
        return list(self.runs.loc[self.runs["state"].eq("failed"), "run"])


def sweep(plan: Sweep, *, workers: int | None, say: Say = print) -> Swept:
    """Train every run of a sweep that is not done, and summarise all that are.

    Args:
        plan: from :func:`hpiclock.sweepfile.load_sweep`.
        workers: processes at a time; None = one per GPU, else per core.
        say: takes a line per run that fails, and at the end.

    Raises:
        InputError: a folder that holds runs of another sweep.
    """
    folder = make_folder(plan.folder)
    todo = [name for name in plan.configs if state_of(plan, name) != "done"]
    say(f"{len(plan.configs)} runs, {len(plan.configs) - len(todo)} done already; {folder}")
    messages = _train_all(plan, todo, workers, say) if todo else {}
    runs = _runs_table(plan, messages)
    with atomic(folder / RUNS) as partial:
        runs.to_csv(partial, index=False)
    summary = summarise(plan, predictions_of(plan))
    with atomic(folder / SUMMARY) as partial:
        summary.to_csv(partial, index=False)
    return Swept(folder, runs, summary)


def read_sweep(folder: str | Path) -> Swept:
    """Read what :func:`sweep` wrote.

    Raises:
        InputError: no sweep in this folder.
    """
    folder = Path(folder)
    if not (folder / RUNS).is_file():
        raise InputError(f"{folder}: no sweep here ({RUNS} is missing); hpiclock sweep FILE makes one")
    return Swept(folder, read_any(folder / RUNS).fillna({"message": ""}), read_any(folder / SUMMARY))


def state_of(plan: Sweep, name: str) -> str:
    """Return how far a run of a sweep is: ``new``, ``training`` or ``done``."""
    folder = plan.folder / name
    return Run(folder, plan.configs[name]).state if (folder / CONFIG).is_file() else "new"


def train_one(config: str, overrides: dict[str, Any], folder: str) -> str:
    """Train a run in a process of its own; return why it failed, or nothing. It logs to ``run.log``."""
    from hpiclock.report.training import train

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


def summarise(plan: Sweep, predictions_of: Callable[[str], pd.DataFrame | None]) -> pd.DataFrame:
    """Return a row per point and metric of what is done: labels, value, interval, counts.

    Folds of a point are put together and its seeds averaged; points of which a run is missing are left out.

    Args:
        plan: the sweep.
        predictions_of: gives the PREDICTIONS of a run by its name, None where it is not done.
    """
    points: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in plan.trials:
        points.setdefault(tuple(_point(trial).items()), []).append(trial)
    tables = []
    for labels, trials in points.items():
        runs = [rows for trial in trials if (rows := predictions_of(trial.run)) is not None]
        if len(runs) < len(trials):
            continue
        asked = [asked_of(plan, trial, rows) for trial, rows in zip(trials, runs, strict=True)]
        study = plan.configs[trials[0].run].study
        tables.append(pooled(runs, study=study, asked=asked).assign(**dict(labels)))
    names = [name for name, _ in next(iter(points), ())]
    if not tables:
        return pd.DataFrame(columns=[*names, *COLUMNS])
    return pd.concat(tables, ignore_index=True)[[*names, *COLUMNS]]


def predictions_of(plan: Sweep) -> Callable[[str], pd.DataFrame | None]:
    """Return a function that reads the predictions of a run of this sweep, once; None where not done."""

    @cache
    def read(name: str) -> pd.DataFrame | None:
        if state_of(plan, name) != "done":
            return None
        return Run.open(plan.folder / name).read_table("predictions.parquet", PREDICTIONS)

    return read


def asked_of(plan: Sweep, trial: Trial, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the test rows of a run that a trial is asked about."""
    test = predictions[predictions["split"].eq("test")]
    if not trial.asked:
        return test
    frames = load_config(plan.base, {**trial.overrides, **trial.asked}).frames
    return select(test, frames)


def default_workers() -> int:
    """Return how many runs may be trained at a time: one per GPU, else one per core of this process."""
    from hpiclock.clock.device import gpu_count

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return gpu_count() or cores


def _point(trial: Trial) -> dict[str, Any]:
    return {
        key: value if isinstance(value, str | int | float) else str(value)
        for key, value in trial.labels.items()
        if key not in FOLDED
    }


def _train_all(plan: Sweep, todo: list[str], workers: int | None, say: Say) -> dict[str, str]:
    """Return run -> why it failed (empty: it did not), of the runs that were tried."""
    overrides = {trial.run: trial.overrides for trial in plan.trials}
    most = min(workers or default_workers(), len(todo))
    tried = dict.fromkeys(todo, 0)
    messages: dict[str, str] = {}
    waiting = list(todo)
    with progress(desc=plan.said.name, total=len(plan.configs), initial=len(plan.configs) - len(todo),
                  unit="run") as bar:  # fmt: skip
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
        context.set_forkserver_preload(["hpiclock.report.training"])  # torch is imported once
    places = context.Queue()
    for number in range(workers):
        places.put(number)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_settle, initargs=(places,))


def _settle(places: Any) -> None:
    """Give a worker its own GPU (where there are some), one thread, and no bar."""
    os.environ[OFF] = "off"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    from hpiclock.clock.device import gpu_count, use_gpu

    if gpu_count():
        use_gpu(places.get() % gpu_count())


def _runs_table(plan: Sweep, messages: dict[str, str]) -> pd.DataFrame:
    rows = []
    for name in plan.configs:
        state = state_of(plan, name)
        message = "" if state == "done" else messages.get(name, "")
        rows.append({"run": name, "state": "failed" if message else state, "message": message})
    return pd.DataFrame(rows)
