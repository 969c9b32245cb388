"""Several runs of one experiment as one answer: the mean, its spread, and the threshold that goes with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from hpiclock.report.runs import Run
from hpiclock.report.studies import read_study
from hpiclock.study.calibration import CLIP

if TYPE_CHECKING:
    from hpiclock.clock.experiment import Machine
    from hpiclock.clock.likeness import Reference

DECISION = "decision"


@dataclass(frozen=True)
class Member:
    """A run that is asked, its model, and what its training frames look like to it."""

    run: Run
    machine: Machine
    reference: Reference | None

    @cached_property
    def key(self) -> str:
        """Changes with the weights and with what distances are measured against."""
        digest = hashlib.sha256(self.run.path("checkpoints", "best.pt").read_bytes())
        digest.update(b"" if self.reference is None else self.reference.held_out.tobytes())
        return digest.hexdigest()

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """The rules by which the run's study calls a frame infected, and their thresholds."""
        rules = read_study(self.run.folder)["detection_thresholds"]
        return {str(row.rule): float(row.threshold) for row in rules.itertuples() if pd.notna(row.threshold)}

    @cached_property
    def temperature(self) -> float:
        """The temperature that calibrates the run's P(infected); NaN where none could be fitted."""
        table = read_study(self.run.folder)["temperature"]
        return float(table["temperature"].iloc[0]) if len(table) else float("nan")


class Ensemble(NamedTuple):
    """Prediction rows, thresholds by rule, notes, and how many held-out stacks and wells stand behind."""

    rows: pd.DataFrame
    thresholds: dict[str, float]
    notes: list[str]
    held_out: tuple[int, int]


def combined(members: list[Member], frames: pd.DataFrame, said: list[pd.DataFrame]) -> Ensemble:
    """Return the members' answers as one table, with columns beyond PREDICTIONS.

    ``p_calibrated``: P(infected) under the temperature of each run (missing where a run has none);
    ``called``: 1 where P(infected) reaches the threshold; ``distance`` to the training frames; with several
    members ``p_infected_sd`` and ``time_pred_sd``, their standard deviation over members.

    Args:
        members: the runs.
        frames: FRAMES rows of the plate.
        said: from each member ``p_infected time_pred distance``, a row per frame.
    """
    from hpiclock.clock.asking import timed_only

    notes: list[str] = []
    names = [member.run.name for member in members]
    rules = set.intersection(*(set(member.thresholds) for member in members))
    thresholds = {rule: float(np.mean([m.thresholds[rule] for m in members])) for rule in sorted(rules)}
    p = np.stack([answers["p_infected"].to_numpy(float) for answers in said])
    hours = np.stack(
        [
            timed_only(answers, member.run.cfg.model, threshold=member.thresholds.get(DECISION, 0.5))
            for answers, member in zip(said, members, strict=True)
        ]
    )
    temperatures = np.array([member.temperature for member in members])
    distance = np.stack([answers["distance"].to_numpy(float) for answers in said])
    known = [member.reference for member in members if member.reference is not None]
    rows = frames.reset_index(drop=True).assign(
        run=names[0], seed=members[0].run.cfg.seed, p_infected=p.mean(0), time_pred=_mean(hours),
        p_calibrated=expit(logit(np.clip(p, CLIP, 1 - CLIP)) / temperatures[:, None]).mean(0),
        distance=_mean(distance),
    )  # fmt: skip
    rows["called"] = (
        (rows["p_infected"] >= thresholds[DECISION]).astype("Int8").mask(rows["p_infected"].isna())
    )
    if len(members) > 1:
        rows = rows.assign(
            run=f"mean of {len(members)} runs", seed=0,
            p_infected_sd=p.std(0, ddof=1), time_pred_sd=hours.std(0, ddof=1),
        )  # fmt: skip
        notes.append(
            f"Mean of {len(members)} runs ({', '.join(names)}); the threshold is the mean of theirs "
            f"({', '.join(f'{m.thresholds[DECISION]:.3f}' for m in members)})."
        )
    if not np.isfinite(temperatures).all():
        notes.append("A run has no temperature, so P(infected) is as the model gives it, not calibrated.")
    held_out = min(((len(one.held_out), one.n_wells) for one in known), default=(0, 0))
    return Ensemble(rows, thresholds, notes, held_out)


def _mean(values: np.ndarray) -> np.ndarray:
    there = np.isfinite(values)
    total = np.where(there, values, 0.0).sum(0)
    return np.where(there.any(0), total / np.maximum(there.sum(0), 1), np.nan)
