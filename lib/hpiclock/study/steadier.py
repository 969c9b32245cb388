"""Is one variant steadier over time than another? The spread of a metric over windows, paired by group.

The spread (standard deviation or range over windows) holds noise, too, the same for both where they do not
differ. So the test exchanges the two variants' answers in whole groups drawn at random, computes both
spreads anew, and asks how often chance makes them differ so much.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hpiclock.study.paired import PAIRS, RATIOS, Seed, parts_of
from hpiclock.study.resample import wins_between
from hpiclock.study.scores import Scores

SPREADS = ("sd", "range")


class Steady(NamedTuple):
    """A spread over windows of both variants, the chance of such a difference, and what chance gives.

    by_chance: what the absolute difference stays below in 95% (or another level) of exchanges.
    """

    first: float
    second: float
    p: float
    by_chance: float
    n_windows: int
    note: str


def steadier(
    first: list[list[Seed]],
    second: list[list[Seed]],
    metric: str,
    signs: np.ndarray,
    *,
    level: float,
) -> dict[str, Steady]:
    """Return, for the standard deviation and the range over windows, how the variants differ.

    Each spread is that of a seed's values over windows, averaged over seeds.

    Args:
        first: per window, its frames by each seed of a variant, groups coded 0..k-1.
        second: those of the other, as many.
        metric: of :data:`hpiclock.study.paired.RATIOS`, or ``auc``.
        signs: (exchanges, k) from :func:`hpiclock.study.paired.flips`; the first row exchanges nothing.
        level: for ``by_chance``.
    """
    nan = float("nan")
    n, k = len(first[0]), signs.shape[1]
    if n != len(second[0]):
        why = f"no test: {n} seeds against {len(second[0])}"
        return dict.fromkeys(SPREADS, Steady(nan, nan, nan, nan, 0, why))
    values = [np.empty((n, len(signs), len(first))) for _ in range(2)]
    exchanged = _pairs if metric in PAIRS else _ratios
    for at, window in enumerate(zip(first, second, strict=True)):
        for seed, (one, other) in enumerate(zip(*window, strict=True)):
            both = exchanged(one, other, metric, k, signs)
            for side in (0, 1):
                values[side][seed, :, at] = both[side]
    usable = ~np.isnan(values[0][:, 0] + values[1][:, 0]).any(0)
    if usable.sum() < 3:
        why = f"no test: {usable.sum()} windows in which both are defined"
        return dict.fromkeys(SPREADS, Steady(nan, nan, nan, nan, int(usable.sum()), why))
    parts = [side[:, :, usable] for side in values]
    spreads = {
        "sd": [np.nanstd(part, axis=2, ddof=1).mean(0) for part in parts],
        "range": [(np.nanmax(part, axis=2) - np.nanmin(part, axis=2)).mean(0) for part in parts],
    }
    return {name: _tested(a, b, int(usable.sum()), level) for name, (a, b) in spreads.items()}


def _tested(a: np.ndarray, b: np.ndarray, n_windows: int, level: float) -> Steady:
    gap = np.abs(a - b)
    hits = int((gap >= gap[0] * (1 - 1e-9) - 1e-15).sum())
    return Steady(float(a[0]), float(b[0]), hits / len(gap), float(np.quantile(gap, level)), n_windows, "")


def _ratios(one: Seed, other: Seed, metric: str, k: int, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of both variants under every exchange: two arrays (exchanges,)."""
    assert metric in RATIOS
    parts = [parts_of([seed], metric, k) for seed in (one, other)]
    kept = (signs + 1) / 2  # 1: the group keeps its variant
    top = [part.numerator[0] for part in parts]
    bottom = [part.denominator[0] for part in parts]
    made = []
    for mine, yours in ((0, 1), (1, 0)):
        numerator = kept @ top[mine] + (1 - kept) @ top[yours]
        denominator = kept @ bottom[mine] + (1 - kept) @ bottom[yours]
        with np.errstate(invalid="ignore", divide="ignore"):
            made.append(np.where(denominator > 0, numerator / denominator, np.nan))
    return made[0], made[1]


def _pairs(one: Seed, other: Seed, metric: str, k: int, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs of both variants under every exchange, from wins between all groups of either variant."""
    assert metric == "auc"
    said = ~np.isnan(one.scores.p) & ~np.isnan(other.scores.p)
    sides = [_shares(seed.scores.take(said)) for seed in (one, other)]
    won = {(i, j): _wins(sides[i], sides[j], k) for i in (0, 1) for j in (0, 1)}
    pairs = float(won[0, 0][1].sum())
    if pairs == 0:
        return np.full(len(signs), np.nan), np.full(len(signs), np.nan)
    a, b, c, d = (won[place][0] / (4 * pairs) for place in ((0, 0), (0, 1), (1, 0), (1, 1)))
    # with s = 1 where a group keeps its variant and -1 where not, its share is (1 + s) / 2 and (1 - s) / 2
    even = (a + b + c + d).sum() + ((signs @ (a - b - c + d)) * signs).sum(1)
    odd = signs @ ((a + b - c - d).sum(1) + (a - b + c - d).sum(0))
    return even + odd, even - odd


def _shares(scores: Scores) -> Scores:
    """Scores as ranks among the frames of their model, so that answers of two models can meet."""
    p = scores.p.astype(float).copy()
    for model in np.unique(scores.model):
        mine = scores.model == model
        _, at, count = np.unique(p[mine], return_inverse=True, return_counts=True)
        p[mine] = ((np.cumsum(count) - (count - 1) / 2) / mine.sum())[at]
    return Scores(**{name: getattr(scores, name) for name in Scores.__dataclass_fields__} | {"p": p})


def _wins(one: Scores, other: Scores, k: int) -> tuple[np.ndarray, np.ndarray]:
    positive, negative = one.truth == 1, other.truth == 0
    return wins_between(
        one.p[positive], one.group[positive], one.model[positive],
        other.p[negative], other.group[negative], other.model[negative], shape=(k, k),
    )  # fmt: skip
