"""Predictions from elsewhere: read any file, derive what follows, and say what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hpiclock.errors import InputError
from hpiclock.study.npz import LABELS, read_npz
from hpiclock.tables import CLOCKS, PREDICTIONS, check, hpi, read_any

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
    return complete(rows, place=str(path))


def complete(predictions_like: pd.DataFrame, *, place: str = "") -> tuple[pd.DataFrame, list[str]]:
    """Return a PREDICTIONS table from any that has ``stack_id hours label p_infected``, and notes.

    Labels may be 0 and 1, true and false, or infected and mock; other columns of the contract are derived
    where they follow from what is there, and every other column is kept.

    Raises:
        InputError: a required column is missing, a label is of another kind, or the check fails.
    """
    place = place or "predictions"
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
    text = (
        values.astype(object).where(values.notna(), None).map(lambda v: None if v is None else str(v).lower())
    )
    codes = text.map(LABELS)
    bad = codes.isna() & text.notna()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{place}: row {row + 2}, column label: {values.iloc[row]!r} is neither 0 nor 1")
    return codes.astype("Int8")


def _numbers(values: pd.Series, place: str) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    bad = numbers.isna() & values.notna()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{place}: row {row + 2}, column {values.name}: {values.iloc[row]!r} is not a number"
        )
    return numbers


def _identity(rows: pd.DataFrame, notes: list[str]) -> None:
    plain = {
        "run": "predictions",
        "seed": 0,
        "fold": 0,
        "path": "",
        "plate": "",
        "position": "",
        "moi": np.nan,
    }
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
        lag = (rows["hours"] - rows["time_target"]).where(
            rows["label"].eq(1).fillna(False) & (rows["time_target"] > 0)
        )
        notes.append("onsets are derived from the time targets of infected frames")
    else:
        notes.append("onsets are not given: no hours post infection, no phases")
        return pd.Series(np.nan, index=rows.index)
    per_stack = lag.groupby(rows["stack_id"]).transform("median")
    return per_stack.where(infected)
