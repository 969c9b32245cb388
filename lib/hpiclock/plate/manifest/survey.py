"""Find the stacks, open and check each, join the treatment of its well: the MANIFEST table."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hpiclock.acquisition import EMPTY_FRAMES, acquisition_settings, counted, differing
from hpiclock.allocation import ALLOCATIONS, allocation_units, infer_allocation
from hpiclock.config.schema import DataConfig, FolderPair
from hpiclock.errors import InputError, nearest
from hpiclock.format import count_text
from hpiclock.plate.manifest import (
    RECIPE,
    SIMULATED,
    Problem,
    StackEntry,
    error_of,
    note_lines,
    note_of,
    problem_table,
)
from hpiclock.plate.manifest.sources import MEASURED, find_stacks, read_quarantine
from hpiclock.plate.manifest.times import Start, read_times, settle_starts
from hpiclock.plate.readers import open_stack
from hpiclock.progress import progress
from hpiclock.tables import CONDITIONS, MANIFEST, NEW_MANIFEST, UNKNOWN, check


class Survey(NamedTuple):
    """The stacks that can be used, and everything that is wrong: ``path, severity, problem, remedy``."""

    manifest: pd.DataFrame
    problems: pd.DataFrame


def survey(data: DataConfig, onset_h: float, *, blind: bool = False) -> Survey:
    """Find, open and check every stack of ``data.source``.

    Args:
        data: where the stacks are and how they are read.
        onset_h: onset of infected wells for which the source states none, hours after imaging start.
        blind: conditions may be unknown, as they are for files that are checked or predicted only.

    Returns:
        The MANIFEST (``blind``: NEW_MANIFEST) of the stacks without an error (other columns of the source are
        kept; ``times_h`` holds true acquisition times where a file has them and they leave the raster) and
        the table of problems.

    Raises:
        InputError: the source itself is missing, empty or cannot be read.
    """
    manifest, problems = _survey(data, onset_h, blind)
    return Survey(manifest, problem_table(problems))


def without_failed(found: Survey, passport: pd.DataFrame) -> Survey:
    """Return the survey without the stacks of which a frame cannot be used: they are errors, too.

    Args:
        found: the survey.
        passport: of its stacks, see :func:`hpiclock.plate.quality.passport`.
    """
    failed = passport[passport["status"].eq("failed") & passport["path"].isin(found.manifest["path"])]
    remedy = "export it again, or leave it out (data.quarantine)"
    more = [
        error_of(path, what, remedy) for path, what in zip(failed["path"], failed["findings"], strict=True)
    ]
    kept = found.manifest[~found.manifest["path"].isin(failed["path"])].reset_index(drop=True)
    return Survey(kept, pd.concat([problem_table(more), found.problems], ignore_index=True))


def load_manifest(
    data: DataConfig, onset_h: float, *, need_both: bool = False, blind: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """Return the MANIFEST of a source without errors, and the notes that travel into reports.

    With ``data.on_bad_stack: quarantine`` stacks with an error are left out with a note.

    Args:
        data: where the stacks are and how they are read.
        onset_h: onset of infected wells for which the source states none, hours after imaging start.
        need_both: infected and mock stacks are both needed (training).
        blind: as for :func:`survey`.

    Raises:
        InputError: the first error of :func:`survey`, and how many more there are.
    """
    manifest, problems = _survey(data, onset_h, blind)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors and data.on_bad_stack == "quarantine" and len(manifest):
        problems = [
            note_of(one.path, f"left out: {one.problem}", one.remedy) if one.severity == "error" else one
            for one in problems
        ]
    elif errors:
        more = len(errors) - 1
        rest = f" ({more} more: `hpiclock manifest {_source(data)}` lists them)" if more else ""
        raise InputError(errors[0].line() + rest)
    missing = [name for name in CONDITIONS if name not in set(manifest["condition"])]
    if need_both and missing:
        among = f"no {missing[0]} stack among {len(manifest)}"
        raise InputError(f"{_source(data)}: {among}; training needs infected and mock wells")
    return manifest, note_lines(problems)


def acquisition_times(manifest: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return true acquisition times, hours after frame 0, by ``stack_id``, for the stacks that have them."""
    if "times_h" not in manifest.columns:
        return {}
    known = manifest[manifest["times_h"].fillna("") != ""]
    return {
        str(stack): np.asarray(json.loads(str(times)), dtype=float)
        for stack, times in zip(known["stack_id"], known["times_h"], strict=True)
    }


def _survey(data: DataConfig, onset_h: float, blind: bool) -> tuple[pd.DataFrame, list[Problem]]:
    found = find_stacks(data, blind=blind)
    problems = list(found.problems)
    rows: list[dict[str, Any]] = []
    starts: list[Start] = []
    entries, left_out = _without_quarantined(found.entries, data)
    problems += left_out
    why = "its condition is unknown: it can be predicted, not trained on"
    remedy = "write infected or mock in the plate map"
    problems += [error_of(e.path, why, remedy) for e in entries if e.condition == UNKNOWN and not blind]
    # a bar only for scans that take long enough to wonder
    for entry in progress(entries, desc="opening stacks", total=len(entries), delay=2, leave=False):
        try:
            row, start, notes = _measure(entry, data, onset_h)
        except InputError as error:
            problems.append(Problem.from_error(entry.path, error))
        else:
            rows.append(row)
            starts.append(start)
            problems += notes
    problems += settle_starts(rows, starts)
    listed = [start.exact for start in starts]
    for row, name in zip(rows, _stack_ids(pd.DataFrame(rows), listed) if rows else (), strict=True):
        row["stack_id"] = name
    problems += _stated_otherwise(entries, rows)
    problems += check_across_stacks(entries, pd.DataFrame(rows))
    wrong = {problem.path for problem in problems if problem.severity == "error"}
    manifest = _manifest([row for row in rows if row["path"] not in wrong], blind)
    manifest, notes = _with_allocation(manifest)
    return manifest, _simulated(manifest) + problems + notes


def _simulated(manifest: pd.DataFrame) -> list[Problem]:
    near = {path: list(Path(path).parents)[:2] for path in manifest["path"]}
    drawn = {place for place in {p for places in near.values() for p in places} if (place / RECIPE).is_file()}
    plates = manifest.loc[[not drawn.isdisjoint(near[path]) for path in manifest["path"]], "plate"].unique()
    what = f"{SIMULATED}: a program drew the pictures of plate {', '.join(plates)}"
    return [note_of("", what, "scores on them say nothing about a virus.")] if len(plates) else []


def _without_quarantined(
    entries: list[StackEntry], data: DataConfig
) -> tuple[list[StackEntry], list[Problem]]:
    reasons = read_quarantine(data.quarantine) if data.quarantine else {}
    left_out = [entry for entry in entries if str(entry.path) in reasons]
    problems = [note_of(e.path, f"in quarantine: {reasons[str(e.path)]}") for e in left_out]
    absent = sorted(reasons.keys() - {str(entry.path) for entry in entries})
    problems += [note_of(path, f"in {data.quarantine}, but not in the source") for path in absent]
    return [entry for entry in entries if str(entry.path) not in reasons], problems


def _measure(
    entry: StackEntry, data: DataConfig, onset_h: float
) -> tuple[dict[str, Any], Start, list[Problem]]:
    with open_stack(entry.path, channel=data.channel, z=data.z) as stack:
        facts = stack.facts
        channel_name = stack.channel_name
        stack.frame(facts.n_frames - 1)  # the end of a file is what a broken copy lacks
        first = stack.frame(0)
    notes = list(facts.notes)
    held = max(facts.raster, default=facts.n_frames - 1) + 1  # those that were not written count, too
    if entry.n_named is not None and entry.n_named != held:
        begun = f" (from {entry.first_frame})" if entry.first_frame else ""
        notes.append(f"{entry.named_by} says {entry.n_named} frames{begun}, the file holds {held}")
        entry = replace(entry, first_frame=None)
    if entry.hours is not None and facts.n_frames > 1:
        raise InputError(f"{entry.path}: hours is for stills, the file holds {held} frames; use start_h")
    times, start, problems = read_times(entry, data, facts)
    row: dict[str, Any] = {"path": str(entry.path), "plate": entry.plate, "well": entry.well}
    row |= {"position": entry.position or entry.path.stem, "condition": entry.condition}
    row |= {name: getattr(facts, name) for name in ("n_frames", "height", "width", "dtype")}
    row |= {"interval_h": times["interval_h"], "start_h": np.nan}
    row |= {"moi": np.nan if entry.moi is None else entry.moi, "onset_h": np.nan}
    if entry.condition == "infected":
        row["onset_h"] = onset_h if entry.onset_h is None else entry.onset_h
    optional: dict[str, Any] = {"series": entry.series, "channel_name": channel_name}
    optional |= {"pixel_um": facts.pixel_um, "bit_depth": facts.bit_depth}
    optional["channels"] = " / ".join(facts.channels) if len(facts.channels) > 1 else ""
    optional["grey_max"] = float(first.max()) if first.min() < first.max() else None
    row |= {key: value for key, value in optional.items() if value}
    row |= times
    row |= {key: value for key, value in entry.extra.items() if key not in row}
    return row, start, [note_of(entry.path, note) for note in notes] + problems


def _stated_otherwise(entries: list[StackEntry], rows: list[dict[str, Any]]) -> Iterator[Problem]:
    """What a table says of its files, where the files say it otherwise or not at all: it is not used."""
    stated = {str(entry.path): entry.stated for entry in entries}
    for name in MEASURED:
        both = [(row["path"], stated[row["path"]].get(name), row.get(name)) for row in rows]
        apart = [(path, *two) for path, *two in both if not _is_same(*two)]
        if apart and name not in (EMPTY_FRAMES, "n_frames"):  # found again; compared when a file is opened
            path, said, read = apart[0]
            first = f"{Path(path).name}: {said} is stated, {'nothing' if read is None else read} is read"
            why = f"column {name} is not used, the files are: {count_text(len(apart), 'stack')} differ"
            yield note_of("", f"{why} ({first})", "take the column out")


def _is_same(stated: Any, read: Any) -> bool:
    if stated is None or stated == "" or stated != stated:
        return True
    numbers = isinstance(stated, int | float) and isinstance(read, int | float)
    return bool(np.isclose(stated, read, rtol=1e-6)) if numbers else str(stated) == str(read)


def _stack_ids(stacks: pd.DataFrame, listed: list[bool]) -> pd.Series:
    """Name stacks plate/well/position, with the series or a stated hour where that is not enough."""
    position = [f"p{text}" if text.isdecimal() else text for text in stacks["position"].astype(str)]
    places = zip(stacks["plate"], stacks["well"], position, strict=True)
    names = pd.Series(["/".join(filter(None, place)) for place in places], stacks.index)
    series = stacks["series"].fillna("") if "series" in stacks.columns else pd.Series("", stacks.index)
    hour = ("t" + stacks["start_h"].map("{:g}".format)).where(listed, "")
    for longer in ("s" + series, hour):
        names = names.mask(longer.groupby(names).transform("nunique") > 1, names + "/" + longer)
    return names


def check_across_stacks(entries: list[StackEntry], stacks: pd.DataFrame) -> list[Problem]:
    """Return what can be seen only over all stacks: doubles, mixed sizes, contradicting wells."""
    problems: list[Problem] = []
    seen: dict[Path, str] = {}
    for entry in entries:
        if entry.path in seen:
            where = f"{seen[entry.path]} and {entry.place}" if entry.place else "the source"
            problems.append(error_of(entry.path, f"listed twice ({where})", "keep one"))
        seen[entry.path] = entry.place
    if stacks.empty:
        return problems
    problems += [*_duplicated_ids(stacks), *_sizes(stacks), *_channels_in_another_order(stacks)]
    problems += _settings_that_differ(stacks)
    problems += _two_conditions(stacks, listed=any(entry.listed for entry in entries))
    unknown = stacks[stacks["well"] == ""]
    if len(unknown):
        why = f"{len(unknown)} of {len(stacks)} stacks are of an unknown well: they cannot be grouped by well"
        where = ", ".join(stacks["plate"].drop_duplicates())
        problems.append(note_of(where, why, "name wells in a manifest CSV or data.name_pattern"))
    return problems


def _duplicated_ids(stacks: pd.DataFrame) -> Iterator[Problem]:
    for name, same in stacks.groupby("stack_id", sort=False):
        first, *others = dict.fromkeys(same["path"])
        for path in others:
            remedy = (
                "name what differs in the name pattern: (?P<plate>...), (?P<position>...), or, if they are "
                "one film, (?P<first_frame>...)-(?P<last_frame>...), or days to milliseconds"
            )
            yield error_of(path, f"two stacks of one place {name}: also {first}", remedy)


def _sizes(stacks: pd.DataFrame) -> Iterator[Problem]:
    for plate, mine in stacks.groupby("plate", sort=False):
        sizes = mine["height"].astype(str) + " x " + mine["width"].astype(str)
        usual = sizes.mode().iloc[0]
        odd = mine[sizes.ne(usual)]
        if (mine["n_frames"] > 1).any():
            for path, size in zip(odd["path"], sizes[odd.index], strict=True):
                why = f"frames of {size} px, the other stacks of plate {plate} have {usual}"
                yield error_of(path, why, "export it at the same size or take it out")
        elif len(odd):
            low, high = mine[["height", "width"]].min().min(), mine[["height", "width"]].max().max()
            why = f"stills of {sizes.nunique()} sizes ({low}-{high} px): each is resized, so scale is lost"
            yield note_of(str(plate), why)


def _channels_in_another_order(stacks: pd.DataFrame) -> Iterator[Problem]:
    """An index that picks one channel in some files and another one, which they hold, too, in others."""
    if "channels" not in stacks.columns:
        return
    names, held = stacks["channel_name"].fillna(""), stacks["channels"].fillna("")
    usual = names.mode().iloc[0]
    for path, name, channels in zip(stacks["path"], names, held, strict=True):
        if name != usual and {name, usual} <= set(channels.split(" / ")):
            why = f"the channel of this number is {name}, in other stacks {usual}: the order differs"
            yield error_of(path, why, f"set data.channel to a name, {usual} or {name}")


def _settings_that_differ(stacks: pd.DataFrame) -> Iterator[Problem]:
    plates = ", ".join(stacks["plate"].unique())
    for name, values in differing(acquisition_settings(stacks).drop(columns="frame size")).items():
        why = f"stacks were not acquired or stored alike: {name}: {counted(values, 'stack')}"
        yield note_of(plates, why, "what differs with the condition can be learnt in place of the infection")


def _two_conditions(stacks: pd.DataFrame, *, listed: bool) -> Iterator[Problem]:
    known = stacks[stacks["well"] != ""]
    for (plate, well), mine in known.groupby(["plate", "well"], sort=False):
        if mine["condition"].nunique() < 2:
            continue
        why = f"well {well} of plate {plate} is infected and mock at once"
        if listed:  # donors and slides hold both; a table says so on purpose
            yield note_of(mine["path"].iloc[0], why)
        else:
            remedy = "name them: (?P<plate>...) in the name pattern, or a manifest CSV"
            yield from (error_of(path, why, f"if these are two plates, {remedy}") for path in mine["path"])


def _manifest(rows: list[dict[str, Any]], blind: bool) -> pd.DataFrame:
    table = NEW_MANIFEST if blind else MANIFEST
    if not rows:
        return check(table, pd.DataFrame(columns=list(table.columns)))
    stacks = pd.DataFrame(rows).drop_duplicates("stack_id", ignore_index=True)
    for name in stacks.columns.difference(list(MANIFEST.columns)):
        if stacks[name].dtype == object:
            stacks[name] = stacks[name].fillna("")
    return check(table, stacks)


def _with_allocation(manifest: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Add what the layout shows of the allocation where it is not stated; a note where it is not by well."""
    stated = manifest["allocation"] if "allocation" in manifest.columns else pd.Series("", manifest.index)
    for value in stated[~stated.isin(["", *ALLOCATIONS])].unique():
        near = nearest(str(value), ALLOCATIONS)
        hint = f"did you mean {near}?" if near else f"write one of {', '.join(ALLOCATIONS)}"
        raise InputError(f"allocation '{value}' is not known; {hint}")
    if manifest.empty or manifest["well"].eq("").any() or not manifest["condition"].isin(CONDITIONS).all():
        return manifest, []
    inferred = infer_allocation(manifest)
    manifest = manifest.assign(allocation=stated.where(stated.ne(""), inferred))
    allocation_units(manifest)  # refuses what cannot be
    problems = []
    for plate, unit in manifest.loc[stated.eq(""), ["plate", "allocation"]].drop_duplicates().to_numpy():
        if unit != "well":
            why = f"each {unit} holds one condition: treatments are taken as given by {unit}"
            remedy = "if single wells were drawn for them, write allocation: well in the plate map"
            problems.append(note_of(plate, why, remedy))
    return manifest, problems


def _source(data: DataConfig) -> str:
    if isinstance(data.source, FolderPair):
        return f"{data.source.infected} + {data.source.uninfected}"
    return data.source
