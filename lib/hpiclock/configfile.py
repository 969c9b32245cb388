"""Reading and writing config files.

A YAML file holds only differences from the defaults. It may name another one with ``base:`` and change a
few keys of it. Relative paths in a file are relative to that file; relative paths in overrides are
relative to the working directory.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hpiclock.config import Config, leaves
from hpiclock.errors import InputError

# Keys whose values are paths, so that they can be moved with the file that says them.
PATH_KEYS = ("reports_dir", "data.source", "data.source.infected", "data.source.uninfected", "data.cache_dir",
             "split.file", "model.weights")  # fmt: skip
NOT_PATHS = {"", "none", "imagenet", "mobilenet_v2_wheel"}


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config file, its ``base`` and the overrides, and check all of it.

    Args:
        path: a YAML file.
        overrides: dotted keys to values, e.g. ``{"train.epochs": 30}``.

    Raises:
        InputError: a missing file, an unknown key (with the nearest right one) or a bad value.
    """
    path = Path(path)
    values = _with_base(path)
    for key, value in (overrides or {}).items():
        _put(values, key, _moved(value, Path()) if key in PATH_KEYS else value)
    defaults = leaves(Config())
    for key, value in defaults:
        if key in ("reports_dir", "data.cache_dir") and _get(values, key) is None:
            _put(values, key, os.path.abspath(path.parent / value))
    return _checked(values, str(path))


def config_of(overrides: Mapping[str, Any]) -> Config:
    """Return the defaults with these overrides, for commands that read a plate without a config file.

    Raises:
        InputError: an unknown key or a bad value.
    """
    values: dict[str, Any] = {}
    for key, value in overrides.items():
        _put(values, key, _moved(value, Path()) if key in PATH_KEYS else value)
    return _checked(values, "--set")


def read_setting(text: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE`` from a command line; the value is read as YAML.

    Raises:
        InputError: no ``=`` in it, or a value that is not YAML.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise InputError(f"--set {text}: write it as KEY=VALUE, e.g. --set train.epochs=30")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {text}: the value is not YAML ({error.__class__.__name__})") from None


def dump_config(cfg: Config, folder: str | Path) -> str:
    """Return the whole config as YAML text to be kept in ``folder``: its paths are relative to there."""
    values = cfg.model_dump(mode="json")
    base = os.path.abspath(folder)
    for key in PATH_KEYS:
        value = _get(values, key)
        if isinstance(value, str) and value not in NOT_PATHS:
            _put(values, key, Path(os.path.relpath(value, base)).as_posix())
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _with_base(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such config file")
    if path.resolve() in seen:
        raise InputError(f"{path}: its base leads back to itself")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        raise InputError(f"{path}:{line} is not YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: a config is a table of keys, not {type(values).__name__}")
    base = values.pop("base", None)
    for key in PATH_KEYS:
        if _get(values, key) is not None:
            _put(values, key, _moved(_get(values, key), path.parent))
    if base is None:
        return values
    return _merged(_with_base(path.parent / str(base), (*seen, path.resolve())), values)


def _moved(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, folder) for key, item in value.items()}
    if not isinstance(value, str) or value in NOT_PATHS:
        return value
    return os.path.abspath(folder / Path(value).expanduser())


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
    for part in parents:
        inner = values.get(part)
        if not isinstance(inner, dict):
            inner = values[part] = {}
        values = inner
    values[last] = value


def _checked(values: dict[str, Any], place: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(_line(place, item) for item in error.errors()[:5])) from None


def _line(place: str, item: Any) -> str:
    loc = [str(part) for part in item["loc"] if str(part) not in ("str", "FolderPair", "float", "int")]
    key = ".".join(loc)
    if item["type"] == "extra_forbidden":
        near = _nearest(key)
        return f"{place}: unknown key {key}" + (f"; did you mean {near}?" if near else "")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"].startswith("value_error"):
        return f"{place}: {key + ': ' if key else ''}{message}"
    return f"{place}: {key}: {message[0].lower() + message[1:]}, got {item['input']!r}"


def _nearest(key: str) -> str:
    known = [k for k, _ in leaves(Config())]
    known += sorted({k.rsplit(".", depth)[0] for k in known for depth in (1, 2)})
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return near[0]
    last = key.rsplit(".", 1)[-1]
    return next((k for k in known if k.rsplit(".", 1)[-1] == last), "")
