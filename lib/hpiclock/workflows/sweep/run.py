"""A whole sweep, from its file to its summary, figures, comparison and report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hpiclock import figures
from hpiclock.config.load import Sweep, load_config, load_sweep
from hpiclock.errors import InputError, RunFailed
from hpiclock.runs.run import Run, write_figure
from hpiclock.workflows.compare import compare_runs, find_runs, write_comparison
from hpiclock.workflows.sweep import SweepResults, sweep
from hpiclock.workflows.sweep.executor_local import train_in_processes
from hpiclock.workflows.sweep.executor_snakemake import Engine, train_as_jobs
from hpiclock.workflows.sweep.probe_sweep import PROBE, probe_sweep

NOTEBOOK = "06"
FIRST_LINES = 8  # of the conclusions, printed at the end


def run_sweep(
    file: str | Path,
    overrides: Mapping[str, Any],
    *,
    workers: int | None,
    report: bool,
    say: Callable[[str], None],
    engine: Engine = "local",
    options: Sequence[str] = (),
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
    else:
        train = (
            partial(train_in_processes, workers=workers, say=say)
            if engine == "local"
            else partial(train_as_jobs, engine=engine, overrides=overrides, most=workers, options=options)
        )
        swept = sweep(plan, train=train, say=say)
    for name, figure in sweep_figures(plan, swept.summary).items():
        for suffix in (".png", ".svg"):
            write_figure(figure, swept.folder / "figures" / f"{name}{suffix}")
    yield from _scores_in_words(swept.runs)
    yield f"{swept.folder}: runs.csv, summary.csv, figures/"
    if comparable(plan, swept):
        found = compare_runs(find_runs([swept.folder]), first=next(iter(plan.file.variants)))
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
    if "auc" not in runs:
        return
    for row in runs[runs["auc"].notna()].head(FIRST_LINES).to_dict("records"):
        late = row.get("auc_after_eclipse", math.nan)
        yield f"- {row['run']}: AUC {row['auc']:.3f}" + (
            f", after the eclipse {late:.3f}" if late == late else ""
        )


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
        f"{name}_{'_'.join(map(str, point))}".replace("/", "-"): draw(part, level=level, note=note)
        for point, part in summary.groupby(keys, sort=False)
    }
