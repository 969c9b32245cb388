"""A dose and its response: agreement with R's drc and lmfit, coverage, refusals, what the note says."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares
from statsmodels.regression.linear_model import OLS

from hpiclock.analysis.dose_response import dose_response, fit, log_logistic

# As in R's drc: root length over ferulic acid (mM), Inderjit et al. 2002; dry matter over two herbicides
# (g/ha), Christensen et al. 2003.
RYEGRASS = {
    0: [7.58, 8, 8.328571429, 7.25, 7.375, 7.9625],
    0.94: [8.355555556, 6.914285714, 7.75],
    1.88: [6.871428571, 6.45, 5.922222222],
    3.75: [1.925, 2.885714286, 4.233333333],
    7.5: [1.1875, 0.857142857, 1.057142857],
    15: [0.6875, 0.525, 0.825],
    30: [0.25, 0.22, 0.44],
}
S_ALBA = {
    "Glyphosate": {
        0: [4.7, 4.6, 4.1, 4.4, 3.2, 3, 3.8, 3.9], 10: [3.8, 3.8, 3.8, 3.3], 20: [4.1, 3.5, 4.1, 3.2],
        40: [2.8, 3, 3.7, 3.4], 80: [1.8, 1.6, 2.3, 1.7], 160: [1.1, 1.3, 1, 1.2], 320: [0.9] * 4,
    },
    "Bentazone": {
        0: [4.1, 3.4, 2.6, 3.5, 4.3, 4.2, 4.1, 4.5], 10: [3.5, 3.8, 3.9, 3.7], 20: [3.2, 3.5, 3, 4],
        40: [1.1, 1.4, 1.4, 0.9], 80: [0.9, 0.6, 0.7, 0.8], 160: [0.7, 0.7, 0.5, 0.6],
        320: [0.8, 0.5, 0.7, 0.8], 640: [0.6, 0.7, 0.6, 0.8],
    },
}  # fmt: skip


def flat(table: dict) -> tuple[np.ndarray, np.ndarray]:
    """Doses and responses, one per well."""
    counts = [len(values) for values in table.values()]
    return np.repeat([float(dose) for dose in table], counts), np.concatenate(list(table.values()))


def plate(seed: int, *, doses: int = 5, wells: int = 3, error: float = 0.05, **curve: float) -> pd.DataFrame:
    """Wells of controls and of doses half a logarithm apart; the EC50 in the middle by default."""
    steps = np.sqrt(10.0) ** np.arange(doses)
    dose = np.repeat(np.r_[0.0, steps], wells)
    truth = {
        "ec50": np.sqrt(steps[0] * steps[-1]),
        "slope": 1.5,
        "at_zero": 0.05,
        "at_infinity": 0.95,
    } | curve
    noise = np.random.default_rng(seed).normal(0, error, len(dose))
    return pd.DataFrame({"moi": dose, "y": log_logistic(dose, **truth) + noise})


def fitted(wells: pd.DataFrame, dose: str = "moi") -> dict:
    return dose_response(wells, dose=dose, response="y", level=0.95)[0]


def test_ryegrass_agrees_with_drc() -> None:
    found = fit(*flat(RYEGRASS), level=0.95)
    # drm(rootl ~ conc, data = ryegrass, fct = LL.4()): b 2.982, c 0.481, d 7.793, e 3.058 (SE 0.186)
    estimates = found.slope, found.at_infinity, found.at_zero, found.ec50, found.se
    assert estimates == pytest.approx((2.982, 0.481, 7.793, 3.058, 0.186), abs=6e-4)


def test_limits_are_those_of_the_profile_widened_by_hc3() -> None:
    dose, response = flat(RYEGRASS)
    found = fit(dose, response, level=0.95)
    # lmfit 1.3.4, conf_interval of the same fit, one error for all wells: 2.691 to 3.475
    plain = np.array([2.691, 3.475])
    with np.errstate(divide="ignore"):
        away = np.where(dose > 0, np.log(dose / found.ec50), 0.0)
    share = log_logistic(dose, found.ec50, found.slope, 0.0, 1.0)
    bend = (found.at_infinity - found.at_zero) * share * (1 - share)
    jacobian = np.column_stack([1 - share, share, bend * away, -found.slope * bend])
    residual = response - log_logistic(dose, found.ec50, found.slope, found.at_zero, found.at_infinity)
    linear = OLS(residual, jacobian).fit()
    wider = linear.HC3_se[3] / linear.bse[3]
    assert wider > 1.5  # three wells at 3.75 mM differ more than all others, and they place the EC50
    assert np.log([found.low, found.high]) == pytest.approx(
        np.log(found.ec50) + wider * np.log(plain / found.ec50), abs=0.03
    )


def test_s_alba_agrees_with_drc() -> None:
    # drc's help page of S.alba, LL.4 with shared plateaus: estimates, and SE of the two ED50
    published = {"Bentazone": (5.046141, 28.632355, 2.038), "Glyphosate": (2.390218, 66.890545, 5.969)}
    c, d = 0.716559, 3.854861
    own = {name: fit(*flat(table), level=0.95) for name, table in S_ALBA.items()}
    for name, table in S_ALBA.items():
        b, e, error = published[name]
        assert abs(own[name].ec50 - e) < error
        assert own[name].low < e < own[name].high
        dose, response = flat(table)
        squares = [np.sum((response - log_logistic(dose, *at)) ** 2) for at in (own[name][:4], (e, b, d, c))]
        assert squares[0] < squares[1] < squares[0] * 1.1

    def residuals(at: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [
                response - log_logistic(dose, at[2 + 2 * i], at[3 + 2 * i], at[1], at[0])
                for i, (dose, response) in enumerate(map(flat, S_ALBA.values()))
            ]
        )

    start = [0.7, 3.9, *own["Glyphosate"][:2], *own["Bentazone"][:2]]
    shared = least_squares(residuals, start, x_scale="jac", ftol=1e-12, xtol=1e-12).x
    expected = [c, d, 66.890545, 2.390218, 28.632355, 5.046141]
    assert shared == pytest.approx(expected, rel=3e-3)  # drc stops a little early


def test_four_doses_with_controls_cover() -> None:
    # with plateaus held at the means of the lowest and highest dose, and no controls, 0.81 to 0.83
    fits = [fitted(plate(seed, doses=4)) for seed in range(100)]
    held = [not row["low"] > np.sqrt(10.0) ** 1.5 and not row["high"] < np.sqrt(10.0) ** 1.5 for row in fits]
    assert np.mean(held) >= 0.91
    assert np.mean([np.isfinite(row["ec50"]) for row in fits]) > 0.9


def test_wells_that_vary_most_in_the_bend_are_covered() -> None:
    # as shares do; one error for all wells gave 0.80 to 0.85 here
    held = []
    for seed in range(60):
        wells = plate(0, doses=8, error=0.0)
        rng = np.random.default_rng(seed)
        mean = wells["y"].to_numpy()
        found = fitted(wells.assign(y=mean + 0.2 * np.sqrt(mean * (1 - mean)) * rng.normal(size=len(mean))))
        held.append(found["low"] < np.sqrt(10.0) ** 3.5 < found["high"])
    assert np.mean(held) > 0.88


def test_the_controls_set_the_plateau() -> None:
    wells = plate(1, ec50=0.7, doses=5)  # the lowest dose lies above the EC50
    with_zero, without = fitted(wells), fitted(wells[wells["moi"] > 0])
    assert with_zero["n_controls"] == 3
    assert with_zero["bottom"] == pytest.approx(0.05, abs=0.1)
    assert not with_zero["low"] > 0.7
    assert not with_zero["high"] < 0.7
    assert np.isnan(without["ec50"])


def test_the_direction_is_found() -> None:
    wells = plate(0)
    rising, falling = fitted(wells), fitted(wells.assign(y=1 - wells["y"]))
    assert falling["ec50"] == pytest.approx(rising["ec50"], rel=1e-6)
    assert falling["slope"] == pytest.approx(-rising["slope"], rel=1e-6)
    assert (falling["bottom"], falling["top"]) == pytest.approx((1 - rising["top"], 1 - rising["bottom"]))


@pytest.mark.parametrize(
    ("bend", "words"),
    [(1e4, "EC50 above the highest dose, 31.6"), (40.0, "EC50 above "),
     (1e-4, "EC50 below the lowest dose, 1"), (np.sqrt(10.0), "EC50 between 3.1")],
)  # fmt: skip
def test_where_the_curve_does_not_bend_inside_the_doses_the_note_says_so(bend: float, words: str) -> None:
    if bend == np.sqrt(10.0):
        wells = plate(0, doses=4, ec50=5.6, slope=200.0, error=1e-3)
    else:
        wells = plate(0, doses=4, ec50=bend, at_infinity=9000.0 if bend > 1e3 else 0.95, error=0.005)
    found = fitted(wells)
    assert words in found["note"]
    assert np.isnan(found["ec50"])


def test_too_few_doses_and_flat_responses_are_refused() -> None:
    three = fitted(plate(0, doses=3))
    assert three["note"] == (
        "no curve: 3 doses and controls, 12 wells; needed are 5 doses, the controls counted, and 4 wells "
        "that repeat one"
    )
    assert np.isnan([three["ec50"], three["low"], three["high"]]).all()
    four = plate(0, doses=4)
    assert "4 doses without controls" in fitted(four[four["moi"] > 0])["note"]
    nothing = [fitted(plate(seed, at_infinity=0.05)) for seed in range(40)]
    assert np.mean(["no curve: the doses are not shown to differ" in row["note"] for row in nothing]) > 0.8
    assert np.mean([np.isfinite(row["ec50"]) for row in nothing]) <= 0.05
    same = fitted(plate(0).assign(y=0.5))
    assert same["note"] == "no curve: the response is the same at every dose"


def test_controls_of_a_compound_are_infected_wells_without_it() -> None:
    wells = plate(0, ec50=10.0, at_zero=0.9, at_infinity=0.1).rename(columns={"moi": "dose"})
    wells = wells.assign(condition="infected", moi=1.0, compound="x", dose_unit="uM", plate="P")
    wells.loc[wells["dose"].eq(0), ["dose", "compound", "dose_unit"]] = [np.nan, "", ""]
    mock = wells.head(3).assign(condition="mock", y=0.0)
    found = fitted(pd.concat([wells, mock]), "dose")
    assert found == fitted(wells, "dose")
    assert (found["n_controls"], found["n_wells"], found["compound"], found["note"]) == (3, 18, "x", "")
    assert found["slope"] < 0
    several = wells.assign(
        moi=np.where(np.arange(len(wells)) % 2, 1.0, 5.0), y=wells["y"].mask(wells.index == 7)
    )
    assert (
        fitted(several, "dose")["note"] == "1 well without a value left out; wells of 2 MOIs taken together"
    )
    mixed = wells.assign(dose_unit=np.where(wells["dose"] > 5, "nM", wells["dose_unit"]))
    assert "no curve: doses in uM and nM" in fitted(mixed, "dose")["note"]
