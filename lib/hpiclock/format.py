"""How a number, an interval, a p value, a time and a count are written: one form each, everywhere.

It stands at the bottom of the house because analysis, audit, figures and report all write numbers. Texts
use a hyphen for minus, so that tables stay ASCII; figures pass theirs through :func:`true_minus`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

LEAST_P = 0.001  # p values below it are not told apart


def number_text(value: float, digits: int = 3, *, signed: bool = False, missing: str = "undefined") -> str:
    """Return ``0.912``, with a plus sign where ``signed``; ``missing`` for NaN, infinity; no minus zero."""
    return f"{value:{'+' if signed else ''}z.{digits}f}" if np.isfinite(value) else missing


def value_text(value: float, unit: str, *, signed: bool = False) -> str:
    """Return a metric's value: ``5.84 h`` where it has a unit, ``0.912`` where it has none."""
    return number_text(value, 2 if unit else 3, signed=signed) + (f" {unit}" if unit else "")


def significant_text(value: float, digits: int = 3, *, missing: str = "") -> str:
    """Return a number of any size with this many significant digits; ``missing`` for NaN."""
    return f"{value:.{digits}g}" if np.isfinite(value) else missing


def limits_text(
    low: float, high: float, digits: int = 3, *, signed: bool = False, missing: str = "no interval"
) -> str:
    """Return ``0.870 to 0.950``; ``missing`` where a limit is not finite."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return missing
    return f"{number_text(low, digits, signed=signed)} to {number_text(high, digits, signed=signed)}"


def interval_text(
    value: float,
    low: float,
    high: float,
    digits: int = 3,
    *,
    signed: bool = False,
    missing: str = "undefined",
    without: str = " (no interval)",
) -> str:
    """Return ``0.912 (0.870 to 0.950)``; ``missing`` without a value, ``without`` after one alone."""
    if not np.isfinite(value):
        return missing
    limits = limits_text(low, high, digits, signed=signed, missing="")
    return number_text(value, digits, signed=signed) + (f" ({limits})" if limits else without)


def short_interval(value: float, low: float, high: float, *, missing: str = "undefined") -> str:
    """Return ``0.93 (0.81 to 0.98)``, or the value alone where there is no interval."""
    return interval_text(value, low, high, 2, missing=missing, without="")


def range_text(values: Iterable[float], digits: int = 1) -> str:
    """Return ``0.0 to 48.0`` for the finite values, or ``no values``."""
    array = np.asarray(list(values), dtype=float)
    array = array[np.isfinite(array)]
    return limits_text(array.min(), array.max(), digits) if array.size else "no values"


class Estimate(NamedTuple):
    """A value with its interval, as sentence templates write it.

    ``{auc:.3f}`` is ``0.912, 95% interval over wells 0.870 to 0.950``; ``{error:.1f h}``, with a unit, is
    ``3.0 h (95% interval over wells 2.0 to 4.0)``; ``over`` is what was resampled. Where there is no
    interval, the text says so.
    """

    value: float
    low: float
    high: float
    level: float
    over: str = ""

    def __format__(self, spec: str) -> str:
        digits, _, unit = spec.partition(" ")
        value, limits = format(self.value, digits), "no interval"
        if not np.isnan(self.low):
            limits = f"{self.interval} {self.low:{digits}} to {self.high:{digits}}"
        return f"{value} {unit} ({limits})" if unit else f"{value}, {limits}"

    @classmethod
    def of(
        cls, row: Mapping[str, Any], *, level: float, columns: tuple[str, str, str] = ("value", "low", "high")
    ) -> Estimate:
        """Return the estimate in these columns of a row; NaN where the row has none.

        What was resampled is read from the row's ``note``, in which it stands as ``unit well: ...``.
        """
        value, low, high = (float(row.get(column, np.nan)) for column in columns)
        return cls(value, low, high, level, over_text(str(row.get("note", ""))))

    @property
    def interval(self) -> str:
        """What its limits are, in words: ``95% interval over wells``."""
        return f"{self.level:.0%} interval{self.over}"

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return not np.isnan(self.value)

    @property
    def bounded(self) -> bool:
        """Whether there is an interval."""
        return not np.isnan(self.low)

    def contains(self, value: float) -> bool:
        """Whether the interval holds a value."""
        return self.low <= value <= self.high

    def absolute(self) -> Estimate:
        """Return it with the sign of its value taken away, and its limits mirrored with it."""
        return self if self.value >= 0 else Estimate(-self.value, -self.high, -self.low, *self[3:])


def over_text(note: str) -> str:
    """Return `` over wells`` for a note in which ``unit well`` stands; nothing where no unit does."""
    unit = re.search(r"\bunit (\w+)", note)
    if unit is None:
        return ""
    return f" over {unit[1]}s" + (" taken as independent" if unit[1] == "position" else "")


def units_text(note: str) -> str:
    """Return a note with what was resampled in words: ``unit well: 7`` is ``over 7 wells``."""
    counted = re.sub(r"\bunit (\w+): (\d+)\b(?! )", lambda m: f"over {count_text(int(m[2]), m[1])}", note)
    return re.sub(r"\bunit (\w+): ", r"over \1s: ", counted)


def p_text(p: float, *, least: float = 0.0, missing: str = "") -> str:
    """Return ``0.014``; ``below 0.001`` where p is below ``least``."""
    if np.isnan(p):
        return missing
    return f"{p:.2g}" if p >= least else f"below {least:g}"


def p_with_floor(p: float, floor: float) -> str:
    """Return ``p = 0.014 (smallest possible 0.014)``."""
    return f"p = {p_text(p)} (smallest possible {p_text(floor)})"


def window_text(start_h: float, end_h: float) -> str:
    """Return ``6-12 h`` for a window of hours."""
    return f"{start_h:g}-{end_h:g} h"


def between_text(after_h: float, at_h: float) -> str:
    """Return ``between 7.0 and 9.0 h``: what a frame at 9 h shows first came after the frame before it."""
    return f"between {after_h:.1f} and {at_h:.1f} h" if after_h < at_h else f"by {at_h:.1f} h"


def count_text(n: int, noun: str) -> str:
    """Return ``1 stack``, ``2 stacks``, ``1,068 frames``."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def n_text(row: Any) -> str:
    """Return ``240 frames, 12 stacks, 6 wells`` from a row with ``n n_stacks n_wells``."""
    counts = (("frame", row.n), ("stack", row.n_stacks), ("well", row.n_wells))
    return ", ".join(count_text(int(n), noun) for noun, n in counts)


def first_clause(note: object) -> str:
    """Return the first clause of a METRICS note: the reason, without the counts."""
    return str(note).split(";")[0]


def true_minus(text: str) -> str:
    """Return the text of numbers with the minus sign that figures use."""
    return text.replace("-", "−")
