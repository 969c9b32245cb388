"""The exceptions that the command line turns into one line: bad input (exit 2), a failed run (exit 1)."""

import difflib
from collections.abc import Iterable


class _OneLine:
    def _render_traceback_(self) -> list[str]:
        # what IPython shows of it in a notebook: the remedy stands in the message, not in the code
        return [f"{type(self).__name__}: {self}"]


class InputError(_OneLine, ValueError):
    """Bad input from outside (file, row, column, key). The command line prints it and exits with 2."""


class RunFailed(_OneLine, RuntimeError):
    """A run stopped on the way: its message says where. The command line prints it and exits with 1."""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known name of the most similar spelling; empty where none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), "")
