"""Are the frames of a new plate like those that a model was trained on? In numbers, and in words.

Brightness, contrast, focus and border are known before any model has seen a frame: a model that was
trained on little, or to ignore them, cannot hide that they changed.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

STATISTIC_WORDS = {
    "mean": "mean grey level",
    "median": "median grey level",
    "sd": "contrast (SD of grey levels)",
    "tilt_x": "shading from left to right",
    "tilt_y": "shading from top to bottom",
    "bowl": "shading from centre to corners",
    "laplacian": "fine detail (Laplacian)",
    "gradient": "edges (gradient)",
    "sharpness": "sharpness",
    "p01": "darkest grey levels (1%)",
    "p05": "dark grey levels (5%)",
    "p95": "bright grey levels (95%)",
    "p99": "brightest grey levels (99%)",
    "border_mean": "grey level of the border",
    "border_sd": "contrast of the border",
    "border_top": "grey level of the top border",
    "border_bottom": "grey level of the bottom border",
    "border_left": "grey level of the left border",
    "border_right": "grey level of the right border",
}
MARGIN = 0.25  # of the range of the training stacks, beyond it on both sides
FULL_MARGIN_STACKS = 24  # with fewer the range is known worse, and the margin grows as their number falls
LEAST_STACKS = 4  # of the training plate, for a range
COLUMNS = ["statistic", "words", "low", "high", "value", "beyond", "outside", "n_stacks", "unlike"]
WORDS = STATISTIC_WORDS | {"asymmetry": "balance of bright and dark"}
NAMED = 4  # statistics in a sentence
AT_START = "_start"
_PLACE = ("stack_id", "plate", "well")


def acquisition_shift(trained: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Compare two plates statistic by statistic, those that are farthest apart first.

    A plate is ``unlike`` in a statistic where the median of its stacks lies beyond the range of all stacks of
    the training plate by more than :data:`MARGIN` of that range, or more where the training stacks are few.

    Args:
        trained: a row per stack of the training plate: ``stack_id plate well`` and statistics.
        new: the same of the new plate.

    Returns:
        Rows of :data:`COLUMNS`: ``low high`` of the training stacks, ``value`` the median of the new stacks,
        ``beyond``: how far it lies outside, in ranges (0 inside); ``outside``: new stacks outside the range.
        Empty with fewer than :data:`LEAST_STACKS` training stacks.
    """
    names = [name for name in trained.columns if name not in _PLACE and name in new.columns]
    if len(trained) < LEAST_STACKS or new.empty:
        return pd.DataFrame(columns=COLUMNS)
    low, high = trained[names].min(), trained[names].max()
    value = new[names].median()
    off = np.maximum(np.maximum(value - high, low - value), 0.0)
    span = (high - low).to_numpy(float)
    beyond = np.divide(off, span, out=np.where(off > 0, np.inf, 0.0), where=span > 0)
    outside = (new[names].lt(low) | new[names].gt(high)).sum()
    table = pd.DataFrame({"low": low, "high": high, "value": value, "beyond": beyond, "outside": outside})
    unlike = beyond > MARGIN * max(1.0, FULL_MARGIN_STACKS / len(trained))
    words = [_words(name) for name in names]
    table = table.assign(statistic=names, words=words, n_stacks=len(new), unlike=unlike)[COLUMNS]
    return table.sort_values("beyond", ascending=False, kind="stable", ignore_index=True)


def shift_sentence(table: pd.DataFrame) -> str:
    """Return what differs, e.g. ``sharpness 1.2 (training 2.1 to 2.4)``; empty where nothing does."""
    odd = table[table["unlike"].astype(bool)]
    base = odd["statistic"].str.removesuffix(AT_START)
    odd = odd[~base.duplicated()]  # over all hours and at the start: the farther one is named
    shown = [
        f"{row.words} {row.value:.3g} (training {row.low:.3g} to {row.high:.3g})"
        for row in odd.head(NAMED).itertuples()
    ]
    return ", ".join(shown + [f"{len(odd) - NAMED} more"] * (len(odd) > NAMED))


def _words(name: str) -> str:
    base = name.removesuffix(AT_START)
    return WORDS.get(base, base) + (" in the first frames" if base != name else "")


UNLIKE = "THIS PLATE LOOKS UNLIKE THE TRAINING PLATE: "

# so many times the stacks that a plate of the same kind has beyond the farthest held-out one
MORE_THAN_EXPECTED = 3.0


Verdict = Literal["alike", "partly unlike", "unlike", "not known"]


class OodSummary(NamedTuple):
    """The verdict on a new plate, the median distance of its stacks, and both in a sentence."""

    verdict: Verdict
    distance: float
    sentence: str


def stack_distances(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return ``stack_id plate well distance unlike``, the farthest first; of a stack, the median frame."""
    per_stack = predictions.groupby("stack_id", as_index=False).agg(
        plate=("plate", "first"), well=("well", "first"), distance=("distance", "median")
    )
    far = per_stack.assign(unlike=per_stack["distance"].gt(1))
    return far.sort_values(["distance", "stack_id"], ascending=[False, True], ignore_index=True)


def ood_summary(
    predictions: pd.DataFrame, *, n_held_out: int, n_wells: int, shift: pd.DataFrame | None
) -> OodSummary:
    """Judge a plate by its stacks.

    ``unlike``: the median stack lies beyond every held-out stack, or the pictures differ in a plain
    statistic. ``partly unlike``: clearly more stacks lie there than of a plate of the same kind, of which one
    in ``n_held_out + 1`` is expected there.

    Args:
        predictions: rows with ``stack_id plate well distance``.
        n_held_out: held-out stacks of the training plate.
        n_wells: the wells these come from.
        shift: of :func:`acquisition_shift`; None where the training frames are not at hand.
    """
    differs = "" if shift is None else shift_sentence(shift)
    seen = _by_distance(predictions, n_held_out, n_wells)
    if not differs:
        return seen
    loud = UNLIKE if seen.verdict != "unlike" else ""
    plain = (
        f"{loud}its frames differ from all stacks of the training plate in {differs}. Another microscope, "
        "focus, light or magnification does that."
    )
    parts = [plain, seen.sentence] if loud else [seen.sentence, plain[0].upper() + plain[1:]]
    return OodSummary("unlike", seen.distance, " ".join(parts))


def _by_distance(predictions: pd.DataFrame, n_held_out: int, n_wells: int) -> OodSummary:
    stacks = stack_distances(predictions)
    if stacks["distance"].isna().all() or n_held_out == 0:
        why = (
            "How like the training plate this plate looks is not known: the training frames, or frames held "
            "out of training, are not at hand."
        )
        return OodSummary("not known", float("nan"), why)
    n, beyond, median = len(stacks), int(stacks["unlike"].sum()), float(stacks["distance"].median())
    expected = n / (n_held_out + 1)
    numbers = (
        f"{beyond} of {n} stacks lie farther from the training frames than each of the {n_held_out} stacks "
        f"of {n_wells} wells held out of training (median distance {median:.2f}; farthest held-out stack = 1)"
    )
    verdict: Verdict = "alike"
    sentence = f"To the model this plate looks like the training plate: {numbers}."
    if median > 1:
        verdict = "unlike"
        sentence = (
            f"{UNLIKE}{numbers}. Its predictions are not to be believed before wells of known condition, "
            "imaged in the same way, have been read out."
        )
    elif beyond > max(MORE_THAN_EXPECTED * expected, 1.0):
        verdict, worst = "partly unlike", ", ".join(stacks["stack_id"].head(3))
        sentence = (
            f"SOME STACKS LOOK UNLIKE THE TRAINING PLATE: {numbers}; some {np.ceil(expected):.0f} would be "
            f"by chance. The farthest: {worst}."
        )
    return OodSummary(verdict, median, sentence)
