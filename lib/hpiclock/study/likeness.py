"""Does a new plate look like the plate that a model was trained on? In numbers, and in words.

Two things are asked: how far the frames lie from those of training as the model sees them, and whether plain
statistics of the pictures (:mod:`hpiclock.study.looks`) left the range of the training plate. ``distance`` of
a frame is in units of the farthest held-out stack of the training plate (:mod:`hpiclock.clock.likeness`): a
stack beyond 1 looks less like the training frames than every stack of wells that the model never learnt from.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.study.looks import looks_words

UNLIKE = "THIS PLATE LOOKS UNLIKE THE TRAINING PLATE: "

BY_CHANCE = 3.0  # so many times the stacks that a plate of the same kind has beyond the farthest held-out one


class Likeness(NamedTuple):
    """The verdict on a new plate, the median distance of its stacks, and both in a sentence."""

    verdict: Literal["alike", "partly unlike", "unlike", "not known"]
    distance: float
    sentence: str


def stack_distances(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return ``stack_id plate well distance unlike``, the farthest first; of a stack, the median frame."""
    per_stack = predictions.groupby("stack_id", as_index=False).agg(
        plate=("plate", "first"), well=("well", "first"), distance=("distance", "median")
    )
    far = per_stack.assign(unlike=per_stack["distance"].gt(1))
    return far.sort_values(["distance", "stack_id"], ascending=[False, True], ignore_index=True)


def likeness(
    predictions: pd.DataFrame, *, n_held_out: int, n_wells: int, looks: pd.DataFrame | None
) -> Likeness:
    """Judge a plate by its stacks.

    ``unlike``: the median stack lies beyond every held-out stack, or the pictures differ in a plain
    statistic. ``partly unlike``: clearly more stacks lie there than of a plate of the same kind, of which one
    in ``n_held_out + 1`` is expected there.

    Args:
        predictions: rows with ``stack_id plate well distance``.
        n_held_out: held-out stacks of the training plate.
        n_wells: the wells these come from.
        looks: :func:`hpiclock.study.looks.compare_looks`; None where the training frames are not at hand.
    """
    differs = "" if looks is None else looks_words(looks)
    seen = _by_distance(predictions, n_held_out, n_wells)
    if not differs:
        return seen
    loud = UNLIKE if seen.verdict != "unlike" else ""
    plain = (
        f"{loud}its frames differ from all stacks of the training plate in {differs}. Another microscope, "
        "focus, light or magnification does that."
    )
    parts = [plain, seen.sentence] if loud else [seen.sentence, plain[0].upper() + plain[1:]]
    return Likeness("unlike", seen.distance, " ".join(parts))


def _by_distance(predictions: pd.DataFrame, n_held_out: int, n_wells: int) -> Likeness:
    stacks = stack_distances(predictions)
    if stacks["distance"].isna().all() or n_held_out == 0:
        why = (
            "How like the training plate this plate looks is not known: the training frames, or frames held "
            "out of training, are not at hand."
        )
        return Likeness("not known", float("nan"), why)
    n, beyond, median = len(stacks), int(stacks["unlike"].sum()), float(stacks["distance"].median())
    expected = n / (n_held_out + 1)
    numbers = (
        f"{beyond} of {n} stacks lie farther from the training frames than each of the {n_held_out} stacks "
        f"of {n_wells} wells held out of training (median distance {median:.2f}; farthest held-out stack = 1)"
    )
    if median > 1:
        return Likeness(
            "unlike", median,
            f"{UNLIKE}{numbers}. Its predictions are not to be believed "
            "before wells of known condition, imaged in the same way, have been read out.",
        )  # fmt: skip
    if beyond > max(BY_CHANCE * expected, 1.0):
        worst = ", ".join(stacks["stack_id"].head(3))
        return Likeness(
            "partly unlike", median,
            f"SOME STACKS LOOK UNLIKE THE TRAINING PLATE: {numbers}; some {np.ceil(expected):.0f} would be "
            f"by chance. The farthest: {worst}.",
        )  # fmt: skip
    return Likeness("alike", median, f"To the model this plate looks like the training plate: {numbers}.")
