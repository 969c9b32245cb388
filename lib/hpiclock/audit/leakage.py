"""Leaks: the same wells, or the same pictures, on two sides of a split; marks that give the label away."""

import numpy as np
import pandas as pd

from hpiclock.analysis.units import group_codes
from hpiclock.audit import NAME_WELLS, Answer, Evidence

LEAST_MARK = 5  # pixels; a few can be constant where stacks are few or similar


def judge_shared_wells(evidence: Evidence) -> Answer:
    """Does any well stand in the test and in training?"""
    stacks = evidence.split.drop_duplicates(["stack_id", "split"])
    if stacks["well"].eq("").any():
        words = "wells are not given: fields of one well may stand on both sides"
        return Answer("not identifiable", words, NAME_WELLS)
    well, tested = group_codes(stacks, "well"), stacks["split"].eq("test").to_numpy()
    seen = np.isin(well[tested], well[stacks["split"].eq("train").to_numpy()])
    share = float(seen.mean()) if tested.any() else float("nan")
    words = f"{seen.sum()} of {tested.sum()} test stacks are of wells that were trained on"
    if seen.any():
        return Answer("contradicted", words, "split by well (split.unit: well), with more wells", share)
    return Answer("shown", words, "", share)


def with_split_and_well(pairs: pd.DataFrame, frames: pd.DataFrame) -> pd.DataFrame:
    """Add ``well_a well_b same_well split_a split_b crosses`` to pairs of stacks that show the same place.

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


def judge_duplicates(evidence: Evidence) -> Answer:
    """Do two wells, or two sides of the split, show the same place?"""
    pairs, compared = evidence.pairs, evidence.compared
    if compared == 0:
        return Answer("not tested", "no pair of stacks was compared")
    bad = pairs[pairs["crosses"] | ~pairs["same_well"]].sort_values("overlap", ascending=False)
    n = len(bad)
    if n == 0:
        more = f"; {len(pairs)} pairs overlap within a well, on one side" if len(pairs) else ""
        return Answer("not seen", f"no field stands twice among {compared} pairs of stacks{more}", "", 0.0)
    first = bad.iloc[0]
    words = (
        f"{n} pairs of stacks show the same place, {bad['crosses'].sum()} of them on two sides of the "
        f"split and {(~bad['same_well']).sum()} in two wells; for example {first['a']} and {first['b']} "
        f"({first['overlap']:.0%} of the field, correlation {first['correlation']:.2f})"
    )
    remedy = "keep one of each pair, or declare them with split.touching"
    return Answer("contradicted", words, remedy, float(n))


def judge_marks(evidence: Evidence) -> Answer:
    """Are pixels constant over all stacks of one condition, and not of the other?"""
    rows = evidence.marks.set_index("condition")
    if rows["pixels"].isna().any():
        note = next((note for note in rows["note"] if note), "cannot be counted")
        return Answer("not tested", note, "look at the films in notebook 01")
    infected, mock, both = rows.loc[["infected", "mock", "both"], "pixels"]
    words = (
        f"pixels that are constant in one condition only: infected {infected:.0f}, mock {mock:.0f}; in both "
        f"{both:.0f}"
    )
    n = float(max(infected, mock))
    if n >= LEAST_MARK:
        remedy = "export without overlays, or crop them (image.crop_border)"
        return Answer("contradicted", words, remedy, n)
    return Answer("not seen", words, "", n)
