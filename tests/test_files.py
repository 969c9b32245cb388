"""Writing files: the old one or the new one, never half of one."""

import os
import stat
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from hpiclock.errors import InputError
from hpiclock.files import atomic, make_folder, safe_name
from hpiclock.runs.run import write_figures


def test_the_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic(path) as partial:
        partial.write_text("new")
        assert not path.exists()
        assert (partial.parent, partial.suffix) == (
            path.parent,
            path.suffix,
        )  # a writer may look at the suffix
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_when_something_fails_the_old_file_stays(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic(path) as partial:
            partial.write_text("ne")
            raise kind

    with pytest.raises(kind):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic(tmp_path / "a.txt") as partial:
            partial.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_places_that_cannot_be_written_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none/a\.txt: cannot be written \(No such file or directory\)"):
        atomic(tmp_path / "none" / "a.txt").__enter__()
    with pytest.raises(InputError, match=r"is a folder; name a file"):
        atomic(tmp_path).__enter__()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/sub: cannot be written \(Not a directory\)"):
        make_folder(tmp_path / "file" / "sub")


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b").is_dir()


ODD = [
    "../../../EVIL", "/abs/x", "..", ".", "", " ", "a/b", "a\\b", "CON", "nul.txt", "a.", ".hidden", "a\0b",
    "a\nb", "P1" * 300, "\udcff", "e\u0301", "\u00e9", "a b", "{x}", "a-12345678", "a:b", "x" * 255, "~",
]  # fmt: skip


@seed(0)
@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(ODD), st.text(), st.text("./\\~ aA\0-")), unique=True, max_size=20))
def test_any_text_makes_a_name_of_its_own_inside_the_folder(texts: list[str]) -> None:
    names = [safe_name(text) for text in texts]
    assert len(set(names)) == len(names)
    for name in names:
        assert name
        assert not name.startswith((".", " "))
        assert not name.endswith((".", " "))
        assert len(name.encode()) <= 150
        assert not set('/\\:*?"<>|~') & set(name)
        assert name.isprintable()
        assert os.path.basename(name) == name


@pytest.mark.parametrize("text", ["P1_wells", "curves_p_infected", "Plate 1", "plate-2", "Jürgen", "a.b"])
def test_a_fit_name_stays_as_it_is(text: str) -> None:
    assert safe_name(text) == text


def test_reserved_names_and_names_that_differ_by_case_get_a_digest() -> None:
    assert safe_name("p1", {"p1"}).startswith("p1-")
    assert safe_name("COM1").startswith("_COM1-")


@pytest.mark.parametrize("text", ["../../EVIL", "/abs/x", "a\0b", "n" * 400, "..", "CON"])
def test_figures_named_by_data_stay_in_their_folder(text: str, tmp_path: Path) -> None:
    figure = plt.figure(figsize=(1, 1))
    folder = tmp_path / "a" / "b" / "figures"
    (path,) = write_figures({text: figure}, folder, (".png",))
    plt.close(figure)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert path.parent == folder
