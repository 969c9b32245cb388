"""Predictions from elsewhere: read any file, derive what follows, and say what is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.tables import CLOCKS, PREDICTIONS, check, read_any
from hpiclock.targets import hpi

NPZ = ("time_preds", "time_targets", "cls_preds", "cls_targets")
INFECTED, MOCK = ("infected", "true", "1", "1.0"), ("mock", "uninfected", "false", "0", "0.0")
LABELS = dict.fromkeys(INFECTED, 1) | dict.fromkeys(MOCK, 0)


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
    path, position = rows["path"].astype(str), rows["position"].astype(str)
    table = pd.DataFrame({"stack_id": names, "path": path, "well": wells, "position": position})
    table["condition"] = rows["condition"].replace({"uninfected": "mock"})
    table["frame"] = rows["frame_index"].astype(int)
    table["hours"] = rows["hours_since_start"].astype(float)
    table["label"] = labels
    columns = {"p_infected": "cls_preds", "time_pred": "time_preds", "time_target": "time_targets"}
    return table.assign(**{name: arrays[array].astype(float) for name, array in columns.items()})


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


REQUIRED = ("stack_id", "hours", "label", "p_infected")


def read_predictions(path: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """Read predictions from CSV, Parquet, or a ``test_predictions.npz`` with its ``test_metadata.jsonl``.

    Returns:
        The PREDICTIONS table and notes on what was derived or is missing.

    Raises:
        InputError: no such file, not such a file, or rows that fail the check.
    """
    path = Path(path)
    rows = read_npz(path) if path.suffix == ".npz" else read_any(path)
    return complete_predictions(rows, place=str(path))


def complete_predictions(
    predictions_like: pd.DataFrame, *, place: str = "predictions"
) -> tuple[pd.DataFrame, list[str]]:
    """Return a PREDICTIONS table from any that has ``stack_id hours label p_infected``, and notes.

    Labels may be 0 and 1, true and false, or infected and mock; other columns of the contract are derived
    where they follow from what is there, and every other column is kept.

    Raises:
        InputError: a required column is missing, a label is of another kind, or the check fails.
    """
    missing = [name for name in REQUIRED if name not in predictions_like.columns]
    if missing:
        raise InputError(
            f"{place}: column {', '.join(missing)} missing; a predictions file needs {', '.join(REQUIRED)}"
        )
    rows = predictions_like.reset_index(drop=True).copy()
    notes: list[str] = []
    rows["label"] = _labels(rows["label"], place)
    for name in ("hours", "p_infected", "moi", "onset_h", "hpi", "time_target", "time_pred"):
        if name in rows.columns:
            rows[name] = _numbers(rows[name], place)
    _identity(rows, notes)
    _clock(rows, notes)
    return check(PREDICTIONS, rows, place=place), notes


def _labels(values: pd.Series, place: str) -> pd.Series:
    codes = values.astype(object).map(lambda value: LABELS.get(str(value).lower()), na_action="ignore")
    _refuse(values, codes, place, "neither 0 nor 1")
    return codes.astype("Int8")


def _numbers(values: pd.Series, place: str) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    _refuse(values, numbers, place, "not a number")
    return numbers


def _refuse(values: pd.Series, understood: pd.Series, place: str, what: str) -> None:
    bad = np.flatnonzero(understood.isna() & values.notna())
    if len(bad):
        row = f"{place}: row {bad[0] + 2}, column {values.name}"
        raise InputError(f"{row}: {values.iloc[bad[0]]!r} is {what}")


def _identity(rows: pd.DataFrame, notes: list[str]) -> None:
    texts = dict.fromkeys(("path", "plate", "position"), "")
    plain = {"run": "predictions", "seed": 0, "fold": 0, "moi": np.nan} | texts
    for name, value in plain.items():
        if name not in rows.columns:
            rows[name] = value
    if "well" not in rows.columns:
        rows["well"] = ""
        notes.append("wells are not given: positions are taken as independent")
    if "split" not in rows.columns:
        rows["split"] = "test"
        notes.append("splits are not given: all rows are taken as test, and no threshold can be chosen")
    if "frame" not in rows.columns:
        order = rows.groupby(["run", "fold", "seed", "stack_id"])["hours"]
        rows["frame"] = order.rank(method="dense").fillna(1).astype(int) - 1
        notes.append("frames are not given: they are numbered by their hours")
    if "condition" not in rows.columns:
        ever = rows["label"].eq(1).fillna(False).groupby(rows["stack_id"]).transform("any")
        rows["condition"] = np.where(ever, "infected", "mock")
        notes.append("conditions are not given: a stack with an infected frame is taken as infected")


def _clock(rows: pd.DataFrame, notes: list[str]) -> None:
    infected = rows["condition"].eq("infected").to_numpy()
    if "onset_h" not in rows.columns:
        rows["onset_h"] = _onsets(rows, infected, notes)
    if "hpi" not in rows.columns:
        rows["hpi"] = hpi(rows["hours"], rows["onset_h"])
    labelled = rows["label"].eq(1).fillna(False).to_numpy(bool)
    if "clock" not in rows.columns:
        on_hours = (
            "time_target" in rows.columns
            and not (rows["hours"] - rows["time_target"]).abs()[labelled].gt(1e-6).any()
        )
        rows["clock"] = np.where(labelled & (not on_hours), *CLOCKS)
    if "time_pred" not in rows.columns:
        rows["time_pred"] = np.nan
        notes.append("no time predictions: the time part of the study is empty")
    if "time_target" not in rows.columns:
        rows["time_target"] = np.where(rows["clock"].eq("infection"), rows["hpi"], rows["hours"])
        if rows["time_pred"].notna().any():
            notes.append(
                "time targets are not given: hours since onset for infected frames, else since start"
            )


def _onsets(rows: pd.DataFrame, infected: np.ndarray, notes: list[str]) -> pd.Series:
    """Onset per stack from ``hpi``, else from the time target of its infected frames, else missing."""
    if "hpi" in rows.columns:
        lag = rows["hours"] - rows["hpi"]
        notes.append("onsets are derived from hpi")
    elif "time_target" in rows.columns:
        # a target of 0 may be a clipped one, which says nothing of the onset
        known = rows["label"].eq(1).fillna(False) & (rows["time_target"] > 0)
        lag = (rows["hours"] - rows["time_target"]).where(known)
        notes.append("onsets are derived from the time targets of infected frames")
    else:
        notes.append("onsets are not given: no hours post infection, no phases")
        return pd.Series(np.nan, index=rows.index)
    per_stack = lag.groupby(rows["stack_id"]).transform("median")
    return per_stack.where(infected)
