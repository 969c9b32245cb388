"""Negative controls: where there is nothing to see, an honest score sees nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hpiclock import audit
from hpiclock.analysis import units
from hpiclock.analysis.acquisition_shift import STATISTIC_WORDS
from hpiclock.analysis.units import BEFORE_FIRST_ONSET, PAST_LAST_ECLIPSE, in_window
from hpiclock.audit import Answer, Evidence, permutation, power, random_stream
from hpiclock.config.schema import StudyConfig, WindowsConfig
from hpiclock.format import first_clause, p_with_floor, short_interval
from hpiclock.tables import plate_hour_strata, table_of

# Parts of the error rate of the audit that its two-sided tests may use: 0.16 of 5% lies just above 2/252, the
# smallest p of 5 against 5 wells. What is left is for rows that decide by an interval.
SHARES = {audit.EARLY: 0.29, audit.LIGHT: 0.16, audit.FOCUS: 0.16, audit.BORDER: 0.16}
NUISANCE_SD = 2.0  # standard deviations between wells that a row on raw frames must be able to find
WORTHLESS = 0.6  # an AUC that is surely below this is no signal
SAME_LIGHT = "same exposure, focus and field for every well; or an intensity setting and crop that remove it"
NOTHING_BEFORE, ALL_LABELLED = "no frame before the onset", "over all labelled frames"


def before_first_onset(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the frames of each plate before its first onset, which a permutation by well can use."""
    return rows[units.frames_all_wells_share(rows, BEFORE_FIRST_ONSET, eclipse_h=0.0)]


def well_comparisons(evidence: Evidence) -> dict[str, permutation.ClassComparison]:
    """Return both permutations of the test's P(infected), by what their frames are in words.

    The first uses the frames past the last eclipse, or all labelled ones where no hour is; the second those
    before the first onset. One whose frames do not hold both conditions is left out.
    """
    test, study = evidence.test, evidence.study
    if test is None or evidence.comparisons:
        return evidence.comparisons
    late = units.frames_all_wells_share(test, PAST_LAST_ECLIPSE, eclipse_h=study.eclipse_h)
    when, first = (PAST_LAST_ECLIPSE, late) if late.any() else (ALL_LABELLED, units.label_codes(test) >= 0)
    parts = {when: test[first]}
    if test["hours"].min() < test["hours"].max():
        parts[BEFORE_FIRST_ONSET] = before_first_onset(test)
    rng, shuffles = random_stream(evidence.seed, "wells"), evidence.audit.shuffles
    for when, rows in parts.items():
        if rows["condition"].nunique() == 2:
            evidence.comparisons[when] = permutation.compare_classes(
                rows, two_sided=when == BEFORE_FIRST_ONSET, level=study.level, shuffles=shuffles, rng=rng
            )
    return evidence.comparisons


def permutations_table(comparisons: Mapping[str, permutation.ClassComparison]) -> pd.DataFrame:
    """Return a row per permutation: ``frames unit n n_infected n_mock auc low high p floor well_floor``.

    ``n`` counts frames, ``n_infected n_mock`` wells; ``floor`` is the smallest p that shuffling the units can
    give, ``well_floor`` that of shuffling wells.

    Args:
        comparisons: of :func:`well_comparisons`.
    """
    rows = [
        (when, one.units.name, len(one.rows), *one.units.wells, *one.auc[:3], *one.test[:2], one.well_floor)
        for when, one in comparisons.items()
    ]
    names = ["frames", "unit", "n", "n_infected", "n_mock", "auc", "low", "high", "p", "floor"]
    return pd.DataFrame(rows, columns=[*names, "well_floor"])


def judge_well(evidence: Evidence) -> Answer:
    """Is the score above chance over wells? A permutation by well of P(infected) past the last eclipse."""
    found = {when: one for when, one in well_comparisons(evidence).items() if when != BEFORE_FIRST_ONSET}
    if not found:
        return Answer("not tested", "no labelled frames of both conditions")
    when, one = next(iter(found.items()))
    wells = one.units.wells
    words = (
        f"AUC of the test within plate and hour, {when}, {short_interval(*one.auc[:3])} "
        f"({len(one.rows)} frames, {wells[0]} infected and {wells[1]} mock wells); {one.words()}"
    )
    if not one.units.replicated:
        return Answer(
            "not identifiable", words + audit.one_unit(one.units.name), audit.THREE_WELLS, *one.auc[:3]
        )
    if one.test.p <= evidence.audit.alpha:
        return Answer("shown", words, "", *one.auc[:3])
    if one.auc.high < WORTHLESS:
        return Answer("contradicted", words, "a better model, or later frames", *one.auc[:3])
    alpha = evidence.audit.alpha
    words += f"; not above chance over {one.units.plural}"
    if one.test.floor > alpha:
        words += _too_few_wells(one, alpha)
    elif one.auc.value > 0.5:
        size = power.auc_shift(one.auc.value) / np.sqrt(one.variance)
        needed = power.about(power.wells_for_difference(size, alpha=alpha, two_sided=False))
        words += f"; {needed} would find such an AUC in 80% of plates"
    return Answer("cannot tell", words, audit.MORE_WELLS, *one.auc[:3])


def within_margin(auc: permutation.ScoreEstimate, margin: float) -> bool:
    """Whether the whole interval of an AUC lies within 0.5 +- margin: only then nothing is there."""
    return audit.beyond(auc.low - 0.5, auc.high - 0.5, margin=margin) is False


def judge_early(evidence: Evidence) -> Answer:
    """Does the model tell the classes apart before the onset, when there is nothing to tell?"""
    test = evidence.test
    if test["hours"].nunique() < 2:
        return Answer("not tested", audit.ONE_HOUR, audit.BEFORE)
    one = well_comparisons(evidence).get(BEFORE_FIRST_ONSET)
    if one is None:
        return _first_hours(test, evidence.study)
    alpha, margin = SHARES[audit.EARLY] * evidence.audit.alpha, evidence.audit.negative_control_margin
    first, last = one.rows["hours"].min(), one.rows["hours"].max()
    words = (
        f"test, {BEFORE_FIRST_ONSET} ({first:g}{'' if first == last else f' to {last:g}'} h, "
        f"{one.units.wells[0]} infected and {one.units.wells[1]} mock wells): AUC within plate and hour "
        f"{short_interval(*one.auc[:3])}; {one.words()}"
    )
    limits = f"{0.5 - margin:g} to {0.5 + margin:g}"
    if one.units.name == "well" and one.units.replicated and within_margin(one.auc, margin):
        return Answer("shown", f"{words}; the whole interval lies within {limits}", "", *one.auc[:3])
    if one.test.p <= alpha:
        remedy = "find what differs: see the rows on light, focus, border"
        return Answer(
            "contradicted", f"{words}; what it reads there is not the infection", remedy, *one.auc[:3]
        )
    if one.test.floor > alpha or not one.units.replicated:
        words += _too_few_wells(one, alpha)
    else:
        found = one.power(power.EARLY_AUC, alpha=alpha, two_sided=True)
        words += f"; an AUC of {power.EARLY_AUC:.2f} would have been found in {found:.0%} of such plates"
    n = power.wells_for_margin(margin, variance=one.variance, level=evidence.study.level)
    words += f"; {power.about(n)} would bring the interval within {limits}"
    return Answer("cannot tell", words, audit.MORE_WELLS, *one.auc[:3])


def _first_hours(test: pd.DataFrame, study: StudyConfig) -> Answer:
    eclipse = test[units.phase_frames(test, eclipse_h=study.eclipse_h)["eclipse"]]
    if eclipse.empty:
        return Answer("not tested", f"{NOTHING_BEFORE}, and none in the first hours after it", audit.BEFORE)
    auc = permutation.condition_auc(eclipse, level=study.level)
    words = (
        f"{NOTHING_BEFORE}; in the first {study.eclipse_h:g} h after it the AUC is "
        f"{short_interval(*auc[:3])}: an early signal or a shortcut"
    )
    return Answer("not identifiable", words, audit.BEFORE, *auc[:3])


def _too_few_wells(one: permutation.ClassComparison, alpha: float) -> str:
    infected, mock = one.units.counts
    return f"; {infected} infected against {mock} mock {one.units.plural} are too few: p {alpha:.2g} is asked"


def nuisance_table(
    frames: pd.DataFrame,
    statistics: pd.DataFrame,
    kinds: Mapping[str, Sequence[str]],
    *,
    shuffles: int,
    level: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Compare statistics of both classes before the first onset, all wells of the plate, by question.

    Args:
        frames: every frame of the plate (identity, ``hours``, ``hpi``).
        statistics: ``stack_id frame`` and the statistics.
        kinds: kind -> names of its statistics.
        shuffles: the most assignments to try.
        level: of the intervals.
        rng: for the permutations.

    Returns:
        ``question statistic difference auc low high p floor n n_infected n_mock unit replicated statistics
        units_infected units_mock``; the one that differs most of the ``statistics`` stands for its question,
        ``difference`` is in SDs between wells. Empty without a frame before the onset.
    """
    rows = before_first_onset(frames).merge(statistics, on=["stack_id", "frame"])
    found: list[tuple[Any, ...]] = []
    wells = permutation.well_units(rows)
    for question, names in audit.STATISTIC_KINDS.items() if len(rows) else ():
        columns = [name for kind in names for name in kinds[kind]]
        values = permutation.subtract_hour_means(rows, rows[columns].to_numpy(float))
        means = permutation.unit_means(wells, values)
        test = permutation.permutation_test(wells, means, two_sided=True, shuffles=shuffles, rng=rng)
        worst = columns[test.worst]
        auc = permutation.condition_auc(rows, level=level, score=worst)
        compared = (question, worst, test.difference[test.worst], *auc[:3], test.p, test.floor)
        made = len(rows), *wells.wells, wells.name, wells.replicated, len(columns), *wells.counts
        found.append((*compared, *made))
    head = "question statistic difference auc low high p floor n n_infected n_mock unit replicated"
    return table_of(found, f"{head} statistics units_infected units_mock")


def judge_nuisance(evidence: Evidence, *, question: str) -> Answer:
    """Do raw frames differ between the classes in light, focus or border before anything is infected?"""
    if evidence.nuisance.empty:
        if evidence.frames["hours"].nunique() < 2:
            return Answer("not tested", audit.ONE_HOUR, audit.BEFORE)
        words = f"{NOTHING_BEFORE}: such a difference could be the infection"
        return Answer("not identifiable", words, audit.BEFORE)
    row = evidence.nuisance.set_index("question").loc[question]
    alpha, every = SHARES[question] * evidence.audit.alpha, evidence.audit.alpha
    effect = (row["auc"], row["low"], row["high"])
    words = (
        f"all wells, {BEFORE_FIRST_ONSET}: raw frames differ most in "
        f"{STATISTIC_WORDS.get(row['statistic'], row['statistic'])}, AUC {short_interval(*effect)}; "
        f"{row['n_infected']} infected and {row['n_mock']} mock wells; {row['unit']}s shuffled: "
        f"{p_with_floor(row['p'], row['floor'])}"
    )
    if not row["replicated"]:
        return Answer("not identifiable", words + audit.one_unit(row["unit"]), audit.MORE_WELLS, *effect)
    if row["p"] <= alpha:
        return Answer("contradicted", words, SAME_LIGHT, *effect)
    if row["floor"] > alpha:
        words += f"; too few {row['unit']}s: p {alpha:.2g} is asked"
        return Answer("cannot tell", words, audit.MORE_WELLS, *effect)
    if row["p"] <= every:
        words += (
            f"; a difference that does not stand after correction over questions (p {alpha:.2g} is asked)"
        )
        return Answer("cannot tell", words, SAME_LIGHT, *effect)
    # the largest of several statistics counts: of each it is asked this much
    each, compared = alpha / row["statistics"], (row["units_infected"], row["units_mock"])
    found = power.power_of_difference(NUISANCE_SD, compared, alpha=each)
    words += (
        f"; {NUISANCE_SD:g} SD between {row['unit']}s would have been found in {found:.0%} of such plates"
    )
    if found < 0.5:
        needed = power.about(power.wells_for_difference(NUISANCE_SD, alpha=each))
        words += f"; {needed} would find them in 80%"
        return Answer("cannot tell", words, audit.MORE_WELLS, *effect)
    return Answer("not seen", words, "", *effect)


CONTROLS = ["what", "start_h", "end_h", "auc", "low", "high", "n", "note"]
WINDOW, TRUTH = "window", "first visible in truth"


def negative_controls(
    test: pd.DataFrame, *, windows: WindowsConfig, study: StudyConfig, visible_h: float
) -> pd.DataFrame:
    """Return the AUC of P(infected) against the condition by hours after onset, mock at the same hours.

    Columns: ``what start_h end_h auc low high n note``. ``what`` is a phase (before onset, eclipse, after
    eclipse), ``window``, or ``first visible in truth`` where a simulated plate says it.

    Args:
        test: test rows of a PREDICTIONS table.
        windows: width and stride.
        study: ``level`` and ``eclipse_h`` are used.
        visible_h: hours after onset at which signs are first to be seen; NaN = not known.
    """
    infected, stratum, hpi = units.condition_codes(test), plate_hour_strata(test), test["hpi"].to_numpy(float)

    def row(what: str, start_h: float, end_h: float, chosen: np.ndarray) -> dict[str, Any]:
        auc = permutation.condition_auc(test[chosen], level=study.level)
        cells = what, start_h, end_h, *auc[:3], int(chosen.sum()), first_clause(auc.note)
        return dict(zip(CONTROLS, cells, strict=True))

    phases = units.phase_frames(test, eclipse_h=study.eclipse_h)
    edges = _edges(hpi[infected == 1], windows)
    each = []
    for start, end in edges:
        inside = in_window(hpi, start, end, last=end == edges[-1][1]) & (infected == 1)
        each.append(row(WINDOW, start, end, units.with_matched_controls(inside, infected, stratum)))
    found = [row(name, np.nan, np.nan, chosen) for name, chosen in phases.items()] + each
    if not np.isnan(visible_h):
        place = {"what": TRUTH, "start_h": visible_h, "end_h": visible_h}
        found.append(place | {"n": 0, "note": "simulated plate"})
    return pd.DataFrame(found, columns=CONTROLS)


def _edges(hpi: np.ndarray, windows: WindowsConfig) -> list[tuple[float, float]]:
    known = hpi[np.isfinite(hpi)]
    if len(known) == 0:
        return []
    # 0 is an edge, so that no window holds frames of both sides of the onset unless it must
    start = np.floor(known.min() / windows.width_h) * windows.width_h
    n = int(np.floor(max(known.max() - start - windows.width_h, 0) / windows.stride_h + 1e-9)) + 1
    starts = start + windows.stride_h * np.arange(n)
    return [(float(s), float(s + windows.width_h)) for s in starts]
