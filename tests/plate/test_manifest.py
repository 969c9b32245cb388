"""From a source to the MANIFEST: folder pairs, folders, what is wrong with stacks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hpiclock.config.schema import DataConfig, FolderPair
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import acquisition_times, load_manifest, survey
from hpiclock.tables import MANIFEST, read, write

Refusal = Callable[..., str]
Write = Callable[..., Path]
ONSET_H = 1.5


@pytest.fixture
def pair(tmp_path: Path, write_stack: Write) -> Path:
    """One infected well with two positions, one mock well with one."""
    for folder, well, position in (("infected", "b2", 36), ("infected", "b2", 4), ("uninfected", "c4", 1)):
        write_stack(tmp_path / "hbmvec" / folder / f"exp_s5_{well}_p{position}_t0-2_ec.tiff")
    return tmp_path / "hbmvec"


def both(pair: Path) -> DataConfig:
    return DataConfig(source=FolderPair(infected=str(pair / "infected"), uninfected=str(pair / "uninfected")))


def test_folder_pair_reads_names_and_files(pair: Path) -> None:
    manifest, notes = load_manifest(both(pair), ONSET_H, need_both=True)
    assert notes == []
    assert list(manifest["stack_id"]) == ["hbmvec/B02/p36", "hbmvec/B02/p4", "hbmvec/C04/p1"]
    assert list(manifest["condition"]) == ["infected", "infected", "mock"]
    assert list(manifest["well"]) == ["B02", "B02", "C04"]
    assert list(manifest["position"]) == ["36", "4", "1"]
    assert list(manifest["series"]) == ["5", "5", "5"]
    assert manifest["n_frames"].eq(3).all()
    assert manifest["interval_h"].eq(0.5).all()
    assert manifest["start_h"].eq(0.0).all()
    assert manifest["moi"].isna().all()
    # the onset is the config's for infected wells, mock has none
    np.testing.assert_array_equal(manifest["onset_h"], [ONSET_H, ONSET_H, np.nan])


def test_folder_that_holds_the_pair_is_the_same_source(pair: Path) -> None:
    by_pair, _ = load_manifest(both(pair), ONSET_H)
    by_folder, _ = load_manifest(DataConfig(source=str(pair)), ONSET_H)
    assert by_pair.equals(by_folder)
    (pair / "uninfected").rename(pair / "mock")
    assert list(load_manifest(DataConfig(source=str(pair)), ONSET_H)[0]["condition"]) == list(
        by_pair["condition"]
    )


def test_subfolders_are_searched_and_links_that_lead_back_end(pair: Path, write_stack: Write) -> None:
    write_stack(pair / "infected" / "more" / "exp_s5_b3_p1.tif")
    write_stack(pair / "infected" / ".trash" / "exp_s5_b4_p1.tif")
    (pair / "infected" / "more" / "loop").symlink_to(pair / "infected")
    manifest, _ = load_manifest(both(pair), ONSET_H)
    assert sorted(manifest["well"]) == ["B02", "B02", "B03", "C04"]


def test_name_that_promises_other_frames_than_the_file_holds_is_noted(pair: Path) -> None:
    path = pair / "infected" / "exp_s5_b2_p36_t0-2_ec.tiff"
    path.rename(path.with_name("exp_s5_b2_p36_t0-94_ec.tiff"))
    manifest, notes = load_manifest(both(pair), ONSET_H)
    assert notes == [
        f"{path.with_name('exp_s5_b2_p36_t0-94_ec.tiff')}: its name says 95 frames, the file holds 3"
    ]
    assert manifest["n_frames"].eq(3).all()


def test_the_same_note_on_many_stacks_is_one_line(tmp_path: Path, write_stack: Write) -> None:
    for position in range(5):
        write_stack(tmp_path / "infected" / f"s1_a1_p{position}_t0-9.tif")
    write_stack(tmp_path / "uninfected" / "s1_a2_p0_t0-2.tif")
    _, notes = load_manifest(DataConfig(source=str(tmp_path)), ONSET_H)
    assert len(notes) == 1
    assert notes[0].startswith(
        f"5 stacks (first {tmp_path / 'infected' / 's1_a1_p0_t0-9.tif'}): its name says"
    )


def test_pattern_groups_become_columns(tmp_path: Path, write_stack: Write) -> None:
    write_stack(tmp_path / "infected" / "P7-drugA-b3-001.tif")
    write_stack(tmp_path / "uninfected" / "P8-none-b3-001.tif")
    pattern = r"(?P<plate>P\d)-(?P<compound>\w+)-(?P<well>\w\d)-(?P<position>\d+)"
    manifest, _ = load_manifest(DataConfig(source=str(tmp_path), name_pattern=pattern), ONSET_H)
    assert list(manifest["stack_id"]) == ["P7/B03/p001", "P8/B03/p001"]
    assert list(manifest["compound"]) == ["drugA", "none"]


def test_the_usual_pattern_is_shown_by_a_name_that_fits_it(tmp_path: Path, write_stack: Write) -> None:
    for condition in ("infected", "uninfected"):
        write_stack(tmp_path / condition / "image_one.tif")
    with pytest.raises(InputError) as error:
        load_manifest(DataConfig(source=str(tmp_path)), ONSET_H)
    assert "a name such as s1_B03_p2 (series, well, position) is found in none of 2 file names" in str(
        error.value
    )
    assert "(?P<" not in str(error.value)


def test_pattern_found_in_no_name_says_pattern_and_example(pair: Path, refusal: Refusal) -> None:
    message = refusal(both(pair).model_copy(update={"name_pattern": r"plate(?P<well>\d+)"}))
    assert "data.name_pattern: 'plate(?P<well>\\\\d+)' is found in none of 3 file names" in message
    assert "e.g. exp_s5_b2_p36_t0-2_ec.tiff" in message
    assert "is not a regular expression" in refusal(
        both(pair).model_copy(update={"name_pattern": "(?P<well"})
    )


def test_one_name_that_does_not_fit_is_an_error_of_that_file(
    pair: Path, write_stack: Write, refusal: Refusal
) -> None:
    odd = write_stack(pair / "infected" / "overview.tif")
    assert refusal(both(pair)).startswith(f"{odd}: its name does not follow the name pattern; rename it")


def test_empty_pattern_leaves_the_well_unknown_and_says_so(tmp_path: Path, write_stack: Write) -> None:
    write_stack(tmp_path / "infected" / "one.tif")
    write_stack(tmp_path / "uninfected" / "two.tif")
    manifest, notes = load_manifest(DataConfig(source=str(tmp_path), name_pattern=""), ONSET_H)
    assert list(manifest["well"]) == ["", ""]
    assert list(manifest["position"]) == ["one", "two"]
    assert len(notes) == 1
    assert notes[0].startswith(f"{tmp_path.name}: 2 of 2 stacks are of an unknown well")


def test_interval_from_config_when_the_file_has_none(
    tmp_path: Path, write_stack: Write, refusal: Refusal
) -> None:
    for folder, well in (("infected", "a1"), ("uninfected", "a2")):
        write_stack(tmp_path / folder / f"s1_{well}_p1.tif", interval_h=None)
    source = DataConfig(source=str(tmp_path))
    assert "does not say how far apart its 3 frames are; set data.interval_h" in refusal(source)
    manifest, _ = load_manifest(source.model_copy(update={"interval_h": 0.25}), ONSET_H)
    assert manifest["interval_h"].eq(0.25).all()


def test_a_stated_interval_overrules_the_file_and_both_are_shown(pair: Path) -> None:
    manifest, notes = load_manifest(both(pair).model_copy(update={"interval_h": 1.0}), ONSET_H)
    assert manifest["interval_h"].eq(1.0).all()
    assert [note.partition(": ")[2] for note in notes] == [
        "frames are 1 h apart by data.interval_h; the file's 0.5 h are not used"
    ] * 3
    _, notes = load_manifest(both(pair).model_copy(update={"interval_h": 0.5004}), ONSET_H)
    assert notes == []  # a rounded value is the same


def test_frame_sizes_mixed_inside_a_plate_are_an_error(
    pair: Path, write_stack: Write, refusal: Refusal
) -> None:
    odd = write_stack(pair / "uninfected" / "exp_s5_c4_p2.tif", size=17)
    message = refusal(both(pair))
    assert message.startswith(f"{odd}: frames of 17 x 17 px, the other stacks of plate hbmvec have 16 x 16")


def test_one_class_is_enough_to_look_but_not_to_train(
    tmp_path: Path, write_stack: Write, refusal: Refusal
) -> None:
    write_stack(tmp_path / "infected" / "s1_a1_p1.tif")
    (tmp_path / "uninfected").mkdir()
    assert "no image files (.tif, .tiff" in refusal(DataConfig(source=str(tmp_path)))
    (tmp_path / "m.csv").write_text("path,condition\ninfected/s1_a1_p1.tif,infected\n")
    source = DataConfig(source=str(tmp_path / "m.csv"))
    assert len(load_manifest(source, ONSET_H)[0]) == 1
    assert "no mock stack among 1; training needs infected and mock wells" in refusal(source, need_both=True)


def test_two_stacks_of_one_place_are_an_error_naming_both(
    pair: Path, write_stack: Write, refusal: Refusal
) -> None:
    second = write_stack(pair / "infected" / "copy" / "exp_s5_b2_p4_t0-2_ec.tiff")
    message = refusal(both(pair))
    assert "two stacks of one place hbmvec/B02/p4" in message
    assert str(second) in message
    assert str(pair / "infected" / "exp_s5_b2_p4_t0-2_ec.tiff") in message


def test_series_tell_stacks_of_one_position_apart(pair: Path, write_stack: Write) -> None:
    write_stack(pair / "infected" / "exp_s6_b2_p4_t0-2_ec.tiff")
    manifest, _ = load_manifest(both(pair), ONSET_H)
    assert set(manifest["stack_id"]) == {
        "hbmvec/B02/p36",
        "hbmvec/B02/p4/s5",
        "hbmvec/B02/p4/s6",
        "hbmvec/C04/p1",
    }


def test_a_well_in_both_folders_is_an_error(pair: Path, write_stack: Write, refusal: Refusal) -> None:
    write_stack(pair / "uninfected" / "exp_s5_b2_p9.tiff")
    assert "well B02 of plate hbmvec is infected and mock at once" in refusal(both(pair))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("no image"), "not a TIFF file, whatever its name says"),
        (lambda path: path.write_bytes(b""), "the file is empty (0 bytes)"),
        (lambda path: path.write_bytes(path.read_bytes()[:600]), "cut short"),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), "a link to a file that is not there"),
        (lambda path: (path.unlink(), path.symlink_to(path)), "a link to a file that is not there"),
        (lambda path: (path.unlink(), path.mkdir()), "a folder, not a file"),
    ],
)
def test_a_bad_stack_is_one_row_and_the_others_are_usable(
    pair: Path, make: Callable[[Path], object], words: str, refusal: Refusal
) -> None:
    path = pair / "infected" / "exp_s5_b2_p36_t0-2_ec.tiff"
    make(path)
    message = refusal(both(pair))
    assert message.startswith(f"{path}: ")
    assert words in message
    found = survey(both(pair), ONSET_H)
    assert list(found.manifest["stack_id"]) == ["hbmvec/B02/p4", "hbmvec/C04/p1"]
    assert list(found.problems.columns) == ["path", "severity", "problem", "remedy"]
    (row,) = found.problems.to_dict("records")
    assert row["path"] == str(path)
    assert row["severity"] == "error"
    assert words in row["problem"]
    assert row["remedy"]


def test_nothing_usable_gives_an_empty_manifest(pair: Path, refusal: Refusal) -> None:
    for path in pair.rglob("*.tiff"):
        path.write_bytes(b"")
    found = survey(both(pair), ONSET_H)
    assert len(found.manifest) == 0
    assert list(found.manifest.columns) == list(MANIFEST.columns)
    assert len(found.problems) == 3
    assert "(2 more:" in refusal(both(pair))


def test_sources_that_are_not_there(tmp_path: Path, refusal: Refusal) -> None:
    assert "data.source is empty" in refusal(DataConfig())
    assert f"{tmp_path / 'x'}: no such file or folder" in refusal(DataConfig(source=str(tmp_path / "x")))
    assert "neither plate.yaml nor manifest.csv" in refusal(DataConfig(source=str(tmp_path)))
    (tmp_path / "notes.txt").write_text("a1 infected")
    assert "neither a plate map nor a manifest" in refusal(DataConfig(source=str(tmp_path / "notes.txt")))
    gone = DataConfig(source=FolderPair(infected=str(tmp_path / "i"), uninfected=str(tmp_path)))
    assert f"{tmp_path / 'i'}: no such folder" in refusal(gone)


def test_stills_of_several_sizes_are_noted_not_refused(tmp_path: Path) -> None:
    for folder, size in (("infected", 20), ("uninfected", 24)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((size, size), np.uint8)).save(tmp_path / folder / f"s1_a{size}_p1.png")
    manifest, notes = load_manifest(DataConfig(source=str(tmp_path)), ONSET_H)
    assert list(manifest["n_frames"]) == [1, 1]
    assert manifest["interval_h"].isna().all()
    assert notes == [f"{tmp_path.name}: stills of 2 sizes (20-24 px): each is resized, so scale is lost"]


def test_recorded_times_off_the_raster_are_kept_and_noted(tmp_path: Path) -> None:
    minutes = {"a1": [0.0, 30.0, 60.0], "a2": [0.0, 30.1, 60.1], "a3": [0.0, 33.0, 60.0]}
    for well, times in minutes.items():
        folder = tmp_path / ("uninfected" if well == "a2" else "infected")
        folder.mkdir(exist_ok=True)
        planes = {"DeltaT": times, "DeltaTUnit": ["min"] * 3}
        metadata = {"axes": "TYX", "TimeIncrement": 0.5, "TimeIncrementUnit": "h", "Plane": planes}
        tifffile.imwrite(
            folder / f"s1_{well}_p1.ome.tif",
            np.zeros((3, 16, 16), np.uint8),
            metadata=metadata,
            photometric="minisblack",
        )
    manifest, notes = load_manifest(DataConfig(source=str(tmp_path)), ONSET_H)
    times = acquisition_times(manifest)
    assert list(times) == [f"{tmp_path.name}/A03/p1"]  # 0.1 min of 30 is on the raster
    np.testing.assert_allclose(times[f"{tmp_path.name}/A03/p1"], [0, 0.55, 1.0])
    assert len(notes) == 1
    assert "up to +3 min off the nominal 0.5 h raster" in notes[0]


def test_manifest_written_and_given_back_is_the_same(pair: Path) -> None:
    manifest, _ = load_manifest(both(pair), ONSET_H)
    path = write(MANIFEST, manifest, pair / "manifest.csv")
    again, notes = load_manifest(DataConfig(source=str(path)), onset_h=99.0)
    assert notes == []
    assert again[list(MANIFEST.columns)].equals(read(MANIFEST, path)[list(MANIFEST.columns)])
    assert again["stack_id"].equals(manifest["stack_id"])
