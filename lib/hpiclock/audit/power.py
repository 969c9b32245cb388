"""How large a difference must be to be found with so many wells: one power function for every row.

A score is taken as normal. A shift of its frames that gives an AUC A is sqrt(2) Phi^-1(A) standard deviations
of frames; the mean of a well of m frames, which share the part ``icc`` of the variance, has the variance
icc + (1 - icc) / m; wells are compared by Student's t, whose power is that of the noncentral t.
"""

import math

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import ndtr, ndtri

from hpiclock.analysis import units
from hpiclock.analysis.clustered import one_way_anova

USUAL = 0.8  # the power for which a number of wells is named
EARLY_AUC = 0.8  # the size of a difference before the onset whose power is named
MOST_WELLS = 5000  # a class; more are no answer
Wells = tuple[int, int]  # infected, mock


def power_of_difference(size: float, wells: Wells, *, alpha: float, two_sided: bool = True) -> float:
    """Return with which probability a difference is found: ``size`` in standard deviations between wells."""
    df = sum(wells) - 2
    if min(wells) < 1 or df < 1:
        return 0.0
    shift = size / math.sqrt(1 / wells[0] + 1 / wells[1])
    cut = stats.t.ppf(1 - (alpha / 2 if two_sided else alpha), df)
    found = stats.nct.sf(cut, df, shift) + (stats.nct.cdf(-cut, df, shift) if two_sided else 0.0)
    return float(np.clip(np.nan_to_num(found, nan=1.0), 0.0, 1.0))


def power_of_auc(auc: float, wells: Wells, *, variance: float, alpha: float, two_sided: bool) -> float:
    """Return with which probability an AUC among frames of the same hour is found.

    Args:
        auc: the true one.
        wells: that are compared.
        variance: of a well's mean, of :func:`well_variance`.
        alpha: of the test.
        two_sided: of the test.
    """
    return power_of_difference(auc_shift(auc) / math.sqrt(variance), wells, alpha=alpha, two_sided=two_sided)


def auc_shift(auc: float) -> float:
    """Return the shift of normal scores, in their standard deviation, that gives an AUC."""
    return math.sqrt(2) * float(ndtri(np.clip(auc, 0.001, 0.999)))


def wells_for_difference(size: float, *, alpha: float, two_sided: bool = True) -> int | None:
    """Return how many wells a class find a difference (SDs between wells) with 80% power; None: too many."""
    n = 2
    while n <= MOST_WELLS:
        if power_of_difference(abs(size), (n, n), alpha=alpha, two_sided=two_sided) >= USUAL:
            return n
        n += max(1, n // 20)
    return None


def wells_for_margin(margin: float, *, variance: float, level: float) -> int | None:
    """Return how many wells a class bring the interval of an AUC that is 0.5 inside 0.5 +- margin.

    In 80% of such plates; None where more than :data:`MOST_WELLS` would be needed.
    """
    n = np.arange(2, MOST_WELLS)
    error = np.sqrt(2 * variance / n) / math.sqrt(4 * math.pi)  # d AUC / d shift at 0 is 1 / sqrt(4 pi)
    half = stats.t.ppf((1 + level) / 2, 2 * n - 2) * error
    enough = 2 * ndtr((margin - half) / error) - 1 >= USUAL
    return int(n[enough.argmax()]) if enough.any() else None


def well_variance(rows: pd.DataFrame, values: np.ndarray) -> float:
    """Return the variance of a well's mean, that of its frames being 1: icc + (1 - icc) / m.

    Args:
        rows: with ``plate well stack_id condition``.
        values: (rows,) normal scores, the mean over hours taken out.
    """
    wells, infected = units.well_or_position_codes(rows), units.condition_codes(rows)
    known = ~np.isnan(values)
    found = [
        one_way_anova(values[mine], wells[mine])
        for mine in (known & (infected == kind) for kind in (0, 1))
        if len(np.unique(wells[mine])) > 1
    ]
    icc = [float(np.clip(np.nan_to_num(one.icc), 0, 1)) for one in found]
    share = float(np.mean(icc)) if icc else 0.5
    return share + (1 - share) / max(len(rows) / max(len(np.unique(wells)), 1), 1.0)


def normal_scores(values: pd.Series) -> np.ndarray:
    """Return the normal scores of the ranks of values: (rows,); NaN stays NaN."""
    return np.asarray(ndtri((values.rank() - 0.5) / max(values.notna().sum(), 1)))


def about(n: int | None, *, of: str = "wells a class") -> str:
    """Return ``about 24 wells a class``; ``no number of wells a class on a plate`` where ``n`` is None."""
    return f"no number of {of} on a plate" if n is None else f"about {n} {of}"
