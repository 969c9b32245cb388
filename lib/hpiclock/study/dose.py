"""Dose and response: a sigmoid over the logarithm of the dose, fitted to wells by least squares (SciPy)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit
from scipy.special import expit, stdtrit

LN10 = float(np.log(10))
STEEPEST = 20.0  # slopes beyond it are a step between two doses, of which no slope can be told
COLUMNS = ["response", "dose", "ec50", "low", "high", "slope", "bottom", "top", "n_wells", "n_doses", "note"]


def sigmoid(log_dose: np.ndarray, log_ec50: float, slope: float, bottom: float, top: float) -> np.ndarray:
    """The logistic curve of four parameters; it falls where ``slope`` is negative."""
    return bottom + (top - bottom) * expit(LN10 * slope * (np.asarray(log_dose) - log_ec50))


def dose_response(
    wells: pd.DataFrame, *, dose: str, response: str, level: float
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Fit a response to a dose over wells.

    With five doses or more all four parameters are free. With three or four the two plateaus are held at the
    lowest and highest mean response of a dose. With fewer, or where the doses do not differ in the response,
    nothing is fitted and the note says why.

    Args:
        wells: one row per well; wells whose dose is missing or 0, or whose response is missing, do not count.
        dose: column of the dose.
        response: column of the response.
        level: of the interval of the EC50 (t interval of its logarithm from the covariance of the fit).

    Returns:
        One row of :data:`COLUMNS` as a dictionary, and the curve: ``dose value``; empty where nothing fits.
    """
    known = wells[wells[dose].gt(0) & wells[response].notna()]
    x, y = np.log10(known[dose].to_numpy(float)), known[response].to_numpy(float)
    means = known.groupby(dose)[response].mean()
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | {
        "response": response, "dose": dose, "n_wells": len(known), "n_doses": len(means), "note": "",
    }  # fmt: skip
    nothing = pd.DataFrame({"dose": [], "value": []}, dtype=float)
    missing = int((wells[dose].gt(0) & wells[response].isna()).sum())
    aside = f"; {missing} wells without a value are left out" if missing else ""
    if len(means) < 3:
        return row | {"note": f"no curve: {len(means)} doses, at least 3 are needed{aside}"}, nothing
    if means.max() - means.min() <= 1e-9:
        return row | {"note": f"no curve: the response is the same at every dose{aside}"}, nothing
    try:
        values, covariance, held = _fit(x, y, means)
    except RuntimeError:
        return row | {"note": f"no curve: the fit does not settle{aside}"}, nothing
    free = len(covariance)
    error = float(np.sqrt(covariance[0, 0]))
    half = stdtrit(max(len(y) - free, 1), (1 + level) / 2) * error if len(y) > free else np.nan
    log_ec50, slope, bottom, top = values
    notes = [held, _beyond(log_ec50, x)]
    if not np.isfinite(half) or half > 3:
        half = np.nan
        notes.append("the wells do not fix the EC50: no interval")
    row |= {
        "ec50": 10**log_ec50, "low": 10 ** (log_ec50 - half), "high": 10 ** (log_ec50 + half), "slope": slope,
        "bottom": bottom, "top": top, "note": "; ".join(word for word in notes if word) + aside,
    }  # fmt: skip
    grid = np.linspace(x.min(), x.max(), 120)
    return row, pd.DataFrame({"dose": 10**grid, "value": sigmoid(grid, *values)})


def _fit(x: np.ndarray, y: np.ndarray, means: pd.Series) -> tuple[np.ndarray, np.ndarray, str]:
    low, high = float(means.min()), float(means.max())
    rising = np.polyfit(x, y, 1)[0] >= 0
    middle, sign = float(np.median(np.unique(x))), 1.0 if rising else -1.0
    slopes = (0.0, STEEPEST) if rising else (-STEEPEST, 0.0)
    reach = x.max() - x.min()
    ends = (x.min() - reach, x.max() + reach)
    if len(means) < 5:
        fitted, covariance = curve_fit(
            lambda dose, ec50, slope: sigmoid(dose, ec50, slope, low, high), x, y, p0=(middle, sign),
            bounds=([ends[0], slopes[0]], [ends[1], slopes[1]]), max_nfev=5000,
        )  # fmt: skip
        held = f"plateaus held at the means {low:.3g} and {high:.3g}: {len(means)} doses"
        return np.array([*fitted, low, high]), covariance, held
    span = high - low
    fitted, covariance = curve_fit(
        sigmoid, x, y, p0=(middle, sign, low, high), max_nfev=5000,
        bounds=(
            [ends[0], slopes[0], low - span, low + 0.5 * span],
            [ends[1], slopes[1], low + 0.5 * span, high + span],
        ),
    )  # fmt: skip
    return fitted, covariance, ""


def _beyond(log_ec50: float, x: np.ndarray) -> str:
    return "" if x.min() <= log_ec50 <= x.max() else "the EC50 lies outside the doses that were given"
