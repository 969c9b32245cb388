"""The two clocks: how long a frame's well has been infected, and what a model should say of the frame.

``hpi = hours - onset_h`` (hours post infection). On the infection clock, that of infected frames, the time
target is ``hpi``; on the experiment clock, that of mock frames, it is ``hours`` since imaging began. Onsets
are subtracted in this file only.
"""

from typing import TypeVar

import numpy as np
import pandas as pd

from hpiclock.config.schema import TargetsConfig
from hpiclock.errors import InputError

Hours = TypeVar("Hours", pd.Series, np.ndarray)


def hpi(hours: Hours, onset_h: Hours | float) -> Hours:
    """Return hours post infection; missing where there is no onset (mock)."""
    return hours - onset_h


def add_targets(frames: pd.DataFrame, targets: TargetsConfig) -> pd.DataFrame:
    """Return the frames with ``hpi``, ``label`` (1 infected, 0 not), ``clock`` and ``time_target`` (hours).

    What frames of an infected well before its onset are is the choice ``targets.before_onset``:

    ==============  =========  ==========  =================================
    choice          label      clock       time target
    ==============  =========  ==========  =================================
    ``drop``        missing    infection   missing
    ``uninfected``  0          experiment  ``hours``
    ``clip``        1          infection   0
    ``signed``      1          infection   ``hpi``, which is below 0 there
    ==============  =========  ==========  =================================

    With ``targets.clock: experiment`` every frame is on the experiment clock, and the choice decides labels
    only. Time targets are clamped to ``targets.range_h``.

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
    before_onset = since_onset < 0
    label = infected & ~(before_onset & (targets.before_onset == "uninfected"))
    on_infection_clock = label & (targets.clock == "class")
    time_target = frames["hours"].mask(on_infection_clock, since_onset)
    if targets.before_onset == "clip":
        time_target = time_target.mask(on_infection_clock & before_onset, 0.0)
    dropped = before_onset & (targets.before_onset == "drop")
    return frames.assign(
        hpi=since_onset,
        label=label.astype("Int8").mask(dropped),
        clock=np.where(on_infection_clock, "infection", "experiment"),
        time_target=time_target.clip(*targets.range_h).mask(dropped),
    )
