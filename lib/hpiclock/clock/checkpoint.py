"""Checkpoints: written whole or not at all, the same bytes for the same content."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hpiclock.errors import InputError
from hpiclock.files import atomic


def write_checkpoint(path: Path, parts: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Write the states of ``parts`` (things with ``state_dict``) and plain values, atomically."""
    buffer = io.BytesIO()  # torch writes a file's name into it; a buffer has none
    torch.save({name: part.state_dict() for name, part in parts.items()} | {"extra": dict(extra)}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        partial.write_bytes(buffer.getbuffer())


def read_checkpoint(path: Path, parts: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Put the states of a checkpoint into ``parts`` and return its plain values.

    Raises:
        InputError: no such file, or one that does not fit these parts.
    """
    if not path.is_file():
        raise InputError(f"{path}: no checkpoint; train the run first: hpiclock train CONFIG")
    content = torch.load(path, map_location=device, weights_only=True)
    try:
        for name, part in parts.items():
            part.load_state_dict(content[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: does not fit the model of this config ({error})") from None
    return content["extra"]


def sweep_leftovers(folder: Path) -> None:
    """Remove the partial files that a kill while writing may have left."""
    for partial in folder.glob(".*.pt"):
        partial.unlink()
