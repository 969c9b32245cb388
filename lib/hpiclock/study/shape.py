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


def excess(value: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return P(both of two standard normals < b) - value**2 with value = P(one < b).

    The integral of the bivariate normal density over the correlation (Drezner and Wesolowsky 1990).
    """
    b = ndtri(np.clip(value, EDGE, 1 - EDGE))[..., None]
    angle = np.arcsin(np.clip(correlation, -1, 1))[..., None]
    inside = np.exp(-(b**2) / (1 + np.sin(angle * (NODES + 1) / 2)))
    return (inside * WEIGHTS).sum(-1) * angle[..., 0] / (4 * np.pi)


class Shape(NamedTuple):
    """The variance at a value t and a correlation r: the sum of weight * excess(t, fixed + slope * r).

    weight: (..., terms); fixed, slope: (terms,). Terms of correlation 0 add nothing and are left out.
    """

    weight: np.ndarray
    fixed: np.ndarray
    slope: np.ndarray

    def variance(self, value: np.ndarray, icc: np.ndarray) -> np.ndarray:
        """Return the variance at ``value``, both (...,)."""
        correlation = self.fixed + self.slope * icc[..., None]
        return (self.weight * excess(value[..., None], correlation)).sum(-1)


def shape_of_share(same_frame: np.ndarray, same_group: np.ndarray) -> Shape:
    """Return the shape for a share of frames.

    Args:
        same_frame: chance that two frames drawn with replacement are one frame.
        same_group: chance that they are two frames of one group.
    """
    weight = np.stack([np.asarray(same_frame), np.asarray(same_group)], axis=-1)
    return Shape(weight, np.array([1.0, 0.0]), np.array([0.0, 1.0]))


def shape_of_auc(infected: tuple[np.ndarray, np.ndarray], mock: tuple[np.ndarray, np.ndarray]) -> Shape:
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
    return Shape(weight, np.array([term[1] for term in terms]), np.array([term[2] for term in terms]))


def score_interval(
    value: np.ndarray,
    variance: np.ndarray,
    quantile: np.ndarray,
    *,
    shape: Shape,
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


def _matching(value: np.ndarray, variance: np.ndarray, shape: Shape) -> np.ndarray:
    """The correlation in 0..1 at which the shape has this variance, as nearly as it can."""
    low, high = np.zeros_like(value), np.ones_like(value)
    for _ in range(14):
        middle = (low + high) / 2
        large = shape.variance(value, middle) > variance
        low, high = np.where(large, low, middle), np.where(large, middle, high)
    return (low + high) / 2


def _limits(
    value: np.ndarray, factor: np.ndarray, icc: np.ndarray, shape: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """Both limits at once, by bisection on the logit scale; the first axis is low, high."""
    inside = np.stack([logit(np.clip(value, EDGE, 1 - EDGE))] * 2)
    outside = inside + np.reshape([-55.0, 55.0], (2,) + (1,) * value.ndim)
    for _ in range(40):
        middle = (inside + outside) / 2
        trial = expit(middle)
        kept = (value - trial) ** 2 <= factor * shape.variance(trial, np.stack([icc] * 2))
        inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
    low, high = expit((inside + outside) / 2)
    return np.where(low < 1e-9, 0.0, low), np.where(high > 1 - 1e-9, 1.0, high)
