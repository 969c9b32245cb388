"""A model trained on one simulated plate reads out a second one, and flags one from another microscope."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from hpiclock.errors import InputError
from hpiclock.simulate.design import design, grid
from hpiclock.simulate.write import synthesize
from hpiclock.workflows.predict import predict
from hpiclock.workflows.readout import PlateReadOut

pytestmark = pytest.mark.precision

OPTICS = {"size_px": 80, "pitch_px": 11.0, "pixel_um": 2.0, "positions": 1}


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """The plate maps of the training plate, a second one, and one from another microscope."""
    made = {
        "first": design(
            "tiny", wells=grid(6, (0.0, 5.0, 0.0, 1.0)), onsets_h=(2.0, 6.0, 14.0, 20.0), microscope=OPTICS
        ),
        # other seed, places, MOIs, onsets and hours; fewer cells that grow less, more floating ones
        "second": design(
            "second-plate", wells=grid(4, (0.0, 0.03, 0.3, 5.0)), onsets_h=(2.0, 5.0, 8.0), n_frames=25,
            interval_h=2.0, microscope=OPTICS | {"pitch_px": 13.0},
        ),
        "microscope": design(
            "other-microscope", wells=grid(2, (0.0, 5.0)), n_frames=13, interval_h=4.0,
            microscope={"size_px": 160, "pitch_px": 18.0, "pixel_um": 1.25, "dtype": "uint8"},
        ),
    }  # fmt: skip
    base = tmp_path_factory.mktemp("plates")
    return {
        name: synthesize(base / name, design=one, seed=seed, workers=1)
        for seed, (name, one) in enumerate(made.items())
    }


@pytest.fixture(scope="module")
def run(plates, quick_run):
    return quick_run({
        "data.source": str(plates["first"]), "image.size": 48, "model.backbone": "resnet10",
        "model.hidden_dim": 16, "model.dropout": 0.0, "train.epochs": 6, "train.lr": 2e-3,
        "image.intensity": "fixed", "image.low": 64, "image.high": 192,
        "targets.before_onset": "uninfected", "train.augment": {"quarter_turns": True, "rotate_deg": 0.0},
    })  # fmt: skip


@pytest.fixture(scope="module")
def second(run, plates, tmp_path_factory):
    output = tmp_path_factory.mktemp("second") / "p.parquet"
    return predict([run], plates["second"], output, changes={}, say=lambda _: None)


def test_wells_of_a_higher_moi_are_detected_earlier(second, run):
    wells = PlateReadOut(second, run.cfg, 36.0, "second").wells
    infected = wells[wells["condition"].eq("infected")]
    assert infected["detected"].all()
    median_hpi = infected.groupby("moi")["detected_hpi"].median()
    assert median_hpi.index.tolist() == [0.03, 0.3, 5.0]
    assert median_hpi.is_monotonic_decreasing
    assert median_hpi.is_unique
    assert spearmanr(infected["moi"], infected["detected_hpi"]).statistic < -0.6


def test_the_infected_share_follows_the_truth(second, plates):
    truth = pd.read_csv(plates["second"].parent / "truth.csv", dtype={"position": str})
    rows = second.rows.merge(truth[["well", "position", "frame", "infected_fraction"]], validate="1:1")
    assert len(rows) == len(second.rows) == 16 * 25
    assert spearmanr(rows["p_infected"], rows["infected_fraction"]).statistic > 0.6
    # the estimate for a well and an hour: fields called infected, in four wells of each treatment
    key = ["condition", "moi", "hours"]
    each = rows.groupby(key, dropna=False)[["called", "infected_fraction"]].mean()
    assert np.corrcoef(each["called"].astype(float), each["infected_fraction"])[0, 1] > 0.7


def test_the_second_plate_is_not_flagged(second):
    assert second.likeness["verdict"] != "unlike"
    assert not any(row["unlike"] for row in second.likeness["looks"])


def test_another_microscope_is_flagged_and_what_differs_is_named(run, plates, tmp_path):
    lines: list[str] = []
    found = predict([run], plates["microscope"], tmp_path / "p.parquet", changes={}, say=lines.append)
    assert found.likeness["verdict"] == "unlike"
    assert found.notes[0].startswith("THIS PLATE LOOKS UNLIKE THE TRAINING PLATE")
    odd = {row["statistic"]: row for row in found.likeness["looks"] if row["unlike"]}
    assert odd["asymmetry"]["outside"] == odd["asymmetry"]["n_stacks"]  # bright and dark are exchanged
    assert "balance of bright and dark" in lines[-1]
    # 160 px of 1.25 um are 200 um, in training 80 px of 2 um: 160 um
    [scale] = [line for line in lines if "A pixel is" in line]
    assert re.search(r"A pixel is 1.25 um, in training 2 um: 10.0% of each side is cut off", scale)


def test_a_magnification_far_too_high_is_refused(run, tmp_path):
    close = design("tiny", wells={"A1": 0.0, "B1": 5.0}, n_frames=2, microscope=OPTICS | {"pixel_um": 0.5})
    plate = synthesize(tmp_path / "close", design=close, seed=3, workers=1)
    with pytest.raises(InputError, match=r"0\.25 times as wide as in training .*0\.5 um, in training 2 um"):
        predict([run], plate, tmp_path / "p.parquet", changes={}, say=lambda _: None)
    assert not (tmp_path / "p.parquet").exists()
