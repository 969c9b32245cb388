"""A trained model asked about frames that it was not trained on, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hpiclock.config.schema import Config, ModelConfig
from hpiclock.inference.ood import TrainingReference
from hpiclock.plate.cache import FrameCache
from hpiclock.training.batches import Batches
from hpiclock.training.checkpoint import read_checkpoint
from hpiclock.training.device import autocast, in_parts
from hpiclock.training.evaluate import output_table
from hpiclock.training.experiment import LoadedModel, prepare_model
from hpiclock.training.losses import TIMED


def load_model(cfg: Config, checkpoint: Path) -> LoadedModel:
    """Return a trained model on the device of its config.

    Raises:
        InputError: no checkpoint, or one of another model; a device that is not to be had.
    """
    machine = prepare_model(cfg, pretrained=False)
    read_checkpoint(checkpoint, {"model": machine.model}, machine.device)
    machine.model.eval()
    return machine


def predict(
    machine: LoadedModel,
    cache: FrameCache,
    frames: pd.DataFrame,
    reference: TrainingReference | None,
    *,
    each: Callable[[int], object],
) -> pd.DataFrame:
    """Return ``p_infected time_pred distance`` of every row of a FRAMES table, in its order.

    Only one batch is in memory at a time. ``distance`` is in units of the farthest held-out stack of the
    training plate; missing without a reference. An answer whose head the model lacks is missing.

    Args:
        machine: from :func:`open_machine`.
        cache: the frames' pixels.
        frames: rows with ``stack_id frame label time_target``.
        reference: what training frames look like to this model.
        each: called with the number of frames of each batch that is done.
    """
    parts = []
    for batch in Batches(cache, frames, batch_size=1, device=machine.device).in_order():
        with torch.inference_mode(), autocast(machine.device, machine.precision):
            features = in_parts(machine.model.features, batch.images)
            output = machine.model.heads(features)
        output = type(output)(*(None if part is None else part.float() for part in output))
        said = output_table(machine.model, output)
        seen = features.float().cpu().numpy()
        far = np.full(len(said), np.nan) if reference is None else reference.distance(seen) / reference.unit
        parts.append(said.assign(distance=far))
        each(len(said))
    return pd.concat(parts, ignore_index=True)


def trained_times_only(said: pd.DataFrame, model: ModelConfig, *, threshold: float) -> pd.Series:
    """Return ``time_pred`` without the times of a class whose time the model did not learn.

    The class is the one that the model calls: on a new plate the true one is not known.
    """
    if "class" not in model.tasks:
        return said["time_pred"]
    called = (said["p_infected"] >= threshold).astype(int)
    return said["time_pred"].where(called.isin(TIMED[model.time_on]))
