"""Checks over all stacks of a source together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hpiclock.plate.entries import Entry
from hpiclock.plate.problems import Problem


def check_together(entries: list[Entry], stacks: pd.DataFrame) -> list[Problem]:
    """Return what can be seen only over all stacks: doubles, mixed sizes, contradicting wells."""
    problems: list[Problem] = []
    seen: dict[Path, str] = {}
    for entry in entries:
        if entry.path in seen:
            where = f"{seen[entry.path]} and {entry.place}" if entry.place else "the source"
            problems.append(Problem(str(entry.path), "error", f"listed twice ({where})", "keep one"))
        seen[entry.path] = entry.place
    if stacks.empty:
        return problems
    problems += _doubled(stacks)
    problems += _sizes(stacks)
    problems += _two_conditions(stacks, listed=any(entry.listed for entry in entries))
    unknown = stacks[stacks["well"] == ""]
    if len(unknown):
        why = f"{len(unknown)} of {len(stacks)} stacks are of an unknown well: they cannot be grouped by well"
        where = ", ".join(stacks["plate"].drop_duplicates())
        problems.append(Problem(where, "note", why, "name wells in a manifest CSV or data.name_pattern"))
    return problems


def _doubled(stacks: pd.DataFrame) -> list[Problem]:
    problems = []
    for name, same in stacks.groupby("stack_id", sort=False):
        paths = list(dict.fromkeys(same["path"]))
        if len(paths) > 1:
            why = f"two stacks of one place {name}: also {paths[0]}"
            remedy = "tell them apart by plate, well, position or series (name pattern or manifest CSV)"
            problems += [Problem(path, "error", why, remedy) for path in paths[1:]]
    return problems


def _sizes(stacks: pd.DataFrame) -> list[Problem]:
    problems = []
    for plate, mine in stacks.groupby("plate", sort=False):
        sizes = mine["height"].astype(str) + " x " + mine["width"].astype(str)
        usual = sizes.mode().iloc[0]
        odd = mine[sizes.ne(usual)]
        if (mine["n_frames"] > 1).any():
            for path, size in zip(odd["path"], sizes[odd.index], strict=True):
                why = f"frames of {size} px, the other stacks of plate {plate} have {usual}"
                problems.append(Problem(path, "error", why, "export it at the same size or take it out"))
        elif len(odd):
            low, high = mine[["height", "width"]].min().min(), mine[["height", "width"]].max().max()
            why = f"stills of {sizes.nunique()} sizes ({low}-{high} px): each is resized, so scale is lost"
            problems.append(Problem(str(plate), "note", why))
    return problems


def _two_conditions(stacks: pd.DataFrame, *, listed: bool) -> list[Problem]:
    problems = []
    known = stacks[stacks["well"] != ""]
    for (plate, well), mine in known.groupby(["plate", "well"], sort=False):
        if mine["condition"].nunique() < 2:
            continue
        why = f"well {well} of plate {plate} is infected and mock at once"
        if listed:  # donors and slides hold both; a table says so on purpose
            problems.append(Problem(mine["path"].iloc[0], "note", why))
        else:
            remedy = (
                "if these are two plates, name them: (?P<plate>...) in the name pattern, or a manifest CSV"
            )
            problems += [Problem(path, "error", why, remedy) for path in mine["path"]]
    return problems
