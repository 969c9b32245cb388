"""A response over a dose: the four-parameter log-logistic curve, and how well its EC50 is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize
from scipy.special import expit, fdtrc, fdtri

from hpiclock.analysis.clustered import one_way_anova
from hpiclock.analysis.sentences import words
from hpiclock.format import count_text
from hpiclock.tables import CONDITIONS, UNKNOWN

COLUMNS = ["response", "dose", "compound", "ec50", "low", "high", "se", "slope", "bottom", "top", "n_wells"]
COLUMNS += ["n_controls", "n_doses", "note"]
LEVELS = 5  # doses, the controls among them: a curve of four parameters goes through any four means
REPEATS = 4  # wells beyond the first of each dose, whose scatter is the error
ALPHA = 0.05  # of the test that doses differ at all
SLOPES = (0.25, 1000.0)  # from 10% to 90% over seven decades, and a step between two doses
PLATEAU = 0.01  # a dose with less of the whole effect, or of what is left of it, lies on a plateau
REACH = float(np.log(1000))  # how far beyond the doses an EC50 is looked for


def log_logistic(
    dose: np.ndarray, ec50: float, slope: float, at_zero: float, at_infinity: float
) -> np.ndarray:
    """Return the response at each dose, 0 among them: the plateaus give the direction, not the slope."""
    with np.errstate(divide="ignore"):
        return at_zero + (at_infinity - at_zero) * expit(slope * (np.log(dose) - np.log(ec50)))


def dose_response(
    wells: pd.DataFrame, *, dose: str, response: str, level: float
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Fit the four-parameter log-logistic curve (Ritz et al. 2015, PLOS ONE 10:e0146021) over wells.

    Both plateaus are fitted, the controls stand at dose 0, and whether the response rises or falls is found.
    Nothing is fitted below five dose levels (the controls count as one), or where the doses do not differ
    (one-way ANOVA, 5%). Where the wells do not set the EC50 both limits among the doses it has no value, and
    the note says what is known.

    Args:
        wells: a row per well of one compound and its controls, with the dose and the response; ``condition``,
            ``compound``, ``dose_unit``, ``moi`` and ``plate`` are used where they are there. Controls are the
            wells of dose 0, for an MOI the mock wells, too, for a compound the wells without any. Where other
            wells than mock were treated, mock wells are no part of a compound's curve.
        dose: column of the dose: ``moi`` or ``dose``.
        response: column of the response.
        level: of the limits of the EC50 (:func:`fit`).

    Returns:
        One row of :data:`COLUMNS` as a dictionary, and the curve: ``dose value``; empty where nothing fits.
        ``slope`` is below 0 where the response falls, ``se`` is that of the EC50 with one error for all
        wells, ``n_wells`` counts the controls and ``n_doses`` does not; a plateau that is out of reach is
        missing.
    """
    given = with_controls(wells, dose)
    known = given[given[response].notna()]
    x, y = known["given"].to_numpy(float), known[response].to_numpy(float)
    doses = np.unique(x[x > 0])
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | {"response": response, "dose": dose}
    compounds = known.loc[known["given"] > 0, "compound"].unique() if "compound" in known.columns else []
    row |= {"compound": " + ".join(filter(None, compounds)), "n_wells": len(x), "n_doses": len(doses)}
    row |= {"n_controls": int((x == 0).sum())}
    asides = list(_asides(given, dose, response))
    if why := _refusal(known, doses, x, y):
        row["note"] = "; ".join([f"no curve: {why}", *asides])
        return row, pd.DataFrame({"dose": [], "value": []}, dtype=float)
    found = fit(x, y, level=level)
    rising = found.at_infinity >= found.at_zero
    at_zero = found.at_zero if np.isfinite(found.low) or (x == 0).any() else np.nan
    plateaus = at_zero, found.at_infinity if np.isfinite(found.high) else np.nan
    row |= {"low": found.low, "high": found.high}
    row |= dict(zip(("bottom", "top") if rising else ("top", "bottom"), plateaus, strict=True))
    if key := _instead_of_value(found, doses):
        asides = [words(key, **row, lowest=doses[0], highest=doses[-1]), *asides]
    else:
        row |= {"ec50": found.ec50, "se": found.se, "slope": found.slope if rising else -found.slope}
    row["note"] = "; ".join(asides)
    grid = np.geomspace(doses[0], doses[-1], 120)
    value = log_logistic(grid, found.ec50, found.slope, found.at_zero, found.at_infinity)
    return row, pd.DataFrame({"dose": grid, "value": value})


def with_controls(wells: pd.DataFrame, dose: str) -> pd.DataFrame:
    """Return the wells of the curve with ``given``: their dose, 0 for controls."""
    given = wells[dose].astype(float)
    condition = wells.get("condition", pd.Series(UNKNOWN, wells.index))
    if dose == "moi":
        given = given.mask(given.isna() & condition.eq("mock"), 0.0)
    else:
        without = wells.get("compound", pd.Series("", wells.index)).eq("")
        given = given.mask(given.isna() & without & condition.isin(CONDITIONS), 0.0)
        if condition[given > 0].ne("mock").any():
            given = given.where(condition.ne("mock"))
    return wells.assign(given=given)[given.notna()]


def _asides(given: pd.DataFrame, dose: str, response: str) -> Any:
    if missing := int(given[response].isna().sum()):
        yield f"{count_text(missing, 'well')} without a value left out"
    for name, noun in (("plate", "plate"), ("moi", "MOI")):
        kinds = given[name].nunique() if name in given.columns and name != dose else 0
        if kinds > 1:
            yield f"wells of {count_text(kinds, noun)} taken together"


def _refusal(known: pd.DataFrame, doses: np.ndarray, x: np.ndarray, y: np.ndarray) -> str:
    """Return why there is no curve; nothing where there is one."""
    units = known.loc[known["given"] > 0, "dose_unit"].unique() if "dose_unit" in known.columns else []
    if len(units) > 1:
        return f"doses in {' and '.join(map(str, units))}"
    levels, n = len(np.unique(x)), len(x)
    if levels < LEVELS or n - levels < REPEATS:
        beside = "and controls" if (x == 0).any() else "without controls"
        found = f"{count_text(len(doses), 'dose')} {beside}, {count_text(n, 'well')}"
        return (
            f"{found}; needed are {LEVELS} doses, the controls counted, and {REPEATS} wells that repeat one"
        )
    anova = one_way_anova(y, x)
    if anova.between <= 1e-18:
        return "the response is the same at every dose"
    p = fdtrc(levels - 1, n - levels, anova.between / max(anova.within, 1e-18))
    return f"the doses are not shown to differ (one-way ANOVA, p = {p:.2g})" if p > ALPHA else ""


def _instead_of_value(found: Fit, doses: np.ndarray) -> str:
    """Return the template of what is said of the EC50 instead of its value; nothing where the value is."""
    lowest, highest = doses[0], doses[-1]
    low, high = np.nan_to_num(found.low, nan=0.0), np.nan_to_num(found.high, nan=np.inf)
    if low >= highest or high <= lowest:
        return "ec50 above doses" if low >= highest else "ec50 below doses"
    if np.isinf(high):
        return "ec50 above" if low > lowest else "ec50 not known"
    if low == 0:
        return "ec50 below" if high < highest else "ec50 not known"
    inside = np.isfinite(found.slope) and lowest <= found.ec50 <= highest
    return "" if inside else "ec50 between"


class Fit(NamedTuple):
    """A fitted :func:`log_logistic`; the EC50 with its standard error and limits, NaN where there are none.

    The slope is infinite, and the EC50 anywhere between its limits, where every dose lies on a plateau.
    """

    ec50: float
    slope: float
    at_zero: float
    at_infinity: float
    se: float
    low: float
    high: float


def fit(dose: np.ndarray, response: np.ndarray, *, level: float) -> Fit:
    """Fit :func:`log_logistic` by least squares, with limits of the EC50 by its profile likelihood.

    For a slope and an EC50 the plateaus follow by linear regression (Golub and Pereyra 1973), so both are
    looked up on a grid that misses no minimum, then refined. The limits are where the sum of squares exceeds
    its least by F(1, n - 4) over n - 4 (Bates and Watts 1988), times how much larger the variance of log EC50
    is with each well's own error (HC3, MacKinnon and White 1985) than with one error for all, where it is
    larger (Royall and Tsou 2003): wells vary most where the curve bends.

    Args:
        dose: (wells,) 0 or above.
        response: (wells,).
        level: of the limits.
    """
    levels, code, n = np.unique(dose, return_inverse=True, return_counts=True)
    mean = np.bincount(code, response) / n
    with np.errstate(divide="ignore"):
        log_dose = np.log(levels)
    total = float(((response - response.mean()) ** 2).sum())
    scatter = n * (mean - response.mean())

    def squares(log_slope: Any, log_ec50: Any) -> np.ndarray:
        """The residual sum of squares, in the shape of the two parameters."""
        share = expit(np.exp(log_slope)[..., None] * (log_dose - np.asarray(log_ec50)[..., None]))
        share = share - (share @ n / n.sum())[..., None]
        spread = share**2 @ n
        return total - np.where(spread > 1e-12, (share @ scatter) ** 2 / np.maximum(spread, 1e-12), 0.0)

    slopes = np.linspace(np.log(SLOPES[0]), np.log(SLOPES[1]), 40)
    lowest, highest = np.log([levels[levels > 0][0], levels[-1]])
    places = np.linspace(lowest - REACH, highest + REACH, 121)
    grid = squares(*np.meshgrid(slopes, places, indexing="ij"))
    at = np.unravel_index(grid.argmin(), grid.shape)
    start = (slopes[at[0]], places[at[1]])
    bounds = [(slopes[0], slopes[-1]), (places[0], places[-1])]
    exact = {"ftol": 1e-15, "gtol": 1e-12}
    better = minimize(lambda q: float(squares(*q)), start, method="L-BFGS-B", bounds=bounds, options=exact)
    log_slope, log_ec50 = better.x if better.fun < grid.min() else start
    least = max(min(better.fun, float(grid.min())), 0.0)
    slope = float(np.exp(log_slope))
    share = expit(slope * (log_dose - log_ec50))
    weight = np.sqrt(n)
    columns = np.stack([np.ones(len(n)), share], 1) * weight[:, None]
    (at_zero, step), *_ = np.linalg.lstsq(columns, mean * weight, rcond=None)
    away = np.where(np.isfinite(log_dose), log_dose - log_ec50, 0.0)
    bend = step * share * (1 - share)
    jacobian = np.stack([np.ones(len(n)), share, bend * away, -slope * bend], 1)[code]
    spare = len(response) - 4
    error, wider = _error(jacobian, response - (at_zero + step * share)[code], least / spare)
    cut = least * (1 + wider * fdtri(1, spare, level) / spare) + 1e-12 * total

    def excess(log_ec50: np.ndarray) -> np.ndarray:
        """How far the least sum of squares over all slopes lies above the cut, (places,)."""
        best, half = slopes[squares(slopes[:, None], log_ec50).argmin(0)], slopes[1] - slopes[0]
        for _ in range(4):
            around = (best + half * np.linspace(-1, 1, 21)[:, None]).clip(slopes[0], slopes[-1])
            best, half = np.take_along_axis(around, squares(around, log_ec50).argmin(0)[None], 0)[0], half / 8
        return squares(best, log_ec50) - cut

    low, high = _crossings(excess, places, log_ec50)
    ec50 = float(np.exp(log_ec50))
    if share[-1] > 1 - PLATEAU and (np.minimum(share, 1 - share) < PLATEAU).all():
        slope = np.inf
    return Fit(ec50, slope, float(at_zero), float(at_zero + step), ec50 * error, low, high)


def _error(jacobian: np.ndarray, residual: np.ndarray, variance: float) -> tuple[float, float]:
    """The standard error of log EC50, the last parameter, and its HC3 variance over that, at least 1."""
    q, r = np.linalg.qr(jacobian)
    if variance <= 0 or abs(r[-1, -1]) < 1e-9:
        return float("nan"), 1.0
    own = q[:, -1] * residual / (1 - (q**2).sum(1).clip(0, 0.999))
    return float(np.sqrt(variance) / abs(r[-1, -1])), max(1.0, float((own**2).sum() / variance))


def _crossings(
    excess: Callable[[np.ndarray], np.ndarray], places: np.ndarray, best: float
) -> tuple[float, float]:
    """Return the doses at the outermost places where the excess is 0; NaN where it stays below to the end."""
    held = [best, *places[excess(places) <= 0]]
    first, last = min(held), max(held)

    def one(place: float) -> float:
        return float(excess(np.array([place]))[0])

    def between(inner: float, beyond: np.ndarray) -> float:
        if not len(beyond):
            return float("nan")
        return float(np.exp(brentq(one, inner, beyond[0]) if one(inner) < 0 else inner))

    return between(first, places[places < first][-1:]), between(last, places[places > last][:1])
