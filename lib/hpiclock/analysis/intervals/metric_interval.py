"""The interval of any metric of the registry, by the kind it names there."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from hpiclock.analysis.frame_scores import GroupSums
from hpiclock.analysis.intervals.clustered import (
    NO_VARIATION,
    ONE_DECIDES,
    WIDEST,
    Interval,
    effective_groups,
    jackknife_deviations,
    jackknife_variance,
    no_interval,
    reduced_df,
    samples_by_class,
    too_few_groups,
    variance_trust,
)
from hpiclock.analysis.intervals.error_interval import (
    interval_of_mean_absolute_error,
    interval_of_mean_square,
)
from hpiclock.analysis.intervals.score_interval import (
    VarianceModel,
    auc_variance_model,
    score_interval,
    share_variance_model,
)
from hpiclock.metrics import METRICS, Metric

ENOUGH = 10.0  # contributing groups with which the variance of a share is trusted


def metric_interval(sums: GroupSums, name: str, *, level: float) -> Interval:
    """Return the confidence interval of one metric.

    Args:
        sums: of the frames the metric is computed on.
        name: a key of :data:`hpiclock.metrics.METRICS`.
        level: for example 0.95.
    """
    metric = METRICS[name]
    value = float(metric.value(sums.total))
    if np.isnan(value):
        return no_interval()
    samples = samples_by_class(sums.kind, needed=metric.needs)
    few = too_few_groups(samples)
    if few:
        return no_interval(few)
    left_out = metric.value(sums.without)
    groups = list(samples.values())
    if np.isnan(left_out[np.concatenate(groups)]).any():
        return no_interval("no interval: one group alone makes the value defined")
    if metric.is_share:
        return _share(sums, metric, left_out, groups, level)
    if metric.interval == "absolute":
        return interval_of_mean_absolute_error(sums, metric, left_out, groups, level)
    if metric.interval in ("square", "root", "r2"):
        return interval_of_mean_square(sums, metric, left_out, groups, level)
    variance, df = jackknife_variance(left_out, groups)
    if variance == 0:
        return no_interval(NO_VARIATION)
    half = float(
        stdtrit(reduced_df(df, jackknife_deviations(left_out, groups)), (1 + level) / 2) * np.sqrt(variance)
    )
    if metric.interval == "difference":
        return Interval(max(value - half, metric.least), value + half, "")
    step = half / (1 - value)  # on the scale of log(1 - value)
    if step > WIDEST:
        return no_interval(ONE_DECIDES)
    return Interval(1 - (1 - value) * float(np.exp(step)), 1 - (1 - value) * float(np.exp(-step)), "")


def share_interval(
    value: np.ndarray,
    left_out: np.ndarray,
    samples: list[np.ndarray],
    *,
    shape: VarianceModel,
    icc: np.ndarray,
    level: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of a share or an AUC: (...,) each.

    Args:
        value: (...,) the estimate.
        left_out: (..., k) the estimate with each group left out.
        samples: indices of the groups of each sample.
        shape: how the variance depends on the value.
        icc: (...,) correlation of the scores within groups.
        level: for example 0.95.
    """
    variance, df = jackknife_variance(left_out, samples)
    deviations = jackknife_deviations(left_out, samples)
    trusted = variance_trust(deviations)
    if len(shape.fixed) == 2:  # a share: heavy tails shorten its degrees of freedom, many groups are enough
        df = reduced_df(df, deviations)
        trusted = np.where(trusted > 0, np.clip(effective_groups(deviations) / ENOUGH, trusted, 1.0), 0.0)
    return score_interval(value, variance, stdtrit(df, (1 + level) / 2), shape=shape, icc=icc, trust=trusted)


def _share(
    sums: GroupSums, metric: Metric, left_out: np.ndarray, groups: list[np.ndarray], level: float
) -> Interval:
    value = float(metric.value(sums.total))
    shape, icc = _shape(sums, metric)
    low, high = share_interval(np.array(value), left_out, groups, shape=shape, icc=np.array(icc), level=level)
    note = "no group errs: limit from how alike the scores of a group are" if value in (0.0, 1.0) else ""
    return Interval(float(low), float(high), note)


def _shape(sums: GroupSums, metric: Metric) -> tuple[VarianceModel, float]:
    within = sums.correlation
    if metric.interval == "auc":
        mock, infected = zip(within.same_frame, within.same_group, strict=True)
        return auc_variance_model(infected, mock), float(within.icc.mean())
    weight = {"infected": np.array([0.0, 1.0]), "mock": np.array([1.0, 0.0])}.get(metric.needs, within.n)
    weight = weight / weight.sum()
    frame, group = (weight**2 * within.same_frame).sum(), (weight**2 * within.same_group).sum()
    return share_variance_model(frame, group), float((weight * within.icc).sum())
