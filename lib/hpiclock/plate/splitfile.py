"""A split as a file: written with a hash, so that it can be given back and a change is noticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hpiclock.errors import InputError
from hpiclock.tables import SPLITS

COLUMNS = ["stack_id", "group", "split", "test_fold"]


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


def read_split(path: str | Path, manifest: pd.DataFrame) -> SplitPlan:
    """Read a split file and hold it against the manifest; stacks that the manifest lacks are left out.

    Raises:
        InputError: not a split file, a changed file (its sha256 differs), stacks that are not in it, a group
            on two sides, or a side without a class that the manifest holds.
    """
    plan, said = _parse(Path(path))
    if said not in (None, plan.sha256):
        raise InputError(f"{path}: changed since it was written; remove its sha256 line if that is meant")
    _refuse(plan.stacks, path)
    stacks = plan.stacks.set_index("stack_id")
    absent = sorted(set(manifest["stack_id"]) - set(stacks.index))
    if absent:
        raise InputError(
            f"{path}: {len(absent)} stacks of the plate are not in it, the first is {absent[0]}; "
            "draw a split for this plate"
        )
    mine = stacks.loc[manifest["stack_id"]]
    classes = manifest["condition"].groupby(mine["split"].to_numpy()).agg(set)
    for split in SPLITS:
        missing = sorted(set(manifest["condition"]) - classes.get(split, set()))
        if missing:
            raise InputError(f"{path}: {split} holds no {missing[0]} stack of this plate; draw another split")
    return plan._replace(stacks=mine.reset_index()[COLUMNS])


def _parse(path: Path) -> tuple[SplitPlan, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stacks = pd.DataFrame(content["stacks"])[COLUMNS]
        stacks = stacks.astype({"stack_id": str, "group": str, "split": str, "test_fold": int})
        plan = SplitPlan(stacks, str(content["unit"]), tuple(str(note) for note in content["notes"]))
    except FileNotFoundError:
        raise InputError(f"{path}: no such split file; leave split.file empty to draw a split") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check split.file") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: not a split file; runs write one as split.json") from None
    return plan, content.get("sha256")


def _refuse(stacks: pd.DataFrame, path: str | Path) -> None:
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
