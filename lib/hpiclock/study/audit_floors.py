"""The permutations by well as a table, with the smallest p that each could give."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.config import AuditConfig, StudyConfig
from hpiclock.study.audit_controls import after_eclipse, before_onset
from hpiclock.study.audit_permuted import compared
from hpiclock.study.groups import class_of

PERMUTATIONS = ["frames", "unit", "n_infected", "n_mock", "auc", "low", "high", "p", "floor", "well_floor"]


def permutations(
    test: pd.DataFrame, *, study: StudyConfig, audit: AuditConfig, rng: np.random.Generator
) -> pd.DataFrame:
    """Return both permutations by well: ``frames unit n_infected n_mock auc low high p floor well_floor``.

    ``n_infected n_mock`` are wells, ``floor`` is the smallest p that shuffling the units can give, and
    ``well_floor`` that of shuffling wells. Arguments and draws are those
    of :func:`hpiclock.study.audit_controls.judge_well` and ``judge_early``.
    """
    test = test[test["p_infected"].notna()]
    parts = {"after the eclipse": test[after_eclipse(test, eclipse_h=study.eclipse_h)]}
    if test["hours"].min() < test["hours"].max():
        parts["before the onset"] = test[before_onset(test)]
    rows = []
    for name, part in parts.items():
        if len(np.unique(class_of(part))) == 2:
            found = compared(part, level=study.level, shuffles=audit.shuffles, rng=rng)
            wells = found.units.wells
            rows.append(
                (name, found.units.name, *wells, *found.auc[:3], found.test.p, found.test.floor,
                 found.well_floor)
            )  # fmt: skip
    return pd.DataFrame(rows, columns=PERMUTATIONS)
