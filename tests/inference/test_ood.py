"""The distance to training frames: by hand, against SciPy, and in words."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from hpiclock.analysis.acquisition_shift import ood_summary, stack_distances
from hpiclock.errors import InputError
from hpiclock.inference.ood import TrainingReference, fit_feature_distribution


def test_distance_is_mahalanobis_within_and_beside_the_components() -> None:
    axes = np.array([[1.0, 0.0, 0.0]])
    reference = TrainingReference(np.zeros(3), axes, np.array([4.0]), 0.25, np.array([1.0]), 1)
    rows = np.array([[2.0, 0.0, 0.0], [0.0, 0.5, 0.0], [4.0, 0.0, 1.0]])
    # squares: 4/4, 0.25/0.25, 16/4 + 1/0.25; over three features
    np.testing.assert_allclose(reference.distance(rows), np.sqrt(np.array([1.0, 1.0, 8.0]) / 3))


def test_it_is_the_density_of_probabilistic_components() -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(400, 6)) * np.array([5.0, 3.0, 0.1, 0.1, 0.1, 0.1]) + 7
    fitted = fit_feature_distribution(frames)
    k = len(fitted.axes)
    assert k == 2
    covariance = fitted.axes.T @ np.diag(fitted.variance - fitted.rest) @ fitted.axes + fitted.rest * np.eye(
        6
    )
    normal = multivariate_normal(fitted.mean, covariance)
    squares = 2 * (normal.logpdf(fitted.mean) - normal.logpdf(frames))
    np.testing.assert_allclose(fitted.distance(frames) ** 2 * 6, squares, rtol=1e-6)
    # training frames lie one unit away on average
    assert np.mean(fitted.distance(frames) ** 2) == pytest.approx(1, abs=0.01)


def test_frames_off_the_plane_of_training_are_far_away() -> None:
    rng = np.random.default_rng(1)
    frames = rng.normal(size=(200, 20)) @ np.diag([4.0] * 3 + [0.05] * 17)
    fitted = fit_feature_distribution(frames)
    odd = np.zeros((1, 20))
    odd[0, 19] = 3.0  # small beside the first components, impossible along the last
    assert fitted.distance(odd)[0] > 5 * fitted.distance(frames).max()


def test_kept_and_read_again(tmp_path) -> None:
    fitted = fit_feature_distribution(np.random.default_rng(2).normal(size=(50, 4)))._replace(
        held_out=np.array([0.9, 1.3]), n_wells=2
    )
    fitted.save(tmp_path / "a.npz")
    again = TrainingReference.load(tmp_path / "a.npz")
    assert (again.n_wells, again.rest) == (2, fitted.rest)
    rows = np.eye(4)
    np.testing.assert_allclose(again.relative_distance(rows), fitted.distance(rows) / 1.3)
    np.testing.assert_array_equal(again.axes, fitted.axes)
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"a\.npz: cannot be read"):
        TrainingReference.load(tmp_path / "a.npz")


def stacks(distances: list[float]) -> pd.DataFrame:
    """Three frames a stack, the median one at the distance given."""
    rows = [
        {"stack_id": f"s{i}", "plate": "p", "well": f"A{i:02d}", "distance": value + step}
        for i, value in enumerate(distances)
        for step in (-0.1, 0.0, 5.0)
    ]
    return pd.DataFrame(rows)


def test_a_plate_of_the_same_kind_is_alike() -> None:
    said = ood_summary(stacks([0.5] * 19 + [1.2]), n_held_out=20, n_wells=10, shift=None)
    assert (said.verdict, said.distance) == ("alike", 0.5)
    assert "1 of 20 stacks lie farther" in said.sentence


def test_a_plate_with_some_odd_stacks_names_them() -> None:
    said = ood_summary(
        stacks([0.5] * 14 + [2.0, 3.0, 4.0, 1.5, 1.6, 1.7]), n_held_out=20, n_wells=10, shift=None
    )
    assert said.verdict == "partly unlike"
    assert said.sentence.endswith("some 1 would be by chance. The farthest: s16, s15, s14.")
    assert stack_distances(stacks([0.5, 2.0]))["unlike"].tolist() == [True, False]


def test_a_plate_beyond_every_held_out_stack_is_unlike() -> None:
    said = ood_summary(stacks([1.5] * 8 + [0.5] * 2), n_held_out=20, n_wells=10, shift=None)
    assert said.verdict == "unlike"
    assert said.sentence.startswith("THIS PLATE LOOKS UNLIKE THE TRAINING PLATE: 8 of 10 stacks")


def test_without_training_frames_nothing_is_claimed() -> None:
    said = ood_summary(stacks([np.nan]), n_held_out=0, n_wells=0, shift=None)
    assert said.verdict == "not known"
