"""What is wrong with a config, in one line: who says it, which key, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from hpiclock.config import Config, FolderPair, leaves

SHOWN = 3  # problems of one config that are listed


def explain(error: ValidationError, said_by: Mapping[str, str], place: str) -> str:
    """Return the problems of a config as one line.

    Args:
        error: what pydantic found.
        said_by: the file (or ``--set``) that says each key.
        place: the file to be named for a key that nobody says.
    """
    by_key: dict[str, list[Any]] = {}
    for item in error.errors():
        if not _other_kind(item):
            by_key.setdefault(_key(item), []).append(item)
    lines = [
        f"{said_by.get(key, place)}: {_problem(key, items)}" for key, items in list(by_key.items())[:SHOWN]
    ]
    more = len(by_key) - SHOWN
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _other_kind(item: Any) -> bool:
    """Whether it is the complaint of the alternative that was not meant (a text for a table, or back)."""
    is_table = isinstance(item["input"], dict)
    if item["loc"][-1:] == ("FolderPair",):
        return not is_table
    return item["loc"][-1:] == ("str",) and is_table


def _key(item: Any) -> str:
    # pydantic puts names of alternatives and indices between the keys
    key = ""
    for part in item["loc"]:
        longer = f"{key}.{part}" if key else str(part)
        if longer in _known():
            key = longer
    if item["type"] in ("extra_forbidden", "missing"):
        last = item["loc"][-1]
        if isinstance(last, str) and key.rpartition(".")[2] != last:
            key = f"{key}.{last}" if key else last
    return key


def _problem(key: str, items: Iterable[Any]) -> str:
    first, *_ = items = list(items)
    kind = first["type"]
    if kind == "extra_forbidden":
        near = _nearest(key)
        return f"unknown key {key}; " + (
            f"did you mean {near}?" if near else "`hpiclock config` lists all keys"
        )
    if kind == "missing" and isinstance(first["loc"][-1], int):
        return f"{key}: too few values, got {first['input']!r}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":
        return (f"{key}: " if key else "") + first["msg"].removeprefix("Value error, ")
    if kind in ("model_type", "model_attributes_type"):
        return f"{key}: a section with keys below it, got {first['input']!r}"
    # a tuple whose items were refused is also too short
    telling = [item for item in items if item["type"] != "too_short"] or items
    said = dict.fromkeys(item["msg"][0].lower() + item["msg"][1:] for item in telling)
    return f"{key}: {' or '.join(said)}, got {first['input']!r}"


@lru_cache(maxsize=1)
def _known() -> tuple[str, ...]:
    keys = [key for key, _ in leaves(Config())]
    keys += [f"data.source.{name}" for name in FolderPair.model_fields]
    sections = {key.rsplit(".", depth)[0] for key in keys for depth in range(1, key.count(".") + 1)}
    return (*keys, *sorted(sections - set(keys)))


def _nearest(key: str) -> str:
    """Return the key that was meant: one beside it, one of that name elsewhere, one that looks like it."""
    section, _, name = key.rpartition(".")
    beside = {known.rpartition(".")[2]: known for known in _known() if known.rpartition(".")[0] == section}
    elsewhere = {known.rpartition(".")[2]: known for known in reversed(_known())}
    for names, cutoff in ((beside, 0.6), (elsewhere, 0.75)):
        found = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
        if found:
            return names[found[0]]
    return next(iter(difflib.get_close_matches(key, _known(), n=1, cutoff=0.65)), "")
