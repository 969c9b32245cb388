"""One thread, and frames whose pixels say which frame they are, for the tests of this room."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from hpiclock.plate.cache import FrameCache
from hpiclock.training.batches import Batches


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Plate(NamedTuple):
    """Frames and their pixels; :meth:`batches` deals them."""

    cache: FrameCache
    frames: pd.DataFrame

    def batches(self, batch_size: int = 4) -> Batches:
        return Batches(self.cache, self.frames, batch_size=batch_size, device=torch.device("cpu"))


@pytest.fixture
def make_plate() -> Callable[..., Plate]:
    """Make frames with these labels (None = missing) and time targets.

    Without ``images`` every pixel of frame i has the grey level i. The rows stand in the reverse order of
    the cache, so that a mix-up of the two shows.
    """

    def make(
        labels: Sequence[int | None],
        hours: Sequence[float] | None = None,
        *,
        size: int = 16,
        images: np.ndarray | None = None,
    ) -> Plate:
        n = len(labels)
        if images is None:
            images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, size, size)).copy()
        frames = pd.DataFrame(
            {
                "stack_id": "a",
                "frame": np.arange(n),
                "label": pd.array(labels, dtype="Int8"),
                "time_target": np.arange(n, dtype=float) if hours is None else np.asarray(hours, float),
            }
        )
        return Plate(FrameCache(images, {"a": 0}, "key"), frames.iloc[::-1].reset_index(drop=True))

    return make
