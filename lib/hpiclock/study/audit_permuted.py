"""One comparison of the classes: the AUC with its interval, and the permutation by well that judges it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.study.audit_rows import p_text, range_words
from hpiclock.study.audit_scores import Value, auc_of
from hpiclock.study.audit_wells import Test, Units, centred, permutation_test, unit_means, units_of
from hpiclock.study.groups import class_of
from hpiclock.study.scores import model_codes


class Compared(NamedTuple):
    """What P(infected) says of the classes on some rows, against what was done to the wells."""

    auc: Value
    units: Units
    test: Test

    @property
    def well_floor(self) -> float:
        """The smallest p that shuffling wells could give: 1 over the ways to choose the infected ones."""
        return 1.0 / math.comb(sum(self.units.wells), self.units.wells[0])

    def words(self) -> str:
        """Return the permutation in words, with its floor and, where wells are too few, theirs."""
        what = "stacks within wells" if self.units.mixed else f"{self.units.name}s"
        said = f"{what} shuffled: {p_text(self.test.p, self.test.floor)}"
        if not self.units.replicated:
            said += f"; wells shuffled, nothing below {self.well_floor:.2g} is possible"
        return said

    def auc_words(self) -> str:
        """Return the AUC with its interval."""
        return range_words(self.auc.value, self.auc.low, self.auc.high)


def compared(rows: pd.DataFrame, *, level: float, shuffles: int, rng: np.random.Generator) -> Compared:
    """Compare infected with mock rows by P(infected), one-sided, units shuffled (:func:`units_of`).

    Args:
        rows: of a PREDICTIONS table, both classes.
        level: of the interval.
        shuffles: the most assignments to try.
        rng: for the draw.
    """
    auc = auc_of(rows, rows["p_infected"].to_numpy(float), class_of(rows), level=level)
    units = units_of(rows)
    means = unit_means(units, centred(rows, ranked(rows)))
    return Compared(auc, units, permutation_test(units, means, two_sided=False, shuffles=shuffles, rng=rng))


def ranked(rows: pd.DataFrame) -> np.ndarray:
    """Return the rank of P(infected) among the frames of the same model: (rows, 1), 0..1."""
    ranks = rows["p_infected"].groupby(model_codes(rows)).rank(pct=True)
    return ranks.to_numpy(float)[:, None]
