"""From rows of predictions to plain arrays, once per table; every metric reads these."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from hpiclock.study.groups import codes_of

MISSING = -1


@dataclass(frozen=True)
class Scores:
    """Arrays of the same length, one entry per frame; what is unknown is NaN (truth: -1).

    truth: 1 infected, 0 not, -1 not to be scored; p: P(infected); called: p >= threshold (bool);
    group, stack, well, model, stratum: integer codes (well -1 = not given; model = run, fold and seed;
    stratum = frames of the same hour); target, error: hours, under the true clock; target_predicted,
    error_predicted: under the predicted clock; off_clock, off_mean: errors of the two baselines.
    """

    truth: np.ndarray
    p: np.ndarray
    called: np.ndarray
    group: np.ndarray
    stack: np.ndarray
    well: np.ndarray
    model: np.ndarray
    stratum: np.ndarray
    target: np.ndarray
    error: np.ndarray
    target_predicted: np.ndarray
    error_predicted: np.ndarray
    off_clock: np.ndarray
    off_mean: np.ndarray

    def take(self, rows: np.ndarray) -> Scores:
        """Return the rows of a mask or an index array."""
        if rows.dtype == bool:
            if rows.all():
                return self
            rows = np.flatnonzero(rows)  # counted once, not for every field
        return Scores(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def with_truth(self, truth: np.ndarray) -> Scores:
        """Return the same rows judged against another truth (for example the condition of the well)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Scores(**(values | {"truth": truth.astype(np.int8)}))

    def __len__(self) -> int:
        return len(self.p)


def dense(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted distinct values of non-negative codes, and which of them each is.

    As ``np.unique`` does, without sorting where the codes are not far between.
    """
    if len(codes) and codes.max() > 8 * len(codes) + 1000:
        return np.unique(codes, return_inverse=True)
    there = np.bincount(codes) > 0 if len(codes) else np.zeros(0, bool)
    return np.flatnonzero(there), (np.cumsum(there) - 1)[codes]


def prepare(rows: pd.DataFrame, *, threshold: float, group: np.ndarray) -> Scores:
    """Return the arrays of a predictions table; the baselines' errors are NaN until they are fitted.

    Args:
        rows: a PREDICTIONS table.
        threshold: P(infected) from which a frame is called infected.
        group: (rows,) the unit of resampling of each row.
    """
    p = rows["p_infected"].to_numpy(float)
    target = rows["time_target"].to_numpy(float)
    guess = rows["time_pred"].to_numpy(float)
    by_predicted_clock = target_under_predicted_clock(rows, threshold=threshold)
    nothing = np.full(len(rows), np.nan)
    return Scores(
        truth=rows["label"].astype("Int8").fillna(MISSING).to_numpy(np.int8),
        p=p,
        called=p >= threshold,
        group=group,
        stack=codes_of(rows, "position"),
        well=np.where(rows["well"].eq(""), MISSING, codes_of(rows, "well")),
        model=model_codes(rows),
        stratum=hour_strata(rows),
        target=target,
        error=guess - target,
        target_predicted=by_predicted_clock,
        error_predicted=guess - by_predicted_clock,
        off_clock=nothing,
        off_mean=nothing,
    )


def model_codes(rows: pd.DataFrame) -> np.ndarray:
    """Return one integer per trained model (run, fold, seed): scores of two models are never compared."""
    code = pd.factorize(rows["run"])[0]
    for name in ("fold", "seed"):
        more, kinds = pd.factorize(rows[name])
        code = pd.factorize(code * max(len(kinds), 1) + more)[0]
    return code


def frame_interval_h(rows: pd.DataFrame) -> float:
    """Return the usual hours between neighbouring frames of a stack; NaN when no stack has two."""
    ordered = rows[["stack_id", "hours"]].drop_duplicates().sort_values(["stack_id", "hours"])
    same = ordered["stack_id"].to_numpy()[1:] == ordered["stack_id"].to_numpy()[:-1]
    steps = np.diff(ordered["hours"].to_numpy(float))[same]
    return float(np.median(steps)) if len(steps) else float("nan")


def hour_strata(rows: pd.DataFrame) -> np.ndarray:
    """Return one integer per acquisition time: hours in steps of the frame interval (1 h for stills)."""
    step = frame_interval_h(rows)
    hours = rows["hours"].to_numpy(float)
    # the small shift keeps 0.5-step times of offset stacks on one side whatever the last bit
    return np.floor(hours / (step if step > 0 else 1.0) + 0.5 + 1e-9).astype(np.int64)


def target_under_predicted_clock(rows: pd.DataFrame, *, threshold: float) -> np.ndarray:
    """Return the time that the predicted clock would have to show: (rows,), NaN where there is none.

    A frame called infected is on the infection clock (hours since onset), any other on the experiment
    clock. Where that is also its true clock the target is the given one. A mock frame called infected has
    no onset, so its time under the predicted clock does not exist. Runs that put every frame on one clock
    have nothing to predict: the target is the given one.
    """
    target = rows["time_target"].to_numpy(float)
    on_infection = rows["clock"].eq("infection").to_numpy()
    if not on_infection.any():
        return target
    p = rows["p_infected"].to_numpy(float)
    called = p >= threshold
    other = np.where(called, rows["hpi"].to_numpy(float), rows["hours"].to_numpy(float))
    other = np.where(np.isnan(target), np.nan, other)
    return np.where(np.isnan(p), np.nan, np.where(called == on_infection, target, other))
