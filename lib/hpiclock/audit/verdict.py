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
from hpiclock.audit import Answer, Evidence
from hpiclock.audit.baselines import judge_beyond_statistics
from hpiclock.audit.clocks import judge_elapsed, judge_hour, judge_onset
from hpiclock.audit.controls import judge_early, judge_nuisance, judge_well
from hpiclock.audit.design import (
    Plate,
    clocks_of_design,
    elapsed_of_design,
    hours_of_design,
    place_of_design,
    plates_of_design,
    wells_of,
    wells_of_design,
)
from hpiclock.audit.leakage import judge_duplicates, judge_marks, judge_shared_wells

COLUMNS = ["question", "verdict", "effect", "low", "high", "evidence", "remedy"]
NOTHING = Answer("not tested", "nothing to test it with")


class Check(NamedTuple):
    """A question and what answers it.

    judge: what the evidence says; needs: attributes of the evidence that must not be None for it;
    design: what the design of the plate alone decides, None where it leaves the answer open.
    """

    question: str
    judge: Callable[[Evidence], Answer] | None = None
    needs: tuple[str, ...] = ()
    design: Callable[[Plate], Answer | None] | None = None


CHECKS = (
    Check(audit.WELL, judge_well, ("test",), wells_of_design),
    Check(audit.EARLY, judge_early, ("test",)),
    Check(audit.HOUR, judge_hour, ("test",), hours_of_design),
    Check(audit.CLOCKS, design=clocks_of_design),
    Check(audit.ELAPSED, judge_elapsed, ("held_out",), elapsed_of_design),
    Check(audit.UNSEEN, judge_shared_wells, ("split",)),
    Check(audit.TWICE, judge_duplicates, ("pairs",)),
    Check(audit.LIGHT, partial(judge_nuisance, question=audit.LIGHT), ("nuisance",)),
    Check(audit.FOCUS, partial(judge_nuisance, question=audit.FOCUS), ("nuisance",)),
    Check(audit.BORDER, partial(judge_nuisance, question=audit.BORDER), ("nuisance",)),
    Check(audit.MARK, judge_marks, ("marks",)),
    Check(audit.PLATE, design=plates_of_design),
    Check(audit.PLACE, design=place_of_design),
    Check(audit.MORE, judge_beyond_statistics, ("test", "plain_scores")),
    Check(audit.ONSET, judge_onset, ("test", "onset")),
)
QUESTIONS = tuple(check.question for check in CHECKS)


def verdict(evidence: Evidence) -> pd.DataFrame:
    """Return ``question verdict effect low high evidence remedy``, a row per entry of :data:`CHECKS`.

    Where the design forbids an answer, the model's numbers cannot bring it back: those rows keep the
    design's verdict, with what the model does as evidence. A check without its evidence is ``not tested``.
    """
    by_design, rows = _by_design(evidence.frames), {}
    for check in CHECKS:
        answer = by_design.get(check.question)
        if check.judge and all(getattr(evidence, name) is not None for name in check.needs):
            answer = _joined(answer, check.judge(evidence))
        rows[check.question] = answer or NOTHING
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


def _joined(design: Answer | None, found: Answer) -> Answer:
    if design is None:
        return found
    effect = found[3:] if np.isnan(design.effect) else design[3:]
    return Answer(design.verdict, f"{design.evidence}; {found.evidence}", design.remedy, *effect)


def _table(answers: dict[str, Answer]) -> pd.DataFrame:
    rows = [answer._asdict() | {"question": question} for question, answer in answers.items()]
    return pd.DataFrame(rows, columns=COLUMNS)
