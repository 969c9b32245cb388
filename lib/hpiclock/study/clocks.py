"""Errors in hours under both clocks, and what models could do that know no image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from hpiclock.study.scores import Scores, target_under_predicted_clock
from hpiclock.tables import CLOCKS


def time_errors(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return the rows with ``error_h``, ``clock_pred`` and ``error_predicted_clock_h`` added.

    Errors are predicted less true time, in hours. ``clock_pred`` is missing where P(infected) is;
    ``error_predicted_clock_h`` is missing for mock frames called infected, which have no onset.
    """
    called = predictions["p_infected"] >= threshold
    clock = np.where(called, *CLOCKS)
    target = target_under_predicted_clock(predictions, threshold=threshold)
    return predictions.assign(
        error_h=predictions["time_pred"] - predictions["time_target"],
        clock_pred=pd.Series(clock, index=predictions.index, dtype=object).where(
            predictions["p_infected"].notna()
        ),
        error_predicted_clock_h=predictions["time_pred"] - target,
    )


def rows_to_fit(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the frames a baseline for ``split`` may be fitted on: training rows, else validation rows.

    Never rows of the split itself and never test rows; the table is empty when there are none.
    """
    for name in ("train", "val"):
        rows = predictions[predictions["split"].eq(name)]
        if name != split and split != "train" and len(rows):
            return rows[rows["label"].notna() & rows["time_target"].notna()]
    return predictions.iloc[:0]


def with_baselines(scores: Scores, hours: np.ndarray, fit: pd.DataFrame) -> Scores:
    """Return the scores with the errors of two models that see no image.

    The clock: it knows the hours since start and says ``hours - c``, with ``c`` the median of
    ``hours - time_target`` over the frames it is fitted on. The mean: it says their mean time target.

    Args:
        scores: the frames to be judged.
        hours: (frames,) their hours since start.
        fit: frames of the same group from other stacks (:func:`rows_to_fit`).
    """
    if len(fit) == 0:
        return scores
    lag = float((fit["hours"] - fit["time_target"]).median())
    mean = float(fit["time_target"].mean())
    return replace(scores, off_clock=hours - lag - scores.target, off_mean=mean - scores.target)


def residual_by_hour(predictions: pd.DataFrame, *, threshold: float, bin_h: float) -> pd.DataFrame:
    """Return mean and spread of the time error per split, label and bin of hours since start.

    Columns: ``split label start_h end_h clock bias mae sd n n_stacks``; ``clock`` is ``true`` or
    ``predicted``; bins are half-open and every bin between the first and the last stands in the table.
    """
    rows = time_errors(predictions[predictions["label"].notna()], threshold=threshold)
    index = np.floor(rows["hours"] / bin_h + 1e-9).astype(int)
    parts = []
    for clock, column in (("true", "error_h"), ("predicted", "error_predicted_clock_h")):
        error = rows[column]
        keyed = pd.DataFrame(
            {"split": rows["split"], "label": rows["label"].astype(int), "bin": index, "error": error,
             "size": error.abs(), "stack_id": rows["stack_id"].where(error.notna())}
        )  # fmt: skip
        table = keyed.groupby(["split", "label", "bin"]).agg(
            bias=("error", "mean"), mae=("size", "mean"), sd=("error", "std"), n=("error", "count"),
            n_stacks=("stack_id", "nunique"),
        )  # fmt: skip
        parts.append(_every_bin(table).assign(clock=clock))
    both = pd.concat(parts, ignore_index=True)
    both["start_h"] = both["bin"] * bin_h
    both["end_h"] = both["start_h"] + bin_h
    return both[["split", "label", "start_h", "end_h", "clock", "bias", "mae", "sd", "n", "n_stacks"]]


def _every_bin(table: pd.DataFrame) -> pd.DataFrame:
    flat = table.reset_index()
    if flat.empty:
        return flat
    bins = np.arange(flat["bin"].min(), flat["bin"].max() + 1)
    kinds = flat[["split", "label"]].drop_duplicates()
    whole = kinds.merge(pd.DataFrame({"bin": bins}), how="cross")
    filled = whole.merge(flat, on=["split", "label", "bin"], how="left")
    return filled.fillna({"n": 0, "n_stacks": 0}).astype({"n": int, "n_stacks": int})
