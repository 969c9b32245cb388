"""Single stacks over time: do P(infected) and predicted time rise as they must, and where do they fail?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from hpiclock.study.clocks import time_errors

KEY = ["run", "split", "fold", "seed", "stack_id"]
SAME = ["plate", "well", "position", "condition", "moi", "onset_h"]


def by_stack(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return one row per stack: how often it is wrong, and how smoothly it runs. The worst come first.

    Columns: the stack's identity, ``n n_scored share_wrong mae time_monotony time_back p_monotony crossings
    largest_jump_h jump_at_h rank``. Monotony is Spearman's correlation with the hours; ``time_back`` the
    share of steps in which the predicted time goes back; ``crossings`` how often P(infected) passes the
    threshold; a jump is a step of the predicted time beyond the time that passed. Stacks are ranked in
    their run and split by the share of wrong frames, then by the mean time error.
    """
    rows = time_errors(predictions, threshold=threshold).sort_values([*KEY, "hours"])
    called = rows["p_infected"] >= threshold
    wrong = (called != rows["label"].eq(1)).astype(float).to_numpy(dtype=float, na_value=np.nan)
    judged = (rows["label"].notna() & rows["p_infected"].notna()).to_numpy(bool)
    rows = rows.assign(
        wrong=np.where(judged, wrong, np.nan), called=called.where(rows["p_infected"].notna()),
        size=rows["error_h"].abs(),
    )  # fmt: skip
    found = [
        dict(zip(KEY, key, strict=True)) | part[SAME].iloc[0].to_dict() | _facts(part)
        for key, part in rows.groupby(KEY, sort=True)
    ]
    table = pd.DataFrame(found)
    if table.empty:
        return table
    table = table.sort_values(
        ["run", "split", "share_wrong", "mae", "stack_id"], ascending=[True, True, False, False, True],
        ignore_index=True,
    )  # fmt: skip
    return table.assign(rank=table.groupby(["run", "split"]).cumcount() + 1)


def _facts(part: pd.DataFrame) -> dict[str, float]:
    hours, time = part["hours"].to_numpy(float), part["time_pred"].to_numpy(float)
    steps, passed = np.diff(time), np.diff(hours)
    extra = np.abs(steps - passed)
    known = ~np.isnan(extra)
    at = int(np.where(known, extra, -1).argmax()) if known.any() else 0
    called = part["called"].dropna().to_numpy(bool)
    return {
        "n": len(part),
        "n_scored": int(part["wrong"].notna().sum()),
        "share_wrong": float(part["wrong"].mean()),
        "mae": float(part["size"].mean()),
        "time_monotony": _monotony(hours, time),
        "time_back": float((steps[known] < 0).mean()) if known.any() else np.nan,
        "p_monotony": _monotony(hours, part["p_infected"].to_numpy(float)),
        "crossings": int((called[1:] != called[:-1]).sum()),
        "largest_jump_h": float(steps[at] - passed[at]) if known.any() else np.nan,
        "jump_at_h": float(hours[at + 1]) if known.any() else np.nan,
    }


def _monotony(hours: np.ndarray, values: np.ndarray) -> float:
    there = ~np.isnan(values)
    x, y = rankdata(hours[there]), rankdata(values[there])
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def worst_hours(predictions: pd.DataFrame, *, threshold: float, bin_h: float) -> pd.DataFrame:
    """Return how wrong each stretch of hours is, per run, split and label; the worst come first.

    Columns ``run split label start_h end_h share_wrong mae n n_stacks worst_stack rank``; the worst stack is
    the one with the most wrong frames there, then the largest time error.
    """
    rows = time_errors(predictions[predictions["label"].notna()], threshold=threshold)
    judged = rows["p_infected"].notna()
    wrong = (rows["p_infected"] >= threshold) != rows["label"].eq(1)
    start = np.floor(rows["hours"] / bin_h + 1e-9) * bin_h
    rows = rows.assign(
        wrong=wrong.astype(float).where(judged), size=rows["error_h"].abs(), start_h=start,
        label=rows["label"].astype(int),
    )  # fmt: skip
    keys = ["run", "split", "label", "start_h"]
    table = rows.groupby(keys).agg(
        share_wrong=("wrong", "mean"),
        mae=("size", "mean"),
        n=("wrong", "size"),
        n_stacks=("stack_id", "nunique"),
    )
    per_stack = rows.groupby([*keys, "stack_id"]).agg(wrong=("wrong", "mean"), size=("size", "mean"))
    per_stack = per_stack.reset_index()
    per_stack = per_stack.sort_values(["wrong", "size", "stack_id"], ascending=[False, False, True])
    table["worst_stack"] = per_stack.groupby(keys)["stack_id"].first()
    table = table.reset_index().assign(end_h=lambda t: t["start_h"] + bin_h)
    table = table.sort_values(
        ["run", "split", "share_wrong", "mae"], ascending=[True, True, False, False], ignore_index=True
    )
    table["rank"] = table.groupby(["run", "split"]).cumcount() + 1
    columns = ["start_h", "end_h", "share_wrong", "mae", "n", "n_stacks", "worst_stack", "rank"]
    return table[["run", "split", "label", *columns]]
