"""What simple models learn from features; shortcut baselines on the run's own split.

Features come as tables keyed by ``stack_id, frame``; every model is linear, so a whole audit takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hpiclock.study.audit_controls import before_onset
from hpiclock.study.audit_rows import MORE, Row, range_words
from hpiclock.study.audit_scores import auc_gain, auc_of, labels_of
from hpiclock.study.groups import class_of, codes_of

COMPONENTS = 32  # of the features, by principal components of the frames that are learnt from
MODEL = "the model"
MOST_FRAMES = 4000  # learnt from: more change nothing but the time


def learn_class(features: np.ndarray, label: np.ndarray) -> Any:
    """Fit a logistic regression on standardised principal components; classes weigh the same."""
    # few columns: Newton's method takes a few steps where the default takes hundreds
    last = LogisticRegression(max_iter=300, class_weight="balanced", solver="newton-cholesky")
    steps = [*reduced(features), last]
    return make_pipeline(*steps).fit(*_thinned(features, label))


def learn_time(features: np.ndarray, hours: np.ndarray) -> Any:
    """Fit a ridge regression on standardised principal components."""
    return make_pipeline(*reduced(features), Ridge(alpha=1.0)).fit(*_thinned(features, hours))


def columns_of(features: pd.DataFrame) -> list[str]:
    """Return the names of the features in a table keyed by ``stack_id frame``."""
    return [name for name in features.columns if name not in ("stack_id", "frame")]


def baselines(frames: pd.DataFrame, sources: Mapping[str, pd.DataFrame], *, level: float) -> pd.DataFrame:
    """Train on the run's training frames and test on its test frames, once per source of features.

    Columns: ``source auc_all auc low high auc_before mae n n_wells``. ``auc`` is among frames of the same
    hour, ``auc_all`` over all hours, ``auc_before`` before the onset; ``mae`` is the time error in hours on
    infected test frames. ``attrs["scores"]`` holds the test scores: ``stack_id frame`` and one column each.

    Args:
        frames: FRAMES.
        sources: name -> feature table; ``hours`` alone is always there.
        level: of the intervals.
    """
    every = {"hours alone": frames[["stack_id", "frame", "hours"]], **sources}
    found, scores = [], frames.loc[frames["split"].eq("test"), ["stack_id", "frame"]]
    for name, features in every.items():
        row, said = _baseline(frames, features, level)
        found.append({"source": name} | row)
        scores = scores.merge(said.rename(columns={"score": name}), on=["stack_id", "frame"], how="left")
    table = pd.DataFrame(found)
    table.attrs["scores"] = scores
    return table


def model_row(test: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the row of the model itself, in the columns of :func:`baselines`.

    Args:
        test: test rows of a PREDICTIONS table.
        level: of the interval.
    """
    score, label = test["p_infected"].to_numpy(float), labels_of(test)
    errors = (test["time_pred"] - test["time_target"]).abs()[label == 1]
    row = {"source": MODEL, **_aucs(test, score, label, level), "mae": float(errors.mean()),
           "n": int((label >= 0).sum()), "n_wells": len(np.unique(codes_of(test, "well")))}  # fmt: skip
    return pd.DataFrame([row])


def judge_more(test: pd.DataFrame, table: pd.DataFrame, *, source: str, level: float) -> Row:
    """Does the model rank frames of the same hour better than plain frame statistics do?

    Args:
        test: test rows of a PREDICTIONS table.
        table: of :func:`baselines`.
        source: the row of it that stands for plain statistics.
        level: of the interval.
    """
    scores = table.attrs["scores"]
    rows = test.merge(scores[["stack_id", "frame", source]], on=["stack_id", "frame"])
    model, plain = rows["p_infected"].to_numpy(float), rows[source].to_numpy(float)
    truth = labels_of(rows)
    gain = auc_gain(rows, model, plain, truth, level=level)
    aucs = [auc_of(rows, score, truth, level=level).value for score in (model, plain)]
    words = (
        f"AUC among frames of the same hour: model {aucs[0]:.2f}, {source} with a linear model "
        f"{aucs[1]:.2f}; gain {range_words(gain.value, gain.low, gain.high)}"
    )
    if np.isnan(gain.low):
        return Row(MORE, "not identifiable", f"{words}; {gain.note}", "more wells in the test", *gain[:3])
    if gain.low > 0:
        return Row(MORE, "supported", words, "", *gain[:3])
    if gain.high < 0:
        return Row(MORE, "contradicted", words, "use the simpler model, or train longer", *gain[:3])
    return Row(MORE, "not identifiable", words, "more wells in the test, or a harder question", *gain[:3])


def _baseline(
    frames: pd.DataFrame, features: pd.DataFrame, level: float
) -> tuple[dict[str, Any], pd.DataFrame]:
    names = columns_of(features)
    extra = [name for name in names if name not in frames.columns]
    rows = frames.merge(features[["stack_id", "frame", *extra]], on=["stack_id", "frame"])
    x, label = rows[names].to_numpy(float), labels_of(rows)
    train, test = rows["split"].eq("train").to_numpy() & (label >= 0), rows["split"].eq("test").to_numpy()
    tested = rows[test]
    score = learn_class(x[train], label[train]).decision_function(x[test])
    row = {
        **_aucs(tested, score, label[test], level), "mae": _time_error(rows, x, label),
        "n": int((label[test] >= 0).sum()), "n_wells": len(np.unique(codes_of(tested, "well"))),
    }  # fmt: skip
    return row, tested[["stack_id", "frame"]].assign(score=score)


def _aucs(rows: pd.DataFrame, score: np.ndarray, label: np.ndarray, level: float) -> dict[str, float]:
    same = auc_of(rows, score, label, level=level)
    early = before_onset(rows)
    return {
        "auc_all": auc_of(rows, score, label, level=level, metric="auc").value,
        "auc": same.value, "low": same.low, "high": same.high,
        "auc_before": auc_of(rows[early], score[early], class_of(rows)[early], level=level).value,
    }  # fmt: skip


def _time_error(rows: pd.DataFrame, x: np.ndarray, label: np.ndarray) -> float:
    target = rows["time_target"].to_numpy(float)
    known = (label == 1) & ~np.isnan(target)
    train, test = known & rows["split"].eq("train").to_numpy(), known & rows["split"].eq("test").to_numpy()
    if not (train.any() and test.any()):
        return float("nan")
    return float(np.abs(learn_time(x[train], target[train]).predict(x[test]) - target[test]).mean())


def reduced(features: np.ndarray) -> list[Any]:
    """Return the steps that standardise features and keep at most :data:`COMPONENTS` of them."""
    most = min(COMPONENTS, *features.shape)
    if features.shape[1] <= COMPONENTS:
        return [StandardScaler()]
    return [StandardScaler(), PCA(most, random_state=0)]


def _thinned(features: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = -(-len(target) // MOST_FRAMES)
    return features[::step], target[::step]
