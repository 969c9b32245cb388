"""The losses by hand, their weights, and whose time is learnt."""

import math

import pytest
import torch

from hpiclock.config.schema import ModelConfig, ObjectiveConfig
from hpiclock.training.losses import Losses
from hpiclock.training.model import Output, TwoHeads, build_model


@pytest.fixture
def model():
    model = TwoHeads(torch.nn.Identity(), 3, ModelConfig(hidden_dim=4, dropout=0.0))
    model.time_mean_h.fill_(10.0)
    model.time_sd_h.fill_(5.0)
    return model


def losses(model, weights, output, label, hours, **tasks):
    objective = Losses(ObjectiveConfig(**weights), ModelConfig(**tasks))
    return objective(model, output, torch.tensor(label), torch.tensor(hours))


def test_the_losses_by_hand(model):
    # both classes equally likely: ln 2; standardised targets 1 and 3 against 0: 1²/2 and 3 - 1/2
    output = Output(torch.zeros(2, 2), torch.zeros(2))
    total, of_class, of_time = losses(
        model, {"class_weight": 2.0, "time_weight": 3.0}, output, [0, 1], [15.0, 25.0]
    )
    assert float(of_class) == pytest.approx(math.log(2))
    assert float(of_time) == pytest.approx((0.5 + 2.5) / 2)
    assert float(total) == pytest.approx(2 * math.log(2) + 3 * 1.5)


@pytest.mark.parametrize(("time_on", "expected"), [("infected", 2.5), ("uninfected", 0.5), ("both", 1.5)])
def test_only_the_asked_frames_teach_time(model, time_on, expected):
    output = Output(torch.zeros(2, 2), torch.zeros(2))
    found = losses(model, {}, output, [0, 1], [15.0, 25.0], time_on=time_on)
    assert float(found.of_time) == pytest.approx(expected)


def test_a_batch_without_a_timed_frame_has_no_time_loss(model):
    output = Output(torch.zeros(2, 2), torch.ones(2, requires_grad=True))
    found = losses(model, {}, output, [0, 0], [15.0, 25.0], time_on="infected")
    assert float(found.of_time) == 0
    found.total.backward()
    assert output.time.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
@pytest.mark.parametrize("silent", ["class", "time"])
def test_a_task_of_weight_zero_leaves_its_head_alone(model, weighting, silent):
    objective = Losses(
        ObjectiveConfig(weighting=weighting, **{f"{silent}_weight": 0.0}), ModelConfig(hidden_dim=4)
    )
    output = model(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    objective(model, output, torch.tensor([0, 1, 0, 1]), torch.arange(4.0)).total.backward()
    heads = {"class": model.class_head, "time": model.time_head}
    gradients = {name: [p.grad for p in head.parameters()] for name, head in heads.items()}
    learning = "time" if silent == "class" else "class"
    assert all((g == 0).all() for g in gradients[silent])
    assert any((g != 0).any() for g in gradients[learning])
    if weighting == "uncertainty":
        assert objective.log_variance.grad[["class", "time"].index(silent)] == 0


def test_uncertainty_weights_by_the_formula(model):
    objective = Losses(ObjectiveConfig(weighting="uncertainty"), ModelConfig())
    with torch.no_grad():
        objective.log_variance.copy_(torch.tensor([0.3, -0.5]))
    output = Output(torch.zeros(2, 2), torch.zeros(2))
    found = objective(model, output, torch.tensor([0, 1]), torch.tensor([15.0, 25.0]))
    of_class, of_time = math.log(2), 1.5
    assert found.total.item() == pytest.approx(
        math.exp(-0.3) * of_class + 0.3 + math.exp(0.5) * of_time - 0.5
    )
    found.total.backward()
    # d/ds (exp(-s) L + s) = 1 - exp(-s) L: at rest where s = ln L
    expected = [1 - math.exp(-0.3) * of_class, 1 - math.exp(0.5) * of_time]
    assert objective.log_variance.grad.tolist() == pytest.approx(expected)


def test_a_single_task_names_its_own_loss_only(model):
    objective = Losses(ObjectiveConfig(), ModelConfig(tasks=("time",)))
    found = objective(model, Output(None, torch.zeros(1)), torch.tensor([1]), torch.tensor([15.0]))
    assert float(found.total) == pytest.approx(0.5)
    assert objective.named(0.5, 0.0, 0.5) == {"loss": 0.5, "time_loss": 0.5}


def test_a_missing_label_has_no_time():
    label = torch.tensor([-1, 0, 1])
    timed = {on: Losses(ObjectiveConfig(), ModelConfig(time_on=on)).timed(label).tolist()
             for on in ("both", "infected", "uninfected")}  # fmt: skip
    assert timed == {
        "both": [False, True, True],
        "infected": [False, False, True],
        "uninfected": [False, True, False],
    }


def test_a_clocks_head_learns_from_frames_of_its_own_class():
    model = build_model(ModelConfig(backbone="shufflenet_v2_x0_5", hidden_dim=8, time_heads="per_clock"))
    losses = Losses(ObjectiveConfig(), model_config := ModelConfig(time_heads="per_clock"))
    assert model_config.time_on == "both"
    output = model.eval()(torch.randn(3, 1, 32, 32))
    losses(model, output, torch.tensor([1, 1, 1]), torch.tensor([1.0, 2.0, 3.0])).total.backward()
    of_mock, of_infected = model.time_head[-1].weight.grad.abs().sum(1)
    assert of_mock == 0
    assert of_infected > 0
