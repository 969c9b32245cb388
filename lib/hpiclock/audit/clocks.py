"""Does the model read the infection's clock or the experiment's?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hpiclock.analysis.units import (
    condition_codes,
    group_codes,
    label_codes,
    phase_frames,
    well_or_position_codes,
)
from hpiclock.audit import ELAPSED, HOUR, ONSET, AuditRow
from hpiclock.audit.design import hours_auc
from hpiclock.audit.permutation import ScoreEstimate, mean_over_wells, permuted_onsets, score_auc
from hpiclock.config.schema import AuditConfig, StudyConfig
from hpiclock.format import p_with_floor, short_interval
from hpiclock.tables import n_wells

ELAPSED_REMEDY = "more wells with staggered onsets, in training and in the test"


def judge_hour(test: pd.DataFrame, *, study: StudyConfig) -> AuditRow:
    """Does the score hold among frames of the same hour, where a clock says nothing?

    Args:
        test: test rows of a PREDICTIONS table.
        study: ``level`` is used.
    """
    truth, score = label_codes(test), test["p_infected"].to_numpy(float)
    pooled = score_auc(test, score, truth, level=study.level, metric="auc")
    same = score_auc(test, score, truth, level=study.level)
    alone, _ = hours_auc(test[truth >= 0]) if (truth >= 0).any() else (float("nan"), 0.0)
    words = (
        f"AUC among frames of the same hour {short_interval(same.value, same.low, same.high)}, over all "
        f"hours {pooled.value:.2f}; of the hour alone on these frames {alone:.2f}"
    )
    answer: dict[str, Any] = {"effect": same.value, "low": same.low, "high": same.high}
    if test["hours"].nunique() < 2:
        return AuditRow(HOUR, "supported", "all frames are of one hour: it cannot tell the label", **answer)
    if np.isnan(same.value):
        remedy = "image both classes at the same hours"
        return AuditRow(
            HOUR, "not identifiable", f"no hour holds labelled frames of both classes; {words}", remedy
        )
    if pooled.low > 0.5 and same.high < pooled.low:
        words += "; most of the score is the clock"
        return AuditRow(
            HOUR, "contradicted", words, "match controls by hour (frames.train.match_controls)", **answer
        )
    return AuditRow(HOUR, "supported", words, **answer)


def judge_elapsed(
    held_out: pd.DataFrame, *, audit: AuditConfig, level: float, rng: np.random.Generator
) -> AuditRow:
    """Do predicted times of infected wells follow their onsets, at equal hours since start?

    The effect is minus the slope of (predicted time - hours) on the onset over wells: 1 = it reads the time
    since infection, 0 = it reads the time since start.

    Args:
        held_out: validation and test rows of a PREDICTIONS table.
        audit: ``alpha`` and ``shuffles`` are used.
        level: of the interval.
        rng: for the permutation.
    """
    rows = held_out[
        (condition_codes(held_out) == 1) & held_out["time_pred"].notna() & held_out["onset_h"].notna()
    ]
    if len(rows) == 0:
        return AuditRow(ELAPSED, "not tested", "no predicted times of infected wells")
    rows = rows[rows["hours"] >= rows["onset_h"].max() - 1e-9]
    well = well_or_position_codes(rows)
    onset = rows.groupby(well)["onset_h"].first().to_numpy(float)
    lead = (rows["time_pred"] - rows["hours"]).groupby(well).mean().to_numpy(float)
    n = len(onset)
    if n < 4 or len(np.unique(onset)) < 2:
        words = (
            f"{n} infected wells with {len(np.unique(onset))} onsets among held-out wells: too few to tell"
        )
        return AuditRow(ELAPSED, "not identifiable", words, ELAPSED_REMEDY)
    share = _slope(onset, lead, level)
    p, floor = permuted_onsets(list(onset), lead, shuffles=audit.shuffles, rng=rng)
    words = (
        "an onset one hour later makes the predicted time "
        f"{short_interval(share.value, share.low, share.high)} h shorter at equal hours (1 = time since "
        f"infection, 0 = elapsed time); {n} infected wells, onsets shuffled: {p_with_floor(p, floor)}"
    )
    if p <= audit.alpha:
        return AuditRow(ELAPSED, "supported", words, "", *share[:3])
    if share.high < 0.5:
        return AuditRow(ELAPSED, "contradicted", words, ELAPSED_REMEDY, *share[:3])
    return AuditRow(ELAPSED, "not identifiable", words, ELAPSED_REMEDY, *share[:3])


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
        mine = rows[label_codes(rows) == label]
        parts = [part["p_infected"].to_numpy(float) for _, part in mine.groupby("stack_id")]
        wells = mine.groupby("stack_id").first()
        long = [i for i, part in enumerate(parts) if len(part) >= 5 and np.ptp(part) > 0]
        if not long:
            continue
        parts = [stats.rankdata(parts[i]) for i in long]
        drawn = np.mean([_rhos(part, audit.shuffles, rng) for part in parts], axis=0)
        rho = [_rhos(part, 1, rng)[0] for part in parts]
        there = wells.iloc[long].reset_index()
        groups = group_codes(there, "well")
        middle = mean_over_wells(np.array(rho), groups, level=level)
        p = float((np.abs(drawn) >= abs(drawn[0]) - 1e-12).mean())
        found.append(
            {
                "label": name,
                "rho": middle.value,
                "low": middle.low,
                "high": middle.high,
                "p": p,
                "floor": 1.0 / audit.shuffles,
                "n_stacks": len(parts),
                "n_wells": n_wells(there),
            }
        )
    return pd.DataFrame(found, columns=["label", "rho", "low", "high", "p", "floor", "n_stacks", "n_wells"])


def onset_table(test: pd.DataFrame, *, study: StudyConfig, audit: AuditConfig) -> pd.DataFrame:
    """Return what is claimed, with the onset moved: ``shift_h claim value low high stands note``.

    Claims: the AUC before the onset is at chance (its interval holds 0.5, or stays below it), the AUC after
    the eclipse is above chance (its interval lies above 0.5), and the time error on infected frames is
    below that of saying the mean (``value`` is the skill over it).
    """
    found: list[dict[str, Any]] = []
    for shift in sorted({0.0, *audit.onset_shifts_h}):
        rows = _moved(test, shift)
        phases = phase_frames(rows, eclipse_h=study.eclipse_h)
        early, late = rows[phases["before onset"]], rows[phases["after eclipse"]]
        for claim, part in (("nothing before the onset", early), ("infected after the eclipse", late)):
            auc = score_auc(
                part, part["p_infected"].to_numpy(float), condition_codes(part), level=study.level
            )
            stands: Any = pd.NA
            if np.isfinite(auc.low):
                stands = auc.low <= 0.5 if part is early else auc.low > 0.5
            found.append({"shift_h": shift, "claim": claim, "stands": stands} | _limits(auc))
        skill = _skill(rows)
        stands = pd.NA if np.isnan(skill) else skill > 0
        found.append(
            {"shift_h": shift, "claim": "time better than the mean", "value": skill, "stands": stands}
        )
    columns = ["shift_h", "claim", "value", "low", "high", "stands", "note"]
    return pd.DataFrame(found, columns=columns).astype({"stands": "boolean"})


def judge_onset(table: pd.DataFrame) -> AuditRow:
    """Do the claims stand when the onset is moved?"""
    known = table[table["stands"].notna()]
    now = known[known["shift_h"].eq(0)].set_index("claim")["stands"]
    if now.empty:
        return AuditRow(ONSET, "not tested", "no claim has an interval at the given onset")
    other = known[known["claim"].isin(now.index) & known["shift_h"].ne(0)]
    moved = other[other["stands"].to_numpy(bool) != other["claim"].map(now).to_numpy(bool)]
    shifts = ", ".join(f"{value:+g}" for value in sorted(table["shift_h"].unique()) if value)
    if moved.empty:
        return AuditRow(ONSET, "supported", f"{len(now)} claims stand alike with the onset at {shifts} h")
    words = "; ".join(
        f"{claim}: changes at {', '.join(f'{shift:+g} h' for shift in part['shift_h'])}"
        for claim, part in moved.groupby("claim", sort=False)
    )
    return AuditRow(
        ONSET, "not identifiable", words, "measure the onset, for example by a marker in parallel wells"
    )


def _moved(test: pd.DataFrame, shift_h: float) -> pd.DataFrame:
    on_infection = test["clock"].eq("infection")
    return test.assign(
        onset_h=test["onset_h"] + shift_h,
        hpi=test["hpi"] - shift_h,
        time_target=test["time_target"].where(~on_infection, test["time_target"] - shift_h),
    )


def _skill(rows: pd.DataFrame) -> float:
    mine = rows[(label_codes(rows) == 1) & rows["time_pred"].notna() & rows["time_target"].notna()]
    if len(mine) == 0:
        return float("nan")
    mean = (mine["time_target"] - mine["time_target"].mean()).abs().mean()
    return (
        float(1 - (mine["time_pred"] - mine["time_target"]).abs().mean() / mean) if mean > 0 else float("nan")
    )


def _slope(onset: np.ndarray, lead: np.ndarray, level: float) -> ScoreEstimate:
    fit = stats.linregress(onset, lead)
    half = float(stats.t.ppf((1 + level) / 2, len(onset) - 2) * fit.stderr)
    return ScoreEstimate(-float(fit.slope), -float(fit.slope) - half, -float(fit.slope) + half)


def _rhos(ranks: np.ndarray, shuffles: int, rng: np.random.Generator) -> np.ndarray:
    """Correlation of the ranks with their order, as they are and then shifted in a circle: (shuffles,)."""
    n = len(ranks)
    place = np.arange(n) - (n - 1) / 2
    every = np.array([np.roll(ranks, shift) @ place for shift in range(n)])
    every = every / np.sqrt(((ranks - ranks.mean()) ** 2).sum() * (place**2).sum())
    return every[np.append(0, rng.integers(0, n, shuffles - 1))]


def _limits(value: ScoreEstimate) -> dict[str, Any]:
    return {"value": value.value, "low": value.low, "high": value.high, "note": value.note.partition(";")[0]}
