"""How the frames of each stack look in plain numbers, as a model is given them: for comparing two plates."""

from __future__ import annotations

import pandas as pd

from hpiclock.plate.cache import FrameCache
from hpiclock.plate.statistics import cached_statistics

LOOKS = ("mean", "bowl", "sd", "asymmetry", "laplacian", "gradient", "sharpness", "border_mean", "border_sd")
FIRST = 2  # frames of a stack
MOST_FRAMES = 2000  # of a plate; every n-th of each stack of more, and the first ones


def stack_looks(cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
    """Return ``stack_id plate well`` and, of each of :data:`LOOKS`, the median over the stack's frames.

    ``..._start`` is the median over its first frames, in which an infection shows little: there plates of one
    microscope differ least. ``asymmetry`` is by how much bright grey levels reach farther from the median
    than dark ones (99% and 1%), as a share of both: it changes its sign where bright and dark are exchanged.
    The others are those of :func:`hpiclock.plate.statistics.image_statistics`.

    Args:
        cache: the frames' pixels.
        frames: FRAMES rows, of each stack in the order of time.
    """
    number = frames.groupby("stack_id").cumcount()
    early, thinned = number.lt(FIRST), number % max(-(-len(frames) // MOST_FRAMES), 1) == 0
    rows = frames[early | thinned]
    found = cached_statistics(cache, rows).set_index(rows.index)
    reach = found["p99"] - found["p01"]  # both are counted from the median
    found["asymmetry"] = ((found["p99"] + found["p01"]) / reach).where(reach.gt(0), 0.0)
    whole, start = (_medians(found[chosen[rows.index]]) for chosen in (thinned, early))
    places = rows.groupby("stack_id", sort=False)[["plate", "well"]].first()
    return places.join(whole).join(start.add_suffix("_start")).reset_index()


def _medians(found: pd.DataFrame) -> pd.DataFrame:
    return found.groupby("stack_id")[list(LOOKS)].median()
