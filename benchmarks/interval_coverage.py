"""How often do 95% intervals hold the truth? A simulation with frames in groups, for every method.

``python benchmarks/interval_coverage.py`` writes ``reports/benchmarks/coverage.csv``, ``docs/coverage.md``.
Scores are a group effect, a stack effect and frame noise of total variance 1; the correlation of two frames
of a group (``icc``) and the distance of the classes (``auc``) are set, so the truth is known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import ndtr, ndtri
from tqdm import tqdm

import coverage_direct
from coverage_methods import group_bootstraps, left_out_aucs, logit_t, wins_between_groups
from coverage_report import write_report
from hpiclock.analysis.clustered import jackknife_variance
from hpiclock.analysis.intervals import (
    auc_variance_model,
    error_interval,
    share_interval,
    share_variance_model,
    variance_of_mean_absolute_error,
)
from simulation import PAGES, command_line, in_pool

FRAMES, STACKS, LEVEL = 24, 2, 0.95
GROUPS = (3, 4, 8, 12, 20, 40)
AUCS = (0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
ICCS = (0.1, 0.3, 0.6)
TIME_SD_H = 1.5
METRICS = ["auc", "accuracy", "f1", "mae", "others"]
OTHERS = (*coverage_direct.CLASS, *coverage_direct.TIME)
Limits = tuple[np.ndarray, np.ndarray]


def errors(kind: str, shape: tuple[int, int], icc: float, rng: np.random.Generator) -> np.ndarray:
    """(replicates, groups, frames) deviations of variance 1: group + stack + frame."""
    r, k = shape
    parts = ((r, k, 1, 1), (r, k, STACKS, 1), (r, k, STACKS, FRAMES // STACKS))
    sizes = np.sqrt([0.8 * icc, 0.2 * icc, 1 - icc])
    if kind == "heavy tails":
        drawn = [rng.standard_t(4, part) / np.sqrt(2) for part in parts]
    elif kind == "skewed groups":
        drawn = [1 - rng.exponential(size=parts[0]), rng.normal(size=parts[1]), rng.normal(size=parts[2])]
    else:
        drawn = [rng.normal(size=part) for part in parts]
    total = sum(size * part for size, part in zip(sizes, drawn, strict=True))
    return np.asarray(total).reshape(r, k, FRAMES)


def draw(
    kind: str, shape: tuple[int, int], auc: float, icc: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of infected and mock groups."""
    shift: float | np.ndarray = np.sqrt(2) * ndtri(auc)
    if kind == "time course":  # nothing to see in the first tenth of the frames, everything after a third
        time = np.tile(np.arange(FRAMES // STACKS) / (FRAMES // STACKS), STACKS)
        onset = rng.uniform(-0.08, 0.08, (*shape, 1))
        shift = 1.3 * shift * np.clip((time - 0.1 - onset) / 0.25, 0, 1)
    return errors(kind, shape, icc, rng) + shift, errors(kind, shape, icc, rng)


def true_auc(kind: str, auc: float, icc: float, rng: np.random.Generator) -> float:
    if kind == "normal":
        return auc
    infected, mock = draw(kind, (40_000, 1), auc, icc, rng)
    mock = np.sort(mock.ravel())
    return float(np.searchsorted(mock, infected.ravel()).mean() / mock.size)


def icc_of(scores: np.ndarray) -> np.ndarray:
    """The library's intra-class correlation of normal scores, for all replicates: (replicates,)."""
    r, k, m = scores.shape
    z = ndtri((stats.rankdata(scores.reshape(r, -1), axis=1) - 0.5) / (k * m)).reshape(r, k, m)
    means = z.mean(2)
    between = m * ((means - means.mean(1, keepdims=True)) ** 2).sum(1) / (k - 1)
    within = ((z - means[:, :, None]) ** 2).sum((1, 2)) / (k * (m - 1))
    extra = np.maximum(between - within, 0) / m
    return extra / (extra + within)


def auc_methods(infected: np.ndarray, mock: np.ndarray, rng: np.random.Generator) -> dict[str, Limits]:
    k = infected.shape[1]
    wins = wins_between_groups(infected, mock) / FRAMES**2  # (replicates, k, k)
    value, left = wins.mean((1, 2)), left_out_aucs(wins)
    samples = [np.arange(k), np.arange(k, 2 * k)]
    chances = (1 / (k * FRAMES), (FRAMES - 1) / (k * FRAMES))
    icc = (icc_of(infected) + icc_of(mock)) / 2
    ours = share_interval(
        value, left, samples, shape=auc_variance_model(chances, chances), icc=icc, level=LEVEL
    )
    variance, _ = jackknife_variance(left, samples)
    found = {"score (used)": ours, "logit t": logit_t(value, variance, 2 * k - 2, LEVEL)}
    some = slice(0, 600)
    found |= group_bootstraps(wins[some], left[some], rng=rng, level=LEVEL)
    few = min(1600 // k, len(infected))  # a table of all pairs of frames for each
    frames = [scores[:few].reshape(few, -1, 1) for scores in (infected, mock)]
    by_frame = wins_between_groups(*frames)
    found["frame bootstrap"] = group_bootstraps(by_frame, None, rng=rng, level=LEVEL)["group percentile"]
    return found


def share_methods(tp: np.ndarray, tn: np.ndarray, icc: np.ndarray, metric: str) -> dict[str, Limits]:
    """tp, tn: (replicates, k) right calls per group."""
    k = tp.shape[1]
    total = FRAMES * k

    def value_of(tp: np.ndarray, tn: np.ndarray, n1: float, n0: float) -> np.ndarray:
        return (tp + tn) / (n1 + n0) if metric == "accuracy" else 2 * tp / (tp + n1 + n0 - tn)

    t1, t0 = tp.sum(1), tn.sum(1)
    value = value_of(t1, t0, total, total)
    left = np.concatenate(
        [value_of(t1[:, None] - tp, t0[:, None], total - FRAMES, total),
         value_of(t1[:, None], t0[:, None] - tn, total, total - FRAMES)], axis=1
    )  # fmt: skip
    samples = [np.arange(k), np.arange(k, 2 * k)]
    shape = share_variance_model(np.array(0.5 / total), np.array(0.5 * (FRAMES - 1) / total))
    variance, _ = jackknife_variance(left, samples)
    spread = np.sqrt(value * (1 - value) / (2 * total))
    return {
        "score (used)": share_interval(value, left, samples, shape=shape, icc=icc, level=LEVEL),
        "logit t": logit_t(value, variance, 2 * k - 2, LEVEL),
        "frames as units": (value - 1.96 * spread, value + 1.96 * spread),
    }


def time_error(
    kind: str, shape: tuple[int, int], icc: float, rng: np.random.Generator
) -> tuple[float, dict[str, Limits]]:
    error = TIME_SD_H * errors(kind, (shape[0], 2 * shape[1]), icc, rng)
    truth = TIME_SD_H * np.sqrt(2 / np.pi)
    if kind not in ("normal", "time course"):
        truth = TIME_SD_H * np.abs(errors(kind, (100_000, 1), icc, rng)).mean()
    return float(truth), mae_methods(error)


def mae_methods(error: np.ndarray) -> dict[str, Limits]:
    """error: (replicates, 2 k groups, frames)."""
    r, groups, m = error.shape
    sums = np.abs(error).sum(2)
    total = sums.sum(1)
    value, left = total / (groups * m), (total[:, None] - sums) / ((groups - 1) * m)
    k = groups // 2
    samples = [np.arange(k), np.arange(k, groups)]
    linear = {"n_time": np.full((r, groups), float(m)), "err": error.sum(2), "sq": (error**2).sum(2)}
    floor = variance_of_mean_absolute_error(linear, samples, suffix="")
    low, high, _ = error_interval(value, left, samples, floor=floor, level=LEVEL)
    variance, df = jackknife_variance(left, samples)
    half = stats.t.ppf((1 + LEVEL) / 2, df) * np.sqrt(variance) / value
    spread = 1.96 * np.abs(error).reshape(r, -1).std(1) / np.sqrt(groups * m)
    return {
        "score for a spread (used)": (low, high),
        "log t": (value * np.exp(-half), value * np.exp(half)),
        "frames as units": (value - spread, value + spread),
    }


def summary(truth: float, limits: Limits) -> dict[str, float]:
    low, high = limits
    return {
        "coverage": float(((low <= truth) & (truth <= high)).mean()),
        "missed_low": float((high < truth).mean()),
        "missed_high": float((low > truth).mean()),
        "width": float((high - low).mean()),
        "replicates": len(low),
    }


def cell(
    kind: str, k: int, auc: float, icc: float, replicates: int, metrics: list[str]
) -> list[dict[str, object]]:
    rng = np.random.default_rng([k, int(1000 * auc), int(100 * icc), len(kind)])
    truth = true_auc(kind, auc, icc, rng) if "auc" in metrics else auc
    infected, mock = draw(kind, (replicates, k), auc, icc, rng)
    found = [("auc", truth, auc_methods(infected, mock, rng))] if "auc" in metrics else []
    if kind == "normal" and {"accuracy", "f1"} & set(metrics):
        shift = np.sqrt(2) * ndtri(auc)
        threshold = 0.4 * shift  # not where the two errors are equal, so that F1 is not the accuracy
        recall, specificity = ndtr(0.6 * shift), ndtr(0.4 * shift)
        right = (infected >= threshold).sum(2), (mock < threshold).sum(2)
        correlation = (icc_of(infected) + icc_of(mock)) / 2
        truths = {
            "accuracy": (recall + specificity) / 2,
            "f1": 2 * recall / (recall + 2 - specificity),
        }
        found += [(name, t, share_methods(*right, correlation, name)) for name, t in truths.items()]
    if auc == 0.7 and "mae" in metrics:  # the time error knows no AUC
        found.append(("mae", *time_error(kind, (replicates, k), icc, rng)))
    return [
        {
            "scores": kind,
            "metric": metric,
            "method": method,
            "k": k,
            "icc": icc,
            "nominal_auc": auc,
            "truth": t,
        }
        | summary(t, limits)
        for metric, t, methods in found
        for method, limits in methods.items()
    ]


def other_cell(kind: str, k: int, auc: float, icc: float, replicates: int) -> list[dict[str, object]]:
    """The metrics of :mod:`coverage_direct`; those of time once, at the first AUC.

    Of errors that are not normal, the mean squares alone: their truth is the same.
    """
    rows: list[dict[str, object]] = []
    for units in ("used", "frames as units"):
        rng = np.random.default_rng([k, int(1000 * auc), int(100 * icc)])
        infected, mock = draw("normal", (replicates, k), auc, icc, rng)
        error = coverage_direct.TIME_SD_H * errors(kind, (replicates, k), icc, rng)
        for metric, truth, found in coverage_direct.limits(
            infected, mock, error, auc=auc, level=LEVEL, with_time=auc == 0.7,
            frames_are_groups=units != "used", rng=rng,
        ):  # fmt: skip
            if kind != "normal" and metric not in coverage_direct.SQUARES:
                continue
            place = {"scores": kind, "metric": metric, "method": units, "k": k, "icc": icc,
                     "nominal_auc": auc, "truth": truth}  # fmt: skip
            rows.append(place | summary(truth, (found[:, 0], found[:, 1])))
    return rows


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument(
        "--metrics", nargs="+", default=METRICS, choices=METRICS, help="others stay as they are"
    )
    args = parser.parse_args()
    cells = [("normal", k, auc, icc) for k in GROUPS for auc in AUCS for icc in ICCS]
    cells += [
        (kind, k, auc, icc)
        for kind in ("heavy tails", "skewed groups", "time course")
        for k in (8, 20) for auc in (0.7, 0.9, 0.98) for icc in (0.1, 0.3, 0.6)
    ]  # fmt: skip
    basic = cells if {*args.metrics} - {"others"} else []
    jobs = [(*one, args.replicates, args.metrics) for one in basic]
    rows = [row for found in tqdm(in_pool(cell, jobs, args.workers), total=len(jobs)) for row in found]
    if "others" in args.metrics:
        some = [("normal", k, auc, icc) for k in (4, 8, 20) for auc in (0.7, 0.9, 0.98) for icc in (0.1, 0.6)]
        some += [("heavy tails", k, 0.7, icc) for k in (8, 20) for icc in (0.1, 0.6)]
        jobs = [(*one, args.replicates) for one in some]
        found = tqdm(in_pool(other_cell, jobs, args.workers), total=len(jobs))
        rows += [row for some_rows in found for row in some_rows]
    table = pd.DataFrame(rows)
    before = args.out / PAGES / "coverage.csv"
    if set(args.metrics) < set(METRICS) and before.is_file():
        kept = pd.read_csv(before)
        new = {*args.metrics, *(OTHERS if "others" in args.metrics else ())}
        table = pd.concat([kept[~kept["metric"].isin(new)], table], ignore_index=True)
    write_report(table, args.out)


if __name__ == "__main__":
    main()
