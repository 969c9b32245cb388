"""How often the confound audit finds what was planted, and how often it cries wolf.

Every seed draws a small simulated plate with one planted flaw (or none), takes frame statistics, learns
linear heads on frozen features with whole wells held out, and asks the audit for its verdict. A flaw counts
as found when the row that names it says so; a clean plate counts as flagged when any row says
``contradicted``. Plates that are already in the rows file are not drawn again.

    OMP_NUM_THREADS=1 python benchmarks/audit_power.py --seeds 200
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from hpiclock.config import AuditConfig, SplitConfig, StudyConfig
from hpiclock.plate.designs import Design, design
from hpiclock.plate.similar import Fields, burned_in, overlapping, shrunk, spread
from hpiclock.plate.simulate import Stack, simulate
from hpiclock.plate.splits import assign
from hpiclock.plate.statistics import KINDS, image_statistics
from hpiclock.study.audit import Evidence, verdict
from hpiclock.study.audit_learn import learn_class, learn_time
from hpiclock.study.audit_rows import BORDER, CLOCKS, FOCUS, HOUR, LIGHT, MARK, QUESTIONS, TWICE, WELL

FLAGS = ("contradicted", "not identifiable")
# case -> (design, what is changed in it, the rows that name the flaw)
CASES: dict[str, tuple[str, dict[str, object], tuple[str, ...]]] = {
    "clean": ("audit", {"shuffled": True}, ()),
    "well tint": ("audit-tint", {"shuffled": True}, (LIGHT,)),
    "focus": ("audit-focus", {"shuffled": True}, (FOCUS,)),
    "border mark": ("audit-border", {"shuffled": True}, (BORDER, MARK)),
    "classes at different hours": ("audit-clock", {"shuffled": True}, (HOUR,)),
    "leaked neighbours": ("audit-neighbours", {"shuffled": True}, (TWICE,)),
    "duplicated frames": ("audit-duplicates", {"shuffled": True}, (TWICE,)),
    "one well per class": ("audit-one-well-each", {}, (WELL,)),
    "one onset": ("audit-fixed-onset", {"shuffled": True}, (CLOCKS,)),
}
FOLDS = 3
AUDIT = AuditConfig(onset_shifts_h=())  # other onsets never contradict, and take half of the time


def tables(plate: Design, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, list[Stack]]:
    """Return frames, raw statistics, frozen features (frames, features) and the stacks."""
    stacks = list(simulate(plate, seed=seed))
    frames = pd.concat([stack.truth for stack in stacks], ignore_index=True)
    frames = frames.assign(plate=plate.name, path="")
    raw, seen = [], []
    for stack in stacks:
        for picture in stack.pictures:
            raw.append(image_statistics(picture))
            scaled = _scaled(picture)
            histogram = np.histogram(scaled, bins=16, range=(0, 255))[0] / scaled.size
            seen.append([*image_statistics(scaled).values(), *histogram])
    statistics = pd.concat([frames[["stack_id", "frame"]], pd.DataFrame(raw)], axis=1)
    return frames, statistics, np.array(seen), stacks


def predict(frames: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    """Return predictions of linear heads, every well by heads that never saw it."""
    infected = frames["condition"].eq("infected").to_numpy()
    label = np.where(infected & (frames["hpi"].to_numpy() < 0), -1, infected.astype(int))
    target = np.where(infected, frames["hpi"], frames["hours"])
    unit = frames["well"] if frames["well"].nunique() > 2 * FOLDS else frames["stack_id"]
    names = {c: sorted(unit[infected == c].unique()) for c in (False, True)}
    fold = unit.map({name: i % FOLDS for part in names.values() for i, name in enumerate(part)}).to_numpy()
    p, hours = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    for held in range(FOLDS):
        learnt, asked = (fold != held) & (label >= 0), fold == held
        p[asked] = learn_class(features[learnt], label[learnt]).predict_proba(features[asked])[:, 1]
        for kind in (0, 1):
            mine = asked & (label == kind)
            head = learn_time(features[learnt & (label == kind)], target[learnt & (label == kind)])
            hours[mine] = head.predict(features[mine]) if mine.any() else hours[mine]
    return frames.assign(
        label=pd.Series(label).where(label >= 0).astype("Int8"), split="test", fold=fold, seed=0, run="bench",
        clock=np.where(infected, "infection", "experiment"), time_target=np.where(label >= 0, target, np.nan),
        p_infected=p, time_pred=hours,
    )  # fmt: skip


def one(case: str, seed: int) -> pd.DataFrame:
    """Return the verdict of one plate: ``case seed question verdict``."""
    name, changes, _ = CASES[case]
    frames, statistics, features, stacks = tables(design(name, **changes), seed)
    first = frames.drop_duplicates("stack_id")
    config = SplitConfig(train=0.5, val=0.17, test=0.33, seed=seed)
    split = assign(first.assign(n_frames=1), config).stacks.set_index("stack_id")["split"]
    chosen = [stack.pictures[spread(np.arange(len(stack.pictures)), 2)] for stack in stacks]
    images = np.stack([[shrunk(picture) for picture in part] for part in chosen])
    fields = Fields(list(first["stack_id"]), images)
    pairs = overlapping(fields, groups=first["condition"], max_pairs=10_000)
    evidence = Evidence(
        frames.assign(split=frames["stack_id"].map(split)), statistics, KINDS, pairs, pairs.attrs["compared"],
        burned_in(fields, first["condition"], first["well"]), predict(frames, features),
    )  # fmt: skip
    found = verdict(evidence, study=StudyConfig(), audit=AUDIT, rng=np.random.default_rng(seed))
    return found.assign(case=case, seed=seed)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``case row flagged low high seeds``: the share of seeds in which a row, or any row, flags."""
    found = []
    for case, (_, _, naming) in CASES.items():
        mine = rows[rows["case"].eq(case)]
        asked = {"any row contradicted": mine[mine["verdict"].eq("contradicted")]}
        for question in QUESTIONS if case == "clean" else naming:
            flags = ("contradicted",) if case == "clean" else FLAGS
            asked[question] = mine[mine["question"].eq(question) & mine["verdict"].isin(flags)]
        if len(naming) > 1:
            asked[" or ".join(naming)] = mine[mine["question"].isin(naming) & mine["verdict"].isin(FLAGS)]
        if case in ("clean", "one onset"):
            asked[f"{CLOCKS} supported"] = mine[mine["question"].eq(CLOCKS) & mine["verdict"].eq("supported")]
            asked[f"{WELL} supported"] = mine[mine["question"].eq(WELL) & mine["verdict"].eq("supported")]
        n = mine["seed"].nunique()
        for row, hits in asked.items():
            k = hits["seed"].nunique()
            limits = binomtest(k, n).proportion_ci(method="wilson")
            found.append({"case": case, "row": row, "flagged": k / n, "low": limits.low, "high": limits.high,
                          "seeds": n})  # fmt: skip
    return pd.DataFrame(found).round(4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks/audit_power.csv"))
    parser.add_argument("--rows", type=Path, default=Path("cache/audit_power_rows.csv"))
    options = parser.parse_args()
    for path in (options.out, options.rows):
        path.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(options.rows) if options.rows.is_file() else pd.DataFrame(columns=["case", "seed"])
    done = set(zip(rows["case"], rows["seed"], strict=True))
    jobs = [(case, seed) for seed in range(options.seeds) for case in CASES if (case, seed) not in done]
    with ProcessPoolExecutor(options.workers) as pool:
        for found in pool.map(one, *zip(*jobs, strict=True)) if jobs else ():
            new = not options.rows.is_file()
            found.drop(columns=["evidence", "remedy"]).to_csv(options.rows, mode="a", header=new, index=False)
    rows = pd.read_csv(options.rows)
    table = summary(rows[rows["seed"] < options.seeds])
    table.to_csv(options.out, index=False)
    print(table.to_string(index=False))


def _scaled(picture: np.ndarray) -> np.ndarray:
    low, high = float(picture.min()), float(picture.max())
    return (picture - low) * (255.0 / max(high - low, 1e-6))


if __name__ == "__main__":
    main()
