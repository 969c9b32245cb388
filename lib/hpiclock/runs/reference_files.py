"""The output files of the reference system by name and shape, from this project's tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from hpiclock.analysis.detection import Threshold
from hpiclock.config.load import dump_config
from hpiclock.config.schema import Config
from hpiclock.files import atomic
from hpiclock.runs.run import Run, plain

# its name -> (group, metric) of the METRICS table
TEST_METRICS = {
    "cls_accuracy": ("all", "accuracy"),
    "cls_precision": ("all", "precision"),
    "cls_recall": ("all", "recall"),
    "cls_f1": ("all", "f1"),
    "cls_auc": ("all", "auc"),
    "reg_mae": ("all", "mae"),
    "reg_rmse": ("all", "rmse"),
    "reg_mse": ("all", "mse"),
}
LOSSES = {"total_loss": "loss", "cls_loss": "class_loss", "reg_loss": "time_loss"}
WINDOW_METRICS = ("auc", "accuracy", "f1", "precision", "recall")


def write_reference_files(
    run: Run, predictions: pd.DataFrame, metrics: pd.DataFrame, history: pd.DataFrame, threshold: Threshold
) -> None:
    """Write ``test_predictions.npz``, ``test_metadata.jsonl``, ``temporal_metrics.json``, ``results.json``.

    ``results.json`` comes last: a run is done when it is there.
    """
    test = predictions[predictions["split"].eq("test") & predictions["label"].notna()]
    with atomic(run.path("test_predictions.npz")) as partial:
        np.savez(
            partial,
            time_preds=test["time_pred"].to_numpy(),
            time_targets=test["time_target"].to_numpy(),
            cls_preds=test["p_infected"].to_numpy(),
            cls_targets=test["label"].to_numpy(np.int64),
        )
    lines = [_metadata(row, run.folder) for row in test.to_dict("records")]
    run.save_text("test_metadata.jsonl", "".join(lines))
    run.save_json("temporal_metrics.json", temporal_metrics(run.cfg, metrics))
    run.save_json("results.json", results(run, metrics, history, threshold))


def temporal_metrics(cfg: Config, metrics: pd.DataFrame) -> dict[str, Any]:
    """Return the windowed test metrics, one entry per window.

    An undefined value is NaN (null in the file), never left out; ``why_undefined`` has its reason at the
    same place, and null where there is a value.
    """
    rows = metrics[metrics["split"].eq("test") & metrics["group"].eq("all") & metrics["start_h"].notna()]
    edges = rows[["start_h", "end_h"]].drop_duplicates().sort_values("start_h")
    by_window = rows.set_index(["metric", "start_h"])[["value", "note"]]

    def column(metric: str) -> pd.DataFrame:
        places = pd.MultiIndex.from_product([[metric], edges["start_h"]])
        return by_window.reindex(places)

    tables = {name: column(name) for name in WINDOW_METRICS}
    return {
        "window_size_hours": cfg.windows.width_h,
        "stride_hours": cfg.windows.stride_h,
        "window_centers": edges.mean(axis=1).tolist(),
        "metrics_by_window": {name: table["value"].tolist() for name, table in tables.items()},
        "why_undefined": {
            name: table["note"].where(table["value"].isna(), None).tolist() for name, table in tables.items()
        },
    }


def results(run: Run, metrics: pd.DataFrame, history: pd.DataFrame, threshold: Threshold) -> dict[str, Any]:
    """Return ``results.json``: the reference's keys; beside them threshold, intervals, reasons and notes."""
    whole = metrics[metrics["split"].eq("test") & metrics["start_h"].isna()].set_index(["group", "metric"])
    tested = history[history["split"].eq("test")].set_index("metric")
    values = {name: tested["value"].get(key, np.nan) for name, key in LOSSES.items()}
    values |= {name: whole["value"].get(key, np.nan) for name, key in TEST_METRICS.items()}
    low, high = run.cfg.targets.range_h
    values["combined"] = 0.6 * values["cls_f1"] + 0.4 * (1 - values["reg_mae"] / (high - low))
    notes = {name: whole["note"].get(key, "") for name, key in TEST_METRICS.items()}
    notes |= dict.fromkeys(LOSSES, "this run does not learn it")
    notes["combined"] = "needs F1 and the time MAE"
    chosen = history[history["split"].eq("val") & history["metric"].eq(run.cfg.train.best)]
    return {
        "experiment_name": run.cfg.experiment,
        "run_id": run.folder.name,
        "config": yaml.safe_load(dump_config(run.cfg, run.folder)),
        "best_val_metric": chosen.set_index("epoch")["value"].get(tested["epoch"].iloc[0]),
        "test_metrics": values,
        "test_intervals": {
            name: [whole[end].get(key, np.nan) for end in ("low", "high")]
            for name, key in TEST_METRICS.items()
        },
        "why_undefined": {name: notes[name] for name, value in values.items() if np.isnan(value)},
        "threshold": threshold._asdict(),
        "notes": run.notes,
    }


def _metadata(row: dict[str, Any], folder: Path) -> str:
    named = {
        "path": Path(os.path.relpath(row["path"], folder)).as_posix(),
        "condition": row["condition"],
        "position": row["position"],
        "frame_index": row["frame"],
        "hours_since_start": row["hours"],
        "label": int(row["label"]),
    }
    return json.dumps(plain(named)) + "\n"
