"""The pipeline of this room: config -> manifest -> frames with targets and splits."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from hpiclock.config import Config
from hpiclock.errors import InputError
from hpiclock.plate.frames import expand, select
from hpiclock.plate.manifest import acquisition_times, load_manifest
from hpiclock.plate.splits import SplitPlan, assign
from hpiclock.plate.targets import add_targets
from hpiclock.tables import FRAMES, MANIFEST, check


class Dataset(NamedTuple):
    """A plate ready for training: MANIFEST, FRAMES, who stands where, and the notes of every step."""

    manifest: pd.DataFrame
    frames: pd.DataFrame
    split: SplitPlan
    notes: tuple[str, ...]


def prepare(cfg: Config) -> Dataset:
    """Find and check the stacks and say for every frame what it is, what its targets are and who uses it.

    Raises:
        InputError: anything wrong with the source, the split or the windows, in one line.
    """
    manifest, notes = load_manifest(cfg.data, onset_h=cfg.targets.onset_h, need_both=True)
    manifest = check(MANIFEST, manifest)
    plan = assign(manifest, cfg.split)
    frames = add_targets(expand(manifest, acquisition_times(manifest)), cfg.targets)
    _refuse_empty_windows(frames, cfg)
    stacks = plan.stacks.set_index("stack_id")
    frames = frames.assign(split=frames["stack_id"].map(stacks["split"]), fold=cfg.split.fold)
    frames = check(FRAMES, select(frames, cfg.frames))
    return Dataset(manifest, frames, plan, (*notes, *plan.notes, *_clamped(frames, cfg)))


def _refuse_empty_windows(frames: pd.DataFrame, cfg: Config) -> None:
    first, last = frames["hours"].min(), frames["hours"].max()
    if cfg.windows.start_h > last or cfg.window_end_h < first:
        raise InputError(
            f"windows: {cfg.windows.start_h:g}-{cfg.window_end_h:g} h lie outside the data, "
            f"which hold {first:g}-{last:g} h; set windows.start_h and windows.end_h"
        )


def _clamped(frames: pd.DataFrame, cfg: Config) -> tuple[str, ...]:
    low, high = cfg.targets.range_h
    infection = frames["clock"].eq("infection")
    hours = frames["hours"].where(~infection, frames["hpi"])
    # clip puts frames before the onset at 0 on purpose
    early = (hours < low) & ~(infection & (frames["hpi"] < 0) & (cfg.targets.before_onset == "clip"))
    n = int(((early | (hours > high)) & frames["time_target"].notna()).sum())
    if n == 0:
        return ()
    return (
        f"{n} of {len(frames)} frames lie outside targets.range_h ({low:g}-{high:g} h): their time target "
        "is its nearest end, so their time error says little.",
    )
