"""Sampling experiments: the same features and linear models, other frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from hpiclock.study.audit_learn import columns_of, learn_class
from hpiclock.study.audit_scores import Value, auc_of, labels_of
from hpiclock.study.groups import codes_of
from hpiclock.study.metrics import matched_controls
from hpiclock.study.scores import hour_strata

FOLDS = 4
EXPERIMENTS = ["experiment", "train", "test", "auc", "low", "high", "n_train", "n_test", "note"]


def sampling(frames: pd.DataFrame, features: pd.DataFrame, *, level: float, seed: int) -> pd.DataFrame:
    """Return what the choice of frames does to the AUC (over all hours): :data:`EXPERIMENTS`.

    ``controls``: controls of all hours or only of hours with infected frames, in training and in the test.
    ``later``: learnt on the early half of the infected frames' hours, asked in the late half.
    ``split``: frames dealt at random against whole wells held out, on frames outside training (on all where
    those hold too few wells).
    """
    rows = frames[frames["label"].notna()].merge(features, on=["stack_id", "frame"])
    x = rows[columns_of(features)].to_numpy(float)
    found = [*_controls(rows, x, level), *_later(rows, x, level), *_split(rows, x, level, seed)]
    return pd.DataFrame(found, columns=EXPERIMENTS)


def _controls(rows: pd.DataFrame, x: np.ndarray, level: float) -> Iterator[dict[str, Any]]:
    label, stratum = labels_of(rows), hour_strata(rows)
    matched = (label == 1) | matched_controls(label == 1, label, stratum)
    sets: dict[str, np.ndarray] = {"all controls": np.ones(len(rows), bool), "matched controls": matched}
    sides = {side: rows["split"].eq(side).to_numpy() for side in ("train", "test")}
    for learnt, of_train in sets.items():
        for asked, of_test in sets.items():
            yield _asked(
                "controls", learnt, asked, rows, x, sides["train"] & of_train, sides["test"] & of_test, level
            )


def _later(rows: pd.DataFrame, x: np.ndarray, level: float) -> Iterator[dict[str, Any]]:
    hours, label = rows["hours"].to_numpy(float), labels_of(rows)
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
    mine, label, z = rows[held].reset_index(drop=True), labels_of(rows)[held], x[held]
    groups = codes_of(mine, "well" if mine["well"].ne("").all() else "position")
    folds = min(FOLDS, _fewest_wells(mine))
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
                score[asked] = learn_class(z[learnt], label[learnt]).decision_function(z[asked])
            fold[asked] = number
        auc = auc_of(mine.assign(fold=fold, run="", seed=0), score, label, level=level, metric="auc")
        yield _row("split", name, where, auc, len(mine), len(mine))


def _fewest_wells(rows: pd.DataFrame) -> int:
    well = codes_of(rows, "well" if rows["well"].ne("").all() else "position")
    label = labels_of(rows)
    return min(len(np.unique(well[label == kind])) for kind in (0, 1))


def _asked(
    experiment: Literal["controls", "later"], learnt: str, asked: str, rows: pd.DataFrame, x: np.ndarray,
    train: np.ndarray, test: np.ndarray, level: float,
) -> dict[str, Any]:  # fmt: skip
    label = labels_of(rows)
    if len(np.unique(label[train])) < 2 or len(np.unique(label[test])) < 2:
        return _empty(experiment, learnt, asked, "one class only")
    score = learn_class(x[train], label[train]).decision_function(x[test])
    auc = auc_of(rows[test], score, label[test], level=level, metric="auc")
    return _row(experiment, learnt, asked, auc, int(train.sum()), int(test.sum()))


def _row(experiment: str, train: str, test: str, auc: Value, n_train: int, n_test: int) -> dict[str, Any]:
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
