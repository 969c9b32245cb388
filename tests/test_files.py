"""Writing files: the old one or the new one, never half of one."""

import os
import stat
from pathlib import Path

import pytest

from hpiclock.errors import InputError
from hpiclock.files import atomic, make_folder


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
