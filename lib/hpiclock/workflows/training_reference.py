"""What a run keeps of its training frames, so that new plates can be compared with them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pandas as pd

from hpiclock.errors import InputError
from hpiclock.files import atomic
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.plate.quality import stack_statistics
from hpiclock.runs.run import Run
from hpiclock.tables import FRAMES, MANIFEST, read_any

if TYPE_CHECKING:
    from hpiclock.inference.ood import TrainingReference
    from hpiclock.training.model import TwoHeads

BEST = ("checkpoints", "best.pt")
REFERENCE = ("checkpoints", "likeness.npz")
STACK_STATISTICS = ("checkpoints", "looks.csv")


def trained_model(run: Run) -> TwoHeads:
    """Return the model of a run with the weights that were tested.

    Raises:
        InputError: no checkpoint, a device that is not to be had, or a network that was made by hand.
    """
    from hpiclock.inference.predict import load_model

    if "the model" in run.by_hand:
        raise InputError(
            f"{run.folder}: its network was changed by hand, and its config does not make it; "
            "predict with it in the notebook that made it"
        )
    return load_model(run.cfg, run.path(*BEST))


def keep_reference(
    run: Run, model: TwoHeads, cache: FrameCache, frames: pd.DataFrame
) -> TrainingReference | None:
    """Keep beside a run's checkpoint the distribution of its training frames' features and their statistics.

    Returns the distribution of the features; None where no frame is held out.
    """
    from hpiclock.inference.ood import fit_reference

    _keep_statistics(run, cache, frames)
    reference = fit_reference(model, cache, frames)
    if reference is not None:
        reference.save(run.path(*REFERENCE))
    return reference


def reference_of(run: Run, model: TwoHeads) -> TrainingReference | None:
    """Return the distribution of a run's training frames in its model's features, kept in the run's folder.

    None where it was never made and the training plate is not at hand.

    Raises:
        InputError: the kept file is damaged.
    """
    from hpiclock.inference.ood import TrainingReference

    path = run.path(*REFERENCE)
    if path.is_file() and path.stat().st_mtime >= run.path(*BEST).stat().st_mtime:
        return TrainingReference.load(path)
    plate = _plate(run)
    return None if plate is None else keep_reference(run, model, *plate)


def kept_statistics(run: Run) -> pd.DataFrame | None:
    """Return the statistics of each stack of a run's plate (:func:`stack_statistics`); kept likewise.

    None where they were never measured and the training plate is not at hand.
    """
    if run.path(*STACK_STATISTICS).is_file():
        return read_any(run.path(*STACK_STATISTICS))
    plate = _plate(run)
    return None if plate is None else _keep_statistics(run, *plate)


def _keep_statistics(run: Run, cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
    statistics = stack_statistics(cache, frames)
    # a run of somebody else can be used where its folder cannot be written
    with suppress(InputError), atomic(run.path(*STACK_STATISTICS)) as partial:
        statistics.to_csv(partial, index=False)
    return statistics


def _plate(run: Run) -> tuple[FrameCache, pd.DataFrame] | None:
    """The training frames and their pixels; None where the run was moved without its plate."""
    try:
        manifest, frames = run.read_table("manifest.csv", MANIFEST), run.read_table("frames.parquet", FRAMES)
        return open_cache(manifest, run.cfg.data, run.cfg.image), frames
    except InputError:
        return None
