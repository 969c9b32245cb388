"""Checkpoints: written whole or not at all, the same bytes for the same content."""

import io
import json
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpiclock.errors import InputError
from hpiclock.files import atomic, check_file

REPAIR = "put a whole copy back, or remove the run's folder and train anew"


class Checkpoints:
    """``best.pt`` and ``last.pt`` of a training, written no more often than every so many seconds.

    A GPU may be through an epoch before its checkpoint is; a kill then costs the epochs since the last one.

    Args:
        folder: where the files are.
        parts: what resuming needs (things with ``state_dict``), ``model`` among them.
        every_s: seconds from one writing to the next; 0 writes after every epoch.
    """

    def __init__(self, folder: Path, parts: Mapping[str, Any], every_s: float) -> None:
        self.folder = folder
        self.parts = parts
        self.every_s = every_s
        self._written = time.monotonic()
        self._best: tuple[dict[str, Any], Mapping[str, Any]] | None = None
        self._last: Mapping[str, Any] | None = None

    def best(self, mark: Mapping[str, Any]) -> None:
        """Keep the model as it is now, to be written as the best."""
        self._best = {key: value.clone() for key, value in self.parts["model"].state_dict().items()}, mark

    def last(self, extra: Mapping[str, Any]) -> None:
        """Say that an epoch is over, with its plain values; write both files if it is time to."""
        self._last = extra
        if time.monotonic() - self._written >= self.every_s:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet; the parts must still be as they were at the end of the epoch."""
        # best first: after a kill in between, the epochs are repeated and write the same best again
        if self._best is not None:
            weights, mark = self._best
            write_checkpoint(self.folder / "best.pt", {"model": weights}, mark)
        if self._last is not None:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            write_checkpoint(self.folder / "last.pt", states, self._last)
        self._best = self._last = None
        self._written = time.monotonic()


def write_checkpoint(path: Path, states: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Write states (of ``state_dict``) and plain values, atomically."""
    content: dict[str, Any] = {name: _canonical(state) for name, state in states.items()}
    content["extra"] = json.dumps(extra)  # text: a pickle depends on which objects are one and the same
    path.parent.mkdir(parents=True, exist_ok=True)
    # given a path, torch would write the file's name into it; a buffer has none
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic(path) as partial:
        partial.write_bytes(buffer.getbuffer())  # of a full disk torch says nothing that helps


def read_checkpoint(path: Path, parts: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Put the states of a checkpoint into ``parts`` and return its plain values.

    Raises:
        InputError: no such file, a file that is no checkpoint or was changed since it was written, one that
            does not fit these parts, or weights that are no numbers.
    """
    check_file(path, "train the run first: hpiclock train CONFIG", "checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes a checksum of every part, and never looks at it
            if (part := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{part} was changed since it was written")
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # damage takes any form
        why = str(error) if isinstance(error, zipfile.BadZipFile) else type(error).__name__
        raise InputError(f"{path}: cannot be read as a checkpoint ({why}); {REPAIR}") from None
    try:
        for name, part in parts.items():
            part.load_state_dict(content[name])
        extra = json.loads(content["extra"])
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{path}: does not fit the model of this config ({why})") from None
    modules = [part for part in parts.values() if isinstance(part, nn.Module)]
    if not all(values.isfinite().all() for part in modules for values in part.state_dict().values()):
        raise InputError(f"{path}: holds weights that are no numbers; {REPAIR}")
    return extra


def _canonical(state: Any) -> Any:
    """Return the same state with equal strings as one object: pickle refers back to objects."""
    if isinstance(state, Mapping):
        return {_canonical(key): _canonical(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_canonical(value) for value in state)
    return sys.intern(state) if isinstance(state, str) else state
