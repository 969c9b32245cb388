"""Plate maps: wells to conditions, and the words for what is wrong with one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.plate_maps import read_platemap
from hpiclock.plate.manifest.survey import load_manifest, survey

Refusal = Callable[..., str]
ONSET_H = 1.5
DEMO = """
plate: demo
folder: stacks
pattern: null
interval_h: 0.5
wells:
  A1: {condition: mock, replicate: A}
  A2: {condition: infected, moi: 0.1, onset_h: 5.0, replicate: 2}
  b03: {condition: Infected, moi: 5}
"""


@pytest.fixture
def plate(tmp_path: Path, write_stack: Callable[..., Path]) -> Path:
    for well in ("A1", "A2", "B3"):
        write_stack(tmp_path / "stacks" / f"demo_s1_{well}_p1.tif", interval_h=None)
    (tmp_path / "plate.yaml").write_text(DEMO)
    return tmp_path / "plate.yaml"


def test_plate_map_says_what_was_done_to_each_well(plate: Path) -> None:
    manifest, notes = load_manifest(DataConfig(source=str(plate)), ONSET_H, need_both=True)
    assert notes == []
    rows = manifest.set_index("well")
    assert list(rows["stack_id"]) == ["demo/A01/p1", "demo/A02/p1", "demo/B03/p1"]
    assert list(rows["condition"]) == ["mock", "infected", "infected"]
    assert list(rows["moi"].fillna(-1)) == [-1, 0.1, 5.0]
    assert list(rows["onset_h"].fillna(-1)) == [-1, 5.0, ONSET_H]  # map, config
    assert list(rows["replicate"]) == ["A", "2", ""]
    assert rows["interval_h"].eq(0.5).all()


def test_the_folder_of_a_plate_map_is_a_source(plate: Path) -> None:
    by_file, _ = load_manifest(DataConfig(source=str(plate)), ONSET_H)
    by_folder, _ = load_manifest(DataConfig(source=str(plate.parent)), ONSET_H)
    assert by_file.equals(by_folder)


def test_a_second_map_in_the_folder_is_said_not_to_be_read(plate: Path) -> None:
    by_one, before = load_manifest(DataConfig(source=str(plate.parent)), ONSET_H)
    (plate.parent / "plate.csv").write_text("well,condition\nA1,infected\n")
    by_folder, notes = load_manifest(DataConfig(source=str(plate.parent)), ONSET_H)
    assert by_folder.equals(by_one)
    (more,) = set(notes) - set(before)
    assert more == (
        f"{plate.parent / 'plate.yaml'}: is read, plate.csv beside it is not; name the other in data.source, "
        "or take one out"
    )


def test_a_folder_of_plates_is_all_of_them(plate: Path, write_stack: Callable[..., Path]) -> None:
    root = plate.parent.parent / "plates"
    for name in ("one", "two"):
        for well, _ in (("A1", "mock"), ("A2", "infected")):
            write_stack(root / name / f"s1_{well}_p1.tif")
        (root / name / "plate.yaml").write_text(
            "wells:\n  A1: {condition: mock}\n  A2: {condition: infected}\n"
        )
    manifest, _ = load_manifest(DataConfig(source=str(root)), ONSET_H)
    assert list(manifest["stack_id"]) == ["one/A01/p1", "one/A02/p1", "two/A01/p1", "two/A02/p1"]


def test_start_of_imaging_comes_from_the_map_then_the_config(plate: Path) -> None:
    source = DataConfig(source=str(plate), start_h=3.0)
    assert load_manifest(source, ONSET_H)[0]["start_h"].eq(3.0).all()
    plate.write_text(DEMO + "start_h: -2.0\n")
    assert load_manifest(source, ONSET_H)[0]["start_h"].eq(-2.0).all()


def test_excluded_wells_are_left_out_with_their_reason(plate: Path) -> None:
    plate.write_text(DEMO.replace("moi: 5}", "moi: 5, exclude: contaminated}"))
    manifest, notes = load_manifest(DataConfig(source=str(plate)), ONSET_H)
    assert list(manifest["well"]) == ["A01", "A02"]
    assert len(notes) == 1
    assert notes[0].endswith("demo_s1_B3_p1.tif: well B03 is left out: contaminated")


def test_a_well_without_stacks_is_noted(plate: Path) -> None:
    plate.write_text(DEMO + "  C7: {condition: mock}\n")
    _, notes = load_manifest(DataConfig(source=str(plate)), ONSET_H)
    assert notes == [f"{plate}: no stack of well C07 in {plate.parent / 'stacks'}"]


def test_a_stack_of_a_well_that_is_not_in_the_map_is_an_error(
    plate: Path, write_stack: Callable[..., Path], refusal: Refusal
) -> None:
    odd = write_stack(plate.parent / "stacks" / "demo_s1_D9_p1.tif", interval_h=None)
    message = refusal(DataConfig(source=str(plate)))
    assert message.startswith(f"{odd}: well D09 is not in the plate map")
    assert "exclude" in message
    assert len(survey(DataConfig(source=str(plate)), ONSET_H).manifest) == 3


def test_the_map_may_bring_its_own_name_pattern(
    plate: Path, write_stack: Callable[..., Path], refusal: Refusal
) -> None:
    for path in (plate.parent / "stacks").iterdir():
        path.unlink()
    for well in ("A1", "A2", "B3"):
        write_stack(plate.parent / "stacks" / f"{well}-f7.tif", interval_h=None)
    message = refusal(DataConfig(source=str(plate)))
    assert message.startswith("data.name_pattern: ")
    plate.write_text(DEMO.replace("pattern: null", r"pattern: '^(?P<well>[A-Z]\d)-f(?P<position>\d)'"))
    manifest, _ = load_manifest(DataConfig(source=str(plate)), ONSET_H)
    assert list(manifest["stack_id"]) == ["demo/A01/p7", "demo/A02/p7", "demo/B03/p7"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("moi: 0.1", "mio: 0.1", "unknown key wells.A2.mio; did you mean moi?"),
        ("interval_h: 0.5", "intervall_h: 0.5", "unknown key intervall_h; did you mean interval_h?"),
        ("condition: mock", "conditon: mock", "wells.A1.condition is missing"),
        ("condition: mock", "condition: moock", "condition 'moock' is not known; write infected or mock"),
        ("moi: 0.1", "moi: -1", "wells.A2.moi: input should be greater than or equal to 0, got -1"),
        ("moi: 0.1", "moi: low", "wells.A2.moi: input should be a valid number"),
        ("moi: 0.1", "moi: 0", "an infected well has no MOI 0"),
        ("mock, replicate: A", "mock, onset_h: 2", "wells.A1: a mock well has no onset; remove onset_h"),
        ("mock, replicate: A", "mock, moi: 2", "wells.A1: a mock well has no MOI 2"),
        ("b03:", "a01:", "wells A1 and a01 are one well; keep one"),
        ("b03:", "A1:", "line 9: A1 stands twice"),
        ("  A2: {", "  A2: [", "correct it there"),
        ("  A2: {", "  ? [A2, A3]\n  : {", "line 8: a key is a list, which names nothing"),
        ("  A2: {", "  ? {A2: A3}\n  : {", "line 8: a key is a table, which names nothing"),
        ("  A2: {", "  ~: {", "line 8: a key is null, which names nothing"),
        ("plate: demo", "[plate, demo]: 1", "line 2: a key is a list"),
        ("plate: demo", "? {plate: demo}\n: 1", "line 2: a key is a table"),
        ("plate: demo", "? \n: 1", "line 2: a key is null"),
        ("plate: demo", "7: demo", "unknown key 7; there are plate, folder"),
        ("A2: {condition: infected", "A2: {[condition]: infected", "line 8: a key is a list"),
        ("A2: {condition: infected", "A2: {~: infected", "line 8: a key is null"),
        ("A2: {condition: infected", "A2: {2: 3, condition: infected", "unknown key wells.A2.2"),
        ("wells:", "brunnen:", "no table `wells:` in it"),
        ("folder: stacks", "folder: elsewhere", "elsewhere: no such folder"),
        ("pattern: null", "pattern: '('", "is not a regular expression"),
    ],
)
def test_a_wrong_plate_map_is_one_line_that_names_the_place(
    plate: Path, old: str, new: str, words: str, refusal: Refusal
) -> None:
    assert old in DEMO
    plate.write_text(DEMO.replace(old, new))
    message = refusal(DataConfig(source=str(plate)))
    assert words in message
    assert str(plate.parent) in message


def test_absent_or_binary_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such YAML file"):
        read_platemap(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\x80\xfe\x00wells")
    with pytest.raises(InputError, match="is not text in UTF-8; save it in UTF-8"):
        read_platemap(tmp_path / "binary.yaml")


def test_a_well_that_says_it_is_not_left_out_stays(tmp_path: Path) -> None:
    path = tmp_path / "plate.yaml"
    path.write_text(
        "wells:\n  A1: {condition: mock, exclude: no}\n  R2C1: {condition: mock, exclude: 0, virus: 007}\n"
    )
    wells = read_platemap(path).wells
    assert {name: (well.exclude, well.virus) for name, well in wells.items()} == {
        "A01": ("", ""),
        "B01": ("", "007"),
    }


@pytest.mark.parametrize("word", ["off", "None", "n/a"])
def test_a_word_for_no_leaves_no_well_out(tmp_path: Path, word: str) -> None:
    path = tmp_path / "plate.yaml"
    path.write_text(f"wells:\n  A1: {{condition: mock, exclude: {word}}}\n")
    assert read_platemap(path).wells["A01"].exclude == ""


@pytest.mark.parametrize("line", ["plate: [p]", "plate: {a: b}"])
def test_a_list_is_no_name(tmp_path: Path, line: str) -> None:
    path = tmp_path / "plate.yaml"
    path.write_text(f"{line}\nwells:\n  A1: {{condition: mock}}\n")
    with pytest.raises(InputError, match="plate: input should be a valid string"):
        read_platemap(path)


@pytest.mark.parametrize("column", ["start_h", "interval_h", "hours", "plate", "position"])
def test_a_column_of_stacks_in_a_sheet_of_wells_is_refused(plate: Path, column: str) -> None:
    sheet = plate.with_suffix(".csv")
    sheet.write_text(f"well,condition,{column}\nA1,infected,2\nA2,mock,3\n")
    with pytest.raises(InputError, match=f"column {column} is of stacks, not of wells; take it out, or list"):
        load_manifest(DataConfig(source=str(sheet)), onset_h=0.0)
