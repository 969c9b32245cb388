"""How often the confound audit finds what was planted, and how often it cries wolf.

Every seed draws a small simulated plate with one planted flaw (or none), takes frame statistics, trains
linear heads on frozen features of its training wells, and runs the audit. A flaw counts
as found when the row that names it says so; a clean plate counts as flagged when any row says
``contradicted``. Rows that name a flaw look at the plate, not at a model, so flawed plates have shorter
films and no model. Plates that are already in the rows file are not drawn again.

    OMP_NUM_THREADS=1 python benchmarks/audit_power.py --seeds 200
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.analysis.linear_probe import fit_class_probe, fit_time_probe
from hpiclock.audit import (
    BORDER,
    CLOCKS,
    ELAPSED,
    FOCUS,
    HOUR,
    LIGHT,
    MARK,
    PLATE,
    TWICE,
    WELL,
    Evidence,
    random_stream,
)
from hpiclock.audit.clocks import onset_shift_table
from hpiclock.audit.controls import nuisance_table
from hpiclock.audit.leakage import with_split_and_well
from hpiclock.audit.verdict import QUESTIONS, verdict
from hpiclock.config.schema import AuditConfig, SplitConfig, StudyConfig
from hpiclock.plate.duplicates import Fields, burned_in_marks, downscaled, evenly_spaced, overlapping_fields
from hpiclock.plate.quality import KINDS, image_statistics
from hpiclock.plate.splits import split_wells
from hpiclock.simulate.design import Design, design, grid
from hpiclock.simulate.write import SimulatedStack, simulate_plate
from simulation import DOCS, PAGES, ROOT, command_line, in_pool, markdown, rate, write_files

FLAGS = ("contradicted", "not identifiable")
ANY = "any row contradicted"
LONG: dict[str, Any] = {"n_frames": 9, "interval_h": 6.0}
SHORT: dict[str, Any] = {"n_frames": 5, "interval_h": 12.0}
LAYOUT: dict[str, Any] = {
    "wells": grid(6, (0.0, 2.0, 0.0, 2.0)),
    "shuffled": True,
    "microscope": {"positions": 1},
}
SPLIT = {"train": 0.42, "val": 0.08, "test": 0.5}
BLURRED = {"blur_px": 1.45}


class Case(NamedTuple):
    """Plates of one kind: (design, what is changed in it) each, the rows that name their flaw, whether a
    model is trained.
    """

    plates: tuple[tuple[str, dict[str, Any]], ...]
    naming: tuple[str, ...]
    model: bool


def one_plate(name: str, *naming: str, model: bool = False) -> Case:
    """Return a case of one plate of 12 infected and 12 mock wells, placed at random."""
    return Case(((name, LAYOUT | (LONG if model else SHORT)),), naming, model)


def two_plates(mock: tuple[int, int], *naming: str, second: dict[str, Any], model: bool = False) -> Case:
    """Return a case of two plates of 12 wells with so many mock wells each; the second has other optics."""
    names = list(grid(3, (0.0,) * 4))
    wells = [{well: 0.0 if i < n else 2.0 for i, well in enumerate(names)} for n in mock]
    parts = [LAYOUT | (LONG if model else SHORT) | {"wells": mine} for mine in wells]
    optics = LAYOUT["microscope"] | second
    return Case((("audit", parts[0]), ("audit", parts[1] | {"microscope": optics})), naming, model)


CLEAN = ("clean", "clean, two plates")
CASES: dict[str, Case] = {
    "clean": one_plate("audit", model=True),
    "clean, two plates": two_plates((6, 6), second={}, model=True),
    "one onset": one_plate("audit-fixed-onset", CLOCKS, model=True),
    "well tint": one_plate("audit-tint", LIGHT),
    "focus": one_plate("audit-focus", FOCUS),
    "focus per plate": two_plates((10, 2), PLATE, second=BLURRED),
    "border mark": one_plate("audit-border", BORDER, MARK),
    "classes at different hours": one_plate("audit-clock", HOUR),
    "leaked neighbours": one_plate("audit-neighbours", TWICE),
    "duplicated frames": one_plate("audit-duplicates", TWICE),
    "one well per class": Case((("audit-one-well-each", SHORT),), (WELL,), False),
}
AUDIT = AuditConfig(onset_shifts_h=())  # other onsets never contradict, and take half of the time


def tables(plate: Design, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, list[SimulatedStack]]:
    """Return frames, raw statistics, frozen features (frames, features) and the stacks."""
    stacks = list(simulate_plate(plate, seed=seed))
    frames = pd.concat([stack.truth for stack in stacks], ignore_index=True)
    frames = frames.assign(plate=plate.name, path="")
    pictures = [picture for stack in stacks for picture in stack.pictures]
    raw = pd.DataFrame([image_statistics(picture) for picture in pictures])
    seen = [frozen(picture, dict(row)) for picture, (_, row) in zip(pictures, raw.iterrows(), strict=True)]
    return frames, pd.concat([frames[["stack_id", "frame"]], raw], axis=1), np.array(seen), stacks


def frozen(picture: np.ndarray, raw: dict[str, float]) -> list[float]:
    """Return statistics and histogram of a picture stretched to its full range, as a model would see it."""
    low, high = float(picture.min()), float(picture.max())
    gain = 255.0 / max(high - low, 1e-6)
    ratios = ("laplacian", "gradient", "sharpness", "border_sd")  # no stretching changes them
    scaled = [
        value if name in ratios else (value - (low if name in ("mean", "median") else 0.0)) * gain
        for name, value in raw.items()
    ]
    counts = np.bincount(np.minimum(((picture - low) * gain / 16).astype(int), 15).ravel(), minlength=16)
    return [*scaled, *(counts / picture.size)]


def numbered(plate: Design, number: int) -> Design:
    """Return the plate under a name of its own."""
    return plate.model_copy(update={"name": f"{plate.name}-{number + 1}"})


def predict(frames: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    """Return predictions of linear heads for every frame, trained on the frames of the training stacks."""
    infected = frames["condition"].eq("infected").to_numpy()
    label = np.where(infected & (frames["hpi"].to_numpy() < 0), -1, infected.astype(int))
    target = np.where(infected, frames["hpi"], frames["hours"])
    training = frames["split"].eq("train").to_numpy() & (label >= 0)
    p = fit_class_probe(features[training], label[training]).predict_proba(features)[:, 1]
    hours = np.full(len(frames), np.nan)
    for kind in (0, 1):
        mine, known = label == kind, training & (label == kind)
        hours[mine] = fit_time_probe(features[known], target[known]).predict(features[mine])
    return frames.assign(
        label=pd.Series(label).where(label >= 0).astype("Int8"), fold=0, seed=0, run="bench",
        clock=np.where(infected, "infection", "experiment"), time_target=np.where(label >= 0, target, np.nan),
        p_infected=p, time_pred=hours,
    )  # fmt: skip


def one(case: str, seed: int) -> pd.DataFrame:
    """Return the verdict of one plate, or of two: ``case seed question verdict effect low high``."""
    # each plate of a case has its own seed
    drawn = [
        tables(numbered(design(name, **changes), number), seed + 1_000_000 * number)
        for number, (name, changes) in enumerate(CASES[case].plates)
    ]
    frames, statistics = (pd.concat([part[i] for part in drawn], ignore_index=True) for i in (0, 1))
    features, stacks = np.concatenate([part[2] for part in drawn]), [s for part in drawn for s in part[3]]
    first = frames.drop_duplicates("stack_id")
    split = split_wells(first.assign(n_frames=1), SplitConfig(**SPLIT, seed=seed)).stacks
    frames["split"] = frames["stack_id"].map(split.set_index("stack_id")["split"])
    chosen = [stack.pictures[evenly_spaced(np.arange(len(stack.pictures)), 2)] for stack in stacks]
    images = np.stack([[downscaled(picture) for picture in part] for part in chosen])
    fields = Fields(list(first["stack_id"]), images)
    groups = first["plate"] + "/" + first["condition"]
    pairs, compared = overlapping_fields(fields, groups=groups, max_pairs=10_000)
    study, rng = StudyConfig(), random_stream(seed, "statistics")
    evidence = Evidence(
        frames,
        nuisance=nuisance_table(frames, statistics, KINDS, audit=AUDIT, level=study.level, rng=rng),
        pairs=with_split_and_well(pairs, frames),
        compared=compared,
        marks=burned_in_marks(fields, first),
        study=study,
        audit=AUDIT,
        seed=seed,
    )
    if CASES[case].model:
        predictions = predict(frames, features)
        test = predictions[predictions["split"].eq("test")]
        evidence.predictions, evidence.onset = predictions, onset_shift_table(test, study=study, audit=AUDIT)
    found = verdict(evidence)
    return found.assign(case=case, seed=seed)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``case row flagged low high seeds``: the share of seeds in which a row, or any row, flags."""
    found = []
    for case, (_, naming, model) in CASES.items():
        mine = rows[rows["case"].eq(case)]
        flags_of = {ANY: mine[mine["verdict"].eq("contradicted")]} if model else {}
        for question in QUESTIONS if case in CLEAN else naming:
            flags = ("contradicted",) if case in CLEAN else FLAGS
            flags_of[question] = mine[mine["question"].eq(question) & mine["verdict"].isin(flags)]
        if len(naming) > 1:
            flags_of[" or ".join(naming)] = mine[mine["question"].isin(naming) & mine["verdict"].isin(FLAGS)]
        for question in (CLOCKS, ELAPSED, WELL) if model else ():
            supported = mine["question"].eq(question) & mine["verdict"].eq("supported")
            flags_of[f"{question} supported"] = mine[supported]
        n = mine["seed"].nunique()
        for row, hits in flags_of.items():
            flagged, low, high = rate(hits["seed"].nunique(), n)
            found.append({"case": case, "row": row, "flagged": flagged, "low": low, "high": high, "seeds": n})
    return pd.DataFrame(found).round(4)


def page(table: pd.DataFrame, before: str) -> str:
    """Return the page with the rates between its two marks."""
    shown = [(name, ANY) for name in CLEAN]
    shown += [(name, row) for name, case in CASES.items() for row in case.naming]
    shown += [(name, f"{row} supported") for row in (CLOCKS, ELAPSED) for name in ("clean", "one onset")]
    rates = table.set_index(["case", "row"]).loc[shown]
    rows = [
        [*key, f"{rate['flagged']:.1%}", f"{rate['low']:.1%} to {rate['high']:.1%}", int(rate["seeds"])]
        for key, rate in rates.iterrows()
    ]
    text = markdown(["plate", "row", "share of seeds", "95% interval", "seeds"], rows)
    begin, end = "<!-- rates -->\n", "<!-- /rates -->"
    first, _, rest = before.partition(begin)
    return first + begin + text + "\n" + end + rest.partition(end)[2]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=Path, default=ROOT / "cache" / "audit_power_rows.csv")
    options = parser.parse_args()
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(options.rows) if options.rows.is_file() else pd.DataFrame(columns=["case", "seed"])
    done = set(zip(rows["case"], rows["seed"], strict=True))
    jobs = [(case, seed) for seed in range(options.seeds) for case in CASES if (case, seed) not in done]
    for found in in_pool(one, jobs, options.workers):
        new = not options.rows.is_file()
        found.drop(columns=["evidence", "remedy"]).to_csv(options.rows, mode="a", header=new, index=False)
    rows = pd.read_csv(options.rows)
    table = summary(rows[rows["seed"] < options.seeds])
    before = (ROOT / DOCS / "audit.md").read_text(encoding="utf-8")
    write_files(
        {
            options.out / PAGES / "audit_power.csv": table.to_csv(index=False),
            options.out / DOCS / "audit.md": page(table, before),
        }
    )
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
