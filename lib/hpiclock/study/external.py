"""The external validation of a run: metrics on the labelled wells of a plate that it never saw."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.config import StudyConfig, WindowsConfig
from hpiclock.study.metrics import by_split
from hpiclock.study.windows import by_window
from hpiclock.tables import CONDITIONS, METRICS, PREDICTIONS, check


def external_validation(
    rows: pd.DataFrame,
    *,
    threshold: float,
    windows: WindowsConfig,
    end_h: float,
    study: StudyConfig,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, list[str]]:
    """Return METRICS rows over all hours and per window of hours, and what cannot be said.

    Without labels the table is empty and the note says that no claim is made. Baselines that need training
    frames are missing: they are of another plate.

    Args:
        rows: predictions of the new plate.
        threshold: of the run, chosen on its own validation wells.
        windows: width, stride and start of the windows.
        end_h: where the last window may end.
        study: how predictions are judged.
        rng: of the resampling.
    """
    empty = pd.DataFrame(columns=list(METRICS.columns))
    known = rows[rows["condition"].isin(CONDITIONS)]
    labelled = known[known["label"].notna()]
    if labelled.empty:
        return empty, ["No well of this plate has a known condition: no claim of accuracy is made."]
    notes = []
    if len(known) < len(rows):
        wells = rows.loc[~rows.index.isin(known.index), ["plate", "well"]].drop_duplicates()
        notes.append(f"{len(wells)} wells of unknown condition are not scored.")
    if labelled["label"].nunique() < 2:
        notes.append("All labelled frames are of one class: telling the classes apart is not tested.")
    known = check(PREDICTIONS, known)
    end_h = min(end_h, float(known["hours"].max()))
    whole = by_split(known, threshold=threshold, study=study)
    if windows.start_h + windows.width_h > end_h:
        return whole, [*notes, "The plate is shorter than one window of windows.width_h."]
    per_window = by_window(
        known, windows=windows, end_h=end_h, axis="hours", threshold=threshold, study=study, rng=rng
    )
    return pd.concat([whole, per_window], ignore_index=True), notes
