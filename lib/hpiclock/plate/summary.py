"""What a plate holds, in a small table."""

from __future__ import annotations

import pandas as pd


def design_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return one row per plate, condition and MOI.

    Columns: ``plate condition moi wells stacks frames first_h last_h onset_h`` (onsets as a range).
    """
    last = manifest["start_h"] + (manifest["n_frames"] - 1) * manifest["interval_h"].fillna(0.0)
    rows = manifest.assign(last_h=last, well=manifest["well"].where(manifest["well"] != ""))
    table = rows.groupby(["plate", "condition", "moi"], dropna=False, as_index=False).agg(
        wells=("well", "nunique"),
        stacks=("stack_id", "nunique"),
        frames=("n_frames", "sum"),
        first_h=("start_h", "min"),
        last_h=("last_h", "max"),
        onset_low=("onset_h", "min"),
        onset_high=("onset_h", "max"),
    )
    onset = [
        "" if pd.isna(low) else f"{low:g}" if low == high else f"{low:g}–{high:g}"
        for low, high in zip(table.pop("onset_low"), table.pop("onset_high"), strict=True)
    ]
    return table.assign(onset_h=onset)
