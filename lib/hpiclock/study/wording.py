"""Words for rows of the tables, for the sentences of the conclusions."""

from __future__ import annotations

import numpy as np
import pandas as pd


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


def until(value: float) -> str:
    """Return hours, or that there is no end."""
    return f"{value:.1f} h" if np.isfinite(value) else "no end"
