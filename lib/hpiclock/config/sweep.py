"""Sweep files: one base config, and everything that is to be varied; here it becomes a list of trials.

A trial is one point of the sweep: the run that must be trained for it, and the test frames on which it is
evaluated. Trials that differ by those frames only share a run.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, ValidationError, model_validator

from hpiclock.config.load import first_problem, load_config, read_yaml
from hpiclock.config.schema import Config, Hours, Section, Split, option
from hpiclock.errors import InputError
from hpiclock.files import safe_name

Mode = Literal["train-test", "test-only"]
Controls = Literal["full", "matched"]
MOST_TRIALS = 5000
SHORT = {"seed": "seed", "split.fold": "fold"}  # how a key stands in the name of a run's folder


class HoursAxis(Section):
    """Hours since imaging start to which frames of infected wells are limited, one trial each."""

    start_h: Hours = option(0.0, "beginning of the intervals [start_h, x]", ge=0)
    until_h: tuple[Hours, ...] = option((), "their ends x")
    starts_h: tuple[Hours, ...] = option((), "beginnings of sliding windows")
    width_h: Hours | None = option(None, "of the sliding windows", gt=0)
    modes: tuple[Mode, ...] = option(
        ("train-test", "test-only"),
        "train-test: trained and evaluated in these hours; test-only: trained on all",
        min_length=1,
    )
    controls: tuple[Controls, ...] = option(
        ("full", "matched"), "mock frames of all hours, or of the same hours", min_length=1
    )

    @model_validator(mode="after")
    def _one_kind(self) -> HoursAxis:
        if bool(self.until_h) == bool(self.starts_h):
            raise ValueError("give until_h (intervals) or starts_h with width_h (sliding windows)")
        if self.starts_h and self.width_h is None:
            raise ValueError("starts_h needs width_h")
        if any(end <= self.start_h for end in self.until_h):
            raise ValueError(f"every until_h must be above start_h, {self.start_h:g}")
        return self

    def windows(self) -> list[tuple[float, float]]:
        """Return ``(start_h, end_h)`` of every trial."""
        if self.until_h:
            return [(self.start_h, end) for end in self.until_h]
        return [(start, start + (self.width_h or 0)) for start in self.starts_h]


class FrozenFeatures(Section):
    """Heads alone are trained, on features that are computed once: a probe, no training."""

    run: str = option("", "folder of a trained run; empty = the weights that the base config names")


class SweepFile(Section):
    """What a sweep file says."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120, description="folder under reports/"
    )
    base: str = Field(description="config file, relative to this one")
    set: dict[str, Any] = option({}, "keys for all runs")
    variants: dict[str, dict[str, Any]] = option({}, "name -> keys: ways of training to compare")
    grid: dict[str, list[Any]] = option({}, "key -> values: every combination is run")
    hours: HoursAxis | None = None
    frozen: FrozenFeatures | None = None

    @model_validator(mode="after")
    def _possible(self) -> SweepFile:
        for key, values in self.grid.items():
            if not values:
                raise ValueError(f"grid: {key} has no values")
        for name in self.variants:
            if not name or any(not (c.isalnum() or c in "-.") for c in name):
                raise ValueError(f"variants: {name!r}: letters, digits, - and . make a name of a folder")
        if self.frozen and self.variants:
            raise ValueError(
                "frozen: heads are linear, so variants of the model cannot be probed; remove them"
            )
        return self


class Trial(NamedTuple):
    """One point of a sweep.

    labels: what is varied (variant, keys of the grid, start_h, end_h, mode, controls); run: name of the
    folder of the run it needs; overrides: of that run; test_frames: overrides of
    ``frames`` for what it is evaluated on.
    """

    labels: dict[str, Any]
    run: str
    overrides: dict[str, Any]
    test_frames: dict[str, Any]


class Sweep(NamedTuple):
    """A sweep that can be run: its file, what it says, its trials, and the config of each run."""

    path: Path
    file: SweepFile
    trials: list[Trial]
    configs: dict[str, Config]

    @property
    def base(self) -> Path:
        """The base config."""
        return self.path.parent / self.file.base

    @property
    def folder(self) -> Path:
        """Where its runs and results go."""
        return Path(next(iter(self.configs.values())).reports_dir) / self.file.name


def load_sweep(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Sweep:
    """Read a sweep file and check the config of every run it asks for.

    Args:
        path: a YAML file.
        overrides: keys for all runs, over what the file says.

    Raises:
        InputError: a missing file, an unknown key or value, or a run whose config cannot be.
    """
    path = Path(path)
    file = _read_sweep(path)
    if not os.path.isfile(path.parent / file.base):
        raise InputError(f"{path}: base: no config file {path.parent / file.base}; correct the name")
    fixed = {"experiment": file.name, "train.threads": 1} | file.set | dict(overrides or {})
    if (n := _count(file)) > MOST_TRIALS:
        raise InputError(f"{path}: asks for {n} trials, at most {MOST_TRIALS} are run; shorten its lists")
    trials = list(_expanded(file, fixed))
    needed: dict[str, dict[str, Any]] = {}
    for trial in trials:
        if needed.setdefault(trial.run, trial.overrides) != trial.overrides:
            raise InputError(f"{path}: two runs would have the folder {trial.run}; name them as variants")
    configs = {}
    for run, keys in needed.items():
        try:
            configs[run] = load_config(path.parent / file.base, keys)
        except InputError as error:
            raise InputError(f"{path}: run {run}: {str(error).replace('--set: ', '')}") from None
    return Sweep(path, file, trials, configs)


def _read_sweep(path: Path) -> SweepFile:
    values = read_yaml(path, "sweep file", "configs/sweeps/ holds examples")
    if not isinstance(values, dict):
        raise InputError(f"{path}: a sweep is a table of keys ({', '.join(SweepFile.model_fields)})")
    try:
        return SweepFile.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error, SweepFile)}") from None


def _count(file: SweepFile) -> int:
    axis = file.hours
    hours = len(axis.modes) * len(axis.controls) * len(axis.until_h or axis.starts_h) if axis else 1
    return math.prod(map(len, file.grid.values())) * max(len(file.variants), 1) * hours


def _expanded(file: SweepFile, fixed: Mapping[str, Any]) -> Iterator[Trial]:
    # variants within a seed and fold: a sweep that is stopped half-way can be compared already
    for values in itertools.product(*file.grid.values()):
        for name, keys in (file.variants or {"": {}}).items():
            point = dict(zip(file.grid, values, strict=True))
            labels = ({"variant": name} if name else {}) | point
            trial = Trial(labels, _run_name(name, point), {**fixed, **keys, **point}, {})
            yield from _by_hours(file.hours, trial) if file.hours else [trial]


def _by_hours(axis: HoursAxis, whole: Trial) -> Iterator[Trial]:
    for mode, controls, (start, end) in itertools.product(axis.modes, axis.controls, axis.windows()):
        labels = whole.labels | {"mode": mode, "controls": controls, "start_h": start, "end_h": end}
        limited = whole._replace(labels=labels, test_frames=_limited(("test",), start, end, controls))
        if mode == "train-test":
            name = f"{whole.run}_{start:g}-{end:g}h_{controls}".strip("_")
            trained = _limited(get_args(Split), start, end, controls)
            limited = limited._replace(run=name, overrides=whole.overrides | trained)
        yield limited


def _limited(splits: tuple[str, ...], start_h: float, end_h: float, controls: str) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for split in splits:
        keys[f"frames.{split}.infected.start_h"] = start_h
        keys[f"frames.{split}.infected.end_h"] = end_h
        keys[f"frames.{split}.match_controls"] = controls == "matched"
    return keys


def _run_name(variant: str, point: Mapping[str, Any]) -> str:
    parts = [variant] if variant else []
    for key, value in point.items():
        text = value if isinstance(value, str | int | float) else json.dumps(value)
        parts.append(f"{SHORT.get(key, key.rpartition('.')[2] + '-')}{text}")
    name = "_".join(parts) or "run"
    return safe_name("".join(c if c.isalnum() or c in "-_." else "-" for c in name))
