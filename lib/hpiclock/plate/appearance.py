"""How the frames of each stack look in plain numbers, as a model is given them: for comparing two plates."""

from __future__ import annotations

import pandas as pd

from hpiclock.plate.cache import FrameCache
from hpiclock.plate.statistics import cached_statistics

LOOKS = ("mean", "bowl", "sd", "asymmetry", "laplacian", "gradient", "sharpness", "border_mean", "border_sd")
MOST_FRAMES = 2000  # of a plate; every n-th of each stack of more


def stack_looks(cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
    """Return ``stack_id plate well`` and, of each of :data:`LOOKS`, the median over the stack's frames.

    ``asymmetry`` is by how much bright grey levels reach farther from the median than dark ones (99% and 1%),
    as a share of both: it changes its sign where bright and dark are exchanged. The others are those of
    :func:`hpiclock.plate.statistics.image_statistics`.

    Args:
        cache: the frames' pixels.
        frames: FRAMES rows.
    """
    step = max(-(-len(frames) // MOST_FRAMES), 1)
    thinned = frames[frames.groupby("stack_id").cumcount() % step == 0].reset_index(drop=True)
    found = cached_statistics(cache, thinned)
    reach = found["p99"] - found["p01"]  # both are counted from the median
    found["asymmetry"] = ((found["p99"] + found["p01"]) / reach).where(reach.gt(0), 0.0)
    places = thinned.groupby("stack_id", sort=False)[["plate", "well"]].first()
    return places.join(found.groupby("stack_id")[list(LOOKS)].median()).reset_index()
