"""hpiclock manifest: every damaged file has its line, good stacks their passport, and both lists serve."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from hpiclock import cli
from hpiclock.config.load import config_of
from hpiclock.errors import InputError
from hpiclock.plate.cache import open_cache
from hpiclock.plate.frames import prepare_frames
from hpiclock.plate.manifest.sources import read_quarantine
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.quality import PASSPORT_COLUMNS
from hpiclock.report.text import SHOWN, passport_lines
from hpiclock.runs.run import Run
from hpiclock.tables import NEW_MANIFEST, read
from hpiclock.workflows.audit import check_plate


def stack(path: Path, n_frames: int = 6, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    field = np.random.default_rng(seed).integers(90, 160, (24, 24))
    noise = np.random.default_rng(seed + 1).integers(-3, 4, (n_frames, 24, 24))
    pages = (field + noise).astype(np.uint8)
    tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "TYX", "finterval": 3600.0, "tunit": "s"})
    return path


@pytest.fixture
def plate(tmp_path):
    """Six good stacks of three mock and three infected wells."""
    lines = ["interval_h: 1.0", "wells:"]
    for column in (1, 2, 3):
        for row, condition in (("A", "mock"), ("B", "infected")):
            stack(tmp_path / "plate" / f"s1_{row}{column}_p1.tif", seed=10 * column + (row == "B"))
            lines.append(f"  {row}{column}: {{condition: {condition}}}")
    (tmp_path / "plate" / "plate.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "plate"


def damage(folder: Path) -> dict[str, str]:
    """Write one stack for every way in which files come damaged: name -> words of its line."""
    whole = stack(folder / "whole.tif", 8).read_bytes()
    (folder / "whole.tif").unlink()
    planes = np.zeros((4, 16, 16), np.uint8)
    tifffile.imwrite(folder / "s1_A1_p15.ome.tif", planes, metadata={"axes": "TYX"})
    described = (folder / "s1_A1_p15.ome.tif").read_bytes()
    assert described.count(b'SizeT="4"') == 1
    Image.fromarray(planes[0]).save(folder / "picture.jpg")
    Image.fromarray(planes[0]).save(folder / "picture.png")
    for name, content in {
        "s1_A1_p11.tif": whole[: len(whole) // 2],
        "s1_A1_p12.tif": b"",
        "s1_A1_p13.tif": (folder / "picture.jpg").read_bytes(),
        "s1_A1_p14.tif": b"not a picture",
        "s1_A1_p15.ome.tif": described.replace(b'SizeT="4"', b'SizeT="9"'),
        "s1_A1_p16.ome.tif": described.replace(b"</Pixels>", b"</Pixel> "),
        "s1_A1_p17.nd2": b"ND2?",
        "s1_A1_p20.png": (folder / "picture.png").read_bytes()[:40],
        "s1_A1_p21.nd2": b"",
        "s1_A1_p22.czi": b"ZISRAWFILE, and then nothing",
        "s1_A1_p23.lif": whole[:64],
    }.items():
        (folder / name).write_bytes(content)
    (folder / "picture.jpg").unlink()
    (folder / "picture.png").unlink()
    (folder / "s1_A1_p18.tif").symlink_to(folder / "s1_A1_p19.tif")
    (folder / "s1_A1_p19.tif").symlink_to(folder / "s1_A1_p18.tif")
    (folder / "s1_A1_p24.zarr").mkdir()
    (folder / "s1_A1_p24.zarr" / "zarr.json").write_text("{}")
    (folder / "back").symlink_to(folder)  # a folder that leads back to itself
    return {
        "s1_A1_p11.tif": "cut short",
        "s1_A1_p12.tif": "the file is empty (0 bytes)",
        "s1_A1_p13.tif": "not a TIFF file, whatever its name says",
        "s1_A1_p14.tif": "not a TIFF file, whatever its name says",
        "s1_A1_p15.ome.tif": "frames of 16 x 16 px",  # of 9 that are promised 4 are there: gaps
        "s1_A1_p16.ome.tif": "its OME-XML cannot be read",
        "s1_A1_p17.nd2": "not an ND2 file",
        "s1_A1_p18.tif": "a link to a file that is not there",
        "s1_A1_p19.tif": "a link to a file that is not there",
        "s1_A1_p20.png": "not a PNG or JPEG image",
        "s1_A1_p21.nd2": "the file is empty (0 bytes)",
        "s1_A1_p22.czi": "not a CZI file, or cut short",
        "s1_A1_p23.lif": "not a LIF file, or cut short",
        "s1_A1_p24.zarr": "a Zarr store without OME metadata",
    }


def test_every_kind_of_damage_has_its_line_and_no_good_stack_is_lost(plate):
    expected = damage(plate)
    lines: list[str] = []
    checked = check_plate(config_of({"data.source": str(plate)}), read_frames=True, say=lines.append)
    assert len(checked.manifest) == 6
    failed = checked.passport[checked.passport["status"].eq("failed")]
    assert {Path(path).name for path in failed["path"]} == expected.keys()
    assert failed["findings"].str.len().gt(5).all()
    for name, words in expected.items():
        findings = failed.loc[failed["path"].str.endswith(name), "findings"].item()
        assert words in findings, (name, findings)
        assert any(name in line and ";" in line for line in lines), name  # and its remedy
    assert "Passport: 20 stacks (6 ok, 0 suspect, 14 failed), 36 frames read" in lines


def test_a_stack_with_a_frame_that_cannot_be_used_is_none_of_those_that_can(plate, tmp_path):
    frames = tifffile.imread(plate / "s1_A2_p1.tif").astype(np.float32)
    frames[3, 5, 5] = np.nan
    tifffile.imwrite(plate / "s1_A2_p1.tif", frames, imagej=True, metadata={"axes": "TYX"})
    lines: list[str] = []
    checked = check_plate(config_of({"data.source": str(plate)}), read_frames=True, say=lines.append)
    assert lines[0] == "5 stacks can be used"
    assert len(checked.manifest) == 5
    assert checked.errors == 1
    assert any(
        "A2_p1.tif: frame 3 holds grey levels that are NaN or infinite; export it again" in line
        for line in lines
    )
    assert list(checked.write(plate / "m.csv", None, None, suspects=False)) == []  # as for any other error
    cfg = config_of({"data.source": str(plate), "data.cache_dir": str(tmp_path / "cache")})
    manifest, _ = load_manifest(cfg.data, 0.0)
    with pytest.raises(
        InputError, match="export it again, or leave it out: `hpiclock manifest SOURCE --quar"
    ):
        open_cache(manifest, cfg.data, cfg.image)
    list(checked.write(None, None, tmp_path / "q.csv", suspects=False))  # what it names works
    data = cfg.data.model_copy(update={"quarantine": str(tmp_path / "q.csv")})
    manifest, _ = load_manifest(data, 0.0)
    assert len(open_cache(manifest, data, cfg.image).images) == 5 * 6


def test_names_with_blanks_and_letters_of_any_language_and_long_paths(tmp_path):
    folder = tmp_path / "Zellen Übersicht 細胞"
    deep = folder
    while len(str(deep)) < 240:
        deep /= "a folder with a long name"
    long = "x" * 238 + " s1_A4_p1.tif"  # a name may have 255 bytes
    names = [
        folder / "mit Leerzeichen s1_A1_p1.tif", folder / "größe µm s1_A2_p1.tif", deep / "s1_A3_p1.tif",
        folder / long,
    ]  # fmt: skip
    for number, name in enumerate(names):
        stack(name, seed=number)
    assert len(str(names[2])) >= 250
    assert len(long) > 250
    checked = check_plate(config_of({"data.source": str(folder)}), read_frames=True, say=lambda _: None)
    assert set(checked.passport["path"]) == set(map(str, names))
    assert set(checked.passport["status"]) == {"ok"}


def test_a_file_that_may_not_be_read_has_its_line_in_the_passport(plate, monkeypatch):
    denied = plate / "s1_A2_p1.tif"
    really = tifffile.FileHandle

    def handle(path, *args, **more):
        if Path(path) == denied:
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, *args, **more)

    # the tests may run as root, whom no permission stops
    monkeypatch.setattr("hpiclock.plate.readers.tiff.tifffile.FileHandle", handle)
    checked = check_plate(config_of({"data.source": str(plate)}), read_frames=True, say=lambda _: None)
    row = checked.passport.set_index("path").loc[str(denied)]
    assert row["status"] == "failed"
    assert row["findings"] == "cannot be opened (Permission denied)"
    assert len(checked.manifest) == 5


def test_a_folder_that_may_not_be_read_is_a_line_and_the_others_go_on(plate, monkeypatch):
    stack(plate / "closed" / "s1_A1_p9.tif")
    really = os.listdir

    def listdir(folder):
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return really(folder)

    monkeypatch.setattr(os, "listdir", listdir)  # the tests may run as root, whom no permission stops
    checked = check_plate(config_of({"data.source": str(plate)}), read_frames=False, say=lambda _: None)
    wrong = checked.problems[checked.problems["severity"].eq("error")]
    assert wrong["path"].tolist() == [str(plate / "closed")]
    assert wrong["problem"].item() == "cannot be read (Permission denied)"
    assert len(checked.manifest) == 6


def hpiclock(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["hpiclock", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def test_passport_quarantine_list_and_manifest_are_written_and_the_list_is_honoured(
    plate, tmp_path, monkeypatch, capsys
):
    damage(plate)
    good = plate / "s1_A1_p1.tif"
    pages = tifffile.imread(good)
    pages[3] = 128  # one dead frame: suspect
    metadata = {"axes": "TYX", "finterval": 3600.0, "tunit": "s"}
    tifffile.imwrite(good, pages, imagej=True, metadata=metadata)
    out = [tmp_path / name for name in ("passport.csv", "left_out.csv", "manifest.csv")]
    code, said, _ = hpiclock(
        monkeypatch, capsys, "manifest", plate, "--passport", out[0], "--quarantine", out[1], "-o", out[2]
    )
    assert code == 0  # what is wrong is on the list
    assert "suspect plate/A01/p1: frame 3: one grey level only" in said
    passport = pd.read_csv(out[0])
    assert list(passport.columns) == list(PASSPORT_COLUMNS)
    assert passport["status"].value_counts().to_dict() == {"failed": 14, "ok": 5, "suspect": 1}
    assert len(read_quarantine(out[1])) == 14
    assert len(read(NEW_MANIFEST, out[2])) == 6
    code, _, _ = hpiclock(
        monkeypatch, capsys, "manifest", plate, "--quarantine", out[1], "--suspects", "--set",
        f"data.quarantine={out[1]}",
    )  # fmt: skip
    assert (code, list(read_quarantine(out[1]))) == (0, [str(good)])


def test_quarantined_stacks_stand_in_the_notes_of_a_run(plate, tmp_path):
    damage(plate)
    values = {"data.source": str(plate), "split.train": 0.34, "split.val": 0.33, "split.test": 0.33}
    with pytest.raises(InputError, match="more: `hpiclock manifest"):
        prepare_frames(config_of(values))
    values |= {"data.on_bad_stack": "quarantine"}
    dataset = prepare_frames(config_of(values))
    assert len(dataset.manifest) == 6
    left_out = [note for note in dataset.notes if "left out" in note]
    assert len(left_out) >= 5
    run = Run.create(config_of(values), tmp_path / "run")
    run.save_json("notes.json", list(dataset.notes))
    assert [note for note in run.notes if "left out" in note] == left_out


def test_a_plain_folder_can_be_checked_and_its_manifest_says_unknown(tmp_path, monkeypatch, capsys):
    stack(tmp_path / "plain" / "s1_C5_p2.tif")
    out = tmp_path / "m.csv"
    code, said, _ = hpiclock(monkeypatch, capsys, "manifest", tmp_path / "plain", "-o", out)
    assert code == 0
    assert "1 stacks are of wells of which nothing is said" in said
    assert "What this design can show" not in said
    rows = read(NEW_MANIFEST, out)
    assert rows[["plate", "well", "condition"]].to_numpy().tolist() == [["plain", "C05", "unknown"]]
    with pytest.raises(InputError, match="unknown: it can be predicted, not trained on; write infected or"):
        prepare_frames(config_of({"data.source": str(out)}))


def test_no_passport_without_frames(plate, tmp_path, monkeypatch, capsys):
    code, _, said = hpiclock(
        monkeypatch, capsys, "manifest", plate, "--no-frames", "--passport", tmp_path / "p.csv"
    )
    assert (code, list(tmp_path.glob("p.csv"))) == (2, [])
    assert said.startswith("hpiclock: --no-frames: no frame is read")


def test_the_passport_of_432_stacks_is_a_page():
    n = 432
    table = pd.DataFrame(
        {"stack_id": [f"p/A01/p{i}" for i in range(n)], "path": "x", "status": "ok", "n_frames": 93.0}
        | dict.fromkeys(("unreadable", "gaps", "dead", "copies", "jumps"), 0)
        | {"blurred": 0, "saturated": 0.0, "findings": ""}
    )
    table.loc[:99, ["status", "blurred", "findings"]] = ["suspect", 2, "frames 3, 4: out of focus"]
    table.loc[50, ["blurred", "findings"]] = [9, "frames 3, 4, 5, 6, 7 and 4 more: out of focus"]
    lines = list(passport_lines(table))
    assert lines[0] == "Passport: 432 stacks (332 ok, 100 suspect, 0 failed), 40,176 frames read"
    assert lines[1] == "  207 frames out of focus, in 100 stacks"
    assert lines[2].startswith("  suspect p/A01/p50: ")  # the worst first
    assert lines[-1] == f"  and {100 - SHOWN} more stacks stand out; --passport FILE lists them all"
    assert len(lines) == SHOWN + 3
