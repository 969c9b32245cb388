"""Leaks: the same wells, or the same pictures, on two sides of a split; marks that give the label away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hpiclock.analysis.units import group_codes
from hpiclock.audit import MARK, TWICE, UNSEEN, AuditRow

LEAST_MARK = 5  # pixels; a few can be constant by chance where stacks are few or alike
MARK_REMEDY = "export without overlays, or crop them (image.crop_border)"


def judge_shared_wells(frames: pd.DataFrame) -> AuditRow:
    """Does any well stand in the test and in training?

    Args:
        frames: rows with ``plate well stack_id split``.
    """
    stacks = frames.drop_duplicates(["stack_id", "split"])
    if stacks["well"].eq("").any():
        words = "wells are not given: fields of one well may stand on both sides"
        return AuditRow(UNSEEN, "not identifiable", words, "name the wells in the plate map or the manifest")
    well = group_codes(stacks, "well")
    learnt = np.unique(well[stacks["split"].eq("train").to_numpy()])
    tested = stacks["split"].eq("test").to_numpy()
    seen = np.isin(well[tested], learnt)
    share = float(seen.mean()) if tested.any() else float("nan")
    words = f"{int(seen.sum())} of {int(tested.sum())} test stacks are of wells that were trained on"
    if seen.any():
        return AuditRow(
            UNSEEN, "contradicted", words, "split by well (split.unit: well), with more wells", share
        )
    return AuditRow(UNSEEN, "supported", words, "", share)


def with_sides(pairs: pd.DataFrame, frames: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of alike stacks with ``well_a well_b same_well split_a split_b crosses``.

    Args:
        pairs: ``a b`` (stack_id) and what was measured of them.
        frames: rows with ``plate well stack_id`` and, after a split, ``split``.
    """
    stacks = frames.drop_duplicates("stack_id").set_index("stack_id")
    code = pd.Series(group_codes(stacks.reset_index(), "well"), index=stacks.index)
    found = pairs.copy()
    for side in ("a", "b"):
        found[f"well_{side}"] = pairs[side].map(stacks["well"])
        found[f"split_{side}"] = pairs[side].map(stacks["split"]) if "split" in stacks else ""
    found["same_well"] = (pairs["a"].map(code) == pairs["b"].map(code)) & found["well_a"].ne("")
    found["crosses"] = found["split_a"] != found["split_b"]
    return found


def judge_duplicates(pairs: pd.DataFrame, *, compared: int) -> AuditRow:
    """Do two wells, or two sides of the split, show the same place?

    Args:
        pairs: of :func:`with_sides`.
        compared: how many pairs of stacks were compared.
    """
    bad = pairs[pairs["crosses"] | ~pairs["same_well"]]
    n = len(bad)
    effect = float(n)
    if compared == 0:
        return AuditRow(TWICE, "not tested", "no pair of stacks was compared")
    if n == 0:
        more = f"; {len(pairs)} pairs overlap within a well, on one side" if len(pairs) else ""
        return AuditRow(
            TWICE, "supported", f"no field stands twice among {compared} pairs of stacks{more}", "", effect
        )
    first: Any = bad.sort_values("overlap", ascending=False).iloc[0]
    words = (
        f"{n} pairs of stacks show the same place, {int(bad['crosses'].sum())} of them on two sides of the "
        f"split and {int((~bad['same_well']).sum())} in two wells; for example {first['a']} and {first['b']} "
        f"({first['overlap']:.0%} of the field, correlation {first['correlation']:.2f})"
    )
    return AuditRow(
        TWICE, "contradicted", words, "keep one of each pair, or declare them with split.touching", effect
    )


def judge_marks(marks: pd.DataFrame) -> AuditRow:
    """Are pixels constant over all stacks of one condition, and not of the other?

    Args:
        marks: ``condition pixels share n_stacks n_wells note``; condition infected, mock or both.
    """
    rows = marks.set_index("condition")
    if rows["pixels"].isna().any():
        note = next((note for note in rows["note"] if note), "cannot be counted")
        return AuditRow(MARK, "not tested", str(note), "look at the films in notebook 01")
    one = rows.loc[["infected", "mock"], "pixels"]
    n = float(one.max())
    words = (
        f"pixels that are constant in one condition only: infected {one['infected']:.0f}, mock "
        f"{one['mock']:.0f}; in both {rows.loc['both', 'pixels']:.0f}"
    )
    if n >= LEAST_MARK:
        return AuditRow(MARK, "contradicted", words, MARK_REMEDY, n)
    return AuditRow(MARK, "supported", words, "", n)
