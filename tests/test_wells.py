"""Names of wells and formats of plates."""

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from hpiclock.wells import FORMATS, letters, normal_well, parse_well, plate_format, well_name


@pytest.mark.parametrize(
    "text",
    [
        "A1",
        "A01",
        "a1",
        "a-1",
        "A - 01",
        " A001 ",
        "A/1",
        "A:1",
        "A_1",
        "A 1",
        "1A",
        "01-a",
        "R01C01",
        "r1c1",
        "R1-C1",
    ],
)
def test_a_well_is_written_in_many_ways(text: str) -> None:
    assert parse_well(text) == (0, 0)
    assert normal_well(text) == "A01"


@pytest.mark.parametrize("text", ["", "donor 7", "A", "12", "A0", "A-0", "A100", "ABC1", "-1"])
def test_a_name_that_is_no_well_stays_as_it_is(text: str) -> None:
    assert parse_well(text) is None
    assert normal_well(text) == text


def test_every_place_of_the_largest_plate_has_one_name() -> None:
    rows, columns = FORMATS[-1]
    places = [(row, column) for row in range(rows) for column in range(columns)]
    names = [well_name(*place) for place in places]
    assert len(set(names)) == rows * columns == 1536
    assert names[0] == "A01"
    assert names[-1] == "AF48"
    assert [parse_well(name) for name in names] == places


@seed(0)
@settings(max_examples=200, deadline=None)
@given(
    row=st.integers(0, 31), column=st.integers(0, 47), zeros=st.integers(0, 2), low=st.booleans(),
    between=st.sampled_from(["", "-", " - ", "/", ":", "_", " "]), form=st.integers(0, 2),
    pad=st.sampled_from(["", " "]),
)  # fmt: skip
def test_every_well_is_read_in_every_form(
    row: int, column: int, zeros: int, low: bool, between: str, form: int, pad: str
) -> None:
    number = "0" * zeros + str(column + 1)
    forms = (
        letters(row) + between + number,
        number + between + letters(row),
        f"R{row + 1}{between}C{number}",
    )
    text = pad + (forms[form].lower() if low else forms[form]) + pad
    assert normal_well(text) == well_name(row, column)


def test_letters_are_those_of_rows_and_of_spreadsheets() -> None:
    numbers = (0, 25, 26, 51, 52, 701, 702)
    assert [letters(i) for i in numbers] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


@pytest.mark.parametrize(
    ("wells", "size"),
    [
        ([], (2, 3)),
        (["A1", "B3"], (2, 3)),
        (["C1"], (3, 4)),
        (["A5"], (4, 6)),
        (["H12"], (8, 12)),
        (["A13"], (16, 24)),
        (["Q1"], (32, 48)),
        (["AF48"], (32, 48)),
        (["AG1"], None),
        (["A49"], None),
    ],
)
def test_the_format_is_the_smallest_plate_that_holds_the_wells(
    wells: list[str], size: tuple[int, int] | None
) -> None:
    assert plate_format(place for well in wells if (place := parse_well(well))) == size
