"""What a run keeps of its study: tables, and maps of where its model looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from hpiclock.analysis.curves import representative_frames
from hpiclock.analysis.saliency_maps import shrink_maps
from hpiclock.errors import InputError
from hpiclock.files import atomic
from hpiclock.runs.run import Run
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
        with atomic(path) as partial:
            table.to_parquet(partial, index=False) if name == LARGE else table.to_csv(partial, index=False)


def read_study_tables(folder: Path) -> Tables:
    """Read the tables that :func:`write_tables` wrote.

    Raises:
        InputError: none there.
    """
    paths = sorted((folder / FOLDER).glob("[!.]*"))
    if not paths:
        raise InputError(f"{folder / FOLDER}: no study tables; hpiclock train or study makes them")
    tables = {path.stem: read_any(path) for path in paths}
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


def first_threshold_rule(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of the first threshold rule: a figure shows one."""
    return curves[curves["rule"].eq(curves["rule"].iloc[0])] if len(curves) else curves


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
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); remove its folder"
        ) from None
