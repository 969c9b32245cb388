"""Pieces of a long prediction kept on disk, so that a command that was killed goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hpiclock.files import atomic, make_folder

PIECE = 4096  # frames, in whole stacks


class Chunks:
    """The folder of pieces beside an output file."""

    def __init__(self, output: Path) -> None:
        self.folder = output.with_name(f".{output.name}.pieces")

    def take_up(self, what: Sequence[str]) -> Chunks:
        """Keep the pieces that are there if they are of the same models and frames, else begin anew."""
        key = hashlib.sha256(json.dumps([*what, PIECE]).encode()).hexdigest()
        said = self.folder / "key"
        if not said.is_file() or said.read_text(encoding="utf-8") != key:
            self.remove()
            make_folder(self.folder)
            with atomic(said) as partial:
                partial.write_text(key, encoding="utf-8")
        return self

    def has(self, number: int) -> bool:
        """Tell whether a piece is there; it is whole then."""
        return self._path(number).is_file()

    def keep(self, number: int, rows: pd.DataFrame) -> None:
        """Write a piece."""
        with atomic(self._path(number)) as partial:
            rows.to_parquet(partial, index=False)

    def read(self, count: int) -> pd.DataFrame:
        """Return the first ``count`` pieces as one table."""
        return pd.concat([pd.read_parquet(self._path(n)) for n in range(count)], ignore_index=True)

    def remove(self) -> None:
        """Remove the pieces."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.parquet"


def chunked(frames: pd.DataFrame) -> list[pd.DataFrame]:
    """Cut a FRAMES table between stacks into pieces of about :data:`PIECE` frames."""
    stacks = frames["stack_id"].ne(frames["stack_id"].shift()).cumsum()
    first = stacks.groupby(stacks).transform(lambda rows: rows.index[0])  # of its stack
    return [piece for _, piece in frames.groupby(first // PIECE)]
