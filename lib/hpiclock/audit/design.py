"""What the design alone can and cannot show, before any training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import contingency
from sklearn.metrics import roc_auc_score

from hpiclock.analysis.units import condition_codes, group_codes
from hpiclock.audit import MORE_WELLS, NAME_WELLS, ONE_HOUR, THREE_WELLS, Answer
from hpiclock.format import count_text
from hpiclock.tables import hour_strata
from hpiclock.wells import FORMATS, parse_well, plate_format

ONE_CLASS, BOTH_CLASSES = "all wells are of one class", "infected and mock wells on one plate"
SAME_HOURS = "image both classes at the same hours"
FAR = 0.1  # an AUC of the hours alone this far from 0.5 lets a clock score without seeing a cell


def design_table(frames: pd.DataFrame) -> pd.DataFrame:
    """Return ``aspect value detail`` of a plate: replicates, aliasing, hours, onsets.

    Cramér's V is between the condition and the place over wells (1 = the place tells the condition); an AUC
    says how well a number alone (row, column, edge, hour) ranks infected above mock (0.5 = not at all).

    Args:
        frames: one row per frame with the identity columns, ``hours`` and ``hpi``.
    """
    wells = wells_of(frames)
    infected = wells["infected"].to_numpy()
    rows: list[tuple[str, float, str]] = []
    for name, mine in (("infected", wells[infected]), ("mock", wells[~infected])):
        rows.append((f"{name} wells", len(mine), f"{int(mine['stacks'].sum())} stacks"))
    rows.append(("plates", wells["plate"].nunique(), ""))
    rows += [(f"wells at MOI {moi:g}", len(mine), "") for moi, mine in wells[infected].groupby("moi")]
    for name in ("plate", "row", "column", "edge"):
        v = _cramer(wells[name], infected)
        rows.append((f"Cramér's V of condition and {name}", v, _values_by_condition(wells, name)))
    rows += [(f"AUC of {name} alone", auc, "") for name, auc in _place_aucs(wells).items()]
    hours, shared = hours_auc(frames)
    rows.append(("AUC of the hour alone", hours, "over all frames, by condition"))
    rows.append(("share of frames at hours of both classes", shared, ""))
    onsets = wells.loc[infected, "onset_h"]
    rows.append(("different onsets", onsets.nunique(), _range(onsets)))
    rows.append(("wells without an onset", onsets.isna().sum(), ""))
    return pd.DataFrame(rows, columns=["aspect", "value", "detail"]).astype({"value": float})


def hours_auc(frames: pd.DataFrame) -> tuple[float, float]:
    """Return how well the hour alone tells the condition (AUC), and the share of frames at shared hours."""
    infected = condition_codes(frames) == 1
    strata = hour_strata(frames)
    both = np.intersect1d(strata[infected], strata[~infected])
    return _auc(frames["hours"].to_numpy(float), infected), float(np.isin(strata, both).mean())


class Plate(NamedTuple):
    """Every frame of a plate, and a row per well (:func:`wells_of`)."""

    frames: pd.DataFrame
    wells: pd.DataFrame


def wells_of_design(plate: Plate) -> Answer | None:
    """Decide whether infection can be told from well at all: two wells of each class are needed."""
    wells = plate.wells
    if wells["mixed"].any():
        return None
    if wells["well"].eq("").all():
        words = "wells are not given, so fields of one well may stand as if they were independent"
        return Answer("not identifiable", words, NAME_WELLS)
    infected = int(wells["infected"].sum())
    mock = len(wells) - infected
    if min(infected, mock) >= 2:
        return None
    words = f"{infected} infected and {count_text(mock, 'mock well')}: every difference between them "
    return Answer("not identifiable", words + "is also one between wells", THREE_WELLS)


def plates_of_design(plate: Plate) -> Answer:
    """Decide whether infection can be told from plate: some plates must hold both classes."""
    wells, n = plate.wells, plate.wells["plate"].nunique()
    if n < 2:
        words = (
            "one plate: no difference between plates can be the label, and nothing is said of another plate"
        )
        return Answer("not tested", words, "a second plate, left out of training")
    v = _cramer(wells["plate"], wells["infected"].to_numpy())
    both = int(wells.groupby("plate")["infected"].nunique().gt(1).sum())
    words = f"{both} of {n} plates hold both classes; Cramér's V of condition and plate {v:.2f}"
    remedy = "infected and mock wells on every plate"
    if both == 0:
        return Answer("not identifiable", words, remedy, v)
    return Answer("contradicted", words, remedy, v) if v > 0.5 else Answer("shown", words, "", v)


def place_of_design(plate: Plate) -> Answer:
    """Decide whether infection can be told from the place of wells on their plate."""
    wells, infected = plate.wells, plate.wells["infected"].to_numpy()
    if wells["row"].isna().any() or wells["mixed"].any():
        return Answer("not tested", "wells have no place on a plate (names such as B03)")
    if infected.all() or not infected.any():
        return Answer("not tested", ONE_CLASS, BOTH_CLASSES)
    for name, n in (("infected", infected.sum()), ("mock", (~infected).sum())):
        if n == 1:
            words = f"a single {name} well: what was done to it and where it stands are one"
            return Answer("not identifiable", words, MORE_WELLS)
    aucs = _place_aucs(wells)
    words = "AUC of the place alone: " + ", ".join(f"{name} {value:.2f}" for name, value in aucs.items())
    v = _cramer(wells["column"], infected)
    words += "" if np.isnan(v) else f"; Cramér's V of condition and column {v:.2f}"
    worst = max(aucs, key=lambda name: abs(aucs[name] - 0.5))
    if aucs[worst] in (0.0, 1.0):
        words += f"; the {worst} tells infected from mock, so what differs along it does, too"
        return Answer("not identifiable", words, "randomise the layout", aucs[worst])
    for line in ("column", "row"):
        pure = wells.groupby(line)["infected"].nunique().eq(1)
        if pure.all() and len(pure) < len(wells):  # treated line by line, as with a multichannel pipette
            n, m = (wells.loc[infected == kind, line].nunique() for kind in (True, False))
            words += f"; every {line} holds one condition, so n is {n} infected and {m} mock {line}s"
            if min(n, m) < 2:
                return Answer("not identifiable", words, "randomise the layout", aucs[worst])
    return Answer("not seen", words, "", aucs[worst])


def hours_of_design(plate: Plate) -> Answer | None:
    """Decide whether infection can be told from the hour: both classes must be imaged at the same hours."""
    auc, shared = hours_auc(plate.frames)
    if np.isnan(auc):
        return Answer("not identifiable", ONE_CLASS, BOTH_CLASSES)
    words = f"AUC of the hour alone {auc:.2f}; {shared:.0%} of frames lie at hours of both classes"
    if shared == 0:
        return Answer("not identifiable", words, SAME_HOURS, auc)
    if abs(auc - 0.5) > FAR:
        words += "; a clock without a picture would score"
        return Answer("contradicted", words, f"{SAME_HOURS}, or match controls", auc)
    return None


def clocks_of_design(plate: Plate) -> Answer:
    """Decide whether time since infection and time since start differ: only several onsets part them."""
    onsets, hours = plate.wells.loc[plate.wells["infected"], "onset_h"], plate.frames["hours"]
    remedy = "stagger the onset: infect wells at different hours of one time-lapse"
    if hours.min() == hours.max():
        return Answer("not tested", ONE_HOUR, remedy)
    if len(onsets) == 0 or onsets.isna().any():
        return Answer("not identifiable", "the onset of some infected wells is not known", remedy)
    if onsets.nunique() < 2:
        words = (
            f"all infected wells share one onset ({onsets.iloc[0]:g} h): time since infection is the clock "
            "less a constant"
        )
        return Answer("not identifiable", words, remedy)
    words = f"{onsets.nunique()} onsets in {len(onsets)} infected wells, {_range(onsets)}"
    return Answer("shown", words, "", float(onsets.nunique()))


def elapsed_of_design(plate: Plate) -> Answer | None:
    """Forbid what a model says of the clocks where :func:`clocks_of_design` says that they do not differ."""
    answer = clocks_of_design(plate)
    return None if answer.verdict == "shown" else answer


def wells_of(frames: pd.DataFrame) -> pd.DataFrame:
    """Return a row per well (per stack where wells are not given) with its place on the plate.

    Columns: ``plate well infected moi onset_h stacks``, ``mixed`` (holds both classes), and ``row column
    edge``: from 1, missing where the name is no place.
    """
    named = frames["well"].ne("")
    unit = np.where(named, group_codes(frames, "well"), -1 - group_codes(frames, "position"))
    grouped = frames.assign(infected=condition_codes(frames) == 1).groupby(unit)
    wells = grouped.agg(
        plate=("plate", "first"),
        well=("well", "first"),
        infected=("infected", "max"),
        least=("infected", "min"),
        moi=("moi", "max"),
        onset_h=("onset_h", "max"),
        stacks=("stack_id", "nunique"),
    ).reset_index(drop=True)
    wells["mixed"] = wells["infected"] != wells.pop("least")
    places = [parse_well(name) for name in wells["well"]]
    wells["row"] = pd.array([place and place[0] + 1 for place in places], dtype="Float64")
    wells["column"] = pd.array([place and place[1] + 1 for place in places], dtype="Float64")
    rows, columns = plate_format(filter(None, places)) or FORMATS[-1]
    at_edge = wells["row"].isin([1, rows]) | wells["column"].isin([1, columns])
    wells["edge"] = at_edge.astype("Float64").mask(wells["row"].isna())
    return wells


def _cramer(place: pd.Series, infected: np.ndarray) -> float:
    counts = pd.crosstab(place.astype(str), infected).to_numpy()
    if min(counts.shape) < 2:
        return float("nan")
    return float(contingency.association(counts, method="cramer"))


def _place_aucs(wells: pd.DataFrame) -> dict[str, float]:
    infected = wells["infected"].to_numpy()
    return {name: _auc(wells[name].to_numpy(float), infected) for name in ("row", "column", "edge")}


def _auc(values: np.ndarray, infected: np.ndarray) -> float:
    known = ~np.isnan(values)
    if len(np.unique(infected[known])) < 2:
        return float("nan")
    return float(roc_auc_score(infected[known], values[known]))


def _values_by_condition(wells: pd.DataFrame, name: str) -> str:
    if wells[name].isna().all():
        return "not known"
    parts = []
    for condition, mine in (("infected", wells[wells["infected"]]), ("mock", wells[~wells["infected"]])):
        found = sorted(mine[name].dropna().unique())
        parts.append(f"{condition}: {', '.join(f'{v:g}' if isinstance(v, float) else v for v in found)}")
    return "; ".join(parts)


def _range(onsets: pd.Series) -> str:
    known = onsets.dropna()
    return f"{known.min():g}-{known.max():g} h" if len(known) else ""
