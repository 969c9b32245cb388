"""The questions of the audit, what a check reads (:class:`Evidence`) and what it answers (:class:`Answer`).

The checks themselves stand in one table, :data:`hpiclock.audit.verdict.CHECKS`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.allocation import COLUMNS as ALLOCATION
from hpiclock.allocation import given_to
from hpiclock.analysis.units import condition_codes
from hpiclock.config.schema import AuditConfig, CompareConfig, StudyConfig

Verdict = Literal["shown", "not seen", "contradicted", "cannot tell", "not identifiable", "not tested"]
ANSWERS: dict[Verdict, str] = {
    "shown": "the hypothesis that would be bad news was rejected; the evidence names the test",
    "not seen": "looked for and not found; the evidence says how large it must be to be found at this design",
    "contradicted": "the evidence speaks against it",
    "cannot tell": "too few wells for an answer; about how many would tell stands beside it",
    "not identifiable": "this layout cannot tell, whatever the score and the number of frames",
    "not tested": "nothing to test it with, and why",
}
FINE: tuple[Verdict, ...] = ("shown", "not seen")
OPEN: tuple[Verdict, ...] = ("cannot tell", "not identifiable")
Kind = Literal["inference", "design", "file check"]  # what a question is answered from
Part = Any  # a table, or None: then no check that needs it is made
OUTDATED = "Audited by an older version, whose words meant something else: audit again (hpiclock audit)."

WELL = "Infection or well?"
PLATE = "Infection or plate?"
PLACE = "Infection or place on the plate?"
HOUR = "Infection or hour?"
LIGHT = "Infection or brightness?"
FOCUS = "Infection or focus?"
BORDER = "Infection or border?"
MARK = "Infection or burned-in mark?"
UNSEEN = "Unseen wells in the test?"
TWICE = "The same picture twice?"
SETTINGS = "Infection or acquisition settings?"
EMPTY = "Infection or empty frames?"
EARLY = "Early signal or shortcut?"
MORE = "More than frame statistics?"
CELLS = "Cells or background?"
STEADY = "Do controls keep their score over time?"
OTHER_LIGHT = "The same answer under other light?"
CLOCKS = "Can the two clocks be told apart?"
ELAPSED = "Time since infection or elapsed time?"
ONSET = "The same with another onset?"
# what each question looks for, as notes and answers name it
PROBLEMS = {
    WELL: "well-to-well differences",
    PLATE: "plate effects",
    PLACE: "place on the plate",
    HOUR: "hour",
    LIGHT: "brightness",
    FOCUS: "focus",
    BORDER: "image border",
    MARK: "burned-in marks",
    UNSEEN: "training wells in the test",
    TWICE: "duplicate fields",
    SETTINGS: "acquisition settings",
    EMPTY: "empty frames",
    EARLY: "early signal",
    MORE: "frame statistics alone",
    CELLS: "background alone",
    STEADY: "mock drift",
    OTHER_LIGHT: "answers changing with light",
    CLOCKS: "one clock for all wells",
    ELAPSED: "elapsed time",
    ONSET: "stated onset",
}
# what a model is used for: the questions that must be shown for it, and those that may not speak against it
USES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "infected or mock": (
        (WELL, HOUR),
        (EARLY, CELLS, PLATE, PLACE, LIGHT, FOCUS, BORDER, MARK, UNSEEN, TWICE, SETTINGS, EMPTY),
    ),
    "time since infection": ((ELAPSED,), (CLOCKS,)),
}
# what a verdict says of the problem that its question looks for, what is found first
VERDICT_WORDS: dict[str, str] = {
    "contradicted": "Found",
    "cannot tell": "Not ruled out",
    "not identifiable": "Not ruled out",
    "shown": "Not explained by",
    "not seen": "Not seen",
    "not tested": "Not tested",
}
STATISTIC_KINDS = {LIGHT: ("light",), FOCUS: ("focus", "contrast"), BORDER: ("border",)}

PLAIN = "frame statistics"
BACKGROUND = ("border only", "background only")  # shortcuts without cells
LIGHT_CHANGES = ("brighter", "darker", "less contrast", "vignette")
LITTLE_P = 0.1  # a change of P(infected) up to this does not matter
LITTLE_AUC = 0.02  # nor does a gain of an AUC up to this
BEFORE = "image at 0 hpi or earlier: frames before the onset must look alike in both classes"
MORE_WELLS = "more wells per class, infected and mock"
THREE_WELLS = f"at least 3 wells per class; {BEFORE}"
ONE_HOUR = "all frames are of one hour"
NAME_WELLS = "name the wells in the plate map or the manifest"


class Answer(NamedTuple):
    """One answer. ``effect`` with ``low`` and ``high`` is a ``measure``, by default that of its question."""

    verdict: Verdict
    evidence: str
    remedy: str = ""
    effect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    measure: str = ""


@dataclass
class Evidence:
    """What the checks read; all but ``frames`` may be missing, and a check without its evidence is not made.

    Args:
        frames: every frame of the plate (identity, ``hours``, ``hpi``; ``split`` after a split, missing where
            a frame is not used).
        predictions: a PREDICTIONS table.
        nuisance: of :func:`hpiclock.audit.controls.nuisance_table`.
        pairs: stacks that show the same place, of :func:`hpiclock.audit.leakage.with_split_and_well`.
        compared: how many pairs of stacks were compared for ``pairs``.
        marks: ``condition pixels note``, constant pixels per condition.
        onset: of :func:`hpiclock.audit.clocks.onset_shift_table`.
        plain_scores: ``stack_id frame score`` (and ``time``, predicted hours) of test frames by a linear
            model of plain frame statistics.
        background_scores: the same with a ``source``, of linear models without cells (:data:`BACKGROUND`).
        over_time: of :func:`hpiclock.audit.clocks.score_over_time`.
        changes: of :func:`hpiclock.audit.baselines.perturbation_effects`.
        study: ``level`` and ``eclipse_h`` are used.
        audit: all of it.
        margin_h: a change of a predicted time up to this does not matter, hours.
        seed: of all permutations.
    """

    frames: pd.DataFrame
    predictions: Part = None
    nuisance: Part = None
    pairs: Part = None
    compared: int = 0
    marks: Part = None
    onset: Part = None
    plain_scores: Part = None
    background_scores: Part = None
    over_time: Part = None
    changes: Part = None
    study: StudyConfig = field(default_factory=StudyConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    margin_h: float = CompareConfig().margin_h
    seed: int = 0
    comparisons: dict[str, Any] = field(
        default_factory=dict, init=False, repr=False
    )  # of controls, made once

    def __post_init__(self) -> None:
        """Carry the allocation, stated or inferred from all wells, to the predictions, which are a part."""
        if not {"plate", "well", "condition", "stack_id"} <= set(self.frames.columns):
            return
        self.frames = self.frames.assign(allocation=given_to(self.frames))
        if self.predictions is not None:
            first = self.frames.drop_duplicates("stack_id").set_index("stack_id")
            for name in set(ALLOCATION) & set(first.columns):
                self.predictions = self.predictions.assign(
                    **{name: self.predictions["stack_id"].map(first[name]).fillna("")}
                )

    @cached_property
    def held_out(self) -> Part:
        """Predictions outside training; None unless they are of several hours."""
        if self.predictions is None:
            return None
        rows = self.predictions[self.predictions["split"].ne("train")]
        return rows if rows["hours"].min() < rows["hours"].max() else None

    @cached_property
    def test(self) -> Part:
        """Test predictions with a P(infected); None unless they are of both conditions."""
        if self.predictions is None:
            return None
        rows = self.predictions[self.predictions["split"].eq("test") & self.predictions["p_infected"].notna()]
        return rows if len(np.unique(condition_codes(rows))) == 2 else None

    @cached_property
    def split(self) -> Part:
        """Frames that a split uses; None before a split."""
        return self.frames[self.frames["split"].notna()] if "split" in self.frames else None


def random_stream(seed: int, use: Literal["statistics", "wells", "onsets"]) -> np.random.Generator:
    """Return the random stream of one kind of permutation, from its beginning.

    Each kind has its own, so that a test that is made again alone gives the same p.
    """
    uses = ("statistics", "wells", "onsets")
    return np.random.default_rng(seed).spawn(len(uses))[uses.index(use)]


def beyond(low: float, high: float, *, margin: float) -> bool | None:
    """Whether a whole interval lies beyond +- margin (True) or within (False); None where neither holds."""
    if -margin <= low and high <= margin:
        return False
    return True if low > margin or high < -margin else None


def one_unit(unit: str) -> str:
    """Return the clause on a class that has one unit of what treatments were given to."""
    unit = "well" if unit == "position" else unit
    return f"; with one {unit} in a class this is a difference between {unit}s"


def summary_line(verdict: pd.DataFrame, *, opening: str) -> str:
    """Return a line after the opening: what was found, what cannot be told, and counts of the rest."""
    if not is_current(verdict):
        return f"{opening} {OUTDATED}"
    parts = []
    for words, answers in (("found", ("contradicted",)), ("not ruled out", OPEN)):
        if (mine := verdict["verdict"].isin(answers)).any():
            parts.append(f"{words}: {', '.join(verdict.loc[mine, 'question'].map(PROBLEMS))}")
    every = (*parts, counts_text(verdict))
    return " ".join([opening, *(f"{part[:1].upper()}{part[1:]}." for part in every if part)])


def counts_text(verdict: pd.DataFrame) -> str:
    """Return ``shown: 3; not seen: 4; file checks passed: 3 of 3``: files are read, the rest is inferred."""
    checked, answers = verdict["kind"].eq("file check"), verdict["verdict"]
    parts = [f"{answer}: {n}" for answer in FINE if (n := int(answers[~checked].eq(answer).sum()))]
    if checked.any():
        parts.append(f"file checks passed: {answers[checked].isin(FINE).sum()} of {checked.sum()}")
    if n := int(answers.eq("not tested").sum()):
        parts.append(f"not tested: {n}")
    return "; ".join(parts)


def is_current(verdict: pd.DataFrame) -> bool:
    """Whether the answers of a table are those of this version."""
    return "kind" in verdict and bool(verdict["verdict"].isin(ANSWERS).all())
