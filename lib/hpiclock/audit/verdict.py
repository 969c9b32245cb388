"""The verdict: what a plate and a model can and cannot show, one row per question.

Everything here works on tables, so it can be redone without images. Rows that nothing was given for say
``not tested``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.analysis.units import condition_codes
from hpiclock.audit import AuditRow, verdict_table
from hpiclock.audit.baselines import judge_beyond_statistics
from hpiclock.audit.clocks import judge_elapsed, judge_hour, judge_onset, onset_table
from hpiclock.audit.controls import judge_early, judge_nuisance, judge_well, nuisance_table
from hpiclock.audit.design import judge_design
from hpiclock.audit.leakage import judge_duplicates, judge_marks, judge_shared_wells, with_sides
from hpiclock.config.schema import AuditConfig, StudyConfig


@dataclass
class Evidence:
    """What the verdict rests on; all but ``frames`` may be missing.

    frames: every frame of the plate (identity, ``hours``, ``hpi``; ``split`` after a split, missing where a
    frame is not used). statistics: ``stack_id frame`` and statistics of raw frames. kinds: kind -> names
    of statistics. pairs: ``a b overlap correlation`` of stacks that show the same place, with how many pairs
    were compared. marks: constant pixels per condition. predictions: a PREDICTIONS table. baselines: of
    :func:`hpiclock.audit.baselines.shortcut_baselines`, with the source that stands for plain statistics.
    """

    frames: pd.DataFrame
    statistics: pd.DataFrame | None = None
    kinds: Mapping[str, Sequence[str]] | None = None
    pairs: pd.DataFrame | None = None
    compared: int = 0
    marks: pd.DataFrame | None = None
    predictions: pd.DataFrame | None = None
    baselines: pd.DataFrame | None = None
    plain_source: str = ""


class Draws(NamedTuple):
    """Random streams: of the tests of plain statistics, of P(infected) over wells, of onsets."""

    statistics: np.random.Generator
    wells: np.random.Generator
    onsets: np.random.Generator


def verdict(
    evidence: Evidence, *, study: StudyConfig, audit: AuditConfig, rng: np.random.Generator
) -> pd.DataFrame:
    """Return ``question verdict effect low high evidence remedy``, a row per question.

    Where the design forbids an answer, the model's numbers cannot bring it back: those rows keep the
    design's verdict, with what the model does as evidence.
    """
    draw = generators(rng)
    design = {row.question: row for row in judge_design(evidence.frames)}
    rows = {row.question: row for row in _of_images(evidence, study, audit, draw.statistics)}
    for row in _of_predictions(evidence, study, audit, draw):
        rows[row.question] = row
    for name, row in design.items():
        rows[name] = _joined(row, rows.get(name))
    return verdict_table(list(rows.values()))


def generators(rng: np.random.Generator) -> Draws:
    """Return a random stream for each kind of test, so that a test drawn again alone gives the same p."""
    return Draws(*rng.spawn(len(Draws._fields)))


def _of_images(
    evidence: Evidence, study: StudyConfig, audit: AuditConfig, rng: np.random.Generator
) -> list[AuditRow]:
    rows = []
    frames = evidence.frames
    if evidence.statistics is not None and evidence.kinds is not None:
        table = nuisance_table(
            frames, evidence.statistics, evidence.kinds, audit=audit, level=study.level, rng=rng
        )
        rows += judge_nuisance(table, audit=audit, hours=frames["hours"].nunique())
    if evidence.pairs is not None:
        rows.append(judge_duplicates(with_sides(evidence.pairs, frames), compared=evidence.compared))
    if evidence.marks is not None:
        rows.append(judge_marks(evidence.marks))
    if "split" in frames.columns:
        rows.append(judge_shared_wells(frames[frames["split"].notna()]))
    return rows


def _of_predictions(
    evidence: Evidence, study: StudyConfig, audit: AuditConfig, draw: Draws
) -> list[AuditRow]:
    said = evidence.predictions
    if said is None:
        return []
    held_out = said[said["split"].ne("train")]
    test = held_out[held_out["split"].eq("test")]
    rows = []
    if test["p_infected"].notna().any() and len(np.unique(condition_codes(test))) == 2:
        rows += [
            judge_well(test, study=study, audit=audit, rng=draw.wells),
            judge_early(test, study=study, audit=audit, rng=draw.wells),
            judge_hour(test, study=study),
            judge_onset(onset_table(test, study=study, audit=audit)),
        ]
        if evidence.baselines is not None:
            plain = evidence.plain_source
            rows.append(judge_beyond_statistics(test, evidence.baselines, source=plain, level=study.level))
    if held_out["hours"].min() < held_out["hours"].max():
        rows.append(judge_elapsed(held_out, audit=audit, level=study.level, rng=draw.onsets))
    return rows


def _joined(design: AuditRow, found: AuditRow | None) -> AuditRow:
    if found is None:
        return design
    words = f"{design.evidence}; {found.evidence}"
    effect = (design.effect, design.low, design.high)
    if np.isnan(design.effect):
        effect = (found.effect, found.low, found.high)
    return AuditRow(design.question, design.verdict, words, design.remedy, *effect)
