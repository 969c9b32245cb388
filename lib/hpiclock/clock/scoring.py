"""What a model says of frames, and how good that is while it trains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, roc_auc_score

from hpiclock.clock.batches import Batch, Batches
from hpiclock.clock.device import autocast
from hpiclock.clock.model import Output, TwoHeads
from hpiclock.clock.objective import Objective
from hpiclock.config import Config
from hpiclock.progress import progress


def predict(model: TwoHeads, batches: Batches, precision: torch.dtype) -> pd.DataFrame:
    """Return ``p_infected`` and ``time_pred`` (hours) for every row of the batches' table, in its order."""
    said = _Said(model)
    for _, output in progress(
        _outputs(model, batches, precision), desc="predicting", total=len(batches), leave=False
    ):
        said.add(output)
    missing = np.full(len(batches.frames), np.nan)
    p, hours = said.arrays()
    columns = {"p_infected": missing if p is None else p, "time_pred": missing if hours is None else hours}
    return pd.DataFrame(columns, index=batches.frames.index)


def score(
    cfg: Config, model: TwoHeads, objective: Objective, val: Batches, precision: torch.dtype
) -> dict[str, float]:
    """Return validation losses and metrics; the class threshold is 0.5, the time under the true clock."""
    said, sums, n = _Said(model), torch.zeros(3, device=val.device), 0
    for batch, output in _outputs(model, val, precision):
        said.add(output)
        with torch.inference_mode():
            losses = objective(model, output, batch.label, batch.time_target_h)
        size = len(batch.label)
        sums, n = sums + size * torch.stack(list(losses)), n + size
    total, of_class, of_time = (sums / n).tolist()
    scores = {"loss": total, "class_loss": of_class, "time_loss": of_time}
    p, hours = said.arrays()
    if p is not None:
        called = p > 0.5
        scores["auc"] = float(roc_auc_score(val.label, p))
        scores["accuracy"] = float(accuracy_score(val.label, called))
        scores["f1"] = float(f1_score(val.label, called, zero_division=0.0))
    if hours is not None:
        timed = objective.timed(torch.from_numpy(val.label)).numpy()
        scores["mae"] = float(mean_absolute_error(val.time_target_h[timed], hours[timed]))
    if p is not None and hours is not None:
        low, high = cfg.targets.range_h
        scores["combined"] = 0.6 * scores["f1"] + 0.4 * (1 - scores["mae"] / (high - low))
    return scores


def _outputs(model: TwoHeads, batches: Batches, precision: torch.dtype) -> Iterator[tuple[Batch, Output]]:
    model.eval()
    for batch in batches.in_order():
        with torch.inference_mode(), autocast(batches.device, precision):
            output = model(batch.images)
        yield batch, output


class _Said:
    """Collects what the heads say, on the device until the end."""

    def __init__(self, model: TwoHeads) -> None:
        self.model = model
        self.p: list[torch.Tensor] = []
        self.hours: list[torch.Tensor] = []

    def add(self, output: Output) -> None:
        if output.class_logits is not None:
            self.p.append(output.class_logits.float().softmax(1)[:, 1])
        if output.time is not None:
            self.hours.append(self.model.hours(output.time))

    def arrays(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        def joined(parts: list[torch.Tensor]) -> np.ndarray | None:
            return torch.cat(parts).double().cpu().numpy() if parts else None

        return joined(self.p), joined(self.hours)
