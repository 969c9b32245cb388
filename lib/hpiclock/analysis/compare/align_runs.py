"""Runs that are to be compared, frame by frame: the same test frames in the same order, or a refusal.

A variant is one way of training, told apart from others by its name. It has one run per seed and fold. Runs
with the same test frames are seeds of one fold; runs with others are other folds, and share no stack.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.analysis.detection import choose_threshold
from hpiclock.analysis.frame_scores import FrameScores, frame_scores
from hpiclock.analysis.units import ResamplingUnit, choose_resampling_unit
from hpiclock.errors import InputError
from hpiclock.tables import SAME_H

KEY = ["stack_id", "frame"]
Rule = float | Literal["youden", "f1"]


class AlignedRun(NamedTuple):
    """One variant: its name, and per seed the scores of all test frames, in the order of the frames."""

    name: str
    seeds: list[FrameScores]


class AlignedRuns(NamedTuple):
    """Variants over the same test frames: the frames, what their groups are, the variants, and remarks."""

    frames: pd.DataFrame
    unit: ResamplingUnit
    sides: list[AlignedRun]
    n_folds: int
    notes: list[str]


class _Run(NamedTuple):
    """The test rows of a run in a fixed order, their keys, and its own threshold."""

    name: str
    seed: int
    test: pd.DataFrame
    keys: pd.MultiIndex
    threshold: float


Folds = dict[str, list[_Run]]  # the first stack of a test set -> its runs, by seed


def align_runs(variants: Mapping[str, Sequence[pd.DataFrame]], *, rule: Rule) -> AlignedRuns:
    """Put the test frames of all runs into one order; each run keeps its own threshold.

    Args:
        variants: name -> the PREDICTIONS of each of its runs (one per seed and fold).
        rule: ``study.threshold``; it is applied to the validation rows of each run.

    Raises:
        InputError: fewer than two variants, or runs that do not share their test frames and labels; the
            line says which frames or labels differ.
    """
    if len(variants) < 2:
        raise InputError("compare: one way of training alone cannot be compared; name runs of two or more")
    folded = {
        name: _by_fold(name, [_run(name, rows, rule) for rows in runs]) for name, runs in variants.items()
    }
    for one, other in pairwise(folded):
        _refuse_other_frames(one, folded[one], other, folded[other])
    first = next(iter(folded.values()))
    order = sorted(first)
    frames = pd.concat([first[fold][0].test for fold in order], ignore_index=True)
    unit = choose_resampling_unit(frames)
    by_name = {name: [folds[fold] for fold in order] for name, folds in folded.items()}
    sides = [AlignedRun(name, _scores(folds, unit)) for name, folds in by_name.items()]
    return AlignedRuns(frames, unit, sides, len(order), _notes(sides, unit))


def _run(variant: str, rows: pd.DataFrame, rule: Rule) -> _Run:
    name = str(rows["run"].iloc[0]) if len(rows) else variant
    test = rows[rows["split"].eq("test")].sort_values(KEY, kind="stable").reset_index(drop=True)
    if test.empty:
        raise InputError(f"compare: {name} has no test frames; a comparison needs them")
    models = test[["run", "seed", "fold"]].drop_duplicates()
    if len(models) > 1:
        raise InputError(f"compare: {name}: its predictions hold {len(models)} runs; give each run by itself")
    threshold = choose_threshold(rows, rule=rule).value
    return _Run(name, int(test["seed"].iloc[0]), test, pd.MultiIndex.from_frame(test[KEY]), threshold)


def _by_fold(variant: str, runs: list[_Run]) -> Folds:
    folds: Folds = {}
    for run in runs:
        folds.setdefault(str(run.test["stack_id"].iloc[0]), []).append(run)
    seen: set[str] = set()
    for of_fold in folds.values():
        for run in of_fold[1:]:
            if not run.keys.equals(of_fold[0].keys):
                what = _differing(of_fold[0].keys, run.keys)
                raise InputError(
                    f"compare: {variant}: runs of one fold have other test frames: {run.name} {what} "
                    f"(against {of_fold[0].name}); runs of one variant share all test frames (seeds) or no "
                    "stack (folds)"
                )
        shared = seen & set(of_fold[0].test["stack_id"])
        if shared:
            raise InputError(
                f"compare: {variant}: test sets of its runs overlap in part (stack {min(shared)} stands in "
                "two); runs of one variant share all test frames (seeds) or no stack (folds)"
            )
        seen |= set(of_fold[0].test["stack_id"])
        _refuse_double(variant, of_fold)
        of_fold.sort(key=lambda run: run.seed)
    counts = {len(of_fold) for of_fold in folds.values()}
    if len(counts) > 1:
        raise InputError(
            f"compare: {variant} has {min(counts)} seeds in one fold and {max(counts)} in another; finish "
            "the missing runs or leave the others out"
        )
    return folds


def _refuse_double(variant: str, of_fold: list[_Run]) -> None:
    seeds = [run.seed for run in of_fold]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        names = " and ".join(run.name for run in of_fold if run.seed == twice)
        raise InputError(
            f"compare: {variant}: {names} have the same seed {twice} and the same test frames; name each run "
            "once, and give ways of training that differ a name each"
        )


def _refuse_other_frames(one: str, mine: Folds, other: str, yours: Folds) -> None:
    all_mine, all_yours = (_all_keys(folds) for folds in (mine, yours))
    if not all_mine.equals(all_yours):
        raise InputError(
            f"compare: {other} has other test frames than {one}: it {_differing(all_mine, all_yours)}; train "
            "both with the same data, split, folds and frames.test"
        )
    for fold, runs in mine.items():
        if fold not in yours or not runs[0].keys.equals(yours[fold][0].keys):
            raise InputError(
                f"compare: {other} deals the test frames to other folds than {one}; use the same split.seed "
                "and split.folds for both"
            )
        _refuse_other_truth(one, other, runs[0].test, [run.test for run in (*runs, *yours[fold])])


def _refuse_other_truth(one: str, other: str, first: pd.DataFrame, tables: list[pd.DataFrame]) -> None:
    label = first["label"].fillna(-1).to_numpy(int)
    for test in tables:
        wrong = np.flatnonzero(test["label"].fillna(-1).to_numpy(int) != label)
        if len(wrong):
            row = first.iloc[wrong[0]]
            raise InputError(
                f"compare: {len(wrong)} of {len(first)} test frames have another label in {one} than in "
                f"{other}, the first is {row['stack_id']} frame {row['frame']}; use the same onsets and the "
                "same targets.before_onset"
            )


def _all_keys(folds: Folds) -> pd.Index:
    keys = [runs[0].keys for runs in folds.values()]
    return keys[0].append(keys[1:]).sort_values()


def _differing(mine: pd.Index, yours: pd.Index) -> str:
    parts = []
    for words, gone in (("lacks", mine.difference(yours)), ("adds", yours.difference(mine))):
        if len(gone):
            stacks = list(dict.fromkeys(gone.get_level_values(0)))
            more = f" and {len(stacks) - 3} more stacks" if len(stacks) > 3 else ""
            parts.append(f"{words} {len(gone)} frames of {', '.join(stacks[:3])}{more}")
    return " and ".join(parts)


def _scores(folds: list[list[_Run]], unit: ResamplingUnit) -> list[FrameScores]:
    seeds = []
    sizes = [len(of_fold[0].test) for of_fold in folds]
    groups = np.split(unit.codes, np.cumsum(sizes)[:-1])
    for of_seed in zip(*folds, strict=True):
        parts = [
            frame_scores(run.test, threshold=run.threshold, group=group)
            for run, group in zip(of_seed, groups, strict=True)
        ]
        names = FrameScores.__dataclass_fields__
        fields = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        # each fold has a model of its own, and scores of two models are never compared
        fields["model"] = np.repeat(np.arange(len(parts)), sizes)
        seeds.append(FrameScores(**fields))
    return seeds


def _notes(sides: list[AlignedRun], unit: ResamplingUnit) -> list[str]:
    notes = [unit.caveat] if unit.caveat else []
    single = [side.name for side in sides if len(side.seeds) == 1]
    if single:
        notes.append(
            f"One seed of {', '.join(single)}: what is compared are trained models. Whether one way of "
            "training is better takes several seeds of each."
        )
    targets = [side.seeds[0].target for side in sides]
    if any(_moved(targets[0], target) for target in targets[1:]):
        notes.append(
            "The variants learn times of different clocks: each is judged by its own, so their time errors "
            "answer different questions."
        )
    return notes


def _moved(one: np.ndarray, other: np.ndarray) -> bool:
    there = ~np.isnan(one) & ~np.isnan(other)
    return bool((np.abs(one[there] - other[there]) > SAME_H).any())
