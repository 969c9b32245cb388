"""How often the comparison of two runs finds a difference that is not there, and one that is.

Simulated predictions on wells, positions and hours; two variants see the same wells and differ by what a
seed does: to wells, to positions, to frames, and (with several seeds) to the whole run. Without a planted
gain every rejection is a false one. Cases whose rows are kept already are not drawn again.

    OMP_NUM_THREADS=1 python benchmarks/compare_null.py
"""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, ndtr

from hpiclock.analysis.clustered import sign_flips
from hpiclock.analysis.compare import PairedComparison, window_masks
from hpiclock.analysis.compare.align_runs import align_runs
from hpiclock.analysis.compare.paired_tests import (
    PairedSeed,
    difference_limits,
    limits_of_both,
    paired_difference,
    seed_of,
    sign_flip_test,
    widened,
)
from hpiclock.analysis.frame_scores import FrameScores
from hpiclock.config.schema import CompareConfig, StudyConfig, WindowsConfig
from hpiclock.files import atomic
from hpiclock.tables import PREDICTIONS, check
from simulation import DOCS, PAGES, ROOT, command_line, in_pool, markdown, rate, write_files

GOOD = (0.03, 0.07)
HOURS = np.arange(0, 48.1, 3.0)
WINDOWS = WindowsConfig(width_h=12, stride_h=6)
STUDY = StudyConfig(threshold=0.5)
COMPARE = CompareConfig(shuffles=1000)


class Case(NamedTuple):
    """Wells per class, seeds per variant, and the sizes of effects in logits and hours."""

    name: str
    wells: int
    seeds: int
    strength: float = 5.0
    run_sd: float = 0.0  # of a whole run, between seeds
    gain: float = 0.0  # planted: in logits of every frame, to the right side
    gain_h: float = 0.0  # planted: share of the time error that is taken away
    over_time: bool = False  # windows and steadiness, too


CASES = (
    Case("one seed", 5, 1),
    Case("one seed", 8, 1, over_time=True),
    Case("one seed", 18, 1, over_time=True),
    Case("one seed, AUC near 1", 18, 1, strength=9.0),
    Case("three seeds", 18, 3),
    Case("three seeds that differ in skill", 18, 3, run_sd=0.5),
    Case("planted gain", 8, 1, gain=1.0, gain_h=0.3),
    Case("planted gain", 18, 1, gain=1.0, gain_h=0.3),
)


@cache
def frames(wells: int) -> pd.DataFrame:
    """Return the frames of the test wells: two positions each, one class a well, onsets over a day."""
    parts = []
    for number in range(2 * wells):
        infected = number % 2 == 1
        onset = 2.0 + 20.0 * (number // 2) / wells
        for position in (1, 2):
            since = HOURS - onset
            label = pd.array(np.where(infected & (since >= 0), 1, 0), dtype="Int8")
            parts.append(
                pd.DataFrame(
                    {
                        "stack_id": f"W{number:03d}/p{position}", "path": "", "plate": "P",
                        "well": f"W{number:03d}", "position": str(position),
                        "condition": "infected" if infected else "mock", "moi": 1.0 if infected else np.nan,
                        "onset_h": onset if infected else np.nan, "frame": np.arange(len(HOURS)),
                        "hours": HOURS, "hpi": since if infected else np.nan, "label": label,
                        "clock": "infection" if infected else "experiment",
                        "time_target": np.maximum(since, 0) if infected else HOURS, "split": "test",
                        "fold": 0, "run": "", "seed": 0, "p_infected": 0.5, "time_pred": 0.0,
                    }
                )
            )  # fmt: skip
    return check(PREDICTIONS, pd.concat(parts, ignore_index=True))


def draw(case: Case, table: pd.DataFrame, rng: np.random.Generator) -> dict[str, list[pd.DataFrame]]:
    """Return the runs of two variants on the same wells; the first has the planted gain."""
    well = pd.factorize(table["well"])[0]
    stack = pd.factorize(table["stack_id"])[0]
    n_wells, n_stacks, n = well.max() + 1, stack.max() + 1, len(table)
    side = np.where(table["label"].to_numpy(int) == 1, 1.0, -1.0)
    seen = np.where(side > 0, expit((table["hpi"].fillna(0).to_numpy(float) - 8) / 3), 0.0)
    shared = case.strength * (seen - 0.5)
    shared = shared + rng.normal(0, 1.0, n_wells)[well] + rng.normal(0, 0.5, n_stacks)[stack]
    shared = shared + rng.normal(0, 0.6, n)
    hard = np.exp(rng.normal(0, 0.3, n_wells))[well]  # wells differ in how well their time can be read
    off = rng.normal(0, 1.5, n_wells)[well] + rng.normal(0, 1.5, n)
    runs: dict[str, list[pd.DataFrame]] = {}
    for variant, gain, gain_h in (("one", case.gain, case.gain_h), ("other", 0.0, 0.0)):
        runs[variant] = []
        for seed in range(case.seeds):
            skill = rng.normal(0, case.run_sd)
            own = rng.normal(0, 0.7, n_wells)[well] + rng.normal(0, 0.3, n_stacks)[stack]
            own = own + rng.normal(0, 0.8, n)
            logit = shared + own + (gain + skill) * side
            error = off + hard * (rng.normal(0, 1.5, n_wells)[well] + rng.normal(0, 1.5, n))
            error = error * (1 - gain_h) * np.exp(-0.3 * skill)
            runs[variant].append(
                table.assign(
                    run=f"{variant}/{seed}", seed=seed, p_infected=expit(logit),
                    time_pred=table["time_target"] + error,
                )
            )  # fmt: skip
    return runs


def one(case: Case, seed: int) -> list[tuple[str, str, float, float, float]]:
    """Return ``part, metric, p, low, high`` of every test of one replicate."""
    rng = np.random.default_rng([seed, case.wells, case.seeds])
    runs = draw(case, frames(case.wells), rng)
    aligned = align_runs(runs, rule=STUDY.threshold)
    judge = PairedComparison(aligned, *aligned.sides, STUDY.level, COMPARE, rng)
    found = [
        ("all hours", f"{row['metric']}, {row['group']}", row["p"], row["low"], row["high"])
        for row in judge.whole()
    ]
    if not case.over_time:
        return found
    masks = window_masks(aligned, WINDOWS, 48.0, "hours")
    windows = pd.DataFrame(judge.windows(masks))
    for (group, metric), rows in windows.groupby(["group", "metric"], sort=False):
        found.append(("any window", f"{metric}, {group}", rows["p_over_all_windows"].min(), np.nan, np.nan))
    found += [
        ("steadier", f"{row['spread']} of {row['metric']}, {row['group']}", row["p"], np.nan, np.nan)
        for row in judge.steadiness(list(masks.values()))
    ]
    return found


def many(case: Case, seeds: range) -> pd.DataFrame:
    rows = [(*row, seed) for seed in seeds for row in one(case, seed)]
    return pd.DataFrame(rows, columns=["part", "metric", "p", "low", "high", "seed"])


EQUAL_WELLS, EQUAL_ICC, SHARED = (8, 18), (0.1, 0.3, 0.6), 0.8
EQUAL_AUCS = ((0.99, 0.97), (0.97, 0.95), (0.97, 0.97))
FRAMES = 24


def scores_of(
    shift: float, icc: float, shared: tuple[np.ndarray, np.ndarray], heavy: bool, rng: np.random.Generator
) -> PairedSeed:
    """Scores of infected and mock wells, of variance 1, of which the variants share a part."""
    own = _effects(heavy, shared[0].shape, rng), rng.normal(size=shared[1].shape)
    well, frame = (np.sqrt(SHARED) * a + np.sqrt(1 - SHARED) * b for a, b in zip(shared, own, strict=True))
    truth = np.repeat([1, 0], len(shared[0]) // 2)
    score = np.sqrt(icc) * well + np.sqrt(1 - icc) * frame + truth[:, None] * shift
    n, group = score.size, np.repeat(np.arange(len(score)), FRAMES)
    nothing, zeros = np.full(n, np.nan), np.zeros(n, int)
    of_frame = np.repeat(truth, FRAMES)
    scores = FrameScores(
        truth=of_frame, condition=of_frame, p=ndtr(score).ravel(), called=score.ravel() > 0, group=group,
        stack=group, well=group, model=zeros, stratum=zeros, target=nothing, error=nothing,
        target_predicted=nothing, error_predicted=nothing, off_clock=nothing, off_mean=nothing,
    )  # fmt: skip
    return seed_of(scores, len(score))


def _effects(heavy: bool, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_t(3, shape) / np.sqrt(3) if heavy else rng.normal(size=shape)


def shift_of(auc: float, icc: float, heavy: bool) -> float:
    """The distance of the classes at which frames of other wells have this AUC."""
    rng = np.random.default_rng(0)
    parts = [_effects(heavy, (100_000,), rng) for _ in range(4)]
    apart = np.sqrt(icc) * (
        np.sqrt(SHARED) * (parts[0] - parts[1]) + np.sqrt(1 - SHARED) * (parts[2] - parts[3])
    )
    return float(brentq(lambda d: ndtr((d + apart) / np.sqrt(2 * (1 - icc))).mean() - auc, 0, 20))


def equality(heavy: bool, aucs: tuple[float, float], wells: int, replicates: int) -> list[dict[str, object]]:
    """How often two variants of these AUCs are called equal: a row for each correlation within wells."""
    rows: list[dict[str, object]] = []
    for icc in EQUAL_ICC:
        shifts, found = [shift_of(auc, icc, heavy) for auc in aucs], []
        for seed in range(replicates):
            rng = np.random.default_rng([seed, wells, int(100 * icc)])
            shared = _effects(heavy, (2 * wells, 1), rng), rng.normal(size=(2 * wells, FRAMES))
            one, other = ([scores_of(shift, icc, shared, heavy, rng)] for shift in shifts)
            low, high = limits_of_both(one, other, "auc", level=2 * STUDY.level - 1)
            whole = paired_difference(one, other, "auc", 2 * wells)
            signs = sign_flips(whole.samples, 2 * wells, shuffles=COMPARE.shuffles, rng=rng)
            by_flips = difference_limits(whole, sign_flip_test(whole, signs), level=STUDY.level)
            limits = widened(by_flips, limits_of_both(one, other, "auc", level=STUDY.level))
            equal = low > -COMPARE.margin and high < COMPARE.margin
            found.append((equal, limits[0] <= aucs[0] - aucs[1] + 1e-9 <= limits[1] + 2e-9))
        place = {"shape": "t3 wells" if heavy else "normal wells", "auc": aucs[0], "auc_against": aucs[1]}
        shares = dict(zip(("equal", "interval_holds"), np.mean(found, axis=0), strict=True))
        rows.append(place | {"wells": wells, "icc": icc} | shares | {"replicates": replicates})
    return rows


def equality_lines(table: pd.DataFrame) -> list[str]:
    """The part of the page on claims of equality."""
    differ = table[table["auc"].ne(table["auc_against"])]
    rows = []
    for (shape, auc, against, wells), mine in table.groupby(
        ["shape", "auc", "auc_against", "wells"], sort=False
    ):
        held = f"{mine['interval_holds'].min():.2f} to {mine['interval_holds'].max():.2f}"
        rows.append([shape, f"{auc:g}, {against:g}", wells, *(f"{x:.3f}" for x in mine["equal"]), held])
    head = ["", "AUCs", "wells a class", *(f"icc {icc}" for icc in EQUAL_ICC), "interval holds"]
    n = int(table["replicates"].max())
    words = f"""## Equal within a margin

Two variants are called equal where the {2 * STUDY.level - 1:.0%} interval of their difference lies within
the margin. It is made of the intervals of both and their correlation over wells (MOVER, Zou and Donner 2008),
because near an AUC of 1 the sign-flip interval is narrow just when the difference is underestimated. Each
claim of equality holds by itself with {STUDY.level:.0%}; they are not corrected over the table.

Share called equal at a margin of {COMPARE.margin:g}, by correlation within wells. {SHARED:.0%} of what is not
signs is common to both; {FRAMES} frames a well; {n} replicates a cell. Where the true difference is the
margin, 0.05 is allowed; the most is {differ["equal"].max():.3f}. Where there is none it is the power: so
small a margin takes many wells. The last column is how often the {STUDY.level:.0%} interval of the difference
holds it: that of the sign flips, widened to that of both variants where it does not leave 0 out.
"""
    return [words, markdown(head, rows), ""]


def measure(case: Case, rows: pd.DataFrame) -> pd.DataFrame:
    found = []
    for (part, metric), mine in rows.groupby(["part", "metric"], sort=False):
        p = mine["p"].dropna()
        rejects, low, high = rate(int((p <= 0.05).sum()), len(p)) if len(p) else (0.0, np.nan, np.nan)
        banded = mine["low"].notna()
        holds = ((mine["low"] <= 0) & (mine["high"] >= 0))[banded].mean() if banded.any() else np.nan
        found.append(
            {
                "case": case.name, "wells": case.wells, "seeds": case.seeds, "part": part, "metric": metric,
                "rejects": rejects, "low": low, "high": high,
                "interval_holds_0": holds, "replicates": len(p),
            }
        )  # fmt: skip
    return pd.DataFrame(found)


def page(table: pd.DataFrame, equal: pd.DataFrame) -> str:
    """Return docs/comparison.md's part on the benchmark."""
    null = table[~table["case"].str.startswith("planted")]
    common = null[null["wells"].ge(8) & ~null["case"].str.contains("near 1")]
    inside = common["rejects"].between(*GOOD)
    lines = [
        "# Does the comparison of runs keep its level?",
        "",
        "Two ways of training are compared on the same test frames, paired by well. What each well adds to",
        "the difference of a metric is known, so the difference is tested by exchanging the two in wells",
        "drawn at random (sign flips), each time over its own standard error; its interval is the same test",
        "turned around. Where there are several seeds, the spread between seeds beyond what single wells",
        "explain is added, and Student's t with the degrees of freedom of both holds as well. With k wells",
        "no chance below 2 / 2^k can come out. *Steadier* exchanges whole wells and compares the spread",
        "over windows.",
        "",
        "Here: simulated predictions of two variants on the same wells (half infected, two positions a",
        "well, a frame every 3 h for 48 h). Wells differ in ways that both variants share, and seeds differ",
        f"in wells, positions and frames. {int(table['replicates'].max()):,} replicates a cell; a test at",
        "0.05 should reject in 5% of them when nothing is planted. `make bench-compare` repeats it; every",
        "cell is in `reports/benchmarks/compare_null.csv`.",
        "",
        f"Nothing planted, 8 and more wells a class: {inside.sum()} of {len(inside)} cells reject in "
        f"{GOOD[0]}-{GOOD[1]} ({common['rejects'].min():.3f}-{common['rejects'].max():.3f}).",
        "",
    ]
    outside = common[~inside]
    if len(outside):
        named = [
            f"{row.case}, {row.wells} wells a class, {row.part}, {row.metric}: {row.rejects:.3f}"
            for row in outside.itertuples()
        ]
        lines += ["Outside: " + "; ".join(named) + ".", ""]
    if null["wells"].eq(5).any():
        lines += [
            "With 5 wells a class metrics of one class alone cannot reject at 0.05 (least chance 2 / 2^5),",
            "and metrics near their end, where few wells differ at all, reject too seldom, not too often.",
            "So do three seeds that differ by nothing of their own: their spread is estimated all the same.",
            "",
        ]
    for part, words in (
        ("all hours", "Share of replicates in which a difference over all hours is found (p at most 0.05)."),
        ("any window", "Share in which any window of the metric is found to differ (p over all windows)."),
        ("steadier", "Share in which one variant is found steadier over windows."),
    ):
        mine = table[table["part"].eq(part)]
        if mine.empty:
            continue
        name = mine["case"] + ", " + mine["wells"].astype(str) + " wells a class"
        wide = mine.assign(case=name).pivot_table("rejects", "case", "metric", sort=False)
        rates = wide.map("{:.3f}".format).reset_index().to_numpy()
        lines += [f"## {part.capitalize()}", "", words, "", markdown(["", *wide.columns], rates), ""]
    return "\n".join([*lines, *equality_lines(equal)])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--cases", default="", help="only cases whose name holds this")
    parser.add_argument("--rows", type=Path, default=ROOT / "cache" / "compare_null")
    options = parser.parse_args()
    found = []
    chosen = [case for case in CASES if options.cases in case.name]
    options.rows.mkdir(parents=True, exist_ok=True)
    for case in chosen:
        n_cuts = options.workers * 4
        cuts = [(case, range(i, options.replicates, n_cuts)) for i in range(n_cuts)]
        kept = options.rows / f"{case.name} {case.wells} {options.replicates}.csv"
        if not kept.is_file():
            with atomic(kept) as partial:
                pd.concat(in_pool(many, cuts, options.workers)).to_csv(partial, index=False)
        found.append(measure(case, pd.read_csv(kept)))
        print(found[-1].drop(columns=["low", "high"]).to_string(index=False), flush=True)
    table = pd.concat(found, ignore_index=True).round(4)
    jobs = [(*one, options.replicates // 5) for one in product((False, True), EQUAL_AUCS, EQUAL_WELLS)]
    equal = pd.DataFrame([row for rows in in_pool(equality, jobs, options.workers) for row in rows])
    write_files(
        {
            options.out / PAGES / "compare_null.csv": table.to_csv(index=False),
            options.out / PAGES / "compare_equal.csv": equal.to_csv(index=False),
            options.out / DOCS / "comparison.md": page(table, equal),
        }
    )


if __name__ == "__main__":
    main()
