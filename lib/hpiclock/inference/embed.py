"""The backbone's features of frames, as they are and changed, kept on disk once computed."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from hpiclock.files import atomic
from hpiclock.inference.perturb import perturb
from hpiclock.plate.cache import FrameCache
from hpiclock.training.batches import plain_images
from hpiclock.training.evaluate import forward_batches
from hpiclock.training.model import TwoHeads


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
    digest = hashlib.sha256(f"{cache.key} {model.precision} {change}".encode())
    for name, tensor in model.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    digest.update(cache.rows(frames).tobytes())
    return digest.hexdigest()[:24]
