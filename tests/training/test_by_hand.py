"""Whatever is changed by hand in a model, a loss or the frames is found, and nothing else is."""

from functools import partial

import pytest
import torch
from torch import nn

from hpiclock.config.load import config_of
from hpiclock.plate.frames import open_plate, split_frames
from hpiclock.targets import add_targets
from hpiclock.training.by_hand import changed_by_hand, structure
from hpiclock.training.losses import Losses
from hpiclock.training.model import TwoHeads, build_model


@pytest.fixture(scope="module")
def cfg(tiny_plate):
    return config_of({"data.source": str(tiny_plate), "image.size": 32, "model.backbone": "resnet10"})


@pytest.fixture(scope="module")
def plate(cfg):
    return open_plate(cfg)


@pytest.fixture
def parts(cfg, plate):
    """Model, losses and frames as the config makes them."""
    frames = split_frames(add_targets(plate.frames, cfg.targets), plate.split, cfg)
    return {
        "model": build_model(cfg.model, seed=cfg.seed),
        "losses": Losses(cfg.objective, cfg.model),
        "frames": frames,
    }


def wider(parts, cfg):
    parts["model"] = build_model(cfg.model.model_copy(update={"hidden_dim": 9}), seed=cfg.seed)


def another_network(parts, cfg):
    backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    parts["model"] = TwoHeads(backbone, 4, cfg.model)


def frozen(parts, _):
    parts["model"].backbone.requires_grad_(False)


def another_setting_of_a_layer(parts, _):
    parts["model"].class_head[2].p = 0.9


def another_forward(parts, _):
    model = parts["model"]
    model.forward = partial(TwoHeads.forward, model)


def a_hook(parts, _):
    parts["model"].backbone.register_forward_hook(lambda *_: None)


def another_seed(parts, cfg):
    parts["model"] = build_model(cfg.model, seed=cfg.seed + 1)


def one_weight(parts, _):
    with torch.no_grad():
        parts["model"].time_head[3].bias += 1e-6


def another_loss(parts, _):
    parts["losses"].class_loss = nn.MultiMarginLoss()


def a_loss_that_is_a_function(parts, _):
    del parts["losses"].time_loss
    parts["losses"].time_loss = lambda hours, target: (hours - target) ** 4


def a_loss_with_another_setting(parts, _):
    parts["losses"].time_loss = nn.SmoothL1Loss(reduction="none", beta=0.5)


def another_weight_of_a_task(parts, _):
    parts["losses"].time_weight = 0.3


def fewer_frames(parts, _):
    parts["frames"] = parts["frames"].iloc[5:]


def another_target(parts, _):
    parts["frames"] = parts["frames"].assign(time_target=1.0)


def another_side(parts, _):
    parts["frames"] = parts["frames"].replace({"split": {"val": "train"}})


@pytest.mark.parametrize(
    ("change", "part"),
    [
        *((change, "the model") for change in (wider, another_network, frozen, another_forward, a_hook)),
        (another_setting_of_a_layer, "the model"),
        *((change, "the weights") for change in (another_seed, one_weight)),
        *((change, "the losses") for change in (another_loss, a_loss_that_is_a_function)),
        *((change, "the losses") for change in (a_loss_with_another_setting, another_weight_of_a_task)),
        *((change, "the frames") for change in (fewer_frames, another_target, another_side)),
    ],
)
def test_a_change_is_found(cfg, plate, parts, change, part):
    change(parts, cfg)
    assert list(changed_by_hand(cfg, **parts, plate=plate, weights=True)) == [part]


def scaled(by):
    return lambda hours, target: by * (hours - target).abs()


def test_two_functions_of_one_name_are_told_apart_and_one_is_itself(cfg):
    def digest(time_loss):
        losses = Losses(cfg.objective, cfg.model)
        del losses.time_loss
        losses.time_loss = time_loss
        return structure(losses)

    made = [
        lambda hours, target: (hours - target) ** 4,
        lambda hours, target: (hours - target) ** 2,
        lambda hours, target: (hours - target).abs(),
        lambda hours, target: (hours - target).exp(),
        scaled(2.0),
        scaled(3.0),
    ]
    assert len({digest(one) for one in made}) == len(made)
    assert digest(scaled(2.0)) == digest(scaled(2.0))


def test_what_the_config_makes_is_not_changed_by_hand(cfg, plate, parts):
    assert changed_by_hand(cfg, **parts, plate=plate, weights=True) == {}
    parts["model"].train().to(memory_format=torch.channels_last)
    parts["model"].precision = torch.bfloat16
    another_seed(parts, cfg)
    assert changed_by_hand(cfg, **parts, plate=plate, weights=False) == {}  # trained weights are not compared


def test_torchs_random_numbers_go_on_as_if_nothing_was_compared(cfg, plate, parts):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    changed_by_hand(cfg, **parts, plate=plate, weights=True)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "backbone", ["resnet18", "densenet121", "mobilenet_v3_small", "convnext_tiny", "swin_t", "vit_b_32"]
)
def test_two_models_of_one_config_are_built_alike(cfg, backbone):
    with torch.device("meta"):
        one, two = (
            build_model(cfg.model.model_copy(update={"backbone": backbone, "in_channels": 3}))
            for _ in range(2)
        )
    assert structure(one) == structure(two)
