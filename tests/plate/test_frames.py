"""One row per frame, then windows, strides and matched controls, by hand."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from hpiclock.config.schema import FramesConfig
from hpiclock.errors import InputError
from hpiclock.plate.frames import match_controls, select_frames
from hpiclock.plate.timeline import expand_frames


def manifest(**changes: object) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "stack_id": ["i", "m"],
            "path": ["/i.tif", "/m.tif"],
            "plate": "one",
            "well": ["A01", "A02"],
            "position": "1",
            "condition": ["infected", "mock"],
            "moi": [1.0, np.nan],
            "onset_h": [2.0, np.nan],
            "n_frames": [3, 2],
            "interval_h": [0.5, 2.0],
            "start_h": [0.0, 1.0],
        }
    )
    return rows.assign(**changes)


def rows(stack_id: str, hours: list[float], labels: list[int | None], split: str = "train") -> pd.DataFrame:
    condition = "infected" if stack_id.startswith("i") else "mock"
    label = pd.array(labels, dtype="Int8")
    return pd.DataFrame(
        {
            "stack_id": stack_id,
            "plate": "P",
            "condition": condition,
            "split": split,
            "frame": range(len(hours)),
        }
        | {"hours": hours, "label": label}
    )


def hourly(split: str = "train", last_h: int = 9) -> pd.DataFrame:
    """An infected and a mock stack, a frame an hour, all labelled."""
    hours = [float(hour) for hour in range(last_h + 1)]
    infected, mock = rows("i", hours, [1] * len(hours), split), rows("m", hours, [0] * len(hours), split)
    return pd.concat([infected, mock], ignore_index=True)


def chosen(frames: pd.DataFrame, config: Mapping[str, object]) -> dict[str, list[float]]:
    kept = select_frames(frames, FramesConfig.model_validate(config))
    return {str(stack): mine["hours"].tolist() for stack, mine in kept.groupby("stack_id")}


def test_hours_follow_from_start_and_interval() -> None:
    frames = expand_frames(manifest())
    assert frames["stack_id"].tolist() == ["i", "i", "i", "m", "m"]
    assert frames["frame"].tolist() == [0, 1, 2, 0, 1]
    assert frames["hours"].tolist() == [0.0, 0.5, 1.0, 1.0, 3.0]
    assert frames["onset_h"].tolist()[:3] == [2.0, 2.0, 2.0]


def test_a_still_stands_at_its_hour() -> None:
    frames = expand_frames(manifest(n_frames=1, interval_h=np.nan, start_h=[7.0, 8.5]))
    assert frames["hours"].tolist() == [7.0, 8.5]


def test_recorded_times_replace_the_interval() -> None:
    frames = expand_frames(manifest(times_h=["", "[0.0, 2.2]"]))
    assert frames["hours"].tolist() == [0.0, 0.5, 1.0, 1.0, 3.2]


@pytest.mark.parametrize("times", [[0.0], [0.0, 1.0, 2.0]])
def test_recorded_times_for_another_number_of_frames_are_refused(times: list[float]) -> None:
    with pytest.raises(InputError, match=f"stack m: {len(times)} acquisition times for 2 frames"):
        expand_frames(manifest(times_h=["", str(times)]))


def test_by_default_every_frame_is_used() -> None:
    assert chosen(hourly(), {}) == {"i": [*range(10)], "m": [*range(10)]}


def test_a_window_includes_both_its_ends() -> None:
    config = {"train": {"infected": {"start_h": 2, "end_h": 5}, "uninfected": {"end_h": 1}}}
    assert chosen(hourly(), config) == {"i": [2, 3, 4, 5], "m": [0, 1]}


def test_a_window_end_is_not_missed_by_a_rounding_error() -> None:
    # 3 * 0.1 is 0.30000000000000004, 6 * 0.1 is 0.6000000000000001
    stacks = expand_frames(manifest(n_frames=10, interval_h=0.1, start_h=0.0))
    stacks = stacks.assign(split="train", label=pd.array([1] * 10 + [0] * 10, dtype="Int8"))
    kept = select_frames(
        stacks, FramesConfig.model_validate({"train": {"infected": {"start_h": 0.3, "end_h": 0.6}}})
    )
    assert kept.query("condition == 'infected'")["frame"].tolist() == [3, 4, 5, 6]


def test_a_stride_begins_at_the_first_frame_inside_the_window() -> None:
    config = {"train": {"infected": {"start_h": 1, "stride": 3}, "uninfected": {"stride": 4}}}
    assert chosen(hourly(), config) == {"i": [1, 4, 7], "m": [0, 4, 8]}


def test_every_split_has_its_own_windows() -> None:
    frames = pd.concat([hourly("train"), hourly("test").assign(stack_id=lambda d: d["stack_id"] + "2")])
    config = {"train": {"infected": {"end_h": 1}}, "test": {"uninfected": {"stride": 5}}}
    found = chosen(frames, config)
    assert found == {"i": [0, 1], "m": [*range(10)], "i2": [*range(10)], "m2": [0, 5]}


def test_dropped_frames_leave_train_and_stay_to_be_predicted_elsewhere() -> None:
    labels = [None, None, 1, 1]
    train = pd.concat([rows("i", [0, 1, 2, 3], labels), rows("m", [0, 1], [0, 0])])
    test = pd.concat([rows("i2", [0, 1, 2, 3], labels, "test"), rows("m2", [0, 1], [0, 0], "test")])
    found = chosen(pd.concat([train, test]), {})
    assert found == {"i": [2, 3], "m": [0, 1], "i2": [0, 1, 2, 3], "m2": [0, 1]}


def test_matched_controls_stand_at_hours_of_infected_frames() -> None:
    config = {"train": {"match_controls": True, "infected": {"start_h": 3, "end_h": 6}}}
    assert chosen(hourly(), config) == {"i": [3, 4, 5, 6], "m": [3, 4, 5, 6]}


def test_matching_reaches_half_a_frame_step_and_a_control_belongs_to_one_hour() -> None:
    # frames every 2 h: a control within 1 h of an infected frame at 4 or 6 h is of its hour
    infected = rows("i", [4, 6], [1, 1])
    mock = rows("m", [0.9, 2.9, 4.9, 6.9, 8.9], [0] * 5)
    found = match_controls(pd.concat([infected, mock]))
    assert found.query("condition == 'mock'")["hours"].tolist() == [4.9, 6.9]
    shifted = mock.assign(hours=mock["hours"] + 0.1)  # half a step away counts upwards: 3 with 4, 7 with 8
    found = match_controls(pd.concat([infected, shifted]))
    assert found.query("condition == 'mock'")["hours"].tolist() == [3.0, 5.0]


def test_frames_before_the_onset_are_no_reference_for_matching() -> None:
    infected = rows("i", [0, 1, 2, 3], [None, 0, 1, 1])
    found = match_controls(pd.concat([infected, rows("m", [0, 1, 2, 3], [0] * 4)]))
    assert found.query("condition == 'mock'")["hours"].tolist() == [2, 3]
    assert found.query("condition == 'infected'")["hours"].tolist() == [0, 1, 2, 3]  # controls only are cut


def test_stills_match_at_the_same_hour_only() -> None:
    stills = pd.concat([rows("i1", [24.0], [1]), rows("m1", [24.0], [0]), rows("m2", [24.5], [0])])
    assert match_controls(stills)["stack_id"].tolist() == ["i1", "m1"]


def test_without_infected_frames_no_control_matches() -> None:
    assert match_controls(rows("m", [0, 1], [0, 0])).empty


def test_a_window_that_holds_no_frame_is_refused_with_what_there_is() -> None:
    with pytest.raises(InputError) as caught:
        chosen(hourly(), {"train": {"uninfected": {"start_h": 20, "end_h": 30}}})
    assert (
        str(caught.value) == "frames.train.uninfected: no frame lies in 20 h to 30 h; the stacks hold 0-9 h"
    )
    with pytest.raises(InputError, match=r"frames\.val\.infected: no frame lies in 9\.5 h to the end"):
        chosen(hourly("val"), {"val": {"infected": {"start_h": 9.5}}})


def test_the_order_of_rows_does_not_matter() -> None:
    config = FramesConfig.model_validate({"train": {"match_controls": True, "infected": {"stride": 3}}})
    shuffled = hourly().sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(select_frames(shuffled, config), select_frames(hourly(), config))
