"""One infected and one mock well: a near-perfect score from the first hour, and what the audit calls it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hpiclock.analysis.linear_probe import fit_class_probe
from hpiclock.audit import CLOCKS, EARLY, ELAPSED, FINE, UNSEEN, WELL, Evidence
from hpiclock.audit.verdict import verdict
from hpiclock.plate.quality import image_statistics
from hpiclock.simulate.design import design
from hpiclock.simulate.write import simulate_plate


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """Predictions for the plate of ``hpiclock synth --design one-well-each``, every other field held out.

    Small fields and the first hours only; the infection begins at 1 h, and nothing is to be seen before 5 h.
    """
    plate = design("one-well-each", n_frames=5, microscope={"size_px": 64})
    stacks = list(simulate_plate(plate, seed=0))
    frames = pd.concat([stack.truth for stack in stacks], ignore_index=True).assign(plate=plate.name, path="")
    seen = pd.DataFrame([image_statistics(picture) for stack in stacks for picture in stack.pictures])
    infected = frames["condition"].eq("infected").to_numpy()
    held_out = pd.factorize(frames["stack_id"])[0] % 2 == 1
    label = pd.Series(infected.astype(int)).where(~(frames["hpi"] < 0)).astype("Int8")
    trained = ~held_out & label.notna().to_numpy()
    model = fit_class_probe(seen.to_numpy()[trained], label[trained].astype(int).to_numpy())
    return frames.assign(
        label=label, split=np.where(held_out, "test", "train"), run="r", fold=0, seed=0,
        clock=np.where(infected, "infection", "experiment"), time_target=np.nan, time_pred=np.nan,
        p_infected=model.predict_proba(seen.to_numpy())[:, 1],
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows(predictions: pd.DataFrame) -> pd.DataFrame:
    return verdict(Evidence(predictions, predictions)).set_index("question")


def test_the_score_is_near_perfect_before_anything_can_be_seen(predictions: pd.DataFrame) -> None:
    test = predictions[predictions["split"].eq("test")]
    assert test.loc[test["hpi"] < 5, "cpe_fraction"].max() < 0.05
    for _, now in test[test["hours"] < 6].groupby("hours"):
        assert roc_auc_score(now["condition"].eq("infected"), now["p_infected"]) > 0.95


def test_it_is_called_a_difference_between_wells(rows: pd.DataFrame) -> None:
    assert rows.loc[WELL, "verdict"] == "not identifiable"
    assert rows.loc[WELL, "effect"] > 0.95  # the score is not hidden, it is put in its place
    assert "1 infected and 1 mock well" in rows.loc[WELL, "evidence"]
    assert "nothing below 0.5 is possible" in rows.loc[WELL, "evidence"]
    assert "at least 3 wells per class" in rows.loc[WELL, "remedy"]


def test_the_score_before_the_onset_and_the_split_give_it_away(rows: pd.DataFrame) -> None:
    assert rows.loc[EARLY, "verdict"] not in FINE
    assert rows.loc[EARLY, "effect"] > 0.95
    assert rows.loc[UNSEEN, "verdict"] == "contradicted"


def test_one_onset_cannot_tell_the_clocks_apart(rows: pd.DataFrame) -> None:
    assert list(rows.loc[[CLOCKS, ELAPSED], "verdict"]) == ["not identifiable"] * 2
