"""One experiment: the seed makes the weights, frames that cannot be learnt from are refused or named."""

import pandas as pd
import pytest
import torch

from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.training.experiment import (
    check_trainable,
    prepare_model,
    task_notes,
    train_and_predict,
    trainable_frames,
)

TASKS = {
    "both": {},
    "class": {"tasks": ("class",)},
    "time": {"tasks": ("time",)},
    "time of infected": {"tasks": ("time",), "time_on": "infected"},
    "time of uninfected": {"tasks": ("time",), "time_on": "uninfected"},
    "both, time of infected": {"time_on": "infected"},
}


def config(name="both", **changes):
    model = {"backbone": "shufflenet_v2_x0_5", "hidden_dim": 8, **TASKS[name]}
    best = "auc" if name == "class" else "mae"
    train = {"best": best, "epochs": 1, "threads": 1, "precision": "fp32"}
    return Config(model=model, train=train, image={"size": 32}, **changes)


def frames_of(train, val, test):
    rows = [(split, label) for split, labels in (("train", train), ("val", val), ("test", test))
            for label in labels]  # fmt: skip
    table = pd.DataFrame(rows, columns=["split", "label"])
    return table.assign(
        label=table["label"].astype("Int8"), stack_id="a", frame=range(len(rows)), time_target=1.0
    )


def test_the_seed_alone_makes_the_weights():
    def weights(seed, other):
        torch.manual_seed(other)
        return prepare_model(config(seed=seed), pretrained=True).model.state_dict()

    first, again, another = weights(1, 10), weights(1, 20), weights(2, 10)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["class_head.0.weight"], another["class_head.0.weight"])


def test_the_machine_is_told():
    assert prepare_model(config(), pretrained=True).facts() == {
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
    }


def test_an_image_size_the_backbone_cannot_read_is_refused():
    cfg = config().model_copy(update={"model": Config().model.model_copy(update={"backbone": "alexnet"})})
    with pytest.raises(InputError, match="alexnet cannot read images of 32 px"):
        prepare_model(cfg, pretrained=True)


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


def test_a_time_that_was_never_learnt_is_not_predicted(make_plate, tmp_path):
    cfg = config("both, time of infected")
    plate = make_plate([0, 1, 0, 1, 0, 1, 0, 1, None])
    splits = ["train", "train", "train", "train", "val", "val", "test", "test", "test"]
    frames = plate.frames.sort_values("frame").assign(split=splits)
    frames = frames[frames["frame"].ne(8) | frames["split"].eq("test")]
    learnt = train_and_predict(
        cfg, prepare_model(cfg, pretrained=True), plate.cache, frames, tmp_path, say=str
    )
    said = learnt.predictions
    assert said["frame"].tolist() == list(range(9))
    assert said["time_pred"].notna().tolist() == [False, True] * 4 + [True]  # no label: it may be infected
    assert said["p_infected"].notna().all()
    tested = learnt.history[learnt.history["split"].eq("test")].set_index("metric")["value"]
    of_infected = said[said["frame"].eq(7)].iloc[0]
    assert tested["mae"] == pytest.approx(abs(of_infected["time_pred"] - of_infected["time_target"]))
