"""The two clocks: what a frame's label and time target are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.config import TargetsConfig
from hpiclock.tables import hpi


def add_targets(frames: pd.DataFrame, targets: TargetsConfig) -> pd.DataFrame:
    """Return the frames with ``hpi``, ``label``, ``clock`` and ``time_target``.

    Infected frames run on the infection clock (``time_target = hours - onset_h``), mock frames on the
    experiment clock (``time_target = hours``). What frames of an infected well before its onset are is the
    choice ``targets.before_onset``: ``drop`` leaves label and target missing, ``uninfected`` calls them
    uninfected on the experiment clock, ``clip`` calls them infected at time 0, ``signed`` infected at a
    negative time. Targets are clamped to ``targets.range_h``.

    Args:
        frames: rows with ``condition``, ``hours`` and ``onset_h`` (hours after imaging start).
        targets: the choices.
    """
    infected = frames["condition"].eq("infected")
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
