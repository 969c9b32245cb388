"""Any resampling of groups at the price of a matrix product, whatever the number of frames.

With weights w per group, AUC = w'A w / w'N w, where A[s, t] counts wins plus half ties of the infected
frames of group s over the uninfected frames of group t and N the pairs; every other metric is a ratio of
weighted per-group sums. Bootstraps, permutations of weights and leaving groups out are all weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hpiclock.analysis.frame_scores import FrameScores, linear_sums
from hpiclock.metrics import METRICS

CHUNK = 500  # resamples at a time: memory stays bounded
CELLS = 1 << 22  # of a table of frames and groups, for the same reason


class ResamplingTable(NamedTuple):
    """Per-group sums of one set of frames; groups are 0..k-1 of the whole.

    linear: (k, columns) sums named ``names``; wins, pairs: (infected groups, uninfected groups).
    """

    names: tuple[str, ...]
    linear: np.ndarray
    infected: np.ndarray
    mock: np.ndarray
    wins: np.ndarray
    pairs: np.ndarray


def resampling_table(scores: FrameScores, *, k: int) -> ResamplingTable:
    """Return the table of one set of frames whose groups are coded 0..k-1.

    Only frames of one model are compared; memory grows with groups squared.
    """
    known = scores.take(scores.truth >= 0)
    sums = linear_sums(known, known.group, k)
    linear = np.column_stack(list(sums.values()))
    known = known.take(~np.isnan(known.p))
    sides = [known.take(known.truth == truth) for truth in (1, 0)]
    codes = [np.unique(side.group, return_inverse=True) for side in sides]
    coded = [replace(side, group=code) for side, (_, code) in zip(sides, codes, strict=True)]
    infected, mock = codes[0][0], codes[1][0]
    wins, pairs = pair_wins(*coded, shape=(len(infected), len(mock)))
    return ResamplingTable(tuple(sums), linear, infected, mock, wins, pairs)


def pair_wins(
    infected: FrameScores, mock: FrameScores, *, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return wins (ties half) and pairs of the infected frames of each group over the mock ones of each.

    Args:
        infected: frames with a P(infected), groups coded 0..shape[0]-1.
        mock: the same, groups coded 0..shape[1]-1; frames of two models never meet.
        shape: of both results.
    """
    wins, pairs = np.zeros(shape), np.zeros(shape)
    for model in np.unique(infected.model):
        one, other = infected.take(infected.model == model), mock.take(mock.model == model)
        one = one.take(np.argsort(one.group, kind="stable"))
        other = other.take(np.argsort(other.p, kind="stable"))
        scores, scores0, codes0 = one.p, other.p, other.group
        below, upto = np.searchsorted(scores0, scores, "left"), np.searchsorted(scores0, scores, "right")
        present, first = np.unique(one.group, return_index=True)
        width = max(1, CELLS // (len(scores0) + len(scores) + 1))  # groups at a time: memory stays bounded
        for start in range(0, shape[1], width):
            some = np.arange(start, min(start + width, shape[1]))
            # how many frames of each group are among the lowest
            passed = np.zeros((len(scores0) + 1, len(some)), np.int32)
            np.cumsum(codes0[:, None] == some, axis=0, out=passed[1:])
            beaten = passed[below] + passed[upto]
            wins[present[:, None], some] += np.add.reduceat(beaten, first, axis=0, dtype=float) / 2
        n1 = np.bincount(one.group, minlength=shape[0])
        n0 = np.bincount(other.group, minlength=shape[1])
        pairs += np.outer(n1, n0)
    return wins, pairs


def resampled_metric(
    tables: Sequence[ResamplingTable], weights: np.ndarray, metrics: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return every metric of every table under every set of weights: name -> (resamples, tables).

    Args:
        tables: for example one per window, over the same groups.
        weights: (resamples, k) how often each group is drawn.
        metrics: keys of :data:`hpiclock.metrics.METRICS` except ``auc_stratified``.
    """
    out = {metric: np.empty((len(weights), len(tables))) for metric in metrics}
    for start in range(0, len(weights), CHUNK):
        part = np.ascontiguousarray(weights[start : start + CHUNK], dtype=float)
        for at, table in enumerate(tables):
            totals = dict(zip(table.names, (part @ table.linear).T, strict=True))
            if "auc" in metrics:
                totals |= _pair_totals(table, part)
            for metric in metrics:
                out[metric][start : start + CHUNK, at] = METRICS[metric].value(totals)
    return out


def _pair_totals(table: ResamplingTable, weights: np.ndarray) -> dict[str, np.ndarray]:
    first, second = weights[:, table.infected], weights[:, table.mock]
    return {"wins": ((first @ table.wins) * second).sum(1), "pairs": ((first @ table.pairs) * second).sum(1)}


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
