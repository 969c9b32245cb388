"""The model: its size, one channel for three, the backbones that build, and the ones that are refused."""

import pytest
import torch

from hpiclock.config.schema import ModelConfig
from hpiclock.errors import InputError
from hpiclock.training.model import TwoHeads, build_model, fold_first_convolution, make_backbone, refuse_size

FAMILIES = [
    *("resnet18", "resnext50_32x4d", "alexnet", "vgg11", "densenet121", "mnasnet0_5", "mobilenet_v3_small"),
    *("shufflenet_v2_x0_5", "convnext_tiny", "swin_t", "vit_b_32"),
]


def test_the_reference_network_has_its_number_of_parameters():
    with torch.device("meta"):
        model = build_model(ModelConfig(backbone="resnet50", in_channels=3, hidden_dim=256))
    assert sum(p.numel() for p in model.parameters()) == 24_557_891


def test_the_seed_alone_makes_the_weights():
    def weights(seed, other):
        torch.manual_seed(other)
        return build_model(ModelConfig(backbone="shufflenet_v2_x0_5"), seed=seed).state_dict()

    first, again, another = weights(1, 10), weights(1, 20), weights(2, 10)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["class_head.0.weight"], another["class_head.0.weight"])


def test_an_image_size_the_backbone_cannot_read_is_refused():
    with pytest.raises(InputError, match="alexnet cannot read images of 32 px"):
        build_model(ModelConfig(backbone="alexnet"), size=32)


def test_the_ten_layer_resnet_has_one_block_a_stage():
    backbone = make_backbone("resnet10")
    on_the_way = [
        module
        for name, module in backbone.named_modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear) and "downsample" not in name
    ]
    assert len(on_the_way) == 10


def test_one_channel_sees_what_three_equal_channels_see():
    features = []
    for channels in (1, 3):
        torch.manual_seed(3)
        model = build_model(ModelConfig(backbone="resnet10", in_channels=channels)).double().eval()
        images = torch.randn(2, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            features.append(model.features(images))
    # the kernels were summed in float32, everything after in float64
    torch.testing.assert_close(features[0], features[1], rtol=0, atol=1e-6 * float(features[1].abs().max()))
    assert features[0].abs().max() > 1e-3


def test_a_first_convolution_keeps_its_bias_stride_and_padding():
    torch.manual_seed(0)
    old = torch.nn.Conv2d(3, 4, 5, stride=2, padding=2, dilation=2)
    net = torch.nn.Sequential(old)
    images = torch.randn(2, 1, 20, 20)
    with torch.no_grad():
        expected = old(images.expand(-1, 3, -1, -1))
        fold_first_convolution(net)
        torch.testing.assert_close(net(images), expected, rtol=0, atol=1e-5)
    assert net[0].in_channels == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_backbones_of_every_family_get_two_heads(name):
    with torch.device("meta"):  # shapes alone
        model = build_model(ModelConfig(backbone=name)).eval()
        output = model(torch.empty(3, 1, 224, 224))
    assert output.class_logits.shape == (3, 2)
    assert output.time.shape == (3,)


def test_a_regnet_gets_two_heads():
    model = build_model(ModelConfig(backbone="regnet_x_400mf")).eval()  # cannot be built without memory
    with torch.inference_mode():
        output = model(torch.zeros(2, 1, 32, 32))
    assert output.class_logits.shape == (2, 2)
    assert output.time.shape == (2,)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "squeezenet1_0"])
def test_backbones_without_one_linear_classifier_are_refused(name):
    with pytest.raises(InputError, match=f"^model.backbone: {name} has no single linear classifier") as error:
        make_backbone(name)
    assert "\n" not in str(error.value)


def test_an_unknown_backbone_names_its_neighbours():
    with pytest.raises(InputError, match=r"no model resnet51; did you mean .*resnet50"):
        make_backbone("resnet51")


def test_an_image_size_that_the_backbone_cannot_read_is_refused():
    with torch.device("meta"):
        model = build_model(ModelConfig(backbone="vit_b_32"))
    with pytest.raises(
        InputError, match=r"^image.size: vit_b_32 cannot read images of 64 px .*; 224"
    ) as error:
        refuse_size(model, "vit_b_32", 64)
    assert "\n" not in str(error.value)
    assert model.training  # left as it was
    refuse_size(model, "vit_b_32", 224)


def single_task(**changes):
    return build_model(ModelConfig(backbone="shufflenet_v2_x0_5", hidden_dim=8, **changes)).eval()


@pytest.mark.parametrize(("tasks", "there"), [(("class",), (True, False)), (("time",), (False, True))])
def test_a_single_task_has_a_single_head(tasks, there):
    with torch.inference_mode():
        output = single_task(tasks=tasks)(torch.zeros(2, 1, 32, 32))
    assert tuple(part is not None for part in output[:2]) == there


def test_the_time_head_may_read_the_class():
    model = single_task(time_sees_class=True)
    features = torch.randn(4, model.class_head[0].in_features)
    before = model.heads(features)
    with torch.no_grad():
        model.class_head[-1].bias += torch.tensor([0.0, 5.0])
    after = model.heads(features)
    assert not torch.allclose(before.time, after.time)
    plain = single_task()
    before = plain.heads(features)
    with torch.no_grad():
        plain.class_head[-1].bias += torch.tensor([0.0, 5.0])
    assert torch.equal(before.time, plain.heads(features).time)


def test_hours_and_the_learnt_scale_are_inverse():
    model = TwoHeads(torch.nn.Identity(), 1, ModelConfig())
    model.time_mean_h.fill_(20.0)
    model.time_sd_h.fill_(8.0)
    hours = torch.tensor([0.0, 20.0, 28.0])
    assert model.standardise(hours).tolist() == [-2.5, 0.0, 1.0]
    torch.testing.assert_close(model.hours(model.standardise(hours)), hours)


def test_without_pretraining_the_weights_are_not_even_looked_for():
    build_model(ModelConfig(backbone="shufflenet_v2_x0_5", weights="/nowhere/weights.pt"), pretrained=False)


def test_light_that_changes_evenly_changes_nothing_where_means_are_subtracted():
    images = torch.randn(2, 2, 32, 32)
    brighter = images + torch.tensor([0.5, -0.3])[:, None, None]  # each frame by its own
    for subtract, same in ((True, True), (False, False)):
        model = build_model(
            ModelConfig(backbone="resnet10", subtract_mean=subtract), n_frames=2, seed=0
        ).eval()
        with torch.inference_mode():
            before, after = model.features(images), model.features(brighter)
        assert torch.allclose(before, after, atol=1e-4) == same


def test_a_turned_frame_gives_the_same_answer_where_turns_are_averaged_but_not_in_training():
    images = torch.randn(2, 2, 32, 32)
    for average, training, same in ((True, False, True), (False, False, False), (True, True, False)):
        model = build_model(ModelConfig(backbone="resnet10", average_turns=average), n_frames=2, seed=0)
        model.train(training)
        with torch.inference_mode():
            before, after = model.features(images), model.features(images.rot90(1, (-2, -1)))
        assert torch.allclose(before, after, atol=1e-5) == same


def test_several_frames_enter_through_the_first_convolution():
    model = build_model(ModelConfig(backbone="resnet10", hidden_dim=8), n_frames=3, seed=0).eval()
    assert model.backbone.conv1.weight.shape == (64, 3, 7, 7)
    with torch.inference_mode():
        images = torch.randn(2, 3, 32, 32)
        assert model(images).time.shape == (2,)
        assert not torch.equal(model(images).time, model(images.flip(1)).time)  # their order counts
    with pytest.raises(InputError, match=r"model\.in_channels: several frames"):
        build_model(ModelConfig(backbone="resnet10", in_channels=3), n_frames=3)


def test_pretrained_kernels_see_equal_frames_as_one(tmp_path):
    backbone = make_backbone("resnet10")
    backbone.bn1.running_mean.fill_(0.1)  # weights that never saw data are refused
    torch.save(backbone.state_dict(), tmp_path / "weights.pt")
    cfg = ModelConfig(backbone="resnet10", weights=str(tmp_path / "weights.pt"), hidden_dim=8)
    one, three = (build_model(cfg, n_frames=n, seed=0).double().eval() for n in (1, 3))
    image = torch.randn(2, 1, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        together = three.features(image.expand(-1, 3, -1, -1))
        assert torch.allclose(one.features(image), together, rtol=1e-6, atol=1e-8)


def test_each_clock_has_a_time_head_and_the_class_says_which_is_read():
    model = single_task(time_heads="per_clock")
    with torch.inference_mode():
        output = model(torch.randn(16, 1, 32, 32))
    infected = output.class_logits[:, 1] > output.class_logits[:, 0]
    assert output.times.shape == (16, 2)
    assert torch.equal(output.time, output.time_given(infected.long()))
    assert torch.equal(output.time_given(torch.ones(16, dtype=torch.long)), output.times[:, 1])


@pytest.mark.parametrize("other", [{"tasks": ("time",)}, {"time_on": "infected", "tasks": ("time",)}])
def test_one_class_has_one_time(other):
    with torch.inference_mode():
        output = single_task(time_heads="per_clock", **other)(torch.randn(2, 1, 32, 32))
    assert output.times is None
    assert output.time.shape == (2,)
