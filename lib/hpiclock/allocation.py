"""To what treatments were given: the units that a permutation may exchange.

A p-value says how often chance alone would give the result *as treatments were given*. Where whole columns
were infected, columns could have been drawn otherwise, wells could not: with four columns a class no p below
1/70 is possible, however many wells they hold (Lazic 2018).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.errors import InputError
from hpiclock.wells import parse_well

ALLOCATIONS = ("well", "column", "row", "block", "plate")
COLUMNS = ("allocation", "block")  # of a manifest, carried to frames and predictions where it has them


class Allocation(NamedTuple):
    """The unit (``well``, ``column`` ...; two where plates differ: ``column and well``) and each row's."""

    unit: str
    codes: np.ndarray  # (rows,) int


def allocation_units(rows: pd.DataFrame) -> Allocation:
    """Return the units to which treatments were given: what a permutation may exchange, and no less.

    By the column ``allocation`` where it says it, else by the layout of these rows
    (:func:`infer_allocation`); positions where wells are not given.

    Args:
        rows: with ``plate well stack_id condition``, and ``allocation block`` where they are known.

    Raises:
        InputError: a unit that holds both conditions (treatments were not given to it), or has no name.
    """
    if rows["well"].eq("").any():
        return Allocation("position", pd.factorize(rows["stack_id"])[0])
    keys = ["plate", "well", "condition", *(name for name in COLUMNS if name in rows.columns)]
    well_of_row = rows.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    rows = rows.iloc[np.unique(well_of_row, return_index=True)[1]]
    kind = given_to(rows)
    block = rows["block"].fillna("") if "block" in rows.columns else pd.Series("", rows.index)
    names = well_lines(rows["well"]).assign(well=rows["well"], block=block, plate=rows["plate"])
    name = np.select([kind == each for each in ALLOCATIONS], [names[each] for each in ALLOCATIONS])
    units = pd.MultiIndex.from_arrays([rows["plate"], kind, name])
    codes = units.factorize()[0]
    mixed = rows["condition"].groupby(codes).transform("nunique").gt(1).to_numpy() & (kind != "well")
    nameless = (name == "") & (kind != "plate")
    if nameless.any():
        at = int(np.argmax(nameless))
        problem = f"well {rows['well'].iloc[at]} of plate {rows['plate'].iloc[at]} has no {kind[at]}"
        raise InputError(f"allocation {kind[at]}: {problem}; name it, or write another allocation")
    if mixed.any():
        plate, unit, line = units[mixed][0]
        where = f"plate {plate}" if unit == "plate" else f"{unit} {line} of plate {plate}"
        remedy = "correct the conditions, or write allocation: well"
        raise InputError(f"allocation {unit}: {where} holds both conditions; {remedy}")
    return Allocation(" and ".join(sorted(set(kind))), codes[well_of_row])


def given_to(rows: pd.DataFrame) -> np.ndarray:
    """Return to what treatments were given, as stated, else by :func:`infer_allocation`: (rows,) str."""
    if "allocation" not in rows.columns:
        return infer_allocation(rows)
    stated = rows["allocation"].fillna("").to_numpy(object)
    return np.where(stated == "", infer_allocation(rows), stated) if (stated == "").any() else stated


def infer_allocation(rows: pd.DataFrame) -> np.ndarray:
    """Return to what treatments seem to have been given, by the layout: (rows,) str of :data:`ALLOCATIONS`.

    ``column`` (or ``row``) where every column of a plate that holds both conditions holds one and some hold
    several wells, ``plate`` where each of several plates holds one; else ``well``.

    Args:
        rows: with ``plate well condition``: all wells of a plate, for some may look otherwise.
    """
    wells = rows[["plate", "well"]].assign(infected=rows["condition"].eq("infected")).drop_duplicates()
    plates = wells.groupby("plate")["infected"].mean()
    if len(plates) > 1 and plates.isin([0, 1]).all() and plates.sum() not in (0, len(plates)):
        return np.full(len(rows), "plate", object)
    found = {plate: _pure_lines(mine) for plate, mine in wells.groupby("plate")}
    return rows["plate"].map(found).to_numpy(object)


def _pure_lines(wells: pd.DataFrame) -> str:
    infected, numbers = wells["infected"].to_numpy(), {}
    if infected.all() or not infected.any():
        return "well"
    for name, lines in well_lines(wells["well"]).items():
        code, held = pd.factorize(lines)
        share = np.bincount(code, infected) / np.bincount(code)
        if "" not in held and np.isin(share, (0, 1)).all() and len(held) < len(wells):
            numbers[str(name)] = len(held)
    return min(numbers, key=numbers.__getitem__, default="well")  # rows and columns: the fewer


def well_lines(wells: pd.Series) -> pd.DataFrame:
    """Return ``column row`` of each well as text, from 1; empty where its name is no place (``B03``)."""
    places = {name: parse_well(name) for name in wells.unique()}
    lines = {
        name: (str(place[1] + 1), str(place[0] + 1)) if place else ("", "") for name, place in places.items()
    }
    return pd.DataFrame([lines[name] for name in wells], columns=["column", "row"], index=wells.index)
