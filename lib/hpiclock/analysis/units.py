"""What counts as a well, a phase of the infection, a matched control; which rows are repeats of one another.

Analysis and audit both read these; frames are compared within :func:`hpiclock.tables.plate_hour_strata`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.tables import SAME_H, SPLITS, plate_hour_strata

PHASES = ("before onset", "eclipse", "after eclipse")
BEFORE_FIRST_ONSET, PAST_LAST_ECLIPSE = "before the first onset", "past the last eclipse"
MIN_GROUPS = 3  # per class; with fewer there is a point and no interval
NO_WELLS = "wells not given: positions taken as independent, too narrow where they share a well"


class ResamplingUnit(NamedTuple):
    """The unit that is resampled, each row's group, and what cannot be concluded with it."""

    unit: str
    codes: np.ndarray  # (rows,) int: which group a row belongs to
    caveat: str


def condition_codes(rows: pd.DataFrame) -> np.ndarray:
    """Return 1 for what was infected, 0 for mock, by ``condition``: (rows,) int8."""
    return rows["condition"].eq("infected").to_numpy().astype(np.int8)


def label_codes(rows: pd.DataFrame) -> np.ndarray:
    """Return 1 for what the model should call infected, 0 for what not, -1 without a label: (rows,) int8."""
    return rows["label"].astype("Int8").fillna(-1).to_numpy(np.int8)


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


def well_codes(rows: pd.DataFrame) -> np.ndarray:
    """Return one integer per well (a plate and a name), -1 where the well is not given: (rows,)."""
    return np.where(rows["well"].eq(""), -1, group_codes(rows, "well"))


def well_or_position_codes(rows: pd.DataFrame) -> np.ndarray:
    """Return one integer per well, or per position where any well is not given: (rows,)."""
    return group_codes(rows, "position" if rows["well"].eq("").any() else "well")


def count_codes(codes: np.ndarray) -> int:
    """Return how many different codes there are; negative ones stand for unknown and do not count."""
    return int(np.count_nonzero(np.bincount(codes[codes >= 0])))


def choose_resampling_unit(rows: pd.DataFrame) -> ResamplingUnit:
    """Choose the unit of resampling: the plate where three or more hold each class, else the well.

    The well is what was infected independently; with plates as the unit the intervals speak for new plates.
    Positions stand in only where wells are not given, and the caveat says so. Where fewer than
    :data:`MIN_GROUPS` wells hold a class there is no interval, however many positions they have.

    Args:
        rows: predictions (or a manifest) with ``plate, well, stack_id, condition``.
    """
    infected, plates = condition_codes(rows), group_codes(rows, "plate")
    present = [kind for kind in (0, 1) if (infected == kind).any()]
    many = all(len(np.unique(plates[infected == kind])) >= MIN_GROUPS for kind in present)
    if rows["plate"].ne("").all() and many:
        return ResamplingUnit("plate", plates, "")
    if rows["well"].eq("").any():
        return ResamplingUnit("position", group_codes(rows, "position"), NO_WELLS)
    return ResamplingUnit("well", group_codes(rows, "well"), "")


def wells_by_condition(rows: pd.DataFrame) -> dict[str, int]:
    """Return how many wells (a plate and a name) were infected and how many mock; 0 where not given."""
    codes, infected = well_codes(rows), condition_codes(rows) == 1
    return {"infected": count_codes(codes[infected]), "mock": count_codes(codes[~infected])}


def reported_split(rows: pd.DataFrame) -> str:
    """Return the split that results are of: test, else val, else train; nothing where there is none."""
    there = set(rows["split"].dropna()) if "split" in rows else set()
    return next((split for split in SPLITS[::-1] if split in there), "")


def reported_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the reported split; all of them where there is no split."""
    split = reported_split(rows)
    return rows[rows["split"].eq(split)] if split else rows


def ordered_splits(rows: pd.DataFrame) -> list[str]:
    """Return the splits that are there, in the order train, val, test."""
    there = set(rows["split"].unique())
    return [split for split in SPLITS if split in there]


def each_run_and_split(rows: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Yield ``run`` and ``split`` and their rows with a fresh index: runs by name, splits as ordered."""
    for run, of_run in rows.groupby("run", sort=True):
        for split in ordered_splits(of_run):
            yield {"run": str(run), "split": split}, of_run[of_run["split"].eq(split)].reset_index(drop=True)


def phase_masks(rows: pd.DataFrame, *, eclipse_h: float) -> dict[str, np.ndarray]:
    """Return, per phase of :data:`PHASES`, which frames of infected wells are in it: (rows,) bool each.

    Args:
        rows: with ``condition`` and ``hpi``; a frame whose hpi is not known is in no phase.
        eclipse_h: how long after the onset nothing can be seen, hours.
    """
    hpi = rows["hpi"].to_numpy(float)
    infected = condition_codes(rows) == 1
    before, late = hpi < 0, hpi >= eclipse_h - SAME_H
    parts = (before, (hpi >= 0) & ~late, late)
    return {name: infected & part for name, part in zip(PHASES, parts, strict=True)}


def in_window(values: np.ndarray, start_h: float, end_h: float, *, last: bool) -> np.ndarray:
    """Return which values lie in ``[start_h, end_h)``, or in ``[start_h, end_h]`` for the last window."""
    with np.errstate(invalid="ignore"):
        return (values >= start_h) & ((values <= end_h) if last else (values < end_h))


def with_matched_controls(inside: np.ndarray, infected: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Return the frames that are ``inside``, and the uninfected ones of their strata: (rows,) bool.

    Args:
        inside: (rows,) bool, infected frames.
        infected: (rows,) 1 infected, 0 not, -1 unknown.
        stratum: (rows,) of :func:`hpiclock.tables.plate_hour_strata`.
    """
    return inside | ((infected == 0) & np.isin(stratum, np.unique(stratum[inside])))


def phase_frames(rows: pd.DataFrame, *, eclipse_h: float) -> dict[str, np.ndarray]:
    """Return, per phase, its frames of infected wells and mock frames of their plate and hour: (rows,) bool.

    What is said of a phase, "before onset" and "after eclipse" among them, is about these frames.
    """
    infected, stratum = condition_codes(rows), plate_hour_strata(rows)
    masks = phase_masks(rows, eclipse_h=eclipse_h)
    return {name: with_matched_controls(inside, infected, stratum) for name, inside in masks.items()}


def frames_all_wells_share(rows: pd.DataFrame, when: str, *, eclipse_h: float) -> np.ndarray:
    """Return the frames of hours at which all infected wells of a plate are in one phase: (rows,) bool.

    Wells can be exchanged between the conditions only there, so permutations by well use these frames, which
    are fewer than those of :func:`phase_frames`. Infected wells that are never in the phase are left out and
    do not narrow the hours of the others; a plate without both conditions at such hours gives no frame.

    Args:
        rows: with ``plate well stack_id condition hours hpi``.
        when: :data:`BEFORE_FIRST_ONSET` or :data:`PAST_LAST_ECLIPSE`.
        eclipse_h: as in :func:`phase_masks`.
    """
    before = when == BEFORE_FIRST_ONSET
    inside = phase_masks(rows, eclipse_h=eclipse_h)[PHASES[0 if before else 2]]
    infected = condition_codes(rows) == 1
    plate, well = group_codes(rows, "plate"), well_or_position_codes(rows)
    hours = rows["hours"].to_numpy(float)
    onset = hours - rows["hpi"].to_numpy(float)
    chosen = np.zeros(len(rows), bool)
    for here in (plate == code for code in np.unique(plate[inside])):
        wells = here & infected & np.isin(well, well[here & inside])
        if before:
            shared = hours < onset[wells].min() - SAME_H
        else:
            shared = hours >= onset[wells].max() + eclipse_h - SAME_H
        of_wells, of_controls = shared & wells, shared & here & ~infected
        if of_wells.any() and of_controls.any():
            chosen |= of_wells | of_controls
    return chosen
