"""From rows of predictions to plain arrays and sums per group; every metric and every interval reads these.

What the sums are called, and which metric divides which, stands in :mod:`hpiclock.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata

from hpiclock.analysis.clustered import one_way_anova
from hpiclock.analysis.units import MIN_GROUPS, condition_codes, group_codes, label_codes, well_codes
from hpiclock.tables import plate_hour_strata, time_given, under_true_clock


@dataclass(frozen=True)
class FrameScores:
    """Arrays of the same length, one entry per frame; what is unknown is NaN (truth: -1).

    truth: 1 infected, 0 not, -1 not to be scored; condition: what was done to the well (1 infected, 0 mock),
    also where the truth of a frame is another; p: P(infected); called: p >= threshold (bool);
    group, stack, well, model, stratum: integer codes (well -1 = not given; model = run, fold and seed;
    stratum = frames of the same plate and hour); target, error: hours, under the true clock;
    target_predicted, error_predicted: under the predicted clock; off_clock, off_mean: errors of the two
    baselines.
    """

    truth: np.ndarray
    condition: np.ndarray
    p: np.ndarray
    called: np.ndarray
    group: np.ndarray
    stack: np.ndarray
    well: np.ndarray
    model: np.ndarray
    stratum: np.ndarray
    target: np.ndarray
    error: np.ndarray
    target_predicted: np.ndarray
    error_predicted: np.ndarray
    off_clock: np.ndarray
    off_mean: np.ndarray

    def take(self, rows: np.ndarray) -> FrameScores:
        """Return the rows of a mask or an index array."""
        if rows.dtype == bool:
            if rows.all():
                return self
            rows = np.flatnonzero(rows)  # counted once, not for every field
        return FrameScores(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def with_truth(self, truth: np.ndarray) -> FrameScores:
        """Return the same rows judged against another truth (for example the condition of the well)."""
        return replace(self, truth=truth.astype(np.int8))

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """The frames of each group: ``all`` (those without a label, too), labelled ``infected``, ``mock``.

        Frames of infected wells before their onset may be labelled uninfected; they are no mock frames.
        """
        mock = (self.truth == 0) & (self.condition == 0)
        return {"all": np.ones(len(self), bool), "infected": self.truth == 1, "mock": mock}

    @property
    def block(self) -> np.ndarray:
        """One integer per model and stratum: frames that the stratified AUC compares."""
        stratum = self.stratum - self.stratum.min(initial=0)
        return self.model * (int(stratum.max(initial=0)) + 1) + stratum

    @cached_property
    def matched(self) -> np.ndarray:
        """Frames with a P(infected) whose block holds such frames of both classes: (frames,) bool."""
        block, seen = self.block, ~np.isnan(self.p)
        both = np.intersect1d(*(block[seen & (self.truth == kind)] for kind in (0, 1)))
        return seen & (self.truth >= 0) & np.isin(block, both)

    def __len__(self) -> int:
        return len(self.p)


def dense_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted distinct values of non-negative codes, and which of them each is.

    As ``np.unique`` does, without sorting where the codes are not far between.
    """
    if len(codes) and codes.max() > 8 * len(codes) + 1000:
        return np.unique(codes, return_inverse=True)
    there = np.bincount(codes) > 0 if len(codes) else np.zeros(0, bool)
    return np.flatnonzero(there), (np.cumsum(there) - 1)[codes]


def frame_scores(rows: pd.DataFrame, *, threshold: float, group: np.ndarray) -> FrameScores:
    """Return the arrays of a predictions table; the baselines' errors are NaN until they are fitted.

    Args:
        rows: a PREDICTIONS table.
        threshold: P(infected) from which a frame is called infected.
        group: (rows,) the unit of resampling of each row.
    """
    p = rows["p_infected"].to_numpy(float)
    target = rows["time_target"].to_numpy(float)
    guess = under_true_clock(rows)["time_pred"].to_numpy(float)
    by_predicted_clock = target_under_predicted_clock(rows, threshold=threshold)
    nothing = np.full(len(rows), np.nan)
    return FrameScores(
        truth=label_codes(rows),
        condition=condition_codes(rows),
        p=p,
        called=p >= threshold,
        group=group,
        stack=group_codes(rows, "position"),
        well=well_codes(rows),
        model=model_codes(rows),
        stratum=plate_hour_strata(rows),
        target=target,
        error=guess - target,
        target_predicted=by_predicted_clock,
        error_predicted=time_given(rows, p >= threshold) - by_predicted_clock,
        off_clock=nothing,
        off_mean=nothing,
    )


def model_codes(rows: pd.DataFrame) -> np.ndarray:
    """Return one integer per trained model (run, fold, seed): scores of two models are never compared."""
    code = pd.factorize(rows["run"])[0]
    for name in ("fold", "seed"):
        more, kinds = pd.factorize(rows[name])
        code = pd.factorize(code * max(len(kinds), 1) + more)[0]
    return code


def target_under_predicted_clock(rows: pd.DataFrame, *, threshold: float) -> np.ndarray:
    """Return the time that the predicted clock would have to show: (rows,), NaN where there is none.

    A frame called infected is on the infection clock (hours since onset), any other on the experiment
    clock. Where that is also its true clock the target is the given one. A mock frame called infected has
    no onset, so its time under the predicted clock does not exist. Runs that put every frame on one clock
    have nothing to predict: the target is the given one.
    """
    target = rows["time_target"].to_numpy(float)
    on_infection = rows["clock"].eq("infection").to_numpy()
    if not on_infection.any():
        return target
    p = rows["p_infected"].to_numpy(float)
    called = p >= threshold
    other = np.where(called, rows["hpi"].to_numpy(float), rows["hours"].to_numpy(float))
    other = np.where(np.isnan(target), np.nan, other)
    return np.where(np.isnan(p), np.nan, np.where(called == on_infection, target, other))


class WithinGroupCorrelation(NamedTuple):
    """Per class (uninfected, infected): correlation within groups and what pairs of frames share.

    icc: (2,) intra-class correlation of normal scores; same_frame, same_group: (2,) chances that two
    frames of the class, drawn with replacement, are one frame, or two frames of one group; n: (2,) frames.
    """

    icc: np.ndarray
    same_frame: np.ndarray
    same_group: np.ndarray
    n: np.ndarray


def within_group_correlation(scores: FrameScores, group: np.ndarray, k: int) -> WithinGroupCorrelation:
    """Return the correlation of the scores of a group, class by class; groups are coded 0..k-1."""
    icc, same_frame, same_group, n = np.zeros((4, 2))
    for truth in (0, 1):
        mine = (scores.truth == truth) & ~np.isnan(scores.p)
        size = np.bincount(group[mine], minlength=k)
        n[truth] = size.sum()
        if n[truth] == 0:
            continue
        same_frame[truth] = 1 / n[truth]
        same_group[truth] = (size * (size - 1.0)).sum() / n[truth] ** 2
        icc[truth] = icc_of_normal_scores(scores.p[mine], group[mine])
    return WithinGroupCorrelation(icc, same_frame, same_group, n)


def icc_of_normal_scores(p: np.ndarray, group: np.ndarray) -> float:
    """Return the share of variance between groups, 0..1, of the scores turned into normal ones by rank.

    One-way analysis of variance with unequal group sizes; 0 where there is nothing to compare.
    """
    found = one_way_anova(ndtri((rankdata(p) - 0.5) / len(p)), group)
    if found.groups < 2 or found.n <= found.groups:
        return 0.0
    between, within = float(found.variance_between), float(found.within)
    return between / (between + within) if between + within > 0 else 0.0


@dataclass(frozen=True)
class GroupSums:
    """Sufficient statistics of a set of frames in ``k`` groups.

    total: name -> () sums over all groups; without: name -> (k,) the same with one group left out;
    linear: name -> (k,) each group's own sums; kind: (k,) of :func:`kinds_of_groups`; codes: (k,) which
    group of the scores each is; correlation: of the scores within groups.
    """

    total: dict[str, np.ndarray]
    without: dict[str, np.ndarray]
    linear: dict[str, np.ndarray]
    kind: np.ndarray
    codes: np.ndarray
    correlation: WithinGroupCorrelation


def group_sums(scores: FrameScores) -> GroupSums:
    """Return the sums of all frames whose truth is known.

    Frames without a P(infected) count for time only, frames without a time prediction for class only.
    """
    scores = scores.take(scores.truth >= 0)
    codes, group = dense_codes(scores.group)
    k = len(codes)
    linear = linear_sums(scores, group, k)
    total, without = _pair_totals(scores, group, k)
    total |= {name: values.sum() for name, values in linear.items()}
    without |= {name: total[name] - values for name, values in linear.items()}
    kind = kinds_of_groups(scores.truth, scores.condition, group, k)
    return GroupSums(total, without, linear, kind, codes, within_group_correlation(scores, group, k))


ABSENT = 3  # the kind of a group without a frame


def kinds_of_groups(truth: np.ndarray, condition: np.ndarray, group: np.ndarray, k: int) -> np.ndarray:
    """Return which frames each group holds: (k,) 0 only uninfected, 1 only infected, 2 both, 3 none.

    Where fewer than three groups are of a condition, groups are told apart by condition instead: frames of
    infected wells before their onset are uninfected, but replace no mock well.

    Args:
        truth: (frames,) 1 infected, 0 not, -1 unknown: those frames do not count.
        condition: (frames,) what was done to the well, 1 infected, 0 mock.
        group: (frames,) codes 0..k-1.
        k: how many groups there are.
    """
    kinds, known = [], truth >= 0
    for side in (condition, truth):
        mock, infected = (np.bincount(group, known & (side == one), minlength=k) > 0 for one in (0, 1))
        kinds.append(np.select([mock & infected, infected, mock], [2, 1, 0], ABSENT))
        if any(0 < both.sum() < MIN_GROUPS for both in (mock, infected)):
            break
    return kinds[-1]


def linear_sums(scores: FrameScores, group: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Return the sums of each group that add up over groups, (k,) each; groups are coded 0..k-1."""
    seen = ~np.isnan(scores.p)
    positive, called = scores.truth == 1, scores.called
    columns: dict[str, np.ndarray] = {
        "n": seen,
        "tp": seen & positive & called,
        "fp": seen & ~positive & called,
        "tn": seen & ~positive & ~called,
        "fn": seen & positive & ~called,
        "brier": (scores.p - positive) ** 2,
        **_time_columns(scores.error, scores.target, ""),
        **_time_columns(scores.error_predicted, scores.target_predicted, "_pc"),
    }
    based = ~np.isnan(scores.error) & ~np.isnan(scores.off_clock) & ~np.isnan(scores.off_mean)
    columns["n_base"] = based
    for name, error in (("base", scores.error), ("clock", scores.off_clock), ("mean", scores.off_mean)):
        columns[f"abs_{name}"] = np.where(based, np.abs(error), 0.0)
    return {
        name: np.bincount(group, weights=np.nan_to_num(values.astype(float)), minlength=k)
        for name, values in columns.items()
    }


def _time_columns(error: np.ndarray, target: np.ndarray, suffix: str) -> dict[str, np.ndarray]:
    there = ~np.isnan(error)
    centre = target[there].mean() if there.any() else 0.0  # keeps the sum of squares exact
    y = np.where(there, target - centre, 0.0)
    e = np.where(there, error, 0.0)
    columns = {"abs": np.abs(e), "err": e, "sq": e**2, "y": y, "yy": y**2}
    return {f"n{suffix or '_time'}": there} | {f"{name}{suffix}": column for name, column in columns.items()}


def _pair_totals(
    scores: FrameScores, group: np.ndarray, k: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Wins and pairs of all groups, and of all without each one."""
    total: dict[str, np.ndarray] = {}
    without: dict[str, np.ndarray] = {}
    known = ~np.isnan(scores.p)
    scores, group = scores.take(known), group[known]
    matched = scores.matched
    parts = {
        "": (scores, group, scores.model),
        "_matched": (scores.take(matched), group[matched], scores.model[matched]),
        "_stratified": (scores, group, scores.block),
    }
    for suffix, (part, of_row, block) in parts.items():
        for name, (row, column, own) in pair_sums(part, of_row, block, k).items():
            total[name + suffix] = row.sum()
            without[name + suffix] = row.sum() - row - column + own
    return total, without


def pair_sums(
    scores: FrameScores, group: np.ndarray, block: np.ndarray, k: int
) -> dict[str, tuple[np.ndarray, ...]]:
    """Return ``wins`` and ``pairs`` of each group's infected frames, of its others, and inside the group.

    O(n log n), so that a million frames take a second.

    Args:
        scores: frames with a label and a P(infected).
        group: (n,) codes 0..k-1.
        block: (n,) codes; only frames of the same block meet.
        k: how many groups there are; the results are (k,) each.
    """
    positive = scores.truth == 1
    if positive.all() or not positive.any():
        return dict.fromkeys(("wins", "pairs"), (np.zeros(k),) * 3)
    rank = np.unique(scores.p, return_inverse=True)[1]
    block = dense_codes(block - block.min())[1]
    sides = (
        (group[positive], _wins_of_positives(rank, positive, block)),
        (group[~positive], _wins_of_positives(rank.max() - rank, ~positive, block)),
        (group[positive], _wins_of_positives(rank, positive, block * k + group)),
    )
    return {
        name: tuple(np.bincount(codes, weights=won[at], minlength=k) for codes, won in sides)
        for at, name in enumerate(("wins", "pairs"))
    }


def _wins_of_positives(
    rank: np.ndarray, positive: np.ndarray, block: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each positive: how many negatives of its block it beats (ties half), and how many there are."""
    width = int(rank.max()) + 1
    key = block.astype(np.int64) * width + rank
    negatives = np.sort(key[~positive])
    mine = key[positive]
    start = block[positive].astype(np.int64) * width
    first = np.searchsorted(negatives, start, "left")
    below = np.searchsorted(negatives, mine, "left") - first
    upto = np.searchsorted(negatives, mine, "right") - first
    pairs = np.searchsorted(negatives, start + width, "left") - first
    return (below + upto) / 2, pairs.astype(float)
