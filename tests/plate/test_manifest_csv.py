"""The manifest CSV: what it must say, what it may say, and the line that tells what is wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpiclock import tables
from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import load_manifest

Refusal = Callable[..., str]
ONSET_H = 1.5


@pytest.fixture
def stacks(tmp_path: Path, write_stack: Callable[..., Path]) -> Path:
    for name in ("a", "b", "s1_c2_p7"):
        write_stack(tmp_path / "run7" / f"{name}.tif")
    return tmp_path / "run7"


def listed(folder: Path, text: str, name: str = "list.csv") -> DataConfig:
    (folder / name).write_text(text, encoding="utf-8")
    return DataConfig(source=str(folder / name))


def test_path_and_condition_are_enough(stacks: Path) -> None:
    manifest, notes = load_manifest(
        listed(stacks, "path,condition\na.tif,infected\nb.tif,mock\n"), ONSET_H, need_both=True
    )
    assert list(manifest["stack_id"]) == ["run7/a", "run7/b"]
    assert list(manifest["plate"]) == ["run7", "run7"]
    assert list(manifest["well"]) == ["", ""]
    assert manifest["interval_h"].eq(0.5).all()
    np.testing.assert_array_equal(manifest["onset_h"], [ONSET_H, np.nan])
    assert len(notes) == 1
    assert notes[0].startswith("run7: 2 of 2 stacks are of an unknown well: they cannot be grouped by well; ")


def test_optional_columns_win_over_config_and_names(stacks: Path) -> None:
    text = (
        "path,condition,plate,well,position,moi,start_h,onset_h,interval_h,donor,passage\n"
        "s1_c2_p7.tif,infected,P1,d3,9,0.5,2,4,0.5,anna,3\n"
        "b.tif,mock,P1,d4,1,,,,,bert,\n"
    )
    manifest, notes = load_manifest(listed(stacks, text), ONSET_H)
    assert notes == []
    assert list(manifest["stack_id"]) == ["P1/D03/p9", "P1/D04/p1"]
    assert list(manifest["start_h"]) == [2.0, 0.0]
    np.testing.assert_array_equal(manifest["moi"], [0.5, np.nan])
    np.testing.assert_array_equal(manifest["onset_h"], [4.0, np.nan])
    assert list(manifest["donor"]) == ["anna", "bert"]  # other columns are kept
    np.testing.assert_array_equal(manifest["passage"], [3.0, np.nan])


def test_what_the_table_leaves_open_the_name_may_say(stacks: Path) -> None:
    manifest, _ = load_manifest(
        listed(stacks, "path,condition\ns1_c2_p7.tif,infected\nb.tif,mock\n"), ONSET_H
    )
    assert list(manifest["stack_id"]) == ["run7/C02/p7", "run7/b"]


@pytest.mark.parametrize("word", ["mock", "uninfected", "Control", "MOCK"])
def test_words_for_mock(stacks: Path, word: str) -> None:
    manifest, _ = load_manifest(listed(stacks, f"path,condition\na.tif,{word}\n"), ONSET_H)
    assert list(manifest["condition"]) == ["mock"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_as_spreadsheets_write_it(stacks: Path, separator: str) -> None:
    rows = [["path", " condition", "moi"], ["a.tif", "infected ", "0.1"], ["b.tif", "mock", ""], ["", "", ""]]
    text = "\ufeff" + "".join(separator.join(row) + "\r\n" for row in rows)
    manifest, _ = load_manifest(listed(stacks, text), ONSET_H)
    assert list(manifest["condition"]) == ["infected", "mock"]


def test_paths_are_relative_to_the_table_or_absolute(stacks: Path, tmp_path: Path) -> None:
    text = f"path,condition\nrun7/a.tif,infected\nrun7\\b.tif,mock\n{stacks / 's1_c2_p7.tif'},mock\n"
    manifest, _ = load_manifest(listed(tmp_path, text), ONSET_H)
    assert list(manifest["path"]) == [str(stacks / name) for name in ("a.tif", "b.tif", "s1_c2_p7.tif")]


def test_stills_with_hours_are_stacks_of_one_frame(tmp_path: Path, refusal: Refusal) -> None:
    for name, colour in (("x.png", 10), ("y.png", 200)):
        Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(tmp_path / name)
    text = "path,condition,well,position,hours\nx.png,infected,a1,1,2.5\ny.png,infected,a1,1,30\n"
    source = listed(tmp_path, text)
    assert "3 channels; set data.channel" in refusal(source)
    manifest, notes = load_manifest(source.model_copy(update={"channel": "grey"}), ONSET_H)
    assert notes == []
    assert list(manifest["start_h"]) == [2.5, 30.0]
    assert list(manifest["n_frames"]) == [1, 1]
    # one position at two times: the hour tells them apart
    assert list(manifest["stack_id"]) == [f"{tmp_path.name}/A01/p1/t2.5", f"{tmp_path.name}/A01/p1/t30"]


@pytest.mark.parametrize("header", ["day", "time", "m", "temperature", "passage_d"])
def test_a_column_that_may_be_something_else_is_kept(stacks: Path, header: str) -> None:
    manifest, _ = load_manifest(listed(stacks, f"path,condition,{header}\na.tif,mock,1\n"), ONSET_H)
    assert manifest[header].tolist() == [1.0]


@pytest.mark.parametrize(
    ("step", "said"), [(30, "frames 30 h apart by the hours of stills, 60 h in"), (24, "")]
)
def test_stills_whose_hours_are_minutes_are_questioned(tmp_path: Path, step: int, said: str) -> None:
    rows = ["path,condition,well,hours"]
    for number in range(6):
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,mock,a{number % 2 + 1},{number // 2 * step}")
    _, notes = load_manifest(listed(tmp_path, "\n".join(rows)), ONSET_H)
    found = [note for note in notes if "infection" in note]
    assert len(found) == bool(said)
    assert said in "".join(found)


def test_hours_of_a_stack_of_many_frames_are_refused(stacks: Path, refusal: Refusal) -> None:
    assert "hours is for stills, the file holds 3 frames; use start_h" in refusal(
        listed(stacks, "path,condition,hours\na.tif,mock,3\n")
    )


def test_a_donor_that_holds_both_conditions_is_noted(stacks: Path) -> None:
    text = "path,condition,well\na.tif,infected,slide 7\nb.tif,mock,slide 7\n"
    manifest, notes = load_manifest(listed(stacks, text), ONSET_H)
    assert list(manifest["well"]) == ["slide 7", "slide 7"]
    assert notes == [f"{stacks / 'a.tif'}: well slide 7 of plate run7 is infected and mock at once"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("seris", "series"),
        ("Wells", "well"),
        ("conditon", "condition"),
        ("n_frame", "n_frames"),
        ("compuond", "compound"),
    ],
)
@pytest.mark.parametrize("blind", [False, True])
def test_a_column_nearly_named_like_one_that_is_not_there_is_refused(
    stacks: Path, refusal: Refusal, name: str, meant: str, blind: bool
) -> None:
    header, row = ("path", "a.tif") if meant == "condition" else ("path,condition", "a.tif,mock")
    table = listed(stacks, f"{header},{name}\n{row},2\n")
    words = f"list.csv: unknown column {name}; did you mean {meant}? If not, give it another name"
    assert refusal(table, blind=blind).endswith(words)


def test_a_column_far_from_any_other_is_kept(stacks: Path) -> None:
    header = "path,condition,well,series,passage,serie"  # series is there
    manifest, notes = load_manifest(listed(stacks, f"{header}\na.tif,mock,a1,2,7,8\n"), ONSET_H)
    assert manifest[["passage", "serie"]].to_numpy().tolist() == [[7, 8]]
    assert notes == []


def test_stated_frame_count_that_differs_is_noted(stacks: Path) -> None:
    _, notes = load_manifest(listed(stacks, "path,condition,well,n_frames\na.tif,mock,a1,95\n"), ONSET_H)
    assert notes == [f"{stacks / 'a.tif'}: the table says 95 frames, the file holds 3"]


@pytest.mark.parametrize(
    ("name", "said", "read"),
    [
        ("height", "8", "16"),
        ("dtype", "uint16", "uint8"),
        ("grey_max", "9999", "{}"),
        ("pixel_um", "0.65", "nothing"),
        ("bit_depth", "twelve", "nothing"),
        ("stack_id", "first", "run7/A01/a"),
        ("times_h", "[0, 1]", "nothing"),
    ],
)
def test_what_a_table_says_otherwise_than_its_file_is_not_used_and_said(
    stacks: Path, name: str, said: str, read: str
) -> None:
    same = "path,condition,well\na.tif,mock,a1\n"
    known, notes = load_manifest(listed(stacks, same), ONSET_H)
    assert notes == []
    text = f'path,condition,well,{name}\na.tif,mock,a1,"{said}"\n'
    manifest, (note,) = load_manifest(listed(stacks, text), ONSET_H)
    assert manifest.equals(known)
    read = read.format(*known.get("grey_max", []))
    differ = f"1 stack differ (a.tif: {said} is stated, {read} is read)"
    assert note == f"column {name} is not used, the files are: {differ}; take the column out"


def test_a_manifest_that_was_written_is_read_again_without_a_word(stacks: Path) -> None:
    kept = listed(stacks, "path,condition,well\na.tif,mock,a1\nb.tif,mock,b1\n")
    manifest, _ = load_manifest(kept, ONSET_H)
    tables.write(tables.MANIFEST, manifest.assign(empty_frames="[0]"), stacks / "written.csv")
    again, notes = load_manifest(DataConfig(source=str(stacks / "written.csv")), ONSET_H)
    assert notes == []
    assert again.equals(manifest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.tif,1\n", "column path, condition missing (there are file, label)"),
        ("path,condition\n", "no rows in it"),
        ("", "the file is empty"),
        ("path,condition\na.tif,infceted\n", "row 2, column condition: condition 'infceted' is not known"),
        (
            "path,condition,moi\na.tif,mock,\nb.tif,infected,high\n",
            "row 3, column moi: 'high' is not a number",
        ),
        ("path;condition;moi\na.tif;infected;0,1\n", "row 2, column moi: '0,1' is not a number; write 0.1"),
        ("path,condition,moi\na.tif,infected,-1\n", "row 2, column moi: -1 cannot be"),
        ("path,condition,interval_h\na.tif,infected,0\n", "column interval_h: 0 cannot be"),
        ("path,condition,moi\na.tif,mock,5\n", "row 2, column moi: mock with MOI 5"),
        ("path,condition,hours,start_h\na.tif,mock,5,4\n", "row 2: hours and start_h differ"),
        ("path,condition\n,mock\n", "row 2, column path: is empty"),
        ("path,condition,start_h\na.tif,mock,2e6\n", "row 2, column start_h: 2e6 cannot be"),
        ("path,condition,onset_h\na.tif,infected,-10001\n", "row 2, column onset_h: -10001 cannot be"),
        (f"path,condition,n_frames\na.tif,mock,{'9' * 5000}\n", "is not a whole number; correct it"),
        ("path,condition,hours\na.tif,mock,1e300\n", "row 2, column hours: 1e300 cannot be"),
        ("path,condition\na.tif,mock,5\n", "row 2 has more cells than the header; correct the row"),
        ("path,condition,path\na.tif,mock,b.tif\n", "column path stands twice"),
        (
            "path,condition\na.tif,mock\na.tif,mock\n",
            "a.tif: listed twice (list.csv row 2 and list.csv row 3)",
        ),
        ("path,condition\nz.tif,mock\n", "z.tif: no such file"),
    ],
)
def test_a_wrong_table_is_one_line_that_names_row_and_column(
    stacks: Path, text: str, words: str, refusal: Refusal
) -> None:
    message = refusal(listed(stacks, text))
    assert words in message
    assert str(stacks) in message


def test_binary_table_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00\x00")
    assert "is not text in UTF-8; save it" in refusal(DataConfig(source=str(tmp_path / "list.csv")))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("path,condition,onset", "column onset: hours are needed; call it onset_h"),
        (
            "path,condition,onset_min",
            "column onset_min: hours are needed; divide it by 60 and call",
        ),
        (
            "path,condition,Interval (s)",
            "column Interval (s): hours are needed; divide it by 3600",
        ),
        ("path,condition,hours_min", "column hours_min: hours are needed; divide it by 60 and call it hours"),
        ("path,condition,minutes", "column minutes: hours are needed; divide it by 60 and call it hours"),
        ("path,condition,time_min", "column time_min: hours are needed; divide it by 60 and call it hours"),
        ("path,condition,start_day", "multiply it by 24 and call it start_h"),
        ("path,condition,interval_hours", "column interval_hours: hours are needed; call it interval_h"),
        ("path,condition,p_infected", "column p_infected is what hpiclock makes; give it another name"),
        ("path,condition,split", "column split is what hpiclock makes"),
        ("path,condition,called", "column called is what hpiclock makes"),
        ("path,condition,time_infected", "column time_infected is what hpiclock makes"),
        ("path,condition,channel", "column channel is not read, data.channel picks it for all stacks; give"),
        ("path,condition,Z", "column z is not read, data.z picks it"),
        ("path,condition,allocation", "allocation '1' is not known; write one of well, column,"),
        ("path,condition,path", "column path stands twice"),
    ],
)
def test_a_column_of_another_unit_or_of_our_own_is_refused(
    stacks: Path, refusal: Refusal, header: str, words: str
) -> None:
    assert words in refusal(listed(stacks, f"{header}\na.tif,mock,1\n"))


@pytest.mark.parametrize(
    "text",
    [
        "Path,Condition,Interval_h\na.tif,mock,0.5\n",
        " path ; CONDITION ;Interval (h);note\na.tif;mock;0.5;a, b, c\n",
        "sep=;\r\npath;condition;interval_h\r\na.tif;mock;0.5\r\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_as_people_save_it(stacks: Path, text: str, encoding: str) -> None:
    (stacks / "list.csv").write_bytes(text.encode(encoding))
    manifest, _ = load_manifest(DataConfig(source=str(stacks / "list.csv")), ONSET_H)
    assert manifest["interval_h"].tolist() == [0.5]
    assert manifest["condition"].tolist() == ["mock"]


@pytest.mark.parametrize("kind", ["fifo", "loop", "long", "device"])
def test_a_source_that_is_no_file_is_refused_and_never_waited_for(
    special_file: Callable[..., Path], refusal: Refusal, kind: str
) -> None:
    path = special_file(kind, "list.csv")
    assert "set data.source to a folder pair" in refusal(DataConfig(source=str(path)))


def test_names_with_braces_are_read_and_bytes_that_are_no_text_are_named(
    tmp_path: Path, write_stack: Callable[..., Path]
) -> None:
    folder = tmp_path / "{x} %s {0}"
    for name in ("s1_A1_p1{x}.tif", "s1_A2_p1{frame}.tif"):
        write_stack(folder / name)
    (folder / "plate.yaml").write_text("wells: {A1: {condition: infected}, A2: {condition: mock}}")
    manifest, _ = load_manifest(DataConfig(source=str(folder)), ONSET_H)
    assert manifest["well"].tolist() == ["A01", "A02"]
    write_stack(tmp_path / "a.tif").rename(folder / os.fsdecode(b"s1_A2_p2\xff.tif"))
    with pytest.raises(InputError, match="its name is not text in UTF-8; rename it"):
        load_manifest(DataConfig(source=str(folder)), ONSET_H)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("exclude", "yes", "column exclude: stacks are left out by data.quarantine; take it out"),
        ("n_frames", "3 or 4", "row 2, column n_frames: '3 or 4' is not a whole number; correct it"),
    ],
)
def test_what_would_be_passed_over_is_refused(
    tmp_path: Path, refusal: Refusal, column: str, value: str, says: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"path,condition,{column}\na.tif,mock,{value}\n")
    assert refusal(DataConfig(source=str(path))).endswith(says)


@pytest.mark.parametrize("name", ["moi", "onset_h", "interval_h", "start_h", "condition", "path", "exclude"])
def test_what_no_name_is_read_for_is_refused_in_a_pattern(stacks: Path, refusal: Refusal, name: str) -> None:
    table = listed(stacks, "path,condition\ns1_c2_p7.tif,mock\n")
    words = f"data.name_pattern: {name} is not read from names; give the group another name"
    pattern = rf"s1_(?P<well>[a-z]\d)_p(?P<{name}>\d)"
    assert words in refusal(table.model_copy(update={"name_pattern": pattern}))
