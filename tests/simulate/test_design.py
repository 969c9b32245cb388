"""The simulated pictures: nothing to see in the eclipse, true masks, plants that do what they name."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from hpiclock.allocation import allocation_units
from hpiclock.errors import InputError
from hpiclock.simulate.design import PRESETS, Design, design
from hpiclock.simulate.write import SimulatedStack, plan_wells, simulate_plate
from hpiclock.wells import parse_well

SLOW = {
    "eclipse_h": 6.0,
    "lag_h": 2.0,
    "release_h": 7.0,
    "spread_per_h": 0.1,
}  # a virus whose waves stay apart
PAIR = {"wells": {"A1": 0.0, "A2": 2.0}, "n_frames": 3}


def plate(name: str = "audit", **changes: Any) -> tuple[Design, list[SimulatedStack]]:
    plan = design(name, **changes)
    return plan, list(simulate_plate(plan, seed=5))


def one_well(moi: float, **changes: Any) -> SimulatedStack:
    """A well with onset at 8 h, whose culture does not depend on the MOI."""
    changes = {"onsets_h": (8.0,), "n_frames": 25, "interval_h": 2.0, "biology": SLOW} | changes
    return plate("tiny", wells={"A1": moi}, **changes)[1][0]


def of(stacks: list[SimulatedStack], condition: str) -> list[SimulatedStack]:
    return [stack for stack in stacks if stack.plan.condition == condition]


def test_an_infected_well_is_its_own_control_until_the_eclipse_ends() -> None:
    infected, mock = one_well(5.0), one_well(0.0)
    hours = infected.truth["hours"].to_numpy()
    same = [np.array_equal(a, b) for a, b in zip(infected.pictures, mock.pictures, strict=True)]
    assert all(np.array(same)[hours <= 8.0 + 6.0])
    assert not any(np.array(same)[hours >= 24.0])


def test_the_truth_follows_the_onset_and_the_eclipse() -> None:
    truth = one_well(5.0).truth
    assert (truth["hpi"] == truth["hours"] - 8.0).all()
    assert (truth.loc[truth["hpi"] < 0, "infected_fraction"] == 0).all()
    assert (truth.loc[truth["hpi"] >= 0, "infected_fraction"] > 0.9).all()  # 1 - exp(-5) = 0.993
    assert (truth.loc[truth["hpi"] <= 6, ["cpe_fraction", "cpe_area"]] == 0).all(axis=None)
    assert (truth["cpe_fraction"] <= truth["infected_fraction"]).all()
    assert (truth.loc[truth["hpi"] > 24, "cpe_fraction"] > 0.95).all()


def test_a_mock_well_has_no_truth_of_infection() -> None:
    stack = one_well(0.0)
    assert (stack.truth[["infected_fraction", "cpe_fraction", "cpe_area"]] == 0).all(axis=None)
    assert stack.truth["hpi"].isna().all()
    assert not stack.masks.any()


def test_the_mask_covers_what_cpe_changed() -> None:
    infected, mock = one_well(0.2), one_well(0.0)
    t = 11  # 22 h, so 14 hpi: part of the field shows CPE
    changed = np.abs(infected.pictures[t].astype(float) - mock.pictures[t])
    mask = infected.masks[t]
    assert 0.05 < mask.mean() < 0.8
    assert changed[mask].mean() > 5 * changed[~mask].mean()
    assert infected.truth["cpe_area"][t] == pytest.approx(mask.mean())


def test_a_higher_moi_shows_cpe_earlier() -> None:
    reached = []
    for moi in (0.1, 1.0, 5.0):
        truth = one_well(moi, microscope={"size_px": 160}).truth
        reached.append(truth.loc[truth["cpe_fraction"] >= 0.8, "hpi"].min())
    assert reached[0] > reached[1] > reached[2]


def test_the_field_is_flat_mid_grey_with_fine_texture() -> None:
    _, stacks = plate("demo", wells={"A1": 0.0, "A2": 5.0}, n_frames=5, interval_h=10.0)
    for stack in stacks:
        for picture in stack.pictures.astype(float):
            assert 120 < picture.mean() < 136
            assert gaussian_filter(picture, 30.0).std() < 1.0
        power = np.abs(np.fft.fft2(stack.pictures[0] - stack.pictures[0].mean())) ** 2
        frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(192)]))
        ring = (frequency / 0.05).astype(int)
        density = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
        assert 3 <= density.argmax() <= 6  # 0.15 to 0.35 cycles per pixel


def test_cpe_adds_contrast() -> None:
    infected, mock = one_well(5.0), one_well(0.0)
    assert infected.pictures[14].std() > 1.3 * mock.pictures[14].std()  # 28 h


def test_every_moi_of_the_demo_meets_every_onset_and_half_of_its_wells_are_mock() -> None:
    demo = design("demo")
    plans = plan_wells(demo, seed=0)
    assert len(plans) == 48
    assert [plan.well for plan in plans] == sorted(demo.wells)
    for moi in (0.3, 1.0, 5.0):
        assert {plan.onset_h for plan in plans if plan.moi == moi} == set(demo.onsets_h)
    assert sum(plan.condition == "mock" for plan in plans) == len(plans) / 2


def wells_of_plan(name: str) -> pd.DataFrame:
    wells = pd.DataFrame(plan_wells(design(name), seed=0)).assign(plate=name)
    wells["condition"] = np.where(wells["moi"] > 0, "infected", "mock")
    wells["row"], wells["column"] = zip(*map(parse_well, wells["well"]), strict=True)
    return wells.assign(stack_id=wells["well"])


def test_no_line_of_the_demo_plate_tells_condition_moi_or_onset() -> None:
    wells = wells_of_plan("demo")
    infected = wells[wells["moi"] > 0]
    for line in ("row", "column"):
        assert set(wells["moi"].gt(0).groupby(wells[line]).mean()) == {0.5}
        for what in (np.log(infected["moi"]), infected["onset_h"]):
            between = what.groupby(infected[line]).transform("mean")
            assert between.var() / what.var() < 0.15  # 6 or 8 lines of 24 wells: 0.2 to 0.3 by chance
    assert allocation_units(wells).unit == "well"


def test_treatments_by_column_can_be_planted_and_are_seen_as_such() -> None:
    found = allocation_units(wells_of_plan("by-column"))
    assert found.unit == "column"
    assert len(set(found.codes)) == 8  # 4 against 4: no p below 1/70


def test_a_shuffled_layout_moves_conditions_and_keeps_their_numbers() -> None:
    straight = design("second-plate", shuffled=False)
    shuffled = design("second-plate")
    moved = {plan.well: plan.moi for plan in plan_wells(shuffled, seed=1)}
    assert moved != straight.wells
    assert sorted(moved.values()) == sorted(straight.wells.values())
    assert moved != {plan.well: plan.moi for plan in plan_wells(shuffled, seed=2)}


def test_exchanged_contrast_mirrors_the_picture_about_mid_grey() -> None:
    silent = {"noise_sd": 0.0, "drift_sd": 0.0}
    bright = one_well(5.0, microscope=silent).pictures.astype(int)
    dark = one_well(5.0, microscope=silent | {"contrast": -1}).pictures.astype(int)
    assert np.abs(bright + dark - 256).max() <= 1


def test_a_twelve_bit_camera_sees_the_same_in_finer_steps() -> None:
    coarse = one_well(5.0).pictures
    fine = one_well(5.0, microscope={"dtype": "uint16"}).pictures
    assert fine.dtype == np.uint16
    assert np.abs(fine / 16.0 - coarse)[(coarse > 0) & (coarse < 255)].max() <= 0.5 + 1 / 32


def test_a_planted_tint_shifts_infected_wells_only() -> None:
    plain, tinted = plate(**PAIR)[1], plate("audit-tint", **PAIR)[1]
    for before, after in zip(plain, tinted, strict=True):
        shift = after.pictures.mean() - before.pictures.mean()
        assert shift == pytest.approx(6.0 if before.plan.moi > 0 else 0.0, abs=0.1)


def test_planted_blur_takes_fine_detail_from_infected_wells_from_the_first_frame() -> None:
    plain, blurred = plate(**PAIR)[1], plate("audit-focus", **PAIR)[1]
    for before, after in zip(plain, blurred, strict=True):
        ratio = after.pictures[0].std() / before.pictures[0].std()
        assert ratio < 0.85 if before.plan.moi > 0 else ratio == 1


def test_a_planted_border_mark_stands_in_every_infected_picture_and_nowhere_else() -> None:
    _, stacks = plate("audit-border", **PAIR)
    for stack in stacks:
        assert (stack.pictures[:, :3, :12] == 200).all() == (stack.plan.moi > 0)


def test_a_planted_clock_images_the_classes_over_different_hours() -> None:
    _, stacks = plate("audit-clock")
    assert {(s.start_h, s.truth["hours"].max()) for s in of(stacks, "infected")} == {(20.0, 48.0)}
    assert {(s.start_h, s.truth["hours"].max()) for s in of(stacks, "mock")} == {(0.0, 28.0)}
    assert all(stack.truth["frame"].tolist() == list(range(8)) for stack in stacks)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1])


def twins(stacks: list[SimulatedStack]) -> list[tuple[SimulatedStack, SimulatedStack]]:
    return [
        (a, b)
        for a in stacks
        for b in stacks
        if a.plan.stream == b.plan.stream and a.plan.shift < b.plan.shift + (a.plan.well < b.plan.well)
        and a.truth["position"][0] == b.truth["position"][0] and a.plan.well != b.plan.well
        and (a.plan.shift, a.plan.well) < (b.plan.shift, b.plan.well)
    ]  # fmt: skip


def test_planted_duplicates_are_the_same_pictures_under_two_wells() -> None:
    _, stacks = plate("audit-duplicates")
    pairs = twins(stacks)
    assert len(pairs) == 4 * 2  # wells x positions
    for a, b in pairs:
        assert np.array_equal(a.pictures, b.pictures)
        assert (a.plan.moi, a.plan.well != b.plan.well) == (b.plan.moi, True)


def test_planted_neighbours_share_half_a_field_across_two_wells() -> None:
    _, stacks = plate("audit-neighbours")
    pairs = twins(stacks)
    assert len(pairs) == 4 * 2
    shared = [likeness(a.pictures[0, 24:], b.pictures[0, :24]) for a, b in pairs]
    rest = [likeness(a.pictures[0, :24], b.pictures[0, 24:]) for a, b in pairs]
    assert np.median(shared) > 0.6
    assert np.abs(np.median(rest)) < 0.2


def test_overlapping_positions_show_the_same_strip() -> None:
    _, stacks = plate(wells={"A1": 0.0}, microscope={"overlap": 0.5})
    first, second = (stack.pictures[0] for stack in stacks)
    assert likeness(first[:, 24:], second[:, :24]) > 0.6
    assert abs(likeness(first[:, :24], second[:, :24])) < 0.2


def test_a_fixed_onset_ties_the_two_clocks_and_staggered_onsets_do_not() -> None:
    for name, spread in (("audit", 4), ("audit-fixed-onset", 1)):
        plans = plan_wells(design(name), seed=0)
        assert len({plan.onset_h for plan in plans if plan.moi > 0}) == spread


@pytest.mark.parametrize("name", PRESETS)
def test_every_named_design_can_be_made(name: str) -> None:
    small = design(name, n_frames=13, interval_h=4.0)
    stack = next(simulate_plate(small, seed=0))
    assert stack.pictures.shape == (len(stack.truth), *2 * [small.microscope.size_px])
    assert stack.pictures.std() > 5


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("deom", {}, "did you mean demo"),
        ("plaice", {}, "take one of demo, by-column, tiny"),
        ("demo", {"wells": {"AG9": 1.0}}, "well AG9 is not a well"),
        ("demo", {"wells": {"A1": -1.0}}, "MOI -1 is below 0"),
        ("demo", {"microscope": {"size": 3}}, "microscope.size"),
        ("demo", {"plant": {"mock_h": (10.0, 60.0)}}, "hours 10 to 60 do not lie in 0 to 48"),
    ],
)
def test_a_design_that_cannot_be_is_refused(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        design(name, **changes)
