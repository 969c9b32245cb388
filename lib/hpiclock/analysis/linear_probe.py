"""Linear models on features that do not change: probes of a choice of frames, of the audit, a map on a plane.

A probe is no training: the features stay what they are. It tells which hours and controls carry the answer,
not how good a trained model would be.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hpiclock.analysis.units import label_codes
from hpiclock.errors import InputError
from hpiclock.tables import PREDICTIONS, check

COMPONENTS = 32  # of the features, by principal components of the training frames
MOST_FRAMES = 4000  # for training: more change nothing but the time
Fit = Callable[[np.ndarray, np.ndarray], Any]


def fit_class_probe(features: np.ndarray, label: np.ndarray) -> Any:
    """Fit a logistic regression on standardised principal components; classes weigh the same."""
    return make_pipeline(*reduction_steps(features), _class_head()).fit(*_thinned(features, label))


def _class_head() -> LogisticRegression:
    # few columns: Newton's method takes a few steps where the default takes hundreds
    return LogisticRegression(max_iter=300, class_weight="balanced", solver="newton-cholesky")


def fit_time_probe(features: np.ndarray, hours: np.ndarray) -> Any:
    """Fit a ridge regression on standardised principal components."""
    return make_pipeline(*reduction_steps(features), Ridge(alpha=1.0)).fit(*_thinned(features, hours))


def feature_columns(features: pd.DataFrame) -> list[str]:
    """Return the names of the features in a table keyed by ``stack_id frame``."""
    return [name for name in features.columns if name not in ("stack_id", "frame")]


def reduction_steps(features: np.ndarray) -> list[Any]:
    """Return the steps that standardise features and keep at most :data:`COMPONENTS` of them."""
    most = min(COMPONENTS, *features.shape)
    if features.shape[1] <= COMPONENTS or not np.ptp(features, axis=0).any():  # nothing varies: no components
        return [StandardScaler()]
    return [StandardScaler(), PCA(most, random_state=0)]


def _thinned(features: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = -(-len(target) // MOST_FRAMES)
    return features[::step], target[::step]


def feature_values(frames: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
    """Return the features of these frames: (rows, columns); NaN where a frame has none."""
    joined = frames[["stack_id", "frame"]].merge(features, on=["stack_id", "frame"], how="left")
    return joined[feature_columns(features)].to_numpy(float)


def principal_components(frames: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
    """Return standardised principal components of the features, found on training frames: (rows, few).

    Args:
        frames: FRAMES.
        features: ``stack_id frame f0 f1 ...``, at least these frames.
    """
    x = feature_values(frames, features)
    train = frames["split"].eq("train").to_numpy()
    return make_pipeline(*reduction_steps(x[train])).fit(x[train]).transform(x)


def linear_probe(frames: pd.DataFrame, z: np.ndarray, *, run: str, seed: int) -> pd.DataFrame:
    """Fit logistic and ridge regressions on the training frames; return PREDICTIONS of the rest.

    Times are those of :func:`probe`.

    Args:
        frames: FRAMES that a run would use.
        z: (rows, few) their components.
        run: its name.
        seed: of the run.

    Raises:
        InputError: training frames of one class only.
    """
    return probe(frames, z, _class_head().fit, Ridge(alpha=1.0).fit, run=run, seed=seed)


def boosted_probe(frames: pd.DataFrame, x: np.ndarray, *, run: str, seed: int) -> pd.DataFrame:
    """Do as :func:`linear_probe` by gradient boosting, of the absolute error for time; NaN is a value."""
    times = HistGradientBoostingRegressor(loss="absolute_error", random_state=seed)
    classes = HistGradientBoostingClassifier(random_state=seed)
    return probe(frames, x, classes.fit, times.fit, run=run, seed=seed)


def probe(
    frames: pd.DataFrame, x: np.ndarray, fit_class: Fit, fit_time: Fit, *, run: str, seed: int
) -> pd.DataFrame:
    """Fit a class head, and a time head per class, on the training frames; return PREDICTIONS of the rest.

    As of a model with ``time_heads: per_clock``, ``time_mock`` and ``time_infected`` are what each time head
    says of a frame, and ``time_pred`` is that of the class with P of a half and more.

    Args:
        frames: FRAMES that a run would use.
        x: (rows, columns) what is read.
        fit_class: takes values and labels, returns a classifier of scikit-learn.
        fit_time: takes values and hours of one class, returns a regressor, which is used at once.
        run: its name.
        seed: of the run.

    Raises:
        InputError: training frames of one class only.
    """
    label = label_codes(frames)
    train = frames["split"].eq("train").to_numpy()
    known = train & (label >= 0)
    if len(np.unique(label[known])) < 2:
        raise InputError(f"{run}: its training frames hold one class only; widen its hours")
    target = frames["time_target"].to_numpy(float)
    predictions, x_rest = frames[~train].assign(run=run, seed=seed), x[~train]
    if len(predictions):
        predictions["p_infected"] = fit_class(x[known], label[known]).predict_proba(x_rest)[:, 1]
        for kind, column in enumerate(("time_mock", "time_infected")):
            timed = known & (label == kind) & ~np.isnan(target)
            fitted = fit_time(x[timed], target[timed]) if timed.any() else None
            predictions[column] = np.nan if fitted is None else fitted.predict(x_rest)
        called = predictions["p_infected"] >= 0.5
        predictions["time_pred"] = predictions["time_infected"].where(called, predictions["time_mock"])
    return check(PREDICTIONS, predictions)


METHODS = ("PCA", "UMAP")


def project_features(features: pd.DataFrame, *, method: str, seed: int) -> pd.DataFrame:
    """Return where each frame lies: ``stack_id frame x y x_share y_share``, in the order of ``features``.

    PCA (scikit-learn) is a straight projection: distances mean something, and the shares say how much of the
    variance of the features each axis holds. UMAP (McInnes et al. 2018) keeps neighbours together, its axes
    and the distances between clusters mean nothing, and its shares are missing.

    Args:
        features: ``stack_id frame f0 f1 ...``.
        method: one of :data:`METHODS`.
        seed: of UMAP; PCA draws nothing.

    Raises:
        InputError: fewer than three frames or two features, no such method, or UMAP is not installed.
    """
    if method not in METHODS:
        raise InputError(f"feature map: no method {method}; take {' or '.join(METHODS)}")
    values = features[feature_columns(features)].to_numpy(float)
    if min(len(values) - 1, values.shape[1]) < 2:
        raise InputError(
            f"feature map: {len(values)} frames with {values.shape[1]} features make no plane; it takes at "
            "least 3 frames and 2 features"
        )
    plane, shares = _pca(values) if method == "PCA" else _umap(values, seed)
    keys = features[["stack_id", "frame"]].reset_index(drop=True)
    return keys.assign(x=plane[:, 0], y=plane[:, 1], x_share=shares[0], y_share=shares[1])


def _pca(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):  # features that do not vary have no shares
        fitted = PCA(n_components=2, svd_solver="full").fit(values)
    return fitted.transform(values), fitted.explained_variance_ratio_


def _umap(values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        from umap import UMAP
    except ImportError:
        raise InputError("feature map: UMAP is not installed; pip install umap-learn, or take PCA") from None
    plane = UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(values)
    return plane, np.full(2, np.nan)
