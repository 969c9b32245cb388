"""Negative controls: where there is nothing to see, an honest score sees nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.analysis.acquisition_shift import STATISTIC_WORDS
from hpiclock.analysis.units import (
    BEFORE_FIRST_ONSET,
    PAST_LAST_ECLIPSE,
    condition_codes,
    frames_all_wells_share,
    label_codes,
    phase_frames,
    phase_masks,
    with_matched_controls,
)
from hpiclock.analysis.windows import in_window
from hpiclock.audit import BEFORE, BORDER, EARLY, FOCUS, KIND_OF, LIGHT, MORE_WELLS, WELL, AuditRow
from hpiclock.audit.design import few_wells
from hpiclock.audit.permutation import (
    centred,
    compare_classes,
    permutation_test,
    score_auc,
    unit_means,
    well_units,
)
from hpiclock.config.schema import AuditConfig, StudyConfig, WindowsConfig
from hpiclock.format import p_with_floor, short_interval
from hpiclock.tables import hour_strata

# Parts of the error rate of the audit: 0.29 of 5% lies just above 1/70, the smallest p of 4 against 4 wells,
# and 0.16 above 2/252, that of 5 against 5 on both sides. What is left is for rows that decide by size.
SHARES = {EARLY: 0.29, LIGHT: 0.16, FOCUS: 0.16, BORDER: 0.16}
WORTHLESS = 0.6  # an AUC that is surely below this is no signal
NOTHING_BEFORE = "no frame before the onset"
ONE_HOUR = "all frames are of one hour"


def judge_well(
    test: pd.DataFrame, *, study: StudyConfig, audit: AuditConfig, rng: np.random.Generator
) -> AuditRow:
    """Is the score above chance over wells? A permutation by well of P(infected) past the last eclipse.

    Args:
        test: test rows of a PREDICTIONS table.
        study: ``level`` and ``eclipse_h`` are used.
        audit: ``alpha`` and ``shuffles`` are used.
        rng: for the permutation.
    """
    rows, when = past_last_eclipse(test, eclipse_h=study.eclipse_h)
    found = compare_classes(rows, level=study.level, shuffles=audit.shuffles, rng=rng)
    auc, wells = found.auc, found.units.wells
    words = (
        f"AUC of the test at equal hours {when} {found.auc_words()} ({len(rows)} frames, {wells[0]} infected "
        f"and {wells[1]} mock wells); {found.words()}"
    )
    answer: dict[str, Any] = {"effect": auc.value, "low": auc.low, "high": auc.high}
    if not found.units.replicated:
        words += "; with one well in a class this is a difference between wells"
        return AuditRow(WELL, "not identifiable", words, f"at least 3 wells per class; {BEFORE}", **answer)
    if found.test.p <= audit.alpha:
        return AuditRow(WELL, "supported", words, **answer)
    if auc.high < WORTHLESS:
        return AuditRow(WELL, "contradicted", words, "a better model, or later frames", **answer)
    return AuditRow(WELL, "not identifiable", f"{words}; not above chance over wells", MORE_WELLS, **answer)


def past_last_eclipse(rows: pd.DataFrame, *, eclipse_h: float) -> tuple[pd.DataFrame, str]:
    """Return the frames past the last eclipse, or all labelled ones where no hour is, and which in words."""
    late = frames_all_wells_share(rows, PAST_LAST_ECLIPSE, eclipse_h=eclipse_h)
    if late.any():
        return rows[late], PAST_LAST_ECLIPSE
    return rows[label_codes(rows) >= 0], "over all labelled frames"


def before_first_onset(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the frames of a plate before its first onset, which a permutation by well can use."""
    return rows[frames_all_wells_share(rows, BEFORE_FIRST_ONSET, eclipse_h=0.0)]


def judge_early(
    test: pd.DataFrame, *, study: StudyConfig, audit: AuditConfig, rng: np.random.Generator
) -> AuditRow:
    """Does the model tell the classes apart before the onset, when there is nothing to tell?"""
    if test["hours"].nunique() < 2:
        return AuditRow(EARLY, "not tested", ONE_HOUR, BEFORE)
    rows = before_first_onset(test)
    if len(rows) == 0:
        return _first_hours(test, study)
    found = compare_classes(rows, level=study.level, shuffles=audit.shuffles, rng=rng)
    auc, alpha = found.auc, SHARES[EARLY] * audit.alpha
    words = (
        f"AUC at equal hours {BEFORE_FIRST_ONSET} {found.auc_words()}, 0.5 is honest; {len(rows)} frames at "
        f"{_hours(rows)}; {found.words()}"
    )
    answer: dict[str, Any] = {"effect": auc.value, "low": auc.low, "high": auc.high}
    if found.test.p <= alpha:
        words += "; what it reads there is not the infection"
        return AuditRow(
            EARLY, "contradicted", words, "find what differs: see the rows on light, focus, border", **answer
        )
    if found.test.floor > alpha or not found.units.replicated:
        words += f"; {few_wells(found.units.wells, found.test.floor, alpha)}"
        return AuditRow(EARLY, "not identifiable", words, MORE_WELLS, **answer)
    return AuditRow(EARLY, "supported", words, **answer)


def _first_hours(test: pd.DataFrame, study: StudyConfig) -> AuditRow:
    if not phase_masks(test, eclipse_h=study.eclipse_h)["eclipse"].any():
        return AuditRow(
            EARLY, "not tested", f"{NOTHING_BEFORE}, and none in the first hours after it", BEFORE
        )
    rows = test[phase_frames(test, eclipse_h=study.eclipse_h)["eclipse"]]
    auc = score_auc(rows, rows["p_infected"].to_numpy(float), condition_codes(rows), level=study.level)
    words = (
        f"{NOTHING_BEFORE}; in the first {study.eclipse_h:g} h after it the AUC is "
        f"{short_interval(auc.value, auc.low, auc.high)}: an early signal or a shortcut"
    )
    return AuditRow(EARLY, "not identifiable", words, BEFORE, auc.value, auc.low, auc.high)


def nuisance_table(
    frames: pd.DataFrame,
    statistics: pd.DataFrame,
    kinds: Mapping[str, Sequence[str]],
    *,
    audit: AuditConfig,
    level: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Compare statistics of both classes before the onset, all wells of the plate, by question.

    Args:
        frames: every frame of the plate (identity, ``hours``, ``hpi``).
        statistics: ``stack_id frame`` and the statistics.
        kinds: kind -> names of its statistics.
        audit: ``shuffles`` is used.
        level: of the intervals.
        rng: for the permutations.

    Returns:
        ``question statistic difference auc low high p floor n n_infected n_mock unit``; the statistic that
        differs most stands for its question, ``difference`` is in SDs between wells. Empty without a frame
        before the onset.
    """
    rows = before_first_onset(frames).merge(statistics, on=["stack_id", "frame"])
    found: list[dict[str, Any]] = []
    if len(rows) == 0:
        return pd.DataFrame(found, columns=NUISANCE)
    units = well_units(rows)
    for question, names in KIND_OF.items():
        columns = [name for kind in names for name in kinds[kind]]
        means = unit_means(units, centred(rows, rows[columns].to_numpy(float)))
        test = permutation_test(units, means, two_sided=True, shuffles=audit.shuffles, rng=rng)
        worst = columns[test.worst]
        auc = score_auc(rows, rows[worst].to_numpy(float), condition_codes(rows), level=level)
        found.append(
            {
                "question": question,
                "statistic": worst,
                "difference": test.difference[test.worst],
                "auc": auc.value,
                "low": auc.low,
                "high": auc.high,
                "p": test.p,
                "floor": test.floor,
                "n": len(rows),
                "n_infected": units.wells[0],
                "n_mock": units.wells[1],
                "unit": units.name,
                "replicated": units.replicated,
            }
        )
    return pd.DataFrame(found, columns=NUISANCE)


NUISANCE = [
    "question",
    "statistic",
    "difference",
    "auc",
    "low",
    "high",
    "p",
    "floor",
    "n",
    "n_infected",
    "n_mock",
    "unit",
    "replicated",
]


def judge_nuisance(table: pd.DataFrame, *, audit: AuditConfig, hours: int) -> list[AuditRow]:
    """Return a row per question on the light, the focus and the border.

    Args:
        table: of :func:`nuisance_table`.
        audit: ``alpha`` is used.
        hours: how many different hours the plate holds.
    """
    if table.empty:
        answer = "not identifiable" if hours > 1 else "not tested"
        why = f"{NOTHING_BEFORE}: such a difference could be the infection" if hours > 1 else ONE_HOUR
        return [AuditRow(question, answer, why, BEFORE) for question in KIND_OF]  # type: ignore[arg-type]
    return [_nuisance_row(row, audit) for row in table.itertuples()]


def _nuisance_row(row: Any, audit: AuditConfig) -> AuditRow:
    alpha = SHARES[row.question] * audit.alpha
    what = STATISTIC_WORDS.get(row.statistic, row.statistic)
    words = (
        f"{BEFORE_FIRST_ONSET} raw frames differ most in {what}: AUC "
        f"{short_interval(row.auc, row.low, row.high)}, {row.n_infected} infected and {row.n_mock} mock "
        f"wells; {row.unit}s shuffled: {p_with_floor(row.p, row.floor)}"
    )
    effect = (row.auc, row.low, row.high)
    if not row.replicated:
        words += "; with one well in a class this is a difference between wells"
        return AuditRow(row.question, "not identifiable", words, MORE_WELLS, *effect)
    if row.p <= alpha:
        remedy = (
            "same exposure, focus and field for every well; or an intensity setting and crop that remove it"
        )
        return AuditRow(row.question, "contradicted", words, remedy, *effect)
    if row.floor > alpha:
        words += f"; {few_wells((row.n_infected, row.n_mock), row.floor, alpha)}"
        return AuditRow(row.question, "not identifiable", words, MORE_WELLS, *effect)
    return AuditRow(row.question, "supported", words, "", *effect)


def _hours(rows: pd.DataFrame) -> str:
    first, last = rows["hours"].min(), rows["hours"].max()
    return f"{first:g} h" if first == last else f"{first:g}-{last:g} h"


COLUMNS = ["what", "start_h", "end_h", "auc", "low", "high", "n", "note"]
PHASE, WINDOW, FIRST, TRUTH = "phase", "window", "first window above chance", "first visible in truth"


def negative_controls(
    test: pd.DataFrame, *, windows: WindowsConfig, study: StudyConfig, visible_h: float
) -> pd.DataFrame:
    """Return the AUC of P(infected) against the condition by hours after onset, mock at the same hours.

    Columns: ``what start_h end_h auc low high n note``. ``what`` is a phase (before onset, eclipse, after
    eclipse), ``window``, ``first window above chance`` (the first whose interval lies above 0.5, and so do
    those of all later windows), or ``first visible in truth`` where a simulated plate says it.

    Args:
        test: test rows of a PREDICTIONS table.
        windows: width and stride.
        study: ``level`` and ``eclipse_h`` are used.
        visible_h: hours after onset at which signs are first to be seen; NaN = not known.
    """
    infected, stratum, hpi = condition_codes(test), hour_strata(test), test["hpi"].to_numpy(float)

    def row(what: str, start_h: float, end_h: float, chosen: np.ndarray) -> dict[str, Any]:
        rows = test[chosen]
        auc = score_auc(rows, rows["p_infected"].to_numpy(float), condition_codes(rows), level=study.level)
        return {
            "what": what,
            "start_h": start_h,
            "end_h": end_h,
            "auc": auc.value,
            "low": auc.low,
            "high": auc.high,
            "n": len(rows),
            "note": auc.note.partition(";")[0],
        }

    found = [
        row(name, np.nan, np.nan, chosen)
        for name, chosen in phase_frames(test, eclipse_h=study.eclipse_h).items()
    ]
    edges = _edges(hpi[infected == 1], windows)
    each = []
    for start, end in edges:
        inside = in_window(hpi, start, end, last=end == edges[-1][1]) & (infected == 1)
        each.append(row(WINDOW, start, end, with_matched_controls(inside, infected, stratum)))
    first = _first(each)
    found += each + ([first | {"what": FIRST}] if first else [])
    if not np.isnan(visible_h):
        found.append(
            {"what": TRUTH, "start_h": visible_h, "end_h": visible_h, "n": 0, "note": "simulated plate"}
        )
    return pd.DataFrame(found, columns=COLUMNS)


def _first(windows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first window from which on every one with an interval lies above chance."""
    known = [row for row in windows if np.isfinite(row["low"])]
    below = [i for i, row in enumerate(known) if row["low"] <= 0.5]
    after = known[below[-1] + 1 :] if below else known
    return after[0] if after else None


def _edges(hpi: np.ndarray, windows: WindowsConfig) -> list[tuple[float, float]]:
    known = hpi[np.isfinite(hpi)]
    if len(known) == 0:
        return []
    # 0 is an edge, so that no window holds frames of both sides of the onset unless it must
    start = np.floor(known.min() / windows.width_h) * windows.width_h
    n = int(np.floor(max(known.max() - start - windows.width_h, 0) / windows.stride_h + 1e-9)) + 1
    starts = start + windows.stride_h * np.arange(n)
    return [(float(s), float(s + windows.width_h)) for s in starts]


PERMUTATIONS = ["frames", "unit", "n", "n_infected", "n_mock", "auc", "low", "high", "p", "floor"]


def permutations(
    test: pd.DataFrame, *, study: StudyConfig, audit: AuditConfig, rng: np.random.Generator
) -> pd.DataFrame:
    """Return both permutations by well: ``frames unit n n_infected n_mock auc low high p floor well_floor``.

    ``n`` counts frames, ``n_infected n_mock`` wells; ``floor`` is the smallest p that shuffling the units can
    give, ``well_floor`` that of shuffling wells. Arguments and draws are those of :func:`judge_well` and
    :func:`judge_early`.
    """
    test = test[test["p_infected"].notna()]
    late, when = past_last_eclipse(test, eclipse_h=study.eclipse_h)
    parts = {when: late}
    if test["hours"].min() < test["hours"].max():
        parts[BEFORE_FIRST_ONSET] = before_first_onset(test)
    rows = []
    for name, part in parts.items():
        if len(np.unique(condition_codes(part))) == 2:
            found = compare_classes(part, level=study.level, shuffles=audit.shuffles, rng=rng)
            wells = found.units.wells
            rows.append(
                (
                    name,
                    found.units.name,
                    len(part),
                    *wells,
                    *found.auc[:3],
                    found.test.p,
                    found.test.floor,
                    found.well_floor,
                )
            )
    return pd.DataFrame(rows, columns=[*PERMUTATIONS, "well_floor"])
