"""Predicted against true time: regression line, limits of agreement, and what a wrong class costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from hpiclock.study.clocks import time_errors
from hpiclock.study.groups import choose_level, codes_of, ordered_splits
from hpiclock.study.intervals import jackknife, too_few
from hpiclock.tables import CLOCKS

KEY = ["run", "split", "clock"]
Parts = Iterator[tuple[dict[str, Any], pd.DataFrame]]


def time_lines(predictions: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the calibration line predicted = intercept + slope x true, per run, split and true clock.

    Columns ``run split clock slope slope_low slope_high intercept r2 mae n n_stacks n_wells note``; a slope
    below 1 says that early times are called late and late ones early. ``r2`` is that of the predictions.
    """
    rows = []
    for key, part in _parts(predictions):
        x, y = part["time_target"].to_numpy(float), part["time_pred"].to_numpy(float)
        values = np.column_stack([np.ones_like(x), x, y, x * x, x * y])
        slope, low, high, note = _limits(part, values, _slope, level)
        intercept = y.mean() - slope * x.mean()
        spread = ((x - x.mean()) ** 2).sum()
        r2 = 1 - ((y - x) ** 2).sum() / spread if spread > 0 else np.nan
        rows.append(
            key | {"slope": slope, "slope_low": low, "slope_high": high, "intercept": intercept, "r2": r2,
                   "mae": np.abs(y - x).mean()} | _counts(part) | {"note": note}
        )  # fmt: skip
    columns = [*KEY, "slope", "slope_low", "slope_high", "intercept", "r2", "mae", "n", "n_stacks", "n_wells",
               "note"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def limits_of_agreement(predictions: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return bias and limits of agreement per run, split and true clock.

    Columns ``run split clock bias bias_low bias_high lower upper sd_between sd_within n n_stacks n_wells
    note``. Frames of a stack are repeats, so the limits use the variance between stacks plus the one within
    (Bland and Altman 2007, section 2): bias +- 1.96 of its root hold 95% of single predictions.
    """
    rows = []
    for key, part in _parts(predictions):
        error = (part["time_pred"] - part["time_target"]).to_numpy(float)
        bias, low, high, note = _limits(part, np.column_stack([np.ones_like(error), error]), _mean, level)
        between, within = _variances(error, codes_of(part, "position"))
        half = 1.96 * np.sqrt(between + within)
        rows.append(
            key | {"bias": bias, "bias_low": low, "bias_high": high, "lower": bias - half,
                   "upper": bias + half, "sd_between": np.sqrt(between), "sd_within": np.sqrt(within)}
            | _counts(part) | {"note": note}
        )  # fmt: skip
    columns = [*KEY, "bias", "bias_low", "bias_high", "lower", "upper", "sd_between", "sd_within", "n",
               "n_stacks", "n_wells", "note"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def time_by_call(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return how wrong the time is when the class is right or wrong.

    Columns ``run split label called mae bias mae_predicted_clock n n_with_predicted_clock n_stacks``; errors
    are under the true clock, and under the predicted one where there is a truth.
    """
    rows = time_errors(predictions, threshold=threshold)
    rows = rows[rows["label"].notna() & rows["p_infected"].notna() & rows["error_h"].notna()]
    rows = rows.assign(
        called=(rows["p_infected"] >= threshold).astype(int), label=rows["label"].astype(int),
        size=rows["error_h"].abs(), other=rows["error_predicted_clock_h"].abs(),
    )  # fmt: skip
    return (
        rows.groupby(["run", "split", "label", "called"])
        .agg(
            mae=("size", "mean"), bias=("error_h", "mean"), mae_predicted_clock=("other", "mean"),
            n=("size", "count"), n_with_predicted_clock=("other", "count"), n_stacks=("stack_id", "nunique"),
        )
        .reset_index()
    )  # fmt: skip


def _parts(predictions: pd.DataFrame) -> Parts:
    there = (
        predictions["label"].notna() & predictions["time_pred"].notna() & predictions["time_target"].notna()
    )
    for run, of_run in predictions[there].groupby("run", sort=True):
        for split in ordered_splits(of_run):
            for clock in CLOCKS:
                part = of_run[of_run["split"].eq(split) & of_run["clock"].eq(clock)]
                if len(part):
                    yield {"run": run, "split": split, "clock": clock}, part.reset_index(drop=True)


def _limits(
    part: pd.DataFrame, values: np.ndarray, formula: Callable[[np.ndarray], np.ndarray], level: float
) -> tuple[float, float, float, str]:
    """A function of sums over frames, and its jackknife interval over groups."""
    unit = choose_level(part)
    code = np.unique(unit.codes, return_inverse=True)[1]
    k = int(code.max()) + 1
    sums = np.column_stack([np.bincount(code, weights=column, minlength=k) for column in values.T])
    value = float(formula(sums.sum(0)))
    few = too_few({"both": np.arange(k)})
    if few or np.isnan(value):
        reason = few or "the true time does not vary"
        return value, np.nan, np.nan, reason
    variance, df = jackknife(formula(sums.sum(0) - sums), [np.arange(k)])
    half = float(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))
    return value, value - half, value + half, f"unit {unit.unit}: {k}"


def _slope(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, xy = np.moveaxis(sums, -1, 0)
    spread = xx - x * x / n
    return np.where(
        spread > 1e-9 * np.maximum(xx, 1), (xy - x * y / n) / np.where(spread > 0, spread, 1), np.nan
    )


def _mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 1] / sums[..., 0]


def _variances(error: np.ndarray, stack: np.ndarray) -> tuple[float, float]:
    """Variance of the errors between stacks and within them, by one-way analysis of variance."""
    size = np.bincount(stack).astype(float)
    k, n = len(size), len(error)
    means = np.bincount(stack, weights=error) / size
    ss_between = float((size * (means - error.mean()) ** 2).sum())
    ss_within = float(((error - means[stack]) ** 2).sum())
    within = ss_within / (n - k) if n > k else 0.0
    if k < 2:
        return 0.0, within
    typical = (n - (size**2).sum() / n) / (k - 1)
    return max((ss_between / (k - 1) - within) / typical, 0.0), within


def _counts(part: pd.DataFrame) -> dict[str, int]:
    wells = 0 if part["well"].eq("").all() else len(np.unique(codes_of(part, "well")))
    return {"n": len(part), "n_stacks": part["stack_id"].nunique(), "n_wells": wells}
