"""Simulated predictions with a known truth, for the tests, the benchmarks and trying out the study.

Not a plate and not a model: only the table that a model would leave, with what makes its statistics hard:
wells and stacks that differ, frames that follow one another, and signs that come only after an eclipse.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from hpiclock.tables import PREDICTIONS, check
from hpiclock.targets import hpi
from hpiclock.wells import well_name

Rng = np.random.Generator
MOIS = (0.1, 1.0, 5.0)
FIXED = {"path": "", "fold": 0, "run": "simulated", "seed": 0}


class Simulation(NamedTuple):
    """A design and the sizes of what frames of one well share (logit units and hours)."""

    wells: int = 8  # per class and split
    stacks: int = 2  # per well
    plates: int = 1
    hours: float = 48.0
    interval_h: float = 1.0
    onset_h: tuple[float, float] = (1.0, 7.0)  # drawn evenly per infected well
    strength: float = 6.0  # logits between mock and full signs
    eclipse_h: float = 6.0
    rise_h: float = 5.0
    well_sd: float = 1.0
    stack_sd: float = 0.7
    frame_sd: float = 1.2
    time_sd_h: float = 1.5
    well_time_sd_h: float = 1.0


def simulate_predictions(
    design: Simulation, *, rng: Rng, splits: tuple[str, ...] = ("val", "test")
) -> pd.DataFrame:
    """Return a PREDICTIONS table: ``wells`` infected and ``wells`` mock wells in each split."""
    wells = itertools.product(splits, ("infected", "mock"), range(design.wells))
    parts = [_well(design, split, kind, number, rng) for number, (split, kind, _) in enumerate(wells)]
    return check(PREDICTIONS, pd.concat(parts, ignore_index=True))


def _well(design: Simulation, split: str, condition: str, number: int, rng: Rng) -> pd.DataFrame:
    infected = condition == "infected"
    onset = float(np.round(rng.uniform(*design.onset_h), 2)) if infected else np.nan
    moi = MOIS[number % len(MOIS)] if infected else np.nan
    well_logit, well_time = rng.normal(0, design.well_sd), rng.normal(0, design.well_time_sd_h)
    hours = np.arange(0, design.hours + 1e-9, design.interval_h)
    plate, well = f"P{number % design.plates + 1}", well_name(number // 12 % 8, number % 12)
    well = f"{well}{'' if number < 96 else number // 96}"
    of_well = {"plate": plate, "well": well, "condition": condition, "moi": moi, "onset_h": onset}
    of_well |= {
        "split": split,
        "allocation": "well",
        "clock": "infection" if infected else "experiment",
        "hours": hours,
    }
    stacks = []
    for position in range(design.stacks):
        since = hpi(hours, onset) if infected else hours
        signs = expit((since - design.eclipse_h - design.rise_h) / (design.rise_h / 2)) if infected else 0
        stack_logit = well_logit + rng.normal(0, design.stack_sd)
        noise = rng.normal(0, design.frame_sd, len(hours))
        logit = design.strength * (np.asarray(signs) - 0.5) + stack_logit + noise
        time_pred = since + well_time + rng.normal(0, design.time_sd_h, len(hours))
        name = {"stack_id": f"{plate}_{well}_p{position + 1}", "position": str(position + 1)}
        scores = {"time_target": since, "p_infected": expit(logit), "time_pred": time_pred}
        stacks.append(pd.DataFrame(of_well | FIXED | name | {"frame": np.arange(len(hours))} | scores))
    rows = pd.concat(stacks, ignore_index=True)
    rows["hpi"] = hpi(rows["hours"], rows["onset_h"])
    before = rows["hpi"].lt(0)  # as under `before_onset: drop`: predicted, never scored
    rows["label"] = pd.Series(int(infected), index=rows.index, dtype="Int8").mask(before)
    rows["time_target"] = rows["time_target"].mask(before)
    return rows
