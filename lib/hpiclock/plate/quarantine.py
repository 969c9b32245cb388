"""The quarantine list: stacks that are left out of a run, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from hpiclock.errors import InputError
from hpiclock.files import atomic
from hpiclock.plate.table import read_text_table

COLUMNS = ("path", "reason")


def read_quarantine(path: str | Path) -> dict[str, str]:
    """Read a list of stacks to leave out: absolute path to reason.

    Args:
        path: a CSV or XLSX file with the columns ``path`` (relative to the file) and ``reason``.

    Raises:
        InputError: not such a table, or a stack without a reason.
    """
    path = Path(path)
    rows = read_text_table(path)
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} missing; a quarantine list needs path and reason"
        )
    bare = rows.index[rows["reason"].eq("") | rows["path"].eq("")]
    if len(bare):
        raise InputError(f"{path}: row {bare[0]}: path or reason is empty; say why the stack is left out")
    base = Path(os.path.abspath(path)).parent
    return {
        os.path.normpath(base / stack): reason
        for stack, reason in zip(rows["path"], rows["reason"], strict=True)
    }


def write_quarantine(stacks: pd.DataFrame, path: str | Path) -> Path:
    """Write a list that ``data.quarantine`` reads.

    Args:
        stacks: rows with ``path`` (absolute) and ``reason``.
        path: a CSV file; paths in it are relative to it.
    """
    path = Path(path)
    base = os.path.abspath(path.parent)
    rows = stacks[list(COLUMNS)].assign(
        path=[Path(os.path.relpath(stack, base)).as_posix() for stack in stacks["path"]]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        rows.to_csv(partial, index=False)
    return path
