"""Group resamples of five metrics over 15 windows: the sums of this library against a loop over scikit-learn.

With weights w per group, AUC = w'A w / w'N w, where A[s, t] counts wins plus half ties of the infected
frames of group s over the uninfected frames of group t and N the pairs; every other metric is a ratio of
weighted per-group sums. Bootstraps, permutations of weights and leaving groups out are all weights.

Same predictions, same resamples, one thread. Writes reports/benchmarks/resampling.md; with ``--million`` it
also prints how long the whole study of a million predictions takes and how much memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from side_by_side import Row, one_thread, ratio, write

one_thread()

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from hpiclock import metrics as registry
from hpiclock.analysis.compare.paired_tests import pair_wins
from hpiclock.analysis.frame_scores import FrameScores, frame_scores, linear_sums
from hpiclock.analysis.run_study import run_study
from hpiclock.analysis.units import group_codes, in_window
from hpiclock.analysis.windows import window_edges
from hpiclock.config.schema import AuditConfig, StudyConfig, WindowsConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions

METRICS = ("auc", "accuracy", "f1", "mae", "r2")
THRESHOLD = 0.5
CHUNK = 500  # resamples at a time: memory stays bounded
GOALS = {1_000: 2_000, 10_000: 4_500}  # resamples -> ratio


def frames() -> tuple[FrameScores, list[np.ndarray], np.ndarray]:
    """About 10,000 frames of 104 stacks, the 15 windows, and the condition of each stack."""
    design = Simulation(wells=52, stacks=1, hours=48.0, interval_h=0.5)
    rows = simulate_predictions(design, rng=np.random.default_rng(0), splits=("test",))
    rows = rows[rows["label"].notna()].reset_index(drop=True)
    stack = group_codes(rows, "position")
    scores = frame_scores(rows, threshold=THRESHOLD, group=stack)
    edges = window_edges(WindowsConfig(), end_h=48)
    hours = rows["hours"].to_numpy(float)
    masks = [in_window(hours, *edge, last=edge == edges[-1]) for edge in edges]
    kind = pd.Series(scores.truth).groupby(stack).first().to_numpy()
    return scores, masks, kind


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
                out[metric][start : start + CHUNK, at] = registry.METRICS[metric].value(totals)
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


def by_scikit_learn(
    scores: FrameScores, masks: list[np.ndarray], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """The plain loop: repeat each frame as often as its stack was drawn."""
    out = {metric: np.full((len(weights), len(masks)), np.nan) for metric in METRICS}
    guess = scores.target + scores.error
    for draw, weight in enumerate(weights):
        for window, mask in enumerate(masks):
            rows = np.repeat(np.flatnonzero(mask), weight[scores.group[mask]].astype(int))
            y, p, call = scores.truth[rows], scores.p[rows], scores.called[rows]
            out["auc"][draw, window] = sk.roc_auc_score(y, p)
            out["accuracy"][draw, window] = sk.accuracy_score(y, call)
            out["f1"][draw, window] = sk.f1_score(y, call)
            out["mae"][draw, window] = sk.mean_absolute_error(scores.target[rows], guess[rows])
            out["r2"][draw, window] = sk.r2_score(scores.target[rows], guess[rows])
    return out


def compare(resamples: int, loop: int) -> tuple[Row, float]:
    """Return the ratio, and the largest difference between the two."""
    scores, masks, kind = frames()
    weights = bootstrap_weights(kind, resamples, np.random.default_rng(1))

    def ours(draws: np.ndarray = weights) -> dict[str, np.ndarray]:
        tables = [resampling_table(scores.take(mask), k=len(kind)) for mask in masks]
        return resampled_metric(tables, draws, METRICS)

    mine, theirs = ours(weights), by_scikit_learn(scores, masks, weights[:loop])
    difference = max(float(np.abs(mine[m][:loop] - theirs[m]).max()) for m in METRICS)

    def counted() -> int:
        ours()
        return resamples

    def looped() -> int:
        by_scikit_learn(scores, masks, weights[:loop])
        return loop

    what = f"{resamples:,} resamples, {len(masks)} windows, {len(METRICS)} metrics, {len(scores):,} frames"
    return ratio(what, counted, looped, against="loop over scikit-learn", goal=GOALS[resamples]), difference


def million() -> None:
    design = Simulation(wells=52, stacks=50, interval_h=0.5, plates=4)
    rows = simulate_predictions(design, rng=np.random.default_rng(0)).iloc[:1_000_000]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter(), time.process_time()
    run_study(
        rows, cfg_windows=WindowsConfig(), end_h=48, cfg_study=StudyConfig(), cfg_audit=AuditConfig(), seed=0
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    print(f"{len(rows)} predictions: the whole study in {wall:.0f} s ({cpu:.0f} s of CPU)")
    print(f"memory: {before / 1e6:.1f} GB with the table, {peak / 1e6:.1f} GB at the peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", type=int, default=20, help="resamples of the scikit-learn loop")
    parser.add_argument("--million", action="store_true")
    args = parser.parse_args()
    found = [compare(resamples, args.loop) for resamples in GOALS]
    worst = f"{max(difference for _, difference in found):.1e}, asked for at most 1e-12"
    write("resampling", [row for row, _ in found], notes={"Largest difference": worst})
    if args.million:
        million()


if __name__ == "__main__":
    main()
