"""Writing files so that nothing is half-written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any


class atomic:
    """Context manager: write to the partial file it gives; it replaces ``path`` only when all went well."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> Path:
        handle, name = tempfile.mkstemp(
            prefix=f".{self.path.stem}.", suffix=self.path.suffix, dir=self.path.parent
        )
        os.close(handle)
        self.partial = Path(name)
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:
            self.partial.unlink(missing_ok=True)
            return
        umask = os.umask(0)
        os.umask(umask)
        self.partial.chmod(0o666 & ~umask)
        with open(self.partial, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(self.partial, self.path)
