"""Differences of a metric between two variants on the same frames, with what each group adds to them.

A ratio metric is N / M with sums over groups. With R the ratio of both variants together, group w adds
``(N1w - R M1w) / M1 - (N2w - R M2w) / M2``: these add up to the difference, and where no variant is better
each is as likely to be above zero as below. For an AUC a group adds what its infected frames win more
against all uninfected ones, and what its uninfected frames lose less, over the number of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hpiclock.study.intervals import strata
from hpiclock.study.scores import Scores
from hpiclock.study.sums import linear_sums, pair_sums

# metric -> (numerator, denominator), names of per-group sums
RATIOS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "accuracy": ({"tp": 1, "tn": 1}, {"n": 1}),
    "f1": ({"tp": 2}, {"tp": 2, "fp": 1, "fn": 1}),
    "recall": ({"tp": 1}, {"tp": 1, "fn": 1}),
    "specificity": ({"tn": 1}, {"tn": 1, "fp": 1}),
    "brier": ({"brier": 1}, {"n": 1}),
    "mae": ({"abs": 1}, {"n_time": 1}),
}
PAIRS = {"auc": "model", "auc_stratified": "stratum"}
NEEDED = {"recall": "infected", "specificity": "mock"}
ABSENT = 3  # the kind of a group without a frame here


class Seed(NamedTuple):
    """The scores of one seed on some frames, those with a known truth, and their sums per group."""

    scores: Scores
    sums: dict[str, np.ndarray]


class Parts(NamedTuple):
    """A metric of one variant: by seed values and whole denominators (seeds,), sums of groups (seeds, k).

    For an AUC the sums are wins and pairs that a group takes part in: each pair stands with two groups.
    """

    value: float
    by_seed: np.ndarray
    whole: np.ndarray
    numerator: np.ndarray
    denominator: np.ndarray


class Difference(NamedTuple):
    """First less second variant: the values, and per group what it adds.

    of_group: (k,) for the test; by_seed: per variant (seeds,) its values; of_seeds: per variant (seeds, k)
    what each group adds to how a seed deviates; samples: indices of the groups of each sample.
    """

    first: float
    second: float
    of_group: np.ndarray
    by_seed: tuple[np.ndarray, np.ndarray]
    of_seeds: tuple[np.ndarray, np.ndarray]
    samples: list[np.ndarray]
    why_not: str

    @property
    def value(self) -> float:
        """The difference."""
        return self.first - self.second


def seed_of(scores: Scores, k: int) -> Seed:
    """Return what every metric of these frames needs; groups are coded 0..k-1."""
    known = scores.take(scores.truth >= 0)
    return Seed(known, linear_sums(known, known.group, k))


def parts_of(seeds: list[Seed], metric: str, k: int) -> Parts:
    """Return a metric of one variant and its sums per seed and group.

    Args:
        seeds: the same frames by each seed, groups coded 0..k-1.
        metric: of :data:`RATIOS` or :data:`PAIRS`.
        k: how many groups there are.
    """
    made = [_pairs(one.scores, metric, k) if metric in PAIRS else _ratio(one.sums, metric) for one in seeds]
    numerator, denominator = (np.stack(values) for values in zip(*made, strict=True))
    twice = 2.0 if metric in PAIRS else 1.0  # a pair stands with both of its groups
    top, bottom = numerator.sum(1) / twice, denominator.sum(1) / twice
    bottom = np.where(bottom > 0, bottom, np.nan)
    return Parts(float(top.sum() / bottom.sum()), top / bottom, bottom, numerator, denominator)


def _ratio(sums: Mapping[str, np.ndarray], metric: str) -> tuple[np.ndarray, np.ndarray]:
    top, bottom = (sum(weight * sums[name] for name, weight in part.items()) for part in RATIOS[metric])
    return np.asarray(top), np.asarray(bottom)


def _pairs(scores: Scores, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    known = scores.take(~np.isnan(scores.p))
    _, rank = np.unique(known.p, return_inverse=True)
    block = known.model
    if metric == "auc_stratified" and len(known):
        _, hour = np.unique(known.stratum, return_inverse=True)
        block = block * (int(hour.max()) + 1) + hour
    made = pair_sums(rank, known.truth == 1, known.group, block, k)
    row, column, _ = made["wins"]
    rows, columns, _ = made["pairs"]
    return row + column, rows + columns


def difference(first: list[Seed], second: list[Seed], metric: str, k: int) -> Difference:
    """Return the difference of a metric between two variants on the same frames.

    Args:
        first: the frames by each seed of a variant, groups coded 0..k-1.
        second: those of the other.
        metric: of :data:`RATIOS` or :data:`PAIRS`.
        k: how many groups there are.
    """
    one, other = parts_of(first, metric, k), parts_of(second, metric, k)
    why = _unlike(first[0].scores, second[0].scores, metric)
    if not why and np.isnan(one.value - other.value):
        why = "one class only" if metric != "mae" else "no predicted times"
    kinds = _kinds(first[0].scores, k)
    samples = [at[kinds[at] != ABSENT] for at in strata(kinds, needed=NEEDED.get(metric, "all")).values()]
    samples = [at for at in samples if len(at)]
    if why:
        nothing = np.full(k, np.nan)
        return Difference(one.value, other.value, nothing, (one.by_seed, other.by_seed),
                          (nothing[None], nothing[None]), samples, why)  # fmt: skip
    common = (one.value + other.value) / 2
    added = [_added(part, common if metric in RATIOS else None) for part in (one, other)]
    own = [_added(part, part.value) for part in (one, other)]
    return Difference(
        one.value, other.value, added[0].mean(0) - added[1].mean(0), (one.by_seed, other.by_seed),
        (own[0], own[1]), samples, "",
    )  # fmt: skip


def _added(part: Parts, at: float | None) -> np.ndarray:
    """What each group adds per seed: (seeds, k); ``at`` is the value from which a ratio is seen."""
    added = part.numerator if at is None else part.numerator - at * part.denominator
    return added / part.whole[:, None]


def _kinds(scores: Scores, k: int) -> np.ndarray:
    has = [np.bincount(scores.group[scores.truth == truth], minlength=k) > 0 for truth in (0, 1)]
    return np.where(has[0] & has[1], 2, np.where(has[1], 1, np.where(has[0], 0, ABSENT)))


def _unlike(one: Scores, other: Scores, metric: str) -> str:
    """Why two variants cannot be compared on these frames: one does not say it of all of them."""
    answers = [s.error if metric == "mae" else s.p for s in (one, other)]
    said = [~np.isnan(answer) for answer in answers]
    if not len(said[0]):
        return "no frames"
    if (said[0] == said[1]).all():
        return "" if said[0].any() else "neither says it"
    what = "time" if metric == "mae" else "class"
    which = "the first" if said[0].sum() < said[1].sum() else "the second"
    return f"{which} gives no {what} for {'these' if not min(map(np.sum, said)) else 'some of these'} frames"
