"""Plate layouts as labs write them in sheets: long and grid, CSV and XLSX; every fault names its cell."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.plate_maps import read_wells
from hpiclock.plate.manifest.sources import read_text_table
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.wells import FORMATS, letters

Rows = list[list[object]]

LONG: Rows = [
    [
        "Well",
        "Condition",
        "MOI",
        "Onset h",
        "replicate",
        "compound",
        "dose",
        "dose_unit",
        "Exclude",
        "passage",
    ],
    ["A1", "mock", None, None, "A", "DMSO", 0, "uM", None, 4],
    ["a02", "infected", 0.1, 5, "A", "DMSO", 0, "uM", None, 4],
    ["A3", "infected", 5, None, "A", "drug", 2.5, "uM", "contaminated", 4],
]

GRIDS: Rows = [
    ["condition", 1, 2, 3],
    ["A", "mock", "infected", "infected"],
    ["B", "mock", "infected", None],
    [None, None, None, None],
    ["MOI", None, None, None],
    [None, 1, 2, 3],
    ["A", None, 0.1, 5],
    ["B", None, 1, None],
    [None, None, None, None],
    ["exclude", 1, 2, 3],
    ["A", None, None, "x"],
]


def as_csv(path: Path, rows: Rows, separator: str = ",") -> Path:
    path = path.with_suffix(".csv")
    lines = [separator.join("" if cell is None else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def as_xlsx(path: Path, rows: Rows, **sheets: Rows) -> Path:
    path = path.with_suffix(".xlsx")
    book = openpyxl.Workbook()
    book.active.title = "layout"
    for row in rows:
        book.active.append(row)
    for name, more in sheets.items():
        sheet = book.create_sheet(name)
        for row in more:
            sheet.append(row)
    book.save(path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_wells(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("write", [as_csv, as_xlsx])
def test_long_layout(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    wells = read_wells(write(tmp_path / "plate", LONG))
    assert list(wells) == ["A01", "A02", "A03"]
    assert [well.condition for well in wells.values()] == ["mock", "infected", "infected"]
    assert [well.moi for well in wells.values()] == [None, 0.1, 5.0]
    assert [well.onset_h for well in wells.values()] == [None, 5.0, None]
    assert [well.dose for well in wells.values()] == [0.0, 0.0, 2.5]
    assert [well.exclude for well in wells.values()] == ["", "", "contaminated"]
    assert wells["A02"].more == {"passage": "4"}


@pytest.mark.parametrize("write", [as_csv, as_xlsx])
def test_grids_one_above_the_other(tmp_path: Path, write: Callable[[Path, Rows], Path]) -> None:
    wells = read_wells(write(tmp_path / "plate", GRIDS))
    assert sorted(wells) == ["A01", "A02", "A03", "B01", "B02"]  # an empty cell is a well that is not used
    assert {name: well.moi for name, well in wells.items() if well.moi} == {
        "A02": 0.1,
        "A03": 5.0,
        "B02": 1.0,
    }
    assert wells["A03"].exclude.startswith("marked x in")
    assert "cell D11" in wells["A03"].exclude


def test_one_sheet_per_key_and_merged_cells(tmp_path: Path) -> None:
    path = as_xlsx(
        tmp_path / "plate",
        [["", 1, 2], ["A", "infected", ""], ["B", "mock", "mock"]],
        moi=[["", 1, 2], ["A", 0.5, ""], ["B", "", ""]],
    )
    book = openpyxl.load_workbook(path)
    book["layout"].merge_cells("B2:C2")
    book["moi"].merge_cells("B2:C2")
    book.save(path)
    wells = read_wells(path)
    assert {name: (well.condition, well.moi) for name, well in wells.items()} == {
        "A01": ("infected", 0.5),
        "A02": ("infected", 0.5),
        "B01": ("mock", None),
        "B02": ("mock", None),
    }


def test_conditions_that_carry_the_moi(tmp_path: Path) -> None:
    grid: Rows = [["", 1, 2, 3, 4], ["A", "MOI 5", "infected MOI 0.1", "Mock", "moi=0"]]
    wells = read_wells(as_csv(tmp_path / "plate", grid))
    assert [(well.condition, well.moi) for well in wells.values()] == [
        ("infected", 5.0),
        ("infected", 0.1),
        ("mock", None),
        ("mock", 0.0),
    ]


def test_moi_alone_says_what_is_mock(tmp_path: Path) -> None:
    wells = read_wells(as_csv(tmp_path / "plate", [["well", "moi"], ["A1", 0], ["A2", 0.1]]))
    assert [well.condition for well in wells.values()] == ["mock", "infected"]


@pytest.mark.parametrize(("rows", "columns"), FORMATS)
def test_plates_of_6_to_1536_wells(tmp_path: Path, rows: int, columns: int) -> None:
    grid: Rows = [["", *range(1, columns + 1)]]
    grid += [[letters(row), *["mock"] * columns] for row in range(rows)]
    wells = read_wells(as_csv(tmp_path / "plate", grid))
    assert len(wells) == rows * columns
    assert list(wells)[-1] == f"{letters(rows - 1)}{columns:02d}"


@pytest.mark.parametrize("write", [as_csv, as_xlsx])
def test_a_sheet_beside_its_stacks_is_a_source(
    tmp_path: Path, write: Callable[[Path, Rows], Path], write_stack: Callable[..., Path]
) -> None:
    for well in ("A1", "A2", "A3"):
        write_stack(tmp_path / "screen7" / f"s1_{well}_p1.tif")
    path = write(tmp_path / "screen7" / "plate", LONG)
    manifest, notes = load_manifest(DataConfig(source=str(path)), onset_h=1.0, need_both=True)
    assert list(manifest["stack_id"]) == ["screen7/A01/p1", "screen7/A02/p1"]
    assert list(manifest["compound"]) == ["DMSO", "DMSO"]
    assert list(manifest["passage"]) == ["4", "4"]
    assert len(notes) == 1
    assert notes[0].endswith("well A03 is left out: contaminated")
    by_folder, _ = load_manifest(DataConfig(source=str(tmp_path / "screen7")), onset_h=1.0)
    assert by_folder.equals(manifest)


def test_a_plate_map_may_take_its_wells_from_a_sheet(
    tmp_path: Path, write_stack: Callable[..., Path]
) -> None:
    for well in ("A1", "A2", "B1", "B2"):
        write_stack(tmp_path / "raw" / f"s1_{well}_p1.tif", interval_h=None)
    as_xlsx(tmp_path / "layout", [["", 1, 2], ["A", "mock", "MOI 1"], ["B", "mock", "MOI 5"]])
    (tmp_path / "plate.yaml").write_text("plate: P9\nfolder: raw\ninterval_h: 0.5\nwells: layout.xlsx\n")
    manifest, _ = load_manifest(DataConfig(source=str(tmp_path / "plate.yaml")), onset_h=1.0)
    assert list(manifest["stack_id"]) == ["P9/A01/p1", "P9/A02/p1", "P9/B01/p1", "P9/B02/p1"]
    assert list(manifest["moi"].fillna(0)) == [0, 1, 0, 5]


def test_a_workbook_may_list_the_stacks(tmp_path: Path, write_stack: Callable[..., Path]) -> None:
    write_stack(tmp_path / "a.tif")
    path = as_xlsx(tmp_path / "list", [["path", "condition", "well"], ["a.tif", "mock", "B3"]])
    manifest, _ = load_manifest(DataConfig(source=str(path)), onset_h=1.0)
    assert list(manifest["well"]) == ["B03"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["well", "condition"], ["A1", "moock"]], "cell B2: condition 'moock' is not known"),
        ([["well", "condition"], ["A1", "mock"], ["AG9", "mock"]], "cell A3: 'AG9' is no well of a plate"),
        (
            [["well", "condition"], ["A49", "mock"]],
            "cell A2: 'A49' is no well of a plate of up to 1536",
        ),
        ([["well", "condition"], ["", "mock"]], "cell A2: '' is no well"),
        (
            [["well", "condition"], ["A1", "mock"], ["a01", "mock"]],
            "cell B3: condition of well A01 stands twice",
        ),
        ([["well", "condition", "moi"], ["A1", "infected", "high"]], "cell C2: 'high' is not a number"),
        ([["well", "condition", "moi"], ["A1", "infected", "-2"]], "cell C2: well A01: moi: input should be"),
        ([["well", "condition", "moi"], ["A1", "mock", "2"]], "cell B2: well A01: a mock well has no MOI 2"),
        ([["well", "conditon"], ["A1", "mock"]], "cell B1: unknown column conditon; did you mean condition?"),
        ([["well", "condition", "well"], ["A1", "mock", "A2"]], "column well stands twice"),
        ([["well", "replicate"], ["A1", "A"]], "cell B2: well A01 has no condition"),
        ([["", 1, 2], ["A", "mock", "virus"]], "cell C2: condition 'virus' is not known"),
        ([["conditions", 1, 2], ["A", "mock", "mock"]], "cell A1: conditions is no key of a well"),
        ([["", 1, 2], ["A", "mock", "mock"], ["AG", "mock", "mock"]], "cell A3: 'AG1' is no well of a plate"),
        ([["", 1, 2], ["A", "mock", ""], ["moi", 1, 2], ["A", "", 3]], "cell C2: well A02 has no condition"),
        (
            [["", 1, 2], ["A", "MOI 5", "mock"], ["moi", 1, 2], ["A", 1, ""]],
            "cell B2: MOI 5, but cell B4 says 1; correct one",
        ),
        ([["plate", "seven"]], "no plate layout in it"),
    ],
)
def test_a_wrong_layout_is_one_line_that_names_the_cell(tmp_path: Path, rows: Rows, words: str) -> None:
    assert words in refusal(as_csv(tmp_path / "plate", rows))


def test_a_fault_in_a_workbook_names_the_sheet(tmp_path: Path) -> None:
    path = as_xlsx(
        tmp_path / "plate", [["", 1, 2], ["A", "infected", "mock"]], moi=[["", 1, 2], ["A", "o.1", ""]]
    )
    assert refusal(path).startswith("sheet moi, cell B2: 'o.1' is not a number")


def test_decimal_comma_is_named(tmp_path: Path) -> None:
    path = as_csv(
        tmp_path / "plate", [["well", "condition", "moi"], ["A1", "infected", "0,1"]], separator=";"
    )
    assert "cell C2: '0,1' is not a number; write 0.1" in refusal(path)


def test_files_that_are_no_sheets(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("no workbook")
    assert "not an XLSX workbook" in refusal(tmp_path / "a.xlsx")
    (tmp_path / "b.csv").write_text(",,\n")
    assert "the file is empty" in refusal(tmp_path / "b.csv")
    with pytest.raises(InputError, match="no such table"):
        read_text_table(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("moi", "=1/10", "cell C2: the formula =1/10 has no stored value"),
        (
            "onset_min",
            120,
            "cell C1: column onset_min: hours are needed; divide it by 60 and call",
        ),
        ("Onset (s)", 120, "divide it by 3600 and call it onset_h"),
        ("onset_d", 1, "multiply it by 24 and call it onset_h"),
        ("onset", 1, "hours are needed; call it onset_h"),
        ("moi", -1, "cell C2: well A01: moi: input should be greater than or equal to 0, got '-1'"),
        ("moi", "1_0", "cell C2: '1_0' is not a number"),
        ("virus", '=IF(1=1,"a","b")', "cell C2: the formula ="),
    ],
)
def test_a_cell_that_would_be_read_as_nothing_is_named(
    tmp_path: Path, key: str, value: object, words: str
) -> None:
    rows: Rows = [["well", "condition", key], ["A1", "infected", value]]
    assert words in refusal(as_xlsx(tmp_path / "plate", rows))


def test_a_formula_that_was_computed_is_its_value(tmp_path: Path) -> None:
    path = as_xlsx(tmp_path / "plate", [["well", "condition", "moi"], ["A1", "infected", "=1/10"]])
    edited(path, "<v></v>", "<v>0.1</v>")
    edited(path, "<v />", "<v>0.1</v>")
    assert read_wells(path)["A01"].moi == 0.1


def edited(path: Path, old: str, new: str) -> None:
    """Change the XML of a workbook's first sheet, as no spreadsheet program writes it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = parts[sheet].decode().replace(old, new).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


END = "</sheetData>"
FAR = [
    (END, f'<row r="1048576"><c r="XFD1048576" s="0"/></row>{END}', ""),
    (END, f'<row r="4"><c r="XFD4" s="0"/></row>{END}', ""),
    (END, f'{END}<mergeCells><mergeCell ref="A5:XFD1048576"/></mergeCells>', ""),
    (END, f'{END}<mergeCells><mergeCell ref="A3:XFD1048576"/></mergeCells>', "merged, reaches to cell"),
    (END, f'<row r="9000000"><c r="A9000000"><v>1</v></c></row>{END}', "reaches to cell B9000000"),
    (END, f'<row r="90000"><c r="ZZ90000"><v>1</v></c></row>{END}', "reaches to cell ZZ90000"),
    (END, "".join(f'<row r="{n}"><c r="XFD{n}" s="0"/></row>' for n in range(4, 2000)) + END, ""),
    (END, f'{END}<hyperlinks><hyperlink ref="A1:XFD1048576" display="x"/></hyperlinks>', ""),
    ('<dimension ref="A1:B3"', '<dimension ref="A1:XFD1048576"', ""),
    ('<dimension ref="A1:B3"', '<dimension ref="A1:A1"', ""),
    (END, f"<row r='x'><c r='?'/></row>{END}", "not an XLSX workbook"),
    ("<sheetData>", "<sheetData><row", "not an XLSX workbook"),
]


@pytest.mark.parametrize(("old", "new", "words"), FAR, ids=range(len(FAR)))
def test_a_sheet_is_as_large_as_what_stands_in_it(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = as_xlsx(tmp_path / "plate", [["well", "condition"], ["A1", "infected"], ["A2", "mock"]])
    edited(path, old, new)
    if words:
        assert words in refusal(path)
    else:
        assert {name: well.condition for name, well in read_wells(path).items()} == {
            "A01": "infected",
            "A02": "mock",
        }


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = as_xlsx(tmp_path / "plate", [["well", "condition"]])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/x.xml", "w") as part:
        for _ in range(21):
            part.write(b" " * 10_000_000)
    assert path.stat().st_size < 300_000
    assert "unpacks to more than 200,000,000 bytes" in refusal(path)


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nwell;condition;note\nA1;infected;a, b, c, d\nA2;mock;e, f, g\n",
        "well;condition;note\nA1;infected;a, b, c, d\nA2;mock;e, f, g\n",
        "\ufeffWell,Condition\nR01C01,Infected\n2A,MOCK\n",
        'well,condition,note\nA1,infected,"two\nlines"\nA2,mock,\n',
        "well,condition\rA1,infected\rA2,mock\r",
        "Plate 7, VSV, 12.3.2026\n\n;1;2\nA;infected;mock\n",
        "well,condition\nA1\u00a0,infected\u200b\nA2,mock\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_csv_as_people_save_it(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "plate.csv"
    path.write_bytes(text.encode(encoding))
    found = read_wells(path)
    assert {name: well.condition for name, well in found.items()} == {"A01": "infected", "A02": "mock"}
    assert all("\n" not in str(value) for well in found.values() for value in well.more.values())


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_layout_that_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"plate{suffix}")
    assert "is a FIFO" in refusal(tmp_path / f"plate{suffix}")


def test_a_wide_layout_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "plate.csv"
    path.write_text("well,condition," + ",".join(f"c{n}" for n in range(200_000)) + "\nA1,infected\n")
    assert "200,002 columns" in refusal(path)
    path.write_text("well,condition\n" + ("," * 4000 + "\n") * 1000)
    assert "reaches to cell" in refusal(path)
