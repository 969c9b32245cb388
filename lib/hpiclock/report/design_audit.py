"""The design of a plate, audited before any training: from its manifest alone, no image is read."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from hpiclock.plate.frames import expand
from hpiclock.plate.manifest import acquisition_times
from hpiclock.study.audit_design import design_table, judge_design
from hpiclock.study.audit_rows import table_of
from hpiclock.tables import hpi


class DesignAudit(NamedTuple):
    """The rows of the verdict that the design decides, and the table ``aspect value detail`` behind them."""

    verdict: pd.DataFrame
    table: pd.DataFrame


def design_audit(manifest: pd.DataFrame) -> DesignAudit:
    """Say what a plate can and cannot show, whatever model is trained on it.

    Args:
        manifest: a MANIFEST table.
    """
    frames = all_frames(manifest)
    rows = judge_design(frames)
    every = table_of(rows)
    decided = every["question"].isin([row.question for row in rows])
    return DesignAudit(every[decided].reset_index(drop=True), design_table(frames))


def all_frames(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return every frame of a manifest with identity, ``frame hours hpi``; nothing is dropped."""
    frames = expand(manifest, acquisition_times(manifest))
    since = hpi(frames["hours"], frames["onset_h"])
    return frames.assign(hpi=since.where(frames["condition"].eq("infected")))
