"""The features of frames on a plane: frames that the model sees as alike lie near each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from hpiclock.errors import InputError
from hpiclock.study.audit_learn import columns_of

METHODS = ("PCA", "UMAP")


def flat_map(features: pd.DataFrame, *, method: str, seed: int) -> pd.DataFrame:
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
    values = features[columns_of(features)].to_numpy(float)
    if min(len(values) - 1, values.shape[1]) < 2:
        raise InputError(
            f"feature map: {len(values)} frames with {values.shape[1]} features make no plane; it takes at "
            "least 3 frames and 2 features"
        )
    plane, shares = _pca(values) if method == "PCA" else _umap(values, seed)
    keys = features[["stack_id", "frame"]].reset_index(drop=True)
    return keys.assign(x=plane[:, 0], y=plane[:, 1], x_share=shares[0], y_share=shares[1])


def _pca(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fitted = PCA(n_components=2, svd_solver="full").fit(values)
    return fitted.transform(values), fitted.explained_variance_ratio_


def _umap(values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        from umap import UMAP
    except ImportError:
        raise InputError("feature map: UMAP is not installed; pip install umap-learn, or take PCA") from None
    plane = UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(values)
    return plane, np.full(2, np.nan)
