"""What the design of an experiment can and cannot show, in sentences for the report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.study.groups import MIN_GROUPS, class_of, codes_of


def separable(rows: pd.DataFrame) -> list[str]:
    """Return one sentence for every question that these rows cannot answer; none when all can be asked.

    Args:
        rows: predictions or a manifest: one row or more per stack with its identity columns.
    """
    stacks = rows.drop_duplicates("stack_id")
    infected = class_of(stacks) == 1
    if infected.all() or not infected.any():
        only = "infected" if infected.all() else "mock"
        return [f"All stacks are {only}: whether the model tells infected from mock cannot be told."]
    return [*_wells(stacks, infected), *_plates(stacks, infected), *_onsets(stacks, infected)]


def _wells(stacks: pd.DataFrame, infected: np.ndarray) -> list[str]:
    if stacks["well"].eq("").any():
        return ["Wells are not given: whether positions share a well, and how wells differ, cannot be told."]
    wells = codes_of(stacks, "well")
    count = {
        name: len(np.unique(wells[mask])) for name, mask in (("infected", infected), ("mock", ~infected))
    }
    alone = [name for name, k in count.items() if k == 1]
    if alone:
        return [
            f"{_listed(alone)} stacks come from one well: a difference between infected and mock cannot "
            "separate infection from well."
        ]
    few = [f"{k} {name}" for name, k in count.items() if k < MIN_GROUPS]
    if few:
        return [f"Only {' and '.join(few)} wells: numbers are given without an interval over wells."]
    return []


def _plates(stacks: pd.DataFrame, infected: np.ndarray) -> list[str]:
    plates = stacks["plate"].to_numpy()
    if len(set(plates[infected]) & set(plates[~infected])) == 0:
        return ["No plate holds both infected and mock wells: infection cannot be separated from plate."]
    if len(set(plates)) == 1:
        return ["One plate: whether the result holds on another plate cannot be told."]
    return []


def _onsets(stacks: pd.DataFrame, infected: np.ndarray) -> list[str]:
    onsets = stacks.loc[infected, "onset_h"]
    if onsets.isna().any():
        return ["Some infected stacks have no onset: their time since infection cannot be told."]
    if (onsets == onsets.iloc[0]).all():
        return [
            f"All infected wells share one onset ({onsets.iloc[0]:g} h): time since infection cannot be told "
            "from time since start."
        ]
    return []


def _listed(names: list[str]) -> str:
    return " and ".join(names).capitalize()
