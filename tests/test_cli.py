"""The command line: bad input is one line and exit code 2 with nothing written; help loads nothing heavy."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
import yaml

from hpiclock import cli
from hpiclock.config.load import load_config
from hpiclock.errors import RunFailed
from hpiclock.runs.run import Run

SIZE, N_FRAMES = 24, 5  # px; frames at 0, 0.5, ... 2 h


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def hpiclock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""

    def command(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hpiclock", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Ended(end.value.code, said.out, said.err)

    return command


def stack(path: Path, size: int = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(len(path.name)).integers(0, 255, (N_FRAMES, size, size), dtype=np.uint8)
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX", "finterval": 1800, "tunit": "s"})
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two folders of three wells each, one field a well."""
    for folder, row in (("infected", "A"), ("uninfected", "B")):
        for well in (1, 2, 3):
            stack(tmp_path / "plate" / folder / f"s1_{row}{well}_p1.tif")
    return tmp_path / "plate"


@pytest.fixture
def config(tmp_path: Path, source: Path) -> Path:
    path = tmp_path / "configs" / "c.yaml"
    path.parent.mkdir()
    values = {
        "experiment": "small",
        "data": {"source": os.path.relpath(source, path.parent)},
        "image": {"size": 16},
        "targets": {"range_h": [0, 48]},
        "model": {"backbone": "resnet10", "hidden_dim": 4},
        "train": {"epochs": 1, "device": "cpu"},
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def everything(folder: Path) -> dict[str, bytes]:
    """Every file and folder and what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def refused(hpiclock: Command, root: Path, *words: object) -> str:
    """Run a command that must end as bad input does, and return its line."""
    before = everything(root)
    ended = hpiclock(*words)
    assert ended.code == 2
    assert re.fullmatch(r"hpiclock: [^\n]+\n", ended.err), ended.err
    assert everything(root) == before
    return ended.err.removeprefix("hpiclock: ").removesuffix("\n")


def test_a_missing_folder(hpiclock: Command, config: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    line = refused(hpiclock, tmp_path, "train", config, "--set", f"data.source={gone}")
    assert line.startswith(f"{gone}: no such file or folder")
    assert refused(hpiclock, tmp_path, "manifest", gone).startswith(f"{gone}: no such file or folder")


def test_an_empty_folder(hpiclock: Command, config: Path, source: Path, tmp_path: Path) -> None:
    for path in (source / "infected").iterdir():
        path.unlink()
    for words in (["train", config], ["manifest", source]):
        line = refused(hpiclock, tmp_path, *words)
        assert line.startswith(str(source / "infected"))
        assert "no " in line


def test_a_truncated_tiff(hpiclock: Command, config: Path, source: Path, tmp_path: Path) -> None:
    broken = source / "infected" / "s1_A2_p1.tif"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    assert refused(hpiclock, tmp_path, "train", config).startswith(f"{broken}: ")


def test_a_text_file_named_tif(hpiclock: Command, config: Path, source: Path, tmp_path: Path) -> None:
    text = source / "infected" / "s1_A2_p1.tif"
    text.write_text("a note, not a picture\n" * 20)
    assert refused(hpiclock, tmp_path, "train", config).startswith(f"{text}: not a TIFF")


def test_mixed_frame_sizes(hpiclock: Command, config: Path, source: Path, tmp_path: Path) -> None:
    odd = stack(source / "uninfected" / "s1_B2_p1.tif", size=SIZE + 2)
    line = refused(hpiclock, tmp_path, "train", config)
    assert line.startswith(f"{odd}: frames of 26 x 26 px, the other stacks of plate")
    assert "have 24 x 24" in line


def test_one_class_only(hpiclock: Command, config: Path, tmp_path: Path) -> None:
    rows = "".join(f"plate/infected/s1_A{well}_p1.tif,infected\n" for well in (1, 2, 3))
    (tmp_path / "m.csv").write_text("path,condition\n" + rows)
    line = refused(hpiclock, tmp_path, "train", config, "--set", f"data.source={tmp_path / 'm.csv'}")
    assert "no mock stack among 3; training needs infected and mock wells" in line


def test_no_wells_for_a_split(hpiclock: Command, config: Path, tmp_path: Path) -> None:
    for i in range(6):
        stack(tmp_path / f"field{i}.tif")
    rows = "".join(f"field{i}.tif,{'infected' if i % 2 else 'mock'}\n" for i in range(6))
    (tmp_path / "m.csv").write_text("path,condition\n" + rows)
    settings = ["--set", f"data.source={tmp_path / 'm.csv'}", "--set", "split.unit=well"]
    line = refused(hpiclock, tmp_path, "train", config, *settings)
    assert line.startswith("split.unit: well: no stack names its well; name wells by data.name_pattern")


def test_too_few_wells_for_a_split(hpiclock: Command, config: Path, source: Path, tmp_path: Path) -> None:
    (source / "uninfected" / "s1_B3_p1.tif").unlink()
    line = refused(hpiclock, tmp_path, "train", config, "--set", "split.unit=well")
    assert line.startswith("split.unit: well: too few groups (2 mock), each class needs 3; bring more")


@pytest.mark.parametrize("command", ["config", "train", "run"])
def test_an_unknown_config_key(hpiclock: Command, config: Path, tmp_path: Path, command: str) -> None:
    line = refused(hpiclock, tmp_path, command, config, "--set", "train.epoch=3")
    assert line == "--set: unknown key train.epoch; did you mean train.epochs?"
    config.write_text("frams: {}\n")
    line = refused(hpiclock, tmp_path, command, config)
    assert line == f"{config}: unknown key frams; did you mean frames?"


@pytest.mark.parametrize("command", ["config", "train", "run"])
def test_a_learning_rate_that_is_no_number(
    hpiclock: Command, config: Path, tmp_path: Path, command: str
) -> None:
    config.write_text("train: {lr: fast}\n")
    line = refused(hpiclock, tmp_path, command, config)
    assert line.startswith(f"{config}: train.lr: input should be a valid number")
    assert line.endswith("got 'fast'")


def test_windows_outside_the_data(hpiclock: Command, config: Path, tmp_path: Path) -> None:
    study = ["--set", "windows.start_h=20", "--set", "windows.end_h=40"]
    line = refused(hpiclock, tmp_path, "train", config, *study)
    assert line.startswith("windows: 20-40 h lie outside the data, which hold 0-2 h; set windows.start_h")
    line = refused(hpiclock, tmp_path, "train", config, "--set", "frames.train.infected.start_h=20")
    assert line.startswith("frames.train.infected: no frame lies in 20 h to the end; the stacks hold 0-2 h")
    line = refused(hpiclock, tmp_path, "train", config, "--set", "windows.end_h=60")
    assert "windows 0-60 h, 6 h wide, do not fit into targets.range_h 0-48 h" in line


@pytest.mark.parametrize("command", ["train", "run"])
def test_a_run_folder_that_holds_another_config(
    hpiclock: Command, config: Path, tmp_path: Path, command: str
) -> None:
    run = Run.create(load_config(config, {"train.epochs": 7}), tmp_path / "runs" / "one")
    line = refused(hpiclock, tmp_path, command, config, "--run-dir", run.folder)
    assert line.startswith(f"{run.folder}: holds a run with another config (train.epochs was 7, now 1)")


def test_a_run_folder_that_is_no_run(hpiclock: Command, config: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    line = refused(hpiclock, tmp_path, "run", config, "--run-dir", tmp_path / "mine")
    assert line.startswith(f"{tmp_path / 'mine'}: is there and is no run's folder")


def test_no_disk_space_for_the_cache(
    hpiclock: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    line = refused(hpiclock, tmp_path, "train", config)
    assert line.startswith(f"{tmp_path / 'cache'}: the cache needs 0.00 GB, 0.00 GB are free; make room")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nosuch"], "No such command 'nosuch'; `hpiclock --help` says what it takes"),
        (["synth"], "Missing argument '"),
        (["config", "c.yaml", "--sets", "a=1"], "No such option: --sets"),
        (["synth", "x", "--seed", "one"], "Invalid value for '--seed'"),
        (["synth", "x", "--seed", "-1"], "Invalid value for '--seed'"),
        (["synth", "x", "--seed", "1" + "0" * 30], "Invalid value for '--seed'"),
        (["synth", "x", "--seed", "nan"], "Invalid value for '--seed'"),
        (["sweep", "s.yaml", "--workers", "0"], "Invalid value for '--workers'"),
        (["sweep", "s.yaml", "--workers", "-3"], "Invalid value for '--workers'"),
        (["sweep", "s.yaml", "--workers", "99999999"], "Invalid value for '--workers'"),
        (
            ["run", "c.yaml", "--notebooks", "01-99999999999"],
            "notebooks '01-99999999999': write numbers such",
        ),
        (["run", "c.yaml", "--notebooks", "-1"], "notebooks '-1': write numbers such as"),
        (["config", "c.yaml", "more"], "Got unexpected extra argument"),
        (["train"], "train: give a config, or --resume RUN, and not both"),
        (["config", "none.yaml"], "none.yaml: no such config file"),
    ],
)
def test_words_that_are_no_command(
    hpiclock: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(hpiclock, tmp_path, *words).startswith(line)


def test_a_setting_that_is_no_setting(hpiclock: Command, config: Path, tmp_path: Path) -> None:
    line = refused(hpiclock, tmp_path, "config", config, "--set", "train.epochs")
    assert line == "--set train.epochs: write it as KEY=VALUE, e.g. --set train.epochs=30"


def test_taking_up_a_run_that_is_not_there(hpiclock: Command, config: Path, tmp_path: Path) -> None:
    line = refused(hpiclock, tmp_path, "train", "--resume", tmp_path / "none")
    assert line.startswith(f"{tmp_path / 'none'}: no run here")
    line = refused(hpiclock, tmp_path, "train", config, "--resume", tmp_path / "none")
    assert line == "train: give a config, or --resume RUN, and not both"


def test_manifest_lists_what_is_wrong_and_ends_as_bad_input(
    hpiclock: Command, source: Path, tmp_path: Path
) -> None:
    for name in ("infected/s1_A1_p1.tif", "uninfected/s1_B3_p1.tif"):
        (source / name).write_text("no picture")
    before = everything(tmp_path)
    ended = hpiclock("manifest", source, "-o", tmp_path / "m.csv")
    assert ended.code == 2
    assert ended.err == f"hpiclock: {source}: 2 errors, listed above with what to do\n"
    assert "4 stacks can be used" in ended.out
    for name in ("s1_A1_p1.tif", "s1_B3_p1.tif"):
        assert f"{name}: not a TIFF" in ended.out
    assert everything(tmp_path) == before


def test_manifest_writes_a_table_that_is_a_source(hpiclock: Command, source: Path, tmp_path: Path) -> None:
    ended = hpiclock("manifest", source, "-o", tmp_path / "m.csv")
    assert (ended.code, ended.err) == (0, "")
    assert "6 stacks can be used" in ended.out
    again = hpiclock("manifest", tmp_path / "m.csv")
    assert (again.code, "6 stacks can be used" in again.out) == (0, True)


def test_manifest_into_a_place_that_is_not_there_for_writing(
    hpiclock: Command, source: Path, tmp_path: Path
) -> None:
    line = refused(
        hpiclock, tmp_path, "manifest", source, "-o", source / "infected" / "s1_A1_p1.tif" / "m.csv"
    )
    assert "cannot be written (Not a directory)" in line or "cannot be written (File exists)" in line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-o", "plate.yaml"], "no format of an output; end the name in .csv or .parquet"),
        (["-o", "{source}/infected/s1_A1_p1.tif"], "no format of an output"),
        (["--passport", "{source}/infected/s1_A1_p1.tif"], "no format of an output"),
        (["--passport", "notes.csv"], "is there and was not made by this command"),
        (["--quarantine", "notes.csv"], "is there and was not made by this command"),
        (["-o", "link.csv"], "is a link"),
        (["-o", "run/manifest.csv"], "is there and was not made by this command"),
        (["-o", "/dev/null"], "no format of an output"),
        (["-o", "new.csv", "--passport", "new.csv"], "is read or written by this command already"),
        (["-o", "notes.csv/new.csv"], "cannot be written (Not a directory)"),
    ],
)
def test_manifest_writes_over_nothing_of_anyone_else(
    hpiclock: Command,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpiclock.workflows.audit.survey", None)  # refused before anything is opened
    Path("notes.csv").write_text("day,what\n1,virus\n")
    Path("plate.yaml").write_text("root: plate\n")
    Path("run").mkdir()
    Path("run", "config.yaml").write_text("")
    Path("run", "manifest.csv").write_text("n_frames,interval_h\n")
    Path("link.csv").symlink_to("plate/infected/s1_A1_p1.tif")
    named = [word.format(source=source) for word in words]
    assert line in refused(hpiclock, tmp_path, "manifest", source, *named)


@pytest.mark.parametrize(
    ("out", "line"),
    [
        ("run", "run: is there and not empty; name a new folder"),
        (".", "which is read; name a new folder"),
        ("photos", "photos: is there and not empty; name a new folder"),
        ("p.csv", "p.csv: is a file; name a folder"),
    ],
)
def test_study_and_compare_write_into_folders_of_their_own(
    hpiclock: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text("stack_id,hours,label,p_infected\na,0,1,0.5\n")
    for name in ("run/config.yaml", "run/design_verdict.csv", "run/comparison.txt", "photos/.cat.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert line in refused(hpiclock, tmp_path, "study", "p.csv", "--out", out)
    if out != ".":
        assert line in refused(hpiclock, tmp_path, "compare", "run", "--out", out)


def test_config_marks_what_differs(hpiclock: Command, config: Path) -> None:
    ended = hpiclock("config", config, "--set", "train.epochs=30")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert "* image.size: 16   # default: 224" in lines
    assert "  train.epochs: 30" in lines  # changed, and back to the default
    assert "  data.interval_h: null" in lines
    assert not any(line.startswith("* ") and "cache_dir" in line for line in lines)


def test_a_run_that_failed_is_exit_code_1(hpiclock: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Path) -> None:
        raise RunFailed("03_evaluation.ipynb, cell [4]: ValueError: no\nmore")

    monkeypatch.setattr("hpiclock.report.index.write_index", fails)
    ended = hpiclock("index")
    assert (ended.code, ended.err) == (1, "hpiclock: 03_evaluation.ipynb, cell [4]: ValueError: no more\n")


def test_a_disk_that_fills_up_is_one_line(hpiclock: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device", "reports/index.html")

    monkeypatch.setattr("hpiclock.report.index.write_index", full)
    ended = hpiclock("index")
    assert ended.code == 1
    assert ended.err == "hpiclock: reports/index.html: No space left on device; make room and start again\n"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG])
def test_a_file_that_cannot_be_had_is_one_line(
    hpiclock: Command, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def closed(_: Path) -> None:
        raise OSError(number, os.strerror(number), "reports/index.html")

    monkeypatch.setattr("hpiclock.report.index.write_index", closed)
    ended = hpiclock("index")
    words = "check its rights, or name another place"
    assert ended.err == f"hpiclock: reports/index.html: {os.strerror(number)}; {words}\n"
    assert ended.code == 2


def test_a_working_folder_that_is_gone_is_one_line(
    hpiclock: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ended = hpiclock("manifest", "plate")
    assert (ended.code, ended.err) == (
        2,
        "hpiclock: the working folder was removed; go to one that is there\n",
    )


def test_a_name_that_is_not_utf8_is_one_line_before_any_work(hpiclock: Command, tmp_path: Path) -> None:
    ended = hpiclock("study", tmp_path / "p.csv", "--out", os.fsdecode(b"st\xff"))
    line = "hpiclock: 'st\\udcff': is not a name in UTF-8; rename it, or name another place\n"
    assert (ended.code, ended.err) == (2, line)


def test_an_error_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wrong(_: Path) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("hpiclock.report.index.write_index", wrong)
    monkeypatch.setattr(sys, "argv", ["hpiclock", "index", str(tmp_path)])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main()


LOADED = """
import sys
sys.argv = ["hpiclock", *sys.argv[1:]]
from hpiclock.cli import main
try:
    main()
except SystemExit as end:
    heavy = {"torch", "pandas", "numpy", "scipy", "matplotlib", "yaml", "rich"} & sys.modules.keys()
    print("code", end.code, "heavy", sorted(heavy))
"""


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["nosuch"]])
def test_help_and_typing_errors_load_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    code = 2 if words == ["nosuch"] else 0
    assert done.stdout.splitlines()[-1] == f"code {code} heavy []"


def test_help_lists_every_command_in_plain_text(hpiclock: Command) -> None:
    ended = hpiclock("--help")
    assert ended.code == 0
    for command in ("synth", "manifest", "config", "train", "run", "index"):
        assert re.search(rf"^  {command} ", ended.out, re.MULTILINE)
    assert not set("│─╭╰") & set(ended.out)
    assert not re.search(r"\.\.\.$", ended.out.split("Commands:")[1], re.MULTILINE)  # none is cut off


def test_no_words_at_all_show_the_help(hpiclock: Command) -> None:
    ended = hpiclock()
    assert ended.code == 2
    assert "Commands:" in ended.err + ended.out


@pytest.mark.parametrize("words", [["predict", "{}", "x"], ["audit", "{}"], ["index", "{}"], ["train", "{}"]])
def test_a_path_that_cannot_be_is_one_line(words, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["hpiclock", *(word.format(tmp_path / ("x" * 300)) for word in words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1
    assert "File name too long" in said or "no such folder" in said
