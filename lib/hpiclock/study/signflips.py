"""Is a paired difference more than chance? Exchanges of the two variants in groups drawn at random.

Exchanging two variants in a group flips the sign of what the group adds to their difference. Each flipped
difference is seen over its own standard error, because with few groups that varies as much as the
difference itself. With several seeds the spread of a variant between its seeds enters, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from hpiclock.study.groups import MIN_GROUPS
from hpiclock.study.paired import Difference

FEW = 1e-24  # a variance below this is none


class Outcome(NamedTuple):
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


def flips(samples: list[np.ndarray], k: int, *, shuffles: int, rng: np.random.Generator) -> np.ndarray:
    """Return signs of the groups: every combination where there are no more than ``shuffles``: (flips, k).

    The first row leaves all groups as they are.
    """
    used = np.sort(np.concatenate(samples)) if samples else np.arange(0)
    signs = np.ones((1, k))
    if 2 ** len(used) <= shuffles:
        signs = np.ones((2 ** len(used), k))
        signs[:, used] = 1 - 2 * ((np.arange(2 ** len(used))[:, None] >> np.arange(len(used))) & 1)
        return signs
    drawn = rng.integers(0, 2, (shuffles, k)) * 2.0 - 1
    return np.concatenate([signs, drawn])


def studentised(signs: np.ndarray, added: np.ndarray, samples: list[np.ndarray]) -> np.ndarray:
    """Return flipped differences over their own standard errors: (flips,) or (flips, windows).

    Args:
        signs: (flips, k).
        added: (k,) or (k, windows) what each group adds.
        samples: indices of the groups of each sample, two or more each.
    """
    total = variance = np.zeros((len(signs), *added.shape[1:]))
    for at in samples:
        sums = signs[:, at] @ added[at]
        total = total + sums
        variance = variance + _spread((added[at] ** 2).sum(0), sums, len(at))
    return np.abs(total) / np.sqrt(np.maximum(variance, FEW))


def _spread(squares: np.ndarray, sums: np.ndarray, k: int) -> np.ndarray:
    # flipping leaves the squares as they are, only the mean of the sample changes
    return k / (k - 1) * np.maximum(squares - sums**2 / k, 0.0)


def error_of(found: Difference) -> tuple[float, float]:
    """Return the standard error of a difference over groups and seeds, and its degrees of freedom."""
    parts, weights = [], []
    for at in found.samples:
        added = found.of_group[at]
        parts.append(float(_spread((added**2).sum(), added.sum(), len(at))))
        weights.append(parts[-1] ** 2 / (len(at) - 1))
    wells = sum(parts)
    df = wells**2 / sum(weights) if wells > FEW else 1.0
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


def outcome_of(found: Difference, signs: np.ndarray) -> Outcome:
    """Test a difference against none.

    ``p`` is the chance of so large a difference, over its standard error, when the variants are exchanged
    in groups at random; where seeds differ by more than their groups explain, it is at least that of
    Student's t. ``floor`` is the least that so many groups can give.

    Args:
        found: the difference.
        signs: from :func:`flips`.
    """
    nan, k = float("nan"), sum(len(at) for at in found.samples)
    least = min((len(at) for at in found.samples), default=0)
    if found.why_not or least < 2:
        why = found.why_not or "no test: fewer than 2 groups of a class"
        return Outcome(nan, nan, nan, nan, np.empty(0), False, why)
    floor = max(2.0 ** (1 - k), 1.0 / len(signs))
    flipped = studentised(signs, found.of_group, found.samples)
    error, df = error_of(found)
    seeds = _between_seeds(found)[0] > 0
    if error**2 < FEW and abs(found.value) < 1e-12:
        return Outcome(0.0, df, 1.0, floor, flipped, seeds, "the two say the same of every group")
    seen = abs(found.value) / max(error, FEW**0.5)
    hits = max(int((flipped >= seen * (1 - 1e-9)).sum()), 1)  # the data as they are stand in the first row
    p = max(hits / len(signs), floor)
    if seeds:
        p = max(p, float(2 * stdtr(df, -seen)))
    few = f"no interval: {least} groups of a class, at least {MIN_GROUPS} needed"
    return Outcome(error, df, min(p, 1.0), floor, flipped, seeds, few if least < MIN_GROUPS else "")


def reach(result: Outcome, *, level: float) -> float:
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


def limits(found: Difference, result: Outcome, *, level: float) -> tuple[float, float]:
    """Return the interval of a difference at a level; NaN where groups are too few."""
    half = reach(result, level=level) * result.error
    return found.value - half, found.value + half
