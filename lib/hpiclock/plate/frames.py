"""From stacks to frames: one row per frame, then windows, strides and matched controls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hpiclock.config import ClassWindow, FramesConfig, SplitFrames
from hpiclock.errors import InputError
from hpiclock.tables import IDENTITY, SPLITS

SAME_H = 1e-6  # hours; 3 * 0.1 h is 0.30000000000000004 h, and still inside a window that ends at 0.3 h
CLASS_OF = {"infected": "infected", "mock": "uninfected"}  # condition -> section of the config


def expand(manifest: pd.DataFrame, times_h: Mapping[str, np.ndarray] | None = None) -> pd.DataFrame:
    """Return one row per frame of every stack: identity, ``frame`` and ``hours``.

    Args:
        manifest: a MANIFEST table.
        times_h: true acquisition times per ``stack_id``, hours after frame 0, shape ``(n_frames,)``; a stack
            that is not in it runs at its ``interval_h``.

    Raises:
        InputError: acquisition times for another number of frames than the stack holds.
    """
    stacks = manifest.loc[manifest.index.repeat(manifest["n_frames"]), [*IDENTITY, "start_h", "interval_h"]]
    frame = stacks.groupby(level=0).cumcount().to_numpy()
    elapsed = frame * stacks["interval_h"].fillna(0.0).to_numpy()
    ends = manifest["n_frames"].cumsum().to_numpy()
    for stack_id, n, end in zip(manifest["stack_id"], manifest["n_frames"], ends, strict=True):
        times = (times_h or {}).get(stack_id)
        if times is None:
            continue
        if np.shape(times) != (n,):
            raise InputError(f"stack {stack_id}: {len(times)} acquisition times for {n} frames; correct them")
        elapsed[end - n : end] = times
    rows = stacks[IDENTITY].assign(frame=frame, hours=stacks["start_h"].to_numpy() + elapsed)
    return rows.reset_index(drop=True)


def select(frames: pd.DataFrame, config: FramesConfig) -> pd.DataFrame:
    """Keep the frames that each split uses: windows, strides, matched controls.

    Frames without a label (before the onset, dropped) leave train; in val and test they stay to be predicted.

    Raises:
        InputError: a window that leaves a class of a split without any frame.
    """
    kept = [_select_split(frames[frames["split"] == name], getattr(config, name), name) for name in SPLITS]
    return pd.concat(kept).sort_values(["stack_id", "frame"], kind="stable").reset_index(drop=True)


def _select_split(frames: pd.DataFrame, config: SplitFrames, split: str) -> pd.DataFrame:
    parts = []
    for condition, section in CLASS_OF.items():
        window: ClassWindow = getattr(config, section)
        rows = frames[frames["condition"] == condition]
        inside = rows[_within(rows, window)]
        if len(rows) and inside.empty:
            raise InputError(
                f"frames.{split}.{section}: no frame lies in {_range(window)}; the stacks hold "
                f"{rows['hours'].min():g}-{rows['hours'].max():g} h"
            )
        parts.append(inside)
    chosen = pd.concat(parts)
    if split == "train":
        chosen = chosen[chosen["label"].notna()]
    if config.match_controls:
        chosen = match_controls(chosen)
    return chosen


def match_controls(frames: pd.DataFrame) -> pd.DataFrame:
    """Keep a mock frame only where a frame labelled infected lies within half a frame step of its hour.

    The step is the median one of the frames given, strides included; stills, which have none, must share
    the hour.
    """
    mock = frames["condition"].eq("mock")
    reference = np.sort(frames.loc[frames["label"].eq(1).fillna(False), "hours"].to_numpy())
    if reference.size == 0:
        return frames[~mock]
    steps = frames.sort_values(["stack_id", "frame"]).groupby("stack_id")["hours"].diff()
    tolerance = float(steps.median()) / 2 if steps.notna().any() else 0.0
    hours = frames["hours"].to_numpy()
    after = np.searchsorted(reference, hours).clip(0, reference.size - 1)
    before = (after - 1).clip(0)
    distance = np.minimum(np.abs(reference[after] - hours), np.abs(reference[before] - hours))
    return frames[~mock | (distance <= tolerance + SAME_H)]


def _within(rows: pd.DataFrame, window: ClassWindow) -> pd.Series:
    inside = pd.Series(True, index=rows.index)
    if window.start_h is not None:
        inside &= rows["hours"] >= window.start_h - SAME_H
    if window.end_h is not None:
        inside &= rows["hours"] <= window.end_h + SAME_H
    first = rows.loc[inside].groupby("stack_id")["frame"].transform("min")
    inside &= (rows["frame"] - first.reindex(rows.index)) % window.stride == 0
    return inside


def _range(window: ClassWindow) -> str:
    start = "the beginning" if window.start_h is None else f"{window.start_h:g} h"
    end = "the end" if window.end_h is None else f"{window.end_h:g} h"
    return f"{start} to {end}"
