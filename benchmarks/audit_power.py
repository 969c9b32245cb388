"""How the confound audit answers where a flaw of known size is planted: a power curve for each of its rows.

Every seed draws a plate for each flaw at each of its strengths, none to total. Flaws of predictions are
planted on :mod:`hard_plates`, flaws of pictures in small simulated plates: frame statistics, linear heads on
frozen features where a model is asked, then the audit. Plates that are already in the rows file are not
drawn again.

    OMP_NUM_THREADS=1 python benchmarks/audit_power.py --seeds 200
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import logit

from hard_plates import GENERATORS, predictions
from hpiclock.analysis.linear_probe import fit_class_probe, fit_time_probe
from hpiclock.audit import (
    ANSWERS,
    BORDER,
    EARLY,
    ELAPSED,
    FOCUS,
    HOUR,
    LIGHT,
    MARK,
    MORE,
    PLACE,
    PLATE,
    TWICE,
    WELL,
    Evidence,
    random_stream,
)
from hpiclock.audit.clocks import onset_shift_table
from hpiclock.audit.controls import nuisance_table
from hpiclock.audit.leakage import with_split_and_well
from hpiclock.audit.verdict import CHECKS, verdict
from hpiclock.config.schema import AuditConfig, SplitConfig, StudyConfig
from hpiclock.plate.duplicates import Fields, burned_in_marks, downscaled, evenly_spaced, overlapping_fields
from hpiclock.plate.quality import KINDS, image_statistics
from hpiclock.plate.splits import split_wells
from hpiclock.simulate.design import Design, design, grid
from hpiclock.simulate.write import SimulatedStack, simulate_plate
from simulation import DOCS, PAGES, ROOT, command_line, in_pool, markdown, rate, write_files

ANY = "any row"
CLEAN = ("nothing", "signs of infection")  # nothing is planted that speaks against the model
GOOD = ("shown", "not seen")
HARD = ("t3 wells", "AR(1) frames", "size-dependent wells", "non-takes", "3 against 12")
ALL_KINDS = ("easy", *HARD)
LONG: dict[str, Any] = {"n_frames": 9, "interval_h": 6.0}
SHORT: dict[str, Any] = {"n_frames": 5, "interval_h": 12.0}
SPLIT = {"train": 0.42, "val": 0.08, "test": 0.5}


class Plant(NamedTuple):
    """A flaw, or what a claim rests on, at several strengths.

    rows: of the audit, that are to name it. strength: what the numbers are. false: strengths at which the
    ``reassuring`` verdicts are false (*not seen* is not, where it says what it would have found); fine: at
    which *contradicted* would be. change: fields of a hard plate, or of a simulated one, at a strength.
    plates: kinds of hard plates; of pictures, that of the design.
    """

    rows: tuple[str, ...]
    strength: str
    strengths: tuple[float, ...]
    false: tuple[float, ...]
    fine: tuple[float, ...]
    change: Callable[[float], dict[str, Any]]
    plates: tuple[str, ...] = ALL_KINDS
    reassuring: tuple[str, ...] = GOOD


def _middle(share: float) -> dict[str, Any]:
    window = (16 * share, 48 - 18 * share)
    return {"clock": "middle", "clock_share": 1.0, "infected_h": window}


def _aliased(n: float) -> dict[str, Any]:
    return {"plates": ((int(n), 12 - int(n)), (12 - int(n), int(n)))}


PLANTS: dict[str, Plant] = {
    "signs of infection": Plant(
        (WELL,), "logits", (0, 1, 2, 4), (0,), (2, 4), lambda x: {"strength": x}
    ),
    "difference before the onset": Plant(
        (EARLY,), "AUC", (0.5, 0.6, 0.7, 0.8, 0.88), (0.6, 0.7, 0.8, 0.88), (0.5,),
        lambda x: {"early_auc": x}, reassuring=("shown",),
    ),
    "clock": Plant(
        (HOUR,), "share of the score", (0, 0.25, 0.5, 0.75, 1), (1,), (0,), lambda x: {"clock_share": x}
    ),
    "clock, infected in the middle hours": Plant(
        (HOUR,), "of 0–48 h to 16–30 h", (0, 0.5, 1), (0, 0.5, 1), (), _middle
    ),
    "infected wells imaged later": Plant(
        (HOUR,), "hours", (0, 4, 8, 14), (), (0,), lambda x: {"infected_h": (x, 48), "mock_h": (0, 48 - x)}
    ),
    "predicted time": Plant(
        (ELAPSED,), "slope", (0, 0.25, 0.5, 0.75, 1), (0, 0.25, 0.5), (1,), lambda x: {"slope": x}
    ),
    "model beyond frame statistics": Plant(
        (MORE,), "logits of noise in these", (0, 1, 2, 4), (0,), (1, 2, 4), lambda _: {}
    ),
    "layout by column": Plant(
        (PLACE,), "pairs of 24 swapped", (0, 1, 2, 4, 8), (0, 1, 2), (),
        lambda x: {"layout": "column", "swapped": int(x)}, ("easy",),
    ),
    "layout by parity of the column": Plant(
        (PLACE,), "pairs of 24 swapped", (0, 1, 2, 4, 8), (0, 1, 2), (),
        lambda x: {"layout": "parity", "swapped": int(x)}, ("easy",),
    ),
    "two plates": Plant(
        (PLATE,), "infected of 12 on the first", (6, 7, 8, 9, 10, 12), (9, 10, 12), (6,), _aliased, ("easy",)
    ),
}  # fmt: skip
PICTURES: dict[str, Plant] = {
    "nothing": Plant((), "", (0,), (), (0,), lambda _: LONG, ("one plate", "two plates")),
    "brighter infected wells": Plant(
        (LIGHT,), "grey levels", (0, 0.5, 1, 3), (3,), (0,),
        lambda x: {"plant": {"well_tint": x}}, ("one plate",),
    ),
    "blurred infected wells": Plant(
        (FOCUS,), "px", (0, 0.05, 0.1, 0.4), (0.4,), (0,),
        lambda x: {"plant": {"well_blur_px": x}}, ("one plate",),
    ),
    "mark on the border": Plant(
        (BORDER, MARK), "0 or 1", (0, 1), (1,), (0,),
        lambda x: {"plant": {"border_mark": bool(x)}}, ("one plate",),
    ),
    "wells that show another's place": Plant(
        (TWICE,), "share of the field", (0, 0.25, 0.5, 1), (0.25, 0.5, 1), (0,),
        lambda x: {"plant": {"twin_wells": 4, "twin_overlap": x} if x else {}}, ("one plate",),
    ),
}  # fmt: skip
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


def of_predictions(plant: Plant, kind: str, strength: float, seed: int) -> Evidence:
    """Return what the audit reads of a hard plate: its predictions."""
    rng = np.random.default_rng(seed)
    rows = predictions(GENERATORS[kind]._replace(**plant.change(strength)), rng)
    evidence = Evidence(rows, predictions=rows, audit=AUDIT, seed=seed)
    if MORE in plant.rows:
        score = logit(rows["p_infected"]) + strength * rng.normal(size=len(rows))
        evidence.plain_scores = rows.assign(score=score)[["stack_id", "frame", "score"]]
    return evidence


def of_pictures(plant: Plant, kind: str, strength: float, seed: int) -> Evidence:
    """Return what the audit reads of a small simulated plate of 12 infected and 12 mock wells, or of two."""
    small = grid(6, (0.0, 2.0, 0.0, 2.0)) if kind == "one plate" else grid(3, (0.0, 2.0, 0.0, 2.0))
    changes = {"wells": small, "shuffled": True, "microscope": {"positions": 1}} | SHORT
    plate = design("audit", **(changes | plant.change(strength)))
    # each plate has its own seed
    numbers = range(1 if kind == "one plate" else 2)
    drawn = [tables(numbered(plate, number), seed + 1_000_000 * number) for number in numbers]
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
        nuisance=nuisance_table(
            frames, statistics, KINDS, shuffles=AUDIT.shuffles, level=study.level, rng=rng
        ),
        pairs=with_split_and_well(pairs, frames),
        compared=compared,
        marks=burned_in_marks(fields, first),
        study=study,
        audit=AUDIT,
        seed=seed,
    )
    if not plant.rows:
        evidence.predictions = predict(frames, features)
        test = evidence.predictions[evidence.predictions["split"].eq("test")]
        evidence.onset = onset_shift_table(test, study=study, audit=AUDIT)
    return evidence


def one(name: str, kind: str, strength: float, seed: int) -> pd.DataFrame:
    """Return ``flaw plate strength seed row verdict effect``: of the rows that are to name it.

    Where nothing is planted every row is asked, and ``any row`` is ``contradicted``, or nothing.
    """
    plant = PLANTS.get(name) or PICTURES[name]
    evidence = (of_predictions if name in PLANTS else of_pictures)(plant, kind, strength, seed)
    asked = CHECKS if name in CLEAN else [check for check in CHECKS if check.question in plant.rows]
    found = verdict(evidence, asked).set_index("question")
    rows = [(row, found.loc[row, "verdict"], found.loc[row, "effect"]) for row in plant.rows]
    if name in CLEAN:
        rows.append((ANY, "contradicted" if found["verdict"].eq("contradicted").any() else "", np.nan))
    table = pd.DataFrame(rows, columns=["row", "verdict", "effect"])
    return table.assign(flaw=name, plate=kind, strength=strength, seed=seed)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the share of seeds of each verdict, by flaw, plate, strength and row.

    Columns: ``flaw plate strength row``, one per verdict, ``effect`` (the mean), ``seeds``.
    """
    grouped = rows.groupby(["flaw", "plate", "strength", "row"], sort=False)
    shares = pd.DataFrame(
        {answer: grouped["verdict"].agg(lambda v, a=answer: v.eq(a).mean()) for answer in ANSWERS}
    )
    return (
        shares.assign(effect=grouped["effect"].mean(), seeds=grouped["seed"].nunique()).reset_index().round(4)
    )


def with_wrong(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ``wrong low high``: the share of seeds whose verdict is wrong there, if one is.

    Reassuring verdicts are where they would be false, *contradicted* is where nothing speaks against it.
    """
    wrong = []
    for cell in table.to_dict("records"):
        plant = (PLANTS | PICTURES)[cell["flaw"]]
        false = cell["row"] != ANY and cell["strength"] in plant.false
        verdicts = plant.reassuring if false else ("contradicted",) if cell["strength"] in plant.fine else ()
        hits = round(cell["seeds"] * sum(cell.get(verdict, 0) for verdict in verdicts))
        wrong.append(rate(hits, cell["seeds"]) if verdicts else (np.nan,) * 3)
    return table.assign(**dict(zip(("wrong", "low", "high"), np.transpose(wrong).round(4), strict=True)))


def page(table: pd.DataFrame, before: str) -> str:
    """Return the page with the curves and the worst cells between its two marks."""
    shown = [answer for answer in ANSWERS if answer != "not tested"]

    def rows(part: pd.DataFrame, *columns: str) -> list[list[str]]:
        texts = part.assign(strength=[f"{x:g}" for x in part["strength"]])
        for name in (*shown, "wrong", "low", "high"):
            texts[name] = ["" if np.isnan(x) else f"{x:.0%}" for x in part[name]]
        texts["interval"] = texts["low"] + " to " + texts["high"]
        return texts[list(columns)].to_numpy().tolist()

    nothing = table["row"].eq(ANY) & table["flaw"].isin(CLEAN)
    clean = table[nothing & table["wrong"].notna()]
    clean = clean.sort_values("strength").drop_duplicates(["flaw", "plate"], keep="last")
    curves = table[table["row"].ne(ANY) & table["plate"].isin(["easy", "one plate"])]
    unit = {name: f"{name}, {plant.strength}" for name, plant in (PLANTS | PICTURES).items()}
    judged = table[table["row"].ne(ANY) & table["wrong"].notna()]
    worst = judged.sort_values("wrong", ascending=False).head(12)
    columns = ("plate", "wrong", "interval", "seeds")
    named = [part.assign(flaw=part["flaw"].map(unit)) for part in (curves, worst)]
    head = ["row", "planted", "at"]
    text = "\n\n".join(
        [
            "Nothing planted, any row *contradicted*:",
            markdown(["plate", "share of seeds", "95% interval", "seeds"], rows(clean, *columns)),
            "Share of seeds by verdict:",
            markdown([*head, *shown, "seeds"], rows(named[0], "row", "flaw", "strength", *shown, "seeds")),
            "The worst cells of all plates: a reassuring answer where it is false, *contradicted* where "
            "nothing speaks against it:",
            markdown(
                [*head, "plate", "share of seeds", "95% interval", "seeds"],
                rows(named[1], "row", "flaw", "strength", *columns),
            ),
        ]
    )
    begin, end = "<!-- rates -->\n", "<!-- /rates -->"
    first, _, rest = before.partition(begin)
    return first + begin + text + "\n" + end + rest.partition(end)[2]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=Path, default=ROOT / "cache" / "audit_power_rows.csv")
    options = parser.parse_args()
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    key = ["flaw", "plate", "strength", "seed"]
    rows = pd.read_csv(options.rows) if options.rows.is_file() else pd.DataFrame(columns=key)
    done = set(rows[key].itertuples(index=False, name=None))
    jobs = [
        (name, kind, strength, seed)
        for seed in range(options.seeds)
        for name, plant in (PLANTS | PICTURES).items()
        for kind in plant.plates
        for strength in plant.strengths
    ]
    for found in in_pool(one, [job for job in jobs if job not in done], options.workers):
        found.to_csv(options.rows, mode="a", header=not options.rows.is_file(), index=False)
    rows = pd.read_csv(options.rows, keep_default_na=False, na_values={"effect": [""]})
    rows = rows[rows["row"].ne(ANY) | rows["flaw"].isin(CLEAN)]
    table = with_wrong(summary(rows[rows["seed"] < options.seeds]))
    before = (ROOT / DOCS / "audit.md").read_text(encoding="utf-8")
    write_files(
        {
            options.out / PAGES / "audit_power.csv": table.to_csv(index=False),
            options.out / DOCS / "audit.md": page(table, before),
        }
    )


if __name__ == "__main__":
    main()
