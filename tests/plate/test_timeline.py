"""Earlier frames that are read with a frame: found at true times, by hand."""

import pandas as pd
import pytest

from hpiclock.config.load import config_of
from hpiclock.errors import InputError
from hpiclock.plate.timeline import context_note, context_of


def frames_at(**hours):
    return pd.DataFrame([(name, h) for name, of in hours.items() for h in of], columns=["stack_id", "hours"])


def test_the_frame_itself_then_those_asked_for_at_true_times():
    # every 2 h, but the third frame 0.5 h late: 4 h before 8 h is frame 2 at 4.5 h
    context = context_of(frames_at(a=[0, 2, 4.5, 6, 8]), (0.0, -4.0))
    assert context.rows[4].tolist() == [4, 2]
    assert context.rows[3].tolist() == [3, 1]
    assert not context.stands_in[3:].any()


def test_frames_of_another_stack_are_never_read():
    context = context_of(frames_at(a=[0, 2, 4], b=[0, 2, 4]), (0.0, -2.0, "start"))
    assert context.rows.tolist() == [[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 3, 3], [4, 3, 3], [5, 4, 3]]


def test_before_the_first_frame_it_stands_in_and_is_counted():
    context = context_of(frames_at(a=[0, 2, 4, 6]), (0.0, -4.0))
    assert context.rows[:, 1].tolist() == [0, 0, 0, 1]
    assert context.stands_in[:, 1].tolist() == [True, True, False, False]
    (note,) = context_note(frames_at(a=[0, 2, 4, 6]), (0.0, -4.0))
    assert "that 4 h before" in note
    assert "Of 4 frames 2 have none" in note


def test_a_gap_is_no_frame():
    # nothing was imaged between 4 and 12 h: 4 h before 14 h nothing stands
    context = context_of(frames_at(a=[0, 2, 4, 12, 14]), (0.0, -4.0))
    assert context.stands_in[4, 1]
    assert context.rows[4, 1] == 3  # 12 h is nearer to 10 h than 4 h


def test_frames_alone_need_no_note():
    assert context_note(frames_at(a=[0, 2]), (0.0,)) == ()


@pytest.mark.parametrize(
    "asked",
    [[-4], [0, 4], [0, -4, -4], [0, "end"], [], [0, 0], [0, -1, -2, -3, -4, -5, -6, -7, -8]],
)
def test_hours_that_are_no_context_are_refused(asked):
    with pytest.raises(InputError, match="context_h"):
        config_of({"image.context_h": asked})
