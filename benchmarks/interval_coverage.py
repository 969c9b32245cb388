"""How often do the study's 95% intervals hold the truth, and how often does a window differ by chance?

Writes ``reports/benchmarks/coverage.csv`` and ``docs/coverage.md``. Plates are those of :mod:`hard_plates`;
intervals are those of the study, from frames, made for all plates of a cell at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from hard_plates import GENERATORS, HOURS, Draw, HardPlate, draw, score, truth
from hpiclock.analysis.clustered import samples_by_class
from hpiclock.analysis.frame_scores import FrameScores, GroupSums, group_sums
from hpiclock.analysis.intervals import error_limits, share_interval, variance_model
from hpiclock.analysis.units import in_window
from hpiclock.analysis.windows import over_windows, window_edges, window_flips
from hpiclock.config.schema import WindowsConfig
from hpiclock.format import range_text
from hpiclock.metrics import METRICS
from simulation import DOCS, PAGES, command_line, in_pool, markdown, write_files

LEVEL, GOOD = 0.95, (0.93, 0.97)
WELLS = (3, 4, 6, 8, 12, 20)  # of each class
STRENGTHS = {4.0: "moderate", 7.0: "strong"}
NAMES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "f1": "F1",
    "recall": "recall",
    "mae": "time MAE",
    "rmse": "time RMSE",
}
TRUE = {"mae": "mae_h", "rmse": "rmse_h"}  # other names of hard_plates.Truth
HARD = ("easy", "t3 wells", "skewed wells", "AR(1) frames", "unequal frames", "size-dependent wells", "ties",
        "non-takes", "two plates")  # fmt: skip
ALARMS = ("auc", "accuracy", "mae")  # F1 follows the share of infected frames, which grows over hours
BATCH = 50  # plates at a time: memory stays bounded


def plates() -> Iterator[tuple[str, str, HardPlate]]:
    """Yield the generator, the wells of each class and the plate of every cell."""
    for name in HARD:
        for k in WELLS:
            halves = name == "two plates"
            if not halves or k >= 6:
                of_plate = ((k // 2, k // 2),) * 2 if halves else ((k, k),)
                yield name, str(k), GENERATORS[name]._replace(plates=of_plate)
    yield "easy", "3 v 12", GENERATORS["3 against 12"]
    yield "t3 wells", "3 v 12", GENERATORS["3 against 12"]._replace(wells="t3")


def tables(
    plate: HardPlate, replicates: int, seed: int, *, by: str = "well"
) -> Iterator[tuple[FrameScores, np.ndarray]]:
    """Yield the scored frames of each plate, groups being wells or frames, and their hours."""
    rng = np.random.default_rng(seed)
    plate = plate._replace(splits=("test",))
    wells = sum(map(sum, plate.plates))
    for start in range(0, replicates, BATCH):
        times = min(BATCH, replicates - start)
        drawn = draw(plate, rng, times=times)
        for number in range(times):
            yield frames(plate, Draw(*(part[number * wells : (number + 1) * wells] for part in drawn)), by)


def frames(plate: HardPlate, drawn: Draw, by: str) -> tuple[FrameScores, np.ndarray]:
    shape = drawn.logit.shape
    hpi = np.where(drawn.infected[:, None], drawn.hpi, 0.0)[:, None]
    there = np.broadcast_to(drawn.imaged[:, None] & (hpi >= 0), shape).ravel()
    well, hours, infected = (
        np.broadcast_to(part, shape).ravel()[there]
        for part in (np.arange(shape[0])[:, None, None], HOURS, drawn.infected[:, None, None])
    )
    n = len(well)
    p, error = (part.ravel()[there] for part in (score(plate, drawn), drawn.time_error_h))
    nothing, zeros = np.full(n, np.nan), np.zeros(n, int)
    group = well if by == "well" else np.arange(n)
    scores = FrameScores(
        truth=infected.astype(np.int8), condition=infected.astype(np.int8), p=p, called=p >= 0.5, group=group,
        stack=well, well=well, model=zeros, stratum=hours.astype(int), target=hours, error=error,
        target_predicted=nothing, error_predicted=nothing, off_clock=nothing, off_mean=nothing,
    )  # fmt: skip
    return scores, hours


def limits(found: list[GroupSums], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The limits of a metric on every plate: (plates,) each; plates with the same wells at once."""
    kinds = np.array([sums.kind.tobytes().hex() for sums in found])
    low, high = np.full((2, len(found)), np.nan)
    for kind in np.unique(kinds):
        at = np.flatnonzero(kinds == kind)
        low[at], high[at] = _limits([found[number] for number in at], name)
    return low, high


def _limits(found: list[GroupSums], name: str) -> tuple[np.ndarray, np.ndarray]:
    metric = METRICS[name]
    if not metric.is_share:  # of infected frames
        infected = [{key: part[sums.kind == 1] for key, part in sums.linear.items()} for sums in found]
        totals = [{key: part.sum() for key, part in linear.items()} for linear in infected]
        value = np.array([metric.value(total) for total in totals], float)
        left_out = np.array(
            [
                metric.value({key: total[key] - part for key, part in linear.items()})
                for linear, total in zip(infected, totals, strict=True)
            ]
        )
        return error_limits(value, left_out, [np.arange(left_out.shape[1])], level=LEVEL)
    samples = list(samples_by_class(found[0].kind, needed=metric.needs).values())
    value = np.array([metric.value(sums.total) for sums in found], float)
    left_out = np.array([metric.value(sums.without) for sums in found])
    shapes, icc = zip(*(variance_model(sums, metric) for sums in found), strict=True)
    shape = shapes[0]._replace(weight=np.array([one.weight for one in shapes]))
    return share_interval(value, left_out, samples, shape=shape, icc=np.array(icc), level=LEVEL)


def coverage(
    name: str, wells: str, plate: HardPlate, strength: float, replicates: int, by: str
) -> list[dict[str, object]]:
    """One row per metric: how often its interval holds the truth."""
    plate = plate._replace(strength=strength)
    true = truth(plate)._asdict()
    sums = [group_sums(scores) for scores, _ in tables(plate, replicates, 1, by=by)]
    rows: list[dict[str, object]] = []
    for metric in NAMES:
        low, high = limits(sums, metric)
        t = true[TRUE.get(metric, metric)]
        rows.append(
            {
                "generator": name, "wells": wells, "signs": STRENGTHS[strength], "unit": by, "metric": metric,
                "truth": t, "coverage": ((low <= t) & (t <= high)).mean(), "below": (high < t).mean(),
                "width": np.median(high - low), "replicates": len(low),
            }
        )  # fmt: skip
    return rows


def false_alarms(name: str, wells: int, replicates: int) -> list[dict[str, object]]:
    """One row per metric: how often some window differs, and the range is more than chance, without signs."""
    plate = GENERATORS[name]._replace(plates=((wells, wells),), strength=0.0)
    edges = window_edges(WindowsConfig(), end_h=HOURS[-1])
    found: dict[str, list[tuple[float, float]]] = {metric: [] for metric in ALARMS}
    rng = np.random.default_rng(2)
    for scores, hours in tables(plate, replicates, 3):
        for group, metrics in (("all", ALARMS[:2]), ("infected", ALARMS[2:])):
            mine = scores.groups[group]
            masks = [mine & in_window(hours, *edge, last=edge == edges[-1]) for edge in edges]
            parts, whole = [group_sums(scores.take(mask)) for mask in masks], group_sums(scores.take(mine))
            for metric in metrics:
                made = over_windows(parts, whole, metric)
                flips = window_flips(made, level=LEVEL, resamples=500, rng=rng)
                found[metric].append((np.nanmin(flips.p, initial=1.0), flips.p_range))
    return [
        {
            "generator": name, "wells": str(wells), "metric": metric,
            "any window": (np.array(values)[:, 0] <= 0.05).mean(),
            "range": (np.array(values)[:, 1] <= 0.05).mean(), "least p": np.nanmin(values),
            "replicates": replicates,
        }
        for metric, values in found.items()
    ]  # fmt: skip


def page(table: pd.DataFrame, alarms: pd.DataFrame) -> str:
    ours = table[table["unit"].eq("well")]
    many = ours[ours["wells"].isin(["8", "12", "20"])]
    inside = many["coverage"].between(*GOOD)
    short = many[many["coverage"] < GOOD[0]]
    by_frame = table[table["unit"].eq("frame")].set_index("metric")["coverage"]
    one_by_one = ", ".join(f"{by_frame[metric]:.2f} ({name})" for metric, name in NAMES.items())
    strong = f"strong ones (AUC {_span(ours, 'strong')}), too"
    n, n_windows = int(ours["replicates"].max()), int(alarms["replicates"].max())
    return f"""# How often do the intervals hold the truth?

All of this is simulated. A 95% interval should hold the truth on 95% of plates. The plates are those of
`benchmarks/hard_plates.py`: wells whose effects are normal (*easy*), heavy-tailed (t, 3 degrees of freedom)
or skewed, frames that follow one another (AR(1), 0.8), wells that keep 20 to 100% of their frames, at random
or so that the larger are read worse, P in tenths (ties), a tenth of the infected wells not infected
(non-takes), two plates of which one reads higher, 3 infected wells against 12. Signs are moderate (AUC
{_span(ours, "moderate")}), with 8 wells {strong}. {n:,} plates a cell:
a coverage of 0.95 is known with a standard error of {np.sqrt(0.05 * 0.95 / n):.3f}. `make bench-coverage`
repeats it; every cell is in `reports/benchmarks/coverage.csv`.

**8, 12 and 20 wells of each class:** {inside.sum()} of {len(inside)} cells lie in {GOOD[0]} to {GOOD[1]},
{len(short)} below, {len(inside) - inside.sum() - len(short)} above. Those below:

{_cells(short)}

At this number of plates a cell may lie below by chance. Heavy-tailed and skewed wells and non-takes are out
of reach: a sample without the rare well that makes much of the error knows neither the error nor that it does
not know it. Where some wells may not take or a few wells are bad, intervals are too narrow;
the remedy is more wells. The column `method` of `metrics.csv` says so beside the interval.

## By wells of each class

Least and most over all generators.

{_by_wells(ours)}

The same of normal wells with equal frames:

{_by_wells(ours[ours["generator"].eq("easy")])}

With frames taken as independent, 8 wells of each class, normal wells, the same intervals cover {one_by_one}.

## Methods

Shares and AUCs: a score-type interval; its variance comes from leaving out wells. Errors in hours: limits on
a relative scale, wider upwards, because what is rare is seldom in a sample. Differences: Student's t.

## Windows in which nothing differs

Plates without any signs: how often the chance over all windows is 0.05 or less for some window, and how often
that of the range is. Wells change sign at random and the wells as they are count as one of the flips, so one
class of 3 wells gives no chance below 1/4, of 6 none below 1/32. {n_windows} plates a cell.

{_alarms(alarms)}
"""


def _alarms(alarms: pd.DataFrame) -> str:
    head = ["generator", "wells", *(f"{NAMES[metric]}: any, range" for metric in ALARMS)]
    rows = [
        [*key, *(f"{row['any window']:.3f}, {row['range']:.3f}" for _, row in mine.iterrows())]
        for key, mine in alarms.groupby(["generator", "wells"], sort=False)
    ]
    return markdown(head, rows)


def _by_wells(rows: pd.DataFrame) -> str:
    columns = [wells for wells in (*map(str, WELLS), "3 v 12") if wells in set(rows["wells"])]
    cells = rows.groupby(["metric", "wells"])["coverage"].agg(["min", "max"])
    lines = [
        [name, *(range_text(cells.loc[(metric, wells)], digits=2) for wells in columns)]
        for metric, name in NAMES.items()
    ]
    return markdown(["", *columns], lines)


def _span(rows: pd.DataFrame, signs: str) -> str:
    return range_text(rows.loc[rows["metric"].eq("auc") & rows["signs"].eq(signs), "truth"], digits=2)


def _cells(rows: pd.DataFrame) -> str:
    """A row per generator and metric: coverage by wells, the lower of both strengths."""
    wide = rows.pivot_table("coverage", ["generator", "metric"], "wells", aggfunc="min")
    wide = wide.reindex(columns=["8", "12", "20"])
    return markdown(
        ["generator", "metric", "8 wells", "12 wells", "20 wells"],
        [
            [generator, NAMES[metric], *("" if np.isnan(one) else f"{one:.3f}" for one in row)]
            for (generator, metric), row in zip(wide.index, wide.to_numpy(), strict=True)
        ],
    )


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    args = parser.parse_args()
    cells = [
        (*cell, strength, args.replicates, "well")
        for cell in plates()
        for strength in (STRENGTHS if cell[1] == "8" else [4.0])
    ]
    warning = GENERATORS["easy"]._replace(plates=((8, 8),))
    cells += [("easy", "8", warning, 4.0, args.replicates // 5, "frame")]
    rows = [row for found in tqdm(in_pool(coverage, cells, args.workers), total=len(cells)) for row in found]
    jobs = [
        (name, k, args.replicates // 4)
        for name in ("easy", "t3 wells", "AR(1) frames")
        for k in (3, 6, 8, 12)
    ]
    alarms = [
        row for found in tqdm(in_pool(false_alarms, jobs, args.workers), total=len(jobs)) for row in found
    ]
    table, windows = pd.DataFrame(rows), pd.DataFrame(alarms)
    both = pd.concat([table.assign(part="interval"), windows.assign(part="windows")], ignore_index=True)
    write_files(
        {
            args.out / PAGES / "coverage.csv": both.round(4).to_csv(index=False),
            args.out / DOCS / "coverage.md": page(table, windows),
        }
    )


if __name__ == "__main__":
    main()
