"""Small tables behind single figures: ROC, confusion, reliability, worst frames."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from hpiclock.analysis import units
from hpiclock.analysis.clustered import jackknife_variance, samples_by_class, too_few_groups
from hpiclock.analysis.frame_scores import kinds_of_groups
from hpiclock.analysis.time_errors import time_errors
from hpiclock.format import count_text
from hpiclock.tables import CONDITIONS, table_of


def labelled_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have a label and a P(infected)."""
    return predictions[predictions["label"].notna() & predictions["p_infected"].notna()]


def labelled_by_split(predictions: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each split and its rows with a label and a P(infected), with a fresh index."""
    rows = labelled_scores(predictions)
    for split in units.ordered_splits(rows):
        yield split, rows[rows["split"].eq(split)].reset_index(drop=True)


POINTS = 2000  # of a ROC curve: more cannot be seen, and a million make a file of 60 MB


def roc_curve(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the ROC curve of each split with both classes: ``split fpr tpr threshold``.

    One point per distinct score, and (0, 0) with an infinite threshold; of more than 2,000 points those
    that follow the curve in even steps.
    """
    parts = []
    for split, rows in labelled_by_split(predictions):
        truth = rows["label"].to_numpy(int)
        if len(np.unique(truth)) < 2:
            continue
        levels, at = np.unique(-rows["p_infected"].to_numpy(float), return_inverse=True)
        counts = [np.append(0.0, np.cumsum(np.bincount(at, weights=truth == kind))) for kind in (0, 1)]
        fpr, tpr = (count / count[-1] for count in counts)
        curve = pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": np.append(np.inf, -levels)})
        parts.append(_thinned(curve).assign(split=split))
    columns = ["split", "fpr", "tpr", "threshold"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    if len(curve) <= POINTS:
        return curve
    along = (curve["fpr"] + curve["tpr"]).to_numpy()  # 0..2, ascending
    kept = np.searchsorted(along, np.linspace(0, 2, POINTS), "left")
    return curve.iloc[np.unique(np.append(kept[kept < len(curve)], len(curve) - 1))]


def confusion_table(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return counts per split, label and call: ``split label predicted n n_stacks n_wells share``.

    ``share`` is of the frames with that label; it is missing where there are none. All four cells of a
    split stand in the table.
    """
    rows = labelled_scores(predictions)
    predicted = (rows["p_infected"] >= threshold).astype(int)
    rows = rows.assign(predicted=predicted, label=rows["label"].astype(int), well=units.well_codes(rows))
    found = rows.groupby(["split", "label", "predicted"]).agg(
        n=("label", "size"), n_stacks=("stack_id", "nunique"), n_wells=("well", units.count_codes)
    )
    kinds = [units.ordered_splits(predictions), (0, 1), (0, 1)]
    cells = pd.MultiIndex.from_product(kinds, names=found.index.names)
    table = found.reindex(cells, fill_value=0).reset_index()
    total = table.groupby(["split", "label"])["n"].transform("sum")
    return table.assign(share=table["n"] / total.where(total > 0))


def reliability_curve(predictions: pd.DataFrame, *, bins: int, level: float) -> pd.DataFrame:
    """Return how often frames of a given P(infected) are infected, in bins of equal counts.

    Columns: ``split bin_low bin_high p_mean rate low high n n_stacks n_wells note``. Equal scores share a
    bin, so there may be fewer than ``bins``. Bands come from leaving out one group of the split at a time, by
    class (Wilson's interval with the effective number of frames that the groups leave).
    """
    parts = []
    for split, rows in labelled_by_split(predictions):
        group = np.unique(units.choose_resampling_unit(rows).codes, return_inverse=True)[1]
        p, truth = rows["p_infected"].to_numpy(float), rows["label"].to_numpy(int)
        edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)))
        at = np.clip(np.searchsorted(edges, p, "right") - 1, 0, max(len(edges) - 2, 0))
        kinds = kinds_of_groups(truth, units.condition_codes(rows), group, group.max() + 1)
        samples = samples_by_class(kinds, needed="all")
        stack, well = units.group_codes(rows, "position"), units.well_codes(rows)
        for index in np.unique(at):
            inside = at == index
            place = (split, edges[index], edges[min(index + 1, len(edges) - 1)])
            hits, size = (
                np.bincount(group[inside], weights=weight, minlength=len(kinds))
                for weight in (truth[inside], None)
            )
            low, high, note = _rate_band(hits, size, samples, level)
            counts = (int(inside.sum()), len(np.unique(stack[inside])), units.count_codes(well[inside]))
            parts.append((*place, p[inside].mean(), truth[inside].mean(), low, high, *counts, note))
    return table_of(parts, "split bin_low bin_high p_mean rate low high n n_stacks n_wells note")


def _rate_band(
    hits: np.ndarray, size: np.ndarray, samples: dict[str, np.ndarray], level: float
) -> tuple[float, float, str]:
    """Return the band of a bin from the infected frames and all frames in it of each group: (groups,)."""
    k, n = np.count_nonzero(size), size.sum()
    rate = float(hits.sum() / n)
    few = (
        f"no interval: {count_text(int(k), 'group')}, at least {units.MIN_GROUPS} needed"
        if k < units.MIN_GROUPS
        else ""
    )
    if few := too_few_groups(samples) or few:
        return float("nan"), float("nan"), few.replace("interval", "band")
    variance, df = jackknife_variance((hits.sum() - hits) / (n - size), list(samples.values()))
    # as many independent frames as would leave this variance; never more than there are, never below k
    effective = np.clip(rate * (1 - rate) / variance, k, n) if variance > 0 else k
    t = float(stdtrit(df, (1 + level) / 2))
    centre = (rate + t**2 / (2 * effective)) / (1 + t**2 / effective)
    half = t * np.sqrt(rate * (1 - rate) / effective + (t / (2 * effective)) ** 2) / (1 + t**2 / effective)
    return max(0.0, float(centre - half)), min(1.0, max(rate, float(centre + half))), ""


def worst_frames(predictions: pd.DataFrame, *, threshold: float, n: int) -> pd.DataFrame:
    """Return the ``n`` worst frames per split and reason, the worst first.

    Added columns: ``reason`` (missed infection, false alarm, time error), ``rank`` from 1, ``error_h``. A
    frame may stand under two reasons. Classes are ranked by P(infected), times by the absolute error.
    """
    rows = time_errors(predictions[predictions["label"].notna()], threshold=threshold)
    p, error = rows["p_infected"], rows["error_h"].abs()
    label = rows["label"].astype(int)
    kinds = {
        "missed infection": (-p).where(label.eq(1) & (p < threshold)),
        "false alarm": p.where(label.eq(0) & (p >= threshold)),
        "time error": error,
    }
    parts = []
    for reason, badness in kinds.items():
        ranked = rows.assign(reason=reason, badness=badness)[badness.notna()]
        ranked = ranked.sort_values(["badness", "stack_id", "frame"], ascending=[False, True, True])
        ranked["rank"] = ranked.groupby("split").cumcount() + 1
        parts.append(ranked[ranked["rank"] <= n].drop(columns="badness"))
    return pd.concat(parts, ignore_index=True)


LISTED = 30  # worst frames of each reason in an error browser
NEIGHBOURS = 2  # frames before and after the one in question


def representative_frames(predictions: pd.DataFrame, *, per_condition: int) -> pd.DataFrame:
    """Return frames of each condition at even steps of time, each from the well that was used least.

    Infected wells go by hours after onset (``hpi``), mock wells by hours since start. Sorted by condition,
    infected first, then by time; the columns are those of ``predictions``.

    Args:
        predictions: frames to choose from.
        per_condition: how many of each, where there are so many.
    """
    rows = predictions.assign(well_code=units.group_codes(predictions, "well"))
    infected, mock = (rows[rows["condition"].eq(condition)] for condition in CONDITIONS)
    chosen = [_spread(infected, "hpi", per_condition), _spread(mock, "hours", per_condition)]
    return pd.concat(chosen, ignore_index=True).drop(columns="well_code")


def _spread(rows: pd.DataFrame, clock: str, n: int) -> pd.DataFrame:
    rows = rows[rows[clock].notna()].sort_values([clock, "stack_id", "frame"])
    times = rows[clock].to_numpy(float)
    if len(rows) <= n:
        return rows
    wells = rows["well_code"].to_numpy()
    used = np.zeros(wells.max() + 1, int)
    step = (times[-1] - times[0]) / n
    taken: list[int] = []
    for wanted in times[0] + step * (np.arange(n) + 0.5):
        far = np.abs(times - wanted)
        near = np.setdiff1d(np.flatnonzero(far <= max(step / 2, far.min())), taken)
        if not len(near):
            continue
        at = int(near[np.lexsort((far[near], used[wells[near]]))[0]])
        used[wells[at]] += 1
        taken.append(at)
    return rows.iloc[sorted(taken)]


def frames_to_list(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return the worst frames of each reason, :data:`LISTED` of them, with their neighbours in time.

    One row per frame, in the order of ``predictions`` and with its columns.

    Args:
        predictions: PREDICTIONS of one run and split.
        threshold: of the class.
    """
    worst = worst_frames(predictions, threshold=threshold, n=LISTED)
    rows = predictions.sort_values(["stack_id", "hours"])
    key = ["stack_id", "frame"]
    bad = pd.MultiIndex.from_frame(rows[key]).isin(pd.MultiIndex.from_frame(worst[key]))
    by_stack = pd.Series(bad, rows.index).groupby(rows["stack_id"])
    steps = range(-NEIGHBOURS, NEIGHBOURS + 1)
    listed = np.logical_or.reduce([by_stack.shift(step, fill_value=False) for step in steps])
    return rows[listed].sort_index()
