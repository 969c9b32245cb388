"""The tables: what is checked, how errors read, and that a file gives back what was written."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from hpiclock import tables
from hpiclock.errors import InputError
from hpiclock.files import write_csv
from hpiclock.tables import FRAMES, HISTORY, MANIFEST, METRICS, check, read, read_any, write


def manifest(**changes: object) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "stack_id": ["1/A01/p007", "1/A02/p8"],
            "path": ["/plates/one/a.tif", "/plates/one/b.tif"],
            "plate": "1",
            "well": ["A01", "A02"],
            "position": ["007", "8"],
            "condition": ["mock", "infected"],
            "moi": [np.nan, 0.1],
            "n_frames": [3, 4],
            "height": 8,
            "width": 8,
            "dtype": "uint8",
            "interval_h": 0.1,
            "start_h": 0.0,
            "onset_h": [np.nan, 2.0],
        }
    )
    return rows.assign(**changes)


def refusal(rows: pd.DataFrame, table: tables.Table = MANIFEST) -> str:
    with pytest.raises(InputError) as caught:
        check(table, rows, place="m.csv")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_check_orders_columns_keeps_others_and_gives_plain_dtypes() -> None:
    rows = check(MANIFEST, manifest(replicate=["x", "y"])[::-1])
    assert list(rows.columns) == [*MANIFEST.columns, "replicate"]
    assert list(rows.index) == [0, 1]
    assert rows["stack_id"].tolist() == ["1/A02/p8", "1/A01/p007"]
    assert [str(rows[name].dtype) for name in ("n_frames", "moi", "well")] == ["int64", "float64", "object"]


def test_missing_text_is_empty_and_numbers_in_text_columns_become_text() -> None:
    rows = check(MANIFEST, manifest(well=[None, np.nan], position=[7, 8], plate=2))
    assert rows["well"].tolist() == ["", ""]
    assert rows["position"].tolist() == ["7", "8"]
    assert rows["plate"].tolist() == ["2", "2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moi": ["x", 1]}, "row 2, column moi: x is not a number"),
        ({"moi": [np.nan, -1]}, "row 3, column moi: -1.0 is below 0"),
        ({"n_frames": [3, 1.5]}, "row 3, column n_frames: 1.5 is not a whole number"),
        ({"n_frames": [0, 3]}, "row 2, column n_frames: 0 is below 1"),
        ({"n_frames": ["many", 3]}, "row 2, column n_frames: many is not a whole number"),
        ({"n_frames": [None, 3]}, "row 2, column n_frames: the value is missing; fill it in"),
        ({"start_h": [0, np.inf]}, "row 3, column start_h: inf is not finite"),
        ({"start_h": [np.nan, 0]}, "row 2, column start_h: the value is missing"),
        ({"condition": ["mock", "sick"]}, "row 3, column condition: sick is none of infected, mock"),
        ({"condition": ["mock", ""]}, "row 3, column condition: nothing is none of infected, mock"),
        ({"stack_id": ["a", None]}, "row 3, column stack_id: the value is missing"),
        ({"stack_id": "a"}, "row 3: stack_id a stands twice; a manifest table has one row for each"),
    ],
)
def test_an_error_names_the_file_the_row_and_the_column(changes: dict[str, object], message: str) -> None:
    said = refusal(manifest(**changes))
    assert said.startswith("m.csv: ")
    assert message in said


def test_a_missing_column_is_named() -> None:
    said = refusal(manifest().drop(columns=["well", "n_frames"]))
    assert said == "m.csv: column well, n_frames missing; a manifest table needs it"


def frames(**changes: object) -> pd.DataFrame:
    rows = manifest().drop(columns=["n_frames", "height", "width", "dtype", "interval_h", "start_h"])
    rows = rows.assign(frame=0, hours=1.0, hpi=[np.nan, -1.0], label=[0, None], clock="infection")
    return rows.assign(time_target=[1.0, np.nan], split="test", fold=0).assign(**changes)


def test_a_missing_label_stays_missing(tmp_path: Path) -> None:
    for name in ("f.csv", "f.parquet"):
        back = read(FRAMES, write(FRAMES, frames(), tmp_path / name))
        assert str(back["label"].dtype) == "Int8"
        assert back["label"].isna().tolist() == [False, True]
        assert back["label"].iloc[0] == 0


def test_labels_are_0_or_1() -> None:
    assert "row 3, column label: 2 is neither 0 nor 1" in refusal(frames(label=[0, 2]), FRAMES)
    assert "row 3, column label: 0.5 is neither 0 nor 1" in refusal(frames(label=[0, 0.5]), FRAMES)
    assert "row 3, column label: sick is not 0, 1 or empty" in refusal(frames(label=[0, "sick"]), FRAMES)


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_table_comes_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    rows = check(MANIFEST, manifest(interval_h=[0.1, 1 / 3], start_h=[0.1 + 0.2, 1e-17]))
    back = read(MANIFEST, write(MANIFEST, rows, tmp_path / "new" / "folder" / name))
    pd.testing.assert_frame_equal(back, rows, check_exact=True)  # position 007 is not 7


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_folder_that_moves_takes_its_paths_along(tmp_path: Path, name: str) -> None:
    rows = manifest(path=[str(tmp_path / "old" / "stacks" / "a.tif"), ""])
    path = write(MANIFEST, rows, tmp_path / "old" / "run" / name)
    raw = pd.read_csv(path) if name.endswith("csv") else pd.read_parquet(path)
    assert raw["path"].fillna("").tolist() == ["../stacks/a.tif", ""]
    (tmp_path / "old").rename(tmp_path / "new")
    moved = read(MANIFEST, tmp_path / "new" / "run" / name)
    assert moved["path"].tolist() == [str(tmp_path / "new" / "stacks" / "a.tif"), ""]


def test_relative_paths_in_memory_are_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(MANIFEST, manifest(path=["s/a.tif", "s/b.tif"]), "run/m.csv")
    assert read(MANIFEST, "run/m.csv")["path"].tolist() == [os.path.abspath(f"s/{x}.tif") for x in "ab"]


def test_rows_that_fail_are_not_written(tmp_path: Path) -> None:
    write(MANIFEST, manifest(), tmp_path / "m.csv")
    before = (tmp_path / "m.csv").read_bytes()
    with pytest.raises(InputError, match=r"m\.csv: row 3, column condition"):
        write(MANIFEST, manifest(condition=["mock", "sick"]), tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read(MANIFEST, tmp_path / "none.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InputError, match=r"empty\.csv: cannot be read as a table"):
        read(MANIFEST, tmp_path / "empty.csv")
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(InputError, match=r"text\.parquet: cannot be read as a table"):
        read(MANIFEST, tmp_path / "text.parquet")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\x00\x01")
    with pytest.raises(InputError, match=r"bytes\.csv: is not text in UTF-8"):
        read(MANIFEST, tmp_path / "bytes.csv")


def test_a_row_of_a_csv_is_its_line_in_the_file(tmp_path: Path) -> None:
    path = write(MANIFEST, manifest(), tmp_path / "m.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].replace("infected", "sick")]))
    with pytest.raises(InputError, match=r"row 3, column condition: sick"):
        read(MANIFEST, path)
    assert "sick" in path.read_text().splitlines()[3 - 1]


def test_overall_metrics_have_no_window_and_windows_do_not_clash() -> None:
    row = {"run": "r", "split": "test", "group": "all", "metric": "auc", "value": 0.5, "low": np.nan}
    row |= {"high": np.nan, "n": 2, "n_stacks": 1, "n_wells": 1, "n_infected": 1, "note": None}
    overall = pd.DataFrame([row | {"start_h": np.nan, "end_h": np.nan}])
    window = pd.DataFrame([row | {"start_h": 0.0, "end_h": 6.0}])
    assert check(METRICS, pd.concat([overall, window]))["note"].tolist() == ["", ""]
    assert "stands twice" in refusal(pd.concat([overall, overall]), METRICS)


def test_history_counts_epochs_from_1() -> None:
    rows = pd.DataFrame({"epoch": [0], "split": "val", "metric": "auc", "value": 0.5})
    assert "row 2, column epoch: 0 is below 1" in refusal(rows, HISTORY)


PEOPLE = pd.DataFrame({"stack_id": ["a", "b"], "hours": [0.5, 1.5], "note": ["x, y; z", "-"], "n": [1, 2]})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", ["", "sep={}\n", '"SEP={}"\r\n'])
@pytest.mark.parametrize(
    ("separator", "decimal"),
    [(",", "."), (";", ","), (";", "."), ("\t", ","), ("\t", "."), ("|", ","), ("|", ".")],
)
def test_a_csv_of_any_spreadsheet_is_read(
    tmp_path: Path, separator: str, decimal: str, first: str, encoding: str
) -> None:
    path = tmp_path / "t.csv"
    text = first.format(separator) + PEOPLE.to_csv(index=False, sep=separator, decimal=decimal)
    path.write_bytes(text.encode(encoding))
    pd.testing.assert_frame_equal(read_any(path), PEOPLE)


FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "'=1",
    "''-x",
    "\uff1d1",
    "=",
    "--",
    "-",
]
PLAIN = ["a", "", "'a", "-1", "-1.5e3", "a=b", "7", "it's"]


@seed(0)
@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from(FORMULAS + PLAIN), st.text("=+-@'\t0a", max_size=4)), min_size=1, max_size=5
    )
)
def test_no_text_in_a_csv_is_a_formula_and_all_reads_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "t.csv"
    table = pd.DataFrame({"stack_id": texts, "=cmd()": "@x", "n": -1.5})
    write_csv(table, path)
    raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    for text in [*raw["stack_id"], *raw.iloc[:, 1], *raw.columns]:
        number = text.lstrip("-+").replace(".", "", 1).replace("e", "", 1).replace("+", "", 1).isdigit()
        assert number or text in ("+", "-") or text[:1] not in tuple("=+-@\t\r"), text
    assert raw["n"].eq("-1.5").all()
    back = read_any(path)
    assert list(back) == list(table)
    assert back["stack_id"].fillna("").tolist() == texts


def test_a_table_is_written_without_formulas(tmp_path: Path) -> None:
    table = pd.DataFrame([{"epoch": 1, "split": "val", "metric": "=1", "value": 1.0}])
    assert "'=1" in write(HISTORY, table, tmp_path / "h.csv").read_text()
    assert read(HISTORY, tmp_path / "h.csv")["metric"].tolist() == ["=1"]


def no_table(folder: Path, kind: str) -> Path:
    """A plain file that is no table."""
    path = folder / "t.csv"
    if kind == "binary":
        path.write_bytes(b"PK\3\4 not really")
    elif kind == "wide":
        path.write_text(",".join(f"c{n}" for n in range(200_000)) + "\n")
    elif kind == "doubled":
        path.write_text("a,a\n1,2\n")
    elif kind == "shifted":
        path.write_text("a,b\n1,2,3\n4,5,6\n")
    elif kind == "wide parquet":
        path = folder / "t.parquet"
        pq.write_table(pa.table({f"c{n}": [1] for n in range(6000)}), path)
    elif kind == "nested parquet":
        path = folder / "t.parquet"
        pq.write_table(pa.table({"a": [[1, 2]]}), path)
    elif kind == "bytes parquet":
        path = folder / "t.parquet"
        pq.write_table(pa.table({"a": [b"x\xff"]}), path)
    elif kind == "no parquet":
        path = folder / "t.parquet"
        path.write_bytes(b"PAR1 PAR1")
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("none", "no such file; correct the name"),
        ("fifo", "is a FIFO, not a file"),
        ("folder", "is a folder, not a file"),
        ("loop", "cannot be read (Too many levels"),
        ("device", "is a device, not a file"),
        ("long", "cannot be read (File name too long)"),
        ("binary", "is not text in UTF-8; save it as CSV UTF-8 or Parquet"),
        ("wide", "200,000 columns, a table may have 5,000"),
        ("doubled", "column a stands twice; keep one"),
        ("shifted", "rows have more cells than the header"),
        ("wide parquet", "of 6,000 columns, a table may have"),
        ("nested parquet", "column a holds list<"),
        ("bytes parquet", "column a holds bytes, not text; write it as text"),
        ("no parquet", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused_at_once_in_one_line(
    tmp_path: Path, special_file: Callable[..., Path], kind: str, words: str
) -> None:
    is_special = kind in ("fifo", "folder", "loop", "device", "long")
    path = special_file(kind) if is_special else no_table(tmp_path, kind)
    with pytest.raises(InputError) as refused:
        read_any(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
