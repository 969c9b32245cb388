"""Is P(infected) a probability? A temperature fitted on validation, and the scores before and after it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from hpiclock.study.groups import ordered_splits
from hpiclock.study.views import scored

CLIP = 1e-7  # a P of exactly 0 or 1 has no logit
RANGE = (0.05, 20.0)
COLUMNS = ["run", "split", "temperature", "brier", "brier_after", "log_loss", "log_loss_after", "n", "note"]


def temperatures(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one temperature per run, fitted on validation, and what it does in each split.

    Columns ``run split temperature brier brier_after log_loss log_loss_after n note``. Above 1 the model is
    too sure of itself, below 1 not sure enough (Guo et al. 2017). Missing with a reason where validation
    holds one class or separates the classes entirely.
    """
    parts = []
    for run, rows in scored(predictions).groupby("run", sort=True):
        temperature, note = _fit(rows[rows["split"].eq("val")])
        for split in ordered_splits(rows):
            part = rows[rows["split"].eq(split)]
            truth, z = part["label"].to_numpy(float), _logits(part)
            after = expit(z / temperature) if np.isfinite(temperature) else np.full(len(z), np.nan)
            parts.append(
                (run, split, temperature, _brier(expit(z), truth), _brier(after, truth),
                 _log_loss(expit(z), truth), _log_loss(after, truth), len(part), note)
            )  # fmt: skip
    return pd.DataFrame(parts, columns=COLUMNS)


def _fit(rows: pd.DataFrame) -> tuple[float, str]:
    truth = rows["label"].to_numpy(float)
    if len(np.unique(truth)) < 2:
        return float("nan"), "no temperature: validation holds " + ("one class" if len(rows) else "no frames")
    z = _logits(rows)
    if z[truth == 1].min() > z[truth == 0].max():
        return float("nan"), "no temperature: validation separates the classes entirely"
    # the log loss is convex in 1 / temperature
    best = minimize_scalar(
        lambda log_t: _log_loss(expit(z / np.exp(log_t)), truth), bounds=np.log(RANGE), method="bounded"
    )
    value = float(np.exp(best.x))
    at_edge = not RANGE[0] * 1.01 < value < RANGE[1] / 1.01
    return value, "temperature at the end of its range: P(infected) says little" if at_edge else ""


def _logits(rows: pd.DataFrame) -> np.ndarray:
    return logit(np.clip(rows["p_infected"].to_numpy(float), CLIP, 1 - CLIP))


def _brier(p: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((p - truth) ** 2))


def _log_loss(p: np.ndarray, truth: np.ndarray) -> float:
    p = np.clip(p, CLIP, 1 - CLIP)
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p)))
