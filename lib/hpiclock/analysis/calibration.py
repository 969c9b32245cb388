"""Whether P(infected) is a probability: calibration intercept and slope, and the temperature."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from hpiclock.analysis import units
from hpiclock.analysis.clustered import samples_by_class, t_interval, too_few_groups
from hpiclock.analysis.curves import labelled_by_split
from hpiclock.analysis.frame_scores import kinds_of_groups
from hpiclock.format import count_text
from hpiclock.tables import n_wells, table_of

CLIP = 1e-7  # a P of exactly 0 or 1 has no logit
RANGE = (0.05, 20.0)
MANY = 200  # groups; the limits of 120 wells differ by a tenth of their width at most
STEPS = 30  # of Newton's method; where classes separate it does not settle
COLUMNS = (
    "run split mean_p share_infected intercept intercept_low intercept_high "
    "slope slope_low slope_high margin n n_stacks n_wells note"
)


def calibration(predictions: pd.DataFrame, *, level: float, margin: float) -> pd.DataFrame:
    """Return calibration intercept and slope (Cox 1958) of each run and split.

    Logistic regressions of the label (binomial GLM): the intercept with logit P as offset, below 0 where P is
    too high on average (calibration-in-the-large), and the slope of logit P, below 1 where P lies too near 0
    and 1 (weak calibration; Van Calster et al. 2016, J Clin Epidemiol 74:167). Both hold for the share of
    infected frames that is there. The limits come from leaving out one well at a time, by class, corrected
    for the bias that this shows, with Student's t and Satterthwaite's degrees of freedom; how often they hold
    the truth stands in ``docs/calibration.md``. There are none below three wells in a class.

    Columns :data:`COLUMNS`: ``mean_p`` of the frames, ``share_infected`` of them by label, missing values
    with the reason in ``note``, and ``margin``, the factor by which odds and slope may be off.
    """
    parts = []
    for run, of_run in predictions.groupby("run", sort=True):
        for split, rows in labelled_by_split(of_run):
            truth, p = rows["label"].to_numpy(float), rows["p_infected"].to_numpy(float)
            found, note = _intercept_and_slope(rows, truth, _logits(rows), level)
            counts = len(rows), rows["stack_id"].nunique(), n_wells(rows)
            parts.append((run, split, p.mean(), truth.mean(), *found, margin, *counts, note))
    return table_of(parts, COLUMNS)


def _intercept_and_slope(
    rows: pd.DataFrame, truth: np.ndarray, z: np.ndarray, level: float
) -> tuple[list[float], str]:
    """Return intercept, low, high, slope, low, high, and how the limits were made or why there are none."""
    found = [float("nan")] * 6
    if len(np.unique(truth)) < 2:
        return found, "one class only"
    unit = units.choose_resampling_unit(rows)
    code = np.unique(unit.codes, return_inverse=True)[1]
    frames = np.bincount(code)
    kinds = kinds_of_groups(truth, units.condition_codes(rows), code, len(frames))
    samples = samples_by_class(kinds, needed="all")
    notes = [too_few_groups(samples).replace("group", unit.unit)]
    ones = np.ones((len(z), 1))
    slope = np.column_stack([ones, z])
    for at, (x, offset, name) in enumerate(((ones, z, "intercept"), (slope, 0 * z, "slope"))):
        fitted = _logistic(x, truth, offset, np.zeros(x.shape[1]))
        if fitted is None:
            notes.append(f"no {name}: P separates the classes entirely")
            continue
        found[3 * at] = value = float(fitted[-1])
        if notes[0]:
            continue
        left_out = _left_out(x, truth, offset, fitted, code)
        if np.isnan(left_out).any():
            notes.append(
                f"no interval of the {name}: one {unit.unit} less, and P separates the classes entirely"
            )
            continue
        bias = sum((len(group) - 1) * (left_out[group].mean() - value) for group in samples.values())
        found[3 * at + 1 : 3 * at + 3] = t_interval(
            value - bias, left_out, list(samples.values()), level=level
        )
    how = f"delete-one-{unit.unit} jackknife over {count_text(len(frames), unit.unit)}"
    return found, "; ".join(filter(None, notes)) or how


def _left_out(
    x: np.ndarray, y: np.ndarray, offset: np.ndarray, fitted: np.ndarray, code: np.ndarray
) -> np.ndarray:
    """Return the last coefficient without each group, (groups,): NaN where there is none.

    Of many groups each moves the fit so little that one step of Newton's method from it is enough.
    """
    k = int(code.max()) + 1
    if k <= MANY:
        found = [_logistic(x[code != one], y[code != one], offset[code != one], fitted) for one in range(k)]
        return np.array([np.nan if beta is None else beta[-1] for beta in found])
    p = expit(x @ fitted + offset)
    score, bend = np.zeros((k, x.shape[1])), np.zeros((k, x.shape[1], x.shape[1]))
    np.add.at(score, code, (y - p)[:, None] * x)
    np.add.at(bend, code, (p * (1 - p))[:, None, None] * x[:, :, None] * x[:, None, :])
    return (fitted - np.linalg.solve(bend.sum(0) - bend, score[..., None])[..., 0])[:, -1]


def _logistic(x: np.ndarray, y: np.ndarray, offset: np.ndarray, start: np.ndarray) -> np.ndarray | None:
    """Return the coefficients (columns,) of a logistic regression by Newton's method, None without any."""
    beta = start
    for _ in range(STEPS):
        p = expit(x @ beta + offset)
        bend = x.T @ ((p * (1 - p))[:, None] * x)
        if np.linalg.cond(bend) > 1e12:
            return None
        step = np.linalg.solve(bend, x.T @ (y - p))
        beta = beta + step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-7:
            return beta
    return None


def temperature_scaling(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one temperature per run, fitted on validation, and what it does in each split.

    Dividing logit P by it mends a slope, not an intercept (Guo et al. 2017); new plates' predictions use it.
    Columns ``run split temperature low high brier brier_after log_loss log_loss_after n note``; missing
    with a reason where validation holds one class or separates the classes entirely. ``low`` and ``high``
    stand for readers of 0.1.0 and are empty: the limits there held too seldom.
    """
    parts = []
    for run, of_run in predictions.groupby("run", sort=True):
        by_split = dict(labelled_by_split(of_run))
        temperature, note = _temperature(by_split.get("val", of_run.head(0)))
        for split, rows in by_split.items():
            truth, z = rows["label"].to_numpy(float), _logits(rows)
            p, after = expit(z), expit(z / temperature)
            scores = [score(x, truth) for score in (_brier, _log_loss) for x in (p, after)]
            parts.append((run, split, temperature, np.nan, np.nan, *scores, len(rows), note))
    columns = "run split temperature low high brier brier_after log_loss log_loss_after n note"
    return table_of(parts, columns)


def _temperature(rows: pd.DataFrame) -> tuple[float, str]:
    truth = rows["label"].to_numpy(float)
    if len(np.unique(truth)) < 2:
        return float("nan"), "no temperature: validation holds " + ("one class" if len(rows) else "no frames")
    z = _logits(rows)
    if z[truth == 1].min() > z[truth == 0].max():
        return float("nan"), "no temperature: validation separates the classes entirely"

    def loss(log_temperature: float) -> float:
        return _log_loss(expit(z / np.exp(log_temperature)), truth)

    # the log loss is convex in 1 / temperature
    value = float(np.exp(minimize_scalar(loss, bounds=np.log(RANGE), method="bounded").x))
    inside = RANGE[0] * 1.01 < value < RANGE[1] / 1.01
    return value, "" if inside else "temperature at the end of its range: P(infected) says little"


def _logits(rows: pd.DataFrame) -> np.ndarray:
    return logit(np.clip(rows["p_infected"].to_numpy(float), CLIP, 1 - CLIP))


def _brier(p: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((p - truth) ** 2))


def _log_loss(p: np.ndarray, truth: np.ndarray) -> float:
    p = np.clip(p, CLIP, 1 - CLIP)
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p)))
