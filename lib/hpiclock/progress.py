"""One progress bar idiom for terminal and notebook."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

OFF = "HPICLOCK_PROGRESS"  # set to "off" where bars would only fill a log, e.g. in an executed report


def progress(
    steps: Iterable[Any] | None = None, *, desc: str, total: int, show: bool = True, **options: Any
) -> Any:
    """Return a tqdm bar over ``steps`` (or one to be updated by hand), silent where bars are switched off."""
    from tqdm.auto import tqdm

    off = not show or os.environ.get(OFF) == "off"
    return tqdm(steps, desc=desc, total=total, disable=off, dynamic_ncols=True, **options)
