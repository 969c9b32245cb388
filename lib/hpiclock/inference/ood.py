"""How far frames lie from those a model was trained on, in the features of its backbone.

Features are described by probabilistic principal components (Tipping and Bishop 1999): the distance is
Mahalanobis' within the components, and what they leave over counts by its own variance. Distances are given
in units of the farthest held-out stack of the training plate: wells that the model was never trained on,
under the same microscope.
"""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from hpiclock.errors import InputError
from hpiclock.files import NPZ_FAULTS, atomic
from hpiclock.plate.cache import FrameCache
from hpiclock.tables import n_wells
from hpiclock.training.batches import plain_images
from hpiclock.training.evaluate import forward_batches
from hpiclock.training.model import TwoHeads

EXPLAINED = 0.95  # share of the variance that the components hold
MOST_COMPONENTS = 32
MOST_FRAMES = 2000  # of training, and of held-out wells; every n-th of more


class TrainingReference(NamedTuple):
    """The distribution of the training frames in the features of a backbone.

    ``mean`` (features,), ``axes`` (components, features) of length 1, ``variance`` (components,), ``rest``
    the mean variance of a feature outside them, ``held_out`` (stacks,) the ascending median distances of
    held-out stacks, ``n_wells`` the wells these come from.
    """

    mean: np.ndarray
    axes: np.ndarray
    variance: np.ndarray
    rest: float
    held_out: np.ndarray
    n_wells: int

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return the distance of each row, (rows, features) -> (rows,); 1 = as far as an average frame."""
        away = features.astype(np.float64) - self.mean
        along = away @ self.axes.T
        outside = np.maximum((away**2).sum(1) - (along**2).sum(1), 0.0)
        squared = (along**2 / self.variance).sum(1) + outside / self.rest
        return np.sqrt(squared / len(self.mean))

    def relative_distance(self, features: np.ndarray) -> np.ndarray:
        """Return the distance of each row in units of that of the farthest held-out stack.

        NaN where that is 0: features that do not vary tell nothing.
        """
        farthest = float(self.held_out[-1])
        return self.distance(features) / (farthest if farthest > 0 else np.nan)

    def save(self, path: Path) -> None:
        """Write it as NPZ."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial, open(partial, "wb") as stream:
            np.savez(stream, allow_pickle=False, **self._asdict())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: not such a file.
        """
        try:
            with path.open("rb") as stream, np.load(stream) as stored:
                values = {name: stored[name] for name in cls._fields}
        except NPZ_FAULTS as error:
            raise InputError(
                f"{path}: cannot be read ({type(error).__name__}); remove it, it is made anew"
            ) from None
        return cls(**values | {"rest": float(values["rest"]), "n_wells": int(values["n_wells"])})


def fit_feature_distribution(features: np.ndarray) -> TrainingReference:
    """Fit the components to features of training frames, (frames, features); nothing is held out yet."""
    mean = features.mean(0, dtype=np.float64)
    _, singular, axes = np.linalg.svd(features.astype(np.float64) - mean, full_matrices=False)
    variance = singular**2 / max(len(features) - 1, 1)
    total = variance.sum() or 1.0  # a backbone whose features do not vary
    k = int(np.searchsorted(np.cumsum(variance) / total, EXPLAINED)) + 1
    # a component needs several frames each to have a variance
    k = max(1, min(k, MOST_COMPONENTS, len(features) // 10, len(mean) - 1))
    rest = max(variance[k:].sum() / (len(mean) - k), 1e-9 * total)
    variance = np.maximum(variance[:k], 1e-12 * total)
    return TrainingReference(mean, axes[:k], variance, float(rest), np.empty(0), 0)


def fit_reference(model: TwoHeads, cache: FrameCache, frames: pd.DataFrame) -> TrainingReference | None:
    """Return the distribution of a model's training frames, and how far its held-out stacks lie from it.

    Args:
        model: the trained model.
        cache: the pixels of the training plate.
        frames: its FRAMES table; rows of validation and test are held out. None if there are none.
    """

    def features(rows: pd.DataFrame) -> np.ndarray:
        images = plain_images(cache, rows, model.device, "features of training frames")
        return np.concatenate([seen.cpu().numpy() for seen, _ in forward_batches(model, images)])

    train, held_out = (_thinned(frames[frames["split"].eq("train").eq(side)]) for side in (True, False))
    if len(train) < 2 or held_out.empty:
        return None
    fitted = fit_feature_distribution(features(train))
    distance = pd.Series(fitted.distance(features(held_out)))
    per_stack = distance.groupby(held_out["stack_id"].to_numpy()).median().sort_values()
    return fitted._replace(held_out=per_stack.to_numpy(), n_wells=n_wells(held_out))


def _thinned(frames: pd.DataFrame) -> pd.DataFrame:
    step = max(-(-len(frames) // MOST_FRAMES), 1)
    return frames[frames.groupby("stack_id").cumcount() % step == 0].reset_index(drop=True)
