"""Any resampling of groups at the price of a matrix product, whatever the number of frames.

With weights w per group, AUC = w'A w / w'N w, where A[s, t] counts wins plus half ties of the infected
frames of group s over the uninfected frames of group t and N the pairs; every other metric is a ratio of
weighted per-group sums. Bootstraps, permutations of weights and leaving groups out are all weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hpiclock.study.scores import Scores
from hpiclock.study.sums import FORMULAS, group_sums

CHUNK = 500  # resamples at a time: memory stays bounded


class Table(NamedTuple):
    """Per-group sums of one set of frames; groups are 0..k-1 of the whole.

    linear: (k, columns) sums named ``names``; wins, pairs: (infected groups, uninfected groups).
    """

    names: tuple[str, ...]
    linear: np.ndarray
    infected: np.ndarray
    mock: np.ndarray
    wins: np.ndarray
    pairs: np.ndarray


def tabulate(scores: Scores, *, k: int) -> Table:
    """Return the table of one set of frames whose groups are coded 0..k-1.

    Only frames of one model are compared; memory grows with groups squared.
    """
    sums = group_sums(scores)
    names = tuple(sums.linear)
    linear = np.zeros((k, len(names)))
    for at, name in enumerate(names):
        linear[sums.codes, at] = sums.linear[name]
    known = scores.take((scores.truth >= 0) & ~np.isnan(scores.p))
    positive = known.truth == 1
    infected, row = np.unique(known.group[positive], return_inverse=True)
    mock, column = np.unique(known.group[~positive], return_inverse=True)
    wins, pairs = wins_between(
        known.p[positive], row, known.model[positive], known.p[~positive], column, known.model[~positive],
        shape=(len(infected), len(mock)),
    )  # fmt: skip
    return Table(names, linear, infected, mock, wins, pairs)


def wins_between(
    p1: np.ndarray,
    group1: np.ndarray,
    model1: np.ndarray,
    p0: np.ndarray,
    group0: np.ndarray,
    model0: np.ndarray,
    *,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return wins (ties half) and pairs of every group of the first sample over every one of the second."""
    wins, pairs = np.zeros(shape), np.zeros(shape)
    for model in np.unique(model1):
        mine, other = model1 == model, model0 == model
        order = np.argsort(p1[mine], kind="stable")
        scores, group = p1[mine][order], group1[mine][order]
        mine_n = np.bincount(group, minlength=shape[0])
        sorted0 = np.argsort(p0[other], kind="stable")
        scores0, codes0 = p0[other][sorted0], group0[other][sorted0]
        bounds = np.searchsorted(codes0[np.argsort(codes0, kind="stable")], np.arange(shape[1] + 1))
        by_group = scores0[np.argsort(codes0, kind="stable")]
        for at in range(shape[1]):
            part = by_group[bounds[at] : bounds[at + 1]]
            beaten = np.searchsorted(part, scores, "left") + np.searchsorted(part, scores, "right")
            wins[:, at] += np.bincount(group, weights=beaten / 2, minlength=shape[0])
            pairs[:, at] += mine_n * len(part)
    return wins, pairs


def resampled(tables: Sequence[Table], weights: np.ndarray, metrics: Sequence[str]) -> dict[str, np.ndarray]:
    """Return every metric of every table under every set of weights: name -> (resamples, tables).

    Args:
        tables: for example one per window, over the same groups.
        weights: (resamples, k) how often each group is drawn.
        metrics: keys of :data:`hpiclock.study.sums.FORMULAS` except ``auc_stratified``.
    """
    out = {metric: np.empty((len(weights), len(tables))) for metric in metrics}
    for start in range(0, len(weights), CHUNK):
        part = np.ascontiguousarray(weights[start : start + CHUNK], dtype=float)
        for at, table in enumerate(tables):
            totals = dict(zip(table.names, (part @ table.linear).T, strict=True))
            if "auc" in metrics:
                totals |= _pair_totals(table, part)
            for metric in metrics:
                out[metric][start : start + CHUNK, at] = FORMULAS[metric](totals)
    return out


def _pair_totals(table: Table, weights: np.ndarray) -> dict[str, np.ndarray]:
    first, second = weights[:, table.infected], weights[:, table.mock]
    return {
        "wins": ((first @ table.wins) * second).sum(1),
        "pairs": ((first @ table.pairs) * second).sum(1),
    }


def bootstrap_weights(kind: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return (resamples, k) draws of groups with replacement, within each kind of group.

    Args:
        kind: (k,) the sample each group belongs to.
        resamples: how many.
        rng: the randomness.
    """
    weights = np.zeros((resamples, len(kind)))
    for one in np.unique(kind):
        at = np.flatnonzero(kind == one)
        weights[:, at] = rng.multinomial(len(at), np.full(len(at), 1 / len(at)), resamples)
    return weights
