"""How alike the frames of one group are: the intra-class correlation of their scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from hpiclock.study.scores import Scores


class Alike(NamedTuple):
    """Per class (uninfected, infected): correlation within groups and what pairs of frames share.

    icc: (2,) intra-class correlation of normal scores; same_frame, same_group: (2,) chances that two
    frames of the class, drawn with replacement, are one frame, or two frames of one group; n: (2,) frames.
    """

    icc: np.ndarray
    same_frame: np.ndarray
    same_group: np.ndarray
    n: np.ndarray


def alike(scores: Scores, group: np.ndarray, k: int) -> Alike:
    """Return how alike the scores of a group are, class by class; groups are coded 0..k-1."""
    out = np.zeros((3, 2))
    n = np.zeros(2)
    for truth in (0, 1):
        mine = (scores.truth == truth) & ~np.isnan(scores.p)
        size = np.bincount(group[mine], minlength=k)
        n[truth] = size.sum()
        if n[truth] == 0:
            continue
        out[1, truth] = 1 / n[truth]
        out[2, truth] = (size * (size - 1.0)).sum() / n[truth] ** 2
        out[0, truth] = icc_of_normal_scores(scores.p[mine], group[mine], k)
    return Alike(out[0], out[1], out[2], n)


def icc_of_normal_scores(p: np.ndarray, group: np.ndarray, k: int) -> float:
    """Return the share of variance between groups, 0..1, of the scores turned into normal ones by rank.

    One-way analysis of variance with unequal group sizes; 0 where there is nothing to compare.
    """
    _, at, count = np.unique(p, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2  # mean rank of equal scores
    z = ndtri((middle[at] - 0.5) / len(p))
    size = np.bincount(group, minlength=k).astype(float)
    size_there, n = size[size > 0], float(len(p))
    groups = len(size_there)
    if groups < 2 or n <= groups:
        return 0.0
    means = np.bincount(group, weights=z, minlength=k)[size > 0] / size_there
    between = (size_there * (means - z.mean()) ** 2).sum()
    within = max(float(((z - z.mean()) ** 2).sum() - between), 0.0) / (n - groups)
    typical = (n - (size_there**2).sum() / n) / (groups - 1)
    extra = max((between / (groups - 1) - within) / typical, 0.0)
    return extra / (extra + within) if extra + within > 0 else 0.0
