"""A few frames that stand for many: both conditions, all hours, as many wells as there are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.study.groups import codes_of
from hpiclock.study.views import worst_frames

LISTED = 30  # worst frames of each reason in an error browser
NEIGHBOURS = 2  # frames before and after the one in question


def spread_frames(predictions: pd.DataFrame, *, per_condition: int) -> pd.DataFrame:
    """Return frames of each condition at even steps of time, each from the well that was used least.

    Infected wells go by hours after onset (``hpi``), mock wells by hours since start. Sorted by condition,
    infected first, then by time; the columns are those of ``predictions``.

    Args:
        predictions: frames to choose from.
        per_condition: how many of each, where there are so many.
    """
    rows = predictions.assign(well_code=codes_of(predictions, "well"))
    parts = [
        _spread(rows[rows["condition"].eq(condition)], clock, per_condition)
        for condition, clock in (("infected", "hpi"), ("mock", "hours"))
    ]
    chosen = pd.concat(parts).drop(columns="well_code")
    return chosen.reset_index(drop=True)


def _spread(rows: pd.DataFrame, clock: str, n: int) -> pd.DataFrame:
    rows = rows[rows[clock].notna()].sort_values([clock, "stack_id", "frame"])
    times = rows[clock].to_numpy(float)
    if len(rows) <= n:
        return rows
    used: dict[int, int] = dict.fromkeys(rows["well_code"].unique().tolist(), 0)
    step = (times[-1] - times[0]) / n
    taken: list[int] = []
    for wanted in times[0] + step * (np.arange(n) + 0.5):
        far = np.abs(times - wanted)
        near = np.setdiff1d(np.flatnonzero(far <= max(step / 2, far.min())), taken)
        if not len(near):
            continue
        wells = rows["well_code"].to_numpy()[near]
        at = min(range(len(near)), key=lambda k: (used[int(wells[k])], far[near[k]]))
        used[int(wells[at])] += 1
        taken.append(int(near[at]))
    return rows.iloc[sorted(taken)]


def listed_frames(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return the worst frames of each reason, :data:`LISTED` of them, with their neighbours in time.

    One row per frame, in the order of ``predictions`` and with its columns.

    Args:
        predictions: PREDICTIONS of one run and split.
        threshold: of the class.
    """
    worst = worst_frames(predictions, threshold=threshold, n=LISTED)
    rows = predictions.sort_values(["stack_id", "hours"])
    place = rows.groupby("stack_id").cumcount()
    bad = pd.MultiIndex.from_frame(rows[["stack_id", "frame"]]).isin(
        pd.MultiIndex.from_frame(worst[["stack_id", "frame"]])
    )
    centres = place[bad].groupby(rows.loc[bad, "stack_id"]).agg(list)
    asked = [
        any(abs(at - centre) <= NEIGHBOURS for centre in centres.get(stack, ()))
        for stack, at in zip(rows["stack_id"], place, strict=True)
    ]
    return rows[np.array(asked, bool)].sort_index()
