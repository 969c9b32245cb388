"""Writing files: the old one or the new one, never half of one."""

import os
import re
import stat
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from hpiclock.errors import InputError
from hpiclock.files import FULL, atomic, check_output, check_output_folder, make_folder, safe_name, sweep
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


def killed_pid() -> int:
    return int(subprocess.run(["sh", "-c", "echo $$"], capture_output=True, check=True).stdout)


def test_partial_files_of_dead_processes_are_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    dead, mine, alive = killed_pid(), os.getpid(), os.getppid()
    left = [f"checkpoints/.last.{dead}-ab12cd34.tmp.pt", f".config.{mine}-ab12cd34.tmp.yaml"]
    other = [f".history.{alive}-ab12cd34.tmp.csv", ".notes", "checkpoints/last.pt", ".env.tmp", "a.1.tmp"]
    for name in (*left, *other):
        (tmp_path / name).touch()
    with atomic(tmp_path / "b.csv") as partial:
        sweep(tmp_path)
        assert partial.exists()
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {*other, "b.csv"}


def test_a_name_as_long_as_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".csv")
    with atomic(path) as partial:
        partial.write_text("x")
    assert path.read_text() == "x"


@pytest.mark.parametrize("number", FULL)
def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path, number: int) -> None:
    def write() -> None:
        with atomic(tmp_path / "best.pt"):
            raise OSError(number, "no room")

    with pytest.raises(OSError, match="no room") as error:
        write()
    assert error.value.filename == str(tmp_path / "best.pt")
    assert not list(tmp_path.iterdir())


def is_table(path: Path) -> bool:
    return path.read_text() == "a,b"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "input.csv").write_text("a,b")
    os.link(tmp_path / "input.csv", tmp_path / "hard.csv")
    (tmp_path / "link.csv").symlink_to("input.csv")
    (tmp_path / "dangling.csv").symlink_to("none.csv")
    (tmp_path / "other.csv").write_text("dear diary")
    (tmp_path / "earlier.csv").write_text("a,b")
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("input.csv", "is read or written by this command already; name another file"),
        ("sub/../input.csv", "is read or written by this command already"),
        ("hard.csv", "is read or written by this command already"),
        ("link.csv", "is read or written by this command already"),
        ("dangling.csv", "is a link; name what is to be written itself"),
        ("other.csv", "is there and was not made by this command; name another file"),
        ("folder.csv", "is a folder; name a file"),
        ("pipe.csv", "is a device or a pipe; name a file"),
        ("/dev/null.csv", "cannot be written (Not a directory); name another place"),
        ("other.csv/new.csv", "cannot be written (Not a directory); name another place"),
        ("new.tif", "no format of an output; end the name in .csv"),
    ],
)
def test_an_output_takes_nothing_away(places: Path, name: str, line: str) -> None:
    name = "/dev/null/x.csv" if name.startswith("/dev") else name
    before = sorted(places.iterdir())
    with pytest.raises(InputError, match=re.escape(line)):
        check_output(places / name, over=[places / "input.csv"], suffixes=(".csv",), own=is_table)
    assert sorted(places.iterdir()) == before
    assert (places / "input.csv").read_text() == "a,b"


def test_an_output_may_be_new_or_replace_an_earlier_one(places: Path) -> None:
    for name in ("new.csv", "deep/er/new.csv", "earlier.csv"):
        check_output(places / name, over=[places / "input.csv", places / "none"], own=is_table)


def test_a_folder_of_outputs_holds_nothing_else(tmp_path: Path) -> None:
    def ours(folder: Path) -> bool:
        return (folder / "mark").is_file()

    (tmp_path / "git" / ".git").mkdir(parents=True)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "mark").touch()
    for name, line in {"git": "is there and not empty", "file": "is a file", "pipe": "is a device"}.items():
        with pytest.raises(InputError, match=f"{name}: {line}"):
            check_output_folder(tmp_path / name, own=ours)
    with pytest.raises(InputError, match="mark, which is read; name a new folder"):
        check_output_folder(tmp_path / "earlier", own=ours, over=[tmp_path / "earlier" / "mark"])
    for name in ("new", "empty", "earlier"):
        check_output_folder(tmp_path / name, own=ours, over=[tmp_path / "file"])
    with pytest.raises(InputError, match="earlier: is there and not empty"):
        check_output_folder(tmp_path / "earlier")
