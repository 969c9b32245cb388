"""Plate maps: what was done to each well.

```yaml
plate: demo
folder: .                # where the stacks are (or one file of many), relative to this file
pattern: null            # how file names are read; null = data.name_pattern
interval_h: 1.0
wells:
  A1: {condition: mock, replicate: A}
  A2: {condition: infected, moi: 0.1, onset_h: 5.0, replicate: A}
```
``wells: layout.xlsx`` takes them from a sheet instead (see :mod:`hpiclock.plate.layout`), and such a sheet
can stand for the whole plate map when its stacks lie beside it.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from hpiclock.config import Hours, Section
from hpiclock.errors import InputError
from hpiclock.plate.layout import read_wells
from hpiclock.plate.names import normal_well
from hpiclock.plate.sheet import SUFFIXES as SHEETS
from hpiclock.plate.wells import Text, Well
from hpiclock.tables import UNKNOWN


class PlateMap(Section):
    """A plate: where its stacks are and what was done to its wells."""

    plate: Text = Field("", description="name; empty = the name of the folder")
    folder: str = Field(".", description="folder (or one file of many images), relative to the plate map")
    pattern: str | None = Field(None, description="name pattern; null = data.name_pattern")
    interval_h: Hours | None = Field(None, gt=0)
    start_h: Hours | None = None
    wells: dict[str, Well] = Field(min_length=1)


def read_platemap(path: Path, *, blind: bool = False) -> PlateMap:
    """Read a plate map; its wells are named as ``B03``, its folder is absolute.

    Args:
        path: YAML, or a sheet.
        blind: a well without a condition is of an unknown one.

    Raises:
        InputError: not YAML, a well named twice, an unknown key (with the nearest right one), a bad value.
    """
    values: dict[str, Any] = {"wells": str(path)} if path.suffix.lower() in SHEETS else _yaml(path)
    if isinstance(values["wells"], str):
        values = values | {"wells": read_wells(path.parent / Path(values["wells"]).expanduser(), blind=blind)}
    elif blind:
        values = values | {"wells": {name: _unsaid(well) for name, well in values["wells"].items()}}
    try:
        plate = PlateMap.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_line(error.errors()[0])}") from None
    names: dict[str, str] = {}
    for name in plate.wells:
        if normal_well(name) in names:
            raise InputError(f"{path}: wells {names[normal_well(name)]} and {name} are one well; keep one")
        names[normal_well(name)] = name
    folder = (path.parent / Path(plate.folder).expanduser()).absolute()
    return plate.model_copy(
        update={
            "wells": {well: plate.wells[name] for well, name in names.items()},
            "folder": str(folder),
            "plate": plate.plate or folder.resolve().name,
        }
    )


def _unsaid(well: Any) -> Any:
    return {"condition": UNKNOWN} | (well or {}) if well is None or isinstance(well, dict) else well


class _Strict(yaml.SafeLoader):
    """A loader that refuses a key given twice; plain YAML keeps the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8-sig"), _Strict)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); data.source names a plate map"
        ) from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(f"{path}: {line}{error.problem}; correct the YAML there") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError(f"{path}: not a YAML file; a plate map is text with a table `wells:`") from None
    wells = values.get("wells") if isinstance(values, dict) else None
    if not isinstance(wells, (dict, str)):
        raise InputError(f"{path}: no table `wells:` in it; a plate map says what was done to each well")
    if isinstance(wells, str):
        return dict(values)
    return values | {"wells": {str(name): well for name, well in wells.items()}}


def _line(item: Any) -> str:
    *parents, last = [str(part) for part in item["loc"]] or [""]
    where = ".".join([*parents, last])
    if item["type"] == "extra_forbidden":
        known = Well.model_fields if parents else PlateMap.model_fields
        near = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
        return f"unknown key {where}; " + (
            f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        )
    if item["type"] == "missing":
        return f"{where} is missing; every well needs its condition (infected or mock)"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: {message[0].lower() + message[1:]}, got {item['input']!r}; correct it"
