"""Leaks and marks: who stands on two sides, what stands twice, what gives the label away."""

import numpy as np
import pandas as pd

from hpiclock.audit import Evidence
from hpiclock.audit.leakage import judge_duplicates, judge_marks, judge_shared_wells, with_split_and_well

FRAMES = pd.DataFrame(
    {
        "plate": "P",
        "well": ["A1", "A1", "B1", "B1", "C1"],
        "stack_id": ["a", "b", "c", "d", "e"],
        "split": ["train", "train", "test", "test", "val"],
    }
)


def pairs(*names):
    table = pd.DataFrame(names, columns=["a", "b"])
    return with_split_and_well(table.assign(overlap=0.5, correlation=0.9), FRAMES)


def marks(infected, mock, both=0.0, note=""):
    rows = {
        "condition": ["infected", "mock", "both"],
        "pixels": [infected, mock, both],
        "note": [note, "", ""],
    }
    return pd.DataFrame(rows).assign(n_stacks=12, n_wells=6)


def test_whole_wells_on_one_side_are_unseen():
    assert judge_shared_wells(Evidence(FRAMES)).verdict == "shown"


def test_a_well_on_two_sides_is_named_with_its_share():
    row = judge_shared_wells(Evidence(FRAMES.assign(well=["A1", "A1", "A1", "B1", "C1"])))
    assert row.verdict == "contradicted"
    assert row.effect == 0.5  # one of two test stacks
    assert row.evidence.startswith("1 of 2 test stacks")


def test_the_same_well_name_on_two_plates_is_two_wells():
    frames = FRAMES.assign(well="A1", plate=["P", "P", "Q", "Q", "R"])
    assert judge_shared_wells(Evidence(frames)).verdict == "shown"


def test_unnamed_wells_cannot_be_held_apart():
    assert judge_shared_wells(Evidence(FRAMES.assign(well=""))).verdict == "not identifiable"


def test_pairs_know_their_wells_and_sides():
    (inside, across) = pairs(("a", "b"), ("b", "c")).itertuples()
    assert (inside.same_well, inside.crosses) == (True, False)
    assert (across.same_well, across.crosses) == (False, True)


def test_neighbours_within_a_well_on_one_side_are_no_leak():
    row = judge_duplicates(Evidence(FRAMES, pairs=pairs(("a", "b")), compared=10))
    assert row.verdict == "not seen"
    assert "1 pairs overlap within a well" in row.evidence


def test_a_picture_in_two_wells_is_a_leak_even_on_one_side():
    frames = FRAMES.assign(split="train")
    table = with_split_and_well(
        pd.DataFrame({"a": ["a"], "b": ["c"], "overlap": 1.0, "correlation": 1.0}), frames
    )
    assert judge_duplicates(Evidence(FRAMES, pairs=table, compared=10)).verdict == "contradicted"


def test_neighbours_of_one_well_on_two_sides_are_a_leak():
    frames = FRAMES.assign(split=["train", "test", "test", "test", "val"])
    table = with_split_and_well(
        pd.DataFrame({"a": ["a"], "b": ["b"], "overlap": 0.05, "correlation": 0.9}), frames
    )
    row = judge_duplicates(Evidence(FRAMES, pairs=table, compared=10))
    assert row.verdict == "contradicted"
    assert row.effect == 1


def test_no_pair_compared_is_not_tested():
    assert judge_duplicates(Evidence(FRAMES, pairs=pairs(), compared=0)).verdict == "not tested"


def test_marks_of_one_condition_are_contradicted_and_a_few_pixels_are_not():
    assert judge_marks(Evidence(FRAMES, marks=marks(40.0, 0.0))).verdict == "contradicted"
    assert judge_marks(Evidence(FRAMES, marks=marks(0.0, 6.0))).verdict == "contradicted"
    assert judge_marks(Evidence(FRAMES, marks=marks(2.0, 1.0, both=300.0))).verdict == "not seen"


def test_marks_that_could_not_be_counted_are_not_tested_with_the_reason():
    row = judge_marks(Evidence(FRAMES, marks=marks(np.nan, np.nan, np.nan, note="4 stacks are too few")))
    assert row.verdict == "not tested"
    assert row.evidence == "4 stacks are too few"
