"""The threshold from which a frame is called infected, and when each infected stack is first seen."""

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from scipy.special import betaincinv, stdtrit

from hpiclock.analysis import units
from hpiclock.config.schema import StudyConfig
from hpiclock.errors import InputError
from hpiclock.format import count_text
from hpiclock.tables import SAME_H, frame_interval_h, table_of


class Threshold(NamedTuple):
    """The value, the rule that chose it, and what to know about it."""

    value: float
    rule: str
    note: str


def choose_threshold(predictions: pd.DataFrame, *, rule: float | Literal["youden", "f1"]) -> Threshold:
    """Choose the threshold on the validation rows by a rule, or take the given number.

    ``youden`` maximises recall + specificity - 1, ``f1`` the F1 score. Every threshold between two
    neighbouring scores does the same; where the best ones form an interval its midpoint is taken, and of
    several intervals the one nearest to 0.5.

    Raises:
        InputError: an unknown rule, or a number outside 0..1.
    """
    if isinstance(rule, int | float) and not isinstance(rule, bool):
        if not 0 <= rule <= 1:
            raise InputError(f"study.threshold: {rule:g} is not between 0 and 1")
        return Threshold(float(rule), "given", "given, not chosen")
    if rule not in ("youden", "f1"):
        raise InputError(f"study.threshold: {rule!r} is not youden, f1 or a number between 0 and 1")
    rows = predictions[predictions["split"].eq("val")].dropna(subset=["label", "p_infected"])
    truth = rows["label"].to_numpy(int)
    if len(np.unique(truth)) < 2:
        what = "no validation rows" if len(rows) == 0 else "the validation rows hold one class"
        return Threshold(0.5, "default", f"0.5 without a choice: {what}")
    value = _best(rows["p_infected"].to_numpy(float), truth, rule)
    return Threshold(value, rule, f"{RULES[rule]} on {len(rows)} validation frames")


RULES = {"youden": "the largest Youden index", "f1": "the largest F1 score"}


def _best(p: np.ndarray, truth: np.ndarray, rule: str) -> float:
    scores, at = np.unique(p, return_inverse=True)  # ascending
    positives, negatives = (np.bincount(at, weights=truth == kind) for kind in (1, 0))
    # quality[i]: everything from scores[i] on is called infected; the last entry calls nothing
    tp = np.append(np.cumsum(positives[::-1])[::-1], 0.0)
    fp = np.append(np.cumsum(negatives[::-1])[::-1], 0.0)
    n_positive, n_negative = positives.sum(), negatives.sum()
    youden = tp / n_positive - fp / n_negative
    quality = youden if rule == "youden" else 2 * tp / (n_positive + tp + fp)
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    best = best[best > 0] if (best > 0).any() else best
    # threshold i may lie anywhere in (scores[i-1], scores[i]]; neighbouring best ones are one interval
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    edges = np.concatenate([[0.0], scores, [1.0]])
    middles = [(edges[run[0]] + edges[run[-1] + 1]) / 2 for run in runs]
    return float(min(middles, key=lambda middle: abs(middle - 0.5)))


def detection_curve_with_limits(stacks: pd.DataFrame, *, level: float) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return 1 - Kaplan-Meier of the stacks, and its summary.

    The variance leaves out one well at a time (stacks of a well are repeats), on the log(-log) scale with
    Student's t; with fewer than three wells there are no limits.

    Args:
        stacks: ``time_h detected plate well stack_id``, one row per stack.
        level: of the limits.
    """
    time, event = stacks["time_h"].to_numpy(float), stacks["detected"].to_numpy(bool)
    fitter = KaplanMeierFitter().fit(time, event)
    steps = fitter.event_table
    at = steps.index.to_numpy(float)
    surviving = fitter.survival_function_.iloc[:, 0].to_numpy(float)
    unit = "position" if stacks["well"].eq("").any() else "well"
    codes = units.group_codes(stacks, unit)
    low, high, note = _limits(time, event, codes, at, surviving, level=level, unit=unit)
    curve = pd.DataFrame({"time_h": at, "share": 1 - surviving, "low": 1 - high, "high": 1 - low})
    curve = curve.assign(n_at_risk=steps["at_risk"].to_numpy(int), n_censored=steps["censored"].to_numpy(int))
    # half is reached earliest on the upper limit and latest on the lower one
    half, low_h, high_h = (_first(at, curve[name].to_numpy(float)) for name in ("share", "high", "low"))
    late = "" if np.isfinite(half) else "fewer than half of the stacks are detected by their last frame"
    facts = {"n_stacks": len(stacks), "n_detected": int(event.sum()), "half_h": half}
    note = "; ".join(filter(None, (late, note)))
    return curve, facts | {"low_h": low_h, "high_h": high_h, "note": note}


def _first(at: np.ndarray, share: np.ndarray) -> float:
    reached = np.flatnonzero(share >= 0.5 - 1e-12)
    return float(at[reached[0]]) if len(reached) else float("nan")


def _limits(
    time: np.ndarray,
    event: np.ndarray,
    code: np.ndarray,
    at: np.ndarray,
    surviving: np.ndarray,
    *,
    level: float,
    unit: str,
) -> tuple[np.ndarray, np.ndarray, str]:
    k = len(np.unique(code))
    if k < units.MIN_GROUPS:
        nothing = np.full(len(at), np.nan)
        return nothing, nothing, f"no interval: {count_text(k, unit)}, at least {units.MIN_GROUPS} needed"
    left_out = np.stack([_survival(time[code != one], event[code != one], at) for one in np.unique(code)])
    inner = (surviving > 0) & (surviving < 1)
    # a curve that is 1 or 0 without one well has no log(-log); half a stack keeps it off the edge
    edge = 0.5 / len(time)
    scale = np.log(-np.log(np.clip(left_out, edge, 1 - edge)))
    variance = (k - 1) / k * ((scale - scale.mean(0)) ** 2).sum(0)
    half = stdtrit(k - 1, (1 + level) / 2) * np.sqrt(variance)
    centre = np.log(-np.log(np.clip(surviving, edge, 1 - edge)))
    low, high = np.exp(-np.exp(centre + half)), np.exp(-np.exp(centre - half))
    blank = ~inner | (variance == 0)
    # all or none of k wells: the exact limit of a share (Clopper and Pearson 1934)
    edge = ((1 - level) / 2) ** (1 / k)
    low = np.where(surviving >= 1, edge, np.where(blank, np.nan, low))
    return low, np.where(surviving <= 0, 1 - edge, np.where(blank, np.nan, high)), f"unit {unit}: {k}"


def _survival(time: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Kaplan-Meier of a part of the stacks at the times of the whole."""
    order = np.sort(time)
    n = len(order) - np.searchsorted(order, at, "left")
    ends = np.sort(time[event])
    d = np.searchsorted(ends, at, "right") - np.searchsorted(ends, at, "left")
    return np.cumprod(np.where(n > 0, 1 - d / np.maximum(n, 1), 1.0))


CONFIDENCE = 0.95
KEYS = ["run", "split", "fold", "seed", "stack_id"]
SAME = ["plate", "well", "condition", "moi"]
BOUND = 0.05  # the false alarm rate that is aimed at; 59 controls support it


class ControlThreshold(NamedTuple):
    """A threshold, the rate of new control units that may pass it, and from how many controls."""

    value: float
    bound: float
    n_controls: int
    unit: str
    note: str


def control_threshold(predictions: pd.DataFrame, *, frames: int) -> ControlThreshold:
    """Return the lowest threshold whose false alarm rate the validation controls can bound.

    A control unit (well, else position) alarms when one of its stacks is detected. With n units the rate of
    new units that pass their j-th highest score is bounded with 95% confidence by an order statistic (Tong,
    Feng and Li 2018); j is the largest for which the bound is 5% or less, else 1, and the bound is given.
    The threshold lies just above that score.
    """
    val = predictions[predictions["split"].eq("val")]
    unit, codes, _ = units.choose_resampling_unit(val)
    rows = val.assign(unit=codes)[(units.condition_codes(val) == 0) & val["p_infected"].notna()]
    if rows.empty:
        return ControlThreshold(np.nan, np.nan, 0, "", "no control stacks in validation")
    stacks = rows.sort_values("hours").groupby(["run", "fold", "seed", "stack_id"])
    interval_h = frame_interval_h(predictions)
    highest = stacks[["hours", "p_infected"]].apply(
        lambda stack: _highest_run(*stack.to_numpy(float).T, frames=frames, interval_h=interval_h)
    )
    scores = np.sort(highest.groupby(stacks["unit"].first()).max().to_numpy(float))[::-1]
    n = len(scores)
    allowed = max((j for j in range(1, n + 1) if _bound(n, j) <= BOUND), default=1)
    bound = _bound(n, allowed)
    value = float(np.nextafter(scores[allowed - 1], 2.0))
    controls = count_text(n, f"control {unit}")
    note = f"{controls} in validation: false alarms in at most {bound:.0%} of new {unit}s"
    if bound > BOUND:
        needed = int(np.ceil(np.log(1 - CONFIDENCE) / np.log(1 - BOUND)))
        note += f" (95% confidence; {needed} controls for 5%)"
    if value > 1:
        note += "; a control scores 1, so nothing can pass"
    return ControlThreshold(value, bound, n, unit, note)


def _bound(n: int, j: int) -> float:
    """Upper 95% limit of the rate at which new units pass the j-th highest of n scores."""
    return float(betaincinv(j, n - j + 1, CONFIDENCE))


def _highest_run(hours: np.ndarray, p: np.ndarray, *, frames: int, interval_h: float) -> float:
    """The highest threshold that ``frames`` values in a row reach, between gaps of the hours."""
    if len(p) < frames:
        return float(p.max())
    windows = np.lib.stride_tricks.sliding_window_view
    broken = (
        windows(_after_gap(hours, interval_h)[1:], frames - 1).any(1)
        if frames > 1
        else np.zeros(len(p), bool)
    )
    lowest = windows(p, frames).min(1)
    return float(lowest[~broken].max(initial=0.0))


def detection_times(predictions: pd.DataFrame, *, thresholds: dict[str, float], frames: int) -> pd.DataFrame:
    """Return when each stack is first detected, per rule.

    Columns: ``run split stack_id well condition moi rule threshold detected after_h time_h first_h last_h``.
    Times of infected stacks are hpi, and frames before the onset do not count; those of mock stacks are hours
    since start, and a detection is a false alarm. What is seen at ``time_h`` happened since ``after_h``, the
    frame before it, or since 0 where that is the first. A frame that is missing, or has no P(infected), ends
    a run of frames. Undetected stacks have both at their last frame. Stacks without an onset or shorter than
    ``frames`` have no row.
    """
    seen = predictions[predictions["p_infected"].notna()]
    infected = units.condition_codes(seen) == 1
    time = np.where(infected, seen["hpi"].to_numpy(float), seen["hours"].to_numpy(float))
    seen = seen.assign(last_h=time)
    began = seen.groupby(KEYS)["last_h"].min()
    seen = seen[time >= 0].sort_values([*KEYS, "last_h"], ignore_index=True)
    p, hours = seen["p_infected"].to_numpy(float), seen["last_h"].to_numpy(float)
    new_stack = ~seen.duplicated(KEYS).to_numpy()
    first_row = np.flatnonzero(new_stack)
    last_row = np.append(first_row[1:], len(seen))[: len(first_row)] - 1
    stretch = np.cumsum(new_stack | _after_gap(hours, frame_interval_h(predictions)))
    long = last_row - first_row + 1 >= frames
    stacks = seen.loc[last_row[long], [*KEYS, *SAME, "last_h"]].reset_index(drop=True)
    stacks["first_h"] = began.loc[pd.MultiIndex.from_frame(stacks[KEYS])].to_numpy()
    parts = []
    for rule, threshold in thresholds.items():
        if np.isnan(threshold):
            continue
        at = _first_runs(p >= threshold, first_row, stretch, frames)[long]
        found = at < len(p)
        frame = np.minimum(at, len(p) - 1)
        before = np.where(new_stack, 0.0, np.roll(hours, 1))[frame]
        times = {"after_h": np.where(found, before, stacks["last_h"])}
        times |= {"time_h": np.where(found, hours[frame], stacks["last_h"])}
        parts.append(stacks.assign(rule=rule, threshold=threshold, detected=found, **times))
    columns = [*KEYS, *SAME, "rule", "threshold", "detected", "after_h", "time_h", "first_h", "last_h"]
    table = pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
    return table.sort_values([*KEYS, "rule"], ignore_index=True)


def _after_gap(hours: np.ndarray, interval_h: float) -> np.ndarray:
    """Return which frames follow the one before after more than an interval and a half: (rows,) bool."""
    return np.diff(hours, prepend=hours[:1]) > 1.5 * interval_h


def _first_runs(above: np.ndarray, first: np.ndarray, stretch: np.ndarray, frames: int) -> np.ndarray:
    """First row of each stack from which ``frames`` rows of a stretch are above; else the number of rows."""
    n = len(above)
    if n == 0:
        return np.empty(0, int)
    runs = np.lib.stride_tricks.sliding_window_view(np.append(above, np.zeros(frames, bool)), frames)[:n].all(
        1
    )
    last = np.minimum(np.arange(n) + frames - 1, n - 1)
    return np.minimum.reduceat(np.where(runs & (stretch[last] == stretch), np.arange(n), n), first)


def detection_thresholds(
    predictions: pd.DataFrame, *, decision: Threshold, study: StudyConfig
) -> pd.DataFrame:
    """Return the two rules: ``rule threshold bound n_controls unit note``."""
    controls = control_threshold(predictions, frames=study.detection_frames)
    rows = [("decision", decision.value, np.nan, 0, "", decision.note), ("controls", *controls)]
    return table_of(rows, "rule threshold bound n_controls unit note")


def detection_curves(times: pd.DataFrame, *, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the share of infected stacks detected over hpi, and its summary.

    The curves have ``run split rule group time_h share low high n_at_risk n_censored``; the summary has
    ``run split rule group n_stacks n_detected after_h half_h low_h high_h n_at_first watched_from_h note``.
    Groups are ``all`` and one per MOI. A stack was detected between two frames, so half of them were between
    ``after_h`` and ``half_h``, by the curve over the frames before and by that over the frames that show it;
    ``low_h`` is the lower limit of the first, ``high_h`` the upper one of the second. ``n_at_first`` stacks,
    watched from after their onset, ``watched_from_h`` at the latest, are detected where watching begins, at
    any time since the onset.
    """
    infected = times[times["condition"].eq("infected")]
    curves, summary = [], []
    for (run, rule), of_rule in infected.groupby(["run", "rule"], sort=True):
        for split in units.ordered_splits(of_rule):
            part = of_rule[of_rule["split"].eq(split)]
            groups = {"all": part} | {f"moi={moi:g}": rows for moi, rows in part.groupby("moi")}
            for group, rows in groups.items():
                curve, facts = detection_curve_with_limits(rows, level=level)
                before = detection_curve_with_limits(rows.assign(time_h=rows["after_h"]), level=level)[1]
                # censored between, a stack can keep the earlier curve below a half
                facts["after_h"] = np.fmin(before["half_h"], facts["half_h"])
                facts["low_h"] = before["low_h"]
                at_first = rows[
                    rows["detected"] & rows["time_h"].eq(rows["first_h"]) & rows["first_h"].gt(SAME_H)
                ]
                facts |= {"n_at_first": len(at_first), "watched_from_h": at_first["first_h"].max()}
                key = {"run": run, "split": split, "rule": rule, "group": group}
                curves += [key | step for step in curve.to_dict("records")]
                summary.append(key | facts)
    curves_of = "run split rule group time_h share low high n_at_risk n_censored"
    summary_of = (
        "run split rule group n_stacks n_detected after_h half_h low_h high_h n_at_first watched_from_h note"
    )
    return table_of(curves, curves_of), table_of(summary, summary_of)


def false_alarms(times: pd.DataFrame) -> pd.DataFrame:
    """Return how many mock stacks were ever detected: ``run split rule n_stacks n_alarms n_wells share``."""
    mock = times[times["condition"].eq("mock")]
    mock = mock.assign(well=units.well_codes(mock))
    table = mock.groupby(["run", "split", "rule"]).agg(
        n_stacks=("stack_id", "nunique"), n_alarms=("detected", "sum"), n_wells=("well", units.count_codes)
    )
    return table.assign(share=table["n_alarms"] / table["n_stacks"]).reset_index()
