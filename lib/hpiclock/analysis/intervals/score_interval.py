"""Score-type intervals for shares and AUCs of grouped frames: the variance is that of the tested value.

Near 0 or 1 an interval of estimate +- t x standard error misses, on any scale: the few groups that err
decide the estimate and its error together. A score interval keeps every value whose own standard error
reaches the estimate. How the variance changes with the value is taken from normal scores that share an
effect per group; how large it is, from the jackknife over groups. Every function takes arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, ndtri

NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)
EDGE = 1e-12


def excess_joint_probability(value: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return P(both of two standard normals < b) - value**2 with value = P(one < b).

    The integral of the bivariate normal density over the correlation (Drezner and Wesolowsky 1990).
    """
    b = ndtri(np.clip(value, EDGE, 1 - EDGE))[..., None]
    angle = np.arcsin(np.clip(correlation, -1, 1))[..., None]
    inside = np.exp(-(b**2) / (1 + np.sin(angle * (NODES + 1) / 2)))
    return (inside * WEIGHTS).sum(-1) * angle[..., 0] / (4 * np.pi)


class VarianceModel(NamedTuple):
    """The variance at a value t and a correlation r: the sum of weight * excess(t, fixed + slope * r).

    weight: (..., terms); fixed, slope: (terms,). Terms of correlation 0 add nothing and are left out.
    """

    weight: np.ndarray
    fixed: np.ndarray
    slope: np.ndarray

    def variance(self, value: np.ndarray, icc: np.ndarray) -> np.ndarray:
        """Return the variance at ``value``, both (...,)."""
        correlation = self.fixed + self.slope * icc[..., None]
        return (self.weight * excess_joint_probability(value[..., None], correlation)).sum(-1)


def share_variance_model(same_frame: np.ndarray, same_group: np.ndarray) -> VarianceModel:
    """Return the shape for a share of frames.

    Args:
        same_frame: chance that two frames drawn with replacement are one frame.
        same_group: chance that they are two frames of one group.
    """
    weight = np.stack([np.asarray(same_frame), np.asarray(same_group)], axis=-1)
    return VarianceModel(weight, np.array([1.0, 0.0]), np.array([0.0, 1.0]))


def auc_variance_model(
    infected: tuple[np.ndarray, np.ndarray], mock: tuple[np.ndarray, np.ndarray]
) -> VarianceModel:
    """Return the shape for an AUC.

    Two pairs of frames share nothing, a group or a frame on either side; what they share is their
    correlation. Arguments are ``(same_frame, same_group)`` of each class, as in :func:`shape_of_share`.
    """
    sides = []
    for frame, group in (infected, mock):
        frame, group = np.asarray(frame), np.asarray(group)
        sides.append([(frame, 0.5, 0.0), (group, 0.0, 0.5), (1 - frame - group, 0.0, 0.0)])
    terms = [(p * q, a + c, b + d) for p, a, b in sides[0] for q, c, d in sides[1]]
    terms = terms[:-1]  # the last shares nothing
    weight = np.stack([term[0] for term in terms], axis=-1)
    return VarianceModel(weight, np.array([term[1] for term in terms]), np.array([term[2] for term in terms]))


def score_interval(
    value: np.ndarray,
    variance: np.ndarray,
    quantile: np.ndarray,
    *,
    shape: VarianceModel,
    icc: np.ndarray,
    trust: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits: the values t with ``|value - t| <= quantile * sqrt(variance at t)``.

    Args:
        value: the estimate, 0..1.
        variance: its jackknife variance.
        quantile: of Student's t.
        shape: variance as a function of value and correlation.
        icc: correlation within groups, from all scores.
        trust: 0..1, how far the jackknife variance can be trusted; the rest comes from ``shape`` at ``icc``
            where that is larger.
    """
    expected = shape.variance(value, icc)
    variance = trust * variance + (1 - trust) * np.maximum(variance, expected)
    perfect = (value <= EDGE) | (value >= 1 - EDGE)
    matched = np.where(perfect, icc, _matching(value, variance, shape))
    there = shape.variance(value, matched)
    scale = np.where(perfect | (there <= 0), 1.0, variance / np.maximum(there, 1e-300))
    low, high = _limits(value, quantile**2 * scale, matched, shape)
    return low, high


CUTS = np.arange(1, 7) / 7  # six trials a step: few steps, since one array call costs more than its entries


def _matching(value: np.ndarray, variance: np.ndarray, shape: VarianceModel) -> np.ndarray:
    """The correlation in 0..1 at which the shape has this variance, as nearly as it can."""
    low, high = np.zeros_like(value), np.ones_like(value)
    for _ in range(5):
        step = (high - low) / (len(CUTS) + 1)
        trials = low + (high - low) * _first(CUTS, value)
        small = (shape.variance(_many(value), trials) <= variance).sum(0)  # variance grows with correlation
        low = low + small * step
        high = low + step
    return (low + high) / 2


def _limits(
    value: np.ndarray, factor: np.ndarray, icc: np.ndarray, shape: VarianceModel
) -> tuple[np.ndarray, np.ndarray]:
    """Both limits at once, on the logit scale; the first axis is trials, the second low and high."""
    inside = np.stack([logit(np.clip(value, EDGE, 1 - EDGE))] * 2)
    reach = np.reshape([-55.0, 55.0], (2,) + (1,) * value.ndim) + 0 * inside
    icc = _many(np.stack([icc] * 2))
    for _ in range(10):
        trials = expit(inside + reach * _first(CUTS, inside))
        kept = (value - trials) ** 2 <= factor * shape.variance(trials, icc)
        # the first trial that is not kept ends the interval
        steps = np.where(kept.all(0), len(CUTS), kept.argmin(0))
        inside = inside + steps * reach / (len(CUTS) + 1)
        reach = reach / (len(CUTS) + 1)
    low, high = expit(inside + reach / 2)
    return np.where(low < 1e-9, 0.0, low), np.where(high > 1 - 1e-9, 1.0, high)


def _first(cuts: np.ndarray, like: np.ndarray) -> np.ndarray:
    return cuts.reshape(-1, *(1,) * like.ndim)


def _many(values: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values, (len(CUTS), *np.shape(values)))
