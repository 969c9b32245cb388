"""Coverage of the intervals exactly as the study computes them, for the metrics that need whole tables.

Each replicate is a table of frames: k infected and k mock groups, called at a threshold that is not where
the two errors are equal, with times of infected frames. Precision and recall are of the class; the time
metrics are those of the infected groups alone, so that k groups mean k.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri

from hpiclock.analysis.frame_scores import FrameScores, group_sums
from hpiclock.analysis.intervals import metric_interval
from hpiclock.metrics import METRICS

CLASS = ("precision", "recall")
TIME = ("mae_one_class", "rmse", "mse", "bias", "r2", "mae_of_clock", "gain_over_clock", "skill_over_clock")
SQUARES = ("rmse", "mse")
THRESHOLD = 0.4  # as a share of the distance between the classes
LAST_H, ONSET_H, TIME_SD_H, BIAS_H = 48.0, 12.0, 3.0, 0.5
FRAME_UNITS = 200  # replicates with frames as the units: a warning, not a method


def times(error: np.ndarray, onset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Target and the clock's error, (groups, frames) each, of infected groups with these onsets."""
    frames = error.shape[-1]
    hours = np.tile(np.linspace(0, LAST_H, frames // 2), 2)
    target = hours - onset[..., None]
    return target, np.broadcast_to((onset - ONSET_H / 2)[..., None], target.shape)


def scores_of(infected: np.ndarray, mock: np.ndarray, cut: float, error: np.ndarray, rng: np.random.Generator,
              *, frames_are_groups: bool) -> tuple[FrameScores, FrameScores]:  # fmt: skip
    """The frames of both classes, and the infected ones with their times; inputs are (k, frames) each."""
    k, m = infected.shape
    p = np.concatenate([infected, mock]).ravel()
    group = np.arange(2 * k * m) if frames_are_groups else np.repeat(np.arange(2 * k), m)
    target, clock = times(error, rng.uniform(0, ONSET_H, k))
    nothing = np.full(p.size, np.nan)
    zeros = np.zeros(p.size, int)
    infected_first = np.repeat([1, 0], k * m).astype(np.int8)

    def with_mock(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values.ravel(), nothing[: k * m]])

    scores = FrameScores(
        truth=infected_first, condition=infected_first, p=ndtr(p), called=p >= cut, group=group, stack=group,
        well=group, model=zeros, stratum=zeros, target=with_mock(target), error=with_mock(error),
        target_predicted=nothing, error_predicted=nothing, off_clock=with_mock(clock),
        off_mean=with_mock(target - target.mean()),
    )  # fmt: skip
    return scores, scores.take(scores.truth == 1)


def truths(shift: float) -> dict[str, float]:
    """The values in the limit of many groups."""
    recall, false = ndtr((1 - THRESHOLD) * shift), ndtr(-THRESHOLD * shift)
    hours = np.linspace(0, LAST_H, 12)
    square = TIME_SD_H**2 + BIAS_H**2
    r = BIAS_H / TIME_SD_H
    mae = TIME_SD_H * (np.sqrt(2 / np.pi) * np.exp(-(r**2) / 2) + r * (1 - 2 * ndtr(-r)))
    clock = ONSET_H / 4
    return {
        "precision": recall / (recall + false), "recall": recall, "rmse": np.sqrt(square), "mse": square,
        "bias": BIAS_H, "r2": 1 - square / (hours.var() + ONSET_H**2 / 12), "mae_of_clock": clock,
        "mae_one_class": mae, "gain_over_clock": clock - mae, "skill_over_clock": 1 - mae / clock,
    }  # fmt: skip


def limits(
    infected: np.ndarray, mock: np.ndarray, error: np.ndarray, *, auc: float, level: float, with_time: bool,
    frames_are_groups: bool, rng: np.random.Generator,
) -> Iterator[tuple[str, float, np.ndarray]]:  # fmt: skip
    """Yield each metric, its truth and the limits of every replicate, (replicates, 2)."""
    shift = float(np.sqrt(2) * ndtri(auc))
    metrics = (*CLASS, *(TIME if with_time else ()))
    found: dict[str, list[tuple[float, float]]] = {metric: [] for metric in metrics}
    for one in range(min(FRAME_UNITS, len(infected)) if frames_are_groups else len(infected)):
        both, timed = scores_of(infected[one], mock[one], THRESHOLD * shift, error[one] + BIAS_H, rng,
                                frames_are_groups=frames_are_groups)  # fmt: skip
        sums = group_sums(both)
        time_sums = group_sums(timed) if with_time else sums
        for metric in metrics:
            source = sums if metric in CLASS else time_sums
            name = metric.removesuffix("_one_class")
            made = metric_interval(source, name, level=level)
            value = float(METRICS[name].value(source.total))
            # no interval because every group says the same: the point is all there is
            found[metric].append((made.low, made.high) if np.isfinite(made.low) else (value, value))
    for metric in metrics:
        yield metric, truths(shift)[metric], np.array(found[metric])
