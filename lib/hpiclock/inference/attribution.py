"""Attribution maps of each head: what in a frame moves its output, and which way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Saliency
from torch import Tensor, nn

from hpiclock.errors import InputError
from hpiclock.plate.cache import FrameCache
from hpiclock.training.batches import plain_images
from hpiclock.training.model import TwoHeads

Images = Tensor  # (n, 1, size, size), normalised
HEADS = ("class", "time")
GRADCAM, INTEGRATED, SALIENCY = "Grad-CAM", "integrated gradients", "saliency"
METHODS = (GRADCAM, INTEGRATED, SALIENCY)
LEAST_SIDE = 7  # of the map that Grad-CAM weighs: 7 is what the usual 224 px leave in a ResNet's last stage
STEPS = 8  # from the flat frame to the frame; Gauss-Legendre points
AT_ONCE = 16  # frames whose gradients are in memory together


class OneHead(nn.Module):
    """One head's output as one number a frame, for methods that want one: (batch, 1, s, s) -> (batch,).

    The class head's number is its logit of infected less that of mock, so a frame that is called uninfected
    has a map, too: the class with the larger logit is not pushed up alone, both are weighed against each
    other. The time head's number is in hours.
    """

    def __init__(self, model: TwoHeads, head: str) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, images: Tensor) -> Tensor:
        """Read normalised images."""
        output = self.model(images)
        if self.head == "class":
            assert output.class_logits is not None
            return output.class_logits[:, 1] - output.class_logits[:, 0]
        assert output.time is not None
        return self.model.hours(output.time)


def heads_of(model: TwoHeads) -> tuple[str, ...]:
    """Return the heads that a model has."""
    there = {"class": model.class_head, "time": model.time_head}
    return tuple(head for head in HEADS if there[head] is not None)


def gradcam_layer(model: TwoHeads, size: int) -> str:
    """Return the name of the backbone's last part whose output is a map of at least :data:`LEAST_SIDE` px.

    Grad-CAM is usually taken at the last convolutional stage, which of an image of 64 px leaves 2 x 2 cells:
    too coarse to point at anything. In a ResNet it is the fourth stage at 224 px, the second at 64 px.

    Raises:
        InputError: no part gives such a map, as in small images.
    """
    found: list[str] = []

    def note(name: str, _: nn.Module, __: object, out: object) -> None:
        if isinstance(out, Tensor) and out.ndim == 4 and out.shape[-1] == out.shape[-2] >= LEAST_SIDE:
            found.append(name)

    parts = [(name, part) for name, part in model.backbone.named_modules() if name]
    hooks = [part.register_forward_hook(partial(note, name)) for name, part in parts]
    try:
        with torch.inference_mode():
            model.eval().features(torch.zeros(1, 1, size, size, device=model.device))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise InputError(
            f"image.size: at {size} px no part of this backbone keeps a map of {LEAST_SIDE} px for Grad-CAM"
        )
    return found[-1]


def attribution_map(model: TwoHeads, images: Tensor, *, head: str, method: str) -> Tensor:
    """Return the attribution map of a head: (batch, 1, s, s) normalised -> (batch, s, s), float32 on the CPU.

    Positive speaks for infected (class) or for more hours (time), negative against; saliency alone has no
    sign and says how strongly a pixel moves the answer. All are computed in float32 by captum.

    - Grad-CAM (Selvaraju et al. 2017), at :func:`gradcam_layer` and without its final ReLU: what speaks
      against the answer stays, with its sign.
    - Integrated gradients (Sundararajan et al. 2017), from the flat frame of the same mean grey.
    - Saliency (Simonyan et al. 2014): the size of the gradient.

    Guided backpropagation is left out: its maps do not depend on what was learnt (Adebayo et al. 2018).

    Args:
        model: on the device of the images; it is put into evaluation mode.
        images: normalised frames.
        head: ``class`` or ``time``.
        method: one of :data:`METHODS`.
    """
    return _in_parts(model, images, head, partial(_attribute, method=method))


def coarse_gradcam(model: TwoHeads, images: Tensor, *, head: str) -> Tensor:
    """Return Grad-CAM in the cells of its layer, as in :func:`attribution_map`: (batch, cells, cells)."""
    layer = gradcam_layer(model, images.shape[-1])
    return _in_parts(model, images, head, partial(_coarse, layer=layer))


def images_of(model: TwoHeads, cache: FrameCache, frames: pd.DataFrame) -> Tensor:
    """Return frames as the model reads them, all at once: (n, 1, size, size), normalised, on its device."""
    return torch.cat([images.clone() for images in plain_images(cache, frames, model.device)])


def methods_for(model: TwoHeads, size: int) -> tuple[str, ...]:
    """Return the methods that can be used: without a map to weigh there is no Grad-CAM."""
    try:
        gradcam_layer(model, size)
    except InputError:
        return METHODS[1:]
    return METHODS


def head_outputs(model: TwoHeads, images: Tensor, *, head: str) -> np.ndarray:
    """Return a head's number for each image, see :class:`OneHead`: (batch,) float64."""
    one = OneHead(model, head).eval()
    with torch.inference_mode():
        parts = [one(part).double().cpu() for part in images.split(8 * AT_ONCE)]
    return torch.cat(parts).numpy()


def _in_parts(
    model: TwoHeads, images: Tensor, head: str, method: Callable[[OneHead, Tensor], Tensor]
) -> Tensor:
    one = OneHead(model, head).eval()
    # contiguous: gradients of channels-last images come in their own order of sums
    parts = [method(one, part.float().contiguous()).detach().float().cpu() for part in images.split(AT_ONCE)]
    return torch.cat(parts)[:, 0]  # (batch, 1, s, s) -> (batch, s, s)


def _coarse(one: OneHead, images: Tensor, *, layer: str) -> Tensor:
    cam = LayerGradCam(one, one.model.backbone.get_submodule(layer))
    return cam.attribute(images, relu_attributions=False)


def _attribute(one: OneHead, images: Tensor, *, method: str) -> Tensor:
    if method == SALIENCY:
        return Saliency(one).attribute(images.clone().requires_grad_(), abs=True)
    if method == INTEGRATED:
        flat = images.mean((-2, -1), keepdim=True).expand_as(images)
        return IntegratedGradients(one).attribute(
            images, baselines=flat, n_steps=STEPS, method="gausslegendre", internal_batch_size=len(images)
        )
    size = images.shape[-1]
    coarse = _coarse(one, images, layer=gradcam_layer(one.model, size))
    return LayerAttribution.interpolate(coarse, (size, size), interpolate_mode="bilinear")
