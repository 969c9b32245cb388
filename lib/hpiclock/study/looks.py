"""Do the frames of a new plate look, in plain numbers, as those of the training plate did?

Brightness, contrast, focus and border are known before any model has seen a frame: a model that learnt
little, or that learnt not to look at them, cannot hide that they changed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.study.audit_rows import STATISTIC_WORDS

MARGIN = 0.25  # of the range of the training stacks, beyond it on both sides
FULL_MARGIN_STACKS = 24  # with fewer the range is known worse, and the margin grows as their number falls
LEAST_STACKS = 4  # of the training plate, for a range
COLUMNS = ["statistic", "words", "low", "high", "value", "beyond", "outside", "n_stacks", "unlike"]
WORDS = STATISTIC_WORDS | {"asymmetry": "balance of bright and dark"}
AT_START = "_start"
_PLACE = ("stack_id", "plate", "well")


def compare_looks(trained: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
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
    table = pd.DataFrame({
        "statistic": names, "words": [_words(name) for name in names],
        "low": low.to_numpy(), "high": high.to_numpy(), "value": value.to_numpy(), "beyond": beyond,
        "outside": (new[names].lt(low) | new[names].gt(high)).sum().to_numpy(), "n_stacks": len(new),
        "unlike": beyond > MARGIN * max(1.0, FULL_MARGIN_STACKS / len(trained)),
    })  # fmt: skip
    return table.sort_values("beyond", ascending=False, kind="stable", ignore_index=True)


def looks_words(table: pd.DataFrame, *, most: int = 4) -> str:
    """Return what differs, e.g. ``sharpness 1.2 (training 2.1 to 2.4)``; empty where nothing does."""
    odd = table[table["unlike"].astype(bool)]
    base = odd["statistic"].str.removesuffix(AT_START)
    odd = odd[~base.duplicated()]  # over all hours and at the start: the farther one is said
    said = [f"{row.words} {row.value:.3g} (training {row.low:.3g} to {row.high:.3g})"
            for row in odd.head(most).itertuples()]  # fmt: skip
    more = [f"{len(odd) - most} more"] if len(odd) > most else []
    return ", ".join([*said, *more])


def _words(name: str) -> str:
    base = name.removesuffix(AT_START)
    return WORDS.get(base, base) + (" in the first frames" if base != name else "")
