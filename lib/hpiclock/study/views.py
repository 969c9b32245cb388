"""Small tables behind single figures: ROC, confusion, reliability, the worst frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from hpiclock.study.clocks import time_errors
from hpiclock.study.groups import choose_level, codes_of, ordered_splits
from hpiclock.study.intervals import jackknife
from hpiclock.study.scores import model_codes


def scored(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have a label and a P(infected)."""
    return predictions[predictions["label"].notna() & predictions["p_infected"].notna()]


POINTS = 2000  # of a ROC curve: more cannot be seen, and a million make a file of 60 MB


def roc(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the ROC curve of each split with both classes: ``split fpr tpr threshold``.

    One point per distinct score, and (0, 0) with an infinite threshold; of more than 2,000 points those
    that follow the curve in even steps.
    """
    parts = []
    for split in ordered_splits(predictions):
        rows = scored(predictions[predictions["split"].eq(split)])
        truth = rows["label"].to_numpy(int)
        if len(np.unique(truth)) < 2:
            continue
        levels, at = np.unique(-rows["p_infected"].to_numpy(float), return_inverse=True)
        curve = {
            "fpr": np.append(0.0, np.cumsum(np.bincount(at, weights=truth == 0)) / (truth == 0).sum()),
            "tpr": np.append(0.0, np.cumsum(np.bincount(at, weights=truth == 1)) / (truth == 1).sum()),
            "threshold": np.append(np.inf, -levels),
        }
        parts.append(_thinned(pd.DataFrame(curve)).assign(split=split))
    columns = ["split", "fpr", "tpr", "threshold"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    if len(curve) <= POINTS:
        return curve
    along = (curve["fpr"] + curve["tpr"]).to_numpy()  # 0..2, ascending
    kept = np.searchsorted(along, np.linspace(0, 2, POINTS), "left")
    return curve.iloc[np.unique(np.append(kept[kept < len(curve)], len(curve) - 1))]


def confusion(predictions: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return counts per split, label and call: ``split label predicted n n_stacks n_wells share``.

    ``share`` is of the frames with that label; it is missing where there are none. All four cells of a
    split stand in the table.
    """
    rows = scored(predictions)
    rows = rows.assign(
        predicted=(rows["p_infected"] >= threshold).astype(int), label=rows["label"].astype(int),
        well=codes_of(rows, "well"),
    )  # fmt: skip
    found = rows.groupby(["split", "label", "predicted"]).agg(
        n=("label", "size"), n_stacks=("stack_id", "nunique"), n_wells=("well", "nunique")
    )
    cells = pd.MultiIndex.from_product(
        [ordered_splits(predictions), (0, 1), (0, 1)], names=["split", "label", "predicted"]
    )
    table = found.reindex(cells, fill_value=0).reset_index()
    total = table.groupby(["split", "label"])["n"].transform("sum")
    return table.assign(share=table["n"] / total.where(total > 0))


def reliability(predictions: pd.DataFrame, *, bins: int, level: float) -> pd.DataFrame:
    """Return how often frames of a given P(infected) are infected, in bins of equal counts.

    Columns: ``split bin_low bin_high p_mean rate low high n n_stacks n_wells note``. Equal scores share a
    bin, so there may be fewer than ``bins``. Bands come from leaving out one group at a time (Wilson's
    interval with the effective number of frames that the groups leave).
    """
    parts = []
    for split in ordered_splits(predictions):
        rows = scored(predictions[predictions["split"].eq(split)]).reset_index(drop=True)
        if len(rows) == 0:
            continue
        group = choose_level(rows).codes
        p, truth = rows["p_infected"].to_numpy(float), rows["label"].to_numpy(int)
        edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)))
        at = np.clip(np.searchsorted(edges, p, "right") - 1, 0, max(len(edges) - 2, 0))
        stack, well = codes_of(rows, "position"), codes_of(rows, "well")
        for index in np.unique(at):
            inside = at == index
            low, high, note = _rate_band(truth[inside], group[inside], level)
            parts.append(
                {
                    "split": split,
                    "bin_low": edges[index],
                    "bin_high": edges[min(index + 1, len(edges) - 1)],
                    "p_mean": p[inside].mean(),
                    "rate": truth[inside].mean(),
                    "low": low,
                    "high": high,
                    "n": int(inside.sum()),
                    "n_stacks": len(np.unique(stack[inside])),
                    "n_wells": len(np.unique(well[inside])),
                    "note": note,
                }
            )
    columns = ["split", "bin_low", "bin_high", "p_mean", "rate", "low", "high", "n", "n_stacks", "n_wells",
               "note"]  # fmt: skip
    return pd.DataFrame(parts, columns=columns)


def _rate_band(truth: np.ndarray, group: np.ndarray, level: float) -> tuple[float, float, str]:
    _, code = np.unique(group, return_inverse=True)
    size = np.bincount(code)
    k, n, rate = len(size), len(truth), float(truth.mean())
    if k < 3:
        return float("nan"), float("nan"), f"no band: {k} groups, at least 3 needed"
    hits = np.bincount(code, weights=truth)
    variance, _ = jackknife((truth.sum() - hits) / (n - size), [np.arange(k)])
    # as many independent frames as would leave this variance; never more than there are, never below k
    effective = np.clip(rate * (1 - rate) / variance, k, n) if variance > 0 else k
    t = float(stats.t.ppf((1 + level) / 2, k - 1))
    centre = (rate + t**2 / (2 * effective)) / (1 + t**2 / effective)
    half = t * np.sqrt(rate * (1 - rate) / effective + (t / (2 * effective)) ** 2) / (1 + t**2 / effective)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half)), ""


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


def n_models(predictions: pd.DataFrame) -> int:
    """Return how many trained models (run, fold, seed) the table holds."""
    return len(np.unique(model_codes(predictions)))
