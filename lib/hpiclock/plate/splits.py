"""Who may be in train, validation and test: whole groups only. A split can be kept as a file, with a hash."""

import hashlib
import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.config.schema import SplitConfig
from hpiclock.errors import InputError
from hpiclock.files import check_file
from hpiclock.tables import CONDITIONS, SPLITS

Rng = np.random.Generator
COLUMNS = ["stack_id", "group", "split", "test_fold"]
N_SIDES = len(SPLITS)  # a class needs a group on every side


class SplitPlan(NamedTuple):
    """Which stack stands where.

    ``stacks`` has a row per stack: ``stack_id, group, split, test_fold`` (the fold in which its group is
    tested; 0 without folds). ``unit`` is what a group is. ``notes`` are sentences that every report repeats.
    """

    stacks: pd.DataFrame
    unit: str
    notes: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of who stands where, whatever the order of the stacks."""
        rows = self.stacks.sort_values("stack_id")[COLUMNS].astype(str)
        return hashlib.sha256(json.dumps([self.unit, rows.to_numpy().tolist()]).encode()).hexdigest()

    def dumps(self) -> str:
        """Return the text of a split file: :func:`read_split` takes it back."""
        stacks = self.stacks.sort_values("stack_id")[COLUMNS].to_dict("records")
        content = {"unit": self.unit, "notes": list(self.notes), "sha256": self.sha256, "stacks": stacks}
        return json.dumps(content, indent=1) + "\n"


def split_wells(manifest: pd.DataFrame, config: SplitConfig) -> SplitPlan:
    """Assign every stack to train, val or test so that no group stands on two sides.

    Raises:
        InputError: too few groups of a class for the chosen unit, an unknown plate or stack_id.
    """
    if config.file:
        return read_split(config.file, manifest)
    out = _left_out(manifest, config)
    unit, groups, notes = _unit(manifest, config, out)
    rng = np.random.default_rng(config.seed)
    folds = dict.fromkeys(groups.table.index, 0)
    if config.leave_out_plate:
        sides = _leave_out(groups, out, config, rng)
    elif config.folds:
        folds = {}
        for _, rows in groups.table.groupby("stratum"):
            order = _shuffled(rows, rng)
            # counting on from class to class keeps the folds of one size
            folds |= {group: i % config.folds for i, group in enumerate(order, start=len(folds))}
        role = {config.fold: "test", (config.fold + 1) % config.folds: "val"}
        sides = {group: role.get(fold, "train") for group, fold in folds.items()}
    else:
        sides = _one_split(groups.table, config, rng)
    group = groups.of_stack
    columns = (manifest["stack_id"].to_numpy(), group, group.map(sides), group.map(folds))
    stacks = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    _refuse_one_sided(stacks, manifest, unit, config)
    return SplitPlan(stacks, unit, notes)


def read_split(path: str | Path, manifest: pd.DataFrame) -> SplitPlan:
    """Read a split file and hold it against the manifest; stacks that the manifest lacks are left out.

    Raises:
        InputError: not a split file, a changed file (its sha256 differs), stacks that are not in it, a group
            on two sides, or a side without a class that the manifest holds.
    """
    plan, sha256 = _parse(Path(path))
    if sha256 not in (None, plan.sha256):
        raise InputError(f"{path}: changed since it was written; remove its sha256 line if that is meant")
    _refuse_inconsistent(plan.stacks, path)
    stacks = plan.stacks.set_index("stack_id")
    absent = sorted(set(manifest["stack_id"]) - set(stacks.index))
    if absent:
        lacks = f"{len(absent)} stacks of the plate are not in it, the first is {absent[0]}"
        raise InputError(f"{path}: {lacks}; draw a split for this plate")
    mine = stacks.loc[manifest["stack_id"]]
    for side, condition in _missing_classes(mine["split"], manifest):
        raise InputError(f"{path}: {side} holds no {condition} stack of this plate; draw another split")
    return plan._replace(stacks=mine.reset_index()[COLUMNS])


def _missing_classes(sides: pd.Series, manifest: pd.DataFrame) -> list[tuple[str, str]]:
    """The sides without a class that the manifest holds: ``(side, condition)``."""
    held = set(zip(sides, manifest["condition"], strict=True))
    return [pair for pair in product(SPLITS, sorted(set(manifest["condition"]))) if pair not in held]


def _parse(path: Path) -> tuple[SplitPlan, Any]:
    check_file(path, "leave split.file empty to draw a split", "split file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stacks = pd.DataFrame(content["stacks"])[COLUMNS]
        stacks = stacks.astype({"stack_id": str, "group": str, "split": str, "test_fold": int})
        plan = SplitPlan(stacks, str(content["unit"]), tuple(str(note) for note in content["notes"]))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check split.file") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: not a split file; runs write one as split.json") from None
    return plan, content.get("sha256")


def _refuse_inconsistent(stacks: pd.DataFrame, path: str | Path) -> None:
    strange = stacks[~stacks["split"].isin(SPLITS)]
    if len(strange):
        row = strange.iloc[0]
        raise InputError(f"{path}: stack {row['stack_id']}: split {row['split']}; write {', '.join(SPLITS)}")
    doubled = stacks["stack_id"].duplicated()
    if doubled.any():
        raise InputError(f"{path}: stack {stacks.loc[doubled, 'stack_id'].iloc[0]} stands twice; keep one")
    sides = stacks.groupby("group")["split"].nunique()
    if (sides > 1).any():
        raise InputError(f"{path}: group {sides.idxmax()} stands on two sides; give each group one split")


class _Groups(NamedTuple):
    """The group of every stack, and what each group is: ``stratum moi plate``, by group."""

    of_stack: pd.Series
    table: pd.DataFrame


def _left_out(manifest: pd.DataFrame, config: SplitConfig) -> np.ndarray:
    """Which stacks are of the plate that is left out, shape (n_stacks,)."""
    plates = sorted(manifest["plate"].unique())
    if config.leave_out_plate and (config.leave_out_plate not in plates or len(plates) < 2):
        there = f"{config.leave_out_plate}: the plates are {', '.join(plates)}"
        raise InputError(f"split.leave_out_plate: {there}; name one of several")
    return manifest["plate"].eq(config.leave_out_plate).to_numpy() & bool(config.leave_out_plate)


def _unit(
    manifest: pd.DataFrame, config: SplitConfig, out: np.ndarray
) -> tuple[str, _Groups, tuple[str, ...]]:
    unknown = int(manifest["well"].eq("").sum())
    if unknown == len(manifest) and config.unit == "well":
        raise InputError(
            "split.unit: well: no stack names its well; name wells by data.name_pattern or a manifest CSV, "
            "or set split.unit to position"
        )
    unit = "well" if config.unit == "auto" else config.unit
    groups = _groups(manifest, unit, config.touching)
    notes: tuple[str, ...] = ()
    if unit == "well" and unknown:
        notes = (
            f"{unknown} stacks name no well and count as a well each: fields of one well may stand in train "
            "and in test.",
        )
    if config.unit == "auto":
        known = groups.of_stack[manifest["well"].ne("").to_numpy()]
        few = _shortage(groups, config, out, groups.table.index.isin(known))
        if few:
            unit, groups = "position", _groups(manifest, "position", config.touching)
            notes = (_by_position(f"too few wells ({few}) to split by well", config),)
    elif unit == "position":
        notes = (_by_position("as asked", config),)
    few = _shortage(groups, config, out, np.ones(len(groups.table), bool))
    if few:
        joined = ", counted after split.touching" if config.touching else ""
        remedy = "bring more stacks" if config.unit == "auto" else "bring more, or set split.unit to auto"
        lacks = f"too few groups ({few}{joined}), each class needs {_needed(config)}"
        raise InputError(f"split.unit: {unit}: {lacks}; {remedy}")
    return unit, groups, notes


def _by_position(why: str, config: SplitConfig) -> str:
    sides = "train and in validation" if config.leave_out_plate else "train and in test"
    apart = "The plate that is left out is apart."
    warning = "A good score can be the well's, not the infection's."
    meaning = apart if config.leave_out_plate else warning
    return f"SPLIT BY POSITION: {why}, so fields of one well stand in {sides}. {meaning}"


def _needed(config: SplitConfig) -> int:
    return 2 if config.leave_out_plate else max(N_SIDES, config.folds)


def _shortage(groups: _Groups, config: SplitConfig, out: np.ndarray, countable: np.ndarray) -> str:
    """The classes with fewer groups than are needed, e.g. ``2 mock``; empty when there are enough.

    Groups that hold both classes count only for a class that has no group of its own.
    """
    left = countable & ~groups.table.index.isin(groups.of_stack[out])
    strata = groups.table.loc[left, "stratum"]
    there = {condition for stratum in groups.table["stratum"] for condition in stratum.split("+")}
    counts = {
        condition: int(strata.eq(condition).sum()) or int(strata.str.contains("+", regex=False).sum())
        for condition in CONDITIONS
        if condition in there
    }
    return ", ".join(f"{n} {condition}" for condition, n in counts.items() if n < _needed(config))


def _groups(manifest: pd.DataFrame, unit: str, touching: Iterable[Iterable[str]]) -> _Groups:
    names = manifest["plate"].copy()
    if unit != "plate":
        names = names + "/" + manifest["well"].where(manifest["well"] != "", manifest["stack_id"])
    if unit == "position":
        names = manifest["stack_id"].copy()
    names.index = pd.Index(manifest["stack_id"])
    declared = [list(group) for group in touching if group]
    if "group" in manifest.columns:
        named = manifest[manifest["group"].notna() & manifest["group"].ne("")]
        declared += [list(rows["stack_id"]) for _, rows in named.groupby(["plate", "group"])]
    for group in declared:
        unknown = [stack for stack in group if stack not in names.index]
        if unknown:
            raise InputError(f"split.touching: no stack {unknown[0]}; `hpiclock manifest` lists the stack_id")
        names[names.isin(names[group])] = names[group[0]]
    rows = manifest.assign(group=names.to_numpy())
    table = rows.groupby("group", sort=True).agg(
        stratum=("condition", lambda values: "+".join(sorted(set(values)))),
        moi=("moi", "max"),
        plate=("plate", "first"),
        onset_h=("onset_h", "max"),
    )
    return _Groups(names.reset_index(drop=True), table)


def _shuffled(groups: pd.DataFrame, rng: Rng) -> list[str]:
    # sorted by MOI, plate and onset, random within: taking every k-th then spreads over all of them
    shuffled = groups.iloc[rng.permutation(len(groups))]
    return list(shuffled.sort_values(["moi", "plate", "onset_h"], kind="stable").index)


def _dealt(groups: pd.DataFrame, sizes: dict[str, int], rng: Rng) -> dict[str, str]:
    """Give each side that many groups, spread over MOI, plate and onset, and the rest to train."""
    order = _shuffled(groups, rng)
    sides: dict[str, str] = {}
    for side, n in sizes.items():
        step, start = len(order) / max(n, 1), rng.random()  # every k-th
        sides |= dict.fromkeys((order[int((i + start) * step)] for i in range(n)), side)
        order = [group for group in order if group not in sides]
    return sides | dict.fromkeys(order, "train")


def _one_split(groups: pd.DataFrame, config: SplitConfig, rng: Rng) -> dict[str, str]:
    sides: dict[str, str] = {}
    for _, rows in groups.groupby("stratum"):
        n = len(rows)
        least = 1 if n >= N_SIDES else 0  # a few groups that hold both classes need not be everywhere
        n_test = min(max(round(config.test * n), least), n - 2 * least)
        n_val = min(max(round(config.val * n), least), n - n_test - least)
        sides |= _dealt(rows, {"test": n_test, "val": n_val}, rng)
    return sides


def _leave_out(groups: _Groups, out: np.ndarray, config: SplitConfig, rng: Rng) -> dict[str, str]:
    tested = set(groups.of_stack[out])  # a group that touches the plate leaves with it
    share = config.val / (config.train + config.val)
    sides = dict.fromkeys(tested, "test")
    for _, rows in groups.table[~groups.table.index.isin(tested)].groupby("stratum"):
        least = min(len(rows) - 1, 1)
        n_val = min(max(round(share * len(rows)), least), len(rows) - least)
        sides |= _dealt(rows, {"val": n_val}, rng)
    return sides


def _refuse_one_sided(stacks: pd.DataFrame, manifest: pd.DataFrame, unit: str, config: SplitConfig) -> None:
    for side, condition in _missing_classes(stacks["split"], manifest):
        if config.leave_out_plate and side == "test":
            lacks = f"{config.leave_out_plate} holds no {condition} stack"
            raise InputError(f"split.leave_out_plate: {lacks}; leave out a plate with both classes")
        lacks = f"{side} would hold no {condition} stack"
        raise InputError(f"split.unit: {unit}: {lacks}; choose another split.unit or split.seed")
