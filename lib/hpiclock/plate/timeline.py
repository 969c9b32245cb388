"""Every frame of a plate with its hour, and the earlier frames of its field that are read with it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.acquisition import empty_frames
from hpiclock.allocation import COLUMNS as ALLOCATION
from hpiclock.errors import InputError
from hpiclock.plate.manifest.survey import acquisition_times
from hpiclock.tables import IDENTITY

Offset = float | Literal["start"]  # hours from the frame, or the first frame of its stack


def expand_frames(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return one row per frame of every stack: identity (and ``allocation block``), ``frame``, ``hours``.

    Frames that were found to hold no picture (``empty_frames``) are left out.

    Args:
        manifest: a MANIFEST table; a stack without true acquisition times runs at its ``interval_h``.

    Raises:
        InputError: acquisition times for another number of frames than the stack holds.
    """
    named = [*IDENTITY, *(name for name in ALLOCATION if name in manifest.columns)]
    stacks = manifest.loc[manifest.index.repeat(manifest["n_frames"]), [*named, "start_h", "interval_h"]]
    frame = stacks.groupby(level=0).cumcount().to_numpy()
    elapsed = frame * stacks["interval_h"].fillna(0.0).to_numpy()
    ends = manifest["n_frames"].cumsum().to_numpy()
    times_h = acquisition_times(manifest)
    for stack_id, n, end in zip(manifest["stack_id"], manifest["n_frames"], ends, strict=True):
        times = times_h.get(stack_id, elapsed[end - n : end])
        if np.shape(times) != (n,):
            raise InputError(f"stack {stack_id}: {len(times)} acquisition times for {n} frames; correct them")
        elapsed[end - n : end] = times
    rows = stacks[named].assign(frame=frame, hours=stacks["start_h"].to_numpy() + elapsed)
    return rows[~is_empty(rows, manifest)].reset_index(drop=True)


def is_empty(frames: pd.DataFrame, manifest: pd.DataFrame) -> np.ndarray:
    """Return which frames were found to hold no picture (``empty_frames`` of the manifest): (rows,) bool."""
    gone = {(stack, at) for stack, numbers in empty_frames(manifest).items() for at in numbers}
    pairs = zip(frames["stack_id"], frames["frame"], strict=True)
    return np.fromiter((pair in gone for pair in pairs), bool, len(frames))


class Context(NamedTuple):
    """Which frames are read with each frame.

    rows: (n, k) indices of frames, the frame itself first. stands_in: (n, k) bool, where the plate has no
    frame within half an interval of the hour asked for, and the nearest one that is not later stands in.
    """

    rows: np.ndarray
    stands_in: np.ndarray


def context_of(frames: pd.DataFrame, context_h: Sequence[Offset]) -> Context:
    """Find the frames that ``image.context_h`` asks for, at true times.

    Args:
        frames: every frame of a plate (:func:`expand_frames`): ``stack_id hours``,
            the frames of a stack in order.
        context_h: hours from the frame, 0 first, then below 0, or ``start``.
    """
    rows = np.empty((len(frames), len(context_h)), np.int64)
    stands_in = np.zeros(rows.shape, bool)
    for mine in frames.groupby("stack_id", sort=False).indices.values():
        hours = frames["hours"].to_numpy(float)[mine]
        half = 0.5 * float(np.median(np.diff(hours))) if len(hours) > 1 else 0.0
        for column, offset in enumerate(context_h):
            target_h = np.full(len(mine), hours[0]) if offset == "start" else hours + offset
            nearest = np.abs(hours - target_h[:, None]).argmin(axis=1)  # (frames, frames of the stack)
            rows[mine, column] = mine[nearest]
            stands_in[mine, column] = np.abs(hours[nearest] - target_h) > half + 1e-9
    return Context(rows, stands_in)


def context_note(frames: pd.DataFrame, context_h: Sequence[Offset]) -> tuple[str, ...]:
    """Return a note on frames whose earlier frames are not there; none where all are.

    Args:
        frames: every frame of a plate, as for :func:`context_of`.
        context_h: as there.
    """
    n = int(context_of(frames, context_h).stands_in.any(axis=1).sum())
    context = " and ".join(
        "the first one" if h == "start" else f"that {-h:g} h before" for h in context_h[1:]
    )
    if n == 0:
        return ()
    return (
        f"Each frame is read together with earlier ones of its field: {context}. Of {len(frames):,} frames "
        f"{n:,} have none at one of these hours (first hours, or a gap) and get the nearest one instead.",
    )
