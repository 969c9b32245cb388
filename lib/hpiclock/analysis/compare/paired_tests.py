"""Paired differences between two variants on the same frames, and sign-flip tests of them."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import rankdata

from hpiclock.analysis.clustered import NO_VARIANCE, flipped_variance, samples_by_class, studentized_flips
from hpiclock.analysis.frame_scores import (
    ABSENT,
    FrameScores,
    group_sums,
    kinds_of_groups,
    linear_sums,
    pair_sums,
)
from hpiclock.analysis.intervals import jackknife_deviations, metric_interval
from hpiclock.analysis.units import MIN_GROUPS
from hpiclock.metrics import METRICS, Ratio, ratio

CELLS = 1 << 22  # of a table of frames and groups: memory stays bounded


class PairedSeed(NamedTuple):
    """The scores of one seed on some frames, those with a known truth, and their sums per group."""

    scores: FrameScores
    sums: dict[str, np.ndarray]


Seeds = list[PairedSeed]


class PairedParts(NamedTuple):
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

    @property
    def n_groups(self) -> int:
        """How many groups the samples hold."""
        return sum(map(len, self.samples))

    @property
    def least_groups(self) -> int:
        """How many the smallest sample holds."""
        return min(map(len, self.samples), default=0)


def seed_of(scores: FrameScores, k: int) -> PairedSeed:
    """Return what every metric of these frames needs; groups are coded 0..k-1."""
    known = scores.take(scores.truth >= 0)
    return PairedSeed(known, linear_sums(known, known.group, k))


def metric_sums_by_seed(seeds: Seeds, metric: str, k: int) -> PairedParts:
    """Return a metric of one variant and its sums per seed and group.

    Args:
        seeds: the same frames by each seed, groups coded 0..k-1.
        metric: one with a :class:`hpiclock.metrics.Ratio`.
        k: how many groups there are.
    """
    formula = METRICS[metric].formula
    assert isinstance(formula, Ratio), f"{metric} is no ratio of sums"
    made = [_pairs(one.scores, metric, k) if _is_auc(metric) else formula.parts(one.sums) for one in seeds]
    numerator, denominator = (np.stack(values) for values in zip(*made, strict=True))
    twice = 2.0 if _is_auc(metric) else 1.0  # a pair stands with both of its groups
    top, bottom = numerator.sum(1) / twice, denominator.sum(1) / twice
    bottom = np.where(bottom > 0, bottom, np.nan)
    return PairedParts(float(top.sum() / bottom.sum()), top / bottom, bottom, numerator, denominator)


def _is_auc(metric: str) -> bool:
    return METRICS[metric].interval == "auc"


def _pairs(scores: FrameScores, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    known = scores.take(~np.isnan(scores.p))
    block = known.block if metric == "auc_stratified" else known.model
    made = pair_sums(known, known.group, block, k)
    wins, pairs = (made[name][0] + made[name][1] for name in ("wins", "pairs"))
    return wins, pairs


def paired_difference(first: Seeds, second: Seeds, metric: str, k: int) -> Difference:
    """Return the difference of a metric between two variants on the same frames.

    Args:
        first: the frames by each seed of a variant, groups coded 0..k-1.
        second: those of the other.
        metric: one with a :class:`hpiclock.metrics.Ratio`.
        k: how many groups there are.
    """
    one, other = metric_sums_by_seed(first, metric, k), metric_sums_by_seed(second, metric, k)
    why = _missing(first[0].scores, second[0].scores, metric)
    if not why and np.isnan(one.value - other.value):
        why = "one class only" if METRICS[metric].of_class else "no predicted times"
    scores = first[0].scores
    kinds = kinds_of_groups(scores.truth, scores.condition, scores.group, k)
    of_class = samples_by_class(kinds, needed=METRICS[metric].needs).values()
    samples = [at for at in (at[kinds[at] != ABSENT] for at in of_class) if len(at)]
    of_group, of_seeds = np.full(k, np.nan), (np.full((1, k), np.nan),) * 2
    if not why:
        common = None if _is_auc(metric) else (one.value + other.value) / 2
        of_group = _added(one, common).mean(0) - _added(other, common).mean(0)
        of_seeds = _added(one, one.value), _added(other, other.value)
    by_seed = (one.by_seed, other.by_seed)
    return Difference(one.value, other.value, of_group, by_seed, of_seeds, samples, why)


def _added(part: PairedParts, at: float | None) -> np.ndarray:
    """What each group adds per seed: (seeds, k); ``at`` is the value from which a ratio is seen."""
    added = part.numerator if at is None else part.numerator - at * part.denominator
    return added / part.whole[:, None]


def _missing(one: FrameScores, other: FrameScores, metric: str) -> str:
    """Why two variants cannot be compared on these frames: one does not say it of all of them."""
    kind = "class" if METRICS[metric].of_class else "time"
    predicted = [~np.isnan(side.p if kind == "class" else side.error) for side in (one, other)]
    if not len(one):
        return "no frames"
    if (predicted[0] == predicted[1]).all():
        return "" if predicted[0].any() else "neither says it"
    counts = [side.sum() for side in predicted]
    which = "the first" if counts[0] < counts[1] else "the second"
    return f"{which} gives no {kind} for {'some of these' if min(counts) else 'these'} frames"


class SignFlipOutcome(NamedTuple):
    """What a difference means: standard error, degrees of freedom, chance and the least there can be.

    flipped: (flips,) studentised differences under exchanges; seeds: whether seeds add to the error.
    """

    error: float
    df: float
    p: float
    floor: float
    flipped: np.ndarray
    seeds: bool
    note: str


def standard_error(found: Difference) -> tuple[float, float]:
    """Return the standard error of a difference over groups and seeds, and its degrees of freedom."""
    parts, weights = [], []
    for at in found.samples:
        added = found.of_group[at]
        parts.append(float(flipped_variance((added**2).sum(), added.sum(), len(at))))
        weights.append(parts[-1] ** 2 / (len(at) - 1))
    wells = sum(parts)
    df = wells**2 / sum(weights) if wells > NO_VARIANCE else 1.0
    extra, of_extra = _between_seeds(found)
    total = wells + extra
    if extra > 0:
        df = total**2 / (wells**2 / df + of_extra)
    return float(np.sqrt(total)), float(df)


def _between_seeds(found: Difference) -> tuple[float, float]:
    """Return the variance that comes from the seeds and not from groups, and its share for the df.

    The spread of a variant's values between seeds holds what seeds do to single groups, too, which the
    variance over groups knows already: it is taken off.
    """
    total, weight = 0.0, 0.0
    for values, deviations in zip(found.by_seed, found.of_seeds, strict=True):
        n = len(values)
        if n < 2:
            continue
        spread = float(np.var(values, ddof=1)) / n
        inside = float(np.var(deviations, axis=0, ddof=1).sum()) / n
        extra = max(spread - inside, 0.0)
        total += extra
        weight += extra**2 / (n - 1)
    return total, weight


def sign_flip_test(found: Difference, signs: np.ndarray) -> SignFlipOutcome:
    """Test a difference against none.

    ``p`` is the chance of so large a difference, over its standard error, when the variants are exchanged
    in groups at random; where seeds differ by more than their groups explain, it is at least that of
    Student's t. ``floor`` is the least that so many groups can give.

    Args:
        found: the difference.
        signs: from :func:`hpiclock.analysis.clustered.sign_flips`.
    """
    nan, least = float("nan"), found.least_groups
    if found.why_not or least < 2:
        why = found.why_not or "no test: fewer than 2 groups of a class"
        return SignFlipOutcome(nan, nan, nan, nan, np.empty(0), False, why)
    floor = max(2.0 ** (1 - found.n_groups), 1.0 / len(signs))
    flipped = studentized_flips(signs, found.of_group, found.samples)
    error, df = standard_error(found)
    seeds = _between_seeds(found)[0] > 0
    if error**2 < NO_VARIANCE and abs(found.value) < 1e-12:
        return SignFlipOutcome(0.0, df, 1.0, floor, flipped, seeds, "the two say the same of every group")
    seen = abs(found.value) / max(error, NO_VARIANCE**0.5)
    hits = max(int((flipped >= seen * (1 - 1e-9)).sum()), 1)  # the data as they are stand in the first row
    p = max(hits / len(signs), floor)
    if seeds:
        p = max(p, float(2 * stdtr(df, -seen)))
    few = f"no interval: {least} groups of a class, at least {MIN_GROUPS} needed"
    return SignFlipOutcome(error, df, min(p, 1.0), floor, flipped, seeds, few if least < MIN_GROUPS else "")


def detectable_difference(result: SignFlipOutcome, *, level: float) -> float:
    """Return how many standard errors the interval at a level goes to each side; NaN where there is none.

    It leaves out no difference exactly where ``p`` is at most ``1 - level``. Where so few groups cannot
    give such a chance, and where seeds count, it is at least Student's t.
    """
    if np.isnan(result.p) or result.note.startswith("no interval") or result.error == 0:
        return float("nan")
    by_flips = float(np.quantile(result.flipped, level, method="inverted_cdf")) * (1 + 1e-9)
    if result.floor > 1 - level or result.seeds:
        return max(by_flips, float(stdtrit(result.df, (1 + level) / 2)))
    return by_flips


def difference_limits(found: Difference, result: SignFlipOutcome, *, level: float) -> tuple[float, float]:
    """Return the interval of a difference at a level; NaN where groups are too few."""
    half = detectable_difference(result, level=level) * result.error
    return found.value - half, found.value + half


def limits_of_both(first: Seeds, second: Seeds, metric: str, *, level: float) -> tuple[float, float]:
    """Return the limits of a difference from those of both variants; NaN where either has none.

    The intervals of the two and their correlation over groups make that of the difference (MOVER, Zou and
    Donner 2008). Near an AUC of 1, where a variance of few groups is small when the difference is, too, an
    interval of difference +- t x standard error claims equality at the margin two to three times as often as
    it may; this one does not (``docs/comparison.md``). The spread between seeds is not in it.

    Args:
        first: the frames by each seed of a variant.
        second: those of the other.
        metric: a key of :data:`hpiclock.metrics.METRICS`.
        level: of the limits.
    """
    sums = [group_sums(_pooled(seeds)) for seeds in (first, second)]
    value, deviations, limits = [], [], []
    for one in sums:
        samples = list(samples_by_class(one.kind, needed=METRICS[metric].needs).values())
        limits.append(metric_interval(one, metric, level=level)[:2])
        value.append(float(METRICS[metric].value(one.total)))
        deviations.append(jackknife_deviations(METRICS[metric].value(one.without), samples))
    if np.isnan(limits).any():
        return float("nan"), float("nan")
    products = np.array(deviations) @ np.array(deviations).T
    size = float(np.sqrt(products[0, 0] * products[1, 1]))
    shared = float(products[0, 1]) / size if size > 0 else 0.0
    down, up = np.abs(np.array(limits).T - value)  # of each variant, to its limits

    def reach(a: float, b: float) -> float:
        return float(np.sqrt(max(a**2 - 2 * shared * a * b + b**2, 0.0)))

    return value[0] - value[1] - reach(down[0], up[1]), value[0] - value[1] + reach(up[0], down[1])


def _pooled(seeds: Seeds) -> FrameScores:
    """The frames of all seeds; frames of two seeds never meet in an AUC."""
    apart = np.cumsum([0, *(int(seed.scores.model.max(initial=0)) + 1 for seed in seeds)])
    parts = [replace(s.scores, model=s.scores.model + shift) for s, shift in zip(seeds, apart, strict=False)]
    return FrameScores(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(FrameScores)
        }
    )


def widened(limits: tuple[float, float], others: tuple[float, float]) -> tuple[float, float]:
    """Return limits that reach as far as others, but not over 0 where they leave it out."""
    low, high = limits
    return (
        float(np.fmin(low, others[0])) if low <= 0 else low,
        float(np.fmax(high, others[1])) if high >= 0 else high,
    )


SPREADS = ("sd", "range")


class StabilityTest(NamedTuple):
    """A spread over windows of both variants, the chance of such a difference, and what chance gives.

    value, value_against, difference: of the spreads; by_chance: what the absolute difference stays below in
    95% (or another level) of exchanges; p: its chance; note: why there is none.
    """

    value: float
    value_against: float
    difference: float
    by_chance: float
    p: float
    n_windows: int
    note: str


def paired_stability_test(
    first: Sequence[Seeds], second: Sequence[Seeds], metric: str, signs: np.ndarray, *, level: float
) -> dict[str, StabilityTest]:
    """Return, for the standard deviation and the range over windows, how the variants differ.

    Each spread is that of a seed's values over windows, averaged over seeds.

    Args:
        first: per window, its frames by each seed of a variant, groups coded 0..k-1.
        second: those of the other, as many.
        metric: ``auc``, or one with a :class:`hpiclock.metrics.Ratio` of sums over frames.
        signs: (exchanges, k) from :func:`hpiclock.analysis.clustered.sign_flips`; the first row exchanges
            nothing.
        level: for ``by_chance``.
    """
    n, k = len(first[0]), signs.shape[1]
    if n != len(second[0]):
        return _untested(0, f"no test: {n} seeds against {len(second[0])}")
    values = np.empty((2, n, len(signs), len(first)))
    exchanged = _pairs_in_windows if _is_auc(metric) else _ratios
    for at, window in enumerate(zip(first, second, strict=True)):
        for seed, (one, other) in enumerate(zip(*window, strict=True)):
            values[:, seed, :, at] = exchanged(one, other, metric, k, signs)
    usable = ~np.isnan(values[:, :, 0].sum(0)).any(0)
    n_windows = int(usable.sum())
    if n_windows < 3:
        return _untested(n_windows, f"no test: {n_windows} windows in which both are defined")
    parts = [side[:, :, usable] for side in values]
    spreads = {
        "sd": [np.nanstd(part, axis=2, ddof=1).mean(0) for part in parts],
        "range": [(np.nanmax(part, axis=2) - np.nanmin(part, axis=2)).mean(0) for part in parts],
    }
    return {name: _tested(a, b, n_windows, level) for name, (a, b) in spreads.items()}


def _untested(n_windows: int, why: str) -> dict[str, StabilityTest]:
    return dict.fromkeys(SPREADS, StabilityTest(*(float("nan"),) * 5, n_windows, why))


def _tested(a: np.ndarray, b: np.ndarray, n_windows: int, level: float) -> StabilityTest:
    """Compare the spreads of both variants under every exchange: (exchanges,) each, the first is none."""
    gap = np.abs(a - b)
    p = (gap >= gap[0] * (1 - 1e-9) - 1e-15).mean()
    one, other = float(a[0]), float(b[0])
    return StabilityTest(one, other, one - other, float(np.quantile(gap, level)), float(p), n_windows, "")


def _ratios(
    one: PairedSeed, other: PairedSeed, metric: str, k: int, signs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of both variants under every exchange: two arrays (exchanges,)."""
    parts = [metric_sums_by_seed([seed], metric, k) for seed in (one, other)]
    kept = (signs + 1) / 2  # 1: the group keeps its variant

    def exchanged(mine: PairedParts, yours: PairedParts) -> np.ndarray:
        top = kept @ mine.numerator[0] + (1 - kept) @ yours.numerator[0]
        return ratio(top, kept @ mine.denominator[0] + (1 - kept) @ yours.denominator[0])

    return exchanged(*parts), exchanged(*reversed(parts))


def _pairs_in_windows(
    one: PairedSeed, other: PairedSeed, metric: str, k: int, signs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUCs of both variants under every exchange, from wins between all groups of either variant."""
    assert metric == "auc", f"no exchange of windows is known for {metric}"
    known = ~np.isnan(one.scores.p) & ~np.isnan(other.scores.p)
    sides = [_ranked(seed.scores.take(known)) for seed in (one, other)]
    infected, mock = ([side.take(side.truth == truth) for side in sides] for truth in (1, 0))
    won = {(i, j): pair_wins(infected[i], mock[j], shape=(k, k)) for i in (0, 1) for j in (0, 1)}
    pairs = float(won[0, 0][1].sum())
    if pairs == 0:
        return np.full(len(signs), np.nan), np.full(len(signs), np.nan)
    a, b, c, d = (won[place][0] / (4 * pairs) for place in ((0, 0), (0, 1), (1, 0), (1, 1)))
    # with s = 1 where a group keeps its variant and -1 where not, its share is (1 + s) / 2 and (1 - s) / 2
    even = (a + b + c + d).sum() + ((signs @ (a - b - c + d)) * signs).sum(1)
    odd = signs @ ((a + b - c - d).sum(1) + (a - b + c - d).sum(0))
    return even + odd, even - odd


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


def _ranked(scores: FrameScores) -> FrameScores:
    """Scores as ranks among the frames of their model, so that predictions of two models can meet."""
    p = scores.p.astype(float).copy()
    for model in np.unique(scores.model):
        mine = scores.model == model
        p[mine] = rankdata(p[mine]) / mine.sum()
    return replace(scores, p=p)
