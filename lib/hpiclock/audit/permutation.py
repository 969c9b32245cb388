"""Permutation by well: could the difference between infected and mock come from which wells they are?"""

import math
from collections.abc import Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from hpiclock.allocation import Allocation, allocation_units
from hpiclock.analysis.clustered import samples_by_class, t_interval, too_few_groups
from hpiclock.analysis.evaluate import metric_rows
from hpiclock.analysis.frame_scores import FrameScores, frame_scores, group_sums, model_codes
from hpiclock.analysis.units import (
    MIN_GROUPS,
    choose_resampling_unit,
    condition_codes,
    group_codes,
    label_codes,
    well_or_position_codes,
)
from hpiclock.audit import power
from hpiclock.format import p_with_floor
from hpiclock.metrics import METRICS
from hpiclock.tables import plate_hour_strata

SAME_HOUR = "auc_stratified"
MOST_WAYS = 10**300  # of choosing infected wells; more than a float holds are no smaller p


class ScoreEstimate(NamedTuple):
    """A value with its limits, NaN where there is none, and the words of its METRICS note."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    note: str = ""


def score_auc(
    rows: pd.DataFrame,
    score: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    level: float,
    metric: str = SAME_HOUR,
) -> ScoreEstimate:
    """Return the AUC of a score, of pairs from the same hour unless ``metric`` is ``auc``.

    Args:
        rows: with the identity columns, ``hours``, and ``run fold seed`` where models differ.
        score: (rows,) the larger, the more infected.
        truth: (rows,) 1 infected, 0 not, -1 left out; the label by default.
        level: of the interval.
        metric: ``auc_stratified`` or ``auc``.
    """
    if len(rows) == 0:
        return ScoreEstimate(note="no frames")
    unit = choose_resampling_unit(rows)
    scores = scores_of(rows, score, label_codes(rows) if truth is None else truth)
    found = metric_rows(scores, (metric,), level=level, unit=unit)[0]
    return ScoreEstimate(found["value"], found["low"], found["high"], found["note"])


def condition_auc(rows: pd.DataFrame, *, level: float, score: str = "p_infected") -> ScoreEstimate:
    """Return the AUC, among frames of the same hour, of a column against what the wells received."""
    return score_auc(rows, rows[score].to_numpy(float), condition_codes(rows), level=level)


def auc_gain(rows: pd.DataFrame, one: np.ndarray, other: np.ndarray, *, level: float) -> ScoreEstimate:
    """Return by how much the AUC (same hour) of one score exceeds that of another, paired by group.

    The interval is Student's, from a jackknife over groups.
    """
    first, second = (group_sums(scores_of(rows, score, label_codes(rows))) for score in (one, other))
    auc = METRICS[SAME_HOUR].value
    gain = float(auc(first.total) - auc(second.total))
    left_out = auc(first.without) - auc(second.without)
    samples = samples_by_class(first.kind, needed="all")
    few = too_few_groups(samples)
    if few or np.isnan(left_out).any() or np.isnan(gain):
        return ScoreEstimate(gain, note=few or "no interval: one group alone makes it defined")
    return ScoreEstimate(gain, *t_interval(gain, left_out, list(samples.values()), level=level))


def scores_of(rows: pd.DataFrame, score: np.ndarray, truth: np.ndarray) -> FrameScores:
    """Return the arrays that metrics are computed from, for any score; a group is a unit of resampling."""
    needed = {"run": "", "fold": 0, "seed": 0, "clock": "experiment"}
    given = {name: value for name, value in needed.items() if name not in rows.columns}
    table = rows.assign(**given, p_infected=score, time_pred=np.nan, time_target=np.nan, label=0)
    scores = frame_scores(table, threshold=0.5, group=choose_resampling_unit(rows).codes)
    return scores.with_truth(np.asarray(truth))


def mean_over_wells(values: np.ndarray, groups: np.ndarray, *, level: float) -> ScoreEstimate:
    """Return the mean over groups of the groups' means, with Student's t interval; none below 3 groups."""
    means = pd.Series(np.asarray(values, float)).groupby(np.asarray(groups)).mean().dropna().to_numpy()
    if len(means) == 0:
        return ScoreEstimate(note="no values")
    middle = float(means.mean())
    if len(means) < MIN_GROUPS:
        return ScoreEstimate(middle, note=f"no interval: {len(means)} groups, at least {MIN_GROUPS} needed")
    half = float(stats.t.ppf((1 + level) / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return ScoreEstimate(middle, middle - half, middle + half, f"over {len(means)} groups")


class WellUnits(NamedTuple):
    """What is shuffled: one row per unit.

    name: to what treatments were given (:func:`hpiclock.allocation.allocation_units`), or ``position`` where
    a class has one well or wells hold both classes; of_row: (rows,) each row's unit; infected: (units,)
    bool; stratum: (units,) within which units are exchanged; wells: number of (infected, mock) wells; mixed:
    wells hold both classes.
    """

    name: str
    of_row: np.ndarray
    infected: np.ndarray
    stratum: np.ndarray
    wells: tuple[int, int]
    mixed: bool

    @property
    def replicated(self) -> bool:
        """Whether infection can be told from what it was given to at all."""
        return self.mixed or min(*self.wells, *self.counts) >= 2

    @property
    def counts(self) -> tuple[int, int]:
        """How many units are (infected, mock)."""
        return int(self.infected.sum()), int((~self.infected).sum())

    @property
    def plural(self) -> str:
        """What is shuffled, in words: ``wells``, ``columns and wells``."""
        return "stacks within wells" if self.mixed else f"{self.name.replace(' and ', 's and ')}s"


class PermutationTest(NamedTuple):
    """A permutation test: p, the smallest p that this design could give, and how many shuffles were made.

    worst: which of the statistics differs most; difference: (statistics,) infected less mock, in SDs
    between units.
    """

    p: float
    floor: float
    shuffles: int
    worst: int
    difference: np.ndarray


def well_units(rows: pd.DataFrame) -> WellUnits:
    """Return the units that may be exchanged between the classes: those to which treatments were given.

    Only units of one plate (but plates, where these were treated) that the same models judged are exchanged:
    the models of two folds differ, and each saw the labels of the other's wells.

    Args:
        rows: with ``plate well stack_id condition``, ``allocation block`` where they are known, and ``run
            fold seed`` where there are models.
    """
    infected = condition_codes(rows) == 1
    wells = well_or_position_codes(rows)
    held = pd.DataFrame({"well": wells, "infected": infected}).groupby("well")["infected"].nunique()
    n_wells = (len(np.unique(wells[infected])), len(np.unique(wells[~infected])))
    mixed = bool((held > 1).any())
    by_well = not mixed and min(n_wells) >= 2
    given = allocation_units(rows) if by_well else Allocation("position", group_codes(rows, "position"))
    name, codes = given.unit, pd.factorize(given.codes)[0]
    first = np.unique(codes, return_index=True)[1]
    of_plate = np.zeros(len(rows), int) if name == "plate" else group_codes(rows, "plate")
    place = (wells if mixed else of_plate)[first]
    strata = pd.DataFrame({"place": place, "models": _models(rows, codes)})
    stratum = strata.groupby(["place", "models"], sort=False).ngroup().to_numpy()
    return WellUnits(name, codes, infected[first], stratum, n_wells, mixed)


def subtract_hour_means(rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Return the values less the mean over all frames of the same stratum and model: (rows, statistics).

    What is left does not depend on which hours a well has, and no label is used.
    """
    block = [plate_hour_strata(rows)]
    return _less_means(values, block + ([model_codes(rows)] if "run" in rows.columns else []))


def _less_means(values: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    table = pd.DataFrame(np.asarray(values, float))
    return (table - table.groupby(list(groups)).transform("mean")).to_numpy()


def unit_means(units: WellUnits, values: np.ndarray) -> np.ndarray:
    """Return the mean of each statistic in each unit: (rows, statistics) -> (units, statistics)."""
    return pd.DataFrame(np.asarray(values, float)).groupby(units.of_row).mean().to_numpy()


def permutation_test(
    units: WellUnits, means: np.ndarray, *, two_sided: bool, shuffles: int, rng: np.random.Generator
) -> PermutationTest:
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
    spread = _less_means(means, [units.stratum]).std(0)
    scaled = np.where(spread > 1e-12, means / np.where(spread > 1e-12, spread, 1.0), 0.0)
    # (shuffles, units) bool, the observed first
    assigned = count_assignments(units, shuffles=shuffles, rng=rng)
    weight = assigned / np.maximum(assigned.sum(1, keepdims=True), 1)
    weight = weight - ~assigned / np.maximum((~assigned).sum(1, keepdims=True), 1)
    difference = weight @ scaled  # (shuffles, statistics)
    size = np.abs(difference) if two_sided else difference
    reached = size.max(1)
    p = float((reached >= reached[0] - 1e-9).mean())
    floor = smallest_p(units, two_sided=two_sided, shuffles=shuffles)
    return PermutationTest(p, floor, len(assigned), int(size[0].argmax()), difference[0])


def smallest_p(units: WellUnits, *, two_sided: bool, shuffles: int) -> float:
    """Return the smallest p that a permutation of these units can give."""
    sizes = _sizes(units)
    every = math.prod(math.comb(n, k) for n, k in sizes)
    # exchanging all infected for all mock units mirrors the difference
    mirrored = two_sided and all(2 * k == n for n, k in sizes)
    return max((2.0 if mirrored else 1.0) / min(every, MOST_WAYS), 1.0 / shuffles)


def count_assignments(units: WellUnits, *, shuffles: int, rng: np.random.Generator) -> np.ndarray:
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


def permuted_onsets(
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


def _sizes(units: WellUnits) -> list[tuple[int, int]]:
    table = pd.DataFrame({"stratum": units.stratum, "infected": units.infected})
    sizes = table.groupby("stratum")["infected"].agg(["size", "sum"])
    return [(int(n), int(k)) for n, k in sizes.to_numpy()]


class ClassComparison(NamedTuple):
    """What P(infected) says of the classes on some rows, against what the wells received."""

    rows: pd.DataFrame
    auc: ScoreEstimate
    units: WellUnits
    test: PermutationTest
    variance: float  # of a well's mean, that of its frames being 1

    def power(self, auc: float, *, alpha: float, two_sided: bool) -> float:
        """Return with which probability an AUC of this size is found with these units."""
        return power.power_of_auc(
            auc, self.units.counts, variance=self.variance, alpha=alpha, two_sided=two_sided
        )

    @property
    def well_floor(self) -> float:
        """The smallest p that shuffling wells could give: 1 over the ways to choose the infected ones."""
        return 1.0 / min(math.comb(sum(self.units.wells), self.units.wells[0]), MOST_WAYS)

    def words(self) -> str:
        """Return the permutation in words, with its floor and, where wells are too few, theirs."""
        words = f"{self.units.plural} shuffled: {p_with_floor(self.test.p, self.test.floor)}"
        if min(self.units.wells) < 2 and not self.units.mixed:
            words += f"; wells shuffled, nothing below {self.well_floor:.2g} is possible"
        return words


def compare_classes(
    rows: pd.DataFrame, *, two_sided: bool, level: float, shuffles: int, rng: np.random.Generator
) -> ClassComparison:
    """Compare infected with mock rows by P(infected), units shuffled (:func:`well_units`).

    Each frame counts by the normal score of its rank among the frames of the same model.

    Args:
        rows: of a PREDICTIONS table, both classes.
        two_sided: else only ``infected > mock`` counts.
        level: of the interval.
        shuffles: the most assignments to try.
        rng: for the draw.
    """
    units = well_units(rows)
    scores = rows["p_infected"].groupby(model_codes(rows)).transform(power.normal_scores)
    values = subtract_hour_means(rows, scores.to_numpy(float)[:, None])
    test = permutation_test(units, unit_means(units, values), two_sided=two_sided, shuffles=shuffles, rng=rng)
    variance = power.well_variance(rows, values[:, 0])
    return ClassComparison(rows, condition_auc(rows, level=level), units, test, variance)
