"""What makes a run this run: config, plate, split and code; a difference stops with what differs."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from hpiclock.acquisition import EMPTY_FRAMES
from hpiclock.errors import InputError
from hpiclock.format import count_text
from hpiclock.plate.cache import FrameCache, cache_key, open_cache
from hpiclock.plate.frames import Plate, expand_frames, open_plate
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.runs.run import PROVENANCE, Run, Say, software
from hpiclock.tables import MANIFEST

REPAIR = "undo the change, or give another run folder"
NOT_COMPARED = "note: the plate of {} was not compared with what the run keeps of it: {}"


def check_identity(run: Run, plate: Plate | None = None, *, say: Say = print) -> None:
    """Refuse to go on with a run, or to show its results, where its plate is another one by now.

    Compared are the manifest (labels, onsets, times), the split, the pixels, and for a run that is not
    finished the version of the code. The config was compared by :meth:`hpiclock.runs.run.Run.start`.

    Args:
        run: a run; one that was not begun is not compared.
        plate: the plate as it is now; None = it is looked at, and a note is said where it cannot be.
        say: takes the note.

    Raises:
        InputError: something differs.
    """
    if run.state == "new" or not run.path("manifest.csv").is_file():
        return
    began: dict[str, Any] = run.read_json(PROVENANCE)
    if run.state == "training":
        _refuse_other_code(run, began)
    try:
        plate = plate or open_plate(run.cfg)
        key = cache_key(plate.manifest, run.cfg.data, run.cfg.image)
    except InputError as error:
        say(NOT_COMPARED.format(run.name, error))
        return
    counts, found = _differences(run, plate.manifest)
    found = counts + found
    if not found and began.get("split_sha256", plate.split.sha256) != plate.split.sha256:
        found = ["wells are in other splits"]
    if not found and "pixels_sha256" in began and key != began["cache"]:
        cache = open_cache(plate.manifest, run.cfg.data, run.cfg.image, key=key)
        found = ["pixels of the stacks"] if cache.sha256 != began["pixels_sha256"] else []
    if found:
        raise InputError(f"{run.folder}: its plate changed since: {'; '.join(found)}; {REPAIR}")


def check_what_was_learnt(runs: Iterable[Run], *, say: Say = print) -> None:
    """Refuse to use or to compare runs whose stacks have other labels or times by now than they were given.

    A plate that is not at hand is no fault, and stacks that came or went since are a note: what a run has
    learnt does not depend on them. Runs of one plate look at it once.

    Args:
        runs: finished runs.
        say: takes the notes.

    Raises:
        InputError: a stack that a run knows is labelled otherwise, or has other hours.
    """
    plates: dict[Any, pd.DataFrame | InputError] = {}
    for run in runs:
        if not run.path("manifest.csv").is_file():
            continue
        source = (run.cfg.data, run.cfg.targets.onset_h)
        if source not in plates:
            try:
                plates[source] = load_manifest(*source)[0]
            except InputError as error:
                plates[source] = error
                say(NOT_COMPARED.format(run.name, error))
        plate = plates[source]
        if isinstance(plate, InputError):
            continue
        counts, found = _differences(run, plate)
        if found:
            again = "train again with the plate as it is, or undo the change"
            raise InputError(f"{run.folder}: its plate changed since: {'; '.join(found)}; {again}")
        if counts:
            say(f"note: the plate of {run.name} changed since it was trained: {'; '.join(counts)}")


def training_cache(run: Run) -> FrameCache:
    """Return the pixels that a run was trained on; where the cache is there, its files are not looked at.

    Raises:
        InputError: neither the cache nor the plate is at hand, or the pixels are others by now.
    """
    kept, manifest = run.read_json(PROVENANCE), run.read_table("manifest.csv", MANIFEST)
    cache = open_cache(manifest, run.cfg.data, run.cfg.image, key=kept["cache"])
    if kept.get("pixels_sha256", cache.sha256) != cache.sha256:
        raise InputError(f"{run.folder}: its plate changed since: pixels of the stacks; {REPAIR}")
    return cache


def _differences(run: Run, new: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return in words which stacks of a run are gone or new, and what differs in the others, anywhere."""
    old = run.read_table("manifest.csv", MANIFEST)
    before, now = old.set_index("stack_id"), new.set_index("stack_id")
    counts, found = [], []
    for gone, words in (
        (before.index.difference(now.index), "gone"),
        (now.index.difference(before.index), "new"),
    ):
        if len(gone):
            counts.append(f"{count_text(len(gone), 'stack')} {words} ({gone[0]})")
    both = now.index.intersection(before.index)
    for name in MANIFEST.columns:
        if name in ("stack_id", "path"):
            continue
        a, b = before.loc[both, name], now.loc[both, name]
        other = both[(a.ne(b) & ~(a.isna() & b.isna())).to_numpy(bool, na_value=False)]
        if len(other):
            example = f"{other[0]} was {a[other[0]]}, now {b[other[0]]}"
            found.append(f"{name} of {count_text(len(other), 'stack')} ({example})")
    # which frames are empty is known once their pixels were read, and is compared with these
    every = (
        expand_frames(table[table["stack_id"].isin(both)].drop(columns=EMPTY_FRAMES, errors="ignore"))
        for table in (old, new)
    )
    hours = [frames.set_index(["stack_id", "frame"])["hours"].sort_index() for frames in every]
    if not found and not hours[0].equals(hours[1]):
        found.append("hours of frames")
    return counts, found


def _refuse_other_code(run: Run, began: dict[str, Any]) -> None:
    def version(about: dict[str, Any]) -> str:
        commit = (about.get("git") or {}).get("commit")
        return f"{about['hpiclock']}" + (f" (commit {commit[:10]})" if commit else "")

    before, now = version(began), version(software())
    if before != now:
        versions = f"was begun with hpiclock {before}, this is {now}"
        raise InputError(f"{run.folder}: {versions}; go on with that version, or give another run folder")
