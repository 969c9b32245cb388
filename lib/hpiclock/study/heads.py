"""Linear heads on features that do not change: a quick probe of what a choice of frames does to a score.

A probe is no training: the features stay what they are. It tells which hours and controls carry the answer,
not how good a trained model would be.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from hpiclock.errors import InputError
from hpiclock.study.audit_learn import columns_of, reduced
from hpiclock.tables import PREDICTIONS, check


def components(frames: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
    """Return standardised principal components of the features, found on training frames: (rows, few).

    Args:
        frames: FRAMES.
        features: ``stack_id frame f0 f1 ...``, at least these frames.
    """
    joined = frames[["stack_id", "frame"]].merge(features, on=["stack_id", "frame"], how="left")
    x = joined[columns_of(features)].to_numpy(float)
    learnt = frames["split"].eq("train").to_numpy()
    return make_pipeline(*reduced(x[learnt])).fit(x[learnt]).transform(x)


def probe(frames: pd.DataFrame, z: np.ndarray, *, run: str, seed: int) -> pd.DataFrame:
    """Fit a class head and a time head per class on the training frames; return PREDICTIONS of the rest.

    A frame's time is read by the head of its own class, that is under the true clock. Frames without a label
    get a P(infected) and no time.

    Args:
        frames: FRAMES that a run would use.
        z: (rows, few) their components.
        run: its name.
        seed: of the run.

    Raises:
        InputError: training frames of one class only.
    """
    label = frames["label"].astype("Int8").fillna(-1).to_numpy(int)
    learnt, asked = frames["split"].eq("train").to_numpy(), frames["split"].ne("train").to_numpy()
    if len(np.unique(label[learnt & (label >= 0)])) < 2:
        raise InputError(f"{run}: its training frames hold one class only; widen its hours")
    head = LogisticRegression(max_iter=300, class_weight="balanced", solver="newton-cholesky")
    head.fit(z[learnt & (label >= 0)], label[learnt & (label >= 0)])
    p, time = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    p[asked] = head.predict_proba(z[asked])[:, 1]
    target = frames["time_target"].to_numpy(float)
    for kind in (0, 1):
        mine = (label == kind) & ~np.isnan(target)
        if (mine & learnt).any() and (mine & asked).any():
            fitted = Ridge(alpha=1.0).fit(z[mine & learnt], target[mine & learnt])
            time[mine & asked] = fitted.predict(z[mine & asked])
    said = frames.assign(run=run, seed=seed, p_infected=p, time_pred=time)
    return check(PREDICTIONS, said[asked])
