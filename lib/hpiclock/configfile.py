"""Reading and writing config files.

A YAML file holds only differences from the defaults. It may name another one with ``base:`` and change a
few keys of it. Relative paths in a file are relative to that file; relative paths in overrides are
relative to the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from hpiclock.config import WHERE_KEYS, Config, leaves
from hpiclock.configerrors import explain
from hpiclock.errors import InputError
from hpiclock.yamltext import parse

# Keys whose values are paths, so that they can be moved with the file that says them.
PATH_KEYS = ("reports_dir", "data.source", "data.source.infected", "data.source.uninfected", "data.cache_dir",
             "data.quarantine", "split.file", "model.weights")  # fmt: skip
NOT_PATHS = {"", "none", "imagenet", "mobilenet_v2_wheel"}


class _Said(NamedTuple):
    """The values of a config and the file (or ``--set``) that says each key."""

    values: dict[str, Any]
    by: dict[str, str]


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config file, its ``base`` and the overrides, and check all of it.

    Args:
        path: a YAML file.
        overrides: dotted keys to values, e.g. ``{"train.epochs": 30}``; a table of keys changes those keys.

    Raises:
        InputError: a missing file, an unknown key (with the nearest right one) or a bad value.
    """
    path = Path(path)
    said = _with_base(path)
    _override(said, overrides or {})
    defaults = dict(leaves(Config()))
    for key in WHERE_KEYS:
        if _get(said.values, key) is None:
            _put(said.values, key, os.path.abspath(path.parent / defaults[key]))
    return _checked(said, str(path))


def config_of(overrides: Mapping[str, Any]) -> Config:
    """Return the defaults with these overrides, for commands that read a plate without a config file.

    Raises:
        InputError: an unknown key or a bad value.
    """
    said = _Said({}, {})
    _override(said, overrides)
    return _checked(said, "--set")


def read_setting(text: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE`` from a command line; the value is read as YAML.

    Raises:
        InputError: no ``=`` in it, or a value that is not YAML.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise InputError(f"--set {text}: write it as KEY=VALUE, e.g. --set train.epochs=30")
    try:
        return key.strip(), parse(value)
    except ValueError as error:
        raise InputError(f"--set {text}: the value is not YAML ({error})") from None


def dump_config(cfg: Config, folder: str | Path) -> str:
    """Return the whole config as YAML text to be kept in ``folder``: its paths are relative to there."""
    values = cfg.model_dump(mode="json")
    base = os.path.abspath(folder)
    for key in PATH_KEYS:
        value = _get(values, key)
        if isinstance(value, str) and value not in NOT_PATHS:
            _put(values, key, Path(os.path.relpath(value, base)).as_posix())
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _with_base(path: Path, seen: tuple[Path, ...] = ()) -> _Said:
    if path.resolve() in seen:
        raise InputError(f"{path}: its base leads back to itself; take out one `base:`")
    values = _read(path)
    base = values.pop("base", None)
    for key in PATH_KEYS:
        if _get(values, key) is not None:
            _put(values, key, _moved(_get(values, key), path.parent))
    mine = _Said(values, {key: str(path) for key, _ in _flat(values)})
    if base is None:
        return mine
    if not isinstance(base, str):
        raise InputError(f"{path}: base: {base!r} is not the name of one config file")
    if not (path.parent / base).is_file():
        raise InputError(f"{path}: base: no config file {path.parent / base}; correct the name")
    below = _with_base(path.parent / base, (*seen, path.resolve()))
    return _Said(_merged(below.values, mine.values), below.by | mine.by)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such config file; configs/ holds examples")
    try:
        values = parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text; a config is a YAML file") from None
    except ValueError as error:
        raise InputError(f"{path}: not YAML, {error}; correct it there") from None
    if values is not None and not isinstance(values, dict):
        raise InputError(f"{path}: a config is a table of keys, not {type(values).__name__}")
    return _without_empty_sections(values or {}, Config().model_dump())


def _without_empty_sections(values: dict[Any, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out a section all of whose keys are commented out: YAML reads it as null."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        inner = known.get(key)
        if isinstance(inner, dict) and value is None:
            continue
        nested = isinstance(inner, dict) and isinstance(value, dict)
        kept[str(key)] = _without_empty_sections(value, inner or {}) if nested else value
    return kept


def _override(said: _Said, overrides: Mapping[str, Any]) -> None:
    for key, value in _flat(overrides):
        _put(said.values, key, _moved(value, Path()) if key in PATH_KEYS else value)
        said.by[key] = "--set"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _moved(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, folder) for key, item in value.items()}
    if not isinstance(value, str) or value in NOT_PATHS:
        return value
    return os.path.abspath(folder / os.path.expanduser(value))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = dict(old)
    for key, value in new.items():
        nested = isinstance(value, dict) and isinstance(old.get(key), dict)
        both[key] = _merged(old[key], value) if nested else value
    return both


def _get(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for depth, part in enumerate(parents):
        inner = values.get(part)
        if inner is None or (parents[: depth + 1] == ["data", "source"] and isinstance(inner, str)):
            inner = values[part] = {}
        if not isinstance(inner, dict):
            return  # a section that is no table: the check says so
        values = inner
    values[last] = value


def _checked(said: _Said, place: str) -> Config:
    try:
        return Config.model_validate(said.values)
    except ValidationError as error:
        raise InputError(explain(error, said.by, place)) from None
