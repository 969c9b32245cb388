"""Does the model read the infection's clock or the experiment's?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hpiclock.analysis import units
from hpiclock.audit import ONE_HOUR, Answer, Evidence, permutation, random_stream
from hpiclock.audit.design import SAME_HOURS, hours_auc
from hpiclock.config.schema import AuditConfig, StudyConfig
from hpiclock.format import first_clause, p_with_floor, short_interval
from hpiclock.tables import SAME_H, n_wells

CLAIMS = {"before onset": "nothing before the onset", "after eclipse": "infected after the eclipse"}
MORE_ONSETS = "more wells with staggered onsets, in training and in the test"


def judge_hour(evidence: Evidence) -> Answer:
    """Does the score hold among frames of the same hour, where a clock says nothing?"""
    test, level = evidence.test, evidence.study.level
    assert test is not None
    score, labelled = test["p_infected"].to_numpy(float), test[units.label_codes(test) >= 0]
    pooled = permutation.score_auc(test, score, level=level, metric="auc")
    same = permutation.score_auc(test, score, level=level)
    alone = hours_auc(labelled)[0] if len(labelled) else float("nan")
    words = (
        f"AUC among frames of the same hour {short_interval(*same[:3])}, over all hours {pooled.value:.2f}; "
        f"of the hour alone on these frames {alone:.2f}"
    )
    if test["hours"].nunique() < 2:
        return Answer("shown", f"{ONE_HOUR}: it cannot tell the label", "", *same[:3])
    if np.isnan(same.value):
        return Answer(
            "not identifiable", f"no hour holds labelled frames of both classes; {words}", SAME_HOURS
        )
    if pooled.low > 0.5 and same.high < pooled.low:
        remedy = "match controls by hour (frames.train.match_controls)"
        return Answer("contradicted", f"{words}; most of the score is the clock", remedy, *same[:3])
    return Answer("shown", words, "", *same[:3])


def judge_elapsed(evidence: Evidence) -> Answer:
    """Do predicted times of infected wells follow their onsets, at equal hours since start?

    The effect is minus the slope of (predicted time - hours) on the onset over wells: 1 = it reads the time
    since infection, 0 = it reads the time since start.
    """
    rows, audit = evidence.held_out, evidence.audit
    assert rows is not None
    rows = rows[(units.condition_codes(rows) == 1) & rows["time_pred"].notna() & rows["onset_h"].notna()]
    if len(rows) == 0:
        return Answer("not tested", "no predicted times of infected wells")
    rows = rows[rows["hours"] >= rows["onset_h"].max() - SAME_H]
    well = units.well_or_position_codes(rows)
    onset = rows.groupby(well)["onset_h"].first().to_numpy(float)
    lead = (rows["time_pred"] - rows["hours"]).groupby(well).mean().to_numpy(float)
    n, n_onsets = len(onset), len(np.unique(onset))
    if n < 4 or n_onsets < 2:
        words = f"{n} infected wells with {n_onsets} onsets among held-out wells: too few to tell"
        return Answer("not identifiable", words, MORE_ONSETS)
    fit = stats.linregress(onset, lead)
    half = float(stats.t.ppf((1 + evidence.study.level) / 2, n - 2) * fit.stderr)
    share = -float(fit.slope), -float(fit.slope) - half, -float(fit.slope) + half
    rng = random_stream(evidence.seed, "onsets")
    p, floor = permutation.permuted_onsets(onset, lead, shuffles=audit.shuffles, rng=rng)
    words = (
        f"an onset one hour later makes the predicted time {short_interval(*share)} h shorter at equal "
        f"hours (1 = time since infection, 0 = elapsed time); {n} infected wells, onsets shuffled: "
        f"{p_with_floor(p, floor)}"
    )
    if p <= audit.alpha:
        return Answer("shown", words, "", *share)
    return Answer("contradicted" if share[2] < 0.5 else "not identifiable", words, MORE_ONSETS, *share)


def score_over_time(
    held_out: pd.DataFrame, *, audit: AuditConfig, level: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Return how P(infected) moves with the hours at a given label: ``label rho low high p floor n_wells``.

    ``rho`` is the mean over stacks of Spearman's correlation. The p-value is conditional on the label:
    every stack's scores are shifted in a circle along its hours, by chance, and keep their order otherwise.
    Infected frames must rise with time; uninfected ones that do follow the clock.
    """
    rows = held_out[held_out["p_infected"].notna()].sort_values(["stack_id", "hours"])
    found = []
    for label, name in ((0, "uninfected"), (1, "infected")):
        stacks = [stack for _, stack in rows[units.label_codes(rows) == label].groupby("stack_id")]
        stacks = [stack for stack in stacks if len(stack) >= 5 and np.ptp(stack["p_infected"]) > 0]
        if not stacks:
            continue
        rhos = [_rhos(stats.rankdata(stack["p_infected"]), audit.shuffles, rng) for stack in stacks]
        drawn = np.mean(rhos, axis=0)
        first = pd.concat([stack.head(1) for stack in stacks])
        rho = permutation.mean_over_wells(
            np.array([each[0] for each in rhos]), units.group_codes(first, "well"), level=level
        )
        p = float((np.abs(drawn) >= abs(drawn[0]) - 1e-12).mean())
        found.append((name, *rho[:3], p, 1.0 / audit.shuffles, len(stacks), n_wells(first)))
    return pd.DataFrame(found, columns=["label", "rho", "low", "high", "p", "floor", "n_stacks", "n_wells"])


def onset_shift_table(test: pd.DataFrame, *, study: StudyConfig, audit: AuditConfig) -> pd.DataFrame:
    """Return what is claimed, with the onset moved: ``shift_h claim value low high stands note``.

    Claims: the AUC before the onset is at chance (its interval holds 0.5, or stays below it), the AUC after
    the eclipse is above chance (its interval lies above 0.5), and the time error on infected frames is
    below that of saying the mean (``value`` is the skill over it).
    """
    found: list[tuple[Any, ...]] = []
    for shift in sorted({0.0, *audit.onset_shifts_h}):
        rows = _moved(test, shift)
        for phase, claim in CLAIMS.items():
            part = rows[units.phase_frames(rows, eclipse_h=study.eclipse_h)[phase]]
            auc = permutation.condition_auc(part, level=study.level)
            # nothing is claimed where there is no interval
            stands = (auc.low > 0.5) == (phase == "after eclipse") if np.isfinite(auc.low) else pd.NA
            found.append((shift, claim, *auc[:3], stands, first_clause(auc.note)))
        skill = _skill(rows)
        stands = pd.NA if np.isnan(skill) else skill > 0
        found.append((shift, "time better than the mean", skill, np.nan, np.nan, stands, np.nan))
    columns = ["shift_h", "claim", "value", "low", "high", "stands", "note"]
    return pd.DataFrame(found, columns=columns).astype({"stands": "boolean"})


def judge_onset(evidence: Evidence) -> Answer:
    """Do the claims stand when the onset is moved?"""
    table = evidence.onset
    assert table is not None
    known = table[table["stands"].notna()]
    now = known[known["shift_h"].eq(0)].set_index("claim")["stands"]
    if now.empty:
        return Answer("not tested", "no claim has an interval at the given onset")
    other = known[known["claim"].isin(now.index) & known["shift_h"].ne(0)]
    moved = other[other["stands"].to_numpy(bool) != other["claim"].map(now).to_numpy(bool)]
    shifts = ", ".join(f"{value:+g}" for value in sorted(table["shift_h"].unique()) if value)
    if moved.empty:
        return Answer("not seen", f"{len(now)} claims stand alike with the onset at {shifts} h")
    words = "; ".join(
        f"{claim}: changes at {', '.join(f'{shift:+g} h' for shift in part['shift_h'])}"
        for claim, part in moved.groupby("claim", sort=False)
    )
    remedy = "measure the onset, for example by a marker in parallel wells"
    return Answer("not identifiable", words, remedy)


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
