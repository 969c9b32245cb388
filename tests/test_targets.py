"""The two clocks, worked out by hand for every choice."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.config.schema import TargetsConfig
from hpiclock.errors import InputError
from hpiclock.targets import add_targets, hpi

NAN = float("nan")
# one infected well with its onset at 2 h, one mock well; frames at 0, 1, 2, 3 and 50 h
HOURS = [0.0, 1.0, 2.0, 3.0, 50.0]


def plate(onset_h: float = 2.0) -> pd.DataFrame:
    infected = pd.DataFrame({"stack_id": "i", "condition": "infected", "onset_h": onset_h, "hours": HOURS})
    mock = pd.DataFrame({"stack_id": "m", "condition": "mock", "onset_h": np.nan, "hours": HOURS})
    return pd.concat([infected, mock], ignore_index=True)


def targets(before_onset: str, clock: str = "class", low: float = 0.0) -> pd.DataFrame:
    choices = TargetsConfig(before_onset=before_onset, clock=clock, range_h=(low, 48.0))  # type: ignore[arg-type]
    return add_targets(plate(), choices)


@pytest.mark.parametrize(
    ("before_onset", "low", "labels", "clocks", "times"),
    [
        # two frames before the onset; 50 - 2 = 48 h is the end of the range
        ("drop", 0.0, [None, None, 1, 1, 1], "iiiii", [NAN, NAN, 0, 1, 48]),
        ("uninfected", 0.0, [0, 0, 1, 1, 1], "eeiii", [0, 1, 0, 1, 48]),
        ("clip", 0.0, [1, 1, 1, 1, 1], "iiiii", [0, 0, 0, 1, 48]),
        ("clip", -12.0, [1, 1, 1, 1, 1], "iiiii", [0, 0, 0, 1, 48]),
        ("signed", -12.0, [1, 1, 1, 1, 1], "iiiii", [-2, -1, 0, 1, 48]),
        ("signed", -1.5, [1, 1, 1, 1, 1], "iiiii", [-1.5, -1, 0, 1, 48]),  # clamped
    ],
)
def test_infected_frames_before_their_onset(
    before_onset: str, low: float, labels: list[int | None], clocks: str, times: list[float]
) -> None:
    rows = targets(before_onset, low=low).query("condition == 'infected'")
    assert [None if pd.isna(label) else int(label) for label in rows["label"]] == labels
    assert "".join(clock[:1] if clock == "experiment" else "i" for clock in rows["clock"]) == clocks
    np.testing.assert_array_equal(rows["time_target"], times)
    np.testing.assert_array_equal(rows["hpi"], [-2, -1, 0, 1, 48])  # signed whatever the choice


@pytest.mark.parametrize("before_onset", ["drop", "uninfected", "clip", "signed"])
def test_mock_frames_run_on_the_experiment_clock(before_onset: str) -> None:
    rows = targets(before_onset, low=-12.0).query("condition == 'mock'")
    assert rows["label"].eq(0).all()
    assert rows["clock"].eq("experiment").all()
    assert rows["hpi"].isna().all()
    np.testing.assert_array_equal(rows["time_target"], [0, 1, 2, 3, 48])  # 50 h is clamped


@pytest.mark.parametrize(
    ("before_onset", "labels", "times"),
    [
        ("drop", [None, None, 1, 1, 1], [NAN, NAN, 2, 3, 48]),
        ("uninfected", [0, 0, 1, 1, 1], [0, 1, 2, 3, 48]),
        ("clip", [1, 1, 1, 1, 1], [0, 1, 2, 3, 48]),
        ("signed", [1, 1, 1, 1, 1], [0, 1, 2, 3, 48]),
    ],
)
def test_one_clock_for_all(before_onset: str, labels: list[int | None], times: list[float]) -> None:
    rows = targets(before_onset, clock="experiment").query("condition == 'infected'")
    assert [None if pd.isna(label) else int(label) for label in rows["label"]] == labels
    assert rows["clock"].eq("experiment").all()
    np.testing.assert_array_equal(rows["time_target"], times)


def test_every_well_has_its_own_onset() -> None:
    wells = [plate(onset).query("condition == 'infected'") for onset in (0.0, 1.0, 2.5)]
    rows = pd.concat([well.assign(stack_id=str(i)) for i, well in enumerate(wells)], ignore_index=True)
    rows = add_targets(rows, TargetsConfig(before_onset="clip"))
    at_3h = rows[rows["hours"] == 3.0]
    np.testing.assert_array_equal(at_3h["time_target"], [3.0, 2.0, 0.5])
    # 2.5 h lies between two frames: the one at 2 h is before it, the one at 3 h after
    np.testing.assert_array_equal(rows[rows["stack_id"] == "2"]["hpi"], [-2.5, -1.5, -0.5, 0.5, 47.5])


def test_the_frame_at_the_onset_is_infected() -> None:
    for choice in ("drop", "uninfected"):
        rows = targets(choice).query("condition == 'infected' and hours == 2.0")
        assert (rows["label"].iloc[0], rows["time_target"].iloc[0]) == (1, 0.0)


def test_an_infected_stack_without_an_onset_is_refused() -> None:
    with pytest.raises(InputError, match="stack i: infected and without an onset; give its onset_h"):
        add_targets(plate(onset_h=NAN), TargetsConfig())


def test_the_frames_given_are_left_as_they_are() -> None:
    given = plate()
    add_targets(given, TargetsConfig())
    pd.testing.assert_frame_equal(given, plate())


def test_hours_post_infection_are_signed_and_missing_for_mock() -> None:
    found = hpi(pd.Series([5.0, 1.0, 5.0]), pd.Series([2.0, 2.0, np.nan]))
    assert found.iloc[:2].tolist() == [3.0, -1.0]
    assert np.isnan(found.iloc[2])
