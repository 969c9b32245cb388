"""Plate maps: the treatment of each well, as YAML or as a layout in a sheet; and sheets as rows of cells."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator

from hpiclock.config.load import first_problem, read_yaml
from hpiclock.config.schema import Hours, Section, option
from hpiclock.errors import InputError, nearest
from hpiclock.files import as_text, check_file
from hpiclock.plate.readers import EXTRA, FAULTS
from hpiclock.tables import UNKNOWN, check_names, delimited, misspelled, other_unit, plain_name
from hpiclock.wells import letters, normal_well, parse_well, plate_format, well_name

SHEETS = (".csv", ".tsv", ".xlsx")
BLANKS = " \t\n\r\u00a0\u200b\ufeff"  # also those that nobody sees
MOST_CELLS = 2_000_000
MOST_BYTES = 200_000_000  # of an unpacked workbook


class Cell(NamedTuple):
    """The text of a cell without blanks around it, its address (``sheet moi, cell C4``) and its file."""

    text: str
    address: str
    path: Path

    def error(self, problem: str) -> InputError:
        """Return the error that names file and cell before ``problem``."""
        return InputError(f"{self.path}: {self.address}: {problem}")


class Sheet(NamedTuple):
    """A sheet's name (empty for a text file) and its rows, all of one length."""

    name: str
    rows: list[list[Cell]]


def read_sheets(path: Path) -> list[Sheet]:
    """Read a CSV file (comma, semicolon or tab) or the sheets of an XLSX workbook; empty sheets are left out.

    In a workbook every cell of a merged range holds the range's text, as a reader of the sheet sees it.

    Raises:
        InputError: cannot be read as a table, or nothing in it.
    """
    sheets = _workbook(path) if path.suffix.lower() == ".xlsx" else [("", _text_rows(path))]
    all_sheets = [Sheet(name, _addressed(path, name, rows)) for name, rows in sheets]
    found = [sheet for sheet in all_sheets if any(cell.text for row in sheet.rows for cell in row)]
    if not found:
        raise InputError(f"{path}: the file is empty; fill it or correct data.source")
    return found


def number_in(text: str, place: str) -> float | None:
    """Return the number of a cell; None for an empty one (or ``-``, ``na``, ``nan``, ``none``, ``null``).

    Raises:
        InputError: not a finite number; the message begins with ``place``.
    """
    if text.lower() in ("", "-", "na", "n/a", "nan", "none", "null"):
        return None
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = f"write {text.replace(',', '.')}" if text.count(",") == 1 else "write a number"
        raise InputError(f"{place}: {text!r} is not a number; {hint} or leave it empty")
    return value


def _addressed(path: Path, sheet: str, rows: list[list[Any]]) -> list[list[Cell]]:
    place = f"sheet {sheet}, " if sheet else ""
    width = max((len(row) for row in rows), default=0)
    _check_size(path, place, len(rows), width)
    columns = [letters(column) for column in range(width)]
    return [
        [
            Cell(_shown(value), f"{place}cell {column}{number}", path)
            for column, value in itertools.zip_longest(columns, row)
        ]
        for number, row in enumerate(rows, start=1)
    ]


def _text_rows(path: Path) -> list[list[str]]:
    text, separator = delimited(path, "save it as CSV UTF-8")
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise InputError(f"{path}: not a text table ({error}); save it as CSV UTF-8") from None


def _workbook(path: Path) -> list[tuple[str, list[list[Any]]]]:
    check_file(path, "check data.source", "workbook")
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise InputError(f"{path}: reading it needs the package openpyxl; {EXTRA}") from None
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > MOST_BYTES:
                raise InputError(f"{path}: unpacks to more than {MOST_BYTES:,} bytes; save it as CSV UTF-8")
        # read only: nothing is made of what is formatted, merged or linked and holds no value
        book, formulas = (
            openpyxl.load_workbook(path, read_only=True, data_only=only) for only in (True, False)
        )
        with closing(book), closing(formulas):
            pairs = zip(book.worksheets, formulas.worksheets, strict=True)
            return [(sheet.title, _sheet_rows(path, sheet, twin)) for sheet, twin in pairs]
    except InputError:
        raise
    except (*FAULTS, zipfile.BadZipFile, SyntaxError, MemoryError, zlib.error) as error:
        raise InputError(f"{path}: not an XLSX workbook ({type(error).__name__}); save it again") from None


def _sheet_rows(path: Path, sheet: Any, formulas: Any) -> list[list[Any]]:
    """The values of a sheet up to its last filled cell; a formula that no program has computed is refused."""
    values: dict[tuple[int, int], Any] = {}
    (stored, merged), (written, _) = _filled_cells(sheet), _filled_cells(formulas)
    for value, cell in zip(stored, written, strict=True):
        # "n": nothing is stored, not even an empty text
        if cell["data_type"] == "f" and value["value"] is None and value["data_type"] == "n":
            formula = str(getattr(cell["value"], "text", cell["value"]))
            address = f"sheet {sheet.title}, cell {letters(cell['column'] - 1)}{cell['row']}"
            problem = (
                f"the formula {formula} has no stored value; write it, or save the file in a spreadsheet"
            )
            raise Cell("", address, path).error(problem)
        if value["value"] not in (None, ""):
            values[value["row"], value["column"]] = value["value"]
    filled = [area for area in merged if (area.min_row, area.min_col) in values]
    _check_size(
        path, f"sheet {sheet.title}: merged, ", sum(a.size["rows"] * a.size["columns"] for a in filled), 1
    )
    for area in filled:
        values |= dict.fromkeys(area.cells, values[area.min_row, area.min_col])
    height, width = (max(places, default=0) for places in zip(*values, (0, 0), strict=True))
    _check_size(path, f"sheet {sheet.title}, ", height, width)
    rows: list[list[Any]] = [[None] * width for _ in range(height)]
    for (row, column), content in values.items():
        rows[row - 1][column - 1] = content
    return rows


def _filled_cells(sheet: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """What the file says of its cells, without all those between them, and the merged areas."""
    from openpyxl.worksheet._reader import WorkSheetParser

    book = sheet.parent
    formats = {"date_formats": book._date_formats, "timedelta_formats": book._timedelta_formats}
    with sheet._get_source() as stream:
        parser = WorkSheetParser(
            stream, sheet._shared_strings, data_only=book.data_only, epoch=book.epoch, **formats
        )
        cells = [cell for _, row in parser.parse() for cell in row]
    return cells, parser.merged_cells.mergeCell if parser.merged_cells else []


def _check_size(path: Path, place: str, height: int, width: int) -> None:
    if height * width > MOST_CELLS:
        last = f"{letters(width - 1)}{height}"
        raise InputError(f"{path}: {place}reaches to cell {last}; delete what stands far out, or split it")


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return as_text(re.sub(r"\s*[\r\n]+\s*", " ", str(value).strip(BLANKS)))


CONDITION = {"infected": "infected", "mock": "mock", "uninfected": "mock", "control": "mock"}
CONDITION |= {UNKNOWN: UNKNOWN}  # may be predicted, not trained on

NOT = ("", "no", "n", "0", "false", "off", "none", "na", "n/a", "nan", "-")  # a well that is not left out


def _one_text(value: object) -> object:
    return value if isinstance(value, (list, dict)) else "" if value is None else str(value)


Text = Annotated[str, BeforeValidator(_one_text)]


def read_condition(text: str) -> str:
    """Return ``infected``, ``mock`` or ``unknown``; ``uninfected`` and ``control`` mean mock.

    Upper case is the same.

    Raises:
        ValueError: any other word.
    """
    try:
        return CONDITION[text.strip().lower()]
    except KeyError:
        raise ValueError(f"condition {text!r} is not known; write infected or mock") from None


class WellTreatment(Section):
    """The treatment of one well."""

    condition: Text
    moi: float | None = option(None, "multiplicity of infection", ge=0, le=1e6)
    onset_h: Hours | None = option(None, "onset of infection, hours after imaging start")
    replicate: Text = ""
    block: Text = Field("", description="what was treated as one, with allocation: block")
    series: Text = ""
    virus: Text = ""
    compound: Text = ""
    dose: float | None = Field(None, ge=0, le=1e12)
    dose_unit: Text = ""
    exclude: Annotated[Text, AfterValidator(lambda text: "" if text.lower() in NOT else text)] = option(
        "", "why the well is left out; empty = it is used"
    )
    more: dict[str, Any] = option({}, "other columns to keep")

    @field_validator("condition")
    @classmethod
    def _known(cls, value: str) -> str:
        return read_condition(value)

    @model_validator(mode="after")
    def _mock_is_mock(self) -> WellTreatment:
        if self.condition == "mock" and self.onset_h is not None:
            raise ValueError("a mock well has no onset; remove onset_h")
        if self.condition == "mock" and self.moi:
            raise ValueError(f"a mock well has no MOI {self.moi:g}; remove moi or write condition: infected")
        if self.condition == "infected" and self.moi == 0:
            raise ValueError("an infected well has no MOI 0; give the MOI or write condition: mock")
        return self


Values = dict[str, Cell]
NUMBERS = ("moi", "onset_h", "dose")
KEYS = tuple(key for key in WellTreatment.model_fields if key != "more")
_CONDITION_MOI = re.compile(r"(?P<word>[a-z]*)\s*(?:moi\s*[:=]?\s*(?P<moi>[0-9.]+))?", re.IGNORECASE)


def read_wells(path: Path, *, blind: bool = False) -> dict[str, WellTreatment]:
    """Read a plate layout from a CSV or XLSX file.

    Args:
        path: the file.
        blind: a well without a condition is of an unknown one.

    Returns:
        The treatment of each well, by name (``B03``).

    Raises:
        InputError: no layout in it, or a value that cannot be; the message names the cell.
    """
    wells: dict[str, Values] = {}
    for sheet in read_sheets(path):
        header = _long_header(sheet)
        for well, key, cell in _long(path, sheet, header) if header is not None else _grids(sheet):
            values = wells.setdefault(well, {})
            if key in values:
                first = values[key]
                doubled = f"{key} of well {well} stands twice ({first.address} says {first.text})"
                raise cell.error(f"{doubled}; keep one")
            values[key] = cell
    wells = {well: values for well, values in wells.items() if any(cell.text for cell in values.values())}
    if not wells:
        raise InputError(
            f"{path}: no plate layout in it; write a column well and a column condition, or a grid with the "
            "numbers 1, 2, ... above and the letters A, B, ... on the left"
        )
    return {well: _well(well, values, blind) for well, values in wells.items()}


def is_layout(path: Path) -> bool:
    """Tell a plate layout from a list of stacks: it has a column ``well`` and none ``path``, or a grid.

    Raises:
        InputError: cannot be read as a table.
    """
    sheets = read_sheets(path)
    names = {plain_name(cell.text) for row in sheets[0].rows[:1] for cell in row}
    if "path" in names:
        return False
    return "well" in names or any(_numbered(row) for sheet in sheets for row in sheet.rows)


def _long_header(sheet: Sheet) -> int | None:
    for number, row in enumerate(sheet.rows):
        names = [plain_name(cell.text) for cell in row]
        if any(names):
            return number if "well" in names else None
    return None


def _long(path: Path, sheet: Sheet, header: int) -> list[tuple[str, str, Cell]]:
    names = [plain_name(cell.text) for cell in sheet.rows[header]]
    check_names(path, names)
    units, meant = other_unit(names, ("onset_h",)), misspelled(names, KEYS)
    for name, cell in zip(names, sheet.rows[header], strict=True):
        if name in units:
            raise cell.error(f"column {cell.text}: {units[name]}")
        if name in meant:
            raise cell.error(f"unknown column {cell.text}; {meant[name]}")
    found = []
    for row in sheet.rows[header + 1 :]:
        place = row[names.index("well")]
        if not any(cell.text for cell in row):
            continue
        well = _place(place)
        cells = zip(names, row, strict=True)
        found += [(well, name, cell) for name, cell in cells if name not in ("", "well")]
    return found


def _grids(sheet: Sheet) -> list[tuple[str, str, Cell]]:
    found = []
    title = plain_name(sheet.name) if plain_name(sheet.name) in KEYS else ""
    number = 0
    while number < len(sheet.rows):
        row = sheet.rows[number]
        columns = _numbered(row)
        if not columns:
            texts = [cell for cell in row if cell.text]
            if len(texts) == 1:
                title = _title(texts[0])
            number += 1
            continue
        key = _title(row[columns[0] - 1]) if row[columns[0] - 1].text else title or "condition"
        number += 1
        while number < len(sheet.rows):
            letter = sheet.rows[number][columns[0] - 1]
            if not re.fullmatch(r"[A-Za-z]{1,2}", letter.text):
                break
            for column in columns:
                place = letter._replace(text=letter.text + row[column].text)
                found.append((_place(place), key, sheet.rows[number][column]))
            number += 1
        title = ""
    return found


def _numbered(row: list[Cell]) -> list[int]:
    """The columns of a row that counts 1, 2, 3, ... after a corner cell; empty where it does not."""
    start = next((i for i, cell in enumerate(row) if cell.text == "1" and i > 0), None)
    if start is None or any(cell.text for cell in row[: start - 1]):
        return []
    texts = [cell.text for cell in row[start:]]
    n = next((offset for offset, text in enumerate(texts) if text != str(offset + 1)), len(texts))
    return list(range(start, start + n)) if n > 1 else []


def _title(cell: Cell) -> str:
    key = plain_name(cell.text)
    if key in KEYS:
        return key
    near = nearest(key, KEYS)
    if near:
        raise cell.error(f"{cell.text} is no key of a well; did you mean {near}?")
    return ""


def _place(cell: Cell) -> str:
    place = parse_well(cell.text)
    if place is None or plate_format([place]) is None:
        raise cell.error(f"{cell.text!r} is no well of a plate of up to 1536 wells; write A1 to AF48")
    return well_name(*place)


def _well(well: str, values: Values, blind: bool) -> WellTreatment:
    known: dict[str, object] = {}
    more: dict[str, object] = {}
    for key, cell in values.items():
        if key in NUMBERS:
            known[key] = _number(cell)
        elif key == "exclude":
            known[key] = _reason(cell)
        elif key in KEYS:
            known[key] = cell.text
        elif cell.text:
            more[key] = cell.text
    condition = values.get("condition")
    if condition is not None and condition.text:
        word, moi = _condition(condition)
        known["condition"] = word
        if moi is not None and known.get("moi") not in (None, moi):
            other = values["moi"]
            raise condition.error(f"MOI {moi:g}, but {other.address} says {other.text}; correct one")
        known["moi"] = known.get("moi") if moi is None else moi
    elif condition is None and known.get("moi") is not None:
        known["condition"] = "infected" if known["moi"] else "mock"
    elif known.get("exclude"):
        known["condition"] = "mock"  # an excluded well needs none
    elif blind:
        known["condition"] = UNKNOWN
    else:
        place = condition or next(iter(values.values()))
        raise place.error(f"well {well} has no condition; write infected or mock")
    try:
        return WellTreatment.model_validate(known | {"more": more})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "condition"
        cell = values.get(key) or next(iter(values.values()))
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] != "value_error":
            problem = f"{key}: {problem[0].lower()}{problem[1:]}, got {cell.text!r}; correct it"
        raise cell.error(f"well {well}: {problem}") from None


def _condition(cell: Cell) -> tuple[str, float | None]:
    match = _CONDITION_MOI.fullmatch(cell.text)
    word = match["word"].lower() if match else ""
    if match is None or not (word in CONDITION or (word == "" and match["moi"])):
        raise cell.error(f"condition {cell.text!r} is not known; write infected, mock or MOI 0.1")
    moi = _number(cell._replace(text=match["moi"])) if match["moi"] else None
    return word or ("infected" if moi else "mock"), moi


def _number(cell: Cell) -> float | None:
    return number_in(cell.text, f"{cell.path}: {cell.address}")


def _reason(cell: Cell) -> str:
    if cell.text.lower() in ("yes", "y", "x", "1", "true"):
        return f"marked {cell.text} in {cell.address}"
    return cell.text


class PlateMap(Section):
    """A plate: where its stacks are and the treatment of its wells."""

    plate: Text = option("", "name; empty = the name of the folder")
    folder: str = option(".", "folder (or one file of many images), relative to the plate map")
    pattern: str | None = option(None, "name pattern; null = data.name_pattern")
    interval_h: Hours | None = Field(None, gt=0)
    start_h: Hours | None = None
    allocation: Literal["well", "column", "row", "block", "plate"] | None = Field(
        None, description="to what treatments were given; null = by the layout"
    )
    wells: dict[str, WellTreatment] = Field(min_length=1)


def read_platemap(path: Path, *, blind: bool = False) -> PlateMap:
    """Read a plate map; its wells are named as ``B03``, its folder is absolute.

    Args:
        path: YAML, or a sheet.
        blind: a well without a condition is of an unknown one.

    Raises:
        InputError: not YAML, a well named twice, an unknown key (with the nearest right one), a bad value.
    """
    values: dict[str, Any] = {"wells": str(path)} if path.suffix.lower() in SHEETS else _yaml(path)
    if isinstance(values["wells"], str):
        values = values | {"wells": read_wells(path.parent / Path(values["wells"]).expanduser(), blind=blind)}
    elif blind:
        values = values | {"wells": {name: _unknown(well) for name, well in values["wells"].items()}}
    try:
        plate = PlateMap.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error, PlateMap)}") from None
    names: dict[str, str] = {}
    for name in plate.wells:
        if normal_well(name) in names:
            raise InputError(f"{path}: wells {names[normal_well(name)]} and {name} are one well; keep one")
        names[normal_well(name)] = name
    folder = (path.parent / Path(plate.folder).expanduser()).absolute()
    wells = {well: plate.wells[name] for well, name in names.items()}
    name = plate.plate or folder.resolve().name
    return plate.model_copy(update={"wells": wells, "folder": str(folder), "plate": name})


def _unknown(well: Any) -> Any:
    return {"condition": UNKNOWN} | (well or {}) if well is None or isinstance(well, dict) else well


def _yaml(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    wells = values.get("wells") if isinstance(values, dict) else None
    if not isinstance(wells, (dict, str)):
        raise InputError(f"{path}: no table `wells:` in it; a plate map says the condition of each well")
    if isinstance(wells, str):
        return dict(values)
    return values | {"wells": {str(name): well for name, well in wells.items()}}
