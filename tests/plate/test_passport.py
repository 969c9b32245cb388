"""The passport finds planted faults and leaves clean stacks alone; quarantine leaves out and says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage

from hpiclock.config.schema import DataConfig, QualityConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.sources import read_quarantine, write_quarantine
from hpiclock.plate.manifest.survey import load_manifest, survey
from hpiclock.plate.quality import PASSPORT_COLUMNS, passport, quarantine_rows

N_FRAMES, SIDE = 24, 48


def cells(seed: int) -> np.ndarray:
    """Textured frames that change slowly, as a culture does; (frames, height, width) uint8."""
    rng = np.random.default_rng(seed)
    still = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 1.5)
    moving = ndimage.gaussian_filter(rng.standard_normal((N_FRAMES, SIDE, SIDE)), (4, 1.5, 1.5))
    texture = still / still.std() + moving / moving.std()
    noise = rng.standard_normal((N_FRAMES, SIDE, SIDE))
    return np.clip(128 + 15 * texture + 2 * noise, 0, 254).astype(np.uint8)


def dead(stack: np.ndarray) -> None:
    stack[7] = 40


def copied(stack: np.ndarray) -> None:
    stack[9] = stack[8]


def blurred(stack: np.ndarray) -> None:
    stack[12] = ndimage.gaussian_filter(stack[12].astype(float), 3)


def brighter(stack: np.ndarray) -> None:
    stack[15:] = np.clip(stack[15:].astype(int) + 30, 0, 254)


def saturated(stack: np.ndarray) -> None:
    stack[3][0] = 255  # one row of 48


FAULTS: dict[str, tuple[Callable[[np.ndarray], None] | None, str, str]] = {
    "a1": (None, "", ""),
    "a2": (dead, "dead", "frame 7: one grey level only"),
    "a3": (copied, "copies", "frame 9: a copy of an earlier frame"),
    "a4": (blurred, "blurred", "frame 12: out of focus against the frames around"),
    "b1": (brighter, "jumps", "frame 15: brightness jumps"),
    "b2": (saturated, "saturated", "frame 3: up to 2.1% of the pixels at full scale"),
    "b3": (None, "", ""),
}


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    for number, (well, (fault, _, _)) in enumerate(FAULTS.items()):
        stack = cells(number)
        if fault is not None:
            fault(stack)
        folder = tmp_path / ("infected" if well.startswith("a") else "uninfected")
        folder.mkdir(exist_ok=True)
        metadata = {"axes": "TYX", "finterval": 1800.0, "tunit": "s"}
        tifffile.imwrite(folder / f"s1_{well}_p1.tif", stack, imagej=True, metadata=metadata)
    return tmp_path


def passport_of(source: DataConfig) -> pd.DataFrame:
    found = survey(source, 0.0)
    return passport(found.manifest, found.problems, source, QualityConfig())


def test_each_planted_fault_is_found_and_nothing_else(plate: Path) -> None:
    table = passport_of(DataConfig(source=str(plate)))
    assert tuple(table.columns) == PASSPORT_COLUMNS
    rows = table.set_index(table["well"].str.lower().str.replace("0", ""))
    for well, (_, column, words) in FAULTS.items():
        row = rows.loc[well]
        assert row["status"] == ("suspect" if column else "ok"), row["findings"]
        assert row["findings"] == words
        for name in ("dead", "copies", "blurred", "jumps"):
            assert row[name] == (1 if name == column else 0)
        assert row["saturated"] == (1 / SIDE if column == "saturated" else 0)
        assert row[["unreadable", "gaps"]].eq(0).all()
    assert rows["n_frames"].eq(N_FRAMES).all()


def test_stack_that_is_a_copy_of_another_is_named(plate: Path) -> None:
    first = plate / "infected" / "s1_a1_p1.tif"
    first.with_name("s1_c9_p1.tif").write_bytes(first.read_bytes())
    row = passport_of(DataConfig(source=str(plate))).set_index("well").loc["C09"]
    assert row["status"] == "suspect"
    assert row["findings"] == f"the same pictures as {plate.name}/A01/p1"


def test_gap_in_recorded_times_is_found(tmp_path: Path) -> None:
    planes = {"DeltaT": [0.0, 0.5, 1.0, 4.0, 4.5], "DeltaTUnit": ["h"] * 5}
    (tmp_path / "infected").mkdir()
    (tmp_path / "mock").mkdir()
    for folder, well in (("infected", "a1"), ("mock", "a2")):
        path = tmp_path / folder / f"s1_{well}_p1.ome.tif"
        stack = cells(0)[:5] + (well == "a2")
        tifffile.imwrite(path, stack, metadata={"axes": "TYX", "Plane": planes}, photometric="minisblack")
    table = passport_of(DataConfig(source=str(tmp_path)))
    assert list(table["gaps"]) == [1, 1]
    assert table["findings"].iloc[0] == "3 h without a frame after frame 2"


def test_stacks_that_cannot_be_opened_or_read_are_failed(plate: Path) -> None:
    broken = plate / "infected" / "s1_a1_p1.tif"
    broken.write_bytes(b"")
    floats = cells(0).astype("float32")
    floats[5, 0, 0] = np.nan
    metadata = {"axes": "TYX", "finterval": 1800.0, "tunit": "s"}
    tifffile.imwrite(plate / "infected" / "s1_a2_p1.tif", floats, imagej=True, metadata=metadata)
    table = passport_of(DataConfig(source=str(plate))).set_index("path")
    assert table.loc[str(broken), "status"] == "failed"
    assert table.loc[str(broken), "findings"] == "the file is empty (0 bytes)"
    other = table.loc[str(plate / "infected" / "s1_a2_p1.tif")]
    assert (other["status"], other["unreadable"]) == ("failed", 1)
    assert other["findings"] == "frame 5 holds grey levels that are NaN or infinite"


def test_stack_that_went_away_after_the_survey_does_not_stop_the_others(plate: Path) -> None:
    source = DataConfig(source=str(plate))
    found = survey(source, 0.0)
    (plate / "infected" / "s1_a1_p1.tif").unlink()
    table = passport(found.manifest, found.problems, source, QualityConfig())
    assert len(table) == len(FAULTS)
    row = table.set_index("well").loc["A01"]
    assert row["status"] == "failed"
    assert "no such file" in row["findings"]


def test_quarantine_list_made_from_the_passport_is_honoured_and_reported(plate: Path) -> None:
    source = DataConfig(source=str(plate))
    table = passport_of(source)
    listed = write_quarantine(quarantine_rows(table, ["suspect", "failed"]), plate / "lists" / "out.csv")
    reasons = read_quarantine(listed)
    assert reasons == {
        row.path: row.findings for row in table.itertuples() if row.status in ("suspect", "failed")
    }
    manifest, notes = load_manifest(source.model_copy(update={"quarantine": str(listed)}), 0.0)
    assert list(manifest["well"]) == ["A01", "B03"]
    assert len(notes) == 5
    assert all(": in quarantine: frame" in note for note in notes)


def test_listed_stack_that_is_not_in_the_source_is_noted(plate: Path) -> None:
    (plate / "out.csv").write_text("path,reason\ninfected/gone.tif,never seen\n")
    _, notes = load_manifest(DataConfig(source=str(plate), quarantine=str(plate / "out.csv")), 0.0)
    assert notes[:-1] == [f"{plate / 'infected' / 'gone.tif'}: in {plate / 'out.csv'}, but not in the source"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path\na.tif\n", "column reason missing; a quarantine list needs path and reason"),
        ("path,reason\na.tif,\n", "row 2: path or reason is empty; say why the stack is left out"),
        ("", "the file is empty"),
    ],
)
def test_wrong_quarantine_list_is_one_line(plate: Path, text: str, words: str) -> None:
    (plate / "out.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        load_manifest(DataConfig(source=str(plate), quarantine=str(plate / "out.csv")), 0.0)
    assert words in str(caught.value)
    assert str(plate / "out.csv") in str(caught.value)


def test_bad_stacks_stop_a_run_unless_quarantine_is_asked_for(plate: Path) -> None:
    broken = plate / "infected" / "s1_a1_p1.tif"
    broken.write_bytes(broken.read_bytes()[:1000])
    source = DataConfig(source=str(plate))
    with pytest.raises(InputError, match="cut short"):
        load_manifest(source, 0.0)
    manifest, notes = load_manifest(source.model_copy(update={"on_bad_stack": "quarantine"}), 0.0)
    assert "A01" not in set(manifest["well"])
    assert len(manifest) == 6
    assert len(notes) == 2  # the other: each row holds one condition
    assert notes[0].startswith(f"{broken}: left out: cut short")


def test_quarantine_of_everything_is_an_error(plate: Path) -> None:
    for path in plate.rglob("*.tif"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"the file is empty \(0 bytes\); copy it again \(6 more"):
        load_manifest(DataConfig(source=str(plate), on_bad_stack="quarantine"), 0.0)
