"""Many runs from one file: resumed, failures listed, summarised.

A run that is done is skipped; one that was killed goes on from its checkpoint, because training itself
does. Nothing but the runs' folders is needed to know how far a sweep is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hpiclock.analysis.evaluate import COLUMNS, pooled_metrics
from hpiclock.config.load import Sweep, Trial, load_config
from hpiclock.errors import InputError
from hpiclock.files import atomic, make_folder
from hpiclock.plate.frames import select_frames
from hpiclock.runs.run import CONFIG, Run
from hpiclock.tables import PREDICTIONS, read_any

RUNS, SUMMARY = "runs.csv", "summary.csv"
FOLDED = ("seed", "split.fold")  # what the summary puts together
SCORES = {
    "auc": ("auc", "all"),
    "auc_after_eclipse": ("auc", "after eclipse"),
    "mae_infected_h": ("mae", "infected"),
}
Say = Callable[[str], None]
Train = Callable[[Sweep, list[str]], dict[str, str]]  # takes names of runs, returns why each failed


class SweepResults(NamedTuple):
    """A sweep as it stands: ``runs`` (run, state, message, test scores), and the summary of what is done."""

    folder: Path
    runs: pd.DataFrame
    summary: pd.DataFrame

    @property
    def failed(self) -> list[str]:
        """Names of runs that failed."""
        return list(self.runs.loc[self.runs["state"].eq("failed"), "run"])


def sweep(plan: Sweep, *, train: Train, say: Say = print) -> SweepResults:
    """Train every run of a sweep that is not done, and summarise all that are.

    Args:
        plan: from :func:`hpiclock.config.load.load_sweep`.
        train: trains runs by their names: processes of this machine, or jobs of a cluster.
        say: takes a line at the beginning.

    Raises:
        InputError: a folder that holds runs of another sweep.
    """
    folder = make_folder(plan.folder)
    todo = [name for name in plan.configs if state_of(plan, name) != "done"]
    say(f"{len(plan.configs)} runs, {len(plan.configs) - len(todo)} done already; {folder}")
    messages = train(plan, todo) if todo else {}
    runs = _runs_table(plan, messages)
    with atomic(folder / RUNS) as partial:
        runs.to_csv(partial, index=False)
    summary = summarise(plan, predictions_of(plan))
    with atomic(folder / SUMMARY) as partial:
        summary.to_csv(partial, index=False)
    return SweepResults(folder, runs, summary)


def read_sweep(folder: str | Path) -> SweepResults:
    """Read what :func:`sweep` wrote.

    Raises:
        InputError: no sweep in this folder.
    """
    folder = Path(folder)
    if not (folder / RUNS).is_file():
        raise InputError(f"{folder}: no sweep here ({RUNS} is missing); hpiclock sweep FILE makes one")
    return SweepResults(folder, read_any(folder / RUNS).fillna({"message": ""}), read_any(folder / SUMMARY))


def state_of(plan: Sweep, name: str) -> str:
    """Return how far a run of a sweep is: ``new``, ``training`` or ``done``."""
    folder = plan.folder / name
    return Run(folder, plan.configs[name]).state if (folder / CONFIG).is_file() else "new"


def summarise(plan: Sweep, predictions_of: Callable[[str], pd.DataFrame | None]) -> pd.DataFrame:
    """Return a row per point and metric of what is done: labels, value, interval, counts.

    Folds of a point are put together and its seeds averaged; points of which a run is missing are left out.

    Args:
        plan: the sweep.
        predictions_of: gives the PREDICTIONS of a run by its name, None where it is not done.
    """
    points: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in plan.trials:
        labels = {key: value for key, value in trial.labels.items() if key not in FOLDED}
        plain = [(k, v if isinstance(v, str | int | float) else str(v)) for k, v in labels.items()]
        points.setdefault(tuple(plain), []).append(trial)
    tables = []
    for point, trials in points.items():
        runs = [rows for trial in trials if (rows := predictions_of(trial.run)) is not None]
        if len(runs) < len(trials):
            continue
        tests = [test_rows(plan, trial, rows) for trial, rows in zip(trials, runs, strict=True)]
        study = plan.configs[trials[0].run].study
        tables.append(pooled_metrics(runs, study=study, tests=tests).assign(**dict(point)))
    names = [name for name, _ in next(iter(points), ())]
    if not tables:
        return pd.DataFrame(columns=[*names, *COLUMNS.split()])
    return pd.concat(tables, ignore_index=True)[[*names, *COLUMNS.split()]]


def predictions_of(plan: Sweep) -> Callable[[str], pd.DataFrame | None]:
    """Return a function that reads the predictions of a run of this sweep, once; None where not done."""

    @cache
    def read(name: str) -> pd.DataFrame | None:
        if state_of(plan, name) != "done":
            return None
        return Run.open(plan.folder / name).read_table("predictions.parquet", PREDICTIONS)

    return read


def test_rows(plan: Sweep, trial: Trial, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the test rows of a run on which a trial is evaluated."""
    test = predictions[predictions["split"].eq("test")]
    if not trial.test_frames:
        return test
    frames = load_config(plan.base, {**trial.overrides, **trial.test_frames}).frames
    return select_frames(test, frames)


def _runs_table(plan: Sweep, messages: dict[str, str]) -> pd.DataFrame:
    rows = []
    for name in plan.configs:
        state = state_of(plan, name)
        message = "" if state == "done" else messages.get(name, "")
        scores = _test_scores(plan.folder / name) if state == "done" else {}
        rows.append({"run": name, "state": "failed" if message else state, "message": message, **scores})
    return pd.DataFrame(rows)


def _test_scores(folder: Path) -> dict[str, float]:
    metrics = read_any(folder / "metrics.csv")
    tested = metrics[metrics["split"].eq("test") & metrics["start_h"].isna()]
    values = tested.set_index(["metric", "group"])["value"]
    return {name: values[key] for name, key in SCORES.items() if key in values.index}
