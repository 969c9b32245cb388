"""Permutation by well: could the difference between infected and mock come from which wells they are?

What was done to a well is shuffled among the wells of a plate; frames stay with their well. Where wells
hold both classes (slides, donors) stacks are shuffled within their well instead. With one well in a class
nothing but positions is left, and a p-value of positions says nothing of wells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.study.groups import class_of, codes_of
from hpiclock.study.scores import hour_strata, model_codes


class Units(NamedTuple):
    """What is shuffled: one row per unit.

    name: ``well`` or ``position``; of_row: (rows,) each row's unit; infected: (units,) bool; stratum:
    (units,) within which units are exchanged; wells: number of (infected, mock) wells; mixed: wells hold
    both classes.
    """

    name: str
    of_row: np.ndarray
    infected: np.ndarray
    stratum: np.ndarray
    wells: tuple[int, int]
    mixed: bool

    @property
    def replicated(self) -> bool:
        """Whether infection can be told from well at all."""
        return self.mixed or min(self.wells) >= 2


class Test(NamedTuple):
    """A permutation test: p, the smallest p that this design could give, and how many shuffles were made.

    worst: which of the statistics differs most; difference: (statistics,) infected less mock, in SDs
    between units.
    """

    p: float
    floor: float
    shuffles: int
    worst: int
    difference: np.ndarray


def units_of(rows: pd.DataFrame) -> Units:
    """Return the units that may be exchanged between the classes.

    Only units of one plate that the same models judged are exchanged: the models of two folds differ, and
    each saw the labels of the other's wells.

    Args:
        rows: with ``plate well stack_id condition``, and ``run fold seed`` where there are models.
    """
    infected = class_of(rows) == 1
    wells = codes_of(rows, "position") if rows["well"].eq("").any() else codes_of(rows, "well")
    held = pd.DataFrame({"well": wells, "infected": infected}).groupby("well")["infected"].nunique()
    n_wells = (len(np.unique(wells[infected])), len(np.unique(wells[~infected])))
    mixed = bool((held > 1).any())
    by_well = not mixed and min(n_wells) >= 2
    codes = pd.factorize(wells if by_well else codes_of(rows, "position"))[0]
    first = np.unique(codes, return_index=True)[1]
    place = (wells if mixed else codes_of(rows, "plate"))[first]
    name = "well" if by_well and not rows["well"].eq("").any() else "position"
    return Units(name, codes, infected[first], _crossed(place, _models(rows, codes)), n_wells, mixed)


def centred(rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Return the values less the mean over all frames of the same plate, model and hour: (rows, statistics).

    What is left does not depend on which hours a well has, and no label is used.
    """
    block = pd.factorize(codes_of(rows, "plate") * (hour_strata(rows).max() + 2) + hour_strata(rows))[0]
    if "run" in rows.columns:
        block = pd.factorize(block * (model_codes(rows).max() + 1) + model_codes(rows))[0]
    table = pd.DataFrame(np.asarray(values, float))
    return (table - table.groupby(block).transform("mean")).to_numpy()


def unit_means(units: Units, values: np.ndarray) -> np.ndarray:
    """Return the mean of each statistic in each unit: (rows, statistics) -> (units, statistics)."""
    return pd.DataFrame(np.asarray(values, float)).groupby(units.of_row).mean().to_numpy()


def permutation_test(
    units: Units, means: np.ndarray, *, two_sided: bool, shuffles: int, rng: np.random.Generator
) -> Test:
    """Compare infected with mock units, all statistics in one test (the largest difference counts).

    Every assignment is tried where there are at most ``shuffles``; else that many are drawn, and the
    observed one is counted among them. Both are exact tests (Phipson and Smyth 2010).

    Args:
        units: who may be exchanged.
        means: (units, statistics).
        two_sided: else only ``infected > mock`` counts.
        shuffles: the most assignments to try.
        rng: for the draw.
    """
    spread = _within(means, units.stratum).std(0)
    scaled = np.where(spread > 1e-12, means / np.where(spread > 1e-12, spread, 1.0), 0.0)
    assigned = assignments(units, shuffles=shuffles, rng=rng)  # (shuffles, units) bool, the observed first
    weight = assigned / np.maximum(assigned.sum(1, keepdims=True), 1)
    weight = weight - ~assigned / np.maximum((~assigned).sum(1, keepdims=True), 1)
    difference = weight @ scaled  # (shuffles, statistics)
    size = np.abs(difference) if two_sided else difference
    reached = size.max(1)
    worst = int(size[0].argmax())
    p = float((reached >= reached[0] - 1e-9).mean())
    return Test(p, floor(units, two_sided=two_sided, shuffles=shuffles), len(assigned), worst, difference[0])


def floor(units: Units, *, two_sided: bool, shuffles: int) -> float:
    """Return the smallest p that a permutation of these units can give."""
    sizes = _sizes(units)
    every = math.prod(math.comb(n, k) for n, k in sizes)
    # exchanging all infected for all mock units mirrors the difference
    mirrored = two_sided and all(2 * k == n for n, k in sizes)
    return max((2.0 if mirrored else 1.0) / every, 1.0 / shuffles)


def assignments(units: Units, *, shuffles: int, rng: np.random.Generator) -> np.ndarray:
    """Return which units are infected in each shuffle, the observed one first: (shuffles, units) bool."""
    strata = [np.flatnonzero(units.stratum == s) for s in np.unique(units.stratum)]
    if math.prod(math.comb(n, k) for n, k in _sizes(units)) <= shuffles:
        parts = [list(combinations(at, int(units.infected[at].sum()))) for at in strata]
        every = np.zeros((math.prod(len(part) for part in parts), len(units.infected)), bool)
        for row, chosen in enumerate(product(*parts)):
            every[row, [i for group in chosen for i in group]] = True
        observed = (every == units.infected).all(1)
        return np.concatenate([every[observed], every[~observed]])
    drawn = np.tile(units.infected, (shuffles, 1))
    for at in strata:
        drawn[1:, at] = rng.permuted(drawn[1:, at], axis=1)
    return drawn


def shuffled_onsets(
    onset_h: Sequence[float], value: np.ndarray, *, shuffles: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return p and floor for ``value`` falling with the onset, onsets shuffled among wells.

    Args:
        onset_h: (wells,) onset of each well.
        value: (wells,) what may depend on it.
        shuffles: how many are drawn.
        rng: for the draw.
    """
    onset = np.asarray(onset_h, float)
    _, ties = np.unique(onset, return_counts=True)
    every = math.factorial(len(onset)) / math.prod(math.factorial(int(n)) for n in ties)
    drawn = rng.permuted(np.tile(onset, (shuffles, 1)), axis=1)
    drawn[0] = onset
    slope = (drawn - onset.mean()) @ (value - value.mean())
    p = float((slope <= slope[0] + 1e-9).mean())
    return max(p, 1.0 / every), max(1.0 / every, 1.0 / shuffles)


def _models(rows: pd.DataFrame, unit: np.ndarray) -> np.ndarray:
    """Return a code of the models that judged each unit: (units,)."""
    if "run" not in rows.columns:
        return np.zeros(len(np.unique(unit)), int)
    judged = pd.Series(model_codes(rows)).groupby(unit).agg(lambda models: tuple(sorted(set(models))))
    return pd.factorize(judged)[0]


def _crossed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return pd.factorize(one * (int(other.max()) + 1) + other)[0]


def _sizes(units: Units) -> list[tuple[int, int]]:
    table = pd.DataFrame({"stratum": units.stratum, "infected": units.infected})
    sizes = table.groupby("stratum")["infected"].agg(["size", "sum"])
    return [(int(n), int(k)) for n, k in sizes.to_numpy()]


def _within(means: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    table = pd.DataFrame(means)
    return (table - table.groupby(stratum).transform("mean")).to_numpy()
