"""Words for rows of the tables, for the sentences of the conclusions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

Tables = dict[str, pd.DataFrame]
Sentences = Iterator[tuple[str, str, str]]  # topic, verdict, sentence
CANNOT = "cannot tell"
SAYS = "says"
BEWARE = "beware"


def of_test(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the test split (else validation, else training) of the first run."""
    for split in ("test", "val", "train"):
        rows = table[table["split"].eq(split)]
        if len(rows):
            return rows[rows["run"].eq(rows["run"].iloc[0])]
    return table


def one_row(metrics: pd.DataFrame, group: str, metric: str) -> pd.Series | None:
    """Return one metric of one group in the test split, or None."""
    rows = of_test(metrics)
    rows = rows[rows["group"].eq(group) & rows["metric"].eq(metric)]
    return None if rows.empty else rows.iloc[0]


def reason(row: pd.Series | None) -> str:
    """Return why a row has no value, in words."""
    return "there are no such frames" if row is None else str(row["note"]).rstrip(".")


def number(row: pd.Series, digits: int, level: float) -> str:
    """Return a value with its interval, in words."""
    if np.isnan(row["low"]):
        return f"{row['value']:.{digits}f}, no interval"
    return (
        f"{row['value']:.{digits}f}, {level:.0%} interval {row['low']:.{digits}f} to {row['high']:.{digits}f}"
    )


def hours(row: pd.Series, level: float) -> str:
    """Return a number of hours with its interval, in words."""
    if np.isnan(row["low"]):
        return f"{row['value']:.1f} h (no interval)"
    return f"{row['value']:.1f} h ({level:.0%} interval {row['low']:.1f} to {row['high']:.1f})"


def until(value: float) -> str:
    """Return hours, or that there is no end."""
    return f"{value:.1f} h" if np.isfinite(value) else "no end"


def abs_of(row: pd.Series) -> pd.Series:
    """Return a row with the sign of its value taken away, and its limits with it."""
    if row["value"] >= 0:
        return row
    mirrored = row.copy()
    mirrored["value"], mirrored["low"], mirrored["high"] = -row["value"], -row["high"], -row["low"]
    return mirrored
