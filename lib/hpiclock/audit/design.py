"""What the design alone can and cannot show, before any training."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import contingency
from sklearn.metrics import roc_auc_score

from hpiclock.analysis.units import condition_codes, group_codes
from hpiclock.audit import BEFORE, CLOCKS, ELAPSED, HOUR, MORE_WELLS, PLACE, PLATE, WELL, AuditRow
from hpiclock.tables import hour_strata
from hpiclock.wells import FORMATS, parse_well, plate_format

ONE_CLASS, BOTH_CLASSES = "all wells are of one class", "infected and mock wells on one plate"
FAR = 0.1  # an AUC of the hours alone this far from 0.5 lets a clock score without seeing a cell


def design_table(frames: pd.DataFrame) -> pd.DataFrame:
    """Return ``aspect value detail`` of a plate: replicates, aliasing, hours, onsets.

    Cramér's V is between the condition and the place over wells (1 = the place tells the condition); an AUC
    says how well a number alone (row, column, edge, hour) ranks infected above mock (0.5 = not at all).

    Args:
        frames: one row per frame with the identity columns, ``hours`` and ``hpi``.
    """
    wells = _wells(frames)
    infected = wells["infected"].to_numpy()
    rows: list[tuple[str, float, str]] = []
    for name, mask in (("infected", infected), ("mock", ~infected)):
        mine = wells[mask]
        rows.append((f"{name} wells", float(len(mine)), f"{int(mine['stacks'].sum())} stacks"))
    rows.append(("plates", float(wells["plate"].nunique()), ""))
    for moi, mine in wells[infected].groupby("moi"):
        rows.append((f"wells at MOI {moi:g}", float(len(mine)), ""))
    for name in ("plate", "row", "column", "edge"):
        rows.append(
            (f"Cramér's V of condition and {name}", _cramer(wells[name], infected), _where(wells, name))
        )
    for name in ("row", "column", "edge"):
        rows.append((f"AUC of {name} alone", _auc(wells[name].to_numpy(float), infected), ""))
    hours, shared = hours_auc(frames)
    rows.append(("AUC of the hour alone", hours, "over all frames, by condition"))
    rows.append(("share of frames at hours of both classes", shared, ""))
    onsets = wells.loc[infected, "onset_h"]
    rows.append(("different onsets", float(onsets.nunique()), _spread(onsets)))
    rows.append(("wells without an onset", float(onsets.isna().sum()), ""))
    return pd.DataFrame(rows, columns=["aspect", "value", "detail"])


def judge_design(frames: pd.DataFrame) -> list[AuditRow]:
    """Return the rows that the design alone decides; rows on wells, hours and onsets only where it forbids.

    Args:
        frames: as in :func:`design_table`.
    """
    wells = _wells(frames)
    decided = [_well(wells), _plate(wells), _place(wells), _hour(frames)]
    return [*(row for row in decided if row is not None), *_clocks(wells, frames)]


def hours_auc(frames: pd.DataFrame) -> tuple[float, float]:
    """Return how well the hour alone tells the condition (AUC), and the share of frames at shared hours."""
    infected = condition_codes(frames) == 1
    strata = hour_strata(frames)
    both = np.intersect1d(strata[infected], strata[~infected])
    return _auc(frames["hours"].to_numpy(float), infected), float(np.isin(strata, both).mean())


def _well(wells: pd.DataFrame) -> AuditRow | None:
    if wells["mixed"].any():
        return None
    if wells["well"].eq("").all():
        words = "wells are not given, so fields of one well may stand as if they were independent"
        return AuditRow(WELL, "not identifiable", words, "name the wells in the plate map or the manifest")
    infected = int(wells["infected"].sum())
    mock = len(wells) - infected
    if min(infected, mock) >= 2:
        return None
    words = (
        f"{infected} infected and {mock} mock well{'' if mock == 1 else 's'}: every difference between them "
        "is also one between wells"
    )
    return AuditRow(WELL, "not identifiable", words, f"at least 3 wells per class; {BEFORE}")


def _plate(wells: pd.DataFrame) -> AuditRow:
    infected = wells["infected"].to_numpy()
    n = wells["plate"].nunique()
    if n < 2:
        words = (
            "one plate: no difference between plates can be the label, and nothing is said of another plate"
        )
        return AuditRow(PLATE, "not tested", words, "a second plate, left out of training")
    v = _cramer(wells["plate"], infected)
    held = wells.groupby("plate")["infected"].nunique()
    words = (
        f"{int((held > 1).sum())} of {n} plates hold both classes; Cramér's V of condition and plate {v:.2f}"
    )
    if not (held > 1).any():
        return AuditRow(PLATE, "not identifiable", words, "infected and mock wells on every plate", v)
    if v > 0.5:
        return AuditRow(PLATE, "contradicted", words, "infected and mock wells on every plate", v)
    return AuditRow(PLATE, "supported", words, "", v)


def _place(wells: pd.DataFrame) -> AuditRow:
    infected = wells["infected"].to_numpy()
    known = wells["row"].notna() & ~wells["mixed"]
    if not known.all():
        return AuditRow(PLACE, "not tested", "wells have no place on a plate (names such as B03)", "")
    if infected.all() or not infected.any():
        return AuditRow(PLACE, "not tested", ONE_CLASS, BOTH_CLASSES)
    for name, mask in (("infected", infected), ("mock", ~infected)):
        if mask.sum() == 1:
            words = f"a single {name} well: what was done to it and where it stands are one"
            return AuditRow(PLACE, "not identifiable", words, MORE_WELLS)
    found = {name: _auc(wells[name].to_numpy(float), infected) for name in ("row", "column", "edge")}
    words = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    v = _cramer(wells["column"], infected)
    words = f"AUC of the place alone: {words}"
    words += "" if np.isnan(v) else f"; Cramér's V of condition and column {v:.2f}"
    worst = max(found, key=lambda name: abs(found[name] - 0.5))
    if found[worst] in (0.0, 1.0):
        words += f"; the {worst} tells infected from mock, so what differs along it does, too"
        return AuditRow(PLACE, "not identifiable", words, "randomise the layout", found[worst])
    for line in ("column", "row"):
        told = wells.groupby(line)["infected"].nunique().eq(1)
        if told.all() and len(told) < len(wells):  # treated line by line, as with a multichannel pipette
            lines = [int(wells.loc[infected == kind, line].nunique()) for kind in (True, False)]
            words += (
                f"; every {line} holds one condition, so n is {lines[0]} infected and {lines[1]} mock {line}s"
            )
            if min(lines) < 2:
                return AuditRow(PLACE, "not identifiable", words, "randomise the layout", found[worst])
    return AuditRow(PLACE, "supported", words, "", found[worst])


def _hour(frames: pd.DataFrame) -> AuditRow | None:
    auc, shared = hours_auc(frames)
    if np.isnan(auc):
        return AuditRow(HOUR, "not identifiable", ONE_CLASS, BOTH_CLASSES)
    words = f"AUC of the hour alone {auc:.2f}; {shared:.0%} of frames lie at hours of both classes"
    if shared == 0:
        return AuditRow(HOUR, "not identifiable", words, "image both classes at the same hours", auc)
    if abs(auc - 0.5) > FAR:
        words += "; a clock without a picture would score"
        return AuditRow(
            HOUR, "contradicted", words, "image both classes at the same hours, or match controls", auc
        )
    return None


def _clocks(wells: pd.DataFrame, frames: pd.DataFrame) -> list[AuditRow]:
    """Whether time since infection and time since start differ; if not, no model can tell them apart."""
    onsets = wells.loc[wells["infected"], "onset_h"]
    remedy = "stagger the onset: infect wells at different hours of one time-lapse"
    if frames["hours"].min() == frames["hours"].max():
        words = "all frames are of one hour"
        return [AuditRow(name, "not tested", words, remedy) for name in (CLOCKS, ELAPSED)]
    if len(onsets) == 0 or onsets.isna().any():
        words = "the onset of some infected wells is not known"
    elif onsets.nunique() < 2:
        words = (
            f"all infected wells share one onset ({onsets.iloc[0]:g} h): time since infection is the clock "
            "less a constant"
        )
    else:
        words = f"{onsets.nunique()} onsets in {len(onsets)} infected wells, {_spread(onsets)}"
        return [AuditRow(CLOCKS, "supported", words, "", float(onsets.nunique()))]
    return [AuditRow(name, "not identifiable", words, remedy) for name in (CLOCKS, ELAPSED)]


def few_wells(wells: tuple[int, int], floor: float, alpha: float) -> str:
    """Return the words for a test that could not reach its level."""
    return (
        f"{wells[0]} infected and {wells[1]} mock wells: no p below {floor:.2g} is possible, "
        f"{alpha:.2g} is asked; {MORE_WELLS}"
    )


def _wells(frames: pd.DataFrame) -> pd.DataFrame:
    """One row per well (per stack where wells are not given), with its place."""
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


def _auc(values: np.ndarray, infected: np.ndarray) -> float:
    known = ~np.isnan(values)
    if len(np.unique(infected[known])) < 2:
        return float("nan")
    return float(roc_auc_score(infected[known], values[known]))


def _where(wells: pd.DataFrame, name: str) -> str:
    if wells[name].isna().all():
        return "not known"
    infected = wells["infected"].to_numpy()
    parts = []
    for words, mask in (("infected", infected), ("mock", ~infected)):
        found = sorted(wells.loc[mask, name].dropna().unique())
        parts.append(f"{words}: {', '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in found)}")
    return "; ".join(parts)


def _spread(onsets: pd.Series) -> str:
    known = onsets.dropna()
    return f"{known.min():g}-{known.max():g} h" if len(known) else ""
