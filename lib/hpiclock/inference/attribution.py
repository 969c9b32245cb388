"""Attribution maps of each head: what in a frame moves its output, and which way.

Do the maps depend on what was learnt? Checked with other weights, other labels and deleted tiles.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Saliency
from torch import Tensor, nn

from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.inference.perturb import TILES, heavy_blur
from hpiclock.plate.cache import FrameCache
from hpiclock.training.augment import GREY_MEAN, GREY_SD
from hpiclock.training.batches import Batches, plain_images
from hpiclock.training.device import place_model
from hpiclock.training.loop import fit
from hpiclock.training.losses import Losses, trainable_frames
from hpiclock.training.model import TwoHeads, build_model

Images = Tensor  # (n, n_frames, size, size), normalised
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
    other. The time head's number is in hours. Both are of the frame as it stands, without its turns.
    """

    def __init__(self, model: TwoHeads, head: str) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, images: Tensor) -> Tensor:
        """Read normalised images."""
        output = self.model.heads(self.model.features_as_it_stands(images))
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
            model.eval().features(torch.zeros(1, model.n_frames, size, size, device=model.device))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise InputError(
            f"image.size: at {size} px no part of this backbone keeps a map of {LEAST_SIDE} px for Grad-CAM"
        )
    return found[-1]


def attribution_map(model: TwoHeads, images: Tensor, *, head: str, method: str) -> Tensor:
    """Return the attribution map of a head: (batch, n_frames, s, s) -> (batch, s, s), float32 on the CPU.

    Of several frames it is the map of the frame itself, not of the earlier ones that are read with it;
    Grad-CAM weighs features in which all of them are.

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
    return _in_parts(model, images, head, _coarse)


def images_of(model: TwoHeads, cache: FrameCache, frames: pd.DataFrame) -> Tensor:
    """Return frames as the model reads them: (n, n_frames, size, size), normalised, on its device."""
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
    return torch.cat(parts)[:, 0]  # (batch, n_frames, s, s) -> (batch, s, s): of the frame itself


def _coarse(one: OneHead, images: Tensor) -> Tensor:
    layer = gradcam_layer(one.model, images.shape[-1])
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
    return LayerAttribution.interpolate(_coarse(one, images), images.shape[-2:], interpolate_mode="bilinear")


DEPTHS = ("heads", "and the last quarter", "and the last half", "and three quarters", "everything")
REMOVED = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # shares of the tiles
ORDERS = 3  # random orders of deletion
SHUFFLED_LABEL_STEPS = 20  # of a model that learns shuffled labels, at most
EPOCHS = 2


def cascading_randomization(model: TwoHeads, *, seed: int) -> Iterator[tuple[str, TwoHeads]]:
    """Yield copies of a model whose weights are drawn anew, ever deeper: the names are :data:`DEPTHS`.

    The cascading randomisation of Adebayo et al. (2018, NeurIPS): first the heads, then the backbone from
    its last layer to its first, in quarters. A map that stays as it was does not show what was learnt.
    """
    mixed = copy.deepcopy(model).cpu().eval()  # the CPU's random numbers are the same everywhere
    heads = [head for head in (mixed.class_head, mixed.time_head) if head is not None]
    quarters = np.array_split(np.array(_layers(mixed.backbone)[::-1], dtype=object), len(DEPTHS) - 1)
    parts = [[layer for head in heads for layer in _layers(head)], *(list(part) for part in quarters)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, layers in zip(DEPTHS, parts, strict=True):
            for layer in layers:
                layer.reset_parameters()
            yield name, copy.deepcopy(mixed).to(model.device)


def train_on_shuffled_labels(cfg: Config, cache: FrameCache, frames: pd.DataFrame) -> TwoHeads:
    """Return a model of the config's design, trained for a short while on labels and times dealt at random.

    The other check of Adebayo et al. (2018): training frames keep their images and get the label and the
    time of another training frame. It begins with weights of its own and is trained for at most
    :data:`SHUFFLED_LABEL_STEPS` steps, so it is a small model of what architecture and images alone give.
    """
    usable = permute_labels(frames[trainable_frames(frames, cfg.model)], np.random.default_rng(cfg.seed))
    steps = max(SHUFFLED_LABEL_STEPS // EPOCHS, 1)
    changes = {"epochs": EPOCHS, "max_steps": steps, "patience": None, "compile": False}
    short = cfg.model_copy(update={"train": cfg.train.model_copy(update=changes)})
    with torch.random.fork_rng(devices=[]):
        model = place_model(
            build_model(cfg.model, n_frames=len(cfg.image.context_h), seed=cfg.seed + 1), cfg.train
        )
    deal = partial(Batches, cache, batch_size=cfg.train.batch_size, device=model.device)
    train, val = (deal(usable[usable["split"].eq(split)]) for split in ("train", "val"))
    losses = Losses(cfg.objective, cfg.model)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, losses, train, val, short, Path(folder), say=lambda _: None)  # a check, not a run
    return model


def permute_labels(frames: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return frames in which the targets, label and time together, are shuffled inside each split."""
    rows = frames.reset_index(drop=True)
    order = np.arange(len(rows))
    for mine in rows.groupby("split").indices.values():
        order[mine] = rng.permutation(mine)
    targets = rows[["label", "time_target"]].iloc[order].reset_index(drop=True)
    return rows.assign(label=targets["label"], time_target=targets["time_target"])


def delete_tiles(model: TwoHeads, images: Tensor, order: np.ndarray, *, head: str) -> np.ndarray:
    """Delete tiles of images in an order; return the head's outputs: (n, len(REMOVED)).

    A deleted tile shows the frame under a heavy blur (a Gaussian of 1/8 of its side): light and density stay,
    cells go, and no edge of a hole is drawn. Tiles go whole, in a random order as in that of a map, because
    single pixels at random harm a picture more than one patch of the same area.

    Args:
        model: in evaluation mode.
        images: (n, n_frames, s, s), normalised.
        order: (n, TILES * TILES) the tiles of each image, row by row, as they are to go.
        head: whose output; see :class:`~hpiclock.inference.attribution.OneHead`.
    """
    smooth = (heavy_blur(images * GREY_SD + GREY_MEAN) - GREY_MEAN) / GREY_SD
    outputs = []
    for share in REMOVED:
        gone = torch.from_numpy(_tiles_gone(order, share, images.shape[-1])).to(images.device)
        outputs.append(head_outputs(model, torch.where(gone[:, None], smooth, images), head=head))
    return np.stack(outputs, axis=1)


def random_orders(n: int, seed: int) -> list[np.ndarray]:
    """Return :data:`ORDERS` random orders of the tiles of ``n`` images, each (n, TILES * TILES)."""
    rng = np.random.default_rng(seed)
    tiles = np.tile(np.arange(TILES * TILES), (n, 1))
    return [rng.permuted(tiles, axis=1) for _ in range(ORDERS)]


def _tiles_gone(order: np.ndarray, share: float, side: int) -> np.ndarray:
    """Return the pixels that the first ``share`` of the tiles cover: (n, side, side) bool."""
    gone = np.zeros((len(order), TILES * TILES), bool)
    np.put_along_axis(gone, order[:, : round(share * TILES * TILES)], True, axis=1)
    at = np.minimum(np.arange(side) // (side // TILES), TILES)  # a rest beyond the last tile stays
    padded = np.pad(gone.reshape(-1, TILES, TILES), ((0, 0), (0, 1), (0, 1)))
    return padded[:, at[:, None], at]


def _layers(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if hasattr(part, "reset_parameters")]
