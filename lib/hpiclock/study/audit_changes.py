"""What changed images do to the model's answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hpiclock.study.audit_scores import auc_of, labels_of, mean_over
from hpiclock.study.groups import class_of, codes_of

COLUMNS = ["change", "condition", "answer", "effect", "low", "high", "auc", "n", "n_wells", "note"]


def by_change(test: pd.DataFrame, changed: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the mean change of P(infected) and of the predicted time (h) per change and condition.

    Columns: ``change condition answer effect low high auc n n_wells note``; ``answer`` is ``p_infected`` or
    ``time_pred``; ``auc`` is that of the changed frames, among frames of the same hour.

    Args:
        test: rows of a PREDICTIONS table, the frames as they are.
        changed: ``change stack_id frame p_infected time_pred`` of the same frames.
        level: of the intervals over wells.
    """
    found: list[dict[str, Any]] = []
    keys = ["stack_id", "frame"]
    for change, part in changed.groupby("change", sort=False):
        rows = test.merge(part[[*keys, "p_infected", "time_pred"]], on=keys, suffixes=("", "_changed"))
        score = rows["p_infected_changed"].to_numpy(float)
        auc = auc_of(rows, score, labels_of(rows), level=level).value if not np.isnan(score).all() else np.nan
        for condition in ("infected", "mock"):
            mine = rows[(class_of(rows) == 1) == (condition == "infected")]
            for answer in ("p_infected", "time_pred"):
                if mine[answer].isna().all():
                    continue
                moved = (mine[f"{answer}_changed"] - mine[answer]).to_numpy(float)
                well = codes_of(mine, "well")
                effect = mean_over(moved, well, level=level)
                found.append(
                    {"change": change, "condition": condition, "answer": answer, "effect": effect.value,
                     "low": effect.low, "high": effect.high, "auc": auc, "n": len(mine),
                     "n_wells": len(np.unique(well)), "note": effect.note}
                )  # fmt: skip
    return pd.DataFrame(found, columns=COLUMNS)
