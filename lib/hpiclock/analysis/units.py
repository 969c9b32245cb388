"""Which rows count as repeats of one another: the level of every interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.tables import SPLITS

MIN_GROUPS = 3  # per class; with fewer there is a point and no interval
NO_WELLS = "wells not given: positions taken as independent, too narrow where they share a well"
ONE_WELL = (
    "one well in a class: infection cannot be told from well, the interval is for positions of these wells"
)


class ResamplingUnit(NamedTuple):
    """The unit that is resampled, each row's group, and what may be said with it."""

    unit: str
    codes: np.ndarray  # (rows,) int: which group a row belongs to
    caveat: str


def condition_codes(rows: pd.DataFrame) -> np.ndarray:
    """Return 1 for what was infected, 0 for mock, by ``condition``: (rows,) int8."""
    return rows["condition"].eq("infected").to_numpy().astype(np.int8)


def group_codes(rows: pd.DataFrame, unit: str) -> np.ndarray:
    """Return one integer per plate, well, position (stack) or frame of ``unit``: (rows,)."""
    if unit == "frame":
        return np.arange(len(rows))
    if unit == "position":
        return pd.factorize(rows["stack_id"])[0]
    plates = pd.factorize(rows["plate"])[0]
    if unit == "plate":
        return plates
    wells, names = pd.factorize(rows["well"])
    return pd.factorize(plates * max(len(names), 1) + wells)[0]


def choose_resampling_unit(rows: pd.DataFrame) -> ResamplingUnit:
    """Choose the unit of resampling: plate, else well, else position.

    Wells are what was infected independently, so the well is the unit wherever both classes have two or
    more; plates replace it when at least three hold each class (then the intervals speak for new plates).
    With one well in a class only positions are left, and the note says what cannot be told.

    Args:
        rows: predictions (or a manifest) with ``plate, well, stack_id, condition``.
    """
    infected = condition_codes(rows)
    present = [kind for kind in (0, 1) if (infected == kind).any()]

    def enough(codes: np.ndarray, least: int) -> bool:
        return all(len(np.unique(codes[infected == kind])) >= least for kind in present)

    plates = group_codes(rows, "plate")
    if rows["plate"].ne("").all() and enough(plates, MIN_GROUPS):
        return ResamplingUnit("plate", plates, "")
    if rows["well"].eq("").any():
        return ResamplingUnit("position", group_codes(rows, "position"), NO_WELLS)
    wells = group_codes(rows, "well")
    if enough(wells, 2):
        return ResamplingUnit("well", wells, "")
    return ResamplingUnit("position", group_codes(rows, "position"), ONE_WELL)


def ordered_splits(rows: pd.DataFrame) -> list[str]:
    """Return the splits that are there, in the order train, val, test."""
    there = set(rows["split"].unique())
    return [split for split in SPLITS if split in there]
