"""Reading and writing config files; a fault is a line with file, key and remedy."""

import itertools
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ValidationError

from hpiclock.config.schema import WHERE_KEYS, Config, FolderPair, flat, iterate_keys
from hpiclock.errors import InputError, nearest
from hpiclock.files import read_text

LISTED = 3  # problems of one config that are listed
MOST_BYTES = 1_000_000  # of a YAML file: the map of a plate of 1536 wells has half of it
MOST_VALUES = 200_000  # that a YAML file says, each anchor counted where it is used
MOST_BASES = 20
LONGEST_SHOWN = 80  # characters of a bad value
# Keys whose values are paths, so that they can be moved with the file that says them.
SOURCE_KEYS = ("data.source", "data.source.infected", "data.source.uninfected")
PATH_KEYS = ("reports_dir", *SOURCE_KEYS, "data.cache_dir", "data.quarantine", "split.file", "model.weights")
NOT_PATHS = {"", "none", "imagenet", "mobilenet_v2_wheel"}


class _Settings(NamedTuple):
    """The values of a config and the file (or ``--set``) that sets each key."""

    values: dict[str, Any]
    set_by: dict[str, str]


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a config file, its ``base`` and the overrides, and check all of it.

    Args:
        path: a YAML file.
        overrides: dotted keys to values, e.g. ``{"train.epochs": 30}``; a table of keys changes those keys.

    Raises:
        InputError: a missing file, an unknown key (with the nearest right one) or a bad value.
    """
    path = Path(path)
    settings = _with_base(path)
    _override(settings, overrides or {})
    defaults = dict(iterate_keys(Config()))
    for key in WHERE_KEYS:
        if _get(settings.values, key) is None:
            _put(settings.values, key, os.path.abspath(path.parent / defaults[key]))
    return _checked(settings, str(path))


def config_of(overrides: Mapping[str, Any]) -> Config:
    """Return the defaults with these overrides, for commands that read a plate without a config file.

    Raises:
        InputError: an unknown key or a bad value.
    """
    settings = _Settings({}, {})
    _override(settings, overrides)
    return _checked(settings, "--set")


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


def _with_base(path: Path, seen: tuple[str, ...] = ()) -> _Settings:
    if os.path.realpath(path) in seen:
        raise InputError(f"{path}: its base leads back to itself; take out one `base:`")
    if len(seen) > MOST_BASES:
        raise InputError(f"{path}: more than {MOST_BASES} files lead here by `base:`; put them together")
    values = _read(path)
    base = values.pop("base", None)
    for key in PATH_KEYS:
        if _get(values, key) is not None:
            _put(values, key, _moved(_get(values, key), path.parent))
    mine = _Settings(values, {key: str(path) for key, _ in flat(values)})
    if base is None:
        return mine
    if not isinstance(base, str):
        raise InputError(f"{path}: base: {base!r} is not the name of one config file")
    if not os.path.isfile(path.parent / base):
        raise InputError(f"{path}: base: no config file {path.parent / base}; correct the name")
    below = _with_base(path.parent / base, (*seen, os.path.realpath(path)))
    return _Settings(_merged(below.values, mine.values), below.set_by | mine.set_by)


def _read(path: Path) -> dict[str, Any]:
    values = read_yaml(path, "config file", "configs/ holds examples")
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


def _override(settings: _Settings, overrides: Mapping[str, Any]) -> None:
    for key, value in flat(overrides):
        if key not in _known():
            raise InputError(f"--set: {_unknown(key)}")
        _put(settings.values, key, _moved(value, Path()) if key in PATH_KEYS else value)
        settings.set_by[key] = "--set"


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


def _checked(settings: _Settings, place: str) -> Config:
    try:
        return Config.model_validate(settings.values)
    except ValidationError as error:
        raise InputError(config_errors(error, settings.set_by, place)) from None


class _Strict(yaml.SafeLoader):
    """YAML 1.2 as people mean it, and no key twice (plain YAML keeps the last one without a word).

    010, 1:30, yes, no, on, off and dates are text, which a number's or a switch's key reads or refuses.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict) or key is None:
                kind = "null" if key is None else "a list" if isinstance(key, list) else "a table"
                problem = f"a key is {kind}, which names nothing"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_DEEP = re.compile(r"(?:[\[{?]\s*){100}|^\s*(?:- ){100}", re.MULTILINE)
_TAG = "tag:yaml.org,2002:"
_Strict.yaml_implicit_resolvers = {}
_Strict.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.removeprefix(_TAG) in ("str", "int", "float", "bool", "null", "map", "seq")
}
for _kind, _form, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)\.[0-9]*)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Strict.add_implicit_resolver(_TAG + _kind, re.compile(f"^(?:{_form})$"), list(_first))


def parse(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        ValueError: not YAML, a key that stands twice, or anchors that say far more than stands there; the
            message begins with the line.
    """
    try:
        if _DEEP.search(text):
            raise RecursionError  # which reading them takes seconds to find
        loader = _Strict(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _weigh(node, {})
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (KeyError, IndexError, TypeError, AttributeError):  # a tag with a value that it cannot have
        raise ValueError("a tag (!!) does not fit its value") from None


def _weigh(node: yaml.Node, weights: dict[int, int]) -> int:
    """Return how many values a node says, each anchor counted where it is used."""
    if id(node) not in weights:
        weights[id(node)] = 0  # until it is known
        inner = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = itertools.chain.from_iterable(inner) if isinstance(node, yaml.MappingNode) else inner
        weights[id(node)] = 1 + sum(_weigh(part, weights) for part in parts)
    weight = weights[id(node)]
    if not 0 < weight <= MOST_VALUES:
        problem = f"says more than {MOST_VALUES:,} values" if weight else "an anchor holds itself"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return weight


def read_yaml(path: Path, what: str = "YAML file", remedy: str = "correct the name") -> Any:
    """Return what a YAML file says.

    Args:
        path: the file.
        what: what it should be, for errors.
        remedy: what helps where it is none.

    Raises:
        InputError: it cannot be read, or is not YAML.
    """
    text = read_text(path, remedy, most=MOST_BYTES, what=what)
    try:
        return parse(text)
    except ValueError as error:
        raise InputError(f"{path}: not YAML, {error}; correct it there") from None


def config_errors(error: ValidationError, set_by: Mapping[str, str], place: str) -> str:
    """Return the problems of a config as one line.

    Args:
        error: what pydantic found.
        set_by: the file (or ``--set``) that sets each key.
        place: the file to be named for a key that nobody sets.
    """
    by_key: dict[str, list[Any]] = {}
    for item in error.errors():
        if not _other_kind(item):
            by_key.setdefault(_key(item), []).append(item)
    listed = itertools.islice(by_key.items(), LISTED)
    lines = [f"{set_by.get(key, place)}: {_problem(key, items)}" for key, items in listed]
    more = len(by_key) - LISTED
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _other_kind(item: Any) -> bool:
    """Whether it is the complaint of the alternative that was not meant (a text for a table, or back)."""
    is_table = isinstance(item["input"], dict)
    if item["loc"][-1:] == ("FolderPair",):
        return not is_table
    return item["loc"][-1:] == ("constrained-str",) and is_table


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
        return _unknown(key)
    if kind == "missing" and isinstance(first["loc"][-1], int):
        return f"{key}: too few values, got {_shown(first['input'])}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":
        return (f"{key}: " if key else "") + first["msg"].removeprefix("Value error, ")
    if kind in ("model_type", "model_attributes_type"):
        return f"{key}: a section with keys below it, got {_shown(first['input'])}"
    # a tuple whose items were refused is also too short
    telling = [item for item in items if item["type"] != "too_short"] or items
    messages = dict.fromkeys(item["msg"][0].lower() + item["msg"][1:] for item in telling)
    return f"{key}: {' or '.join(messages)}, got {_shown(first['input'])}"


def _unknown(key: str) -> str:
    near = _nearest(key)
    hint = f"did you mean {near}?" if near else "`hpiclock config` lists all keys"
    return f"unknown key {key}; {hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


@lru_cache(maxsize=1)
def _known() -> tuple[str, ...]:
    keys = [key for key, _ in iterate_keys(Config())]
    keys += [f"data.source.{name}" for name in FolderPair.model_fields]
    sections = {key.rsplit(".", depth)[0] for key in keys for depth in range(1, key.count(".") + 1)}
    return (*keys, *sorted(sections - set(keys)))


def _nearest(key: str) -> str:
    """Return the key that was meant: the one above, one beside it, one of that name elsewhere, one alike."""
    section, _, name = key.rpartition(".")
    parents = {known.rpartition(".")[0] for known in _known()}
    for above in itertools.accumulate(key.split("."), "{}.{}".format):
        if above in _known() and above not in parents:  # below it there is none
            return above
    beside = {known.rpartition(".")[2]: known for known in _known() if known.rpartition(".")[0] == section}
    elsewhere = {known.rpartition(".")[2]: known for known in reversed(_known())}
    for names, cutoff in ((beside, 0.6), (elsewhere, 0.75)):
        if found := nearest(name, names, cutoff):
            return names[found]
    return nearest(key, _known(), 0.65)


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem of a file of another kind than a config: key, what is wrong, what helps.

    Args:
        error: what pydantic found.
        model: what the file should hold.
    """
    item = error.errors()[0]
    *above, last = [str(part) for part in item["loc"]] or [""]
    where = ".".join([*above, last])
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] in ("extra_forbidden", "invalid_key"):
        for part in above:  # names of wells and the like stand between the keys
            field = model.model_fields.get(part)
            inner = get_args(field.annotation) or (field.annotation,) if field else (model,)
            model = next((kind for kind in inner if hasattr(kind, "model_fields")), model)
        known = list(model.model_fields)
        near = nearest(last, known, 0.5)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
        return f"unknown key {where}; {hint}"
    if last == "[key]":
        return f"{'.'.join(above[:-1])}: the key {item['input']!r} is not a word; write it in quotes"
    if item["type"] == "missing":
        return f"{where} is missing; give it"
    if item["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where}: {message[0].lower() + message[1:]}, got {_shown(item['input'])}; correct it"
