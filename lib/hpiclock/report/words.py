"""Short plain texts: what a scan found, what a run gave."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd


def survey_lines(manifest: pd.DataFrame, problems: pd.DataFrame) -> Iterator[str]:
    """Yield a summary of the stacks that were found, then every error and note with its remedy.

    Args:
        manifest: the MANIFEST of the stacks that can be used.
        problems: ``path, severity, problem, remedy``.
    """
    yield f"{len(manifest)} stacks can be used"
    for (plate, condition), rows in manifest.groupby(["plate", "condition"]):
        wells = rows.loc[rows["well"] != "", "well"].nunique()
        moi = ", ".join(f"{value:g}" for value in sorted(rows["moi"].dropna().unique()))
        onset = rows["onset_h"].dropna()
        hours = rows["start_h"] + (rows["n_frames"] - 1) * rows["interval_h"].fillna(0)
        yield "  ".join(
            text
            for text in (
                f"plate {plate}",
                str(condition),
                f"{wells} wells, {len(rows)} stacks, {int(rows['n_frames'].sum())} frames",
                f"{rows['start_h'].min():g}-{hours.max():g} h",
                f"MOI {moi}" if moi else "",
                f"onset {onset.min():g}-{onset.max():g} h" if len(onset) else "",
            )
            if text
        )
    for severity, rows in problems.groupby("severity"):
        yield f"{len(rows)} {severity}{'s' if len(rows) > 1 else ''}:"
        for row in rows.itertuples():
            yield f"  {row.path}: {row.problem}" + (f"; {row.remedy}" if row.remedy else "")


def summary_text(run: str, notes: list[str], threshold_note: str, test: pd.DataFrame) -> str:
    """Return ``training_summary.txt``: what cannot be told first, then the test metrics with intervals.

    Args:
        run: its name.
        notes: what this plate and split cannot tell.
        threshold_note: how the class threshold was chosen.
        test: METRICS rows of the test split over all hours.
    """
    lines = [f"Run {run}", ""]
    lines += [f"! {note}" for note in notes] + ([""] if notes else [])
    lines.append(f"Threshold: {threshold_note}")
    lines += ["", "Test frames, all hours (95% intervals over groups where there are enough):"]
    lines += [f"  {row.group:15s} {row.metric:24s} {_value(row)}" for row in test.itertuples()]
    return "\n".join(lines) + "\n"


def _value(row: object) -> str:
    value, low, high = (getattr(row, name) for name in ("value", "low", "high"))
    n = f"n = {row.n} frames, {row.n_stacks} stacks, {row.n_wells} wells"  # type: ignore[attr-defined]
    if pd.isna(value):
        return f"undefined: {row.note} ({n})"  # type: ignore[attr-defined]
    interval = f" [{low:.3f}, {high:.3f}]" if pd.notna(low) and pd.notna(high) else " (no interval)"
    return f"{value:8.3f}{interval}  {n}"
