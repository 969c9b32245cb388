"""Permutation by well: who is exchanged with whom, exact p-values and their floors, by counting."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpiclock.audit.permutation import (
    count_assignments,
    permutation_test,
    permuted_onsets,
    smallest_p,
    subtract_hour_means,
    unit_means,
    well_units,
)


def plate(infected, mock, *, positions=1, plates=1, hours=(0.0, 1.0)):
    """Rows of a plate with one frame per hour; wells are I0.. and M0.."""
    rows = [
        {"plate": f"P{p}", "well": f"{kind[0].upper()}{w}", "stack_id": f"P{p}/{kind[0]}{w}/{k}",
         "hours": hour, "condition": kind}
        for p in range(plates)
        for kind, n in (("infected", infected), ("mock", mock))
        for w in range(n)
        for k in range(positions)
        for hour in hours
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_wells_are_exchanged_within_their_plate():
    units = well_units(plate(3, 2, positions=4, plates=2))
    assert units.name == "well"
    assert units.wells == (6, 4)
    assert len(units.infected) == 10
    assert [int(units.infected[units.stratum == s].sum()) for s in (0, 1)] == [3, 3]
    assert units.replicated


def test_wells_are_exchanged_only_where_the_same_models_judged_them():
    rows = plate(4, 4).assign(run="r", seed=0)
    folds = rows.assign(fold=rows["well"].str[1].astype(int) % 2)
    assert len(set(well_units(folds).stratum)) == 2
    seeds = pd.concat([rows.assign(fold=0, seed=seed) for seed in (0, 1)], ignore_index=True)
    assert len(set(well_units(seeds).stratum)) == 1  # every model judged every well


def test_one_well_in_a_class_leaves_positions_and_is_said():
    units = well_units(plate(1, 3, positions=2))
    assert units.name == "position"
    assert len(units.infected) == 8
    assert not units.replicated


def test_wells_that_hold_both_classes_exchange_their_stacks():
    rows = plate(2, 2).assign(well=lambda table: table["stack_id"].str[-3:].map({"i0/0": "A"}).fillna("A"))
    units = well_units(rows)
    assert units.mixed
    assert units.replicated
    assert len(set(units.stratum)) == 1
    assert len(units.infected) == 4


def test_all_assignments_are_tried_once_and_the_observed_one_first():
    units = well_units(plate(2, 3))
    every = count_assignments(units, shuffles=1000, rng=np.random.default_rng(0))
    assert len(every) == 10  # 5 choose 2
    assert len({tuple(row) for row in every}) == 10
    assert (every[0] == units.infected).all()
    assert (every.sum(1) == 2).all()


def test_drawn_assignments_keep_every_plate_as_it_is():
    units = well_units(plate(6, 6, plates=2))
    drawn = count_assignments(units, shuffles=500, rng=np.random.default_rng(0))
    assert len(drawn) == 500
    assert (drawn[0] == units.infected).all()
    for s in (0, 1):
        assert (drawn[:, units.stratum == s].sum(1) == 6).all()


@pytest.mark.parametrize(
    ("infected", "mock", "two_sided", "expected"),
    [(4, 4, False, 1 / 70), (4, 4, True, 2 / 70), (2, 3, True, 1 / 10), (2, 2, False, 1 / 6)],
)
def test_the_floor_is_one_assignment_or_two_when_mirrored(infected, mock, two_sided, expected):
    units = well_units(plate(infected, mock))
    assert smallest_p(units, two_sided=two_sided, shuffles=10_000) == pytest.approx(expected)


def test_p_is_the_share_of_assignments_that_reach_the_difference():
    # infected 5, 3; mock 4, 1, 0: of the 10 pairs only (5, 4) has a larger mean than (5, 3)
    units = well_units(plate(2, 3))
    means = np.array([5.0, 3.0, 4.0, 1.0, 0.0])[:, None]
    rng = np.random.default_rng(0)
    assert permutation_test(units, means, two_sided=False, shuffles=1000, rng=rng).p == pytest.approx(2 / 10)
    # two-sided, the difference of (0, 1) is 3, as large as that of (5, 4); that of (5, 3) is 7 / 3
    assert permutation_test(units, means, two_sided=True, shuffles=1000, rng=rng).p == pytest.approx(3 / 10)


def test_it_agrees_with_scipy():
    rng = np.random.default_rng(3)
    values = rng.normal(size=10) + np.repeat([1.0, 0.0], 5)
    units = well_units(plate(5, 5))
    mine = permutation_test(units, values[:, None], two_sided=True, shuffles=1000, rng=rng)
    theirs = stats.permutation_test(
        (values[:5], values[5:]), lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True,
        permutation_type="independent", n_resamples=np.inf,
    )  # fmt: skip
    assert mine.shuffles == 252
    assert mine.p == pytest.approx(theirs.pvalue)


def test_the_largest_of_several_statistics_counts_and_is_named():
    units = well_units(plate(4, 4))
    means = np.random.default_rng(1).normal(size=(8, 3))
    means[:4, 2] += 20
    found = permutation_test(units, means, two_sided=True, shuffles=1000, rng=np.random.default_rng(0))
    assert found.worst == 2
    assert found.p == found.floor
    assert found.difference[2] > 1


def test_statistics_without_spread_differ_by_nothing():
    units = well_units(plate(3, 3))
    found = permutation_test(
        units, np.ones((6, 2)), two_sided=True, shuffles=1000, rng=np.random.default_rng(0)
    )
    assert found.p == 1
    assert (found.difference == 0).all()


def test_p_values_are_uniform_when_nothing_differs():
    units = well_units(plate(5, 5))
    rng = np.random.default_rng(0)
    p = np.array(
        [
            permutation_test(units, rng.normal(size=(10, 4)), two_sided=True, shuffles=300, rng=rng).p
            for _ in range(600)
        ]
    )
    # binomial standard errors: 0.009 at 5%, 0.016 at 20%
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert (p <= 0.2).mean() == pytest.approx(0.2, abs=0.05)


def test_hours_and_plates_are_taken_out_of_values():
    rows = plate(2, 2, plates=2)
    shift = rows["plate"].eq("P1") * 100 + rows["hours"] * 10
    own = rows["well"].eq("I0") * 4.0
    found = subtract_hour_means(rows, (shift + own).to_numpy()[:, None])[:, 0]
    assert found == pytest.approx((own - 1.0).to_numpy())  # one well of four is 4 higher
    units = well_units(rows)
    assert unit_means(units, found[:, None]).shape == (8, 1)


def test_onsets_are_shuffled_among_wells():
    # the value falls by the onset exactly: only the 1 of 24 orders reaches that slope
    p, smallest = permuted_onsets(
        [1, 2, 3, 4], -np.arange(4.0), shuffles=20_000, rng=np.random.default_rng(0)
    )
    assert smallest == pytest.approx(1 / 24)
    assert p == pytest.approx(1 / 24, abs=0.006)
    rising, _ = permuted_onsets([1, 2, 3, 4], np.arange(4.0), shuffles=2000, rng=np.random.default_rng(0))
    assert rising == 1


def by_line(n_lines, *, line):
    """Infected and mock wells in turn, a condition a line (``column`` or ``row``), three wells each."""
    at = [(k, i) for k in range(2 * n_lines) for i in range(3)]
    names = [f"{'ABCDEFGH'[i if line == 'column' else k]}{(k if line == 'column' else i) + 1}" for k, i in at]
    condition = ["infected" if k % 2 else "mock" for k, _ in at]
    return pd.DataFrame(
        {"plate": "P", "well": names, "stack_id": names, "hours": 0.0, "condition": condition}
    )


@pytest.mark.parametrize("line", ["column", "row"])
def test_no_p_is_smaller_than_the_way_treatments_were_given_allows(line):
    rows = by_line(4, line=line)  # 12 against 12 wells, but 4 against 4 columns
    units = well_units(rows)
    assert (units.name, len(units.infected), units.wells) == (line, 8, (12, 12))
    assert units.replicated
    assert smallest_p(units, two_sided=False, shuffles=5000) == pytest.approx(1 / 70)
    means = unit_means(units, condition_values(rows))
    test = permutation_test(units, means, two_sided=False, shuffles=5000, rng=np.random.default_rng(0))
    assert test.p == test.floor == pytest.approx(1 / 70)
    stated = well_units(rows.assign(allocation="well"))
    assert smallest_p(stated, two_sided=False, shuffles=5000) == 1 / 5000


def test_one_treated_column_a_class_replicates_nothing():
    assert not well_units(by_line(1, line="column")).replicated


def test_plates_are_exchanged_where_plates_were_treated():
    rows = by_line(2, line="column")
    rows["plate"] = "P" + rows["well"].str[1:]
    units = well_units(rows)
    assert units.name == "plate"
    assert len(set(units.stratum)) == 1
    assert smallest_p(units, two_sided=False, shuffles=5000) == pytest.approx(1 / 6)


def condition_values(rows):
    """A statistic that is 1 in infected wells."""
    return rows["condition"].eq("infected").to_numpy(float)[:, None]
