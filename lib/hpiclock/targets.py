"""The two clocks: what a frame's label and time target are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.config.schema import TargetsConfig
from hpiclock.errors import InputError
from hpiclock.tables import hpi


def add_targets(frames: pd.DataFrame, targets: TargetsConfig) -> pd.DataFrame:
    """Return the frames with ``hpi``, ``label``, ``clock`` and ``time_target``.

    Infected frames run on the infection clock (``time_target = hours - onset_h``), mock frames on the
    experiment clock (``time_target = hours``). What frames of an infected well before its onset are is the
    choice ``targets.before_onset``: ``drop`` leaves label and target missing, ``uninfected`` calls them
    uninfected on the experiment clock, ``clip`` calls them infected at time 0, ``signed`` infected at a
    negative time. With ``targets.clock: experiment`` every target is on the experiment clock and
    ``before_onset`` decides labels only. Targets are clamped to ``targets.range_h``.

    Args:
        frames: rows with ``stack_id``, ``condition``, ``hours`` and ``onset_h`` (hours after imaging start).
        targets: the choices.

    Raises:
        InputError: an infected stack without an onset.
    """
    infected = frames["condition"].eq("infected")
    without = infected & frames["onset_h"].isna()
    if without.any():
        raise InputError(
            f"stack {frames.loc[without, 'stack_id'].iloc[0]}: infected and without an onset; "
            "give its onset_h in the plate map or targets.onset_h"
        )
    since_onset = hpi(frames["hours"], frames["onset_h"]).where(infected)
    before = since_onset < 0
    dropped = before & (targets.before_onset == "drop")
    labelled = infected & ~(before & (targets.before_onset == "uninfected"))
    on_infection_clock = labelled & (targets.clock == "class")
    target = frames["hours"].where(~on_infection_clock, since_onset)
    if targets.before_onset == "clip":
        target = target.where(~(before & on_infection_clock), 0.0)
    return frames.assign(
        hpi=since_onset,
        label=labelled.astype("Int8").mask(dropped),
        clock=np.where(on_infection_clock, "infection", "experiment"),
        time_target=target.clip(*targets.range_h).mask(dropped),
    )
