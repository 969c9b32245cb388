"""Splits: no group on two sides, every MOI spread, folds that partition, files that come back."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpiclock.config.schema import SplitConfig
from hpiclock.errors import InputError
from hpiclock.plate.splits import SplitPlan, read_split, split_wells
from hpiclock.tables import CONDITIONS, SPLITS


def manifest(wells: list[tuple[str, str, str, float]], positions: int = 2) -> pd.DataFrame:
    """One row per plate, well, condition, MOI and position."""
    return pd.DataFrame(
        [
            {
                "stack_id": f"{plate}/{well or condition}/p{p}",
                "plate": plate,
                "well": well,
                "moi": moi,
                "onset_h": np.nan,
            }
            | {"condition": condition, "position": str(p)}
            for plate, well, condition, moi in wells
            for p in range(positions)
        ]
    )


def plate(n_mock: int, mois: dict[float, int], *, name: str = "one", positions: int = 2) -> pd.DataFrame:
    wells = [(name, f"M{i:02}", "mock", np.nan) for i in range(n_mock)]
    wells += [(name, f"I{moi:g}-{i:02}", "infected", moi) for moi, n in mois.items() for i in range(n)]
    return manifest(wells, positions)


DEMO = plate(12, {0.1: 4, 1.0: 4, 5.0: 4})
DEMO_SHARES: dict[str, Any] = {"train": 0.5, "val": 0.17, "test": 0.33}


def joined(rows: pd.DataFrame, plan: SplitPlan) -> pd.DataFrame:
    return rows.merge(plan.stacks, on="stack_id", validate="1:1")


@st.composite
def plates(draw: st.DrawFn) -> tuple[pd.DataFrame, SplitConfig]:
    """Plates with wells of several MOIs, unknown wells, touching fields, and a way to split them."""
    names = draw(st.sampled_from([["one"], ["one", "two"], ["a", "b", "c"]]))
    wells = []
    for name in names:
        for condition in CONDITIONS:
            for i in range(draw(st.integers(1, 6))):
                moi = draw(st.sampled_from([0.1, 1.0, 5.0])) if condition == "infected" else np.nan
                well = "" if draw(st.integers(0, 9)) == 0 and i == 0 else f"{condition[0]}{i}"
                wells.append((name, well, condition, moi))
    rows = manifest(wells, positions=draw(st.integers(1, 4)))
    rows = rows.sample(frac=1, random_state=draw(st.integers(0, 99))).reset_index(drop=True)
    stacks = st.lists(st.sampled_from(rows["stack_id"].tolist()), min_size=2, max_size=3)
    settings: dict[str, Any] = {"touching": draw(st.lists(stacks, max_size=3))}
    settings |= {"unit": draw(st.sampled_from(["auto", "well", "position", "plate"]))}
    settings |= {"seed": draw(st.integers(0, 1000))}
    folds = draw(st.sampled_from([0, 0, 3, 4]))
    if folds:
        settings |= {"folds": folds, "fold": draw(st.integers(0, folds - 1))}
    elif draw(st.booleans()):
        settings |= {"leave_out_plate": draw(st.sampled_from(names))}
    if draw(st.booleans()):
        settings |= DEMO_SHARES
    return rows, SplitConfig(**settings)


@settings(deadline=None, max_examples=60)
@given(case=plates())
def test_no_group_stands_on_two_sides(case: tuple[pd.DataFrame, SplitConfig]) -> None:
    rows, config = case
    try:
        plan = split_wells(rows, config)
    except InputError:
        assume(False)
    both = joined(rows, plan)
    assert len(both) == len(rows)
    assert both.groupby("group")["split"].nunique().max() == 1
    assert both.groupby("group")["test_fold"].nunique().max() == 1
    known = both[both["well"] != ""]
    if plan.unit == "well":
        assert known.groupby(["plate", "well"])["split"].nunique().max() == 1
    if plan.unit == "plate":
        assert both.groupby("plate")["split"].nunique().max() == 1
    side = both.set_index("stack_id")["split"]
    for group in config.touching:
        assert len(set(side[list(group)])) == 1
    if config.leave_out_plate:
        assert set(both.loc[both["plate"] == config.leave_out_plate, "split"]) == {"test"}
    sides = both.groupby("split")["condition"].nunique()
    assert sides.to_dict() == dict.fromkeys(SPLITS, 2)  # every side holds both classes


@settings(deadline=None, max_examples=40)
@given(case=plates())
def test_a_refusal_is_one_line_that_names_its_key(case: tuple[pd.DataFrame, SplitConfig]) -> None:
    said = ""
    try:
        split_wells(*case)
    except InputError as error:
        said = str(error)
    assume(said)
    assert said.startswith("split.")
    assert "; " in said
    assert "\n" not in said


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2000))
def test_every_moi_is_trained_on_and_tested(seed: int) -> None:
    both = joined(DEMO, split_wells(DEMO, SplitConfig(seed=seed, **DEMO_SHARES)))
    wells = both.drop_duplicates("group")
    counts = wells.groupby(["condition", "split"])["group"].nunique()
    # a third and a sixth of 12 wells
    assert counts["mock"].to_dict() == counts["infected"].to_dict() == {"train": 6, "val": 2, "test": 4}
    infected = wells[wells["condition"] == "infected"].groupby("split")["moi"]
    assert infected.nunique()["train"] == infected.nunique()["test"] == 3
    assert infected.nunique()["val"] == 2  # two wells, never of one MOI


@pytest.mark.parametrize("seed", range(4))
def test_every_plate_is_trained_on_and_tested(seed: int) -> None:
    rows = pd.concat([plate(4, {1.0: 4}, name=name) for name in ("a", "b", "c")])
    both = joined(rows, split_wells(rows, SplitConfig(seed=seed, **DEMO_SHARES)))
    assert both.groupby(["condition", "split"])["plate"].nunique().drop("val", level=1).eq(3).all()


def test_every_well_is_tested_equally_often() -> None:
    n, tested = 120, dict.fromkeys(DEMO["well"].unique(), 0)
    for seed in range(n):
        stacks = split_wells(DEMO, SplitConfig(seed=seed, **DEMO_SHARES)).stacks
        for well in DEMO.loc[stacks["split"].eq("test").to_numpy(), "well"].unique():
            tested[well] += 1
    # 4 of 12 wells of a class: binomial SD of a share of 120 draws is 0.043
    assert all(abs(count / n - 1 / 3) < 4 * 0.043 for count in tested.values())


def test_a_split_depends_on_its_seed_alone() -> None:
    one, again = (split_wells(DEMO, SplitConfig(seed=3)) for _ in range(2))
    assert one.sha256 == again.sha256
    assert len({split_wells(DEMO, SplitConfig(seed=seed)).sha256 for seed in range(5)}) == 5


@pytest.mark.parametrize("k", [3, 4, 5])
def test_folds_partition_the_groups(k: int) -> None:
    plans = [split_wells(DEMO, SplitConfig(folds=k, fold=fold)) for fold in range(k)]
    tested = [set(plan.stacks.loc[plan.stacks["split"] == "test", "group"]) for plan in plans]
    assert set.union(*tested) == set(plans[0].stacks["group"])
    assert sum(map(len, tested)) == plans[0].stacks["group"].nunique() == 24  # so no two share a group
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    for fold, plan in enumerate(plans):
        assert plan.stacks["test_fold"].equals(plans[0].stacks["test_fold"])  # one partition for all folds
        assert set(plan.stacks.loc[plan.stacks["split"] == "test", "test_fold"]) == {fold}
        assert set(plan.stacks.loc[plan.stacks["split"] == "val", "test_fold"]) == {(fold + 1) % k}


def test_folds_spread_every_moi() -> None:
    both = joined(DEMO, split_wells(DEMO, SplitConfig(folds=4, fold=0)))
    infected = both[both["condition"] == "infected"]
    assert infected.groupby("test_fold")["moi"].nunique().tolist() == [3, 3, 3, 3]


def test_too_few_wells_are_split_by_position_with_a_loud_note() -> None:
    rows = plate(1, {1.0: 1}, positions=5)
    plan = split_wells(rows, SplitConfig())
    assert plan.unit == "position"
    assert plan.stacks["group"].tolist() == rows["stack_id"].tolist()
    assert plan.notes[0].startswith("SPLIT BY POSITION: too few wells (1 infected, 1 mock) to split by well")
    assert split_wells(plate(3, {1.0: 3}), SplitConfig()).notes == ()
    asked = split_wells(plate(3, {1.0: 3}), SplitConfig(unit="position"))
    assert asked.notes[0].startswith("SPLIT BY POSITION: as asked")


def test_wells_that_touch_count_as_one() -> None:
    rows = plate(3, {1.0: 3})
    touching = [["one/M00/p0", "one/M01/p1"]]
    plan = split_wells(rows, SplitConfig(touching=touching))
    assert plan.unit == "position"  # two mock groups are left, three are needed
    assert len(set(plan.stacks.set_index("stack_id")["group"][touching[0]])) == 1
    with pytest.raises(InputError, match=r"too few groups \(2 mock, counted after split.touching\)"):
        split_wells(rows, SplitConfig(unit="well", touching=touching))


def test_touching_groups_may_be_declared_in_the_manifest() -> None:
    rows = plate(4, {1.0: 4}).assign(group="")
    rows.loc[rows["stack_id"].isin(["one/M00/p0", "one/M01/p0"]), "group"] = "edge"
    for seed in range(10):
        both = joined(rows.drop(columns="group"), split_wells(rows, SplitConfig(seed=seed)))
        assert len(set(both.loc[both["well"].isin(["M00", "M01"]), "split"])) == 1


def test_a_chain_of_touching_fields_is_one_group() -> None:
    touching = [["one/M00/p0", "one/M01/p0"], ["one/M01/p1", "one/M02/p0"]]
    plan = split_wells(plate(6, {1.0: 3}), SplitConfig(touching=touching))
    both = plan.stacks[plan.stacks["stack_id"].str.contains("M00|M01|M02")]
    assert len(set(both["group"])) == 1


def test_groups_of_both_classes_stay_whole() -> None:
    # donor slides hold infected and mock fields; three of them, and three wells of each class
    mixed = [("one", f"D{i}", condition, np.nan) for i in range(2) for condition in CONDITIONS]
    rows = pd.concat([plate(3, {1.0: 3}), manifest(mixed, 1)], ignore_index=True)
    rows["stack_id"] += "/" + rows["condition"]
    for seed in range(10):
        both = joined(rows, split_wells(rows, SplitConfig(seed=seed, unit="well")))
        assert both.groupby("group")["split"].nunique().max() == 1
        assert both.groupby("split")["condition"].nunique().eq(2).all()


def test_a_left_out_plate_is_the_test_set() -> None:
    rows = pd.concat([plate(2, {1.0: 2}, name=name) for name in ("a", "b")], ignore_index=True)
    plan = split_wells(rows, SplitConfig(leave_out_plate="b"))
    both = joined(rows, plan)
    assert plan.unit == "well"  # two wells a class are enough for train and val
    assert set(both.loc[both["plate"] == "b", "split"]) == {"test"}
    assert both[both["plate"] == "a"].groupby(["condition", "split"])["group"].nunique().eq(1).all()


def test_a_left_out_plate_that_leaves_one_well_splits_the_rest_by_position() -> None:
    rows = pd.concat([plate(1, {1.0: 1}, name="a", positions=3), plate(4, {1.0: 4}, name="b")])
    plan = split_wells(rows.reset_index(drop=True), SplitConfig(leave_out_plate="b"))
    assert plan.unit == "position"
    assert "stand in train and in validation. The plate that is left out is apart" in plan.notes[0]


@pytest.mark.parametrize(
    ("rows", "config", "message"),
    [
        (DEMO, {"leave_out_plate": "two"}, "split.leave_out_plate: two: the plates are one"),
        (
            pd.concat([plate(3, {1.0: 3}), plate(3, {}, name="two")]),
            {"leave_out_plate": "two"},
            "split.leave_out_plate: two holds no infected stack",
        ),
        (DEMO, {"touching": [["one/M00/p0", "nowhere"]]}, "split.touching: no stack nowhere"),
        (DEMO, {"unit": "plate"}, "split.unit: plate: too few groups"),
        (plate(2, {1.0: 5}), {"unit": "well"}, "split.unit: well: too few groups (2 mock)"),
        (plate(5, {1.0: 4}), {"unit": "well", "folds": 5}, "too few groups (4 infected), each class needs 5"),
        (plate(1, {1.0: 1}, positions=2), {}, "too few groups (2 infected, 2 mock), each class needs 3"),
        (DEMO.assign(well=""), {"unit": "well"}, "split.unit: well: no stack names its well"),
    ],
)
def test_what_cannot_be_split_is_refused(rows: pd.DataFrame, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        split_wells(rows.reset_index(drop=True), SplitConfig(**config))
    assert message in str(caught.value)


def test_stacks_of_unknown_wells_are_said_aloud() -> None:
    rows = plate(4, {1.0: 4})
    rows.loc[rows["well"] == "M00", "well"] = ""
    plan = split_wells(rows, SplitConfig())
    assert (plan.unit, plan.notes[0][:39]) == ("well", "2 stacks name no well and count as a we")
    # wells that are not named are no wells to count
    rows.loc[rows["condition"] == "mock", "well"] = ""
    assert split_wells(rows, SplitConfig()).unit == "position"


def saved(folder: Path, plan: SplitPlan) -> Path:
    path = folder / "split.json"
    path.write_text(plan.dumps(), encoding="utf-8")
    return path


@pytest.mark.parametrize("config", [{}, {"folds": 4, "fold": 2}, {"unit": "position"}])
def test_a_split_file_comes_back_as_it_was(tmp_path: Path, config: dict[str, Any]) -> None:
    plan = split_wells(DEMO, SplitConfig(seed=5, **config))
    path = saved(tmp_path, plan)
    back = split_wells(DEMO, SplitConfig(file=str(path)))
    pd.testing.assert_frame_equal(back.stacks, plan.stacks)
    assert (back.sha256, back.unit, back.notes) == (plan.sha256, plan.unit, plan.notes)
    shuffled = DEMO.sample(frac=1, random_state=0).reset_index(drop=True)
    assert read_split(path, shuffled).sha256 == plan.sha256  # the order of the plate does not matter


def test_a_split_file_serves_a_part_of_its_plate(tmp_path: Path) -> None:
    plan = split_wells(DEMO, SplitConfig())
    part = DEMO[DEMO["position"] == "0"].reset_index(drop=True)
    back = read_split(saved(tmp_path, plan), part)
    assert back.stacks["stack_id"].tolist() == part["stack_id"].tolist()


def test_a_tampered_split_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, split_wells(DEMO, SplitConfig()))
    content = json.loads(path.read_text())
    for key, value in (("split", "val"), ("test_fold", 3), ("group", "other")):
        changed = json.loads(path.read_text())
        mine = next(row for row in changed["stacks"] if row["split"] == "test")
        mine[key] = value
        other = tmp_path / "changed.json"
        other.write_text(json.dumps(changed))
        with pytest.raises(InputError, match=r"changed\.json: changed since it was written"):
            read_split(other, DEMO)
    # without its hash it is a file by hand, and whole groups are still asked for
    del content["sha256"]
    path.write_text(json.dumps(content))
    read_split(path, DEMO)
    content["stacks"][0]["split"] = "val" if content["stacks"][0]["split"] != "val" else "test"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="stands on two sides; give each group one split"):
        read_split(path, DEMO)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "holdout"}, "split holdout; write train, val, test"),
        ({"stack_id": "one/M00/p1"}, "stack one/M00/p1 stands twice; keep one"),
        ({"stack_id": "elsewhere"}, "1 stacks of the plate are not in it, the first is one/M00/p0"),
    ],
)
def test_a_split_file_by_hand_is_checked(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    content = json.loads(split_wells(DEMO, SplitConfig()).dumps())
    del content["sha256"]
    next(row for row in content["stacks"] if row["stack_id"] == "one/M00/p0").update(changes)
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_split(path, DEMO)
    assert message in str(caught.value)


def test_a_split_file_of_which_a_side_lacks_a_class_is_refused(tmp_path: Path) -> None:
    plan = split_wells(DEMO, SplitConfig())
    one_class = (
        joined(DEMO, plan).query("not (split == 'test' and condition == 'mock')").reset_index(drop=True)
    )
    with pytest.raises(InputError, match="test holds no mock stack of this plate"):
        read_split(saved(tmp_path, plan), one_class)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stacks": [], "unit": "well"}', '{"stacks": [{"a": 1}]}'])
def test_files_that_are_no_splits(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match=r"s\.json: not a split file; runs write one as split\.json"):
        read_split(tmp_path / "s.json", DEMO)


def test_a_split_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such split file; leave split\.file empty"):
        read_split(tmp_path / "none.json", DEMO)
    os.mkfifo(tmp_path / "pipe.json")
    for name, is_a in (("", "a folder"), ("pipe.json", "a FIFO")):
        with pytest.raises(InputError, match=f"is {is_a}, not a split file"):
            read_split(tmp_path / name, DEMO)
