"""From which hour after the onset the score is above chance, and how high it is where nothing can be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hpiclock.config import StudyConfig, WindowsConfig
from hpiclock.study.audit_scores import auc_of
from hpiclock.study.groups import class_of
from hpiclock.study.metrics import matched_controls, phases
from hpiclock.study.scores import hour_strata
from hpiclock.study.windows import in_window

COLUMNS = ["what", "start_h", "end_h", "auc", "low", "high", "n", "note"]
PHASE, WINDOW, FIRST, TRUTH = "phase", "window", "first window above chance", "first visible in truth"


def negative_controls(
    test: pd.DataFrame, *, windows: WindowsConfig, study: StudyConfig, visible_h: float
) -> pd.DataFrame:
    """Return the AUC of P(infected) against the condition by hours after onset, mock at the same hours.

    Columns: ``what start_h end_h auc low high n note``. ``what`` is a phase (before onset, eclipse, after
    eclipse), ``window``, ``first window above chance`` (the first whose interval lies above 0.5, and so do
    those of all later windows), or ``first visible in truth`` where a simulated plate says it.

    Args:
        test: test rows of a PREDICTIONS table.
        windows: width and stride.
        study: ``level`` and ``eclipse_h`` are used.
        visible_h: hours after onset at which signs are first to be seen; NaN = not known.
    """
    infected, stratum, hpi = class_of(test), hour_strata(test), test["hpi"].to_numpy(float)

    def row(what: str, start_h: float, end_h: float, inside: np.ndarray) -> dict[str, Any]:
        rows = test[inside | matched_controls(inside, infected, stratum)]
        auc = auc_of(rows, rows["p_infected"].to_numpy(float), class_of(rows), level=study.level)
        return {"what": what, "start_h": start_h, "end_h": end_h, "auc": auc.value, "low": auc.low,
                "high": auc.high, "n": len(rows), "note": auc.note.partition(";")[0]}  # fmt: skip

    found = [
        row(name, np.nan, np.nan, inside) for name, inside in phases(test, eclipse_h=study.eclipse_h).items()
    ]
    edges = _edges(hpi[infected == 1], windows)
    each = [
        row(WINDOW, start, end, in_window(hpi, start, end, last=end == edges[-1][1]) & (infected == 1))
        for start, end in edges
    ]
    first = _first(each)
    found += each + ([first | {"what": FIRST}] if first else [])
    if not np.isnan(visible_h):
        found.append(
            {"what": TRUTH, "start_h": visible_h, "end_h": visible_h, "n": 0, "note": "simulated plate"}
        )
    return pd.DataFrame(found, columns=COLUMNS)


def _first(windows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first window from which on every one with an interval lies above chance."""
    known = [row for row in windows if np.isfinite(row["low"])]
    below = [i for i, row in enumerate(known) if row["low"] <= 0.5]
    after = known[below[-1] + 1 :] if below else known
    return after[0] if after else None


def _edges(hpi: np.ndarray, windows: WindowsConfig) -> list[tuple[float, float]]:
    known = hpi[np.isfinite(hpi)]
    if len(known) == 0:
        return []
    # 0 is an edge, so that no window holds frames of both sides of the onset unless it must
    start = np.floor(known.min() / windows.width_h) * windows.width_h
    n = int(np.floor(max(known.max() - start - windows.width_h, 0) / windows.stride_h + 1e-9)) + 1
    starts = start + windows.stride_h * np.arange(n)
    return [(float(s), float(s + windows.width_h)) for s in starts]
