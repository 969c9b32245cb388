"""AUCs of any score against any truth, with the study's own intervals over wells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from hpiclock.study.groups import choose_level
from hpiclock.study.intervals import jackknife, strata, too_few
from hpiclock.study.measure import measure
from hpiclock.study.scores import Scores, prepare
from hpiclock.study.sums import FORMULAS, Sums, group_sums

NOT_THERE = float("nan")
SAME_HOUR = "auc_stratified"


class Value(NamedTuple):
    """A value with its limits, and the words of its METRICS note."""

    value: float
    low: float
    high: float
    note: str = ""


def auc_of(
    rows: pd.DataFrame, score: np.ndarray, truth: np.ndarray, *, level: float, metric: str = SAME_HOUR
) -> Value:
    """Return the AUC of a score, of pairs from the same hour unless ``metric`` is ``auc``.

    Args:
        rows: with the identity columns, ``hours``, and ``run fold seed`` where models differ.
        score: (rows,) the larger, the more infected.
        truth: (rows,) 1 infected, 0 not, -1 left out.
        level: of the interval.
        metric: ``auc_stratified`` or ``auc``.
    """
    if len(rows) == 0:
        return Value(NOT_THERE, NOT_THERE, NOT_THERE, "no frames")
    unit = choose_level(rows)
    scores = scores_of(rows, score, truth)
    found = measure(scores, (metric,), level=level, unit=unit.unit, remark=unit.caveat)[0]
    return Value(found["value"], found["low"], found["high"], found["note"])


def auc_gain(
    rows: pd.DataFrame, one: np.ndarray, other: np.ndarray, truth: np.ndarray, *, level: float
) -> Value:
    """Return how much larger the AUC (same hour) of one score is than that of another, paired by group."""
    sums = [group_sums(scores_of(rows, score, truth)) for score in (one, other)]
    formula = FORMULAS[SAME_HOUR]
    gain = float(formula(sums[0].total) - formula(sums[1].total))
    return _paired(sums, gain, level)


def scores_of(rows: pd.DataFrame, score: np.ndarray, truth: np.ndarray) -> Scores:
    """Return the arrays of the study for a score of its own; its group is the unit of resampling."""
    nothing = np.full(len(rows), np.nan)
    defaults = {"run": "", "fold": 0, "seed": 0, "clock": "experiment"}
    given = {name: value for name, value in defaults.items() if name not in rows.columns}
    table = rows.assign(
        **given, p_infected=np.asarray(score, float), time_pred=nothing, time_target=nothing, label=0
    )
    scores = prepare(table, threshold=0.5, group=choose_level(rows).codes)
    return scores.with_truth(np.asarray(truth))


def labels_of(rows: pd.DataFrame) -> np.ndarray:
    """Return the label of each row, -1 where it has none: (rows,) int8."""
    return rows["label"].astype("Int8").fillna(-1).to_numpy(np.int8)


def mean_over(values: np.ndarray, groups: np.ndarray, *, level: float) -> Value:
    """Return the mean over groups of the groups' means, with Student's t interval; none below 3 groups."""
    means = pd.Series(np.asarray(values, float)).groupby(np.asarray(groups)).mean().dropna().to_numpy()
    if len(means) == 0:
        return Value(NOT_THERE, NOT_THERE, NOT_THERE, "no values")
    middle = float(means.mean())
    if len(means) < 3:
        return Value(middle, NOT_THERE, NOT_THERE, f"no interval: {len(means)} groups, at least 3 needed")
    half = float(stats.t.ppf((1 + level) / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return Value(middle, middle - half, middle + half, f"over {len(means)} groups")


def _paired(sums: list[Sums], gain: float, level: float) -> Value:
    samples = strata(sums[0].kind, needed="all")
    few = too_few(samples)
    formula = FORMULAS[SAME_HOUR]
    left_out = formula(sums[0].without) - formula(sums[1].without)
    if few or np.isnan(left_out).any() or np.isnan(gain):
        return Value(gain, NOT_THERE, NOT_THERE, few or "no interval: one group alone makes it defined")
    variance, df = jackknife(left_out, list(samples.values()))
    half = float(stats.t.ppf((1 + level) / 2, df) * np.sqrt(variance))
    return Value(gain, gain - half, gain + half)
