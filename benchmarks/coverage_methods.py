"""The interval methods that the coverage simulation compares, for many replicates at once."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import stats
from scipy.special import expit, logit, ndtr, ndtri

Limits = tuple[np.ndarray, np.ndarray]
DRAWS = 300


@njit(cache=True)
def _count(rank_is_infected: np.ndarray, group: np.ndarray, k: int, out: np.ndarray) -> None:
    below = np.zeros(k)
    for at in range(len(group)):
        if rank_is_infected[at]:
            for other in range(k):
                out[group[at], other] += below[other]
        else:
            below[group[at]] += 1


def wins_between_groups(infected: np.ndarray, mock: np.ndarray) -> np.ndarray:
    """(replicates, k, k) pairs of frames that infected group i wins against mock group j."""
    r, k, m = infected.shape
    both = np.concatenate([infected.reshape(r, -1), mock.reshape(r, -1)], axis=1)
    order = both.argsort(axis=1)
    group = (order % (k * m)) // m
    out = np.zeros((r, k, k))
    for at in range(r):
        _count(order[at] < k * m, group[at], k, out[at])
    return out


def left_out_aucs(wins: np.ndarray) -> np.ndarray:
    """(replicates, 2k): the AUC with each infected, then each mock group left out."""
    k = wins.shape[1]
    total = wins.sum((1, 2))[:, None]
    left = [total - wins.sum(2), total - wins.sum(1)]
    return np.concatenate(left, axis=1) / (k * (k - 1))


def logit_t(value: np.ndarray, variance: np.ndarray, df: float, level: float) -> Limits:
    """Estimate +- t x standard error on the logit scale; nothing to add at exactly 0 or 1."""
    inner = np.clip(value, 1e-9, 1 - 1e-9)
    half = stats.t.ppf((1 + level) / 2, df) * np.sqrt(variance) / (inner * (1 - inner))
    return expit(logit(inner) - half), expit(logit(inner) + half)


def group_bootstraps(
    wins: np.ndarray, left: np.ndarray | None, *, rng: np.random.Generator, level: float
) -> dict[str, Limits]:
    """Percentile, BCa and t bootstraps over groups; ``left`` is what the last two need."""
    r, k, _ = wins.shape
    w1, w0 = (rng.multinomial(k, np.full(k, 1 / k), DRAWS).astype(float) for _ in range(2))
    value = wins.mean((1, 2))
    drawn, errors = np.empty((r, DRAWS)), np.empty((r, DRAWS))
    for at in range(r):
        rows = w0 @ wins[at].T / k  # (draws, k) each infected group's wins
        drawn[at] = (w1 * rows).sum(1) / k
        if left is not None:
            columns = w1 @ wins[at] / k
            spread = [(w * (v - drawn[at][:, None]) ** 2).sum(1) for w, v in ((w1, rows), (w0, columns))]
            errors[at] = np.sqrt((spread[0] + spread[1]) / (k * (k - 1)))
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(drawn, tails, axis=1)
    found = {"group percentile": (low, high)}
    if left is None:
        return found
    found["group BCa"] = _bca(drawn, value, left, k, tails)
    found["group bootstrap-t"] = _bootstrap_t(drawn, errors, value, left, k, tails)
    return found


def _bca(drawn: np.ndarray, value: np.ndarray, left: np.ndarray, k: int, tails: np.ndarray) -> Limits:
    below = (drawn < value[:, None]).mean(1) + 0.5 * (drawn == value[:, None]).mean(1)
    z0 = ndtri(np.clip(below, 1e-3, 1 - 1e-3))
    influence = np.concatenate(
        [left[:, :k].mean(1, keepdims=True) - left[:, :k], left[:, k:].mean(1, keepdims=True) - left[:, k:]],
        axis=1,
    )
    squares = (influence**2).sum(1)
    skew = (influence**3).sum(1) / np.maximum(6 * squares**1.5, 1e-300)
    limits = []
    for tail in ndtri(tails):
        at = ndtr(z0 + (z0 + tail) / (1 - skew * (z0 + tail)))
        limits.append(np.array([np.quantile(row, q) for row, q in zip(drawn, at, strict=True)]))
    return limits[0], limits[1]


def _bootstrap_t(
    drawn: np.ndarray, errors: np.ndarray, value: np.ndarray, left: np.ndarray, k: int, tails: np.ndarray
) -> Limits:
    """On the logit scale; draws without any error are left out."""

    def on_logit(v: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inner = np.clip(v, 1e-6, 1 - 1e-6)
        return logit(inner), e / (inner * (1 - inner))

    spread = [((left[:, at] - left[:, at].mean(1, keepdims=True)) ** 2).sum(1) for at in
              (slice(0, k), slice(k, None))]  # fmt: skip
    centre, error = on_logit(value, np.sqrt((k - 1) / k * (spread[0] + spread[1])))
    others, other_errors = on_logit(drawn, errors)
    usable = other_errors > 0
    t = np.where(usable, (others - centre[:, None]) / np.where(usable, other_errors, 1.0), np.nan)
    t[~usable.any(1)] = 0.0  # AUC of 1 in every draw: the interval collapses, as bootstraps do there
    low, high = np.nanquantile(t, tails, axis=1)
    return expit(centre - high * error), expit(centre - low * error)
