"""Does the model read the infection's clock or the experiment's?"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hpiclock.allocation import allocation_units
from hpiclock.analysis import units
from hpiclock.analysis.units import BEFORE_FIRST_ONSET
from hpiclock.audit import (
    LITTLE_P,
    MORE_WELLS,
    ONE_HOUR,
    Answer,
    Evidence,
    beyond,
    permutation,
    power,
    random_stream,
)
from hpiclock.audit.controls import WORTHLESS, well_comparisons, within_margin
from hpiclock.audit.design import SAME_HOURS, hours_auc
from hpiclock.config.schema import AuditConfig, StudyConfig
from hpiclock.format import count_text, first_clause, number_text, p_with_floor, short_interval
from hpiclock.tables import SAME_H, n_wells, table_of

CLAIMS = {"before onset": "nothing before the onset", "after eclipse": "infected after the eclipse"}
FROM_ALL_HOURS = "train on controls of all hours, or match them (frames.train.match_controls)"
MORE_ONSETS = "more wells with staggered onsets, in training and in the test"


def judge_hour(evidence: Evidence) -> Answer:
    """Does the score hold among frames of the same hour, where a clock says nothing?

    ``shown`` asks that wells shuffled reject chance there and that the interval lies above it. The gap to all
    hours is that of the same frames: those of a plate and hour with frames of both classes.
    """
    test, level = evidence.test, evidence.study.level
    if test["hours"].nunique() < 2:
        return Answer("shown", f"{ONE_HOUR}: it cannot tell the label")
    score = test["p_infected"].to_numpy(float)
    same = permutation.score_auc(test, score, level=level)
    if np.isnan(same.value):
        return Answer("not identifiable", "no hour holds labelled frames of both classes", SAME_HOURS)
    label = units.label_codes(test)
    both = test[permutation.scores_of(test, score, label).matched]
    score = both["p_infected"].to_numpy(float)
    pooled, gap = (
        permutation.score_auc(both, score, level=level, metric=name) for name in ("auc", "auc_gap")
    )
    alone = hours_auc(test[label >= 0], label[label >= 0] == 1)[0]
    words = (
        f"test, frames of one plate and hour: AUC {short_interval(*same[:3])}; the same frames over all "
        f"hours {pooled.value:.2f}; the best function of the hour alone {number_text(alone, 2)}"
    )
    late = next((one for when, one in well_comparisons(evidence).items() if when != BEFORE_FIRST_ONSET), None)
    p = late.test.p if late else float("nan")
    words += f"; {late.words()}" if late else ""
    above = p <= evidence.audit.alpha and same.low > 0.5
    if (gap.low > 0 and not above) or same.high < pooled.low:
        words += "; over all hours the score is higher than within them: part of it is the hour"
        return Answer(
            "contradicted", words, "match controls by hour (frames.train.match_controls)", *same[:3]
        )
    if above:
        return Answer("shown", words, "", *same[:3])
    return Answer("cannot tell", f"{words}; not above chance within the hour", MORE_WELLS, *same[:3])


def judge_elapsed(evidence: Evidence) -> Answer:
    """Do predicted times of infected wells follow their onsets, at equal hours since start?

    The effect is minus the slope of (predicted time - hours) on the onset over wells: 1 = it reads the time
    since infection, 0 = it reads the time since start.
    """
    rows, audit = evidence.held_out, evidence.audit
    rows = rows[(units.condition_codes(rows) == 1) & rows["time_pred"].notna() & rows["onset_h"].notna()]
    if len(rows) == 0:
        return Answer("not tested", "no predicted times of infected wells")
    rows = rows[rows["hours"] >= rows["onset_h"].max() - SAME_H]
    well = _onset_units(rows)
    onset = rows.groupby(well)["onset_h"].first().to_numpy(float)
    lead = (rows["time_pred"] - rows["hours"]).groupby(well).mean().to_numpy(float)
    n, n_onsets = len(onset), len(np.unique(onset))
    if n < 4 or n_onsets < 2:
        words = f"{n} infected wells with {n_onsets} onsets among held-out wells: too few to tell"
        return Answer("cannot tell" if n_onsets > 1 else "not identifiable", words, MORE_ONSETS)
    fit = stats.linregress(onset, lead)
    half = float(stats.t.ppf((1 + evidence.study.level) / 2, n - 2) * fit.stderr)
    share = -float(fit.slope), -float(fit.slope) - half, -float(fit.slope) + half
    rng = random_stream(evidence.seed, "onsets")
    p, floor = permutation.permuted_onsets(onset, lead, shuffles=audit.shuffles, rng=rng)
    words = (
        f"an onset one hour later makes the predicted time {short_interval(*share)} h shorter at equal "
        f"hours (1 = time since infection, 0 = elapsed time); {n} infected wells held out of training, "
        f"onsets shuffled: {p_with_floor(p, floor)}"
    )
    if share[1] > 0.5 and p <= audit.alpha:
        return Answer("shown", words, "", *share)
    if share[2] < 0.5:
        return Answer("contradicted", words, MORE_ONSETS, *share)
    needed = power.about(_enough(n, half, abs(share[0] - 0.5)), of="infected wells")
    return Answer("cannot tell", f"{words}; {needed} would part it from a half", MORE_ONSETS, *share)


def _enough(n: int, half: float, distance: float) -> int | None:
    """Return with how many units an interval, ``half`` wide each way with n, ends before ``distance``."""
    if distance <= 0 or (needed := n * (half / distance) ** 2) > power.MOST_WELLS:
        return None
    return max(int(np.ceil(needed)), n + 1)


def _onset_units(rows: pd.DataFrame) -> np.ndarray:
    """Return the unit of each row to which onsets were given; wells where a unit has several."""
    given = allocation_units(rows).codes
    one_each = rows["onset_h"].groupby(given).nunique().le(1).all()
    return given if one_each else units.well_or_position_codes(rows)


def score_over_time(
    held_out: pd.DataFrame, *, audit: AuditConfig, level: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Return how P(infected) moves with the hours at a given label.

    Columns: ``label rho low high p floor n_stacks n_wells change change_low change_high``. ``rho`` is the
    mean over stacks of Spearman's correlation, ``change`` that of P from the first to the last hour, on a
    line. The p-value is conditional on the label: every stack's scores are shifted in a circle along its
    hours, by chance, and keep their order otherwise.
    ``infected`` frames (by label) must rise with time; those of ``mock`` wells that do follow the clock.
    """
    rows = held_out[held_out["p_infected"].notna()].sort_values(["stack_id", "hours"])
    found = []
    label, condition = units.label_codes(rows), units.condition_codes(rows)
    for name, mine in (("mock", (label == 0) & (condition == 0)), ("infected", label == 1)):
        stacks = [stack for _, stack in rows[mine].groupby("stack_id")]
        stacks = [stack for stack in stacks if len(stack) >= 5 and np.ptp(stack["p_infected"]) > 0]
        if not stacks:
            continue
        rhos = [_rhos(stats.rankdata(stack["p_infected"]), audit.shuffles, rng) for stack in stacks]
        drawn = np.mean(rhos, axis=0)
        first = pd.concat([stack.head(1) for stack in stacks])
        rho = permutation.mean_over_wells(
            np.array([each[0] for each in rhos]), units.group_codes(first, "well"), level=level
        )
        lines = np.array(
            [
                np.polyfit(stack["hours"], stack["p_infected"], 1)[0] * np.ptp(stack["hours"])
                for stack in stacks
            ]
        )
        change = permutation.mean_over_wells(lines, units.group_codes(first, "well"), level=level)
        p = float((np.abs(drawn) >= abs(drawn[0]) - 1e-12).mean())
        found.append((name, *rho[:3], p, 1.0 / audit.shuffles, len(stacks), n_wells(first), *change[:3]))
    columns = "label rho low high p floor n_stacks n_wells change change_low change_high"
    return table_of(found, columns)


def judge_steady(evidence: Evidence) -> Answer:
    """Does P(infected) of mock frames stay the same from the first to the last hour?

    Equivalence: the whole interval of the change must lie within :data:`hpiclock.audit.LITTLE_P`.
    """
    rows = evidence.over_time[evidence.over_time["label"].eq("mock")]
    if rows.empty:
        return Answer("not tested", "no mock stacks of several hours held out of training")
    row = rows.iloc[0]
    effect = row["change"], row["change_low"], row["change_high"]
    words = (
        f"mock wells held out of training ({row['n_wells']}): P(infected) changes by "
        f"{short_interval(*effect)} over the time-lapse, rank correlation with the hour {row['rho']:.2f}"
    )
    if np.isnan(row["change_low"]):
        return Answer("cannot tell", f"{words}; too few wells for an interval", MORE_WELLS, *effect)
    found = beyond(*effect[1:], margin=LITTLE_P)
    if found is False:
        return Answer("shown", f"{words}; the whole interval is within {LITTLE_P:g}", "", *effect)
    if found:
        return Answer("contradicted", f"{words}: it follows the hour", FROM_ALL_HOURS, *effect)
    half = (row["change_high"] - row["change_low"]) / 2
    needed = power.about(_enough(int(row["n_wells"]), half, LITTLE_P - abs(row["change"])), of="mock wells")
    return Answer("cannot tell", f"{words}; {needed} would show it within {LITTLE_P:g}", MORE_WELLS, *effect)


def onset_shift_table(test: pd.DataFrame, *, study: StudyConfig, audit: AuditConfig) -> pd.DataFrame:
    """Return what is claimed, with the onset moved: ``shift_h claim value low high stands note``.

    Claims: the AUC before the onset is at chance (its whole interval lies within the margin of a negative
    control; it falls where that leaves 0.5 out), the AUC after the eclipse is above chance (its interval lies
    above 0.5; it falls where that ends below 0.6), and the time error on infected frames is below that of
    saying the mean (``value`` is the skill over it). ``stands`` is missing where it cannot be told.
    """
    found: list[tuple[Any, ...]] = []
    for shift in sorted({0.0, *audit.onset_shifts_h}):
        rows = _moved(test, shift)
        for phase, claim in CLAIMS.items():
            part = rows[units.phase_frames(rows, eclipse_h=study.eclipse_h)[phase]]
            auc = permutation.condition_auc(part, level=study.level)
            if phase == "after eclipse":
                stands, falls = auc.low > 0.5, auc.high < WORTHLESS
            else:
                stands = within_margin(auc, audit.negative_control_margin)
                falls = auc.low > 0.5 or auc.high < 0.5
            stands = stands if stands or falls else pd.NA
            found.append((shift, claim, *auc[:3], stands, first_clause(auc.note)))
        skill = _skill(rows)
        few = units.wells_by_condition(rows).get("infected", 0) < units.MIN_GROUPS
        stands = pd.NA if np.isnan(skill) or few else skill > 0
        found.append((shift, "time better than the mean", skill, np.nan, np.nan, stands, np.nan))
    columns = ["shift_h", "claim", "value", "low", "high", "stands", "note"]
    return pd.DataFrame(found, columns=columns).astype({"stands": "boolean"})


def judge_onset(evidence: Evidence) -> Answer:
    """Do the claims stand when the onset is moved?"""
    table = evidence.onset
    known = table[table["stands"].notna()]
    now = known[known["shift_h"].eq(0)].set_index("claim")["stands"]
    if now.empty:
        return Answer("cannot tell", "no claim can be told at the given onset", MORE_WELLS)
    other = known[known["claim"].isin(now.index) & known["shift_h"].ne(0)]
    moved = other[other["stands"].to_numpy(bool) != other["claim"].map(now).to_numpy(bool)]
    shifts = ", ".join(f"{value:+g}" for value in sorted(table["shift_h"].unique()) if value)
    if moved.empty:
        told = f"{count_text(len(now), 'claim')} of 3 can be told"
        return Answer("not seen", f"test: with the onset at {shifts} h {told}, and none changes")
    words = "; ".join(
        f"{claim}: changes at {', '.join(f'{shift:+g} h' for shift in part['shift_h'])}"
        for claim, part in moved.groupby("claim", sort=False)
    )
    remedy = "measure the onset, for example by a marker in parallel wells"
    return Answer("cannot tell", words, remedy)


def _moved(test: pd.DataFrame, shift_h: float) -> pd.DataFrame:
    on_infection = test["clock"].eq("infection")
    return test.assign(
        onset_h=test["onset_h"] + shift_h,
        hpi=test["hpi"] - shift_h,
        time_target=test["time_target"].where(~on_infection, test["time_target"] - shift_h),
    )


def _skill(rows: pd.DataFrame) -> float:
    mine = rows[(units.label_codes(rows) == 1) & rows["time_pred"].notna() & rows["time_target"].notna()]
    of_mean = (mine["time_target"] - mine["time_target"].mean()).abs().mean()
    error = (mine["time_pred"] - mine["time_target"]).abs().mean()
    return float(1 - error / of_mean) if of_mean > 0 else np.nan


def _rhos(ranks: np.ndarray, shuffles: int, rng: np.random.Generator) -> np.ndarray:
    """Correlation of the ranks with their order, as they are and then shifted in a circle: (shuffles,)."""
    n = len(ranks)
    place = np.arange(n) - (n - 1) / 2
    every = np.array([np.roll(ranks, shift) @ place for shift in range(n)])
    every = every / np.sqrt(((ranks - ranks.mean()) ** 2).sum() * (place**2).sum())
    return every[np.append(0, rng.integers(0, n, shuffles - 1))]
