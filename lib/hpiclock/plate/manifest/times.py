"""When frames were taken: what a person states, what names count, what files record.

What a person states goes before what a name or a file says, and both are shown. Hours count from the first
stack of a plate: one that begins later, by its frame numbers, a clock or a date, begins later.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest import Problem, StackEntry, note_of
from hpiclock.plate.readers import StackFacts, is_template
from hpiclock.tables import DAY_H, LONGEST_H, doubtful_hours, doubtful_interval

# Intervals that differ by less than this share are one; frames off the raster by less of it are on it.
INTERVAL_TOLERANCE = 0.01


STATE_START = "state start_h in a plate map or manifest CSV"


class Start(NamedTuple):
    """What is known of the hour of a stack's frame 0."""

    stated_h: float | None
    stated_by: str
    exact: bool  # of this stack; else of the first one of its plate
    number: int | None  # frames before it, as names count them
    elapsed_h: float  # hours since the zero of its clock
    zero_h: float | None  # that zero, hours since 1970
    named: bool  # by the clock in the names of its files


def read_times(
    entry: StackEntry, data: DataConfig, facts: StackFacts
) -> tuple[dict[str, Any], Start, list[Problem]]:
    """Return the columns ``interval_h`` and ``times_h`` (where frames leave the raster), and its start.

    Raises:
        InputError: no interval is known, or two are stated.
    """
    notes: list[Problem] = []
    interval_h, of_file = _interval(entry, data, facts, notes)
    raster = np.array(facts.raster or range(facts.n_frames))
    columns: dict[str, Any] = {"interval_h": np.nan if interval_h is None else interval_h}
    if interval_h is not None and (facts.raster or (facts.times_h and of_file)):
        even = interval_h * (raster - raster[0])
        times_h = np.array(facts.times_h) if facts.times_h and of_file else even
        off_h = times_h - even
        most = float(off_h[np.abs(off_h).argmax()])
        late = abs(most) > INTERVAL_TOLERANCE * interval_h
        if late:
            how = f"up to {most * 60:+.3g} min off the nominal {interval_h:g} h raster"
            notes.append(note_of(entry.path, f"its frames were taken {how}; the recorded times are used"))
        if late or (np.diff(raster) > 1).any():
            columns["times_h"] = json.dumps(times_h.tolist())
    counted = facts.first_frame if facts.first_frame is not None else entry.first_frame
    exact = entry.hours is not None or (entry.listed and entry.start_h is not None)
    known = {f"start_h of {entry.place or 'the source'}": entry.start_h, "data.start_h": data.start_h or None}
    stated = {"hours": entry.hours} | known
    by, stated_h = next(((name, value) for name, value in stated.items() if value is not None), ("", None))
    start = Start(
        stated_h,
        by,
        exact,
        None if counted is None or interval_h is None else counted + int(raster[0]),
        (facts.start_h or 0.0) + float(raster[0]) * (interval_h or 0.0),
        facts.zero_h,
        is_template(entry.path),
    )
    return columns, start, notes


def _interval(
    entry: StackEntry, data: DataConfig, facts: StackFacts, notes: list[Problem]
) -> tuple[float | None, bool]:
    """The interval, and whether it is that of the file: what a person states goes before."""
    source = f"interval_h of {entry.place or 'the source'}"
    stated = {"data.interval_h": data.interval_h, source: entry.interval_h}
    known = [(name, value) for name, value in stated.items() if value is not None]
    known += [("the file's metadata", facts.interval_h)] if facts.interval_h is not None else []
    if facts.n_frames == 1:
        return (known[0][1] if known else None), True
    if not known:
        unknown = f"the file does not say how far apart its {facts.n_frames} frames are"
        raise InputError(f"{entry.path}: {unknown}; set data.interval_h")
    name, value = known[0]
    apart = [(by, other) for by, other in known[1:] if abs(other - value) > INTERVAL_TOLERANCE * value]
    if apart and apart[0][0] in stated:
        by, other = apart[0]
        raise InputError(
            f"{entry.path}: frames are {value:g} h apart by {name}, {other:g} h by {by}; correct one"
        )
    if apart:
        overruled = f"frames are {value:g} h apart by {name}; the file's {apart[0][1]:.3g} h are not used"
        notes.append(note_of(entry.path, overruled))
    if why := doubtful_interval(value, facts.n_frames, name):
        remedy = "state the hours between frames: data.interval_h, or in the plate map"
        notes.append(note_of(entry.path, why, remedy))
    return value, not apart


def settle_starts(rows: list[dict[str, Any]], starts: list[Start]) -> list[Problem]:
    """Write ``start_h`` into the rows of stacks; return notes on who says what of it."""
    plates = defaultdict(list)
    for number, row in enumerate(rows):
        plates[row["plate"]].append(number)
    notes = []
    for mine in plates.values():
        own = _own_starts([rows[i] for i in mine], [starts[i] for i in mine])
        for i, own_h in zip(mine, own, strict=True):
            row, start = rows[i], starts[i]
            row["start_h"] = own_h
            if start.stated_h is not None:
                row["start_h"] = start.stated_h + (0.0 if start.exact else own_h - min(own))
            by = (
                "its times"
                if start.number is None
                else f"the frame numbers in its name (from {start.number})"
            )
            tolerance = INTERVAL_TOLERANCE * (row["interval_h"] if row["interval_h"] > 0 else 1.0)
            if start.stated_h is not None and own_h and abs(row["start_h"] - own_h) > tolerance:
                both = f"it begins at {row['start_h']:.4g} h by {start.stated_by}, at {own_h:.4g} h by {by}"
                notes.append(note_of(row["path"], f"{both}: what is stated is used"))
            elif start.stated_h is None and own_h:
                notes.append(
                    note_of(
                        row["path"],
                        f"it begins at {own_h:.4g} h by {by}",
                        f"{STATE_START} to overrule",
                    )
                )
            notes += _far(row)
        notes += _starts_not_known([rows[i] for i in mine], [starts[i] for i in mine])
    return notes + _stills_far_apart(rows)


def _starts_not_known(rows: list[dict[str, Any]], starts: list[Start]) -> list[Problem]:
    """Dates that only some stacks of a plate have, and rounds of one field that seem to begin together."""
    notes = []
    unknown = [not (start.exact or start.named or start.number is not None) for start in starts]
    dates = [start.zero_h is not None for start, here in zip(starts, unknown, strict=True) if here]
    if any(dates) and not all(dates):
        have = f"{sum(dates)} of {len(dates)} stacks have a date of acquisition"
        why = f"{have}, the others none: no date is used"
        notes.append(note_of(rows[0]["plate"], why, STATE_START))
    rounds = defaultdict(set)
    for row, here in zip(rows, unknown, strict=True):
        if here and row["n_frames"] > 1 and row.get("series"):
            rounds[row["plate"], row["well"], row["position"], row["start_h"]].add(row["series"])
    together = [(place, series) for place, series in rounds.items() if len(series) > 1]
    if together:
        (plate, well, position, hour), series = together[0]
        field = "/".join(filter(None, (plate, well, position)))
        begin = f"begin together, at {hour:g} h: which was when is not known"
        why = f"series {', '.join(sorted(series))} of one field ({field}) {begin}"
        notes.append(note_of("", why, STATE_START))
    return notes


def _stills_far_apart(rows: list[dict[str, Any]]) -> list[Problem]:
    """Stills are the frames of their well: their hours say how far apart they are."""
    stills = [row for row in rows if row["n_frames"] == 1]
    places = ["/".join(filter(None, (row["plate"], row["well"]))) for row in stills]
    hours = pd.DataFrame({"stack_id": places, "hours": [row["start_h"] for row in stills]}, dtype=object)
    why = doubtful_hours(hours.astype({"hours": float}), "the hours of stills")
    return [note_of("", why, "give hours, not minutes or days")] if why else []


def _own_starts(rows: list[dict[str, Any]], starts: list[Start]) -> list[float]:
    """Hours at which the stacks of one plate begin, by names and files."""
    numbers = [start.number for start in starts if start.number is not None]
    first = 1 if numbers and min(numbers) == 1 else 0  # some count from 1
    zeros = [start.zero_h for start in starts]
    dated = None not in zeros
    own = []
    for start, zero_h in zip(starts, zeros, strict=True):
        later = zero_h - min(zeros) if dated else 0.0  # type: ignore[operator,type-var]
        own.append(start.elapsed_h + float(later))
    low = min(own)
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        if start.number is not None:
            own[i] = (start.number - first) * row["interval_h"]
        elif not start.named:  # positions of one round are not late; nor is a round that began at once
            half = row["interval_h"] / 2 if row["interval_h"] > 0 else 0.0
            base = low if low >= half else 0.0
            own[i] = base if own[i] - low < half else own[i]
    return own


def _far(row: dict[str, Any]) -> list[Problem]:
    step = row["interval_h"] if row["interval_h"] > 0 else 0.0
    times = json.loads(row.get("times_h") or "[0]")
    last_h = row["start_h"] + max(times[-1], step * (row["n_frames"] - 1))
    if row["n_frames"] > 1 and row["onset_h"] > last_h + DAY_H:
        why = f"infected from hour {row['onset_h']:,.4g} on, after its last frame (hour {last_h:,.4g})"
        return [note_of(Path(row["path"]), why, "check the unit of onset_h (hours)")]
    if last_h <= LONGEST_H:
        return []
    why = f"its last frame is taken at hour {last_h:,.0f}, day {last_h / 24:.0f}"
    return [note_of(Path(row["path"]), why, "check the unit of its interval (hours) and its dates")]
