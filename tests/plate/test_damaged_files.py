"""Files of every format with bytes changed, cut off, put in or otherwise named: read, or their own line."""

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import tifffile
import zarr
from PIL import Image
from pylibCZIrw import czi

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import survey
from hpiclock.plate.readers import open_stack

SIDE = 16
FILM = np.random.default_rng(0).integers(0, 60_000, (4, SIDE, SIDE), dtype=np.uint16)
TRIES = 12  # of each format; 150 of each were tried by hand


def write_czi(path: Path) -> None:
    with czi.create_czi(str(path)) as document:
        for t, frame in enumerate(FILM):
            document.write(frame[..., None], plane={"T": t, "C": 0, "Z": 0}, scene=0, location=(0, 0))
        document.write_metadata("film")


def write_zarr(path: Path) -> None:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}
    group.attrs.update({"multiscales": [{"axes": [{"name": n} for n in "tyx"], "datasets": [level]}]})
    group.create_array("0", shape=FILM.shape, chunks=(1, SIDE, SIDE), dtype="uint16")[:] = FILM


def write_rows(path: Path, rows: list[list[object]]) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def tiff(**how: object) -> Callable[[Path], object]:
    return lambda path: tifffile.imwrite(path, FILM, **how)


FORMATS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "plain TIFF": (".tif", tiff(photometric="minisblack")),
    "ImageJ": (".tif", tiff(imagej=True, metadata={"axes": "TYX"})),
    "OME-TIFF": (".ome.tif", tiff(ome=True, photometric="minisblack", metadata={"axes": "TYX"})),
    "packed TIFF": (".tif", tiff(photometric="minisblack", compression="lzw")),
    "PNG": (".png", lambda path: Image.fromarray(FILM[0]).save(path)),
    "JPEG": (".jpg", lambda path: Image.fromarray((FILM[0] >> 8).astype(np.uint8)).save(path)),
    "CZI": (".czi", write_czi),
    "OME-Zarr": (".zarr", write_zarr),
}
SUFFIXES = (".tif", ".png", ".jpg", ".czi", ".lif", ".nd2")


def damaged(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    at = rng.randrange(min(len(data), 600) if rng.random() < 0.6 else len(data))
    more = rng.randrange(1, 200)
    how = rng.choice(("cut", "byte", "number", "zeros", "lost", "doubled", "foreign"))
    if how == "cut":
        return bytes(data[:at])
    if how == "byte":
        data[at] = rng.randrange(256)
    elif how == "number":
        data[at : at + 4] = rng.choice((b"\xff\xff\xff\x7f", b"\xff" * 4, b"\0\0\0\x10", bytes(4)))
    elif how == "zeros":
        data[at : at + more] = bytes(len(data[at : at + more]))
    elif how == "lost":
        del data[at : at + more]
    elif how == "doubled":
        data[at:at] = data[at : at + more]
    else:
        data[at:at] = rng.randbytes(more)
    return bytes(data)


def line_of(read: Callable[[], object], place: str) -> str:
    """The line with which something is refused; the place where it is not."""
    try:
        read()
    except InputError as error:
        return str(error)
    return place


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of libraries that leave what they refuse open
def test_a_damaged_file_is_read_or_is_a_line_of_its_own(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    suffix, write = FORMATS[kind]
    write(tmp_path / f"whole{suffix}")
    for number in range(TRIES):
        folder = tmp_path / str(number)
        folder.mkdir()
        tifffile.imwrite(folder / "s1_A1_p1.tif", FILM, photometric="minisblack")
        named = suffix if number % 4 or suffix == ".zarr" else rng.choice(SUFFIXES)
        path = folder / f"s1_A2_p1{named}"
        copy = shutil.copytree if suffix == ".zarr" else shutil.copy
        copy(tmp_path / f"whole{suffix}", path)
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        hit = rng.choice(files)
        hit.write_bytes(b"" if number == 1 else damaged(hit.read_bytes(), rng))
        found = survey(DataConfig(source=str(folder), interval_h=1.0), 0.0, blind=True)
        assert found.manifest["well"].tolist()[:1] == ["A01"], (number, found.problems.to_dict("records"))
        said = found.problems[found.problems["path"].str.contains("A2_p1")].to_dict("records")
        read = found.manifest[found.manifest["well"].eq("A02")]["path"].tolist()
        assert bool(read) != any(row["severity"] == "error" and row["remedy"] for row in said), (number, said)
        assert not any("\n" in row["problem"] or len(row["problem"]) > 500 for row in said)
        for stack in read:
            with open_stack(stack) as opened:
                for index in range(opened.facts.n_frames):
                    assert line_of(partial(opened.frame, index), stack).startswith(stack)


GRID = [["condition", 1, 2, 3], ["A", "infected", "mock", "infected"], ["B", "mock", "MOI 0.1", "mock"]]
LONG = [["well", "condition", "moi"], ["A1", "infected", 1], ["A2", "mock", 0], ["B1", "mock", None]]
LIST = [["path", "condition", "well"], ["a.tif", "infected", "A1"], ["b.tif", "mock", "A2"]]


@pytest.mark.parametrize("rows", [GRID, LONG, LIST], ids=["grid", "long", "list"])
def test_a_damaged_workbook_is_read_or_is_one_line(tmp_path: Path, rows: list[list[object]]) -> None:
    rng = random.Random(len(rows[0]))
    path = tmp_path / "plate.xlsx"
    write_rows(path, rows)
    whole = path.read_bytes()
    for name in ("a.tif", "b.tif", "s1_A1_p1.tif", "s1_A2_p1.tif"):
        tifffile.imwrite(tmp_path / name, FILM, photometric="minisblack")
    refused = 0
    for _ in range(4 * TRIES):
        path.write_bytes(damaged(whole, rng))
        line = line_of(lambda: survey(DataConfig(source=str(path), interval_h=1.0), 0.0), str(path))
        assert line.startswith(str(path))
        assert "\n" not in line
        refused += len(line) > len(str(path))
    assert refused
