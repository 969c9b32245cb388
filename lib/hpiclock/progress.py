"""One progress bar idiom for terminal, notebook and log."""

import os
import sys
from collections.abc import Iterable
from typing import Any

OFF = "HPICLOCK_PROGRESS"  # set to "off" where bars would only fill a log, e.g. in an executed report
LOG_EVERY_S = 30.0  # a log keeps every state of a bar that a terminal would overwrite


def progress(steps: Iterable[Any] | None = None, *, desc: str, total: int, **options: Any) -> Any:
    """Return a tqdm bar over ``steps`` (or one to be updated by hand).

    It is silent where bars are switched off, and written rarely where nobody watches it.
    """
    from tqdm.auto import tqdm

    off = os.environ.get(OFF) == "off"
    if not _watched():
        options |= {"delay": LOG_EVERY_S, "mininterval": LOG_EVERY_S, "maxinterval": LOG_EVERY_S}
    return tqdm(steps, desc=desc, total=total, disable=off, dynamic_ncols=True, **options)


def _watched() -> bool:
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and ipython.get_ipython() is not None
    return in_notebook or sys.stderr.isatty()
