"""The tidy tables that pass between the rooms: columns, dtypes, units, keys.

Every table has one row per observation and fixed column names with the unit in the name (``_h`` = hours).
:func:`check` is called at every read and write. Columns that a table does not know are kept.
Large tables are Parquet, small ones CSV; the column ``path`` is absolute in memory and relative to the
file that holds it on disk, so that a folder can be moved.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow.parquet as pq
import pyarrow.types as pa_types
from pyarrow import ArrowException

from hpiclock.errors import InputError, nearest
from hpiclock.files import as_written, atomic, check_file, make_folder, read_text, write_csv

IDENTITY = ["stack_id", "path", "plate", "well", "position", "condition", "moi", "onset_h"]
CONDITIONS = ("infected", "mock")
UNKNOWN = "unknown"  # the condition of a stack of a new plate whose source does not say it
SPLITS = ("train", "val", "test")
CLOCKS = ("infection", "experiment")


class Table(NamedTuple):
    """A table's name, its columns and the columns that identify a row."""

    name: str
    columns: dict[str, pa.Column]
    key: tuple[str, ...]

    @property
    def schema(self) -> pa.DataFrameSchema:
        """The pandera schema that :func:`check` applies."""
        return pa.DataFrameSchema(self.columns, unique=list(self.key), strict=False)


def _text(*among: str, filled: bool = False) -> pa.Column:
    # check() has made it text, and missing is ""
    checks = [pa.Check.isin(among, error=f"is none of {', '.join(among)}")] if among else []
    checks += [pa.Check.ne("", error="is missing")] if filled else []
    return pa.Column(object, checks)


def _number(low: float | None = None, high: float | None = None, *, missing: bool = False) -> pa.Column:
    checks = [pa.Check(np.isfinite, error="is not finite", ignore_na=True)]
    checks += [pa.Check.ge(low, error=f"is below {low:g}")] if low is not None else []
    checks += [pa.Check.le(high, error=f"is above {high:g}")] if high is not None else []
    return pa.Column(float, checks, nullable=missing, coerce=True)


def _count(low: int | None = 0) -> pa.Column:
    # Int64 refuses 1.5, int64 would cut it to 1; check() hands back plain int64
    checks = pa.Check.ge(low, error=f"is below {low}") if low is not None else None
    return pa.Column("Int64", checks, coerce=True)


KINDS = {"Int64": "a whole number", "Int8": "0, 1 or empty", "float64": "a number"}  # dtype -> in words

_IDENTITY = {
    "stack_id": _text(filled=True),
    "path": _text(),
    "plate": _text(),
    "well": _text(),
    "position": _text(),
    "condition": _text(*CONDITIONS),
    "moi": _number(0, missing=True),
    "onset_h": _number(missing=True),
}

MANIFEST = Table(
    "manifest",
    _IDENTITY
    | {
        "n_frames": _count(1),
        "height": _count(1),
        "width": _count(1),
        "dtype": _text(),
        "interval_h": _number(0, missing=True),
        "start_h": _number(),
    },
    key=("stack_id",),
)

FRAMES = Table(
    "frames",
    _IDENTITY
    | {
        "frame": _count(),
        "hours": _number(),
        "hpi": _number(missing=True),
        # missing = before the onset under `drop`: predicted, never trained on, never scored
        "label": pa.Column(
            "Int8", pa.Check.isin([0, 1], error="is neither 0 nor 1"), nullable=True, coerce=True
        ),
        "clock": _text(*CLOCKS),
        "time_target": _number(missing=True),
        "split": _text(*SPLITS),
        "fold": _count(),
    },
    key=("stack_id", "frame"),
)

TIME_HEADS = ("time_mock", "time_infected")  # hours, of a model with a time head per clock; see time_given
PREDICTIONS = Table(
    "predictions",
    FRAMES.columns
    | {
        "run": _text(),
        "seed": _count(None),
        "p_infected": _number(0, 1, missing=True),
        "time_pred": _number(missing=True),
    },
    key=("run", "fold", "seed", "stack_id", "frame"),
)

# The wells of new plates may be of unknown condition.
_BLIND = {"condition": _text(*CONDITIONS, UNKNOWN)}
NEW_MANIFEST = Table("manifest", MANIFEST.columns | _BLIND, key=MANIFEST.key)
NEW_PREDICTIONS = Table("predictions", PREDICTIONS.columns | _BLIND, key=PREDICTIONS.key)

METRICS = Table(
    "metrics",
    {
        "run": _text(),
        "split": _text(),
        "group": _text(),
        "start_h": _number(missing=True),
        "end_h": _number(missing=True),
        "metric": _text(),
        "value": _number(missing=True),
        "low": _number(missing=True),
        "high": _number(missing=True),
        "n": _count(),
        "n_stacks": _count(),
        "n_wells": _count(),
        "n_infected": _count(),
        "note": _text(),
    },
    key=("run", "split", "group", "start_h", "end_h", "metric"),
)

HISTORY = Table(
    "history",
    {"epoch": _count(1), "split": _text(*SPLITS), "metric": _text(), "value": _number(missing=True)},
    key=("epoch", "split", "metric"),
)

# Columns that are read as text: position 007 must not become 7.
TEXT = {
    name
    for table in (MANIFEST, FRAMES, PREDICTIONS, METRICS, HISTORY)
    for name, column in table.columns.items()
    if column.dtype == _text().dtype
} | {"method"}  # of the intervals in metrics.csv; runs of 0.1.0 have no such column


def time_given(rows: pd.DataFrame, infected: np.ndarray) -> np.ndarray:
    """Return the predicted time where the class is given: (rows,) hours.

    A model with a time head per clock (columns ``time_mock time_infected``) says one time for each class; of
    another ``time_pred`` is the time whatever the class.

    Args:
        rows: PREDICTIONS.
        infected: (rows,) bool, the class: the true one, under the true clock, or the predicted one.
    """
    if "time_infected" not in rows.columns:
        return rows["time_pred"].to_numpy(float)
    of_class = np.where(infected, rows["time_infected"], rows["time_mock"])
    # a table of several runs may hold models of both kinds
    return np.where(np.isnan(of_class), rows["time_pred"], of_class).astype(float)


def under_true_clock(rows: pd.DataFrame) -> pd.DataFrame:
    """Return PREDICTIONS with the ``time_pred`` that the model says where the true class is given."""
    given = time_given(rows, rows["label"].eq(1).fillna(False).to_numpy(bool))
    return rows.assign(time_pred=np.where(rows["label"].isna(), rows["time_pred"], given))


def check(table: Table, data: pd.DataFrame, *, place: str = "") -> pd.DataFrame:
    """Return ``data`` with the table's dtypes and column order, other columns after them.

    Args:
        table: one of the tables of this module.
        data: the rows.
        place: the file the rows come from, for the error.

    Raises:
        InputError: a missing column, a value of the wrong kind or range, or a duplicated key; the message
            names the file, the row (as a line of a CSV file: the header is line 1) and the column.
    """
    place = place or table.name
    missing = [name for name in table.columns if name not in data.columns]
    if missing:
        raise InputError(f"{place}: column {', '.join(missing)} missing; a {table.name} table needs it")
    ordered = [*table.columns, *(name for name in data.columns if name not in table.columns)]
    data = data[ordered].reset_index(drop=True)
    for name in TEXT.intersection([*table.columns, "method"]).intersection(data.columns):
        data[name] = _as_text(data[name])
    try:
        data = table.schema.validate(data, lazy=True)
    except pa.errors.SchemaErrors as errors:
        raise InputError(f"{place}: {_first_failure(table, data, errors.failure_cases)}") from None
    counts = [name for name in table.columns if str(data[name].dtype) == "Int64"]
    return data.astype(dict.fromkeys(counts, "int64"))


def _as_text(values: pd.Series) -> pd.Series:
    kinds = values.astype("category").cat  # few distinct values: convert each once
    return values.map({kind: str(kind) for kind in kinds.categories}).astype(object).fillna("")


def _first_failure(table: Table, data: pd.DataFrame, cases: pd.DataFrame) -> str:
    doubled = data.duplicated(list(table.key))
    if doubled.any() and cases["check"].eq("multiple_fields_uniqueness").all():
        row = int(np.flatnonzero(doubled)[0])
        key = ", ".join(f"{name} {data[name].iloc[row]}" for name in table.key)
        return f"row {row + 2}: {key} stands twice; a {table.name} table has one row for each"
    first = cases[cases["check"] != "multiple_fields_uniqueness"].iloc[0]
    rule, name, value, row = str(first["check"]), first["column"], first["failure_case"], first["index"]
    if rule.startswith(("coerce_dtype", "dtype")):
        rule = f"is not {KINDS[str(table.columns[name].dtype)]}"
        if pd.isna(row):  # pandas does not say which fraction it will not make a whole number
            row = int(np.flatnonzero(pd.to_numeric(data[name], errors="coerce") % 1 != 0)[0])
            value = data[name].iloc[row]
    where = f"row {int(row) + 2}, column {name}: "
    if rule == "not_nullable" or (rule == "is missing" and value == ""):
        return f"{where}the value is missing; fill it in"
    return f"{where}{str(value) or 'nothing'} {rule}; correct it"


def read(table: Table, path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file and check it.

    Raises:
        InputError: no such file, not such a file, or rows that fail :func:`check`.
    """
    return check(table, read_any(path), place=str(path))


MOST_COLUMNS = 5000
MOST_ROWS = 50_000_000
MOST_BYTES = 4_000_000_000
SEPARATORS = ",;\t|"
_SAMPLE = 100_000  # characters from which the separator is told
_DECIMAL_COMMA = re.compile(r"(?:^|[;\t|])-?\d+,\d+(?:[;\t|]|$)", re.MULTILINE)
# of one hour; a name of hours with another unit
UNITS = {"ms": 3.6e6} | dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 3600.0)
UNITS |= dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0)
UNITS |= dict.fromkeys(("d", "day", "days"), 1 / 24) | dict.fromkeys(
    ("", "h", "hr", "hrs", "hour", "hours"), 1.0
)


def delimited(path: Path, remedy: str) -> tuple[str, str]:
    """Return the text of a CSV file and its separator: as a line ``sep=;`` says, or as most lines agree on.

    Raises:
        InputError: not a text file, or one of too many columns.
    """
    text = read_text(path, remedy, most=MOST_BYTES, what="table")
    if said := re.match(r"\s*\"?sep=(.)\"?[ \t]*(?:\r\n|\r|\n)", text, re.IGNORECASE):
        text, separator = text[said.end() :], said[1]
    else:
        separator = max(SEPARATORS, key=lambda sign: _agreeing_lines(text[:_SAMPLE], sign))
    if (n := text.partition("\n")[0].count(separator) + 1) > MOST_COLUMNS:
        raise InputError(
            f"{path}: {n:,} columns, a table may have {MOST_COLUMNS:,}; keep those that are needed"
        )
    return text, separator


def _agreeing_lines(sample: str, separator: str) -> int:
    try:
        widths = Counter(len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator))
    except csv.Error:
        return 0
    return max((times for width, times in widths.items() if width > 1), default=0)


def plain_name(text: str) -> str:
    """Return the name of a column as the tables write it: ``Onset (h)`` is ``onset_h``."""
    return re.sub(r"\W+", "_", text.strip().lower()).strip("_")


# how hours since imaging start are called, too; with a unit behind it, or the unit alone
HOURS_STEMS = ("hours", "time", "t_", "elapsed_time", "elapsed", "")
SHORTEST_UNIT = 3  # letters of a unit that stands alone: m and s are names of many things


def other_unit(names: Iterable[str], of_hours: Iterable[str]) -> dict[str, str]:
    """Return what to do with each column that gives hours of the tables in another unit, or in none.

    ``minutes`` and ``time_min`` are ``hours`` in another unit where the table has none. A ``day`` or a
    ``time`` alone may be a date, and is none.

    Args:
        names: the columns of a table.
        of_hours: names of columns in hours, such as ``onset_h``.
    """
    found = {}
    plain = {plain_name(name): name for name in names}
    for wanted in of_hours:
        for name, written in plain.items() if wanted not in plain else ():
            unit = _unit_of(name, wanted)
            if unit is not None and name != wanted:
                size = UNITS[unit]
                how = (
                    f"divide it by {size:g} and "
                    if size > 1
                    else "multiply it by 24 and "
                    if size < 1
                    else ""
                )
                found[written] = f"hours are needed; {how}call it {wanted}"
    return found


def _unit_of(name: str, wanted: str) -> str | None:
    """The unit behind a column's name where the name is one of ``wanted``, a column in hours."""
    for stem in HOURS_STEMS if wanted == "hours" else (wanted.removesuffix("_h"),):
        unit = name.removeprefix(stem).lstrip("_")
        named = unit or stem == wanted.removesuffix("_h")
        if name.startswith(stem) and unit in UNITS and named:
            alone = not stem and (len(unit) < SHORTEST_UNIT or UNITS[unit] < 1)
            return None if alone else unit
    return None


def misspelled(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return what each column is probably meant to be whose name is nearly a known one that is not there.

    Args:
        names: the columns of a table.
        known: the names that would be read.
    """
    plain = {plain_name(name): name for name in names}
    free = [name for name in known if name not in plain]
    near = {written: nearest(name, free, 0.8) for name, written in plain.items() if name not in known}
    return {
        name: f"did you mean {meant}? If not, give it another name" for name, meant in near.items() if meant
    }


def check_names(path: str | Path, names: Iterable[str]) -> None:
    """Refuse a table in which two columns have one name.

    Raises:
        InputError: it names them.
    """
    doubled = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if doubled:
        raise InputError(f"{path}: column {', '.join(doubled)} stands twice; keep one")


def read_any(path: str | Path, needs: str = "") -> pd.DataFrame:
    """Read a CSV or Parquet file; text columns of the tables as text, a relative ``path`` made absolute.

    Args:
        path: the file.
        needs: columns that it must have, separated by spaces.

    Raises:
        InputError: no such file, a file that is neither, or one without such a column.
    """
    path = Path(path)
    check_file(path, "correct the name")
    try:
        data = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except InputError:
        raise
    except (ValueError, OSError, ArrowException, MemoryError) as error:
        raise InputError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    if lacking := [name for name in needs.split() if name not in data.columns]:
        raise InputError(f"{path}: column {', '.join(lacking)} missing; put the file back, or make it anew")
    if "path" in data.columns:
        base = os.path.abspath(path.parent)
        data["path"] = [os.path.normpath(os.path.join(base, p)) if p else "" for p in data["path"].fillna("")]
    return data


def _read_parquet(path: Path) -> pd.DataFrame:
    about = pq.read_metadata(path)
    if about.num_columns > MOST_COLUMNS or about.num_rows > MOST_ROWS:
        size = f"{about.num_rows:,} rows of {about.num_columns:,} columns"
        raise InputError(
            f"{path}: {size}, a table may have {MOST_ROWS:,} of {MOST_COLUMNS:,}; keep what is needed"
        )
    fields = about.schema.to_arrow_schema()
    check_names(path, fields.names)
    for field in fields:
        if pa_types.is_nested(field.type):
            raise InputError(
                f"{path}: column {field.name} holds {field.type}, not one value a row; take it out"
            )
        if pa_types.is_binary(field.type) or pa_types.is_large_binary(field.type):
            raise InputError(f"{path}: column {field.name} holds bytes, not text; write it as text")
    data = pd.read_parquet(path)
    kinds = {name: kind.categories.dtype for name, kind in data.dtypes.items() if hasattr(kind, "categories")}
    return data.astype(kinds)


def _read_csv(path: Path) -> pd.DataFrame:
    text, separator = delimited(path, "save it as CSV UTF-8 or Parquet")
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    check_names(path, names)
    data = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        decimal="," if separator != "," and _DECIMAL_COMMA.search(text[:_SAMPLE]) else ".",
        float_precision="round_trip",
        dtype={name: str for name in names if plain_name(name) in TEXT},
        low_memory=False,
    )
    if not isinstance(data.index, pd.RangeIndex):  # pandas would take the first column for the index
        raise InputError(f"{path}: rows have more cells than the header; correct the header or the separator")
    return as_written(data)


def has_columns(path: Path, names: Iterable[str]) -> bool:
    """Return whether a file is a CSV or Parquet table that has these columns."""
    try:
        if path.suffix == ".parquet":
            found = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8") as lines:
                found = next(csv.reader(lines), [])
    except (OSError, ValueError, csv.Error):
        return False
    return set(names) <= set(found)


def table_of(rows: Iterable[Any], columns: str) -> pd.DataFrame:
    """Return rows (dictionaries or tuples) as a table of these columns, also where there are none.

    Args:
        rows: one per row of the table.
        columns: their names in order, separated by spaces.
    """
    return pd.DataFrame(list(rows), columns=columns.split())


def write(table: Table, data: pd.DataFrame, path: str | Path) -> Path:
    """Check the rows and write them atomically, as Parquet or CSV by the suffix of ``path``.

    Raises:
        InputError: rows that fail :func:`check`, or a place that cannot be written.
    """
    path = Path(path)
    data = check(table, data, place=str(path))
    if "path" in data.columns:
        base = os.path.abspath(path.parent)
        data["path"] = [Path(os.path.relpath(p, base)).as_posix() if p else "" for p in data["path"]]
    make_folder(path.parent)
    if path.suffix != ".parquet":
        write_csv(data, path)
        return path
    with atomic(path) as partial:
        data.to_parquet(partial, index=False)
    return path


def n_wells(rows: pd.DataFrame) -> int:
    """Return of how many wells the rows are (B03 of two plates are two); 0 where wells are not given."""
    return len(rows.loc[rows["well"].ne(""), ["plate", "well"]].drop_duplicates())


SAME_H = 1e-6  # hours that differ by less are equal: 3 * 0.1 h is 0.30000000000000004 h


def frame_interval_h(rows: pd.DataFrame) -> float:
    """Return the median hours between neighbouring frames of a stack; NaN when no stack has two.

    Args:
        rows: with ``stack_id`` and ``hours``; frames that stand in several runs count once.
    """
    stack, hours = pd.factorize(rows["stack_id"])[0], rows["hours"].to_numpy(float)
    order = np.lexsort((hours, stack))
    steps = np.diff(hours[order])[np.diff(stack[order]) == 0]
    steps = steps[steps != 0]
    return float(np.median(steps)) if len(steps) else float("nan")


SECOND_H, DAY_H = 1 / 3600, 24.0  # frames of an infection are farther apart, and closer
LONGEST_H = 31 * 24.0  # no time-lapse of one infection runs for longer


def doubtful_interval(interval_h: float, n_frames: int, by: str) -> str:
    """Return why frames so far apart are hardly those of an infection; empty where they may be.

    Args:
        interval_h: hours between neighbouring frames.
        n_frames: how many there are.
        by: who says so, such as ``data.interval_h``.
    """
    if SECOND_H * 1.01 < interval_h <= DAY_H:
        return ""
    apart = f"{interval_h:g} h" if interval_h > DAY_H else f"{interval_h * 3600:.3g} s"
    lasts = interval_h * (n_frames - 1)
    whole = f"{lasts:,.0f} h" if lasts >= 1 else f"{lasts * 3600:.3g} s"
    return f"frames {apart} apart by {by}, {whole} in all, are not those of an infection"


def doubtful_hours(rows: pd.DataFrame, by: str) -> str:
    """Return what :func:`doubtful_interval` says of the first stack of three frames or more with such hours.

    Args:
        rows: with ``stack_id`` and ``hours``; frames that stand in several runs count once.
        by: who says the hours.
    """
    for stack, hours in rows.groupby("stack_id", sort=False)["hours"]:
        steps = np.diff(np.unique(hours.dropna()))
        if len(steps) > 1 and (why := doubtful_interval(float(np.median(steps)), len(steps) + 1, by)):
            return f"stack {stack}: {why}"
    return ""


def hour_strata(rows: pd.DataFrame) -> np.ndarray:
    """Return one integer per row, (rows,): frames with the same integer are of the same hour.

    Hours are counted in frame intervals of the rows given (:func:`frame_interval_h`; 1 h for stills) and
    rounded, half an interval up.

    Args:
        rows: with ``stack_id`` and ``hours``.
    """
    step = frame_interval_h(rows)
    hours = rows["hours"].to_numpy(float)
    return np.floor((hours + SAME_H) / (step if step > 0 else 1.0) + 0.5).astype(np.int64)


def plate_hour_strata(rows: pd.DataFrame) -> np.ndarray:
    """Return one integer per row, (rows,): frames with the same integer are of the same plate and hour.

    Matched controls and the stratified AUC (Janes and Pepe 2009) compare frames of one stratum. Plates that
    hold one condition alone have no frame to compare with on themselves; they are taken together.

    Args:
        rows: with ``stack_id``, ``plate``, ``condition`` and ``hours``.
    """
    plate, infected = pd.factorize(rows["plate"])[0], rows["condition"].eq("infected").to_numpy()
    both = np.intersect1d(plate[infected], plate[~infected])
    hour = hour_strata(rows)
    hour = hour - hour.min(initial=0)
    return np.where(np.isin(plate, both), plate + 1, 0) * (hour.max(initial=0) + 1) + hour
