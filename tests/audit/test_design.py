"""The design audit: aliases, replicates, hours and onsets of plates drawn by hand."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.audit import CLOCKS, ELAPSED, FINE, HOUR, PLACE, PLATE, WELL
from hpiclock.audit.design import design_table, hours_auc
from hpiclock.audit.verdict import design_verdict


def frames(wells, *, hours=(0.0, 10.0, 20.0), plate="P", mock_hours=None):
    """Rows of a plate from ``{well: onset}``; an onset of None is mock."""
    rows = []
    for well, onset in wells.items():
        mock = onset is None
        kind = {"condition": "mock" if mock else "infected", "moi": np.nan if mock else 1.0, "onset_h": onset}
        same = {
            "plate": plate,
            "well": well,
            "stack_id": f"{plate}/{well}",
            "position": "1",
            "path": "",
        } | kind
        rows += [same | {"hours": hour} for hour in (mock_hours if mock_hours and mock else hours)]
    table = pd.DataFrame(rows).astype({"onset_h": float})
    return table.assign(hpi=table["hours"] - table["onset_h"])


GOOD = {"B2": 2.0, "B3": None, "C3": 6.0, "C4": None, "D4": 4.0, "D2": None}


def decided(table):
    return {row.question: row for row in design_verdict(table).itertuples()}


def answers(table):
    return {question: row.verdict for question, row in decided(table).items()}


def value(table, aspect):
    return design_table(table).set_index("aspect").loc[aspect, "value"]


def test_a_good_plate_leaves_only_another_plate_open():
    assert answers(frames(GOOD)) == {PLATE: "not tested", PLACE: "not seen", CLOCKS: "shown"}


def test_replicates_are_counted():
    table = frames(GOOD)
    assert value(table, "infected wells") == 3
    assert value(table, "mock wells") == 3
    assert value(table, "wells at MOI 1") == 3
    assert value(table, "different onsets") == 3


def test_one_well_in_a_class_is_not_identifiable():
    found = decided(frames({"B2": 2.0, "C4": None, "C5": None}))
    assert found[WELL].verdict == "not identifiable"
    assert "1 infected and 2 mock wells:" in found[WELL].evidence
    assert "image at 0 hpi" in found[WELL].remedy
    assert found[PLACE].verdict == "not identifiable"
    assert found[PLACE].evidence.startswith("a single infected well:")


def test_wells_that_are_not_given_are_not_identifiable():
    assert answers(frames(GOOD).assign(well=""))[WELL] == "not identifiable"


def test_one_onset_makes_the_two_clocks_one():
    found = answers(frames(dict.fromkeys(["B2", "C2"], 3.0) | dict.fromkeys(["B3", "C3"])))
    assert found[CLOCKS] == "not identifiable"
    assert found[ELAPSED] == "not identifiable"


def test_an_unknown_onset_makes_the_clocks_unknown():
    assert answers(frames(GOOD | {"B2": np.nan}))[CLOCKS] == "not identifiable"


def test_a_column_that_tells_the_condition_is_not_identifiable():
    wells = {f"{row}{column}": None if column == 1 else 4.0 for row in "ABC" for column in (1, 2)}
    found = decided(frames(wells))
    assert found[PLACE].verdict == "not identifiable"
    assert found[PLACE].effect == 1.0  # infected wells have the higher column
    assert "column" in found[PLACE].evidence


def test_edge_wells_against_inner_wells_are_not_identifiable():
    # of 24 wells (A-D x 1-6): A and D, 1 and 6 are at the edge
    wells = {"A1": None, "A4": None, "D3": None, "C6": None, "B2": 1.0, "B5": 1.0, "C3": 1.0, "C4": 1.0}
    table = frames(wells)
    assert value(table, "AUC of edge alone") == 0.0
    assert answers(table)[PLACE] == "not identifiable"


def test_places_are_named_as_on_the_plate():
    table = design_table(frames({"A1": None, "D3": None, "B2": 1.0, "C3": 1.0})).set_index("aspect")["detail"]
    assert table["Cramér's V of condition and row"] == "infected: B, C; mock: A, D"
    assert table["Cramér's V of condition and column"] == "infected: 2, 3; mock: 1, 3"
    assert table["Cramér's V of condition and edge"] == (
        "0 of 2 infected wells at the edge; 2 of 2 mock wells at the edge"
    )
    assert not any("plate" in aspect for aspect in table.index if aspect != "plates")  # there is only one


def test_a_plate_that_tells_the_condition_is_not_identifiable():
    both = pd.concat([frames({"B2": 1.0, "C2": 2.0}, plate="P"), frames({"B2": None, "C2": None}, plate="Q")])
    assert value(both, "Cramér's V of condition and plate") == 1.0
    assert answers(both)[PLATE] == "not identifiable"


def test_plates_with_both_conditions_are_shown_balanced():
    both = pd.concat([frames(GOOD, plate="P"), frames(GOOD, plate="Q")])
    assert value(both, "Cramér's V of condition and plate") == 0.0
    assert answers(both)[PLATE] == "shown"


def test_plates_with_one_well_of_a_class_are_not_identifiable():
    one = {"A1": None} | {f"B{i}": 1.0 for i in range(2, 7)}
    other = {"A1": 1.0} | {f"B{i}": None for i in range(2, 7)}
    # 5 of 6 against 1 of 6: phi = (25 - 1) / 36 = 2 / 3
    both = pd.concat([frames(one, plate="P"), frames(other, plate="Q")])
    assert value(both, "Cramér's V of condition and plate") == pytest.approx(2 / 3)
    assert value(both, "AUC of the plate alone") == pytest.approx(5 / 6)  # 0.5 + V / 2
    assert answers(both)[PLATE] == "not identifiable"  # no plate holds two wells of both classes


def test_the_same_hours_tell_nothing():
    assert hours_auc(frames(GOOD)) == (0.5, 1.0)
    assert HOUR not in answers(frames(GOOD))


def test_later_hours_for_one_class_are_a_clock():
    # infected 20, 30, 40; mock 0, 10, 20: of 9 pairs 8 are won and one is a tie
    table = frames(GOOD, hours=(20.0, 30.0, 40.0), mock_hours=(0.0, 10.0, 20.0))
    auc, shared = hours_auc(table)
    assert auc == pytest.approx(8.5 / 9)
    assert shared == pytest.approx(1 / 3)
    assert answers(table)[HOUR] == "contradicted"


def test_hours_that_never_meet_cannot_be_told_from_the_condition():
    table = frames(GOOD, hours=(30.0, 40.0), mock_hours=(0.0, 10.0))
    assert answers(table)[HOUR] == "not identifiable"


def test_stills_have_no_clock_to_test():
    found = answers(frames(GOOD, hours=(0.0,)))
    assert found[CLOCKS] == "not tested"
    assert found[ELAPSED] == "not tested"


def test_slides_that_hold_both_conditions_are_no_alias():
    table = pd.concat([frames({"S1": 1.0}), frames({"S1": None}).assign(stack_id="x")])
    assert WELL not in answers(table)


def test_names_that_are_no_place_are_said():
    assert answers(frames({f"slide{i}": 1.0 if i % 2 else None for i in range(6)}))[PLACE] == "not tested"


@pytest.mark.parametrize("wells", [{"B2": 2.0, "C3": 6.0}, {"B2": None, "C3": None}])
def test_a_plate_of_one_class_supports_nothing(wells):
    found = decided(frames(wells))
    assert found[PLACE].verdict == "not tested"
    assert found[HOUR].verdict == "not identifiable"
    assert not [row for row in found.values() if "nan" in row.evidence]
    assert not {found[name].verdict for name in (WELL, HOUR, PLACE)} & set(FINE)


@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_a_few_frames_that_one_well_lacks_are_no_clock(n):
    wells = {f"B{k}": 0.0 for k in range(1, n + 1)} | {f"C{k}": None for k in range(1, n + 1)}
    table = frames(wells, hours=np.arange(13.0))
    lacking = table[~(table["well"].eq("C1") & table["hours"].isin([8, 9]))]
    assert 0.4 < hours_auc(lacking)[0] < 0.6
    assert HOUR not in decided(lacking)
