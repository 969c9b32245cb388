"""What a run keeps of its study: tables, maps of where its model looks, the reference system's files."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from hpiclock.analysis.curves import representative_frames
from hpiclock.analysis.detection import Threshold
from hpiclock.analysis.saliency_maps import shrink_maps
from hpiclock.analysis.sentences import WORTHLESS
from hpiclock.config.load import dump_config
from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.files import NPZ_FAULTS, atomic, write_csv
from hpiclock.runs.run import Kept, Run, plain
from hpiclock.tables import METRICS, PREDICTIONS, read_any, write

Tables = dict[str, pd.DataFrame]
FOLDER = "tables"  # in a run's or study's folder: one CSV per table
LARGE = "time_intervals"  # a row per test frame: Parquet


def write_tables(tables: Tables, folder: Path) -> None:
    """Write ``metrics.csv`` (over all hours, and per window of hours) and each table under ``tables/``."""
    both = pd.concat([tables["metrics"], tables["windows_hours"]], ignore_index=True)
    write(METRICS, both, folder / "metrics.csv")
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        path = folder / FOLDER / (f"{name}.parquet" if name == LARGE else f"{name}.csv")
        table = table.drop(columns="path", errors="ignore")  # stack_id says which; see with_paths
        if name != LARGE:
            write_csv(table, path)
            continue
        with atomic(path) as partial:
            table.to_parquet(partial, index=False)


# columns without which no run can be shown or used
NEEDED = {
    "threshold": "value note",
    "temperature": "temperature",
    "detection_thresholds": "rule threshold",
    "conclusions": "topic sentence",
}


def read_study_tables(folder: Path) -> Tables:
    """Read the tables that :func:`write_tables` wrote.

    Raises:
        InputError: none there, one that is no table, or, when it is asked for, one that is gone.
    """
    paths = sorted((folder / FOLDER).glob("[!.]*"))
    if not paths:
        raise InputError(f"{folder / FOLDER}: no study tables; hpiclock train or study makes them")
    tables = Kept(folder / FOLDER, {path.stem: read_any(path, NEEDED.get(path.stem, "")) for path in paths})
    for table in tables.values():
        words = table.select_dtypes(object).columns
        table[words] = table[words].fillna("")  # an empty note is no missing number
    return tables


def of_split(tables: Mapping[str, pd.DataFrame], name: str, split: str = "test") -> pd.DataFrame:
    """Return the rows of one split of a table."""
    return tables[name][tables[name]["split"].eq(split)]


def with_paths(rows: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return rows of a study table with the ``path`` of each row's stack."""
    return rows.assign(path=rows["stack_id"].map(predictions.groupby("stack_id")["path"].first()))


def of_bounded_rules(table: pd.DataFrame, thresholds: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of threshold rules whose false alarms the controls bound, and of the decision rule.

    Args:
        table: with a column ``rule``: detection or its curves.
        thresholds: the table ``detection_thresholds`` of the same run.
    """
    return table[~table["rule"].isin(thresholds.loc[thresholds["bound"].gt(WORTHLESS), "rule"])]


def first_threshold_rule(curves: pd.DataFrame, thresholds: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of the first rule of :func:`of_bounded_rules`: a figure shows one."""
    bounded = of_bounded_rules(curves, thresholds)
    return bounded[bounded["rule"].eq(bounded["rule"].iloc[0])] if len(bounded) else bounded


EXPLANATIONS = "explanations"
GRADCAM = "Grad-CAM"
PER_CONDITION = 8  # frames of each condition that are looked into
MOST_SIDE = 64  # px of a kept map
CHECKS = ["check", "head", "method", "depth", "value", "low", "high", "chance", "n", "n_wells", "note"]
Maps = dict[tuple[str, str], np.ndarray]  # (head, method) -> (n, side, side)


@dataclass
class KeptExplanations:
    """Maps of some test frames and what checks them; empty where a run keeps none.

    frames: PREDICTIONS rows, infected first, by time; maps: (head, method) -> (n, side, side), positive
    speaks for infected or for more hours; checks, deletion: see :func:`explained`.
    """

    frames: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["path", "frame"]))
    maps: Maps = field(default_factory=dict)
    checks: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=CHECKS))
    deletion: pd.DataFrame = field(default_factory=pd.DataFrame)

    def of(self, method: str, *, cells: int = MOST_SIDE) -> dict[str, np.ndarray]:
        """Return the maps of one method by head, in at most so many cells a side; empty without."""
        return {head: shrink_maps(maps, cells) for (head, by), maps in self.maps.items() if by == method}


@dataclass(frozen=True)
class KeptMaps:
    """Grad-CAM maps by head, (n, cells, cells), and the place of each frame, (stack_id, frame), in them."""

    places: dict[tuple[str, int], int]
    by_head: dict[str, np.ndarray]

    def __call__(self, rows: pd.DataFrame, head: str) -> np.ndarray:
        """Return the maps of some frames, (rows, cells, cells): NaN without one, or without this head."""
        cells = next(iter(self.by_head.values())).shape[1:]
        found = np.full((len(rows), *cells), np.nan, np.float32)
        for number, key in enumerate(zip(rows["stack_id"], rows["frame"], strict=True)):
            if head in self.by_head and key in self.places:
                found[number] = self.by_head[head][self.places[key]]
        return found


def read_heat_maps(run: Run) -> KeptMaps | None:
    """Return the Grad-CAM maps that a run keeps; None where it keeps none.

    Raises:
        InputError: the file is damaged.
    """
    path = run.path(EXPLANATIONS, "gradcam.npz")
    if not path.is_file():
        return None
    kept = load_arrays(path)
    keys = zip(kept.pop("stack_id").tolist(), kept.pop("frame").tolist(), strict=True)
    return KeptMaps({key: place for place, key in enumerate(keys)}, kept)


def read_gradcam(run: Run) -> KeptExplanations:
    """Return the kept Grad-CAM maps of test frames of both conditions from early to late; empty without."""
    heat_maps = read_heat_maps(run)
    if heat_maps is None:
        return KeptExplanations()
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    frames = chosen_frames(predictions[predictions["split"].eq("test")])
    maps = {(head, GRADCAM): heat_maps(frames, head) for head in heat_maps.by_head}
    return KeptExplanations(frames, maps)


def chosen_frames(test: pd.DataFrame) -> pd.DataFrame:
    """Return the test frames that are looked into, both conditions from early to late."""
    return representative_frames(test, per_condition=PER_CONDITION)


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays by name as a compressed ``.npz``."""
    with atomic(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz``.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except NPZ_FAULTS as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read ({why}); remove its folder") from None


# fmt: off
TEST_METRICS = {  # its name -> that of METRICS, over all frames
    "cls_accuracy": "accuracy", "cls_precision": "precision", "cls_recall": "recall", "cls_f1": "f1",
    "cls_auc": "auc", "cls_auc_stratified": "auc_stratified",
    "reg_mae": "mae", "reg_rmse": "rmse", "reg_mse": "mse",
}
# fmt: on
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
    lines = (_metadata(row, run.folder) for row in test.to_dict("records"))
    run.save_text("test_metadata.jsonl", "".join(lines))
    run.save_json("temporal_metrics.json", temporal_metrics(run.cfg, metrics))
    run.save_json("results.json", results(run, metrics, history, threshold))


def temporal_metrics(cfg: Config, metrics: pd.DataFrame) -> dict[str, Any]:
    """Return the windowed test metrics, one entry per window.

    An undefined value is NaN (null in the file), never left out; ``why_undefined`` has its reason at the
    same place, and null where there is a value.
    """
    rows = _over_all_frames(metrics)
    rows = rows[rows["start_h"].notna()]
    edges = rows[["start_h", "end_h"]].drop_duplicates().sort_values("start_h")
    by_window = rows.set_index(["metric", "start_h"])
    tables = {name: by_window.reindex([(name, at) for at in edges["start_h"]]) for name in WINDOW_METRICS}
    return {
        "window_size_hours": cfg.windows.width_h,
        "stride_hours": cfg.windows.stride_h,
        "window_centers": edges.mean(axis=1).tolist(),
        "metrics_by_window": {name: table["value"].tolist() for name, table in tables.items()},
        "why_undefined": {
            name: table["note"].where(table["value"].isna(), None).tolist() for name, table in tables.items()
        },
    }


def _over_all_frames(metrics: pd.DataFrame) -> pd.DataFrame:
    return metrics[metrics["split"].eq("test") & metrics["group"].eq("all")]


def results(run: Run, metrics: pd.DataFrame, history: pd.DataFrame, threshold: Threshold) -> dict[str, Any]:
    """Return ``results.json``: the reference's keys; beside them threshold, intervals, reasons and notes."""
    rows = _over_all_frames(metrics)
    whole = rows[rows["start_h"].isna()].set_index("metric")
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
