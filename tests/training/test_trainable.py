"""Frames that cannot be trained on are refused, and what tasks and frames leave unknown becomes a note."""

import pandas as pd
import pytest

from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.training.losses import check_trainable, task_notes, trainable_frames

TASKS = {
    "both": {},
    "class": {"tasks": ("class",)},
    "time": {"tasks": ("time",)},
    "time of infected": {"tasks": ("time",), "time_on": "infected"},
    "time of uninfected": {"tasks": ("time",), "time_on": "uninfected"},
    "both, time of infected": {"time_on": "infected"},
}


def config(name="both"):
    return Config(model=TASKS[name], train={"best": "auc" if name == "class" else "mae"})


def frames_of(train, val, test):
    rows = [(split, label) for split, labels in (("train", train), ("val", val), ("test", test))
            for label in labels]  # fmt: skip
    table = pd.DataFrame(rows, columns=["split", "label"])
    return table.assign(
        label=table["label"].astype("Int8"), stack_id="a", frame=range(len(rows)), time_target=1.0
    )


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("both", [True, True, False]),
        ("class", [True, True, False]),
        ("time", [True, True, False]),
        ("time of infected", [False, True, False]),
        ("time of uninfected", [True, False, False]),
        ("both, time of infected", [True, True, False]),
    ],
)
def test_what_can_be_learnt_from_follows_from_the_tasks(name, used):
    frames = frames_of([0, 1, None], [], [])
    assert trainable_frames(frames, config(name).model).tolist() == used


@pytest.mark.parametrize(
    ("name", "splits", "line"),
    [
        ("both", ([1, 1], [0, 1], [0, 1]), "^train: all labelled frames are infected; widen frames.train"),
        ("class", ([0, 1], [0, 0, None], [0, 1]), "^val: all labelled frames are uninfected"),
        ("both", ([0, 1], [0, 1], [None]), "^test: no frame to use is left"),
        ("time", ([], [0, 1], [0, 1]), "^train: no frame to use is left"),
        ("time of infected", ([0, 1], [0, 0], [0, 1]), "^val: no frame to use is left"),
    ],
)
def test_splits_that_cannot_be_learnt_or_tested_are_refused(name, splits, line):
    with pytest.raises(InputError, match=line):
        check_trainable(config(name), frames_of(*splits))


@pytest.mark.parametrize("name", ["time", "time of infected"])
def test_a_clock_of_one_class_may_see_one_class(name):
    check_trainable(config(name), frames_of([1, 1], [1], [1]))


@pytest.mark.parametrize(
    ("name", "test", "words"),
    [
        ("both", [0, 1], []),
        ("class", [0, 1], ["says nothing about time"]),
        ("time", [1, 1], ["says nothing about the class"]),
        ("time of infected", [0, 1], ["nothing about the class", "learnt on infected frames only"]),
        ("both, time of infected", [0, 1], ["learnt on infected frames only"]),
        ("both", [0, 0, None], ["All labelled test frames are uninfected"]),
    ],
)
def test_what_a_run_leaves_unknown_is_said(name, test, words):
    notes = task_notes(config(name), frames_of([0, 1], [0, 1], test))
    assert len(notes) == len(words)
    assert all(word in note for note, word in zip(notes, words, strict=True))
