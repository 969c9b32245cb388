"""Shortcut baselines, probes of the model's features, sampling experiments, changed images.

Features come as tables keyed by ``stack_id, frame``; every model is linear, so a whole audit takes seconds.

"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline

from hpiclock.analysis.linear_probe import feature_columns, fit_class_probe, fit_time_probe, reduction_steps
from hpiclock.analysis.units import (
    condition_codes,
    group_codes,
    label_codes,
    phase_frames,
    well_or_position_codes,
    with_matched_controls,
)
from hpiclock.audit import MORE, AuditRow
from hpiclock.audit.permutation import ScoreEstimate, auc_gain, mean_over_wells, score_auc
from hpiclock.format import short_interval
from hpiclock.tables import hour_strata, n_wells

MODEL = "the model"


def shortcut_baselines(
    frames: pd.DataFrame, sources: Mapping[str, pd.DataFrame], *, level: float
) -> pd.DataFrame:
    """Train on the run's training frames and test on its test frames, once per source of features.

    Columns: ``source auc_all auc low high auc_before mae n n_wells``. ``auc`` is among frames of the same
    hour, ``auc_all`` over all hours, ``auc_before`` before the onset; ``mae`` is the time error in hours on
    infected test frames. ``attrs["scores"]`` holds the test scores: ``stack_id frame`` and one column each.

    Args:
        frames: FRAMES.
        sources: name -> feature table; ``hours`` alone is always there.
        level: of the intervals.
    """
    every = {"hours alone": frames[["stack_id", "frame", "hours"]], **sources}
    found, scores = [], frames.loc[frames["split"].eq("test"), ["stack_id", "frame"]]
    for name, features in every.items():
        row, said = _baseline(frames, features, level)
        found.append({"source": name} | row)
        scores = scores.merge(said.rename(columns={"score": name}), on=["stack_id", "frame"], how="left")
    table = pd.DataFrame(found)
    table.attrs["scores"] = scores
    return table


def model_row(test: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the row of the model itself, in the columns of :func:`baselines`.

    Args:
        test: test rows of a PREDICTIONS table.
        level: of the interval.
    """
    score, label = test["p_infected"].to_numpy(float), label_codes(test)
    errors = (test["time_pred"] - test["time_target"]).abs()[label == 1]
    row = {
        "source": MODEL,
        **_aucs(test, score, label, level),
        "mae": float(errors.mean()),
        "n": int((label >= 0).sum()),
        "n_wells": n_wells(test),
    }
    return pd.DataFrame([row])


def judge_beyond_statistics(
    test: pd.DataFrame, table: pd.DataFrame, *, source: str, level: float
) -> AuditRow:
    """Does the model rank frames of the same hour better than plain frame statistics do?

    Args:
        test: test rows of a PREDICTIONS table.
        table: of :func:`baselines`.
        source: the row of it that stands for plain statistics.
        level: of the interval.
    """
    scores = table.attrs["scores"]
    rows = test.merge(scores[["stack_id", "frame", source]], on=["stack_id", "frame"])
    model, plain = rows["p_infected"].to_numpy(float), rows[source].to_numpy(float)
    truth = label_codes(rows)
    gain = auc_gain(rows, model, plain, truth, level=level)
    aucs = [score_auc(rows, score, truth, level=level).value for score in (model, plain)]
    words = (
        f"AUC among frames of the same hour: model {aucs[0]:.2f}, {source} with a linear model "
        f"{aucs[1]:.2f}; gain {short_interval(gain.value, gain.low, gain.high)}"
    )
    if np.isnan(gain.low):
        return AuditRow(
            MORE, "not identifiable", f"{words}; {gain.note}", "more wells in the test", *gain[:3]
        )
    if gain.low > 0:
        return AuditRow(MORE, "supported", words, "", *gain[:3])
    if gain.high < 0:
        return AuditRow(MORE, "contradicted", words, "use the simpler model, or train longer", *gain[:3])
    return AuditRow(
        MORE, "not identifiable", words, "more wells in the test, or a harder question", *gain[:3]
    )


def _baseline(
    frames: pd.DataFrame, features: pd.DataFrame, level: float
) -> tuple[dict[str, Any], pd.DataFrame]:
    names = feature_columns(features)
    extra = [name for name in names if name not in frames.columns]
    rows = frames.merge(features[["stack_id", "frame", *extra]], on=["stack_id", "frame"])
    x, label = rows[names].to_numpy(float), label_codes(rows)
    train, test = rows["split"].eq("train").to_numpy() & (label >= 0), rows["split"].eq("test").to_numpy()
    tested = rows[test]
    score = fit_class_probe(x[train], label[train]).decision_function(x[test])
    row = {
        **_aucs(tested, score, label[test], level),
        "mae": _time_error(rows, x, label),
        "n": int((label[test] >= 0).sum()),
        "n_wells": n_wells(tested),
    }
    return row, tested[["stack_id", "frame"]].assign(score=score)


def _aucs(rows: pd.DataFrame, score: np.ndarray, label: np.ndarray, level: float) -> dict[str, float]:
    same = score_auc(rows, score, label, level=level)
    early = phase_frames(rows, eclipse_h=0.0)["before onset"]
    return {
        "auc_all": score_auc(rows, score, label, level=level, metric="auc").value,
        "auc": same.value,
        "low": same.low,
        "high": same.high,
        "auc_before": score_auc(rows[early], score[early], condition_codes(rows)[early], level=level).value,
    }


def _time_error(rows: pd.DataFrame, x: np.ndarray, label: np.ndarray) -> float:
    target = rows["time_target"].to_numpy(float)
    known = (label == 1) & ~np.isnan(target)
    train, test = known & rows["split"].eq("train").to_numpy(), known & rows["split"].eq("test").to_numpy()
    if not (train.any() and test.any()):
        return float("nan")
    return float(np.abs(fit_time_probe(x[train], target[train]).predict(x[test]) - target[test]).mean())


PROBE_FOLDS = 4


def probe_features(held_out: pd.DataFrame, features: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """What can be read from the features of control frames that should not matter.

    Rows: ``stack`` (which stack: learnt on the first half of the hours, asked in the second), ``well``
    (learnt on some positions of every well, asked on the others), ``time`` (hours since start, wells held
    out). Columns: ``probe value low high chance unit n_groups note``; identities are shares of frames that
    are named right, time is the mean absolute error in hours and its chance that of saying the mean.

    Args:
        held_out: rows of wells that the features were not learnt on, with identity and ``hours``.
        features: their features.
        level: of the intervals.
    """
    rows = held_out[condition_codes(held_out) == 0].merge(features, on=["stack_id", "frame"])
    x = rows[feature_columns(features)].to_numpy(float)
    found = [_probe_stack(rows, x, level), _probe_well(rows, x, level), _probe_time(rows, x, level)]
    return pd.DataFrame(
        found, columns=["probe", "value", "low", "high", "chance", "unit", "n_groups", "note"]
    )


def _probe_stack(rows: pd.DataFrame, x: np.ndarray, level: float) -> dict[str, Any]:
    stack = group_codes(rows, "position")
    middle = rows.groupby("stack_id")["hours"].transform("median")
    early = (rows["hours"] < middle).to_numpy()
    n = len(np.unique(stack))
    if n < 2 or not early.any():
        return _no_probe("stack", "fewer than two control stacks with several frames")
    right = _named(x[early], stack[early], x[~early]) == stack[~early]
    value = mean_over_wells(right, group_codes(rows, "well")[~early], level=level)
    return _probe("stack", value, 1 / n, rows, ~early)


def _probe_well(rows: pd.DataFrame, x: np.ndarray, level: float) -> dict[str, Any]:
    well = group_codes(rows, "well")
    stacks = rows.drop_duplicates("stack_id").assign(well_code=well[rows.drop_duplicates("stack_id").index])
    last = stacks.groupby("well_code")["stack_id"].last()
    several = stacks.groupby("well_code")["stack_id"].nunique().ge(2)
    n = int(several.sum())
    if n < 2 or rows["well"].eq("").any():
        return _no_probe("well", "fewer than two control wells with two positions")
    usable = np.isin(well, several.index[several])
    asked = rows["stack_id"].isin(last[several]).to_numpy() & usable
    learnt = usable & ~asked
    right = _named(x[learnt], well[learnt], x[asked]) == well[asked]
    return _probe("well", mean_over_wells(right, well[asked], level=level), 1 / n, rows, asked)


def _probe_time(rows: pd.DataFrame, x: np.ndarray, level: float) -> dict[str, Any]:
    well, hours = group_codes(rows, "well"), rows["hours"].to_numpy(float)
    n = len(np.unique(well))
    if n < 2 or np.ptp(hours) == 0:
        return _no_probe("time", "fewer than two control wells, or one hour")
    error, chance = np.empty(len(rows)), np.empty(len(rows))
    for learnt, asked in GroupKFold(min(n, PROBE_FOLDS)).split(x, groups=well):
        error[asked] = np.abs(fit_time_probe(x[learnt], hours[learnt]).predict(x[asked]) - hours[asked])
        chance[asked] = np.abs(hours[learnt].mean() - hours[asked])
    value = mean_over_wells(error, well, level=level)
    return _probe("time", value, float(chance.mean()), rows, np.ones(len(rows), bool))


def _named(learnt: np.ndarray, names: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return make_pipeline(*reduction_steps(learnt), NearestCentroid()).fit(learnt, names).predict(asked)


def _probe(
    name: str, value: ScoreEstimate, chance: float, rows: pd.DataFrame, asked: np.ndarray
) -> dict[str, Any]:
    n = len(np.unique(group_codes(rows, "well")[asked]))
    return {
        "probe": name,
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "chance": chance,
        "unit": "well",
        "n_groups": n,
        "note": value.note,
    }


def _no_probe(name: str, why: str) -> dict[str, Any]:
    nan = float("nan")
    values = {"value": nan, "low": nan, "high": nan, "chance": nan}
    return {"probe": name, **values, "unit": "well", "n_groups": 0, "note": why}


SAMPLING_FOLDS = 4
EXPERIMENTS = ["experiment", "train", "test", "auc", "low", "high", "n_train", "n_test", "note"]


def sampling_experiments(
    frames: pd.DataFrame, features: pd.DataFrame, *, level: float, seed: int
) -> pd.DataFrame:
    """Return what the choice of frames does to the AUC (over all hours): :data:`EXPERIMENTS`.

    ``controls``: controls of all hours or only of hours with infected frames, in training and in the test.
    ``later``: learnt on the early half of the infected frames' hours, asked in the late half.
    ``split``: frames dealt at random against whole wells held out, on frames outside training (on all where
    those hold too few wells).
    """
    rows = frames[frames["label"].notna()].merge(features, on=["stack_id", "frame"])
    x = rows[feature_columns(features)].to_numpy(float)
    found = [*_controls(rows, x, level), *_later(rows, x, level), *_split(rows, x, level, seed)]
    return pd.DataFrame(found, columns=EXPERIMENTS)


def _controls(rows: pd.DataFrame, x: np.ndarray, level: float) -> Iterator[dict[str, Any]]:
    label, stratum = label_codes(rows), hour_strata(rows)
    matched = with_matched_controls(label == 1, label, stratum)
    sets: dict[str, np.ndarray] = {"all controls": np.ones(len(rows), bool), "matched controls": matched}
    sides = {side: rows["split"].eq(side).to_numpy() for side in ("train", "test")}
    for learnt, of_train in sets.items():
        for asked, of_test in sets.items():
            yield _asked(
                "controls", learnt, asked, rows, x, sides["train"] & of_train, sides["test"] & of_test, level
            )


def _later(rows: pd.DataFrame, x: np.ndarray, level: float) -> Iterator[dict[str, Any]]:
    hours, label = rows["hours"].to_numpy(float), label_codes(rows)
    train, test = rows["split"].eq("train").to_numpy(), rows["split"].eq("test").to_numpy()
    if not (train & (label == 1)).any():
        return
    middle = float(np.median(hours[train & (label == 1)]))
    early = hours <= middle
    for name, learnt in (("early hours", early), ("late hours", ~early)):
        yield _asked("later", name, "late hours", rows, x, train & learnt, test & ~early, level)


def _split(rows: pd.DataFrame, x: np.ndarray, level: float, seed: int) -> Iterator[dict[str, Any]]:
    held = rows["split"].ne("train").to_numpy()
    where = "outside training"
    if _fewest_wells(rows[held]) < 2:
        held, where = np.ones(len(rows), bool), "all wells"
    mine, label, z = rows[held].reset_index(drop=True), label_codes(rows)[held], x[held]
    groups = well_or_position_codes(mine)
    folds = min(SAMPLING_FOLDS, _fewest_wells(mine))
    if folds < 2:
        note = "fewer than two wells in a class: nothing can be held out"
        yield _empty("split", "whole wells", where, note)
        return
    random = StratifiedKFold(folds, shuffle=True, random_state=seed).split(z, label)
    whole = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(z, label, groups)
    for name, parts in (("frames at random", random), ("whole wells", whole)):
        score, fold = np.full(len(mine), np.nan), np.zeros(len(mine), int)
        for number, (learnt, asked) in enumerate(parts):
            if len(np.unique(label[learnt])) == 2:
                score[asked] = fit_class_probe(z[learnt], label[learnt]).decision_function(z[asked])
            fold[asked] = number
        auc = score_auc(mine.assign(fold=fold, run="", seed=0), score, label, level=level, metric="auc")
        yield _row("split", name, where, auc, len(mine), len(mine))


def _fewest_wells(rows: pd.DataFrame) -> int:
    well = well_or_position_codes(rows)
    label = label_codes(rows)
    return min(len(np.unique(well[label == kind])) for kind in (0, 1))


def _asked(
    experiment: Literal["controls", "later"],
    learnt: str,
    asked: str,
    rows: pd.DataFrame,
    x: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    level: float,
) -> dict[str, Any]:
    label = label_codes(rows)
    if len(np.unique(label[train])) < 2 or len(np.unique(label[test])) < 2:
        return _empty(experiment, learnt, asked, "one class only")
    score = fit_class_probe(x[train], label[train]).decision_function(x[test])
    auc = score_auc(rows[test], score, label[test], level=level, metric="auc")
    return _row(experiment, learnt, asked, auc, int(train.sum()), int(test.sum()))


def _row(
    experiment: str, train: str, test: str, auc: ScoreEstimate, n_train: int, n_test: int
) -> dict[str, Any]:
    values = [
        experiment,
        train,
        test,
        auc.value,
        auc.low,
        auc.high,
        n_train,
        n_test,
        auc.note.partition(";")[0],
    ]
    return dict(zip(EXPERIMENTS, values, strict=True))


def _empty(experiment: str, train: str, test: str, note: str) -> dict[str, Any]:
    nan = float("nan")
    return dict(zip(EXPERIMENTS, [experiment, train, test, nan, nan, nan, 0, 0, note], strict=True))


COLUMNS = ["change", "condition", "answer", "effect", "low", "high", "auc", "n", "n_wells", "note"]


def perturbation_effects(test: pd.DataFrame, changed: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the mean change of P(infected) and of the predicted time (h) per change and condition.

    Columns: ``change condition answer effect low high auc n n_wells note``; ``answer`` is ``p_infected`` or
    ``time_pred``; ``auc`` is that of the changed frames, among frames of the same hour.

    Args:
        test: rows of a PREDICTIONS table, the frames as they are.
        changed: ``change stack_id frame p_infected time_pred`` of the same frames.
        level: of the intervals over wells.
    """
    found: list[dict[str, Any]] = []
    keys = ["stack_id", "frame"]
    for change, part in changed.groupby("change", sort=False):
        rows = test.merge(part[[*keys, "p_infected", "time_pred"]], on=keys, suffixes=("", "_changed"))
        score = rows["p_infected_changed"].to_numpy(float)
        auc = (
            score_auc(rows, score, label_codes(rows), level=level).value
            if not np.isnan(score).all()
            else np.nan
        )
        for condition in ("infected", "mock"):
            mine = rows[(condition_codes(rows) == 1) == (condition == "infected")]
            for answer in ("p_infected", "time_pred"):
                if mine[answer].isna().all():
                    continue
                moved = (mine[f"{answer}_changed"] - mine[answer]).to_numpy(float)
                well = group_codes(mine, "well")
                effect = mean_over_wells(moved, well, level=level)
                found.append(
                    {
                        "change": change,
                        "condition": condition,
                        "answer": answer,
                        "effect": effect.value,
                        "low": effect.low,
                        "high": effect.high,
                        "auc": auc,
                        "n": len(mine),
                        "n_wells": n_wells(mine),
                        "note": effect.note,
                    }
                )
    return pd.DataFrame(found, columns=COLUMNS)
