"""One backbone, two heads: infected or not, and time."""

import difflib
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from hpiclock.config.schema import ModelConfig
from hpiclock.errors import InputError
from hpiclock.training.pretrained import classifier_path, load_weights


class Output(NamedTuple):
    """What the model says of a batch; a head that the model lacks gives None.

    ``class_logits`` (batch, 2): mock, infected. ``time`` (batch,): standardised time; with a time head per
    clock that of the class with the larger logit, and ``times`` (batch, 2) those of both: mock, infected.
    """

    class_logits: Tensor | None
    time: Tensor | None
    times: Tensor | None = None

    def time_given(self, label: Tensor) -> Tensor:
        """Return standardised time where the class is known, (batch,): that of the head of its clock.

        Args:
            label: 0 uninfected or 1 infected, (batch,) on the output's device.
        """
        assert self.time is not None
        # (batch, 2) -> (batch,)
        return self.time if self.times is None else self.times.gather(1, label[:, None])[:, 0]


class TwoHeads(nn.Module):
    """A backbone whose features feed a class head and a time head.

    Time is learnt standardised; ``time_mean_h`` and ``time_sd_h`` turn it into hours (:meth:`hours`).
    ``precision`` is the type that convolutions compute in (:func:`hpiclock.training.device.place_model`).
    """

    time_mean_h: Tensor
    time_sd_h: Tensor
    precision: torch.dtype = torch.float32

    def __init__(self, backbone: nn.Module, n_features: int, model: ModelConfig, n_frames: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.n_frames = n_frames
        self.in_channels = model.in_channels
        self.subtract_mean = model.subtract_mean
        self.average_turns = model.average_turns
        self.time_sees_class = model.time_sees_class
        self.class_head = _head(n_features, model, 2) if "class" in model.tasks else None
        extra = 2 if model.time_sees_class else 0
        self.time_head = _head(n_features + extra, model, model.n_times) if "time" in model.tasks else None
        self.register_buffer("time_mean_h", torch.tensor(0.0))
        self.register_buffer("time_sd_h", torch.tensor(1.0))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.time_mean_h.device

    def forward(self, images: Tensor) -> Output:
        """Read images of shape (batch, n_frames, size, size), normalised."""
        return self.heads(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return what the backbone sees: (batch, n_frames, size, size) -> (batch, n_features).

        With ``average_turns`` it is the mean over the four quarter turns, but not in training mode.
        """
        if self.training or not self.average_turns:
            return self.features_as_it_stands(images)
        turned = [self.features_as_it_stands(images.rot90(turns, (-2, -1))) for turns in range(4)]
        return torch.stack(turned).mean(0)

    def features_as_it_stands(self, images: Tensor) -> Tensor:
        """Return the features of frames that are not turned; shapes as in :meth:`features`."""
        if self.subtract_mean:
            images = images - images.mean((-2, -1), keepdim=True)
        if self.in_channels == 3:
            images = images.expand(-1, 3, -1, -1)  # (batch, 1, s, s) -> (batch, 3, s, s), no copy
        return self.backbone(images).flatten(1)

    def heads(self, features: Tensor) -> Output:
        """Read the heads from features of shape (batch, n_features)."""
        logits = self.class_head(features) if self.class_head is not None else None
        if self.time_head is None:
            return Output(logits, None)
        if self.time_sees_class and logits is not None:
            features = torch.cat([features, logits], dim=1)
        times = self.time_head(features)  # (batch, 1), or (batch, 2) with a head per clock
        if times.shape[1] == 1 or logits is None:
            return Output(logits, times[:, 0])
        return Output(logits, torch.where(logits[:, 1] > logits[:, 0], times[:, 1], times[:, 0]), times)

    def standardise(self, hours: Tensor) -> Tensor:
        """Hours -> the scale on which time is learnt."""
        return (hours - self.time_mean_h) / self.time_sd_h

    def hours(self, time: Tensor) -> Tensor:
        """The scale on which time is learnt -> hours."""
        return time.float() * self.time_sd_h + self.time_mean_h


def build_model(
    model: ModelConfig,
    *,
    n_frames: int = 1,
    seed: int | None = None,
    size: int | None = None,
    pretrained: bool = True,
) -> TwoHeads:
    """Build a model with the weights that the config names, on the CPU.

    Args:
        model: backbone, weights, heads.
        n_frames: frames of a field that are read together, as many as ``image.context_h`` has.
        seed: decides the weights that are not pretrained; None takes torch's random numbers as they are.
        size: side of the images in px, so that a backbone that cannot read them is refused at once.
        pretrained: False leaves ``model.weights`` unread, for a checkpoint that is loaded next.

    Raises:
        InputError: an unknown backbone, weights that cannot be had or are not pretrained, or another size;
            several frames with ``model.in_channels: 3``.
    """
    if n_frames > 1 and model.in_channels != 1:
        raise InputError("model.in_channels: several frames (image.context_h) are read with in_channels 1")
    if seed is not None:
        torch.manual_seed(seed)
    backbone = make_backbone(model.backbone)
    if pretrained and model.weights != "none":
        load_weights(backbone, model.backbone, model.weights)
    path = classifier_path(backbone)
    n_features = backbone.get_parameter(f"{path}.weight").shape[1]  # (classes, features)
    backbone.set_submodule(path, nn.Identity())
    if model.in_channels == 1:
        fold_first_convolution(backbone, n_frames, pretrained=model.weights != "none")
    built = TwoHeads(backbone, n_features, model, n_frames)
    if size is not None:
        refuse_size(built, model.backbone, size)
    return built


def make_backbone(name: str) -> nn.Module:
    """Build a torchvision classification model, or ``resnet10`` (one basic block a stage), without weights.

    Raises:
        InputError: no such model, or one whose classifier is not one linear layer on pooled features.
    """
    if name == "resnet10":
        return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
    known = ["resnet10", *torchvision.models.list_models(module=torchvision.models)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or known[-3:]
        raise InputError(
            f"model.backbone: no model {name}; did you mean {' or '.join(near)}? resnet10 and torchvision's "
            "classification models are there"
        )
    if name in ("googlenet", "inception_v3") or name.startswith("squeezenet"):
        raise InputError(f"model.backbone: {name} has no single linear classifier to replace; take a resnet")
    return torchvision.models.get_model(name, weights=None)


def refuse_size(model: TwoHeads, name: str, size: int) -> None:
    """Try one empty image of ``size`` px, as some backbones read certain sizes only.

    Raises:
        InputError: the model cannot read it.
    """
    was_training = model.training
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, model.n_frames, size, size, device=model.device))
    except (RuntimeError, AssertionError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"image.size: {name} cannot read images of {size} px ({why}); 224 px suits every backbone"
        ) from None
    finally:
        model.train(was_training)


def _head(n_features: int, model: ModelConfig, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_features, model.hidden_dim),
        nn.ReLU(),
        nn.Dropout(model.dropout),
        nn.Linear(model.hidden_dim, n_out),
    )


def fold_first_convolution(backbone: nn.Module, n_frames: int = 1, *, pretrained: bool = True) -> None:
    """Let a backbone for three channels read grey frames.

    One frame: three equal channels are one through the summed kernels. Several frames, pretrained: the mean
    of what each alone would give; else kernels of their own, drawn as torchvision draws those of a ResNet.
    """
    path, old = next((p, m) for p, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    same = ("out_channels", "kernel_size", "stride", "padding", "dilation")
    new = nn.Conv2d(n_frames, **{name: getattr(old, name) for name in same}, bias=old.bias is not None)
    with torch.no_grad():
        if n_frames == 1 or pretrained:
            # (out, 3, k, k) -> (out, n_frames, k, k)
            new.weight.copy_(old.weight.sum(1, keepdim=True).expand_as(new.weight) / n_frames)
        else:
            nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    backbone.set_submodule(path, new)
