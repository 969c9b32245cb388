"""What a model says of frames, and how good that is."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, roc_auc_score
from torch import Tensor

from hpiclock.config.schema import Config
from hpiclock.progress import progress
from hpiclock.training.batches import Batches
from hpiclock.training.device import autocast, in_parts
from hpiclock.training.losses import Losses
from hpiclock.training.model import Output, TwoHeads


def predict(model: TwoHeads, batches: Batches, precision: torch.dtype, *, desc: str) -> Output:
    """Return what the model says of every row of the batches' table, in its order: float32 on the device.

    ``class_logits`` (rows, 2), ``time`` (rows,) standardised; the rows must not be none.
    """
    model.eval()
    logits: list[Tensor] = []
    time: list[Tensor] = []
    with progress(desc=desc, total=len(batches.rows), unit="frame", leave=False) as bar:
        for batch in batches.in_order():
            with torch.inference_mode(), autocast(batches.device, precision):
                output = model.heads(in_parts(model.features, batch.images))
            if output.class_logits is not None:
                logits.append(output.class_logits.float())
            if output.time is not None:
                time.append(output.time.float())
            bar.update(len(batch.images))
    n, world = len(batches.rows), batches.world
    said = (torch.cat(part) if part else None for part in (logits, time))
    return Output(*(part if part is None else world.gathered(part, n) for part in said))


def output_table(model: TwoHeads, output: Output) -> pd.DataFrame:
    """Return ``p_infected`` and ``time_pred`` (hours) per row; a head that the model lacks gives NaN."""
    p, hours = _p_infected(output), _hours(model, output)
    missing = np.full(len(next(part for part in output if part is not None)), np.nan)
    return pd.DataFrame(
        {"p_infected": missing if p is None else p, "time_pred": missing if hours is None else hours}
    )


def evaluate(
    cfg: Config,
    model: TwoHeads,
    objective: Losses,
    output: Output,
    label: np.ndarray,
    time_target_h: np.ndarray,
) -> dict[str, float]:
    """Return losses and metrics of rows with a label; the class threshold is 0.5, the time the true clock's.

    A metric that these rows do not define (an AUC of one class) is NaN.
    """
    device = model.time_mean_h.device
    with torch.inference_mode():
        truth = torch.from_numpy(label).to(device)
        losses = objective(model, output, truth, torch.from_numpy(time_target_h).to(device))
    values = objective.named((float(losses.total), float(losses.of_class), float(losses.of_time)))
    p, hours = _p_infected(output), _hours(model, output)
    if p is not None:
        called = p > 0.5
        one_class = len(np.unique(label)) < 2
        values["auc"] = math.nan if one_class else float(roc_auc_score(label, p))
        values["accuracy"] = float(accuracy_score(label, called))
        values["f1"] = float(f1_score(label, called, zero_division=0.0))
    if hours is not None:
        timed = objective.timed(torch.from_numpy(label)).numpy()
        errors = (time_target_h[timed], hours[timed])
        values["mae"] = float(mean_absolute_error(*errors)) if timed.any() else math.nan
    if p is not None and hours is not None:
        low, high = cfg.targets.range_h
        values["combined"] = 0.6 * values["f1"] + 0.4 * (1 - values["mae"] / (high - low))
    return values


def _p_infected(output: Output) -> np.ndarray | None:
    if output.class_logits is None:
        return None
    # in float64, where confident frames keep their order; some devices have none, so on the CPU
    return output.class_logits.cpu().double().softmax(1)[:, 1].numpy()


def _hours(model: TwoHeads, output: Output) -> np.ndarray | None:
    return None if output.time is None else model.hours(output.time).cpu().double().numpy()
