"""Training a run: plate -> cache -> model -> predictions -> every output file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from hpiclock.clock.batches import Batches
from hpiclock.clock.device import pick_device, pick_precision
from hpiclock.clock.loop import fit
from hpiclock.clock.model import build_model
from hpiclock.clock.scoring import predict, score
from hpiclock.config import Config
from hpiclock.errors import InputError
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.plate.dataset import Dataset, prepare
from hpiclock.report.outputs import write_outputs
from hpiclock.report.runs import Run
from hpiclock.study.design import separable
from hpiclock.tables import FRAMES, HISTORY, MANIFEST, PREDICTIONS

log = logging.getLogger(__name__)


def train(cfg: Config, run_dir: str | Path | None, *, say: Callable[[str], None] = print) -> Run:
    """Train and test an experiment and write all its files, without a notebook.

    A finished run is left as it is; one that was killed goes on where it stopped.

    Args:
        cfg: the experiment.
        run_dir: the run's folder; empty = the default one.
        say: takes each line of the log.

    Raises:
        InputError: bad input, or a folder that holds another run. Nothing is written before the input is
            checked.
    """
    dataset = prepare(cfg)
    _refuse_unlearnable(cfg, dataset.frames)
    cache = open_cache(dataset.manifest, cfg.data, cfg.image)
    run = Run.create(cfg, run_dir)
    if run.state == "done":
        say(f"{run.name} is done; its results are kept")
        return run
    _save_inputs(run, dataset, cache)

    def tell(line: str) -> None:
        say(line)
        log.info(line)

    with run.logged():
        _learn(run, dataset, cache, tell)
        write_outputs(run)
    return run


def _learn(run: Run, dataset: Dataset, cache: FrameCache, say: Callable[[str], None]) -> None:
    cfg, frames = run.cfg, dataset.frames
    device = pick_device(cfg.train)
    model = build_model(cfg.model).to(device)
    labelled = frames["label"].notna()

    def batches(rows: pd.DataFrame) -> Batches:
        return Batches(cache, rows, batch_size=cfg.train.batch_size, device=device)

    parts = {
        split: batches(frames[labelled & frames["split"].eq(split)]) for split in ("train", "val", "test")
    }
    counts = ", ".join(f"{len(part.frames)} {split}" for split, part in parts.items())
    say(f"{run.name}: {counts} frames; {cfg.model.backbone} on {device.type}")
    fitted = fit(cfg, model, parts["train"], parts["val"], run.path("checkpoints"), say=say)
    precision = pick_precision(cfg.train, model, device)
    tested = score(cfg, model, fitted.objective, parts["test"], precision)
    rows = [
        {"epoch": fitted.best_epoch, "split": "test", "metric": name, "value": value}
        for name, value in tested.items()
    ]
    run.save_table("history.csv", HISTORY, pd.concat([fitted.history, pd.DataFrame(rows)], ignore_index=True))
    asked = frames[frames["split"].ne("train")]
    said = predict(model, batches(asked), precision)
    predictions = pd.concat([asked, said], axis=1).assign(run=run.name, seed=cfg.seed)
    run.save_table("predictions.parquet", PREDICTIONS, predictions)
    run.record(device=str(device.type), precision=str(precision).removeprefix("torch."))


def _save_inputs(run: Run, dataset: Dataset, cache: FrameCache) -> None:
    run.save_table("manifest.csv", MANIFEST, dataset.manifest)
    run.save_table("frames.parquet", FRAMES, dataset.frames)
    run.save_text("split.json", dataset.split.dumps())
    run.save_json("notes.json", [*dataset.notes, *separable(dataset.frames)])
    run.record(cache=cache.key, split_sha256=dataset.split.sha256)


def _refuse_unlearnable(cfg: Config, frames: pd.DataFrame) -> None:
    labelled = frames[frames["label"].notna()]
    for split, rows in labelled.groupby("split"):
        if "class" in cfg.model.tasks and rows["label"].nunique() < 2:
            raise InputError(
                f"{split}: all labelled frames are of one class; widen frames.{split} or the split"
            )
    for split in ("train", "val", "test"):
        if not labelled["split"].eq(split).any():
            raise InputError(f"{split}: no labelled frame is left; widen frames.{split} or the split")
