"""The map of features: scikit-learn's PCA, which keeps distances on a plane and does not see the order."""

import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist

from hpiclock.analysis.linear_probe import project_features
from hpiclock.errors import InputError


def features(values: np.ndarray) -> pd.DataFrame:
    keys = pd.DataFrame({"stack_id": [f"s{i}" for i in range(len(values))], "frame": range(len(values))})
    return keys.join(pd.DataFrame(values, columns=[f"f{i}" for i in range(values.shape[1])]))


@pytest.fixture
def flat():
    """Twenty frames on a plane in twelve dimensions."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(12, 2)))[0]
    return features(rng.normal(size=(20, 2)) * (5.0, 1.0) @ axes.T + 3.0)


def test_frames_on_a_plane_keep_their_distances_and_all_variance(flat):
    found = project_features(flat, method="PCA", seed=0)
    values = flat.filter(like="f").drop(columns="frame").to_numpy()
    np.testing.assert_allclose(pdist(found[["x", "y"]]), pdist(values))
    assert found["x_share"].iloc[0] + found["y_share"].iloc[0] == pytest.approx(1)
    assert found["x"].var() > found["y"].var()
    assert found[["stack_id", "frame"]].equals(flat[["stack_id", "frame"]])


def test_the_order_of_frames_does_not_matter(flat):
    found = project_features(flat, method="PCA", seed=0).set_index("stack_id")
    other = project_features(flat.iloc[::-1], method="PCA", seed=1).set_index("stack_id").loc[found.index]
    np.testing.assert_allclose(other[["x", "y"]], found[["x", "y"]], atol=1e-9)


def test_too_few_frames_and_unknown_methods_are_refused(flat):
    with pytest.raises(InputError, match="2 frames with 12 features make no plane"):
        project_features(flat.head(2), method="PCA", seed=0)
    with pytest.raises(InputError, match="no method tSNE; take PCA or UMAP"):
        project_features(flat, method="tSNE", seed=0)


def test_without_umap_the_line_says_what_to_install(flat, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match="pip install umap-learn, or take PCA"):
        project_features(flat, method="UMAP", seed=0)


def test_umap_is_asked_with_the_seed_and_claims_no_share(flat, monkeypatch):
    """The real one compiles for most of a minute: here its place is taken by one that notes its arguments."""
    asked = {}

    class Noted:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, values):
            return values[:, :2]

    module = ModuleType("umap")
    module.UMAP = Noted
    monkeypatch.setitem(sys.modules, "umap", module)
    found = project_features(flat, method="UMAP", seed=7)
    assert asked["random_state"] == 7
    np.testing.assert_array_equal(found["y"], flat["f1"])
    assert found[["x_share", "y_share"]].isna().all(axis=None)
