"""Features, statistics and answers that do not vary: every step gives a value or a reason, never an error."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.linear_probe import linear_probe, principal_components, project_features
from hpiclock.audit import ANSWERS, Evidence
from hpiclock.audit.baselines import probe_features, sampling_experiments, shortcut_baselines
from hpiclock.audit.controls import nuisance_table
from hpiclock.audit.verdict import verdict
from hpiclock.errors import InputError
from hpiclock.inference.ood import fit_feature_distribution

RNG = np.random.default_rng(0)


def frames_of(wells, n_frames, classes):
    """FRAMES with so many wells a split and frames a stack; classes are those of the wells in turn."""
    rows = [
        {"stack_id": f"{split}{k}", "path": "", "plate": "p", "well": f"{split[1].upper()}{k + 1}"}
        | {"position": "1", "condition": classes[k % len(classes)], "moi": np.nan, "onset_h": 0.0}
        | {"frame": frame, "hours": float(frame), "time_target": float(frame), "split": split, "fold": 0}
        for split in ("train", "val", "test")
        for k in range(wells)
        for frame in range(n_frames)
    ]
    table = pd.DataFrame(rows)
    infected = table["condition"].eq("infected")
    clock = infected.map({True: "infection", False: "experiment"})
    return table.assign(label=infected.astype("Int8"), hpi=table["hours"].where(infected), clock=clock)


BOTH = ("infected", "mock")
PLATES = {
    "some wells": (4, 4, BOTH),
    "two frames a class": (2, 1, BOTH),
    "two frames": (1, 2, ("mock",)),
    "one frame": (1, 1, ("infected",)),
    "infected only": (4, 4, ("infected",)),
    "mock only": (4, 4, ("mock",)),
}
FEATURES = {
    "constant": lambda rows: np.full((len(rows), 40), 3.0),
    "one constant": lambda rows: np.zeros((len(rows), 1)),
    "one": lambda rows: RNG.normal(size=(len(rows), 1)),
    "constant in training": lambda rows: np.where(rows["split"].eq("train"), 1.0, RNG.normal(size=len(rows)))[
        :, None
    ].repeat(40, 1),
    "constant in each stack": lambda rows: pd.factorize(rows["stack_id"])[0][:, None] * np.ones((1, 40)),
}


@pytest.mark.parametrize("plate", PLATES)
@pytest.mark.parametrize("name", FEATURES)
def test_no_step_fails_on_features_that_do_not_vary(plate, name):
    frames = frames_of(*PLATES[plate])
    values = FEATURES[name](frames)
    columns = [f"f{i}" for i in range(values.shape[1])]
    features = pd.concat([frames[["stack_id", "frame"]], pd.DataFrame(values, columns=columns)], axis=1)
    found, scores = shortcut_baselines(frames, {"x": features}, level=0.95)
    assert list(found["source"]) == ["x"]
    if len(PLATES[plate][2]) == 1:  # one class teaches nothing: a gap, never 0.5
        assert found["auc"].isna().all()
        assert scores["x"]["score"].isna().all()
    probes = probe_features(frames[frames["split"].ne("train")], features, level=0.95)
    assert (probes["value"].notna() | probes["note"].ne("")).all()
    assert len(sampling_experiments(frames, features, level=0.95, seed=0))
    z = principal_components(frames, features)
    assert np.isfinite(z).all()
    if len(PLATES[plate][2]) == 2:
        assert linear_probe(frames, z, run="r", seed=0)["p_infected"].between(0, 1).all()
    if min(len(frames) - 1, values.shape[1]) >= 2:
        assert np.isfinite(project_features(features, method="PCA", seed=0)[["x", "y"]]).all(axis=None)
    else:
        with pytest.raises(InputError, match="make no plane"):
            project_features(features, method="PCA", seed=0)


@pytest.mark.parametrize("plate", PLATES)
def test_a_model_that_always_says_the_same_gets_answers(plate):
    frames = frames_of(*PLATES[plate])
    predictions = frames.assign(run="r", seed=0, p_infected=0.5, time_pred=3.0)
    early = frames.assign(hpi=-1.0)
    statistics = frames[["stack_id", "frame"]].assign(mean=1.0, sd=0.0)
    kinds = {"light": ["mean"], "focus": ["sd"], "contrast": ["sd"], "border": ["mean"]}
    rng = np.random.default_rng(0)
    nuisance = nuisance_table(early, statistics, kinds, shuffles=1000, level=0.95, rng=rng)
    table = verdict(Evidence(frames, predictions, nuisance=nuisance))
    assert table["verdict"].isin(ANSWERS).all()


def test_a_distance_in_features_that_do_not_vary_is_not_known():
    fitted = fit_feature_distribution(np.ones((20, 5)))._replace(held_out=np.zeros(2), n_wells=2)
    assert np.isnan(fitted.relative_distance(np.ones((3, 5)))).all()
