"""The threshold from which a frame is called infected: chosen on validation, never on test."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.errors import InputError


class Threshold(NamedTuple):
    """The value, the rule that chose it, and what to know about it."""

    value: float
    rule: str
    note: str


def choose_threshold(predictions: pd.DataFrame, *, rule: float | Literal["youden", "f1"]) -> Threshold:
    """Choose the threshold on the validation rows by a rule, or take the given number.

    ``youden`` maximises recall + specificity - 1, ``f1`` the F1 score. Every threshold between two
    neighbouring scores does the same; where the best ones form an interval its midpoint is taken, and of
    several intervals the one nearest to 0.5.

    Raises:
        InputError: an unknown rule, or a number outside 0..1.
    """
    if isinstance(rule, int | float) and not isinstance(rule, bool):
        if not 0 <= rule <= 1:
            raise InputError(f"study.threshold: {rule:g} is not between 0 and 1")
        return Threshold(float(rule), "given", "given, not chosen")
    if rule not in ("youden", "f1"):
        raise InputError(f"study.threshold: {rule!r} is not youden, f1 or a number between 0 and 1")
    rows = predictions[
        predictions["split"].eq("val") & predictions["label"].notna() & predictions["p_infected"].notna()
    ]
    truth = rows["label"].to_numpy(int)
    if len(np.unique(truth)) < 2:
        what = "no validation rows" if len(rows) == 0 else "the validation rows hold one class"
        return Threshold(0.5, "default", f"0.5 without a choice: {what}")
    value = _best(rows["p_infected"].to_numpy(float), truth, rule)
    return Threshold(value, rule, f"{rule} on {len(rows)} validation frames")


def _best(p: np.ndarray, truth: np.ndarray, rule: str) -> float:
    scores, at = np.unique(p, return_inverse=True)  # ascending
    positives = np.bincount(at, weights=truth == 1)
    negatives = np.bincount(at, weights=truth == 0)
    # quality[i]: everything from scores[i] on is called infected; the last entry calls nothing
    tp = np.append(np.cumsum(positives[::-1])[::-1], 0.0)
    fp = np.append(np.cumsum(negatives[::-1])[::-1], 0.0)
    n_positive, n_negative = positives.sum(), negatives.sum()
    youden = tp / n_positive - fp / n_negative
    quality = youden if rule == "youden" else 2 * tp / (n_positive + tp + fp)
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    best = best[best > 0] if (best > 0).any() else best
    # threshold i may lie anywhere in (scores[i-1], scores[i]]; neighbouring best ones are one interval
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    edges = np.concatenate([[0.0], scores, [1.0]])
    middles = [(edges[run[0]] + edges[run[-1] + 1]) / 2 for run in runs]
    return float(min(middles, key=lambda middle: abs(middle - 0.5)))
