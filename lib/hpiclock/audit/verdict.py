"""The verdict: what a plate and a model can and cannot show, one row per question.

Everything here works on tables, so it can be redone without images. A check is one entry of :data:`CHECKS`
and one function that returns an :class:`hpiclock.audit.Answer`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock import audit
from hpiclock.audit import Answer, Evidence, baselines, clocks, controls, design, leakage
from hpiclock.audit.design import Plate, wells_of

COLUMNS = ["question", "kind", "verdict", "effect", "low", "high", "evidence", "remedy"]
NOTHING = Answer("not tested", "nothing to test it with")


class Check(NamedTuple):
    """A question and what answers it.

    judge: what the evidence says; needs: attributes of the evidence that must not be None for it;
    design: what the design of the plate alone decides, None where it leaves the answer open; kind: what the
    answer comes from.
    """

    question: str
    judge: Callable[[Evidence], Answer] | None = None
    needs: tuple[str, ...] = ()
    design: Callable[[Plate], Answer | None] | None = None
    kind: audit.Kind = "inference"


CHECKS = (
    Check(audit.WELL, controls.judge_well, ("test",), design.wells_of_design),
    Check(audit.EARLY, controls.judge_early, ("test",)),
    Check(audit.HOUR, clocks.judge_hour, ("test",), design.hours_of_design),
    Check(audit.CLOCKS, design=design.clocks_of_design, kind="design"),
    Check(audit.ELAPSED, clocks.judge_elapsed, ("held_out",), design.elapsed_of_design),
    Check(audit.UNSEEN, leakage.judge_shared_wells, ("split",), kind="file check"),
    Check(audit.TWICE, leakage.judge_duplicates, ("pairs",), kind="file check"),
    Check(audit.LIGHT, partial(controls.judge_nuisance, question=audit.LIGHT), ("nuisance",)),
    Check(audit.FOCUS, partial(controls.judge_nuisance, question=audit.FOCUS), ("nuisance",)),
    Check(audit.BORDER, partial(controls.judge_nuisance, question=audit.BORDER), ("nuisance",)),
    Check(audit.MARK, leakage.judge_marks, ("marks",), kind="file check"),
    Check(audit.PLATE, design=design.plates_of_design, kind="design"),
    Check(audit.PLACE, design=design.place_of_design, kind="design"),
    Check(audit.MORE, baselines.judge_beyond_statistics, ("test", "plain_scores")),
    Check(audit.ONSET, clocks.judge_onset, ("test", "onset")),
)
QUESTIONS = tuple(check.question for check in CHECKS)


def verdict(evidence: Evidence) -> pd.DataFrame:
    """Return ``question kind verdict effect low high evidence remedy``, a row per entry of :data:`CHECKS`.

    Where the design forbids an answer, the model's numbers cannot bring it back: those rows keep the
    design's verdict, with what the model does as evidence. A check without its evidence is ``not tested``.
    """
    by_design, rows = _by_design(evidence.frames), {}
    for check in CHECKS:
        planned, found = by_design.get(check.question), None
        if check.judge and all(getattr(evidence, name) is not None for name in check.needs):
            found = check.judge(evidence)
        if planned and found:
            effect = found[3:] if np.isnan(planned.effect) else planned[3:]
            words = f"{planned.evidence}; {found.evidence}"
            planned = Answer(planned.verdict, words, planned.remedy, *effect)
        rows[check.question] = planned or found or NOTHING
    return _table(rows)


def design_verdict(frames: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the verdict that the design alone decides, whatever model is trained.

    Args:
        frames: every frame of a plate: identity, ``hours``, ``hpi``.
    """
    return _table(_by_design(frames))


def _by_design(frames: pd.DataFrame) -> dict[str, Answer]:
    plate = Plate(frames, wells_of(frames))
    found = {check.question: check.design(plate) for check in CHECKS if check.design}
    return {question: answer for question, answer in found.items() if answer is not None}


def _table(answers: dict[str, Answer]) -> pd.DataFrame:
    kinds = {check.question: check.kind for check in CHECKS}
    rows = [answer._asdict() | {"question": name, "kind": kinds[name]} for name, answer in answers.items()]
    return pd.DataFrame(rows, columns=COLUMNS)
