"""A trained model reads frames batch by batch: its predictions, and the features of its backbone."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from hpiclock.config.schema import Config, ModelConfig
from hpiclock.files import atomic
from hpiclock.inference.ood import TrainingReference
from hpiclock.inference.perturb import perturb
from hpiclock.plate.cache import FrameCache
from hpiclock.tables import time_given
from hpiclock.training.batches import plain_images
from hpiclock.training.checkpoint import read_checkpoint
from hpiclock.training.device import place_model
from hpiclock.training.evaluate import forward_batches, output_table
from hpiclock.training.losses import TIMED
from hpiclock.training.model import TwoHeads, build_model


def load_model(cfg: Config, checkpoint: Path) -> TwoHeads:
    """Return a trained model on the device of its config, in evaluation mode.

    Raises:
        InputError: no checkpoint, or one of another model; a device that is not to be had.
    """
    model = place_model(
        build_model(cfg.model, n_frames=len(cfg.image.context_h), size=cfg.image.size, pretrained=False),
        cfg.train,
    )
    read_checkpoint(checkpoint, {"model": model}, model.device)
    return model.eval()


def predict(
    model: TwoHeads,
    cache: FrameCache,
    frames: pd.DataFrame,
    reference: TrainingReference | None,
    *,
    each: Callable[[int], object],
) -> pd.DataFrame:
    """Return ``p_infected time_pred distance`` of every row of a FRAMES table, in its order.

    Only one batch is in memory at a time. ``distance`` is in units of the farthest held-out stack of the
    training plate; missing without a reference. A prediction whose head the model lacks is missing.

    Args:
        model: from :func:`load_model`.
        cache: the frames' pixels.
        frames: rows with ``stack_id frame label time_target``.
        reference: the distribution of the training frames' features.
        each: called with the number of frames of each batch that is done.
    """
    parts = []
    for features, output in forward_batches(model, plain_images(cache, frames, model.device)):
        rows = output_table(model, output)
        distance = np.nan if reference is None else reference.relative_distance(features.cpu().numpy())
        parts.append(rows.assign(distance=distance))
        each(len(rows))
    return pd.concat(parts, ignore_index=True)


def trained_times_only(predicted: pd.DataFrame, model: ModelConfig, *, threshold: float) -> pd.Series:
    """Return the time of each frame, missing for a class whose time the model did not learn.

    The class is the predicted one: on a new plate the true one is not known.
    """
    if "class" not in model.tasks:
        return predicted["time_pred"]
    called = predicted["p_infected"] >= threshold
    times = pd.Series(time_given(predicted, called.to_numpy()), predicted.index)
    return times.where(called.astype(int).isin(TIMED[model.time_on]))


def embed(
    model: TwoHeads, cache: FrameCache, frames: pd.DataFrame, *, folder: Path, change: str = ""
) -> pd.DataFrame:
    """Return the backbone's features of frames: ``stack_id frame f0 f1 ...``, float32.

    They are kept in ``folder`` under a name made of the weights, the cache, the rows and the change, and read
    from there the next time.

    Args:
        model: a trained model, or one with frozen weights, on its device.
        cache: the frames' pixels.
        frames: a FRAMES table, or rows with the same columns.
        folder: where features are kept.
        change: a key of :data:`hpiclock.inference.perturb.PERTURBATIONS`, or empty for frames as they are.
    """
    path = folder / "features" / f"{_key(model, cache, frames, change)}.npy"
    if path.is_file():
        features = np.load(path)
    else:
        images = plain_images(cache, frames, model.device, f"features {change}".strip())
        seen = forward_batches(model, images, [partial(perturb, change=change)])
        features = np.concatenate([part.cpu().numpy() for part, _ in seen])
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial_file:
            np.save(partial_file, features)
    columns = [f"f{i}" for i in range(features.shape[1])]
    keys = frames[["stack_id", "frame"]].reset_index(drop=True)
    return pd.concat([keys, pd.DataFrame(features, columns=columns)], axis=1)


def _key(model: TwoHeads, cache: FrameCache, frames: pd.DataFrame, change: str) -> str:
    read = f"{model.precision} {model.subtract_mean} {model.average_turns}"
    digest = hashlib.sha256(f"{cache.key} {read} {change}".encode())
    for name, tensor in model.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    digest.update(cache.context_rows(frames).tobytes())
    return digest.hexdigest()[:24]
