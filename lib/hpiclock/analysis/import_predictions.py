"""Predictions from elsewhere: read any file, derive what follows, and say what is missing."""

import json
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.files import NPZ_FAULTS, check_file, read_text
from hpiclock.format import count_text
from hpiclock.tables import (
    CLOCKS,
    LONGEST_H,
    MOST_BYTES,
    PREDICTIONS,
    TIME_HEADS,
    check,
    check_names,
    doubtful_hours,
    misspelled,
    other_unit,
    plain_name,
    read_any,
)
from hpiclock.targets import hpi
from hpiclock.wells import normal_well

NPZ = ("time_preds", "time_targets", "cls_preds", "cls_targets")
INFECTED, MOCK = ("infected", "true", "1", "1.0"), ("mock", "uninfected", "false", "0", "0.0")
LABELS = dict.fromkeys(INFECTED, 1) | dict.fromkeys(MOCK, 0)


def read_npz(path: Path) -> pd.DataFrame:
    """Return the frames of ``test_predictions.npz`` joined to the ``test_metadata.jsonl`` beside it.

    The two are joined by row, so their lengths and their labels must agree.

    Raises:
        InputError: a missing file, array or key, or files that are not of one run.
    """
    check_file(path, "correct the name")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name].reshape(-1).astype(float) for name in archive.files if name in NPZ}
    except NPZ_FAULTS as error:
        raise InputError(f"{path}: cannot be read as npz ({type(error).__name__})") from None
    lacking = [name for name in NPZ if name not in arrays]
    if lacking:
        raise InputError(f"{path}: array {', '.join(lacking)} missing; it needs {', '.join(NPZ)}")
    metadata = path.parent / path.name.replace("predictions.npz", "metadata.jsonl")
    rows = _read_metadata(metadata if metadata.suffix == ".jsonl" else path.parent / "test_metadata.jsonl")
    sizes = {len(arrays[name]) for name in NPZ} | {len(rows)}
    if len(sizes) != 1:
        raise InputError(f"{path}: arrays and metadata have {sorted(sizes)} rows; they must match one to one")
    labels = pd.Series(arrays["cls_targets"])
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
    text = read_text(path, "the npz names no stacks and hours, this file does", most=MOST_BYTES)
    lines = [line for line in text.splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            raise InputError(f"{path}: line {number} is not JSON") from None
    table = pd.DataFrame(rows)
    needed = ("path", "condition", "position", "frame_index", "hours_since_start", "label")
    lacking = [name for name in needed if name not in table.columns]
    if lacking:
        raise InputError(f"{path}: key {', '.join(lacking)} missing in its lines")
    return table


HOURS = ("hours", "hpi", "time_target", "time_pred", "onset_h")
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
    if rows.empty:
        raise InputError(f"{path}: no rows in it; a predictions file has one for each frame")
    return complete_predictions(rows, place=str(path))


def complete_predictions(
    predictions_like: pd.DataFrame, *, place: str = "predictions"
) -> tuple[pd.DataFrame, list[str]]:
    """Return a PREDICTIONS table from any that has ``stack_id hours label p_infected``, and notes.

    Labels may be 0 and 1, true and false, or infected and mock; other columns of the contract are derived
    where they follow from what is there, and every other column is kept. Frames without a P(infected) stay,
    as gaps. Wells are written as ``B03``.

    Raises:
        InputError: a required column is missing, a label is of another kind, hours or P(infected) are in
            another unit, a frame of a mock stack is labelled infected, or the check fails.
    """
    plain = {str(name): plain_name(str(name)) for name in predictions_like.columns}
    names = {
        name: new
        for name, new in plain.items()
        if new in PREDICTIONS.columns and name not in PREDICTIONS.columns
    }
    predictions_like = predictions_like.rename(columns=names)
    check_names(place, predictions_like.columns)
    for name, hint in other_unit(predictions_like.columns, HOURS).items():
        raise InputError(f"{place}: column {name}: {hint}")
    for name, hint in misspelled(predictions_like.columns, PREDICTIONS.columns).items():
        raise InputError(f"{place}: unknown column {name}; {hint}")
    missing = [name for name in REQUIRED if name not in predictions_like.columns]
    if missing:
        raise InputError(
            f"{place}: column {', '.join(missing)} missing; a predictions file needs {', '.join(REQUIRED)}"
        )
    rows = predictions_like.reset_index(drop=True).copy()
    notes: list[str] = []
    rows["label"] = _labels(rows["label"], place)
    if (lone := {*TIME_HEADS} & {*rows.columns}) and len(lone) < len(TIME_HEADS):
        other = next(name for name in TIME_HEADS if name not in lone)
        raise InputError(f"{place}: column {lone.pop()} without {other}; give both, or give it another name")
    for name in ("hours", "p_infected", "moi", "onset_h", "hpi", "time_target", "time_pred", *TIME_HEADS):
        if name in rows.columns:
            rows[name] = _numbers(rows[name], place)
    _check_units(rows, place)
    if doubt := doubtful_hours(rows, "column hours"):
        notes.append(f"{doubt}; if they are in another unit, give hours")
    _identity(rows, notes)
    _conditions(rows, notes, place)
    _scores(rows, notes)
    _clock(rows, notes)
    return check(PREDICTIONS, rows, place=place), notes


def _labels(values: pd.Series, place: str) -> pd.Series:
    codes = values.astype(object).map(
        lambda value: LABELS.get(str(value).strip().lower()), na_action="ignore"
    )
    _refuse(values, codes, place, "neither 0 nor 1; write 1 for infected and 0 for mock")
    return codes.astype("Int8")


def _numbers(values: pd.Series, place: str) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        values = values.astype(str)  # which are no hours, but would be read as nanoseconds
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    _refuse(values, numbers, place, "not a number; write a number or leave it empty")
    return numbers


def _refuse(values: pd.Series, understood: pd.Series, place: str, what: str) -> None:
    bad = np.flatnonzero(understood.isna() & values.notna())
    if len(bad):
        row = f"{place}: row {bad[0] + 2}, column {values.name}"
        value = values.iloc[bad[0]]
        raise InputError(f"{row}: {repr(value) if isinstance(value, str) else value} is {what}")


def _identity(rows: pd.DataFrame, notes: list[str]) -> None:
    texts = dict.fromkeys(("path", "plate", "position"), "")
    plain = {"run": "predictions", "seed": 0, "fold": 0, "moi": np.nan} | texts
    for name, value in plain.items():
        if name not in rows.columns:
            rows[name] = value
    if "well" not in rows.columns:
        rows["well"] = ""
        notes.append("wells are not given: positions are taken as independent")
    wells = rows["well"].fillna("").astype(str)
    names = {name: normal_well(name) for name in wells.unique()}
    rows["well"] = wells.map(names)
    if other := [f"{name} is {normal}" for name, normal in names.items() if name != normal]:
        notes.append(f"wells are written as B03: {', '.join(other[:3])}")
    if "split" not in rows.columns:
        rows["split"] = "test"
        notes.append("splits are not given: all rows are taken as test, and no threshold can be chosen")
    if "frame" not in rows.columns:
        order = rows.groupby(["run", "fold", "seed", "stack_id"])["hours"]
        rows["frame"] = order.rank(method="dense").fillna(1).astype(int) - 1
        notes.append("frames are not given: they are numbered by their hours")


UNITS_OF_TIME = {"seconds": 3600.0, "minutes": 60.0, "days": 1 / 24}  # of one hour
FAR_H = 0.1  # rounding of hours moves a frame by less


def _check_units(rows: pd.DataFrame, place: str) -> None:
    """Refuse hours that are no hours, by their length or beside another column, and P that is no share."""
    length = float(rows["hours"].max() - rows["hours"].min())
    if LONGEST_H < length < np.inf:
        unit = "minutes" if length / UNITS_OF_TIME["minutes"] <= LONGEST_H else "seconds"
        raise InputError(
            f"{place}: column hours runs over {length:g}, more than a month of hours: it looks like {unit}; "
            f"divide it by {UNITS_OF_TIME[unit]:g}"
        )
    for name in rows.columns.intersection(["hpi", "time_target"]):
        _check_same_unit(rows, name, place)
    p = rows["p_infected"]
    if p.min() < 0:
        raise InputError(
            f"{place}: column p_infected: {p.min():g} is below 0; of a logit x take 1 / (1 + exp(-x))"
        )
    if 2 < p.max() <= 100:
        raise InputError(
            f"{place}: column p_infected: {p.max():g} is above 1: it looks like percent; divide it by 100"
        )


def _check_same_unit(rows: pd.DataFrame, name: str, place: str) -> None:
    """Refuse a column of hours that does not advance with ``hours`` inside the stacks."""
    # a target of 0 may be a clipped one, and its step is none
    ordered = rows[rows[name].ne(0) & rows[name].notna()].sort_values(["stack_id", "hours"])
    steps = ordered.groupby("stack_id")[["hours", name]].diff().dropna()
    steps = steps[steps["hours"].gt(0)]
    far = (steps["hours"] - steps[name]).abs() > FAR_H * steps.max(axis=1).clip(lower=1.0)
    if not far.any() or (name == "time_target" and far.mean() <= 0.5):
        return  # a stack may change its clock once, at its onset
    ratio = float((steps["hours"] / steps[name]).median())
    unit = next((unit for unit, size in UNITS_OF_TIME.items() if abs(ratio / size - 1) < 0.05), "")
    other = next((unit for unit, size in UNITS_OF_TIME.items() if abs(ratio * size - 1) < 0.05), "")
    words = f"hours look like {unit}" if unit else f"{name} looks like {other}" if other else "one is wrong"
    stack = ordered["stack_id"].loc[far.idxmax()]
    raise InputError(
        f"{place}: stack {stack}: hours and {name} do not advance together ({ratio:.3g} to 1): {words}; give "
        "both in hours"
    )


def _conditions(rows: pd.DataFrame, notes: list[str], place: str) -> None:
    """Take conditions from the labels where they are not given: of a stack, what most of its frames say.

    A stack whose frames turn from uninfected to infected once, for two frames or more, is infected. Labels
    that contradict the condition of their stack are of frames that cannot be scored.
    """
    infected = rows["label"].eq(1).fillna(False).to_numpy(bool)
    if "condition" in rows.columns:
        odd = np.flatnonzero(infected & rows["condition"].eq("mock").to_numpy())
        if len(odd):
            name = rows["stack_id"].iloc[odd[0]]
            raise InputError(
                f"{place}: row {odd[0] + 2}: label infected in stack {name} of mock; correct one of them"
            )
        return
    known = rows[rows["label"].notna()].sort_values("hours", kind="stable")
    stacks = known.astype({"label": float}).groupby("stack_id")["label"]
    rises = stacks.apply(lambda label: label.is_monotonic_increasing) & (stacks.sum() >= 2)
    of_stack = rises | (stacks.mean() > 0.5)
    is_infected = rows["stack_id"].map(of_stack).eq(True).to_numpy(bool)
    rows["condition"] = np.where(is_infected, "infected", "mock")
    notes.append("conditions are not given: a stack is what most of its labels say, or what they turn to")
    if unlabelled := rows.loc[~rows["stack_id"].isin(known["stack_id"]), "stack_id"].nunique():
        notes.append(f"{count_text(unlabelled, 'stack')} without a label: taken as mock, and not scored")
    turned = rows["stack_id"].map(rises).eq(True).to_numpy(bool)
    odd_rows = rows["label"].notna().to_numpy(bool) & ~turned & (infected != is_infected)
    if odd_rows.any():
        names = ", ".join(map(str, rows.loc[odd_rows, "stack_id"].unique()[:3]))
        rows.loc[odd_rows, "label"] = pd.NA
        notes.append(
            f"{odd_rows.sum()} labels contradict the others of their stack and are left out: {names}"
        )


INVERTED = 0.2  # an AUC below it may be that of P(mock)


def _scores(rows: pd.DataFrame, notes: list[str]) -> None:
    gaps = int(rows["p_infected"].isna().sum())
    if gaps:
        notes.append(
            f"{gaps} frames have no P(infected): they stay as gaps, are not scored, and detection starts anew"
        )
    known = rows[rows["label"].notna() & rows["p_infected"].notna()]
    infected = known["label"].eq(1).to_numpy(bool)
    if infected.all() or not infected.any():
        return
    auc = mannwhitneyu(*(known.loc[part, "p_infected"] for part in (infected, ~infected))).statistic
    auc /= infected.sum() * (~infected).sum()
    if auc < INVERTED:
        notes.append(
            f"infected frames score lower than uninfected ones (AUC {auc:.2f}); of a P(mock) take 1 less it"
        )


def _clock(rows: pd.DataFrame, notes: list[str]) -> None:
    infected = rows["condition"].eq("infected").to_numpy()
    if "onset_h" not in rows.columns:
        rows["onset_h"] = _onsets(rows, infected, notes)
    if "hpi" not in rows.columns:
        rows["hpi"] = hpi(rows["hours"], rows["onset_h"])
    rows["hpi"] = rows["hpi"].where(infected)
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
