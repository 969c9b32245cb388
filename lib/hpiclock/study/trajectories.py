"""Single stacks over time: do P(infected) and predicted time rise as they must, and where do they fail?"""

from __future__ import annotations

import numpy as np
import pandas as pd

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
    rows = rows.assign(wrong=np.where(judged, wrong, np.nan), size=rows["error_h"].abs()).reset_index(
        drop=True
    )
    first = np.flatnonzero(~rows.duplicated(KEY).to_numpy())
    if len(first) == 0:
        return pd.DataFrame(columns=[*KEY, *SAME])
    code = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(rows))))
    grouped = rows.groupby(code)
    table = rows.loc[first, [*KEY, *SAME]].reset_index(drop=True).assign(
        n=grouped.size(), n_scored=grouped["wrong"].count(), share_wrong=grouped["wrong"].mean(),
        mae=grouped["size"].mean(), time_monotony=_monotony(rows, code, "time_pred"),
        p_monotony=_monotony(rows, code, "p_infected"), **_steps(rows, code, called.to_numpy(bool)),
    )  # fmt: skip
    table = table.sort_values(
        ["run", "split", "share_wrong", "mae", "stack_id"], ascending=[True, True, False, False, True],
        ignore_index=True,
    )  # fmt: skip
    return table.assign(rank=table.groupby(["run", "split"]).cumcount() + 1)


def _steps(rows: pd.DataFrame, code: np.ndarray, called: np.ndarray) -> dict[str, np.ndarray]:
    """What happens between neighbouring frames of a stack: one value per stack each."""
    k = int(code[-1]) + 1
    hours, time = rows["hours"].to_numpy(float), rows["time_pred"].to_numpy(float)
    inside = code[1:] == code[:-1]
    step, passed = np.diff(time), np.diff(hours)
    known = inside & ~np.isnan(step)
    stack = code[1:]
    back = np.bincount(stack[known], weights=step[known] < 0, minlength=k)
    steps = np.bincount(stack[known], minlength=k)
    seen = rows["p_infected"].notna().to_numpy(bool)
    judged, turns = code[seen], called[seen]
    crossing = (judged[1:] == judged[:-1]) & (turns[1:] != turns[:-1])
    # the largest jump of a stack is the last of its steps in ascending order
    order = np.flatnonzero(known)[np.lexsort((np.abs(step - passed)[known], stack[known]))]
    last = order[np.append(np.diff(stack[order]) != 0, True)] if len(order) else order
    jump, jump_at = np.full(k, np.nan), np.full(k, np.nan)
    jump[stack[last]], jump_at[stack[last]] = (step - passed)[last], hours[1:][last]
    return {
        "time_back": np.where(steps > 0, back / np.maximum(steps, 1), np.nan),
        "crossings": np.bincount(judged[1:][crossing], minlength=k),
        "largest_jump_h": jump,
        "jump_at_h": jump_at,
    }


def _monotony(rows: pd.DataFrame, code: np.ndarray, column: str) -> np.ndarray:
    """Spearman's correlation with the hours, per stack; NaN below three frames or without variation."""
    k = int(code[-1]) + 1
    there = rows[column].notna().to_numpy(bool)
    part, stack = rows[there], code[there]
    n = np.bincount(stack, minlength=k)
    ranks = []
    for name in ("hours", column):
        rank = part.groupby(stack)[name].rank().to_numpy(float)
        mean = np.bincount(stack, weights=rank, minlength=k) / np.maximum(n, 1)
        ranks.append(rank - mean[stack])
    xy, xx, yy = (
        np.bincount(stack, weights=a * b, minlength=k)
        for a, b in ((ranks[0], ranks[1]), (ranks[0], ranks[0]), (ranks[1], ranks[1]))
    )
    usable = (n >= 3) & (xx > 0) & (yy > 0)
    return np.where(usable, xy / np.sqrt(np.where(usable, xx * yy, 1.0)), np.nan)


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
