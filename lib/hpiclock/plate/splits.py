"""Who may be in train, validation and test: whole groups only.

A group is the unit that was independently infected (the well), or a larger one. Groups are spread over the
splits class by class and, within a class, evenly over the MOIs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.config import SplitConfig
from hpiclock.errors import InputError
from hpiclock.tables import CONDITIONS, SPLITS

SIDES = len(SPLITS)  # a class needs a group on every side


class SplitPlan(NamedTuple):
    """Which stack stands where.

    ``stacks`` has a row per stack: ``stack_id, group, split, test_fold`` (the fold in which its group is
    tested; 0 without folds). ``notes`` are sentences that every report repeats.
    """

    stacks: pd.DataFrame
    unit: str
    notes: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of who stands where."""
        rows = self.stacks.sort_values("stack_id")[["stack_id", "group", "split"]]
        return hashlib.sha256(json.dumps(rows.to_numpy().tolist()).encode()).hexdigest()

    def dumps(self) -> str:
        """Return the text of a split file: :func:`read_split` takes it back."""
        stacks = self.stacks.sort_values("stack_id").to_dict("records")
        content = {"unit": self.unit, "notes": list(self.notes), "sha256": self.sha256, "stacks": stacks}
        return json.dumps(content, indent=1) + "\n"


def assign(manifest: pd.DataFrame, config: SplitConfig) -> SplitPlan:
    """Assign every stack to train, val or test so that no group stands on two sides.

    Raises:
        InputError: too few groups of a class for the unit that was asked for, an unknown plate or stack_id.
    """
    if config.file:
        return read_split(config.file, manifest)
    unit, notes = _unit(manifest, config)
    groups = _groups(manifest, unit, config.touching)
    rng = np.random.default_rng(config.seed)
    by_group = _strata(manifest, groups)
    if config.leave_out_plate:
        sides, folds = _leave_out(manifest, groups, by_group, config, rng)
    elif config.folds:
        folds = _folds(by_group, config.folds, rng)
        sides = {group: _side(fold, config) for group, fold in folds.items()}
    else:
        sides, folds = _one_split(by_group, config, rng), dict.fromkeys(by_group.index, 0)
    stacks = pd.DataFrame(
        {
            "stack_id": manifest["stack_id"].to_numpy(),
            "group": groups.to_numpy(),
            "split": groups.map(sides).to_numpy(),
            "test_fold": groups.map(folds).to_numpy(),
        }
    )
    _refuse_one_sided(stacks, manifest, unit)
    return SplitPlan(stacks, unit, notes)


def read_split(path: str | Path, manifest: pd.DataFrame) -> SplitPlan:
    """Read a split file and hold it against the manifest.

    Raises:
        InputError: not a split file, a changed file (its sha256 differs), or stacks that are not in it.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        stacks = pd.DataFrame(content["stacks"])[["stack_id", "group", "split", "test_fold"]]
    except FileNotFoundError:
        raise InputError(f"{path}: no such split file; leave split.file empty to draw a split") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not a split file; runs write one as split.json") from None
    absent = sorted(set(manifest["stack_id"]) - set(stacks["stack_id"]))
    if absent:
        raise InputError(f"{path}: {len(absent)} stacks of the plate are not in it, the first is {absent[0]}")
    plan = SplitPlan(stacks, content["unit"], tuple(content["notes"]))
    if content.get("sha256") not in (None, plan.sha256):
        raise InputError(f"{path}: changed since it was written; remove its sha256 line if that is meant")
    doubled = stacks.groupby("group")["split"].nunique()
    if (doubled > 1).any():
        raise InputError(f"{path}: group {doubled.idxmax()} stands on two sides; give each group one split")
    mine = stacks[stacks["stack_id"].isin(manifest["stack_id"])].reset_index(drop=True)
    return plan._replace(stacks=mine)


def _unit(manifest: pd.DataFrame, config: SplitConfig) -> tuple[str, tuple[str, ...]]:
    known = manifest[manifest["well"] != ""]
    wells = {c: known.loc[known["condition"] == c, ["plate", "well"]].drop_duplicates() for c in CONDITIONS}
    counts = {condition: len(rows) for condition, rows in wells.items()}
    if config.unit != "auto":
        asked = "SPLIT BY POSITION as asked: fields of one well may stand in train and in test."
        return config.unit, (asked,) if config.unit == "position" else ()
    if min(counts.values()) >= max(SIDES, config.folds):
        return "well", ()
    few = ", ".join(f"{count} {condition}" for condition, count in counts.items())
    return "position", (
        f"SPLIT BY POSITION: too few wells ({few}) to split by well, so fields of one well stand in train "
        "and in test. A good score can be the well's, not the infection's.",
    )


def _groups(manifest: pd.DataFrame, unit: str, touching: Iterable[Iterable[str]]) -> pd.Series:
    names = manifest["plate"].copy()
    if unit != "plate":
        names = names + "/" + manifest["well"].where(manifest["well"] != "", manifest["stack_id"])
    if unit == "position":
        names = manifest["stack_id"].copy()
    names.index = pd.Index(manifest["stack_id"])
    declared = [list(group) for group in touching]
    if "group" in manifest.columns:
        named = manifest[manifest["group"].fillna("").astype(str) != ""]
        declared += [list(rows["stack_id"]) for _, rows in named.groupby(["plate", "group"])]
    for group in declared:
        unknown = [stack for stack in group if stack not in names.index]
        if unknown:
            raise InputError(f"split.touching: no stack {unknown[0]}; `hpiclock manifest` lists the stack_id")
        names[names.isin(names[group])] = names[group[0]]
    return names.reset_index(drop=True)


def _strata(manifest: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    rows = manifest.assign(group=groups.to_numpy())
    return rows.groupby("group", sort=True).agg(
        stratum=("condition", lambda values: "+".join(sorted(set(values)))),
        moi=("moi", "max"),
        plate=("plate", "first"),
    )


def _shuffled(groups: pd.DataFrame, rng: np.random.Generator) -> list[str]:
    # sorted by MOI, random within: taking every k-th then takes every MOI
    return list(groups.iloc[rng.permutation(len(groups))].sort_values("moi", kind="stable").index)


def _every(order: list[str], n: int, rng: np.random.Generator) -> list[str]:
    step, start = len(order) / n, rng.random()
    return [order[int((i + start) * step)] for i in range(n)]


def _one_split(groups: pd.DataFrame, config: SplitConfig, rng: np.random.Generator) -> dict[str, str]:
    sides: dict[str, str] = {}
    for stratum, rows in groups.groupby("stratum"):
        if len(rows) < SIDES:
            raise InputError(
                f"split.unit: {len(rows)} groups of class {stratum}, {SIDES} are needed (train, val, test); "
                "set split.unit to auto or position, or bring more wells"
            )
        n_test = min(max(round(config.test * len(rows)), 1), len(rows) - 2)
        n_val = min(max(round(config.val * len(rows)), 1), len(rows) - n_test - 1)
        order = _shuffled(rows, rng)
        test = _every(order, n_test, rng)
        order = [group for group in order if group not in test]
        val = _every(order, n_val, rng)
        sides |= {group: "val" if group in val else "train" for group in order} | dict.fromkeys(test, "test")
    return sides


def _folds(groups: pd.DataFrame, k: int, rng: np.random.Generator) -> dict[str, int]:
    folds: dict[str, int] = {}
    for stratum, rows in groups.groupby("stratum"):
        if len(rows) < k:
            raise InputError(f"split.folds: {len(rows)} groups of class {stratum} cannot fill {k} folds")
        folds |= {group: i % k for i, group in enumerate(_shuffled(rows, rng))}
    return folds


def _side(fold: int, config: SplitConfig) -> str:
    if fold == config.fold:
        return "test"
    return "val" if fold == (config.fold + 1) % config.folds else "train"


def _leave_out(
    manifest: pd.DataFrame,
    groups: pd.Series,
    by_group: pd.DataFrame,
    config: SplitConfig,
    rng: np.random.Generator,
) -> tuple[dict[str, str], dict[str, int]]:
    plates = sorted(manifest["plate"].unique())
    if config.leave_out_plate not in plates or len(plates) < 2:
        raise InputError(
            f"split.leave_out_plate: {config.leave_out_plate}: the plates are {', '.join(plates)}"
        )
    out = set(groups[manifest["plate"].to_numpy() == config.leave_out_plate])
    share = config.val / (config.train + config.val)
    sides = dict.fromkeys(out, "test")
    for stratum, rows in by_group[~by_group.index.isin(out)].groupby("stratum"):
        if len(rows) < 2:
            raise InputError(f"split.leave_out_plate: one group of class {stratum} is left for train and val")
        order = _shuffled(rows, rng)
        val = _every(order, min(max(round(share * len(rows)), 1), len(rows) - 1), rng)
        sides |= {group: "val" if group in val else "train" for group in order}
    return sides, dict.fromkeys(by_group.index, 0)


def _refuse_one_sided(stacks: pd.DataFrame, manifest: pd.DataFrame, unit: str) -> None:
    conditions = manifest["condition"].groupby(stacks["split"].to_numpy()).agg(set)
    for split in SPLITS:
        missing = set(manifest["condition"]) - conditions.get(split, set())
        if missing:
            raise InputError(
                f"split.unit: {unit}: {split} would hold no {missing.pop()} stack; choose another unit"
            )
