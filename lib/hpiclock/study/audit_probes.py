"""Probes: what the model's features know of a frame that has nothing to do with its infection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline

from hpiclock.study.audit_learn import columns_of, learn_time, reduced
from hpiclock.study.audit_scores import Value, mean_over
from hpiclock.study.groups import class_of, codes_of

FOLDS = 4


def probes(held_out: pd.DataFrame, features: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """What can be read from the features of control frames that should not matter.

    Rows: ``stack`` (which stack: learnt on the first half of the hours, asked in the second), ``well``
    (learnt on some positions of every well, asked on the others), ``time`` (hours since start, wells held
    out). Columns: ``probe value low high chance unit n_groups note``; identities are shares of frames that
    are named right, time is the mean absolute error in hours and its chance that of saying the mean.

    Args:
        held_out: rows of wells that the features were not learnt on, with identity and ``hours``.
        features: their features.
        level: of the intervals.
    """
    rows = held_out[class_of(held_out) == 0].merge(features, on=["stack_id", "frame"])
    x = rows[columns_of(features)].to_numpy(float)
    found = [_probe_stack(rows, x, level), _probe_well(rows, x, level), _probe_time(rows, x, level)]
    return pd.DataFrame(
        found, columns=["probe", "value", "low", "high", "chance", "unit", "n_groups", "note"]
    )


def _probe_stack(rows: pd.DataFrame, x: np.ndarray, level: float) -> dict[str, Any]:
    stack = codes_of(rows, "position")
    middle = rows.groupby("stack_id")["hours"].transform("median")
    early = (rows["hours"] < middle).to_numpy()
    n = len(np.unique(stack))
    if n < 2 or not early.any():
        return _no_probe("stack", "fewer than two control stacks with several frames")
    right = _named(x[early], stack[early], x[~early]) == stack[~early]
    value = mean_over(right, codes_of(rows, "well")[~early], level=level)
    return _probe("stack", value, 1 / n, rows, ~early)


def _probe_well(rows: pd.DataFrame, x: np.ndarray, level: float) -> dict[str, Any]:
    well = codes_of(rows, "well")
    stacks = rows.drop_duplicates("stack_id").assign(well_code=well[rows.drop_duplicates("stack_id").index])
    last = stacks.groupby("well_code")["stack_id"].last()
    several = stacks.groupby("well_code")["stack_id"].nunique().ge(2)
    n = int(several.sum())
    if n < 2 or rows["well"].eq("").any():
        return _no_probe("well", "fewer than two control wells with two positions")
    usable = np.isin(well, several.index[several])
    asked = rows["stack_id"].isin(last[several]).to_numpy() & usable
    learnt = usable & ~asked
    right = _named(x[learnt], well[learnt], x[asked]) == well[asked]
    return _probe("well", mean_over(right, well[asked], level=level), 1 / n, rows, asked)


def _probe_time(rows: pd.DataFrame, x: np.ndarray, level: float) -> dict[str, Any]:
    well, hours = codes_of(rows, "well"), rows["hours"].to_numpy(float)
    n = len(np.unique(well))
    if n < 2 or np.ptp(hours) == 0:
        return _no_probe("time", "fewer than two control wells, or one hour")
    error, chance = np.empty(len(rows)), np.empty(len(rows))
    for learnt, asked in GroupKFold(min(n, FOLDS)).split(x, groups=well):
        error[asked] = np.abs(learn_time(x[learnt], hours[learnt]).predict(x[asked]) - hours[asked])
        chance[asked] = np.abs(hours[learnt].mean() - hours[asked])
    value = mean_over(error, well, level=level)
    return _probe("time", value, float(chance.mean()), rows, np.ones(len(rows), bool))


def _named(learnt: np.ndarray, names: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return make_pipeline(*reduced(learnt), NearestCentroid()).fit(learnt, names).predict(asked)


def _probe(name: str, value: Value, chance: float, rows: pd.DataFrame, asked: np.ndarray) -> dict[str, Any]:
    n = len(np.unique(codes_of(rows, "well")[asked]))
    return {"probe": name, "value": value.value, "low": value.low, "high": value.high, "chance": chance,
            "unit": "well", "n_groups": n, "note": value.note}  # fmt: skip


def _no_probe(name: str, why: str) -> dict[str, Any]:
    nan = float("nan")
    values = {"value": nan, "low": nan, "high": nan, "chance": nan}
    return {"probe": name, **values, "unit": "well", "n_groups": 0, "note": why}
