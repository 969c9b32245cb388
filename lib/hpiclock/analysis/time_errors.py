"""Errors in hours under both clocks, beside what no image could do, and how single stacks go over time."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.analysis.clustered import one_way_anova, t_interval, too_few_groups
from hpiclock.analysis.frame_scores import FrameScores, target_under_predicted_clock
from hpiclock.analysis.units import choose_resampling_unit, each_run_and_split, group_codes, in_window
from hpiclock.format import count_text
from hpiclock.tables import CLOCKS, hour_strata, n_wells, table_of, time_given, under_true_clock


def time_errors(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return the rows with ``error_h``, ``clock_pred`` and ``error_predicted_clock_h`` added.

    Errors are predicted less true time, in hours; ``error_h`` is that where the true class is given.
    ``clock_pred`` is missing where P(infected) is; ``error_predicted_clock_h`` is missing for mock frames
    called infected, which have no onset.
    """
    called = predictions["p_infected"] >= threshold
    clock = pd.Series(np.where(called, *CLOCKS), predictions.index, dtype=object)
    target = target_under_predicted_clock(predictions, threshold=threshold)
    return predictions.assign(
        error_h=under_true_clock(predictions)["time_pred"] - predictions["time_target"],
        clock_pred=clock.where(predictions["p_infected"].notna()),
        error_predicted_clock_h=time_given(predictions, called.to_numpy()) - target,
    )


def baseline_rows(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the frames a baseline for ``split`` may be fitted on: training rows, else validation rows.

    Never rows of the split itself and never test rows; the table is empty when there are none.
    """
    for name in ("train", "val"):
        rows = predictions[predictions["split"].eq(name)]
        if name != split and split != "train" and len(rows):
            return rows[rows["label"].notna() & rows["time_target"].notna()]
    return predictions.iloc[:0]


def clock_times(fit: pd.DataFrame, hours: np.ndarray) -> np.ndarray:
    """Return the times that a clock without a picture says at these hours: (frames,).

    It says the hours less their median lead over the time target, among the frames it is fitted on of the
    same hour; between their hours it interpolates, beyond them it keeps the last lead. On frames of common
    hours no function of the hour, a constant included, has a smaller mean absolute error.

    Args:
        fit: frames of one class, with ``stack_id hours time_target``; one or more.
        hours: (frames,) since start.
    """
    strata = fit.assign(lead=fit["hours"] - fit["time_target"]).groupby(hour_strata(fit))
    return hours - np.interp(hours, strata["hours"].mean(), strata["lead"].median())


def with_baselines(scores: FrameScores, hours: np.ndarray, fit: pd.DataFrame) -> FrameScores:
    """Return the scores with the errors of two models that see no image.

    The clock is that of :func:`clock_times`; the mean says the mean time target. Both are fitted on the same
    frames.

    Args:
        scores: the frames to be judged.
        hours: (frames,) their hours since start.
        fit: frames of the same class from other stacks (:func:`baseline_rows`).
    """
    if len(fit) == 0:
        return scores
    clock, mean = clock_times(fit, hours), float(fit["time_target"].mean())
    return replace(scores, off_clock=clock - scores.target, off_mean=mean - scores.target)


def residual_by_hour(predictions: pd.DataFrame, *, threshold: float, bin_h: float) -> pd.DataFrame:
    """Return mean and spread of the time error per split, label and bin of hours since start.

    Columns: ``split label start_h end_h clock bias mae sd n n_stacks``; ``clock`` is ``true`` or
    ``predicted``; bins are half-open and every bin between the first and the last stands in the table.
    """
    rows = time_errors(predictions[predictions["label"].notna()], threshold=threshold)
    bins = np.floor(rows["hours"] / bin_h + 1e-9).astype(int)
    rows = rows.assign(label=rows["label"].astype(int), bin=bins)
    parts = []
    for clock, column in (("true", "error_h"), ("predicted", "error_predicted_clock_h")):
        error = rows[column]
        keyed = rows.assign(error=error, size=error.abs(), stack_id=rows["stack_id"].where(error.notna()))
        grouped = keyed.groupby(["split", "label", "bin"])
        table = grouped["error"].agg(bias="mean", sd="std", n="count")
        table = table.assign(mae=grouped["size"].mean(), n_stacks=grouped["stack_id"].nunique())
        parts.append(_every_bin(table).assign(clock=clock))
    both = pd.concat(parts, ignore_index=True)
    both = both.assign(start_h=both["bin"] * bin_h, end_h=both["bin"] * bin_h + bin_h)
    return both[["split", "label", "start_h", "end_h", "clock", "bias", "mae", "sd", "n", "n_stacks"]]


def _every_bin(table: pd.DataFrame) -> pd.DataFrame:
    """With a row for every bin from the first to the last of the table."""
    flat = table.reset_index()
    if flat.empty:
        return flat
    bins = pd.DataFrame({"bin": np.arange(flat["bin"].min(), flat["bin"].max() + 1)})
    whole = flat[["split", "label"]].drop_duplicates().merge(bins, how="cross")
    counts = {"n": 0, "n_stacks": 0}
    return whole.merge(flat, how="left").fillna(counts).astype(dict.fromkeys(counts, int))


def time_regression(predictions: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the calibration line predicted = intercept + slope x true, per run, split and true clock.

    Columns ``run split clock slope slope_low slope_high intercept start_h end_h r2 mae n n_stacks n_wells
    note``; ``start_h`` and ``end_h`` are the first and the last true time. ``r2`` is that of the predictions.
    """
    rows = []
    for key, part in _by_clock(predictions):
        x, y = part["time_target"].to_numpy(float), part["time_pred"].to_numpy(float)
        values = np.column_stack([np.ones_like(x), x, y, x * x, x * y])
        slope, low, high, note = _with_limits(part, values, _slope, level)
        spread = ((x - x.mean()) ** 2).sum()
        r2 = 1 - ((y - x) ** 2).sum() / spread if spread > 0 else np.nan
        intercept, mae = y.mean() - slope * x.mean(), np.abs(y - x).mean()
        line = slope, low, high, intercept, x.min(), x.max()
        rows.append((*key, *line, r2, mae, *_counts(part), note))
    columns = "run split clock slope slope_low slope_high intercept start_h end_h r2 mae n n_stacks n_wells"
    return table_of(rows, f"{columns} note")


def limits_of_agreement(predictions: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return bias and limits of agreement per run, split and true clock.

    Columns ``run split clock bias bias_low bias_high lower upper sd_between sd_within n n_stacks n_wells
    note``. Frames of a stack are repeats, so the limits use the variance between stacks plus the one within
    (Bland and Altman 2007, section 2): bias +- 1.96 of its root hold 95% of single predictions.
    """
    rows = []
    for key, part in _by_clock(predictions):
        error = (part["time_pred"] - part["time_target"]).to_numpy(float)
        values = np.column_stack([np.ones_like(error), error])
        bias, low, high, note = _with_limits(part, values, lambda sums: sums[..., 1] / sums[..., 0], level)
        stacks = one_way_anova(error, group_codes(part, "position"))
        between, within = stacks.variance_between, stacks.within
        half = 1.96 * np.sqrt(between + within)
        limits, sds = (bias - half, bias + half), (np.sqrt(between), np.sqrt(within))
        rows.append((*key, bias, low, high, *limits, *sds, *_counts(part), note))
    columns = "run split clock bias bias_low bias_high lower upper sd_between sd_within n n_stacks n_wells"
    return table_of(rows, f"{columns} note")


def _by_clock(predictions: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    needed = ["label", "time_pred", "time_target"]
    known = under_true_clock(predictions[predictions[needed].notna().all(axis=1)])
    for key, rows in each_run_and_split(known):
        for clock in CLOCKS:
            part = rows[rows["clock"].eq(clock)].reset_index(drop=True)
            if len(part):
                yield (*key.values(), clock), part


def _with_limits(
    part: pd.DataFrame, values: np.ndarray, formula: Callable[[np.ndarray], np.ndarray], level: float
) -> tuple[float, float, float, str]:
    """A function of sums over frames, and its jackknife interval over groups."""
    unit = choose_resampling_unit(part)
    code = np.unique(unit.codes, return_inverse=True)[1]
    k = int(code.max()) + 1
    sums = np.column_stack([np.bincount(code, weights=column, minlength=k) for column in values.T])
    value = float(formula(sums.sum(0)))
    few = too_few_groups({"both": np.arange(k)})
    if few or np.isnan(value):
        return value, np.nan, np.nan, few or "the true time does not vary"
    limits = t_interval(value, formula(sums.sum(0) - sums), [np.arange(k)], level=level)
    return value, *limits, f"unit {unit.unit}: {k}"


def _slope(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, xy = np.moveaxis(sums, -1, 0)
    spread = xx - x * x / n
    varies = spread > 1e-9 * np.maximum(xx, 1)
    return np.where(varies, (xy - x * y / n) / np.where(spread > 0, spread, 1), np.nan)


def _counts(part: pd.DataFrame) -> tuple[int, int, int]:
    return len(part), part["stack_id"].nunique(), n_wells(part)


def time_error_by_call(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return how wrong the time is when the class is right or wrong.

    Columns ``run split label called mae bias mae_predicted_clock n n_with_predicted_clock n_stacks``; errors
    are under the true clock, and under the predicted one where there is a truth.
    """
    rows = time_errors(predictions, threshold=threshold)
    rows = rows[rows["label"].notna() & rows["p_infected"].notna() & rows["error_h"].notna()]
    called = (rows["p_infected"] >= threshold).astype(int)
    size, other = rows["error_h"].abs(), rows["error_predicted_clock_h"].abs()
    rows = rows.assign(called=called, label=rows["label"].astype(int), size=size, other=other)
    grouped = rows.groupby(["run", "split", "label", "called"])
    table = grouped.agg(mae=("size", "mean"), bias=("error_h", "mean"), mae_predicted_clock=("other", "mean"))
    counts = {"n": grouped["size"].count(), "n_with_predicted_clock": grouped["other"].count()}
    return table.assign(**counts, n_stacks=grouped["stack_id"].nunique()).reset_index()


KEY = ["run", "split", "fold", "seed", "stack_id"]
SAME = ["plate", "well", "position", "condition", "moi", "onset_h"]


def _judged(predictions: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The rows of :func:`time_errors` with ``wrong`` (1, 0, NaN where unknown) and ``size`` (hours)."""
    rows = time_errors(predictions, threshold=threshold)
    wrong = (rows["p_infected"] >= threshold) != rows["label"].eq(1).fillna(False).astype(bool)
    known = rows["label"].notna() & rows["p_infected"].notna()
    return rows.assign(wrong=wrong.astype(float).where(known), size=rows["error_h"].abs())


def stack_trajectories(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return one row per stack: how often it is wrong, and how smoothly it runs. The worst come first.

    Columns: the stack's identity, ``n n_scored share_wrong mae time_monotony time_back p_monotony crossings
    largest_jump_h jump_at_h rank``. Monotony is Spearman's correlation with the hours; ``time_back`` the
    share of steps in which the predicted time goes back; ``crossings`` how often P(infected) passes the
    threshold; a jump is a step of the predicted time beyond the time that passed. Stacks are ranked in
    their run and split by the share of wrong frames, then by the mean time error.
    """
    rows = _judged(predictions, threshold).sort_values([*KEY, "hours"], ignore_index=True)
    first = np.flatnonzero(~rows.duplicated(KEY).to_numpy())
    if len(first) == 0:
        return pd.DataFrame(columns=[*KEY, *SAME])
    code = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(rows))))
    grouped = rows.groupby(code)
    shares = grouped.agg(n_scored=("wrong", "count"), share_wrong=("wrong", "mean"), mae=("size", "mean"))
    table = rows.loc[first, [*KEY, *SAME]].reset_index(drop=True).assign(n=grouped.size()).join(shares)
    table["time_monotony"] = _monotony(rows, code, "time_pred")
    table["p_monotony"] = _monotony(rows, code, "p_infected")
    table = table.assign(**_steps(rows, code, (rows["p_infected"] >= threshold).to_numpy(bool)))
    return _worst_first(table.sort_values("stack_id"))


def _worst_first(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by run and split, then the worst first, and add the ``rank`` in them; ties keep their order."""
    keys = ["run", "split", "share_wrong", "mae"]
    # a sort by several keys keeps the order of what is equal
    table = table.sort_values(keys, ascending=[True, True, False, False], ignore_index=True)
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
    stack = code[there]
    n = np.bincount(stack, minlength=k)
    ranks = rows.loc[there, ["hours", column]].groupby(stack).rank()
    x, y = (ranks - ranks.groupby(stack).transform("mean")).to_numpy(float).T
    xy, xx, yy = (np.bincount(stack, weights=product, minlength=k) for product in (x * y, x * x, y * y))
    usable = (n >= 3) & (xx > 0) & (yy > 0)
    return np.where(usable, xy / np.sqrt(np.where(usable, xx * yy, 1.0)), np.nan)


def worst_hours(predictions: pd.DataFrame, *, threshold: float, bin_h: float) -> pd.DataFrame:
    """Return how wrong each stretch of hours is, per run, split and label; the worst come first.

    Columns ``run split label start_h end_h share_wrong mae n n_stacks worst_stack rank``; the worst stack is
    the one with the most wrong frames there, then the largest time error.
    """
    rows = _judged(predictions[predictions["label"].notna()], threshold)
    start = np.floor(rows["hours"] / bin_h + 1e-9) * bin_h
    rows = rows.assign(start_h=start, label=rows["label"].astype(int))
    keys = ["run", "split", "label", "start_h"]
    grouped = rows.groupby(keys)
    table = grouped.agg(share_wrong=("wrong", "mean"), mae=("size", "mean"), n=("wrong", "size"))
    table["n_stacks"] = grouped["stack_id"].nunique()
    per_stack = rows.groupby([*keys, "stack_id"])[["wrong", "size"]].mean().reset_index()
    per_stack = per_stack.sort_values(["wrong", "size", "stack_id"], ascending=[False, False, True])
    table["worst_stack"] = per_stack.groupby(keys)["stack_id"].first()
    table = table.reset_index()
    table.insert(4, "end_h", table["start_h"] + bin_h)
    return _worst_first(table)


# Intervals for a single predicted time that hold for frames of new wells.
#
# Split conformal prediction calibrated on validation, where the exchangeable things are wells, not frames:
# each calibration well counts once, its weight shared by its frames, and the new well counts once at
# infinity (hierarchical conformal prediction; Lee, Barber and Willett 2023). Apart for frames called
# infected and called mock (Mondrian), because at use time only the call is known. Libraries for conformal
# prediction weigh every residual equally, which is not valid here.

CALLS = {"infection": "called infected", "experiment": "called mock"}


def needed_groups(level: float) -> int:
    """Return how many calibration groups an interval of this level needs: 9 for 90%, 19 for 95%."""
    return int(np.ceil(level / (1 - level) - 1e-9))


def half_width(residuals: np.ndarray, group: np.ndarray, *, level: float) -> float:
    """Return the half width h with P(|error| <= h) >= level for a frame of a new group; inf if too few.

    Args:
        residuals: absolute errors of the calibration frames.
        group: the group of each.
        level: for example 0.9.
    """
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    k = len(size)
    if k < needed_groups(level):
        return float("inf")
    order = np.argsort(residuals, kind="stable")
    weight = np.cumsum((1 / (size * (k + 1)))[code][order])
    reached = np.flatnonzero(weight >= level - 1e-12)
    return float(residuals[order][reached[0]]) if len(reached) else float("inf")


def conformal_intervals(
    predictions: pd.DataFrame, *, threshold: float, level: float, edges: list[tuple[float, float]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the test rows with ``time_low time_high``, and how often these hold the truth.

    The second table has ``run group start_h end_h level coverage width_h n n_groups calibration_groups
    note``: per call over all hours (``start_h`` missing) and per window of hours since start. Truth is the
    time under the predicted clock; mock frames called infected have none and are not counted.
    """
    rows = time_errors(predictions, threshold=threshold)
    tests: list[pd.DataFrame] = []
    table: list[tuple[Any, ...]] = []
    for run, of_run in rows.groupby("run", sort=True):
        val = of_run[of_run["split"].eq("val") & of_run["label"].notna()].reset_index(drop=True)
        test = of_run[of_run["split"].eq("test")].reset_index(drop=True)
        if test.empty:
            continue
        with_limits, coverage = _one_run(val, test, level, edges)
        tests.append(with_limits)
        table += [(run, *row) for row in coverage]
    columns = "run group start_h end_h level coverage width_h n n_groups calibration_groups note"
    return (pd.concat(tests, ignore_index=True) if tests else rows.iloc[:0]), table_of(table, columns)


def _one_run(
    val: pd.DataFrame, test: pd.DataFrame, level: float, edges: list[tuple[float, float]]
) -> tuple[pd.DataFrame, list[tuple[Any, ...]]]:
    code = choose_resampling_unit(val).codes if len(val) else np.empty(0, int)
    unit = choose_resampling_unit(test)
    half = pd.Series(np.nan, test.index)
    table: list[tuple[Any, ...]] = []
    hours, error = test["hours"].to_numpy(float), test["error_predicted_clock_h"].abs().to_numpy(float)
    for clock in CLOCKS:
        residuals = val["error_predicted_clock_h"].abs().where(val["clock_pred"].eq(clock)).to_numpy(float)
        mine = ~np.isnan(residuals)
        width = half_width(residuals[mine], code[mine], level=level)
        groups = len(np.unique(code[mine]))
        counted = count_text(groups, f"calibration {unit.unit}")
        note = f"{counted}; {level:.0%} needs {needed_groups(level)}"
        if np.isinf(width):
            width, note = float("nan"), f"no interval: {note}"
        called = (test["clock_pred"].eq(clock) & test["time_pred"].notna()).to_numpy(bool)
        half[called] = width
        scored = called & ~np.isnan(error) & test["label"].notna().to_numpy(bool)
        windows = [in_window(hours, *edge, last=edge == edges[-1]) for edge in edges]
        for (start, end), window in zip([(np.nan, np.nan), *edges], [scored, *windows], strict=True):
            inside = scored & window
            known = inside.any() and np.isfinite(width)
            coverage = float((error[inside] <= width).mean()) if known else np.nan
            counts = (int(inside.sum()), len(np.unique(unit.codes[inside])), groups)
            remark = note if inside.any() or np.isnan(width) else "no frames; " + note
            table.append((CALLS[clock], start, end, level, coverage, 2 * width, *counts, remark))
    return test.assign(time_low=test["time_pred"] - half, time_high=test["time_pred"] + half), table
