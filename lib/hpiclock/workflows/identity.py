"""What makes a run this run: config, plate, split and code; a difference stops with what differs."""

from typing import Any

import pandas as pd

from hpiclock.acquisition import EMPTY_FRAMES
from hpiclock.errors import InputError
from hpiclock.format import count_text
from hpiclock.plate.cache import cache_key, open_cache
from hpiclock.plate.frames import Plate, expand_frames, open_plate
from hpiclock.runs.run import PROVENANCE, Run, Say, software
from hpiclock.tables import MANIFEST

REPAIR = "undo the change, or give another run folder"


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
        say(f"note: the plate of {run.name} was not compared with what the run keeps of it: {error}")
        return
    found = list(_differences(run.read_table("manifest.csv", MANIFEST), plate.manifest))
    if not found and began.get("split_sha256", plate.split.sha256) != plate.split.sha256:
        found = ["wells are in other splits"]
    if not found and "pixels_sha256" in began and key != began["cache"]:
        cache = open_cache(plate.manifest, run.cfg.data, run.cfg.image, key=key)
        found = ["pixels of the stacks"] if cache.sha256 != began["pixels_sha256"] else []
    if found:
        raise InputError(f"{run.folder}: its plate changed since: {'; '.join(found)}; {REPAIR}")


def _differences(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """Return in words what differs between two MANIFEST tables, wherever their files are."""
    before, now = old.set_index("stack_id"), new.set_index("stack_id")
    found = []
    for gone, words in (
        (before.index.difference(now.index), "gone"),
        (now.index.difference(before.index), "new"),
    ):
        if len(gone):
            found.append(f"{count_text(len(gone), 'stack')} {words} ({gone[0]})")
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
    every = (expand_frames(table.drop(columns=EMPTY_FRAMES, errors="ignore")) for table in (old, new))
    if not found and not next(every)["hours"].equals(next(every)["hours"]):
        found.append("hours of frames")
    return found


def _refuse_other_code(run: Run, began: dict[str, Any]) -> None:
    def version(about: dict[str, Any]) -> str:
        commit = (about.get("git") or {}).get("commit")
        return f"{about['hpiclock']}" + (f" (commit {commit[:10]})" if commit else "")

    before, now = version(began), version(software())
    if before != now:
        versions = f"was begun with hpiclock {before}, this is {now}"
        raise InputError(f"{run.folder}: {versions}; go on with that version, or give another run folder")
