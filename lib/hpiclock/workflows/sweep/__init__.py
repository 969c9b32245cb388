"""Many runs from one file, to their summary, figures, comparison and report.

A run that is done is skipped; one that was killed goes on from its checkpoint, because training itself
does. Nothing but the runs' folders is needed to know how far a sweep is.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from hpiclock import figures
from hpiclock.analysis.evaluate import COLUMNS, pooled_metrics
from hpiclock.config.load import load_config
from hpiclock.config.sweep import Sweep, Trial, load_sweep
from hpiclock.errors import InputError, RunFailed
from hpiclock.files import make_folder, write_csv
from hpiclock.plate.frames import select_frames
from hpiclock.runs.run import Run, Say, write_figures
from hpiclock.tables import PREDICTIONS, read_any
from hpiclock.workflows.compare import RUNS, compare_runs, find_runs, write_comparison
from hpiclock.workflows.sweep.executors import Engine, state_of, train_as_jobs, train_in_processes
from hpiclock.workflows.sweep.probe import PROBE, fit_probes

NOTEBOOK = "06"
SUMMARY = "summary.csv"
FIRST_LINES = 8  # of the conclusions, printed at the end
FOLDED = ("seed", "split.fold")  # what the summary puts together
SCORES = {
    "auc": ("auc", "all"),
    "auc_after_eclipse": ("auc", "after eclipse"),
    "auc_stratified": ("auc_stratified", "all"),
    "auc_stratified_after_eclipse": ("auc_stratified", "after eclipse"),
    "mae_infected_h": ("mae", "infected"),
}
PredictionsOf = Callable[[str], pd.DataFrame | None]  # by a run's name; None where it is not done
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
    return _results(plan, _runs_table(plan, messages), predictions_of(plan))


def probe_sweep(plan: Sweep, *, say: Say) -> SweepResults:
    """Fit heads for every run of a sweep on features that are computed once, and summarise them.

    Raises:
        InputError: a trained run whose split is not that of the sweep, weights that cannot be had.
    """
    make_folder(plan.folder)
    say(PROBE)
    made, messages = fit_probes(plan, say=say)
    runs = pd.DataFrame(
        {"run": name, "state": "failed" if name in messages else "done", "message": messages.get(name, "")}
        for name in plan.configs
    )
    return _results(plan, runs, made.get)


def _results(plan: Sweep, runs: pd.DataFrame, predictions_of: PredictionsOf) -> SweepResults:
    write_csv(runs, plan.folder / RUNS)
    summary = summarise(plan, predictions_of)
    write_csv(summary, plan.folder / SUMMARY)
    return SweepResults(plan.folder, runs, summary)


def run_sweep(
    file: str | Path,
    overrides: Mapping[str, Any],
    *,
    workers: int | None,
    report: bool,
    say: Say,
    engine: Engine = "local",
    options: Sequence[str] | None = None,
) -> Iterator[str]:
    """Run a sweep and yield what there is at its end, a line each.

    Args:
        file: the sweep file.
        overrides: keys for all runs.
        workers: processes or jobs at a time; None = one per GPU or core, on a cluster all.
        report: run notebook 06 on it, where there are variants to compare.
        say: takes lines on the way.
        engine: who runs them: processes of our own, or Snakemake here or on a cluster.
        options: more options for Snakemake.

    Raises:
        InputError: a bad file, or options without Snakemake.
        RunFailed: some runs failed; all that could be made is there.
    """
    began = time.monotonic()
    plan = load_sweep(file, overrides)
    if options and engine == "local":
        raise InputError(f"{' '.join(options)}: options are Snakemake's; add --engine snakemake or slurm")
    if plan.file.frozen:
        swept = probe_sweep(plan, say=say)  # minutes: no jobs
    elif engine == "local":
        swept = sweep(plan, train=partial(train_in_processes, workers=workers, say=say), say=say)
    else:
        jobs = partial(train_as_jobs, engine=engine, overrides=overrides, most=workers, options=options)
        swept = sweep(plan, train=jobs, say=say)
    write_figures(sweep_figures(plan, swept.summary), swept.folder / "figures")
    yield from _scores_in_words(swept.runs)
    yield f"{swept.folder}: runs.csv, summary.csv, figures/"
    if comparable(plan, swept):
        said: list[str] = []
        first = next(iter(plan.file.variants))
        found = compare_runs(find_runs([swept.folder]), first=first, say=said.append)
        yield from said
        write_comparison(found, swept.folder)
        for sentence in found.tables["conclusions"]["sentence"].head(FIRST_LINES):
            yield f"- {sentence}"
        yield f"{swept.folder}: comparison.csv, comparison.txt"
        if report:
            yield str(write_report(plan))
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    yield f"{len(swept.runs)} runs in {minutes} min {seconds} s"
    if swept.failed:
        many = f"{len(swept.failed)} of {len(swept.runs)} runs failed"
        raise RunFailed(f"{many}, the first is {swept.failed[0]}; {swept.folder / 'runs.csv'} says why")


def _scores_in_words(runs: pd.DataFrame) -> Iterator[str]:
    """Yield the test scores of the first runs that are done, a line each."""
    if "auc_stratified" not in runs:
        return
    for row in runs[runs["auc_stratified"].notna()].head(FIRST_LINES).to_dict("records"):
        late = row.get("auc_stratified_after_eclipse", math.nan)
        after = "" if math.isnan(late) else f", after the eclipse {late:.3f}"
        yield f"- {row['run']}: AUC within plate and hour {row['auc_stratified']:.3f}{after}"


def write_report(plan: Sweep) -> Path:
    """Execute notebook 06 on the folder of a sweep and return its page."""
    from hpiclock.report.pages import write_pages
    from hpiclock.workflows.notebooks import choose, execute, notebooks_folder

    run = Run(plan.folder, load_config(plan.base))
    run.record()  # where it comes from stands on the page
    (notebook,) = choose(notebooks_folder(), NOTEBOOK)
    execute(notebook, config=plan.base, overrides={}, run=run)
    return next(page for page in write_pages(run) if page.stem == notebook.stem)


def comparable(plan: Sweep, swept: SweepResults) -> bool:
    """Return whether a sweep compares ways of training: two variants done, on the same test frames."""
    done = set(swept.runs.loc[swept.runs["state"].eq("done"), "run"])
    there = {trial.labels.get("variant") for trial in plan.trials if trial.run in done}
    return len(there) > 1 and plan.file.hours is None and set(plan.file.grid) <= {"seed", "split.fold"}


def sweep_figures(plan: Sweep, summary: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures of a sweep over hours: score against the end of the interval, or the window."""
    if plan.file.hours is None or summary.empty:
        return {}
    level = next(iter(plan.configs.values())).study.level
    note = PROBE.partition(":")[0] + "." if plan.file.frozen else ""
    draw = figures.interval_sweep_figure if plan.file.hours.until_h else figures.window_sweep_figure
    name = "score_by_interval" if plan.file.hours.until_h else "score_by_window"
    keys = [key for key in ("variant", *plan.file.grid) if key in summary]
    if not keys:
        return {name: draw(summary, level=level, note=note)}
    return {
        f"{name}_{'_'.join(map(str, point))}": draw(part, level=level, note=note)
        for point, part in summary.groupby(keys, sort=False)
    }


def summarise(plan: Sweep, predictions_of: PredictionsOf) -> pd.DataFrame:
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


def predictions_of(plan: Sweep) -> PredictionsOf:
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
