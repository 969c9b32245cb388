"""Training a run: plate -> frames -> model and losses -> fit -> predictions -> every output file.

Notebook 02 makes the same calls, one a cell; :func:`train` makes them in a row.
"""

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpiclock import figures
from hpiclock.analysis.detection import Threshold
from hpiclock.analysis.sentences import design_sentences
from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.files import write_csv
from hpiclock.format import count_text
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.plate.frames import (
    Plate,
    clamped_targets,
    leave_out_empty,
    open_plate,
    split_frames,
    without_empty,
)
from hpiclock.progress import OFF
from hpiclock.report.text import summary_text
from hpiclock.runs.results import Tables, of_split, write_reference_files, write_tables
from hpiclock.runs.run import DESIGN, NOTES, Run, Say, sha256, write_figures
from hpiclock.tables import FRAMES, HISTORY, MANIFEST, METRICS, PREDICTIONS, check
from hpiclock.targets import add_targets
from hpiclock.training import evaluate, loop
from hpiclock.training.batches import Batches
from hpiclock.training.by_hand import changed_by_hand
from hpiclock.training.checkpoint import read_checkpoint
from hpiclock.training.device import device_facts, place_model
from hpiclock.training.distributed import SINGLE, ProcessGroup, process_group
from hpiclock.training.losses import TIMED, WORDS, Losses, check_trainable, task_notes, trainable_frames
from hpiclock.training.model import TwoHeads, build_model
from hpiclock.workflows.audit import design_audit
from hpiclock.workflows.explain import keep_gradcam
from hpiclock.workflows.identity import check_identity, training_cache
from hpiclock.workflows.predict import BEST, keep_reference, kept_weights
from hpiclock.workflows.study import study_tables


def train(cfg: Config, run_dir: str | Path | None, *, say: Say = print) -> Run:
    """Train and test an experiment and write all its files, without a notebook.

    A finished run is left as it is; one that was killed goes on where it stopped. Under ``torchrun`` its
    processes train one model together; the main one writes and prints.

    Args:
        cfg: the experiment.
        run_dir: the run's folder; empty = the default one.
        say: takes each line of the log.

    Raises:
        InputError: bad input, or a folder that holds another run. Nothing is written before the input is
            checked.
        RunFailed: training went astray.
    """
    with process_group(cfg.train) as group:
        if not group.is_main:
            os.environ[OFF] = "off"
        say = say if group.is_main else (lambda _: None)  # the main process prints for all
        run = Run.start(cfg, run_dir)
        if run.state == "done":
            check_identity(run, say=say)
            say(f"{run.name} is done; its results are kept")
            return run
        plate = open_plate(cfg)
        frames = split_frames(add_targets(plate.frames, cfg.targets), plate.split, cfg)
        check_trainable(cfg, frames)
        model = build_model(
            cfg.model,
            n_frames=len(cfg.image.context_h),
            seed=cfg.seed,
            size=cfg.image.size,
            pretrained=run.state == "new",
        )
        losses = Losses(cfg.objective, cfg.model)
        fit(model, losses, frames, plate, run, group=group, say=say)
        predictions = predict(model, frames, run, group=group)
        if group.is_main:
            save_results(run, model, predictions)
        return run


def fit(
    model: TwoHeads,
    losses: Losses,
    frames: pd.DataFrame,
    plate: Plate,
    run: Run,
    *,
    group: ProcessGroup = SINGLE,
    say: Say = print,
) -> pd.DataFrame:
    """Train a run's model, or go on training; test its best epoch once; return the HISTORY.

    The run's folder gets the inputs, the checkpoints and ``history.csv``. A model, losses or frames that the
    config does not make are trained as they are, and the folder tells that they were changed by hand
    (``provenance.json``, ``notes.json``). A finished run is not trained again: its history is returned, and
    a model that the config makes gets the weights of its best epoch.

    Args:
        model: from :func:`hpiclock.training.model.build_model`, or one like it.
        losses: what is minimised.
        frames: FRAMES with targets and splits.
        plate: the plate that they are of.
        run: from :meth:`hpiclock.runs.run.Run.start`.
        group: the processes that train it together.
        say: takes each line of the log.

    Raises:
        InputError: frames that cannot be trained on, a device that is not to be had, or a run that was begun
            with another model, other losses or other frames.
        RunFailed: training went astray.
    """
    cfg = run.cfg
    check_trainable(cfg, frames)
    changed = changed_by_hand(cfg, model, losses, frames, plate, weights=run.state == "new")
    _refuse_another(run, changed)
    check_identity(run, plate, say=say)
    if run.state == "done":
        say(f"{run.name} is done; its results are kept")
        same = changed.get("the model") == run.by_hand.get("the model")
        if same and run.path(*BEST).is_file():
            read_checkpoint(kept_weights(run), {"model": model}, model.device)
        return run.read_table("history.csv", HISTORY)
    place_model(model, cfg.train)
    with group.main_process_first():  # frames are converted once, a folder is made once
        cache = open_cache(plate.manifest, cfg.data, cfg.image)
        plate = leave_out_empty(plate._replace(frames=frames), cache, cfg)
        frames = plate.frames
        check_trainable(cfg, frames)
        if group.is_main:
            Run.create(cfg, run.folder)
            _save_inputs(run, plate, frames, cache, changed)

    def batches(split: str) -> Batches:
        rows = frames[trainable_frames(frames, cfg.model) & frames["split"].eq(split)]
        return Batches(cache, rows, batch_size=cfg.train.batch_size, device=model.device, group=group)

    with run.logged(say) if group.is_main else nullcontext(say) as tell:
        tell(f"Run {run.name}")
        sides = {split: batches(split) for split in ("train", "val", "test")}
        for split, side in sides.items():
            if len(side.rows) < group.size:
                raise InputError(f"{split}: {len(side.rows)} frames for {group.size} processes; start fewer")
        facts = device_facts(model, group.size)
        n_test = int(frames["split"].eq("test").sum())
        counts = f"{len(sides['train'].rows)} train, {len(sides['val'].rows)} val, {n_test} test frames"
        tell(f"{counts}; {cfg.model.backbone} on {_hardware(facts, model)}, {facts['precision']}")
        whole, began = run.state == "new", time.monotonic()  # of a run that goes on the time is not known
        fitted = loop.fit(model, losses, sides["train"], sides["val"], cfg, run.path("checkpoints"), say=tell)
        took = {"train_s": round(time.monotonic() - began, 1)} if whole else {}
        test = sides["test"]
        output = evaluate.predict(model, test, desc="testing")
    tested = evaluate.evaluate(
        model, losses, output, test.label, test.time_target_h, range_h=cfg.targets.range_h
    )
    rows = [{"epoch": fitted.best_epoch, "split": "test", "metric": k, "value": v} for k, v in tested.items()]
    history = pd.concat([fitted.history, pd.DataFrame(rows)], ignore_index=True)
    if group.is_main:
        run.save_table("history.csv", HISTORY, history)
        n_parameters = sum(part.numel() for part in model.parameters())
        # the number of threads is chosen on the way
        weights = {"parameters": n_parameters, "best_sha256": sha256(run.path(*BEST))}
        run.record(**device_facts(model, group.size), **weights, **took)
    return history


def predict(model: TwoHeads, frames: pd.DataFrame, run: Run, *, group: ProcessGroup = SINGLE) -> pd.DataFrame:
    """Return PREDICTIONS of every frame with a picture, once; of a finished run those that it kept.

    Frames of the training wells are predicted, too: baselines are fitted on them, and never on test frames.
    A time that was never trained (``model.time_on``) is missing.

    Args:
        model: the trained model.
        frames: FRAMES with targets and splits.
        run: the run that :func:`fit` began.
        group: the processes that share the frames.
    """
    if run.state == "done":
        return run.read_table("predictions.parquet", PREDICTIONS)
    frames = without_empty(frames, run.read_table("manifest.csv", MANIFEST), run.cfg).reset_index(drop=True)
    batch_size = run.cfg.train.batch_size
    batches = Batches(training_cache(run), frames, batch_size=batch_size, device=model.device, group=group)
    predicted = evaluate.output_table(model, evaluate.predict(model, batches, desc="predicting"))
    untrained = [label for label in WORDS if label not in TIMED[run.cfg.model.time_on]]
    predicted.loc[frames["label"].isin(untrained), "time_pred"] = np.nan
    rows = pd.concat([frames, predicted], axis=1).assign(run=run.name, seed=run.cfg.seed)
    return check(PREDICTIONS, rows)


def save_results(run: Run, model: TwoHeads, predictions: pd.DataFrame) -> None:
    """Write the predictions and all that follows from them; a finished run is left as it is.

    That is the tables of the study, figures, the reference's files, Grad-CAM of some test frames, and the
    statistics of the training frames with which new plates are compared.
    """
    if run.state == "done":
        return
    with run.logged():
        run.save_table("predictions.parquet", PREDICTIONS, predictions)
        cache = training_cache(run)
        keep_reference(run, model, cache, run.read_table("frames.parquet", FRAMES))
        keep_gradcam(run, model, cache, predictions)
        write_outputs(run)
        run.seal()


def write_outputs(run: Run) -> None:
    """Write the study's tables, the figures and the reference's files from predictions and history."""
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    history = run.read_table("history.csv", HISTORY)
    tables = study_tables(predictions, run.cfg)
    write_tables(tables, run.folder)
    _figures(run, tables, predictions, history)
    threshold = Threshold(**tables["threshold"].iloc[0].to_dict())
    rule = f"P(infected) >= {threshold.value:.3f} ({threshold.note})"
    run.save_text("training_summary.txt", summary_text(run.name, run.notes, rule, tables["metrics"]))
    metrics = run.read_table("metrics.csv", METRICS)
    write_reference_files(run, predictions, metrics, history, threshold)


def best_epoch(history: pd.DataFrame) -> int:
    """Return the epoch that was tested."""
    return int(history.loc[history["split"].eq("test"), "epoch"].iloc[0])


def _figures(run: Run, tables: Tables, predictions: pd.DataFrame, history: pd.DataFrame) -> None:
    best, level = best_epoch(history), run.cfg.study.level
    test = predictions[predictions["split"].eq("test")]
    lines, windows = (of_split(tables, name) for name in ("time_lines", "windows_hours"))
    drawn = {
        "training_curves": figures.learning_curves_figure(history, best_epoch=best),
        "validation_metrics": figures.validation_metrics_figure(history, best_epoch=best),
        "prediction_scatter_regression": figures.prediction_scatter_figure(test, lines),
        "temporal_generalization": figures.temporal_generalization_figure(windows, level=level),
    }
    write_figures(drawn, run.folder, (".png",))


def _hardware(facts: dict[str, Any], model: TwoHeads) -> str:
    on = model.device.type if model.device.type != "cpu" else count_text(facts["threads"], "CPU thread")
    return f"{facts['processes']} processes, each on {on}" if "processes" in facts else on


def _refuse_another(run: Run, changed: dict[str, str]) -> None:
    """Refuse to go on with, or to show as its results, a run of other parts than those at hand."""
    # training has changed the first weights since
    begun = {part: digest for part, digest in run.by_hand.items() if part != "the weights"}
    if run.state == "new" or changed == begun or (run.state == "done" and not changed):
        return
    parts = " and ".join(sorted(part for part in {*changed, *begun} if changed.get(part) != begun.get(part)))
    raise InputError(
        f"{run.folder}: was begun with other parts than these: {parts} changed by hand since; give another "
        "run folder (run_dir), or remove this one"
    )


def _save_inputs(
    run: Run, plate: Plate, frames: pd.DataFrame, cache: FrameCache, changed: dict[str, str]
) -> None:
    run.save_table("manifest.csv", MANIFEST, plate.manifest)
    run.save_table("frames.parquet", FRAMES, frames)
    run.save_text("split.json", plate.split.dumps())
    facts = {"cache": cache.key, "pixels_sha256": cache.sha256, "split_sha256": plate.split.sha256}
    before, notes = run.by_hand, []
    hand = changed if run.state == "new" else before | changed  # what was begun and never kept does not count
    if hand:
        notes.append(f"Changed by hand: {' and '.join(hand)}. The config alone does not give this run.")
    if "the model" in hand:
        notes.append(
            "Its network is not that of the config: audit, maps, new plates and export cannot rebuild it."
        )
    notes += [*plate.notes, *clamped_targets(frames, run.cfg), *design_sentences(frames)]
    run.save_json(NOTES, [*notes, *task_notes(run.cfg, frames)])
    write_csv(design_audit(plate.manifest, frames).verdict, run.path(DESIGN))
    run.record(**facts | ({"by_hand": hand} if hand or before else {}))
