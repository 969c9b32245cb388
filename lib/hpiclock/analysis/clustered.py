"""Leaving out one group at a time: the samples, the variance, and how far it can be trusted."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from hpiclock.analysis.units import MIN_GROUPS
from hpiclock.format import count_text

UNDEFINED = float("nan")
NO_VARIANCE = 1e-24  # a variance below this is none


class Interval(NamedTuple):
    """Limits (NaN when there are none) and why there are none, or how they were made."""

    low: float
    high: float
    note: str


def no_interval(why: str = "") -> Interval:
    """Return an interval without limits."""
    return Interval(UNDEFINED, UNDEFINED, why)


def samples_by_class(kind: np.ndarray, *, needed: str) -> dict[str, np.ndarray]:
    """Return the samples the groups come from: name -> indices of groups.

    Groups of one class each are two samples. Groups that hold both classes are one sample; where any of
    the samples would be too small all groups are one. Where too few groups hold a class it alone is
    returned, for :func:`too_few_groups` to say so.

    Args:
        kind: (k,) of :func:`hpiclock.analysis.frame_scores.kinds_of_groups`.
        needed: ``all``, or the one class that decides: ``infected`` or ``mock``.
    """
    infected, mock, both = (np.flatnonzero(kind == code) for code in (1, 0, 2))
    if needed == "infected":
        return {"infected": np.flatnonzero(kind != 0)}
    if needed == "mock":
        return {"mock": np.flatnonzero(kind != 1)}
    if len(both) == 0:
        return {name: at for name, at in (("infected", infected), ("mock", mock)) if len(at)}
    parts = {"infected": infected, "mock": mock, "both": both}
    if any(0 < len(at) < MIN_GROUPS for at in parts.values()):
        holding = {"infected": np.flatnonzero(kind != 0), "mock": np.flatnonzero(kind != 1)}
        few = {name: at for name, at in holding.items() if len(at) < MIN_GROUPS}
        return few or {"both": np.arange(len(kind))}
    return {name: at for name, at in parts.items() if len(at)}


def too_few_groups(kinds: dict[str, np.ndarray]) -> str:
    """Return the words why there is no interval, or nothing when each sample has groups enough."""
    for name, at in kinds.items():
        if len(at) < MIN_GROUPS:
            found = count_text(len(at), "group" if name == "both" else f"{name} group")
            return f"no interval: {found}, at least {MIN_GROUPS} needed"
    return ""


def jackknife_variance(left_out: np.ndarray, samples: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the stratified delete-one variance and Satterthwaite's degrees of freedom, both (...,).

    The degrees of freedom of a variance of 0 are all there are.

    Args:
        left_out: (..., k) the estimate with each group left out.
        samples: indices of the groups of each sample, two or more each.
    """
    parts, weights = [], []
    for at in samples:
        values = left_out[..., at]
        spread = ((values - values.mean(-1, keepdims=True)) ** 2).sum(-1)
        parts.append((len(at) - 1) / len(at) * spread)
        weights.append(parts[-1] ** 2 / (len(at) - 1))
    total = np.sum(parts, axis=0)
    alone = total < 1e-30
    df = total**2 / np.where(alone, 1.0, np.sum(weights, axis=0))
    return np.where(alone, 0.0, total), np.where(alone, sum(len(at) - 1 for at in samples), df)


def t_interval(
    value: float, left_out: np.ndarray, samples: list[np.ndarray], *, level: float
) -> tuple[float, float]:
    """Return ``value`` less and plus Student's t times its jackknife standard error.

    Arguments as in :func:`jackknife_variance`, and the level, for example 0.95.
    """
    variance, df = jackknife_variance(left_out, samples)
    half = float(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))
    return value - half, value + half


def sign_flips(samples: list[np.ndarray], k: int, *, shuffles: int, rng: np.random.Generator) -> np.ndarray:
    """Return signs of the groups: every combination where there are no more than ``shuffles``: (flips, k).

    The first row leaves all groups as they are, so that no chance is below 2 / 2^k or 1 / flips.
    """
    used = np.sort(np.concatenate(samples)) if samples else np.arange(0)
    signs = np.ones((1, k))
    if 2 ** len(used) <= shuffles:
        signs = np.ones((2 ** len(used), k))
        signs[:, used] = 1 - 2 * ((np.arange(2 ** len(used))[:, None] >> np.arange(len(used))) & 1)
        return signs
    drawn = rng.integers(0, 2, (shuffles, k)) * 2.0 - 1
    return np.concatenate([signs, drawn])


def studentized_flips(signs: np.ndarray, added: np.ndarray, samples: list[np.ndarray]) -> np.ndarray:
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
        variance = variance + flipped_variance((added[at] ** 2).sum(0), sums, len(at))
    return np.abs(total) / np.sqrt(np.maximum(variance, NO_VARIANCE))


def flipped_variance(squares: np.ndarray, sums: np.ndarray, k: int) -> np.ndarray:
    """Return the variance of a sum of k values from the sum of their squares and their flipped sum.

    Flipping leaves the squares as they are, only the mean of the sample changes.
    """
    return k / (k - 1) * np.maximum(squares - sums**2 / k, 0.0)


class OneWayAnova(NamedTuple):
    """One-way analysis of variance of values in groups of unequal size.

    groups, n: how many groups and values; between, within: mean squares (0 where there is nothing to
    compare); size: the typical size of a group (0 with one group).
    """

    groups: np.ndarray
    n: np.ndarray
    between: np.ndarray
    within: np.ndarray
    size: np.ndarray

    @property
    def variance_between(self) -> np.ndarray:
        """The variance between groups, not below 0."""
        return np.maximum(self.between - self.within, 0.0) / np.where(self.size > 0, self.size, 1.0)

    @property
    def icc(self) -> np.ndarray:
        """The share of the variance between groups, ICC(1) of Shrout and Fleiss 1979; it may be negative."""
        total = self.between + (self.size - 1) * self.within
        return np.where(total > 0, (self.between - self.within) / np.where(total > 0, total, 1.0), np.nan)


def one_way_anova(values: np.ndarray, group: np.ndarray) -> OneWayAnova:
    """Return the analysis of variance of values (n,) by group (n,), codes in any order."""
    code = np.unique(group, return_inverse=True)[1]
    size = np.bincount(code)
    means = np.bincount(code, weights=values) / size
    between, within = (size * (means - values.mean()) ** 2).sum(), ((values - means[code]) ** 2).sum()
    k, n = (size > 0).sum(), size.sum()
    typical = (n - (size.astype(float) ** 2).sum() / np.maximum(n, 1)) / np.maximum(k - 1, 1)
    return OneWayAnova(k, n, between / np.maximum(k - 1, 1), within / np.maximum(n - k, 1), typical)
