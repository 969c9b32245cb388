"""The verdict: what a plate and a model can and cannot show, one row per question.

Everything here works on tables, so it can be redone without images. A check is one entry of :data:`CHECKS`
and one function that returns an :class:`hpiclock.audit.Answer`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock import audit
from hpiclock.audit import Answer, Evidence, baselines, clocks, controls, design, leakage
from hpiclock.audit.design import Plate, wells_of

COLUMNS = ["question", "kind", "verdict", "measure", "effect", "low", "high", "evidence", "remedy"]
STUCK: audit.Verdict = "not identifiable"
SEVERITY = dict.fromkeys(audit.ANSWERS, 0) | {"cannot tell": 1, "contradicted": 2, STUCK: 3}
NOTHING = Answer("not tested", "nothing to test it with")


class Check(NamedTuple):
    """A question and what answers it.

    judge: what the evidence says; needs: attributes of the evidence that must not be None for it;
    design: what the design of the plate alone decides, None where it leaves the answer open; kind: what the
    answer comes from; measure: what its effect is, with its unit.
    """

    question: str
    judge: Callable[[Evidence], Answer] | None = None
    needs: tuple[str, ...] = ()
    design: Callable[[Plate], Answer | None] | None = None
    kind: audit.Kind = "inference"
    measure: str = "AUC"


CHECKS = (
    Check(audit.WELL, controls.judge_well, ("test",), design.wells_of_design),
    Check(audit.EARLY, controls.judge_early, ("test",)),
    Check(audit.HOUR, clocks.judge_hour, ("test",), design.hours_of_design),
    Check(audit.CLOCKS, design=design.clocks_of_design, kind="design", measure="onsets"),
    Check(audit.STEADY, clocks.judge_steady, ("over_time",), measure="change of P(infected)"),
    Check(
        audit.ELAPSED,
        clocks.judge_elapsed,
        ("held_out",),
        design.elapsed_of_design,
        measure="h of time per h of onset",
    ),
    Check(
        audit.UNSEEN,
        leakage.judge_shared_wells,
        ("split",),
        kind="file check",
        measure="share of test stacks",
    ),
    Check(audit.TWICE, leakage.judge_duplicates, ("pairs",), kind="file check", measure="pairs of stacks"),
    Check(audit.LIGHT, partial(controls.judge_nuisance, question=audit.LIGHT), ("nuisance",)),
    Check(audit.FOCUS, partial(controls.judge_nuisance, question=audit.FOCUS), ("nuisance",)),
    Check(audit.BORDER, partial(controls.judge_nuisance, question=audit.BORDER), ("nuisance",)),
    Check(audit.MARK, leakage.judge_marks, ("marks",), kind="file check", measure="pixels"),
    Check(audit.SETTINGS, design=design.settings_of_design, kind="file check", measure="settings"),
    Check(audit.EMPTY, design=design.empty_of_design, kind="file check", measure="empty frames"),
    Check(audit.PLATE, design=design.plates_of_design, kind="design"),
    Check(audit.PLACE, design=design.place_of_design, kind="design", measure="association, 0 to 1"),
    Check(audit.MORE, baselines.judge_beyond_statistics, ("test", "plain_scores"), measure="AUC gain"),
    Check(audit.CELLS, baselines.judge_cells, ("test", "background_scores"), measure="AUC gain"),
    Check(audit.OTHER_LIGHT, baselines.judge_other_light, ("changes",)),
    Check(audit.ONSET, clocks.judge_onset, ("test", "onset")),
)
QUESTIONS = tuple(check.question for check in CHECKS)


def verdict(evidence: Evidence, checks: Sequence[Check] | None = None) -> pd.DataFrame:
    """Return a row of :data:`COLUMNS` per check, all of :data:`CHECKS` by default.

    Where the design of all wells or of the test forbids an answer, the model's numbers cannot bring it back:
    those rows keep the design's verdict, with what the model does as evidence. A check without its evidence
    is ``not tested``.
    """
    rows: dict[str, Answer] = {}
    checks = CHECKS if checks is None else checks
    by_design = _by_design(evidence.frames, checks)
    for check in checks:
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
        frames: every frame of a plate: identity, ``hours``, ``hpi``, and ``split`` where there is one: then
            the test's own design decides, too.
    """
    return _table(_by_design(frames, CHECKS))


def _by_design(frames: pd.DataFrame, checks: Sequence[Check]) -> dict[str, Answer]:
    """Judge the design of all wells, and that of the test, which is what results are of."""
    found = _of_plate(frames, checks)
    tested = frames["split"].eq("test") if "split" in frames else np.zeros(len(frames), bool)
    if not tested.any() or tested.all():
        return found
    for question, answer in _of_plate(frames[tested], checks).items():
        whole = found.get(question)
        if question == audit.ELAPSED or SEVERITY[answer.verdict] <= (SEVERITY[whole.verdict] if whole else 0):
            continue
        # another split, or more test wells, would tell: unless nothing is left to compare
        worse = answer.verdict if answer.verdict == STUCK and question != audit.PLACE else "cannot tell"
        words = f"{whole.evidence}; in the test: " if whole else "in the test: "
        remedy = "more wells in the test, or another split.seed"
        found[question] = answer._replace(verdict=worse, evidence=words + answer.evidence, remedy=remedy)
    return found


def _of_plate(frames: pd.DataFrame, checks: Sequence[Check]) -> dict[str, Answer]:
    plate = Plate(frames, wells_of(frames))
    found = {check.question: check.design(plate) for check in checks if check.design}
    return {question: answer for question, answer in found.items() if answer is not None}


def _table(answers: dict[str, Answer]) -> pd.DataFrame:
    checks = {check.question: check for check in CHECKS}
    rows = [
        answer._asdict()
        | {"question": name, "kind": checks[name].kind, "measure": answer.measure or checks[name].measure}
        for name, answer in answers.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
