"""Reading a model out and scoring it: in order, exact over batches, undefined where a metric is."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from hpiclock.config.schema import Config
from hpiclock.errors import RunFailed
from hpiclock.training import batches as module
from hpiclock.training.evaluate import evaluate, output_table, predict
from hpiclock.training.losses import Losses
from hpiclock.training.model import Output, TwoHeads

FP32 = torch.float32


def model_of(cfg):
    """A model that sees the mean grey level."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = TwoHeads(backbone, 1, cfg.model)
    model.time_mean_h.fill_(20.0)
    model.time_sd_h.fill_(10.0)
    return model


def config(**model):
    best = {"train": {"best": "mae"}} if model.get("tasks") == ("time",) else {"train": {"best": "auc"}}
    return Config(model={"hidden_dim": 8, **model}, **best)


def test_every_row_is_answered_once_in_the_order_of_the_table(make_plate, monkeypatch):
    plate = make_plate([0, 1] * 10)
    model = model_of(config())
    whole = output_table(model, predict(model, plate.batches()))
    monkeypatch.setattr(module, "READING_PIXELS", 3 * 16 * 16)
    dealt = output_table(model, predict(model, plate.batches(batch_size=3)))
    np.testing.assert_allclose(whole, dealt, rtol=1e-6)
    grey = torch.from_numpy(plate.frames["frame"].to_numpy(np.float32) / 255)
    with torch.inference_mode():
        expected = model.eval()(((grey - 0.5) / 0.25)[:, None, None, None])
    np.testing.assert_allclose(whole["p_infected"], expected.class_logits.softmax(1)[:, 1], rtol=1e-5)
    np.testing.assert_allclose(whole["time_pred"], 20 + 10 * expected.time, rtol=1e-5)
    assert whole["p_infected"].is_unique


@pytest.mark.parametrize(("task", "missing"), [("class", "time_pred"), ("time", "p_infected")])
def test_a_head_that_is_not_there_says_nothing(make_plate, task, missing):
    cfg = config(tasks=(task,))
    model = model_of(cfg)
    said = output_table(model, predict(model, make_plate([0, 1, 0]).batches()))
    assert said[missing].isna().all()
    assert said.drop(columns=missing).notna().all(axis=None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_answers_that_are_no_numbers_are_an_error(value):
    for output in (Output(torch.tensor([[0.0, value]]), None), Output(None, torch.tensor([value, 1.0]))):
        with pytest.raises(RunFailed, match="1 answers of the model are no numbers"):
            output_table(model_of(config()), output)


def test_confident_frames_keep_their_order():
    logits = torch.tensor([[0.0, 20.0], [0.0, 25.0], [0.0, 30.0]])  # all 1 in float32
    assert logits.softmax(1)[:, 1].unique().numel() < 3
    p = output_table(model_of(config()), Output(logits, None))["p_infected"]
    assert p.is_monotonic_increasing
    assert p.is_unique
    assert p.max() < 1


def scored(cfg, logits, time, label, hours):
    model = model_of(cfg)
    objective = Losses(cfg.objective, cfg.model)
    output = Output(
        None if logits is None else torch.tensor(logits, dtype=FP32),
        None if time is None else torch.tensor(time, dtype=FP32),
    )
    return evaluate(
        model, objective, output, np.array(label), np.array(hours, np.float32), range_h=cfg.targets.range_h
    )


def test_the_scores_by_hand():
    # standardised 0, 1 are 20 h, 30 h. Rows 1 and 3 are called infected; row 2 should have been.
    logits = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.0, 3.0]]
    found = scored(config(), logits, [0.0, 1.0, 0.0, 1.0], [0, 1, 1, 1], [20.0, 28.0, 24.0, 30.0])
    assert found["accuracy"] == 0.75
    assert found["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert found["mae"] == pytest.approx((0 + 2 + 4 + 0) / 4)
    assert found["auc"] == 1.0
    assert found["combined"] == pytest.approx(0.6 * 0.8 + 0.4 * (1 - 1.5 / 48))
    # |errors| / 10 h: 0.2 and 0.4 lie in the quadratic part of smooth L1
    assert found["time_loss"] == pytest.approx((0.2**2 + 0.4**2) / 2 / 4, rel=1e-5)
    cross_entropy = [math.log(1 + math.exp(-x)) for x in (1.0, 1.0, -0.5, 3.0)]
    assert found["class_loss"] == pytest.approx(sum(cross_entropy) / 4, rel=1e-5)
    assert found["loss"] == pytest.approx(found["class_loss"] + found["time_loss"])


def test_auc_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    found = scored(config(), logits, np.zeros(200), label, np.zeros(200))
    assert found["auc"] == pytest.approx(roc_auc_score(label, logits[:, 1] - logits[:, 0]), abs=1e-12)


def test_one_class_has_no_auc():
    found = scored(config(), [[0.0, 1.0], [1.0, 0.0]], [0.0, 0.0], [1, 1], [20.0, 20.0])
    assert math.isnan(found["auc"])
    assert found["accuracy"] == 0.5


def test_time_is_scored_where_it_is_learnt():
    cfg = config(tasks=("time",), time_on="infected")
    found = scored(cfg, None, [0.0, 0.0, 1.0], [0, 1, 1], [5.0, 22.0, 30.0])
    assert found == {"loss": found["time_loss"], "time_loss": found["time_loss"], "mae": 1.0}
    nobody = scored(cfg, None, [0.0], [0], [5.0])
    assert math.isnan(nobody["mae"])
