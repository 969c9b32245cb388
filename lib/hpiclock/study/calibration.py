"""Is P(infected) a probability? A temperature fitted on validation, and the scores before and after it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, stdtrit

from hpiclock.study.groups import MIN_GROUPS, choose_level, ordered_splits
from hpiclock.study.views import scored

CLIP = 1e-7  # a P of exactly 0 or 1 has no logit
RANGE = (0.05, 20.0)
COLUMNS = ["run", "split", "temperature", "low", "high", "brier", "brier_after", "log_loss", "log_loss_after",
           "n", "note"]  # fmt: skip


def temperatures(predictions: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return one temperature per run, fitted on validation, and what it does in each split.

    Columns ``run split temperature low high brier brier_after log_loss log_loss_after n note``. Above 1 the
    model is too sure of itself, below 1 not sure enough (Guo et al. 2017). Missing with a reason where
    validation holds one class or separates the classes entirely. The limits come from the groups of
    validation (sandwich variance on the log scale, Student's t).
    """
    parts = []
    for run, rows in scored(predictions).groupby("run", sort=True):
        temperature, low, high, note = _fit(rows[rows["split"].eq("val")].reset_index(drop=True), level)
        for split in ordered_splits(rows):
            part = rows[rows["split"].eq(split)]
            truth, z = part["label"].to_numpy(float), _logits(part)
            after = expit(z / temperature) if np.isfinite(temperature) else np.full(len(z), np.nan)
            parts.append(
                (run, split, temperature, low, high, _brier(expit(z), truth), _brier(after, truth),
                 _log_loss(expit(z), truth), _log_loss(after, truth), len(part), note)
            )  # fmt: skip
    return pd.DataFrame(parts, columns=COLUMNS)


def _fit(rows: pd.DataFrame, level: float) -> tuple[float, float, float, str]:
    nothing = (float("nan"),) * 3
    truth = rows["label"].to_numpy(float)
    if len(np.unique(truth)) < 2:
        return *nothing, "no temperature: validation holds " + ("one class" if len(rows) else "no frames")
    z = _logits(rows)
    if z[truth == 1].min() > z[truth == 0].max():
        return *nothing, "no temperature: validation separates the classes entirely"
    # the log loss is convex in 1 / temperature
    best = minimize_scalar(
        lambda log_t: _log_loss(expit(z / np.exp(log_t)), truth), bounds=np.log(RANGE), method="bounded"
    )
    value = float(np.exp(best.x))
    at_edge = not RANGE[0] * 1.01 < value < RANGE[1] / 1.01
    if at_edge:
        return value, *nothing[:2], "temperature at the end of its range: P(infected) says little"
    return value, *_limits(rows, z / value, truth, value, level)


def _limits(
    rows: pd.DataFrame, z: np.ndarray, truth: np.ndarray, value: float, level: float
) -> tuple[float, float, str]:
    """Limits of the temperature from what each group adds to the slope of the log loss at its minimum."""
    unit = choose_level(rows)
    code = np.unique(unit.codes, return_inverse=True)[1]
    k = int(code.max()) + 1
    if k < MIN_GROUPS:
        return float("nan"), float("nan"), f"no interval: {k} groups, at least {MIN_GROUPS} needed"
    p = expit(z)
    pulls = np.bincount(code, weights=(truth - p) * z, minlength=k)
    bend = float((p * (1 - p) * z**2).sum())
    half = float(stdtrit(k - 1, (1 + level) / 2) * np.sqrt(k / (k - 1) * (pulls**2).sum())) / bend
    return value * np.exp(-half), value * np.exp(half), f"unit {unit.unit}: {k} in validation"


def _logits(rows: pd.DataFrame) -> np.ndarray:
    return logit(np.clip(rows["p_infected"].to_numpy(float), CLIP, 1 - CLIP))


def _brier(p: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((p - truth) ** 2))


def _log_loss(p: np.ndarray, truth: np.ndarray) -> float:
    p = np.clip(p, CLIP, 1 - CLIP)
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p)))
