"""The reference format of predictions: an archive of arrays and a file of lines that says what they are."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from hpiclock.config import DataConfig
from hpiclock.errors import InputError

NPZ = ("time_preds", "time_targets", "cls_preds", "cls_targets")
LABELS = {
    "infected": 1,
    "mock": 0,
    "uninfected": 0,
    "true": 1,
    "false": 0,
    "1": 1,
    "0": 0,
    "1.0": 1,
    "0.0": 0,
}


def read_npz(path: Path) -> pd.DataFrame:
    """Return the frames of ``test_predictions.npz`` joined to the ``test_metadata.jsonl`` beside it.

    The two are joined by row, so their lengths and their labels must agree.

    Raises:
        InputError: a missing file, array or key, or files that are not of one run.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as npz ({str(error).splitlines()[0]})") from None
    lacking = [name for name in NPZ if name not in arrays]
    if lacking:
        raise InputError(f"{path}: array {', '.join(lacking)} missing; it needs {', '.join(NPZ)}")
    metadata = path.parent / path.name.replace("predictions.npz", "metadata.jsonl")
    rows = _read_metadata(metadata if metadata.suffix == ".jsonl" else path.parent / "test_metadata.jsonl")
    sizes = {len(arrays[name]) for name in NPZ} | {len(rows)}
    if len(sizes) != 1:
        raise InputError(f"{path}: arrays and metadata have {sorted(sizes)} rows; they must match one to one")
    labels = pd.Series(arrays["cls_targets"]).astype(int)
    given = rows["label"].map(lambda v: LABELS.get(str(v).lower()))
    differ = np.flatnonzero(given.to_numpy() != labels.to_numpy())
    if len(differ):
        raise InputError(
            f"{path}: row {differ[0]} has label {labels.iloc[differ[0]]}, the metadata say "
            f"{rows['label'].iloc[differ[0]]}; the two files are not of one run"
        )
    names = [PurePosixPath(PureWindowsPath(p).as_posix()).stem for p in rows["path"].astype(str)]
    found = [re.search(DataConfig().name_pattern, name) for name in names]
    wells = [match.group("well").upper() if match else "" for match in found]
    return pd.DataFrame(
        {
            "stack_id": names,
            "path": rows["path"].astype(str),
            "well": wells,
            "position": rows["position"].astype(str),
            "condition": rows["condition"].replace({"uninfected": "mock"}),
            "frame": rows["frame_index"].astype(int),
            "hours": rows["hours_since_start"].astype(float),
            "label": labels,
            "p_infected": arrays["cls_preds"].astype(float),
            "time_pred": arrays["time_preds"].astype(float),
            "time_target": arrays["time_targets"].astype(float),
        }
    )


def _read_metadata(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file; the npz names no stacks and hours, this file does")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            raise InputError(f"{path}: line {number} is not JSON") from None
    table = pd.DataFrame(rows)
    needed = ("path", "condition", "position", "frame_index", "hours_since_start", "label")
    lacking = [name for name in needed if name not in table.columns]
    if lacking:
        raise InputError(f"{path}: key {', '.join(lacking)} missing in its lines")
    return table
