"""Names of wells and formats of plates."""

import pytest

from hpiclock.wells import FORMATS, letters, normal_well, parse_well, plate_format, well_name


@pytest.mark.parametrize("text", ["A1", "A01", "a1", "a-1", "A - 1", " A001 "])
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
