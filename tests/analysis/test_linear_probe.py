"""Linear probes: a planted clock shows as the gap between all controls and those of the same hours."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.evaluate import pooled_metrics
from hpiclock.analysis.linear_probe import boosted_probe, linear_probe, principal_components
from hpiclock.config.schema import Config, StudyConfig
from hpiclock.errors import InputError
from hpiclock.plate.frames import select_frames

FRAMES = {"train": range(6), "val": range(6, 8), "test": range(8, 12)}


def plate(hours_of, feature):
    """Frames of 12 wells a class every 4 h, and one feature of each frame plus noise in another."""
    rng = np.random.default_rng(0)
    rows = []
    for condition, (first, last) in hours_of.items():
        for split, wells in FRAMES.items():
            for well in wells:
                for frame, hours in enumerate(np.arange(first, last + 1, 4.0)):
                    infected = condition == "infected"
                    rows.append(
                        {"stack_id": f"{condition}{well}", "path": "", "plate": "P",
                         "well": f"{condition}{well}", "position": "1", "condition": condition,
                         "moi": 1.0 if infected else np.nan, "onset_h": 0.0 if infected else np.nan,
                         "frame": frame, "hours": hours, "hpi": hours if infected else np.nan,
                         "label": int(infected), "clock": "infection" if infected else "experiment",
                         "time_target": hours, "split": split, "fold": 0}
                    )  # fmt: skip
    frames = pd.DataFrame(rows).astype({"label": "Int8"})
    features = frames[["stack_id", "frame"]].copy()
    features["f0"] = feature(frames) + rng.normal(0, 0.5, len(frames))
    features["f1"] = rng.normal(0, 1, len(frames))
    return frames, features


def score(frames, features, **changes):
    chosen = select_frames(frames.reset_index(drop=True), Config.model_validate({"frames": changes}).frames)
    said = linear_probe(chosen, principal_components(chosen, features), run="r", seed=0)
    table = pooled_metrics([said], study=StudyConfig())
    return table.set_index(["group", "metric"])["value"]


def test_a_feature_that_knows_the_hour_alone_fails_among_controls_of_the_same_hours():
    frames, features = plate({"infected": (20, 48), "mock": (0, 28)}, lambda rows: rows["hours"])
    early = {split: {"infected": {"end_h": 28}} for split in FRAMES}
    matched = {split: part | {"match_controls": True} for split, part in early.items()}
    # by hours alone: infected 20, 24, 28 h against mock 0, 4, ... 28 h win (5.5 + 6.5 + 7.5) / 24 of pairs
    assert score(frames, features, **early)["all", "auc"] == pytest.approx(19.5 / 24, abs=0.08)
    assert score(frames, features, **matched)["all", "auc"] == pytest.approx(0.5, abs=0.2)


def test_a_feature_that_knows_the_class_is_read_and_time_is_read_class_by_class():
    both = {"infected": (0, 48), "mock": (0, 48)}
    frames, features = plate(both, lambda rows: rows["hours"])
    features["f1"] = frames["label"].astype(float)
    found = score(frames, features)
    assert found["all", "auc"] == 1
    assert found["infected", "mae"] < 1
    assert found["mock", "mae"] < 1


def test_nothing_is_learnt_from_frames_outside_training():
    frames, features = plate({"infected": (0, 48), "mock": (0, 48)}, lambda rows: rows["hours"])
    changed = features.copy()
    tested = frames["split"].eq("test").to_numpy()
    changed.loc[tested, ["f0", "f1"]] = 1e3
    before, after = (
        linear_probe(frames, principal_components(frames, f), run="r", seed=0) for f in (features, changed)
    )
    val = before["split"].eq("val")
    assert before[val].equals(after[val])


def test_a_frame_called_mock_is_timed_by_the_mock_clock():
    frames, features = plate({"infected": (0, 48), "mock": (0, 48)}, lambda rows: rows["hours"])
    frames["time_target"] += 100 * frames["label"].eq(0)  # mock hours lie far off
    said = linear_probe(frames, principal_components(frames, features), run="r", seed=0)
    assert said["time_infected"].lt(80).all()
    assert said["time_mock"].gt(80).all()
    called = said["p_infected"] >= 0.5  # by noise alone
    assert 0.1 < called.mean() < 0.9
    assert (said["time_pred"].lt(80) == called).all()


def test_boosting_reads_what_no_line_can():
    frames, features = plate({"infected": (0, 48), "mock": (0, 48)}, lambda rows: rows["hours"])
    sign = np.where(np.arange(len(frames)) % 2, 1.0, -1.0)
    features["f1"] = np.where(frames["label"].eq(1), 2.0, 1.0) * sign
    x = features[["f0", "f1"]].to_numpy()
    linear, boosted = (read(frames, x, run="r", seed=0) for read in (linear_probe, boosted_probe))
    right = [(said["p_infected"].ge(0.5) == said["label"].eq(1)).mean() for said in (linear, boosted)]
    assert right[0] < 0.8
    assert right[1] > 0.99


def test_one_class_is_refused():
    frames, features = plate({"infected": (0, 48), "mock": (0, 48)}, lambda rows: rows["hours"])
    alone = frames[frames["split"].ne("train") | frames["condition"].eq("mock")].reset_index(drop=True)
    with pytest.raises(InputError, match="r: its training frames hold one class only"):
        linear_probe(alone, principal_components(alone, features), run="r", seed=0)


def test_features_that_do_not_vary_have_no_components_and_are_no_error():
    frames = pd.DataFrame({"stack_id": ["a"] * 6, "frame": range(6), "split": ["train"] * 4 + ["test"] * 2})
    constant = np.full((6, 40), 0.5)
    features = frames[["stack_id", "frame"]].join(
        pd.DataFrame(constant, columns=[f"f{i}" for i in range(40)])
    )
    assert (principal_components(frames, features) == 0).all()
