"""The loop: what it learns, which epoch it keeps, when it stops, and that it goes on as if never stopped."""

import itertools
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hpiclock import tables
from hpiclock.config.schema import Config
from hpiclock.errors import InputError, RunFailed
from hpiclock.training import loop
from hpiclock.training.losses import Losses
from hpiclock.training.model import TwoHeads, build_model


def config(*, model=None, objective=None, **train):
    train = {"epochs": 4, "lr": 1e-3, "batch_size": 4, "checkpoint_every_s": 0, **train}
    train.setdefault("augment", {"flip": False, "rotate_deg": 0})
    return Config(model={"hidden_dim": 8, **(model or {})}, objective=objective or {}, train=train, seed=5)


def small_model(cfg):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return TwoHeads(backbone, 6, cfg.model)


def fit(model, train, val, cfg, folder, say=str):
    """Fit with the losses of the config."""
    return loop.fit(model, Losses(cfg.objective, cfg.model), train, val, cfg, folder, say=say)


@pytest.fixture
def plate(make_plate):
    """Twelve frames whose grey level tells class and hour."""
    return make_plate([0] * 6 + [1] * 6, hours=[float(h) for h in (0, 8, 16, 24, 32, 40)] * 2)


@pytest.fixture
def learn(plate, tmp_path):
    """Fit a small model on the plate: config, folder name."""

    def fit(cfg, folder="run", model=None, say=None, losses=None):
        model = model or small_model(cfg)
        lines = []
        losses = losses or Losses(cfg.objective, cfg.model)
        train, val = plate.batches(cfg.train.batch_size), plate.batches()
        fitted = loop.fit(model, losses, train, val, cfg, tmp_path / folder, say=say or lines.append)
        return SimpleNamespace(fit=fitted, model=model, losses=losses, lines=lines, folder=tmp_path / folder)

    return fit


@pytest.fixture
def scripted(monkeypatch):
    """Let validation give these scores, one dict an epoch; returns the weights of each epoch."""
    weights = []

    def script(*epochs):
        left = iter(epochs)

        def scores(model, *_, **__):
            weights.append({key: value.clone() for key, value in model.state_dict().items()})
            return {"loss": 1.0, "class_loss": 1.0, **next(left)}

        monkeypatch.setattr(loop, "evaluate", scores)
        return weights

    return script


def test_the_learning_rate_is_a_cosine_that_ends_at_zero(learn):
    rates = [loop._cosine(0.1, step, 40) for step in range(41)]
    assert rates[0] == 0.1
    assert rates[20] == pytest.approx(0.05)
    assert rates[10] == pytest.approx(0.1 * (1 + math.sqrt(0.5)) / 2)
    assert rates[40] == 0
    assert all(after < before for before, after in itertools.pairwise(rates))
    history = learn(config(epochs=4)).fit.history
    noted = history.loc[history["metric"].eq("lr"), "value"].tolist()
    assert noted == [loop._cosine(1e-3, 3 * epoch, 12) for epoch in (1, 2, 3, 4)]
    assert noted[-1] == 0


def test_history_has_losses_and_metrics_of_every_epoch(learn):
    history = tables.check(tables.HISTORY, learn(config()).fit.history)
    assert history["value"].notna().all()
    found = history.groupby(["split", "metric"])["epoch"].apply(list)
    assert all(epochs == [1, 2, 3, 4] for epochs in found)
    assert set(found["train"].index) == {"loss", "class_loss", "time_loss", "lr"}
    scores = {"auc", "accuracy", "f1", "mae", "combined"}
    assert set(found["val"].index) == {"loss", "class_loss", "time_loss"} | scores


def test_a_single_task_has_no_numbers_of_the_other(learn):
    run = learn(config(model={"tasks": ("time",)}, best="mae"))
    assert set(run.fit.history["metric"]) == {"loss", "time_loss", "lr", "mae"}
    assert "class" not in " ".join(run.lines)


def test_a_loss_may_be_replaced(learn):
    cfg = config(epochs=1, model={"dropout": 0.0})
    usual, other = learn(cfg, "usual"), Losses(cfg.objective, cfg.model)
    other.time_loss = nn.L1Loss(reduction="none")
    replaced = learn(cfg, "replaced", losses=other)
    assert not torch.equal(usual.model.time_head[3].bias, replaced.model.time_head[3].bias)
    loss = replaced.fit.history.query("split == 'val' and metric == 'time_loss'")["value"].item()
    hours = (replaced.model.time_sd_h * loss).item()  # a mean absolute error, on the scale of the targets
    mae = replaced.fit.history.query("split == 'val' and metric == 'mae'")["value"].item()
    assert hours == pytest.approx(mae, rel=1e-5)


def test_the_lines_tell_losses_metrics_and_a_new_best(learn):
    lines = learn(config(epochs=1)).lines
    number = r"-?\d+\.\d+"
    losses = rf"loss {number} \(class {number}, time {number}\)"
    metrics = rf"AUC {number}  accuracy {number}  F1 {number}  MAE {number} h"
    assert len(lines) == 1
    pattern = rf"Epoch   1/1 \| train {losses} \| val {losses} \| {metrics} \| new best combined {number}"
    assert re.fullmatch(pattern, lines[0])


def test_it_learns_eight_frames_by_heart(make_plate, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)
    hours = [0.0, 6.0, 12.0, 18.0, 24.0, 30.0, 36.0, 42.0]
    plate = make_plate([0, 1, 1, 0, 1, 0, 0, 1], hours, images=images)
    cfg = config(model={"hidden_dim": 32, "dropout": 0.0}, epochs=40, lr=1e-2, batch_size=8)
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(16, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten())
    model = TwoHeads(nn.Sequential(first, second), 32 * 7 * 7, cfg.model)
    fitted = fit(model, plate.batches(8), plate.batches(8), cfg, tmp_path)
    best = fitted.history[fitted.history["epoch"].eq(fitted.best_epoch) & fitted.history["split"].eq("val")]
    scores = best.set_index("metric")["value"]
    assert scores["accuracy"] == 1
    assert scores["mae"] < 1  # predicting their median has 12 h
    assert scores["mae"] == pytest.approx(_mae(model, plate), abs=1e-3)  # the best is what one gets


def _mae(model, plate):
    with torch.inference_mode():
        batch = next(plate.batches(8).in_order())
        hours = model.eval().hours(model(batch.images).time)
    return float((hours - batch.time_target_h).abs().mean())


def test_the_time_scale_is_that_of_the_frames_whose_time_is_learnt(learn):
    run = learn(config(epochs=1))
    hours = np.array([0, 8, 16, 24, 32, 40])
    assert float(run.model.time_mean_h) == pytest.approx(20)
    assert float(run.model.time_sd_h) == pytest.approx(hours.std())


def test_frames_of_one_hour_can_be_learnt(make_plate, tmp_path):
    plate = make_plate([0, 1] * 3, hours=[5.0] * 6)
    cfg = config(epochs=1)
    model = small_model(cfg)
    fit(model, plate.batches(), plate.batches(), cfg, tmp_path)
    assert float(model.time_sd_h) == 1
    assert float(model.time_mean_h) == 5


def test_the_best_epoch_is_what_one_gets(learn, scripted):
    weights = scripted({"auc": 0.6}, {"auc": 0.9}, {"auc": 0.7}, {"auc": 0.8})
    run = learn(config(best="auc"))
    assert (run.fit.best_epoch, run.fit.best_value) == (2, 0.9)
    assert all(torch.equal(value, weights[1][key]) for key, value in run.model.state_dict().items())
    assert not torch.equal(weights[1]["time_head.3.bias"], weights[3]["time_head.3.bias"])
    assert ["new best" in line for line in run.lines] == [True, True, False, False]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("auc", [0.6, 0.9, 0.8, 0.7], 2),
        ("mae", [5.0, 3.0, 4.0, 2.0], 4),
        ("loss", [3.0, 1.0, 2.0, 4.0], 2),
        ("auc", [math.nan, 0.2, math.nan, 0.1], 2),  # an undefined score is never better
    ],
)
def test_better_means_what_it_means_for_each_metric(learn, scripted, metric, values, best):
    scripted(*({"auc": 0.5, "mae": 1.0, metric: value} for value in values))
    assert learn(config(best=metric)).fit.best_epoch == best


def test_the_last_epoch_is_kept_where_that_is_asked_for(learn, scripted):
    weights = scripted(*({"auc": auc} for auc in (0.6, 0.9, 0.7, 0.8)))
    run = learn(config(best="last"))
    assert run.fit.best_epoch == 4
    assert all(torch.equal(value, weights[3][key]) for key, value in run.model.state_dict().items())
    assert not any("new best" in line for line in run.lines)


def test_scores_that_tie_are_judged_by_the_losses(learn, scripted):
    tie = [0.99950, 0.99953, 0.99955, 0.99949]  # all within 1e-4
    losses = [0.5, 0.6, 0.2, 0.3]
    scripted(*({"auc": auc, "class_loss": loss} for auc, loss in zip(tie, losses, strict=True)))
    assert learn(config(best="auc")).fit.best_epoch == 3


def test_ties_do_not_lead_down_step_by_step(learn, scripted):
    values = [0.9990 - 0.9e-4 * step for step in range(4)]
    scripted(*({"auc": value, "class_loss": 0.5 - 0.1 * step} for step, value in enumerate(values)))
    assert learn(config(best="auc")).fit.best_epoch == 2  # epoch 3 is 1.8e-4 below the top


def test_undefined_scores_fall_back_on_the_losses(learn, scripted):
    scripted(*({"auc": math.nan, "class_loss": loss} for loss in (0.5, 0.3, 0.4, 0.6)))
    run = learn(config(best="auc"))
    assert run.fit.best_epoch == 2
    assert math.isnan(run.fit.best_value)


def test_patience_ends_a_training_that_does_not_improve(learn, scripted):
    scripted(*({"auc": value} for value in (0.6, 0.9, 0.7, 0.8, 0.95)))
    run = learn(config(best="auc", patience=2, epochs=5))
    assert run.fit.history["epoch"].max() == 4
    assert run.fit.best_epoch == 2
    assert run.lines[-1] == "Stopped early: no new best for 2 epochs"


def test_a_trial_run_takes_so_many_steps_an_epoch(learn):
    cfg = config(epochs=2, max_steps=2)  # of 3
    model = small_model(cfg)
    steps = []
    model.register_forward_hook(lambda module, *_: steps.append(module.training))
    run = learn(cfg, model=model)
    assert steps.count(True) == 4
    rates = run.fit.history.loc[run.fit.history["metric"].eq("lr"), "value"].tolist()
    assert rates == [pytest.approx(5e-4), 0]


def test_a_training_that_diverges_stops_with_one_line(learn):
    cfg = config()
    beyond = cfg.train.model_copy(update={"lr": 1e30, "clip_norm": 1e30})  # more than a config may say
    cfg = cfg.model_copy(update={"train": beyond})
    with pytest.raises(RunFailed, match=r"epoch 1: the loss is no longer a number; lower train\.lr"):
        learn(cfg)


def test_frames_without_a_label_never_reach_the_loss(make_plate, tmp_path):
    cfg = config()
    whole, holed = make_plate([0, 1, 0, 1]), make_plate([0, 1, None, 1])
    for train, val in ((holed, whole), (whole, holed)):
        with pytest.raises(ValueError, match="without a label"):
            fit(small_model(cfg), train.batches(), val.batches(), cfg, tmp_path)


def test_one_frame_is_too_few_for_batchnorm(make_plate, tmp_path):
    cfg = config(model={"backbone": "shufflenet_v2_x0_5"}, batch_size=1)
    plate = make_plate([0, 1])
    with pytest.raises(InputError, match=r"^train\.batch_size: .* the smallest would have 1"):
        fit(build_model(cfg.model), plate.batches(1), plate.batches(1), cfg, tmp_path)


def test_one_frame_a_batch_suits_a_net_without_batchnorm(learn):
    assert learn(config(batch_size=1, epochs=1)).fit.best_epoch == 1


class Killed(BaseException):
    """Ends a training where an exception would not be caught."""


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
def test_a_training_goes_on_as_if_it_had_not_stopped(learn, after, weighting):
    cfg = config(objective={"weighting": weighting}, model={"dropout": 0.4}, balanced=True)
    whole = learn(cfg, "whole")

    def kill(line):
        if line.startswith(f"Epoch   {after}/"):
            raise Killed

    with pytest.raises(Killed):
        learn(cfg, "cut", say=kill)
    torch.manual_seed(99)
    again = learn(cfg, "cut")
    assert again.lines[0] == f"Going on after epoch {after} of 4"
    assert again.lines[1:] == whole.lines[after:]
    assert again.fit.history.equals(whole.fit.history)
    assert (again.fit.best_epoch, again.fit.best_value) == (whole.fit.best_epoch, whole.fit.best_value)
    for name in ("best.pt", "last.pt"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    if weighting == "uncertainty":
        assert torch.equal(again.losses.log_variance, whole.losses.log_variance)
        assert (again.losses.log_variance != 0).all()


def test_a_training_that_was_over_is_not_repeated(learn):
    whole = learn(config())
    before = (whole.folder / "last.pt").read_bytes()
    again = learn(config())
    assert again.lines == ["Going on after epoch 4 of 4"]
    assert again.fit.history.equals(whole.fit.history)
    assert all(torch.equal(value, whole.model.state_dict()[key])
               for key, value in again.model.state_dict().items())  # fmt: skip
    assert (whole.folder / "last.pt").read_bytes() == before


@pytest.mark.parametrize("patience", [None, 1])  # stopped early, too, the last epoch is written
def test_however_seldom_checkpoints_are_written_the_end_is_the_same(learn, scripted, patience):
    def fit(folder, **train):
        scripted(*({"auc": value} for value in (0.6, 0.7, 0.65, 0.6)))
        return learn(config(best="auc", patience=patience, **train), folder)

    often, seldom = fit("often"), fit("seldom", checkpoint_every_s=1e6)
    for name in ("best.pt", "last.pt"):
        assert (often.folder / name).read_bytes() == (seldom.folder / name).read_bytes()


def test_what_cannot_repeat_on_an_accelerator_is_said():
    line = loop._resume(2, 5, torch.device("cuda"))
    assert line.startswith("Going on after epoch 2 of 5; frames, their changes, dropout seeds")
    assert line.endswith("not to the last bit")


@pytest.fixture
def compiling(monkeypatch):
    """Let steps be traced and run as they are, which takes no minute of a C++ compiler; lists the modules."""
    modules = []

    def quickly(self, **options):
        modules.append(self)
        self._compiled_call_impl = torch.compile(self._call_impl, backend="aot_eager", **options)

    monkeypatch.setattr(nn.Module, "compile", quickly)
    return modules


def test_a_compiled_step_learns_the_same(learn, compiling):
    same = {"epochs": 2, "model": {"dropout": 0.0}}
    plain, compiled = learn(config(**same)), learn(config(**same, compile=True), "compiled")
    assert len(compiling) == 1
    assert re.fullmatch(r"Compiled for cpu in \d+ s", compiled.lines[0])
    assert len(compiled.lines) == len(plain.lines) + 1
    for name, value in plain.model.state_dict().items():
        assert torch.allclose(compiled.model.state_dict()[name], value, atol=1e-5), name


def test_all_is_compiled_before_the_first_epoch(make_plate, tmp_path, compiling, monkeypatch):
    cfg = config(epochs=2, compile=True)
    plate, said = make_plate([0, 1] * 7), []
    assert plate.batches().sizes == (4, 3)

    def say(line):
        said.append(line)
        monkeypatch.setattr(torch._dynamo.config, "error_on_recompile", True)

    fit(small_model(cfg), plate.batches(), plate.batches(), cfg, tmp_path, say=say)
    assert said[0].startswith("Compiled")
    assert compiling


def test_a_machine_that_cannot_compile_says_so_in_one_line(learn, monkeypatch):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    torch._dynamo.reset()
    with pytest.raises(InputError, match=r"^train.compile: .*set it to false$"):
        learn(config(epochs=1, compile=True))


def test_counting_threads_teaches_nothing_and_a_resumed_run_takes_the_same_number(learn, monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        plain = learn(config(epochs=2, threads=1), "plain").model.state_dict()

        def busy(step, most):
            step()
            torch.set_num_threads(1)
            return 1, {most: 4.0, 1: 2.0}

        torch.set_num_threads(2)
        monkeypatch.setattr(loop, "MEASURED_FROM", 1)
        monkeypatch.setattr(loop, "FAR_LONGER", 0.0)  # every epoch takes far longer
        monkeypatch.setattr(loop, "quickest_threads", busy)
        counted = learn(config(epochs=2), "counted")
        assert [line for line in counted.lines if line.startswith("Images/s")] == [
            "Images/s by number of threads 2: 1, 1: 2; 1 compute. Sums round otherwise than with 2: weights "
            "then agree closely, not to the last bit",
            "Images/s by number of threads 2: 1, 1: 2; 1 compute",
        ]
        for name, value in counted.model.state_dict().items():
            assert torch.equal(value, plain[name]), name

        torch.set_num_threads(2)
        learn(config(epochs=2), "counted")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
