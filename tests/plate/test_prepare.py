"""From a config to frames that are ready: the steps together, in the right order, with their notes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hpiclock.config.load import config_of
from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.plate.frames import Plate, prepare_frames
from hpiclock.tables import FRAMES, MANIFEST, check

N_FRAMES = 7  # at 0, 0.5, ... 3 h
ONSETS = {"A01": 0.0, "A02": 1.0, "A03": 1.2}


@pytest.fixture
def plate(tmp_path: Path, write_stack: Callable[..., Path]) -> Path:
    """Three infected wells with onsets of their own and three mock wells, two fields each."""
    wells: dict[str, dict[str, Any]] = {f"B0{i}": {"condition": "mock"} for i in (1, 2, 3)}
    wells |= {well: {"condition": "infected", "moi": 1.0, "onset_h": at} for well, at in ONSETS.items()}
    for well in wells:
        for position in (1, 2):
            write_stack(tmp_path / f"s1_{well}_p{position}.tif", N_FRAMES)
    path = tmp_path / "plate.yaml"
    path.write_text(yaml.safe_dump({"plate": "one", "allocation": "well", "wells": wells}))
    return path


def config(plate: Path, **changes: Any) -> Config:
    return config_of({"data.source": str(plate), **{key.replace("__", "."): v for key, v in changes.items()}})


def infected_frames(data: Plate, well: str) -> pd.DataFrame:
    rows = data.frames[data.frames["well"] == well]
    return rows[rows["position"] == "1"]


def test_both_tables_hold_what_they_promise(plate: Path) -> None:
    data = prepare_frames(config(plate))
    pd.testing.assert_frame_equal(check(MANIFEST, data.manifest), data.manifest)
    pd.testing.assert_frame_equal(check(FRAMES, data.frames), data.frames)
    assert len(data.manifest) == 12
    assert set(data.frames["split"]) == {"train", "val", "test"}
    assert data.split.unit == "well"
    assert data.notes == ()


def test_every_well_keeps_its_own_onset_and_its_own_split(plate: Path) -> None:
    data = prepare_frames(config(plate, targets__before_onset="signed", targets__range_h=[-12, 48]))
    for well, onset_h in ONSETS.items():
        rows = infected_frames(data, well)
        assert rows["hours"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
        assert rows["time_target"].tolist() == pytest.approx([h - onset_h for h in rows["hours"]])
    assert data.frames.groupby("well")["split"].nunique().eq(1).all()


def test_dropped_frames_are_missing_in_train_and_unlabelled_elsewhere(plate: Path) -> None:
    data = prepare_frames(config(plate, targets__before_onset="drop"))
    for well, before in (("A01", 0), ("A02", 2), ("A03", 3)):
        rows = infected_frames(data, well)
        in_train = rows["split"].iloc[0] == "train"
        assert len(rows) == (N_FRAMES - before if in_train else N_FRAMES)
        assert int(rows["label"].isna().sum()) == (0 if in_train else before)


def test_windows_strides_and_matching_come_after_the_targets(plate: Path) -> None:
    both = {"infected": {"start_h": 1.0, "stride": 2}, "match_controls": True}
    data = prepare_frames(config(plate, frames=dict.fromkeys(("train", "val", "test"), both)))
    hours = data.frames.groupby("condition")["hours"].agg(lambda h: sorted(set(h)))
    assert hours["infected"] == [1.0, 2.0, 3.0]
    # the usual step is 0.5 h (the mock stacks), so a control is kept within 0.25 h of an infected frame
    assert hours["mock"] == [1.0, 2.0, 3.0]


def test_the_fold_is_written_beside_every_frame(plate: Path) -> None:
    one, two = (prepare_frames(config(plate, split__folds=3, split__fold=fold)) for fold in (0, 2))
    assert (set(one.frames["fold"]), set(two.frames["fold"])) == ({0}, {2})
    tested = [set(data.frames.loc[data.frames["split"] == "test", "well"]) for data in (one, two)]
    assert not tested[0] & tested[1]


def test_a_split_that_is_given_back_is_used(tmp_path: Path, plate: Path) -> None:
    first = prepare_frames(config(plate, split__seed=11))
    (tmp_path / "split.json").write_text(first.split.dumps())
    again = prepare_frames(config(plate, split__file=str(tmp_path / "split.json")))
    pd.testing.assert_frame_equal(again.frames, first.frames)
    assert again.split.sha256 == first.split.sha256


def test_recorded_times_replace_the_raster(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.25]
    monkeypatch.setattr(
        "hpiclock.plate.timeline.acquisition_times",
        lambda manifest: {manifest["stack_id"].iloc[0]: np.array(late)},
    )
    data = prepare_frames(config(plate))
    mine = data.frames[data.frames["stack_id"] == data.manifest["stack_id"].iloc[0]]
    assert mine["hours"].tolist() == late[-len(mine) :]
    assert data.frames["hours"].eq(3.25).sum() == 1


def test_targets_at_the_end_of_their_range_are_said_aloud(plate: Path) -> None:
    short = {"targets__range_h": [0, 2], "windows__width_h": 1, "targets__before_onset": "clip"}
    data = prepare_frames(config(plate, **short))
    # beyond 2 h: frames at 2.5 and 3 h of 6 mock stacks and of the 2 stacks with onset 0; 3 - 1 h is inside
    assert data.notes[-1].startswith("16 of 84 frames lie outside targets.range_h (0-2 h)")
    wide = prepare_frames(config(plate, targets__before_onset="clip"))
    assert wide.notes == ()  # clip puts frames before the onset at 0 on purpose


def test_windows_outside_the_data_are_refused(plate: Path) -> None:
    with pytest.raises(InputError, match=r"windows: 20-40 h lie outside the data, which hold 0-3 h"):
        prepare_frames(config(plate, windows__start_h=20, windows__end_h=40))
    prepare_frames(config(plate, windows__start_h=2, windows__end_h=40))  # they overlap: that is enough


def test_notes_of_the_split_travel(plate: Path) -> None:
    data = prepare_frames(config(plate, split__unit="position"))
    assert any(note.startswith("SPLIT BY POSITION: as asked") for note in data.notes)
