"""Maps of models whose answer is known by hand: signs, both classes, layers, and what checks them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hpiclock.config.schema import ModelConfig
from hpiclock.errors import InputError
from hpiclock.inference import attribution
from hpiclock.inference.attribution import (
    DEPTHS,
    GRADCAM,
    INTEGRATED,
    METHODS,
    REMOVED,
    SALIENCY,
    attribution_map,
    cascading_randomization,
    coarse_gradcam,
    delete_tiles,
    gradcam_layer,
    heads_of,
    methods_for,
    permute_labels,
    random_orders,
)
from hpiclock.inference.perturb import TILES
from hpiclock.training.model import TwoHeads, build_model

RESNET = ModelConfig(backbone="resnet10", hidden_dim=8, dropout=0)
SIDE = 16


def linear_model(weight: torch.Tensor, *, time_sd_h: float = 1.0) -> TwoHeads:
    """A model whose logit of infected less that of mock, and whose standardised time, are weight . image."""
    model = TwoHeads(nn.Flatten(), weight.numel(), ModelConfig(backbone="resnet10", hidden_dim=1))
    row = weight.flatten()[None]
    model.class_head = nn.Sequential(nn.Linear(weight.numel(), 2, bias=False))
    model.time_head = nn.Sequential(nn.Linear(weight.numel(), 1, bias=False))
    with torch.no_grad():
        model.class_head[0].weight.copy_(torch.cat([-row / 2, row / 2]))
        model.time_head[0].weight.copy_(row)
        model.time_sd_h.fill_(time_sd_h)
    return model.eval()


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return build_model(RESNET).eval()


@pytest.fixture
def images():
    return torch.randn(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_linear_model_is_explained_exactly():
    generator = torch.Generator().manual_seed(0)
    weight, image = (torch.randn(1, SIDE, SIDE, generator=generator) for _ in range(2))
    model = linear_model(weight, time_sd_h=3.0)
    above_the_mean = image - image.mean()
    found = attribution_map(model, image[None], head="class", method=INTEGRATED)
    torch.testing.assert_close(found, weight * above_the_mean)
    in_hours = attribution_map(model, image[None], head="time", method=INTEGRATED)
    torch.testing.assert_close(in_hours, 3 * weight * above_the_mean)
    torch.testing.assert_close(
        attribution_map(model, image[None], head="time", method=SALIENCY), 3 * weight.abs()
    )


def test_integrated_gradients_add_up_to_what_a_flat_frame_lacks(resnet, images, monkeypatch):
    monkeypatch.setattr(attribution, "STEPS", 64)  # the sum is exact in the limit of many steps
    flat = images.mean((-2, -1), keepdim=True).expand_as(images)
    for head in ("class", "time"):
        change = attribution.head_outputs(resnet, images, head=head) - attribution.head_outputs(
            resnet, flat, head=head
        )
        total = attribution_map(resnet, images, head=head, method=INTEGRATED).sum((1, 2)).numpy()
        np.testing.assert_allclose(total, change, atol=0.03 * np.abs(change).max())


@pytest.mark.parametrize("method", METHODS)
def test_maps_have_the_size_of_the_frame_whichever_class_is_called(resnet, images, method):
    with torch.no_grad():
        resnet.class_head[-1].bias.copy_(torch.tensor([50.0, -50.0]))  # every frame is called uninfected
    found = attribution_map(resnet, images, head="class", method=method)
    assert found.shape == (3, 64, 64)
    assert (found.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("method", [GRADCAM, INTEGRATED])
def test_what_speaks_for_one_class_speaks_against_the_other(resnet, images, method):
    before = attribution_map(resnet, images, head="class", method=method)
    with torch.no_grad():
        last = resnet.class_head[-1]
        last.weight.copy_(last.weight.flip(0))
        last.bias.copy_(last.bias.flip(0))
    after = attribution_map(resnet, images, head="class", method=method)
    torch.testing.assert_close(after, -before, atol=1e-5, rtol=1e-3)


def test_maps_do_not_depend_on_the_frames_beside_them_and_leave_no_gradient(resnet, images, monkeypatch):
    together = attribution_map(resnet, images, head="time", method=GRADCAM)
    monkeypatch.setattr(attribution, "AT_ONCE", 1)
    torch.testing.assert_close(attribution_map(resnet, images, head="time", method=GRADCAM), together)
    assert all(weight.grad is None for weight in resnet.parameters())


def test_gradcam_sits_where_the_map_is_still_fine_enough(resnet, images):
    assert [gradcam_layer(resnet, size) for size in (32, 64, 128, 224)] == [
        "layer1",
        "layer2",
        "layer3",
        "layer4",
    ]
    assert coarse_gradcam(resnet, images, head="class").shape == (3, 8, 8)


def test_a_model_without_maps_is_looked_into_by_gradients_alone():
    model = linear_model(torch.ones(1, SIDE, SIDE))
    with pytest.raises(InputError, match=r"image.size: at 16 px no part .* 7 px"):
        gradcam_layer(model, SIDE)
    assert methods_for(model, SIDE) == (INTEGRATED, SALIENCY)


def test_a_model_has_maps_of_the_heads_that_it_has():
    only_time = build_model(ModelConfig(backbone="resnet10", hidden_dim=8, tasks=("time",)))
    assert heads_of(only_time) == ("time",)


def test_weights_are_drawn_anew_from_the_heads_down(resnet):
    before = {name: weight.clone() for name, weight in resnet.named_parameters()}

    def changed(model):
        """Names of weight matrices that are not as they were; biases of BatchNorm begin as they are drawn."""
        return {
            name for name, weight in model.named_parameters()
            if weight.ndim > 1 and not torch.equal(weight, before[name])
        }  # fmt: skip

    found = {depth: changed(model) for depth, model in cascading_randomization(resnet, seed=3)}
    assert tuple(found) == DEPTHS
    assert found["heads"] == {name for name, weight in before.items() if "head" in name and weight.ndim > 1}
    assert "backbone.conv1.weight" not in found["and three quarters"]
    assert found["everything"] == {name for name, weight in before.items() if weight.ndim > 1}
    sizes = [len(names) for names in found.values()]
    assert sizes == sorted(sizes)
    assert changed(resnet) == set()
    again = [dict(model.named_parameters()) for _, model in cascading_randomization(resnet, seed=3)][-1]
    other = [dict(model.named_parameters()) for _, model in cascading_randomization(resnet, seed=4)][-1]
    last = [dict(model.named_parameters()) for _, model in cascading_randomization(resnet, seed=3)][-1]
    assert all(torch.equal(again[name], last[name]) for name in before)
    assert not torch.equal(again["backbone.conv1.weight"], other["backbone.conv1.weight"])


def test_deleting_the_tile_that_is_read_changes_the_answer_and_deleting_others_does_not():
    weight = torch.zeros(1, SIDE, SIDE)
    weight[0, :2, :2] = 1.0  # the first tile of 8 x 8
    model = linear_model(weight)
    image = torch.zeros(1, 1, SIDE, SIDE)
    image[..., :2, :2] = 1.0
    first = np.arange(TILES * TILES)[None]
    whole = 4.0
    assert (delete_tiles(model, image, first, head="time") < 0.5 * whole).all()  # the blur leaves some light
    np.testing.assert_allclose(delete_tiles(model, image, first[:, ::-1], head="time"), whole)
    assert delete_tiles(model, image, first, head="time").shape == (1, len(REMOVED))


def test_random_orders_hold_every_tile_once_and_differ():
    orders = random_orders(2, seed=0)
    for order in orders:
        np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(TILES * TILES), (2, 1)))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0][0], orders[0][1])


def test_answers_are_dealt_anew_inside_their_split_and_stay_together():
    n = 40
    frames = pd.DataFrame({
        "split": ["train"] * 30 + ["val"] * 10, "label": pd.array(np.arange(n) % 2, dtype="Int8"),
        "time_target": np.arange(n) * 1.0, "stack_id": [f"s{i}" for i in range(n)],
    })  # fmt: skip
    dealt = permute_labels(frames, np.random.default_rng(0))
    assert list(dealt["stack_id"]) == list(frames["stack_id"])
    assert (dealt["time_target"] % 2 == dealt["label"]).all()
    for split, rows in dealt.groupby("split"):
        mine = frames[frames["split"].eq(split)]
        assert sorted(rows["time_target"]) == list(mine["time_target"])
        assert (rows["time_target"] != mine["time_target"]).mean() > 0.7
