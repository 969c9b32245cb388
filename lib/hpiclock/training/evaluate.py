"""The output of a model for frames, and how good that is."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import confusion_matrix, mean_absolute_error, roc_auc_score
from torch import Tensor

from hpiclock.errors import RunFailed
from hpiclock.metrics import METRICS
from hpiclock.training.batches import Batches
from hpiclock.training.device import autocast, in_halves_on_memory_error
from hpiclock.training.losses import Losses
from hpiclock.training.model import Output, TwoHeads


def forward_batches(
    model: TwoHeads,
    images: Iterable[Tensor],
    changes: Sequence[Callable[[Tensor], Tensor]] = (lambda images: images,),
) -> Iterator[tuple[Tensor, Output]]:
    """Yield a model's features and output for each batch of images, in order: the one way through frames.

    The model is put into evaluation mode; a batch too large for the device is halved. Both are float32 on
    the model's device: features (batch, n_features), ``class_logits`` (batch, 2), ``time`` (batch,).

    Args:
        model: on the device of the images.
        images: batches of normalised images, (batch, 1, size, size) each.
        changes: made of each batch, one after the other; by default one that leaves images as they are.
    """
    model.eval()
    for batch in images:
        for change in changes:
            with torch.inference_mode(), autocast(batch.device, model.precision):
                features = in_halves_on_memory_error(model.features, change(batch))
                output = model.heads(features)
            yield features.float(), Output(*(None if part is None else part.float() for part in output))


def predict(model: TwoHeads, batches: Batches, *, desc: str = "") -> Output:
    """Return a model's output for every row of the batches' table, in its order: float32 on the device.

    ``class_logits`` (rows, 2), ``time`` (rows,) standardised; there must be a row. ``desc`` names a bar.
    """
    images = (batch.images for batch in batches.in_order(desc))
    outputs = [output for _, output in forward_batches(model, images)]
    columns = ([part for part in parts if part is not None] for parts in zip(*outputs, strict=True))
    n, group = len(batches.rows), batches.group
    return Output(*(group.all_gather(torch.cat(parts), n) if parts else None for parts in columns))


def output_table(model: TwoHeads, output: Output, dtype: torch.dtype = torch.float64) -> pd.DataFrame:
    """Return ``p_infected`` and ``time_pred`` (hours) per row; a head that the model lacks gives NaN.

    With a time head per clock ``time_mock`` and ``time_infected`` are there, too (hours); ``time_pred`` is
    that of the class with P of a half and more.

    P(infected) is computed in ``dtype``: in float64 confident frames keep their order.

    Raises:
        RunFailed: an answer is no number.
    """
    wrong = sum(int((~part.isfinite()).sum()) for part in output if part is not None)
    if wrong:
        raise RunFailed(f"{wrong} answers of the model are no numbers; train it anew, with a lower train.lr")
    n = len(next(part for part in output if part is not None))
    answers = pd.DataFrame(np.nan, index=range(n), columns=["p_infected", "time_pred"])
    if output.class_logits is not None:
        # on the CPU: some devices have no float64
        answers["p_infected"] = output.class_logits.cpu().to(dtype).softmax(1)[:, 1].double().numpy()
    if output.time is not None:
        answers["time_pred"] = model.hours(output.time).cpu().double().numpy()
    if output.times is not None:
        answers[["time_mock", "time_infected"]] = model.hours(output.times).cpu().double().numpy()
    return answers


def evaluate(
    model: TwoHeads,
    losses: Losses,
    output: Output,
    label: np.ndarray,
    time_target_h: np.ndarray,
    *,
    range_h: tuple[float, float],
) -> dict[str, float]:
    """Return losses and metrics of rows with a label; the class threshold is 0.5, the time the true clock's.

    A metric that these rows do not define (an AUC of one class) is NaN.

    Args:
        model: that gave the output.
        losses: the tasks and their weights.
        output: of the rows.
        label: 0 uninfected or 1 infected, (rows,).
        time_target_h: hours, (rows,).
        range_h: of the time targets; ``combined`` measures the time error against its width.
    """
    with torch.inference_mode():
        truth = [torch.from_numpy(values).to(model.device) for values in (label, time_target_h)]
        values = losses.named(*(float(value) for value in losses(model, output, *truth)))
    p = output_table(model, output)["p_infected"]
    if output.class_logits is not None:
        one_class = len(np.unique(label)) < 2
        values["auc"] = math.nan if one_class else float(roc_auc_score(label, p))
        counts = confusion_matrix(label, p > 0.5, labels=[0, 1]).ravel()
        totals = {"n": counts.sum()} | dict(zip(("tn", "fp", "fn", "tp"), counts, strict=True))
        values |= {name: float(METRICS[name].value(totals)) for name in ("accuracy", "f1")}
    if output.time is not None:
        timed = losses.timed(torch.from_numpy(label)).numpy()
        hours = model.hours(output.time_given(truth[0])).cpu().double().numpy()
        errors = (time_target_h[timed], hours[timed])
        values["mae"] = float(mean_absolute_error(*errors)) if timed.any() else math.nan
    if output.class_logits is not None and output.time is not None:
        low, high = range_h
        values["combined"] = 0.6 * values["f1"] + 0.4 * (1 - values["mae"] / (high - low))
    return values
