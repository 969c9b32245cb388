"""Metrics of several runs of one way of training: folds put together, seeds averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.config import StudyConfig
from hpiclock.study.groups import choose_level
from hpiclock.study.measure import measure
from hpiclock.study.scores import Scores, prepare
from hpiclock.study.threshold import choose_threshold

GROUPS = {
    "all": ("auc", "auc_stratified", "accuracy", "f1"),
    "infected": ("recall", "mae"),
    "mock": ("specificity", "mae"),
}
LABELS = {"infected": 1, "mock": 0}
COLUMNS = ["group", "metric", "value", "low", "high", "n", "n_stacks", "n_wells", "n_infected", "n_seeds",
           "n_folds", "note"]  # fmt: skip


def pooled(
    runs: Sequence[pd.DataFrame], *, study: StudyConfig, asked: Sequence[pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Return the metrics of several runs together: :data:`COLUMNS`, a row per group and metric.

    Each run keeps its own threshold, and scores of two models are never compared. Frames of a fold that
    several seeds were asked about count once in ``n``; their wells are the same wells.

    Args:
        runs: the PREDICTIONS of each run; validation rows give its threshold.
        study: ``level`` and ``threshold`` are used.
        asked: per run the test rows to be judged; by default all its test rows.
    """
    tests = [run[run["split"].eq("test")] for run in runs] if asked is None else list(asked)
    rows = pd.concat(tests, ignore_index=True)
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    unit = choose_level(rows)
    cuts = np.repeat(
        [choose_threshold(run, rule=study.threshold).value for run in runs], [len(test) for test in tests]
    )
    scores = prepare(rows, threshold=0.5, group=unit.codes)
    scores = _called(scores, scores.p >= cuts)
    models = rows[["fold", "seed"]].drop_duplicates()
    counts = {"n_seeds": models["seed"].nunique(), "n_folds": models["fold"].nunique()}
    found: list[dict[str, Any]] = []
    for group, metrics in GROUPS.items():
        mine = scores.truth == LABELS[group] if group in LABELS else np.ones(len(scores), bool)
        part = scores.take(mine)
        for row in measure(part, metrics, level=study.level, unit=unit.unit, remark=unit.caveat):
            once = {name: row[name] // counts["n_seeds"] for name in ("n", "n_infected")}
            found.append({"group": group} | row | once | counts)
    return pd.DataFrame(found, columns=COLUMNS)


def _called(scores: Scores, called: np.ndarray) -> Scores:
    values = {name: getattr(scores, name) for name in Scores.__dataclass_fields__}
    return Scores(**(values | {"called": called}))
