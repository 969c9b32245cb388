"""Training a run: plate -> cache -> model -> predictions -> every output file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from hpiclock import figures
from hpiclock.analysis.detection import Threshold
from hpiclock.analysis.sentences import design_sentences
from hpiclock.config.schema import Config
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.plate.frames import Dataset, prepare_frames
from hpiclock.progress import OFF
from hpiclock.report.text import summary_text
from hpiclock.runs.reference_files import write_reference_files
from hpiclock.runs.run import CONFIG, DESIGN, Run, default_folder
from hpiclock.runs.tables import Tables, of_split, write_tables
from hpiclock.tables import FRAMES, HISTORY, MANIFEST, METRICS, PREDICTIONS
from hpiclock.training.distributed import ProcessGroup, process_group
from hpiclock.training.experiment import (
    LoadedModel,
    check_trainable,
    prepare_model,
    task_notes,
    train_and_predict,
)
from hpiclock.workflows.check import design_audit
from hpiclock.workflows.explain import keep_gradcam
from hpiclock.workflows.study import study_tables
from hpiclock.workflows.training_reference import keep_reference

log = logging.getLogger(__name__)


def write_outputs(run: Run) -> None:
    """Write the study's tables, the figures and the reference's files from predictions and history."""
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    history = run.read_table("history.csv", HISTORY)
    tables = study_tables(predictions, run.cfg)
    write_tables(tables, run.folder)
    _figures(run, tables, predictions, history)
    threshold = Threshold(**tables["threshold"].iloc[0].to_dict())
    said = f"P(infected) >= {threshold.value:.3f} ({threshold.note})"
    run.save_text("training_summary.txt", summary_text(run.name, run.notes, said, tables["metrics"]))
    metrics = run.read_table("metrics.csv", METRICS)
    write_reference_files(run, predictions, metrics, history, threshold)


def best_epoch(history: pd.DataFrame) -> int:
    """Return the epoch that was tested."""
    return int(history.loc[history["split"].eq("test"), "epoch"].iloc[0])


def _figures(run: Run, tables: Tables, predictions: pd.DataFrame, history: pd.DataFrame) -> None:
    best = best_epoch(history)
    test = predictions[predictions["split"].eq("test")]
    run.save_figure(figures.learning_curves_figure(history, best_epoch=best), "training_curves.png")
    run.save_figure(figures.validation_metrics_figure(history, best_epoch=best), "validation_metrics.png")
    scatter = figures.prediction_scatter_figure(test, of_split(tables, "time_lines"))
    run.save_figure(scatter, "prediction_scatter_regression.png")
    windows = of_split(tables, "windows_hours")
    over_time = figures.temporal_generalization_figure(windows, level=run.cfg.study.level)
    run.save_figure(over_time, "temporal_generalization.png")


def train(cfg: Config, run_dir: str | Path | None, *, say: Callable[[str], None] = print) -> Run:
    """Train and test an experiment and write all its files, without a notebook.

    A finished run is left as it is; one that was killed goes on where it stopped. Under ``torchrun`` its
    processes train one model together; the first writes and speaks.

    Args:
        cfg: the experiment.
        run_dir: the run's folder; empty = the default one.
        say: takes each line of the log.

    Raises:
        InputError: bad input, or a folder that holds another run. Nothing is written before the input is
            checked.
        RunFailed: training went astray.
    """
    with process_group(cfg.train) as world:
        return _train(cfg, run_dir, world, say)


def _train(cfg: Config, run_dir: str | Path | None, world: ProcessGroup, say: Callable[[str], None]) -> Run:
    if not world.first:
        os.environ[OFF] = "off"
        say = _silent
    begun = _begun(cfg, run_dir, world)
    if begun is not None and begun.state == "done":
        say(f"{begun.name} is done; its results are kept")
        return begun
    dataset = prepare_frames(cfg)
    check_trainable(cfg, dataset.frames)
    machine = prepare_model(cfg, pretrained=begun is None or begun.state == "new", world=world)
    with world.first_goes_first():  # frames are converted once, a folder is made once
        cache = open_cache(dataset.manifest, cfg.data, cfg.image)
        run = begun or _begin(cfg, run_dir, world)
    if not world.first:
        train_and_predict(run.cfg, machine, cache, dataset.frames, run.path("checkpoints"), say=say)
        return run
    _save_inputs(run, dataset, cache)

    def tell(line: str) -> None:
        say(line)
        log.info(line)

    with run.logged():
        tell(f"Run {run.name}")
        _learn(run, machine, dataset, cache, tell)
        write_outputs(run)
    return run


def _begin(cfg: Config, run_dir: str | Path | None, world: ProcessGroup) -> Run:
    return Run.create(cfg, run_dir) if world.first else Run.open(run_dir or default_folder(cfg))


def _silent(_: str) -> None:
    """Say nothing: the first process speaks for all."""


def _begun(cfg: Config, run_dir: str | Path | None, world: ProcessGroup) -> Run | None:
    folder = Path(run_dir or default_folder(cfg))
    return _begin(cfg, run_dir, world) if (folder / CONFIG).is_file() else None


def _learn(
    run: Run, machine: LoadedModel, dataset: Dataset, cache: FrameCache, say: Callable[[str], None]
) -> None:
    learnt = train_and_predict(run.cfg, machine, cache, dataset.frames, run.path("checkpoints"), say=say)
    run.save_table("history.csv", HISTORY, learnt.history)
    predictions = learnt.predictions.assign(run=run.name, seed=run.cfg.seed)
    run.save_table("predictions.parquet", PREDICTIONS, predictions)
    keep_reference(run, machine, cache, dataset.frames)
    keep_gradcam(run, machine, cache, predictions)
    run.record(**machine.facts())


def _save_inputs(run: Run, dataset: Dataset, cache: FrameCache) -> None:
    run.save_table("manifest.csv", MANIFEST, dataset.manifest)
    run.save_table("frames.parquet", FRAMES, dataset.frames)
    run.save_text("split.json", dataset.split.dumps())
    notes = [*dataset.notes, *design_sentences(dataset.frames), *task_notes(run.cfg, dataset.frames)]
    run.save_json("notes.json", notes)
    run.save_text(DESIGN, design_audit(dataset.manifest).verdict.to_csv(index=False))
    run.record(cache=cache.key, split_sha256=dataset.split.sha256)
