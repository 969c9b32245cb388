"""What the design alone can and cannot show, before any training."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score

from hpiclock.acquisition import acquisition_settings, counted, differing
from hpiclock.analysis import units
from hpiclock.audit import MORE_WELLS, NAME_WELLS, ONE_HOUR, THREE_WELLS, Answer, permutation
from hpiclock.format import count_text, number_text
from hpiclock.tables import hour_strata
from hpiclock.wells import FORMATS, letters, parse_well, plate_format

RANDOMISE = "randomise the layout"
ONE_CLASS, BOTH_CLASSES = "all wells are of one class", "infected and mock wells on one plate"
SAME_HOURS = "image both classes at the same hours"
FAR = 0.1  # an AUC of the hours alone this far above 0.5 lets a clock score without seeing a cell
BALANCED, SEPARATED = (
    0.6,
    0.9,
)  # AUC of the plate alone: up to here no matter, from here on one with the label
ALIASED = 0.8  # association of condition and place, an AUC of 0.9 or of 0.1: one with the label
N_EMPTY = "n_empty"  # of a stack: how many frames are left out because they hold no picture
EXTREME = 0.05  # share of random layouts that are as extreme
LAYOUTS = 2000  # that are drawn


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
    n_plates = wells["plate"].nunique()
    rows.append(("plates", n_plates, ""))
    rows += [(f"wells at MOI {moi:g}", len(mine), "") for moi, mine in wells[infected].groupby("moi")]
    places = ["row", "column", "edge"]
    if n_plates > 1:
        places.insert(0, "plate")
        rows.append(("AUC of the plate alone", plate_auc(wells), ""))
    for name in places:
        v = _cramer(wells[name], infected)
        rows.append((f"Cramér's V of condition and {name}", v, _values_by_condition(wells, name)))
    rows += [(f"AUC of {name} alone", auc, "") for name, auc in _place_aucs(wells).items()]
    hours, shared = hours_auc(frames)
    rows.append(("AUC of the hour alone", hours, "over all frames, by condition"))
    rows.append(("share of frames at hours when both conditions are imaged", shared, ""))
    onsets = wells.loc[infected, "onset_h"]
    rows.append(("different onsets", onsets.nunique(), _range(onsets)))
    rows.append(("wells without an onset", onsets.isna().sum(), ""))
    return pd.DataFrame(rows, columns=["aspect", "value", "detail"]).astype({"value": float})


def hours_auc(frames: pd.DataFrame, infected: np.ndarray | None = None) -> tuple[float, float]:
    """Return how well the hour alone tells infected frames (AUC), and the share of frames at shared hours.

    The score of a frame is the infected share of its hour among the *other* wells, both classes counted
    alike: the best function of the hour, whatever its shape; 0.5 for all where wells share their hours.
    Frames of an hour are counted a well: one that a well lacks changes nothing at other hours.

    Args:
        frames: with ``plate well stack_id condition hours``.
        infected: (rows,) bool; by the condition where it is not given.
    """
    infected = units.condition_codes(frames) == 1 if infected is None else infected
    if infected.all() or not infected.any():
        return float("nan"), 0.0
    hour = np.unique(hour_strata(frames), return_inverse=True)[1]
    shared = float(np.isin(hour, np.intersect1d(hour[infected], hour[~infected])).mean())
    well, of_class = units.well_or_position_codes(frames), []
    for kind in (infected, ~infected):
        own = np.zeros((well.max() + 1, hour.max() + 1))
        np.add.at(own, (well[kind], hour[kind]), 1)
        others = own.sum(0)[hour] - own[well, hour]
        has = own.sum(1) > 0
        if has.sum() < 2:  # no other well of the class to fit the function on
            return float("nan"), shared
        of_class.append(others / np.maximum(has.sum() - has[well], 1))
    either = of_class[0] + of_class[1]
    score = np.where(either > 0, of_class[0] / np.where(either > 0, either, 1.0), 0.5).round(12)
    return _auc(score, infected), shared


class Plate(NamedTuple):
    """Every frame of a plate (or of the test), and a row per well (:func:`wells_of`)."""

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
    """Decide whether infection can be told from plate: plates must hold both classes, in like shares."""
    wells, n = plate.wells, plate.wells["plate"].nunique()
    if n < 2:
        words = (
            "one plate: no difference between plates can be the label, and nothing is said of another plate"
        )
        return Answer("not tested", words, "a second plate, left out of training")
    infected = wells["infected"].to_numpy()
    counts = wells.groupby("plate")["infected"].agg(["sum", "size"])
    both = int((counts["sum"].ge(2) & (counts["size"] - counts["sum"]).ge(2)).sum())
    auc = plate_auc(wells)
    words = f"{both} of {n} plates hold two wells and more of both classes; AUC of the plate alone {auc:.2f}"
    if n == 2:
        words += "; a new plate is not covered: two plates do not bound how plates differ"
    remedy = "infected and mock wells on every plate, in like numbers"
    if both == 0 or auc >= SEPARATED or infected.all() or not infected.any():
        return Answer("not identifiable", words, remedy, auc)
    if auc > BALANCED:
        words = f"{words}; read the AUC within plates, not the pooled one"
        return Answer("contradicted", words, remedy, auc)
    return Answer("shown", words, "", auc)


def plate_auc(wells: pd.DataFrame) -> float:
    """Return the AUC of the plate alone: each well's score is the infected share of its plate."""
    share = wells.groupby("plate")["infected"].transform("mean").to_numpy(float)
    return _auc(share, wells["infected"].to_numpy())


def place_of_design(plate: Plate) -> Answer:
    """Decide whether infection can be told from the place of wells on their plate.

    The association is the largest of :func:`place_associations`; its p is the share of random layouts of
    these wells, treatments given as they were, that reach it.
    """
    wells, infected = plate.wells, plate.wells["infected"].to_numpy()
    if wells["row"].isna().any() or wells["mixed"].any():
        return Answer("not tested", "wells have no place on a plate (names such as B03)")
    if infected.all() or not infected.any():
        return Answer("not tested", ONE_CLASS, BOTH_CLASSES)
    for name, n in (("infected", infected.sum()), ("mock", (~infected).sum())):
        if n == 1:
            words = f"a single {name} well: what was done to it and where it stands are one"
            return Answer("not identifiable", words, MORE_WELLS)
    given = permutation.well_units(plate.frames.drop_duplicates(["plate", "well"]))
    rng = np.random.default_rng(0)
    drawn = permutation.count_assignments(given, shuffles=LAYOUTS, rng=rng)[:, given.of_row]
    names, values = place_associations(wells, drawn)
    largest = values.max(1)
    size, name = float(largest[0]), names[int(values[0].argmax())]
    p, reach = float((largest >= size - 1e-9).mean()), float(np.quantile(largest, 0.95))
    words = f"association of condition and {name} {size:.2f} (0 none, 1 complete)"
    if given.name not in ("well", "position"):
        least = permutation.smallest_p(given, two_sided=False, shuffles=10**9)
        words += f"; treatments were given by {given.name}: no p below {least:.2g} is possible"
    if size >= ALIASED:
        words += f"; what differs along the {name} differs between infected and mock, too"
        return Answer("not identifiable", words, RANDOMISE, size)
    words += f"; {p:.0%} of random layouts of these wells are as extreme"
    if p <= EXTREME:
        return Answer("cannot tell", words, RANDOMISE, size)
    return Answer("not seen", f"{words}; above {reach:.2f} it would have stood out", "", size)


def place_associations(wells: pd.DataFrame, infected: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return how far the place tells the condition, 0..1, in several ways: names and (layouts, ways).

    Rows, columns and the edge as numbers (distance of their AUC from 0.5, doubled); rows, columns and
    quadrants as categories (Cramér's V over those that hold two wells and more).

    Args:
        wells: of :func:`wells_of`, all with a place.
        infected: (layouts, wells) bool.
    """
    place = wells[["row", "column", "edge"]].astype(float)
    n = infected.sum(1)
    pairs = np.maximum(n * (len(wells) - n), 1)
    ranks = infected @ stats.rankdata(place, axis=0)  # (layouts, 3)
    aucs = (ranks - (n * (n + 1) / 2)[:, None]) / pairs[:, None]
    right, low = (place[name].gt(place[name].median()) for name in ("column", "row"))
    lines = {"row": place["row"], "column": place["column"], "quadrant": 2 * low + right}
    found = [_cramer_of_lines(pd.factorize(codes)[0], infected) for codes in lines.values()]
    return ["row", "column", "edge", *lines], np.column_stack([np.abs(2 * aucs - 1), *found])


def _cramer_of_lines(line: np.ndarray, infected: np.ndarray) -> np.ndarray:
    """Return Cramér's V of each layout (layouts, wells) with the lines that hold two wells and more."""
    size = np.bincount(line)
    held = np.flatnonzero(size >= 2)
    if len(held) < 2:
        return np.zeros(len(infected))
    counts = infected.astype(float) @ (line[:, None] == held).astype(float)  # (layouts, lines)
    n, size = float(size[held].sum()), size[held]
    share = counts.sum(1, keepdims=True) / n
    spread = share * (1 - share)
    square = ((counts - size * share) ** 2 / size).sum(1, keepdims=True)
    return np.sqrt(np.divide(square, n * spread, out=np.zeros_like(square), where=spread > 0))[:, 0]


def settings_of_design(plate: Plate) -> Answer | None:
    """Decide whether a setting of the microscope or of the export goes with the condition."""
    if "dtype" not in plate.frames:
        return None
    stacks = plate.frames.drop_duplicates("stack_id")
    several = differing(acquisition_settings(stacks))
    found = {name: _goes_with_condition(stacks, values) for name, values in several.items()}
    with_it = [f"{name}: {words}" for name, (apart, words) in found.items() if apart]
    if with_it:
        remedy = "acquire and export both classes in the same way"
        return Answer("contradicted", "; ".join(with_it), remedy, float(len(with_it)))
    if several:
        words = "; ".join(f"{name}: {words}" for name, (_, words) in found.items())
        return Answer("not seen", f"settings differ, but not with the condition: {words}", "", 0.0)
    return Answer("shown", f"all {len(stacks)} stacks were acquired and stored alike", "", 0.0)


def empty_of_design(plate: Plate) -> Answer | None:
    """Decide whether frames without a picture, which are left out, go with the condition."""
    if N_EMPTY not in plate.frames:
        return None
    stacks = plate.frames.drop_duplicates("stack_id")
    n = stacks[N_EMPTY]
    if not n.any():
        return Answer("shown", f"no frame of {len(stacks)} stacks is of one grey level", "", 0.0)
    apart, words = _goes_with_condition(stacks, n.gt(0).map({True: "some", False: "none"}))
    classes = stacks.loc[n > 0, "condition"].nunique()
    wells = len(np.unique(units.well_or_position_codes(stacks[n > 0])))
    words = f"{n.sum()} empty frames of {int(n.gt(0).sum())} stacks are left out: {words}"
    if apart or (classes == 1 and wells > 1):
        remedy = "find out why frames were lost, and image both classes alike"
        return Answer("contradicted", words, remedy, float(n.sum()))
    if classes == 1:
        return Answer("cannot tell", f"{words}; one well tells no rule", "", float(n.sum()))
    return Answer("not seen", words, "", float(n.sum()))


def _goes_with_condition(stacks: pd.DataFrame, values: pd.Series) -> tuple[bool, str]:
    """Return whether a value tells the condition of wells, and the values of both classes in words."""
    well, infected = units.well_or_position_codes(stacks), units.condition_codes(stacks) == 1
    each = values.groupby([well, infected]).agg(lambda mine: " and ".join(sorted(set(mine))))
    of_class = each.index.get_level_values(1).to_numpy(bool)
    both = {"infected": each[of_class], "mock": each[~of_class]}
    words = "; ".join(f"{name} {counted(mine, 'well')}" for name, mine in both.items() if len(mine))
    value, kinds = pd.factorize(each)
    one_each = len(kinds) == 2 and all(len(mine.unique()) == 1 for mine in both.values())
    rng = np.random.default_rng(0)
    layouts = np.vstack([of_class, rng.permuted(np.tile(of_class, (LAYOUTS, 1)), axis=1)])
    size = _cramer_of_lines(value, layouts)
    p = float((size >= size[0] - 1e-9).mean())
    return one_each or size[0] >= ALIASED or p <= EXTREME, words


def hours_of_design(plate: Plate) -> Answer | None:
    """Decide whether infection can be told from the hour: both classes must be imaged at the same hours."""
    auc, shared = hours_auc(plate.frames)
    if plate.wells["infected"].nunique() < 2:
        return Answer("not identifiable", ONE_CLASS, BOTH_CLASSES)
    words = (
        f"AUC of the hour alone {number_text(auc, 2)}; {shared:.0%} of frames lie at hours of both classes"
    )
    if shared == 0:
        return Answer("not identifiable", words, SAME_HOURS, auc)
    if auc - 0.5 > FAR:
        words += "; a clock without a picture would score, and at the other hours the hour is the label"
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
    frames = frames.drop_duplicates(["plate", "well", "stack_id", "condition"])
    named = frames["well"].ne("")
    unit = np.where(named, units.group_codes(frames, "well"), -1 - units.group_codes(frames, "position"))
    grouped = frames.assign(infected=units.condition_codes(frames) == 1).groupby(unit)
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
    return float(stats.contingency.association(counts, method="cramer"))


def _place_aucs(wells: pd.DataFrame) -> dict[str, float]:
    infected = wells["infected"].to_numpy()
    return {name: _auc(wells[name].to_numpy(float), infected) for name in ("row", "column", "edge")}


def _auc(values: np.ndarray, infected: np.ndarray) -> float:
    known = ~np.isnan(values)
    if len(np.unique(infected[known])) < 2:
        return float("nan")
    return float(roc_auc_score(infected[known], values[known]))


def _values_by_condition(wells: pd.DataFrame, name: str) -> str:
    """Return the plates, rows or columns that hold wells of each condition, or how many are at the edge."""
    if wells[name].isna().all():
        return "not known"
    parts = []
    for condition, mine in (("infected", wells[wells["infected"]]), ("mock", wells[~wells["infected"]])):
        known = mine[name].dropna()
        if name == "edge":
            parts.append(f"{known.sum():g} of {count_text(len(known), f'{condition} well')} at the edge")
        else:
            write = {"row": lambda row: letters(int(row) - 1), "column": "{:g}".format}.get(name, str)
            parts.append(f"{condition}: {', '.join(map(write, sorted(known.unique())))}")
    return "; ".join(parts)


def _range(onsets: pd.Series) -> str:
    known = onsets.dropna()
    return f"{known.min():g}-{known.max():g} h" if len(known) else ""
