"""The line through predicted against true time: how far predictions are stretched, squeezed or moved."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.study.groups import codes_of, ordered_splits
from hpiclock.tables import CLOCKS


def regression(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the least-squares line ``time_pred = intercept + slope * time_target`` per split and clock.

    Columns: ``split clock slope intercept correlation n n_stacks n_wells``, intercept in hours. Frames
    without a label, a true or a predicted time are left out; slope, intercept and correlation are missing
    where the true times do not vary, the correlation also where the predicted times do not.
    """
    known = predictions[["label", "time_target", "time_pred"]].notna().all(axis=1)
    rows = predictions[known].assign(well=codes_of(predictions, "well")[known.to_numpy()])
    parts = []
    for split in ordered_splits(rows):
        for clock in CLOCKS:
            part = rows[rows["split"].eq(split) & rows["clock"].eq(clock)]
            if len(part):
                n = {
                    "n": len(part),
                    "n_stacks": part["stack_id"].nunique(),
                    "n_wells": part["well"].nunique(),
                }
                parts.append({"split": split, "clock": clock} | _line(part) | n)
    columns = ["split", "clock", "slope", "intercept", "correlation", "n", "n_stacks", "n_wells"]
    return pd.DataFrame(parts, columns=columns)


def _line(rows: pd.DataFrame) -> dict[str, float]:
    true, said = rows["time_target"].to_numpy(float), rows["time_pred"].to_numpy(float)
    x, y = true - true.mean(), said - said.mean()
    if np.ptp(true) == 0:
        return {"slope": float("nan"), "intercept": float("nan"), "correlation": float("nan")}
    slope = float(x @ y / (x @ x))
    correlation = float(x @ y / np.sqrt((x @ x) * (y @ y))) if np.ptp(said) > 0 else float("nan")
    return {"slope": slope, "intercept": float(said.mean() - slope * true.mean()), "correlation": correlation}
