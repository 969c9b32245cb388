"""To what treatments were given: read from the plate map, or seen in the layout, and said."""

from pathlib import Path

import pandas as pd
import pytest

from hpiclock.allocation import allocation_units, infer_allocation
from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.timeline import expand_frames


def wells(infected, mock, plate="P"):
    """Rows of two positions a well."""
    names = [(well, kind) for kind, some in (("infected", infected), ("mock", mock)) for well in some.split()]
    rows = [(plate, well, kind, f"{plate}/{well}/{p}") for well, kind in names for p in (1, 2)]
    return pd.DataFrame(rows, columns=["plate", "well", "condition", "stack_id"])


@pytest.mark.parametrize(
    ("infected", "mock", "unit", "n"),
    [
        ("A01 B01 C01 A03 B03", "A02 B02 A04", "column", 4),
        ("A01 A02 A03", "B01 B02 B03", "row", 2),
        ("A01 B01 C02", "A02 B02 C01", "well", 6),  # one pair swapped: no longer by column
        ("A01", "A02", "well", 2),  # as many columns as wells: nothing is to be seen
        ("A01 B01 B02", "C03 D03 D04", "column", 4),  # rows and columns: the fewer
        ("donor1 donor2", "donor3 donor4", "well", 4),
        ("A01 B01", "", "well", 2),
    ],
)
def test_the_layout_shows_to_what_treatments_were_given(infected, mock, unit, n):
    found = allocation_units(wells(infected, mock))
    assert found.unit == unit
    assert len(set(found.codes)) == n


def test_plates_of_one_condition_each_were_treated_as_plates():
    rows = pd.concat([wells("A01 B02", "", "P1"), wells("", "A01 B02", "P2")], ignore_index=True)
    assert allocation_units(rows).unit == "plate"
    assert set(infer_allocation(wells("A01 B02", "A02 B01"))) == {"well"}
    both = pd.concat([wells("A01 B01", "A02 B02", "P1"), wells("A01 B02", "A02 B01", "P2")])
    assert allocation_units(both.reset_index(drop=True)).unit == "column and well"


def test_what_is_stated_goes_before_the_layout():
    rows = wells("A01 B01 C01", "A02 B02 C02")
    assert allocation_units(rows.assign(allocation="well")).unit == "well"
    block = rows["well"].map({"A01": "x", "B01": "x", "C01": "y", "A02": "z", "B02": "z", "C02": "u"})
    found = allocation_units(rows.assign(allocation="block", block=block))
    assert (found.unit, len(set(found.codes))) == ("block", 4)


def test_wells_that_are_not_given_leave_positions():
    rows = wells("A01", "A02").assign(well="")
    assert allocation_units(rows).unit == "position"
    assert len(set(allocation_units(rows).codes)) == 4


def test_an_allocation_that_cannot_be_is_refused():
    rows = wells("A01 B01 C02", "A02 B02 C01")
    with pytest.raises(
        InputError, match="allocation column: column 1 of plate P holds both conditions; corr"
    ):
        allocation_units(rows.assign(allocation="column"))
    with pytest.raises(InputError, match="allocation plate: plate P holds both conditions"):
        allocation_units(rows.assign(allocation="plate"))
    with pytest.raises(InputError, match="allocation block: well A01 of plate P has no block; name it"):
        allocation_units(rows.assign(allocation="block"))


LAYOUT = """
interval_h: 1
wells:
  A1: {condition: infected}
  B1: {condition: infected}
  A2: {condition: mock}
  B2: {condition: mock}
"""


@pytest.fixture
def plate(tmp_path, write_stack):
    for well in ("A1", "B1", "A2", "B2"):
        write_stack(tmp_path / f"s1_{well}_p1.tif", interval_h=None)
    return tmp_path / "plate.yaml"


def opened(plate, text):
    plate.write_text(text)
    return load_manifest(DataConfig(source=str(plate)), 0.0)


def test_a_plate_map_says_the_allocation_and_frames_carry_it(plate):
    manifest, notes = opened(plate, "plate: one\nallocation: well" + LAYOUT)
    assert set(manifest["allocation"]) == {"well"}
    assert notes == []
    assert set(expand_frames(manifest)["allocation"]) == {"well"}


def test_an_allocation_by_layout_is_said(plate):
    manifest, notes = opened(plate, "plate: one" + LAYOUT)
    assert set(manifest["allocation"]) == {"column"}
    assert notes == [
        "one: each column holds one condition: treatments are taken as given by column; if single wells were "
        "drawn for them, write allocation: well in the plate map"
    ]


def test_blocks_stand_with_their_wells(plate):
    text = "plate: one\nallocation: block" + LAYOUT.replace("infected}", "infected, block: left}")
    with pytest.raises(InputError, match="allocation block: well A02 of plate one has no block"):
        opened(plate, text)
    manifest, _ = opened(plate, text.replace("mock}", "mock, block: right}"))
    assert list(expand_frames(manifest).groupby("block")["well"].unique().map(list)) == [
        ["A01", "B01"],
        ["A02", "B02"],
    ]


def test_a_misspelled_allocation_is_refused(plate, tmp_path: Path):
    with pytest.raises(InputError, match="allocation"):
        opened(plate, "allocation: colum" + LAYOUT)
    table = tmp_path / "manifest.csv"
    table.write_text("path,condition,allocation\ns1_A1_p1.tif,mock,colum\n")
    with pytest.raises(InputError, match="allocation 'colum' is not known; did you mean column"):
        load_manifest(DataConfig(source=str(table), interval_h=1), 0.0)
