"""Checkpoints: written whole or not at all, the same bytes for the same content."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hpiclock.errors import InputError
from hpiclock.files import atomic


def write_checkpoint(path: Path, parts: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Write the states of ``parts`` (things with ``state_dict``) and plain values, atomically."""
    content: dict[str, Any] = {name: _canonical(part.state_dict()) for name, part in parts.items()}
    content["extra"] = json.dumps(extra)  # text: a pickle depends on which objects are one and the same
    path.parent.mkdir(parents=True, exist_ok=True)
    # given a path, torch would write the file's name into it; an open file has none
    with atomic(path) as partial, partial.open("wb") as stream:
        torch.save(content, stream)


def read_checkpoint(path: Path, parts: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Put the states of a checkpoint into ``parts`` and return its plain values.

    Raises:
        InputError: no such file, a file that is no checkpoint, or one that does not fit these parts.
    """
    if not path.is_file():
        raise InputError(f"{path}: no checkpoint; train the run first: hpiclock train CONFIG")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path}: cannot be read as a checkpoint ({type(error).__name__}); remove it to train anew"
        ) from None
    try:
        for name, part in parts.items():
            part.load_state_dict(content[name])
        return json.loads(content["extra"])
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{path}: does not fit the model of this config ({why})") from None


def sweep_leftovers(folder: Path) -> None:
    """Remove the partial files that a kill while writing may have left."""
    for partial in folder.glob(".*.pt"):
        partial.unlink()


def _canonical(state: Any) -> Any:
    """Return the same state with equal strings as one object: pickle refers back to objects."""
    if isinstance(state, Mapping):
        return {_canonical(key): _canonical(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_canonical(value) for value in state)
    return sys.intern(state) if isinstance(state, str) else state
