"""Shortcut baselines, probes of the model's features, sampling experiments, changed images.

Features come as tables keyed by ``stack_id, frame``; every model is linear, so a whole audit takes seconds.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from hpiclock.analysis import units
from hpiclock.analysis.linear_probe import feature_columns, fit_class_probe, fit_time_probe, reduction_steps
from hpiclock.analysis.time_errors import baseline_rows, clock_times
from hpiclock.audit import LIGHT_CHANGES, LITTLE_AUC, LITTLE_P, PLAIN, Answer, Evidence, beyond
from hpiclock.audit.design import hours_auc
from hpiclock.audit.permutation import ScoreEstimate, auc_gain, condition_auc, mean_over_wells, score_auc
from hpiclock.format import first_clause, short_interval
from hpiclock.tables import n_wells, plate_hour_strata, under_true_clock

MODEL, CLOCK = "the model", "the hour alone"
MORE_TEST, SIMPLER = "more wells in the test", "use the simpler model, or train longer"
SOURCES = ["source", "auc_all", "auc", "low", "high", "auc_before", "mae", "n", "n_wells"]
PROBES = ["probe", "value", "low", "high", "chance", "unit", "n_groups", "note"]
EXPERIMENTS = ["experiment", "train", "test", "auc", "low", "high", "n_train", "n_test", "note"]
CHANGES = ["change", "condition", "answer", "effect", "low", "high", "auc", "n", "n_wells", "note"]
PROBE_FOLDS = SAMPLING_FOLDS = 4
Row = tuple[Any, ...]  # of a table


def shortcut_baselines(
    frames: pd.DataFrame, sources: Mapping[str, pd.DataFrame], *, level: float
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Train on the run's training frames and test on its test frames, once per source of features.

    Args:
        frames: FRAMES.
        sources: name -> feature table.
        level: of the intervals.

    Returns:
        ``source auc_all auc low high auc_before mae n n_wells``, and by source the test scores ``stack_id
        frame score time`` (the time of infected frames, hours). ``auc`` is among frames of the same hour,
        ``auc_all`` over all hours, ``auc_before`` of the phase before the onset; ``mae`` is the time error in
        hours on infected test frames.
    """
    found, scores = [], {}
    for name, features in sources.items():
        names = feature_columns(features)
        extra = [column for column in names if column not in frames.columns]
        rows = frames.merge(features[["stack_id", "frame", *extra]], on=["stack_id", "frame"])
        x, label = rows[names].to_numpy(float), units.label_codes(rows)
        train, test = (rows["split"].eq(split).to_numpy() for split in ("train", "test"))
        learned = train & (label >= 0)
        score = np.full(int(test.sum()), np.nan)  # one class only: nothing to learn
        if len(np.unique(label[learned])) == 2:
            score = fit_class_probe(x[learned], label[learned]).decision_function(x[test])
        time = _time_by(rows, x, train, test)
        error = (time - rows.loc[test, "time_target"]).abs().mean()
        found.append(_source_row(name, rows[test], score, float(error), level))
        scores[name] = rows.loc[test, ["stack_id", "frame"]].assign(score=score, time=time)
    return pd.DataFrame(found, columns=SOURCES), scores


def model_and_clock(predictions: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the rows of the model and of the hour alone, in the columns of :func:`shortcut_baselines`.

    The time by the hour alone is that of the study's clock (:func:`.clock_times`), its AUC over all hours
    that of the best function of the hour (:func:`.hours_auc`); within an hour it knows nothing.

    Args:
        predictions: a PREDICTIONS table with test rows, of one run.
        level: of the intervals.
    """
    test = predictions[predictions["split"].eq("test")].reset_index(drop=True)
    label, fit = units.label_codes(test), baseline_rows(predictions, "test")
    fit, hours = fit[units.label_codes(fit) == 1], test["hours"].to_numpy(float)
    clock = clock_times(fit, hours) if len(fit) else np.nan
    says = {
        MODEL: (test["p_infected"].to_numpy(float), test["time_pred"]),
        CLOCK: (np.zeros(len(test)), clock),
    }
    rows = [
        _source_row(name, test, score, (time - test["time_target"]).abs()[label == 1].mean(), level)
        for name, (score, time) in says.items()
    ]
    table = pd.DataFrame(rows, columns=SOURCES)
    table.loc[1, "auc_all"] = hours_auc(test[label >= 0], label[label >= 0] == 1)[0]
    return table


def _source_row(source: str, test: pd.DataFrame, score: np.ndarray, mae: float, level: float) -> Row:
    early = test.assign(score=score)[units.phase_frames(test, eclipse_h=0.0)["before onset"]]
    auc, of_all = score_auc(test, score, level=level), score_auc(test, score, level=level, metric="auc")
    before, n = condition_auc(early, level=level, score="score"), int((units.label_codes(test) >= 0).sum())
    return source, of_all.value, *auc[:3], before.value, mae, n, n_wells(test)


def _time_by(rows: pd.DataFrame, x: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the predicted time of infected test frames, NaN for others: (test rows,)."""
    target = rows["time_target"].to_numpy(float)
    known = (units.label_codes(rows) == 1) & ~np.isnan(target)
    time, evaluated = np.full(int(test.sum()), np.nan), known[test]
    if (train & known).any() and evaluated.any():
        fitted = fit_time_probe(x[train & known], target[train & known])
        time[evaluated] = fitted.predict(x[test & known])
    return time


def judge_beyond_statistics(evidence: Evidence) -> Answer:
    """Is the model better than plain frame statistics: at ranking frames of one hour, and at the time?

    The verdict is the worse of the two.
    """
    rows = evidence.test.merge(evidence.plain_scores, on=["stack_id", "frame"])
    answers = [_auc_answer(rows, PLAIN, evidence.study.level)]
    if "time" in rows:
        answers += _time_answers(rows[units.label_codes(rows) == 1], evidence)
    return _worst(answers)


WORSE = ("shown", "cannot tell", "contradicted")


def _worst(answers: list[Answer]) -> Answer:
    """Return the worst of several answers with the evidence of all."""
    worst = max(answers, key=lambda answer: WORSE.index(answer.verdict))
    return worst._replace(evidence="; ".join(answer.evidence for answer in answers))


def _auc_answer(rows: pd.DataFrame, source: str, level: float) -> Answer:
    """Judge by how much the model's AUC exceeds that of a ``score``, paired by well."""
    scores = [rows[name].to_numpy(float) for name in ("p_infected", "score")]
    gain = auc_gain(rows, *scores, level=level)
    model, other = (score_auc(rows, score, level=level).value for score in scores)
    words = f"test: AUC of the model {model:.2f}, of a linear model on {source} {other:.2f}"
    return _gain_answer(gain, LITTLE_AUC, f"{words}; gain, paired by well,")


def _gain_answer(gain: ScoreEstimate, little: float, words: str, *, unit: str = "") -> Answer:
    """Judge a gain of the model: shown above 0; contradicted where more than a little is excluded."""
    effect = *gain[:3], f"time gain ({unit.strip()})" if unit else ""
    evidence = f"{words} {short_interval(*gain[:3])}{unit}"
    if np.isnan(gain.low):
        return Answer("cannot tell", f"{evidence} ({gain.note})", MORE_TEST, *effect)
    if gain.low > 0:
        return Answer("shown", evidence, "", *effect)
    if gain.high < 0:
        return Answer("contradicted", f"{evidence}: worse", SIMPLER, *effect)
    excluded = f"{evidence}: gains above {gain.high:.2g}{unit} are excluded"
    if gain.high <= little:
        return Answer("contradicted", f"not better: {excluded}", SIMPLER, *effect)
    return Answer("cannot tell", excluded, MORE_TEST, *effect)


def _time_answers(rows: pd.DataFrame, evidence: Evidence) -> list[Answer]:
    """Judge the time error of infected frames against that of the other ``time``, paired by well."""
    model, other = ((rows[name] - rows["time_target"]).abs() for name in ("time_pred", "time"))
    known = model.notna() & other.notna()
    if not known.any():
        return []
    wells = units.well_or_position_codes(rows[known])
    gain = mean_over_wells((other - model)[known].to_numpy(), wells, level=evidence.study.level)
    words = (
        f"mean time error of the model {model[known].mean():.1f} h, of these {other[known].mean():.1f} h "
        f"(infected frames); gain, the mean of {len(np.unique(wells))} wells,"
    )
    return [_gain_answer(gain, evidence.margin_h, words, unit=" h")]


def judge_cells(evidence: Evidence) -> Answer:
    """Is the model better than what the border or the background alone gives?"""
    by_source = evidence.background_scores.groupby("source", sort=False)
    rows = {str(name): evidence.test.merge(part, on=["stack_id", "frame"]) for name, part in by_source}
    return _worst([_auc_answer(part, name, evidence.study.level) for name, part in rows.items()])


def judge_other_light(evidence: Evidence) -> Answer:
    """Do other light and contrast leave P(infected) and the predicted time as they are?"""
    table = evidence.changes[evidence.changes["change"].isin(LIGHT_CHANGES)]
    if table.empty:
        return Answer("not tested", "no changed images")
    margins = {"p_infected": LITTLE_P, "time_pred": evidence.margin_h}
    margin = table["answer"].map(margins).to_numpy(float)
    limits = zip(table["low"] / margin, table["high"] / margin, strict=True)
    found = [beyond(low, high, margin=1.0) for low, high in limits]
    size = (table["effect"].abs() / margin).to_numpy()
    moved = np.flatnonzero([one is True for one in found])
    row = table.iloc[moved[size[moved].argmax()] if len(moved) else int(size.argmax())]
    what, unit = ("predicted time", " h") if row["answer"] == "time_pred" else ("P(infected)", "")
    effect = row["effect"], row["low"], row["high"], f"{what} of {row['condition']} frames{unit and ', h'}"
    words = (
        f"test frames changed ({row['change']}): the {what} of {row['condition']} frames moves by "
        f"{short_interval(*effect[:3])}{unit} ({row['n_wells']} wells), the most of {len(table)} "
        f"comparisons; margins {LITTLE_P:g} and {evidence.margin_h:g} h"
    )
    if len(moved):
        remedy = "the same light for all wells, or other light in training (train.augment)"
        return Answer("contradicted", words, remedy, *effect)
    if all(one is False for one in found):
        return Answer("shown", f"{words}; all intervals lie within", "", *effect)
    return Answer("cannot tell", f"{words}; not all intervals lie within", MORE_TEST, *effect)


class _Probe(NamedTuple):
    """What a probe found: a value per frame, the frames it was tested on (rows,), and its chance level."""

    values: np.ndarray
    tested: np.ndarray
    chance: float


def probe_features(held_out: pd.DataFrame, features: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """What can be read from the features of control frames that should not matter.

    Rows: ``stack`` (which stack: trained on the first half of the hours, tested in the second), ``well``
    (trained on some positions of every well, tested on the others), ``time`` (hours since start, wells held
    out). Columns: ``probe value low high chance unit n_groups note``; identities are shares of frames that
    are named right, time is the mean absolute error in hours and its chance that of saying the mean.

    Args:
        held_out: rows of wells that the features were not trained on, with identity and ``hours``.
        features: their features.
        level: of the intervals.
    """
    rows = held_out[units.condition_codes(held_out) == 0].merge(features, on=["stack_id", "frame"])
    x, wells = rows[feature_columns(features)].to_numpy(float), units.group_codes(rows, "well")
    found = []
    for name, probe in {"stack": _probe_stack, "well": _probe_well, "time": _probe_time}.items():
        made, value, chance, n = probe(rows, x, wells), ScoreEstimate(), float("nan"), 0
        if isinstance(made, str):
            value = ScoreEstimate(note=made)
        else:
            groups, chance = wells[made.tested], made.chance
            value, n = mean_over_wells(made.values, groups, level=level), n_wells(rows[made.tested])
        found.append((name, *value[:3], chance, "well", n, value.note))
    return pd.DataFrame(found, columns=PROBES)


def _probe_stack(rows: pd.DataFrame, x: np.ndarray, wells: np.ndarray) -> _Probe | str:  # noqa: ARG001
    stack = units.group_codes(rows, "position")
    tested = (rows["hours"] >= rows.groupby("stack_id")["hours"].transform("median")).to_numpy()
    n = len(np.unique(stack))
    if n < 2 or tested.all():
        return "fewer than two control stacks with several frames"
    return _Probe(_named(x, stack, ~tested, tested), tested, 1 / n)


def _probe_well(rows: pd.DataFrame, x: np.ndarray, wells: np.ndarray) -> _Probe | str:
    stacks = rows.assign(code=wells).groupby("code")["stack_id"].agg(["nunique", "last"])
    stacks = stacks[stacks["nunique"].ge(2)]
    if len(stacks) < 2 or rows["well"].eq("").any():
        return "fewer than two control wells with two positions"
    usable = np.isin(wells, stacks.index)
    tested = rows["stack_id"].isin(stacks["last"]).to_numpy() & usable
    return _Probe(_named(x, wells, usable & ~tested, tested), tested, 1 / len(stacks))


def _probe_time(rows: pd.DataFrame, x: np.ndarray, wells: np.ndarray) -> _Probe | str:
    hours, n = rows["hours"].to_numpy(float), len(np.unique(wells))
    if n < 2 or np.ptp(hours) == 0:
        return "fewer than two control wells, or one hour"
    error, of_mean = np.empty(len(rows)), np.empty(len(rows))
    for train, test in GroupKFold(min(n, PROBE_FOLDS)).split(x, groups=wells):
        error[test] = np.abs(fit_time_probe(x[train], hours[train]).predict(x[test]) - hours[test])
        of_mean[test] = np.abs(hours[train].mean() - hours[test])
    return _Probe(error, np.ones(len(rows), bool), float(of_mean.mean()))


def _named(x: np.ndarray, names: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return which of the test frames the nearest centroid names right: (tested frames,) bool."""
    steps = make_pipeline(*reduction_steps(x[train])).fit(x[train])
    # NearestCentroid refuses features that do not vary within a class
    centroids = pd.DataFrame(steps.transform(x[train])).groupby(names[train]).mean()
    nearest = KNeighborsClassifier(1).fit(centroids.to_numpy(), centroids.index.to_numpy())
    return nearest.predict(steps.transform(x[test])) == names[test]


def sampling_experiments(
    frames: pd.DataFrame, features: pd.DataFrame, *, level: float, seed: int
) -> pd.DataFrame:
    """Return what the choice of frames does to the AUC (over all hours): :data:`EXPERIMENTS`.

    ``controls``: controls of all hours or only of hours with infected frames, in training and in the test.
    ``later``: trained on the early half of the infected frames' hours, tested in the late half.
    ``split``: frames dealt at random against whole wells held out, on frames outside training (on all where
    those hold too few wells).
    """
    rows = frames[frames["label"].notna()].merge(features, on=["stack_id", "frame"])
    x, label = rows[feature_columns(features)].to_numpy(float), units.label_codes(rows)
    train, test = (rows["split"].eq(side).to_numpy() for side in ("train", "test"))

    def row(experiment: str, train_on: str, test_on: str, fit: np.ndarray, ask: np.ndarray) -> Row:
        auc, counts = ScoreEstimate(note="one class only"), (0, 0)
        if min(len(np.unique(label[fit])), len(np.unique(label[ask]))) == 2:
            score = fit_class_probe(x[fit], label[fit]).decision_function(x[ask])
            auc = score_auc(rows[ask], score, level=level, metric="auc")
            counts = int(fit.sum()), int(ask.sum())
        return experiment, train_on, test_on, *auc[:3], *counts, first_clause(auc.note)

    controls = {
        "all controls": np.ones(len(rows), bool),
        "matched controls": units.with_matched_controls(label == 1, label, plate_hour_strata(rows)),
    }
    found = [
        row("controls", one, other, train & controls[one], test & controls[other])
        for one, other in product(controls, controls)
    ]
    hours = rows["hours"].to_numpy(float)
    if (train & (label == 1)).any():
        early = hours <= np.median(hours[train & (label == 1)])
        found.append(row("later", "early hours", "late hours", train & early, test & ~early))
        found.append(row("later", "late hours", "late hours", train & ~early, test & ~early))
    found += _splits(rows, x, level, seed)
    return pd.DataFrame(found, columns=EXPERIMENTS)


def _splits(rows: pd.DataFrame, x: np.ndarray, level: float, seed: int) -> Iterator[Row]:
    held, where = rows["split"].ne("train").to_numpy(), "outside training"
    if _fewest_wells(rows[held]) < 2:
        held, where = np.ones(len(rows), bool), "all wells"
    mine, label, z = rows[held].reset_index(drop=True), units.label_codes(rows)[held], x[held]
    folds = min(SAMPLING_FOLDS, _fewest_wells(mine))
    if folds < 2:
        why_not = "fewer than two wells in a class: nothing can be held out"
        yield "split", "whole wells", where, *ScoreEstimate()[:3], 0, 0, first_clause(why_not)
        return
    wells = units.well_or_position_codes(mine)
    random = StratifiedKFold(folds, shuffle=True, random_state=seed).split(z, label)
    whole = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(z, label, wells)
    for name, parts in (("frames at random", random), ("whole wells", whole)):
        score, fold = np.full(len(mine), np.nan), np.zeros(len(mine), int)
        for number, (fit, ask) in enumerate(parts):
            if len(np.unique(label[fit])) == 2:
                score[ask] = fit_class_probe(z[fit], label[fit]).decision_function(z[ask])
            fold[ask] = number
        auc = score_auc(mine.assign(fold=fold, run="", seed=0), score, level=level, metric="auc")
        yield "split", name, where, *auc[:3], len(mine), len(mine), first_clause(auc.note)


def _fewest_wells(rows: pd.DataFrame) -> int:
    well, label = units.well_or_position_codes(rows), units.label_codes(rows)
    return min(len(np.unique(well[label == kind])) for kind in (0, 1))


def perturbation_effects(test: pd.DataFrame, changed: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the mean change of P(infected) and of the predicted time (h) per change and condition.

    Columns: ``change condition answer effect low high auc n n_wells note``; ``answer`` is ``p_infected`` or
    ``time_pred``; ``auc`` is that of the changed frames, among frames of the same hour.

    Args:
        test: rows of a PREDICTIONS table, the frames as they are, under the true clock.
        changed: ``change stack_id frame p_infected time_pred`` of the same frames.
        level: of the intervals over wells.
    """
    found: list[Row] = []
    keys = ["stack_id", "frame"]
    changed = under_true_clock(changed.merge(test[[*keys, "label"]], on=keys))
    for change, part in changed.groupby("change", sort=False):
        rows = test.merge(part[[*keys, "p_infected", "time_pred"]], on=keys, suffixes=("", "_changed"))
        score = rows["p_infected_changed"].to_numpy(float)
        auc = np.nan if np.isnan(score).all() else score_auc(rows, score, level=level).value
        for condition, answer in product(("infected", "mock"), ("p_infected", "time_pred")):
            mine = rows[rows["condition"].eq(condition)]
            if mine[answer].isna().all():
                continue
            moved = (mine[f"{answer}_changed"] - mine[answer]).to_numpy(float)
            effect = mean_over_wells(moved, units.group_codes(mine, "well"), level=level)
            counts = len(mine), n_wells(mine)
            found.append((change, condition, answer, *effect[:3], auc, *counts, effect.note))
    return pd.DataFrame(found, columns=CHANGES)
