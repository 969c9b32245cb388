"""A trained run, or the folds of one experiment, reads out a new plate: files -> predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.config import Config
from hpiclock.configfile import config_of
from hpiclock.errors import InputError
from hpiclock.plate.appearance import stack_looks
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.plate.frames import expand
from hpiclock.plate.manifest import acquisition_times, load_manifest
from hpiclock.plate.matching import matched
from hpiclock.plate.targets import add_targets
from hpiclock.progress import progress
from hpiclock.report.chunks import Chunks, chunked
from hpiclock.report.ensemble import Member, combined
from hpiclock.report.readout_files import ReadOut
from hpiclock.report.references import BEST, looks_of, reference_of
from hpiclock.report.runs import Run
from hpiclock.section import leaves
from hpiclock.study.likeness import likeness
from hpiclock.study.looks import compare_looks
from hpiclock.tables import IDENTITY, MANIFEST, NEW_PREDICTIONS, UNKNOWN, check

OF_THE_PLATE = ("source", "interval_h", "start_h", "quarantine", "on_bad_stack")  # not carried over
OF_THE_FILES = ("times_h", "pixel_um", "channel_name")
MAY_CHANGE = ("image.low", "image.high")  # and data.*


def predict(
    runs: Sequence[Run],
    source: str | Path,
    output: str | Path,
    *,
    changes: Mapping[str, Any],
    say: Callable[[str], None],
) -> ReadOut:
    """Predict every frame of a new plate and write the predictions, with what must be known about them.

    Stacks are converted and predicted piece by piece; a command that was killed goes on where it stopped.
    Conditions may be unknown. Stacks that cannot be read are left out and reported.

    Args:
        runs: one finished run, or several of one experiment: their mean is the answer, with its spread.
        source: a folder of stacks, plate map, manifest CSV, or one file of many.
        output: a Parquet or CSV file; a JSON file of the same name is written beside it.
        changes: config keys ``data.*``, ``image.low`` and ``image.high`` that differ on this plate.
        say: takes each line of the log.

    Raises:
        InputError: runs that do not go together, a plate that cannot be matched, or nothing to read.
    """
    output = Path(output)
    cfg = plate_config(runs, source, changes)
    manifest, notes = _stacks(cfg)
    trained = runs[0].read_table("manifest.csv", MANIFEST)
    if "image.low" in changes or "image.high" in changes:
        trained = trained.assign(dtype=manifest["dtype"].iloc[0])  # the user said what its grey levels mean
    image, adapted = matched(trained, manifest, cfg.image)
    notes += adapted
    for note in notes:
        say(f"note: {note}")
    cache = open_cache(manifest, cfg.data, image)
    frames = new_frames(manifest, cfg)
    members = [_member(run, say) for run in runs]
    said = _ask_all(members, cache, frames, output)
    ensemble = combined(members, frames, said)
    rows = check(NEW_PREDICTIONS, ensemble.rows.join(_told(manifest), on="stack_id"))
    n_held_out, n_wells = ensemble.held_out
    was = looks_of(runs[0])
    looks = None if was is None else compare_looks(was, stack_looks(cache, frames))
    judged = likeness(rows, n_held_out=n_held_out, n_wells=n_wells, looks=looks)
    warning = [judged.sentence] if judged.verdict != "alike" else []
    numbers = [] if looks is None else looks.to_dict("records")
    found = ReadOut(
        rows,
        ensemble.thresholds,
        [*warning, *ensemble.notes, *notes],
        judged._asdict() | {"n_held_out": n_held_out, "n_wells": n_wells, "looks": numbers},
        [run.name for run in runs],
    )
    found.save(output)
    Chunks(output).remove()
    say(judged.sentence)
    return found


def plate_config(runs: Sequence[Run], source: str | Path, changes: Mapping[str, Any]) -> Config:
    """Return the config under which a new plate is read: preprocessing and study of the runs.

    Raises:
        InputError: no run, runs that prepare images in different ways, or a key that a run decides.
    """
    if not runs:
        raise InputError("predict: name at least one run")
    for run in runs:
        if not run.path(*BEST).is_file():
            raise InputError(f"{run.folder}: is not trained (state: {run.state}); hpiclock train --resume it")
    first = runs[0]
    for run in runs[1:]:
        for key in ("image", "data.channel", "data.z", "targets", "model.tasks"):
            mine, other = _part(first.cfg, key), _part(run.cfg, key)
            if mine != other:
                raise InputError(
                    f"{run.folder}: {key} differs from {first.folder}; only runs that read images in the "
                    "same way can be taken together"
                )
    for key in changes:
        if not key.startswith("data.") and key not in MAY_CHANGE:
            raise InputError(
                f"--set {key}: the run decides it; data.*, {' and '.join(MAY_CHANGE)} may be set"
            )
    kept = dict(leaves(first.cfg))
    carried = {
        key: value for key, value in kept.items()
        if value is not None and not key.startswith("data.source")
        and key.removeprefix("data.") not in OF_THE_PLATE
    }  # fmt: skip
    new = {"data.source": str(source), "data.on_bad_stack": "quarantine"}
    return config_of(carried | new | dict(changes))


def new_frames(manifest: pd.DataFrame, cfg: Config) -> pd.DataFrame:
    """Return FRAMES rows of a new plate; a label is missing where the condition is unknown."""
    frames = add_targets(expand(manifest, acquisition_times(manifest)), cfg.targets)
    unknown = frames["condition"].eq(UNKNOWN)
    return frames.assign(
        label=frames["label"].mask(unknown),
        time_target=frames["time_target"].mask(unknown),
        split="test",
        fold=0,
    )


def _part(cfg: Config, key: str) -> Any:
    value: Any = cfg
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _stacks(cfg: Config) -> tuple[pd.DataFrame, list[str]]:
    manifest, notes = load_manifest(cfg.data, onset_h=np.nan, blind=True)
    infected = manifest["condition"].eq("infected")
    unsaid = infected & manifest["onset_h"].isna()
    if unsaid.any():
        manifest = manifest.assign(onset_h=manifest["onset_h"].mask(unsaid, cfg.targets.onset_h))
        notes.append(
            f"The plate map states no onset for {unsaid.sum()} infected stacks: {cfg.targets.onset_h:g} h, "
            "the onset that the run assumes, is taken. It decides labels and hpi, not the predictions."
        )
    unknown = int(manifest["condition"].eq(UNKNOWN).sum())
    if unknown:
        notes.append(
            f"What was done to {unknown} of {len(manifest)} stacks is unknown: nothing about them is scored."
        )
    return manifest, notes


def _member(run: Run, say: Callable[[str], None]) -> Member:
    from hpiclock.clock.asking import open_machine

    machine = open_machine(run.cfg, run.path(*BEST))
    reference = reference_of(run, machine)
    if reference is None:
        say(f"note: {run.name}: its training frames are not at hand, so nothing can be compared with them")
    return Member(run, machine, reference)


def _ask_all(
    members: list[Member], cache: FrameCache, frames: pd.DataFrame, output: Path
) -> list[pd.DataFrame]:
    """Return what each member says of every frame; finished pieces are kept on disk."""
    from hpiclock.clock.asking import ask

    kept = Chunks(output).take_up([cache.key, *(member.key for member in members)])
    pieces = chunked(frames)
    done = sum(len(piece) for number, piece in enumerate(pieces) if kept.has(number))
    with progress(desc="predicting", total=len(frames), initial=done, unit="frame") as bar:
        for number, piece in enumerate(pieces):
            if kept.has(number):
                continue
            said = []
            for index, member in enumerate(members):
                last = index == len(members) - 1
                each = bar.update if last else (lambda _: None)
                answers = ask(member.machine, cache, piece, member.reference, each=each)
                said.append(
                    piece[["stack_id", "frame"]].reset_index(drop=True).join(answers).assign(member=index)
                )
            kept.keep(number, pd.concat(said, ignore_index=True))
    answers = kept.read(len(pieces))
    keys = frames[["stack_id", "frame"]]
    return [
        keys.merge(answers[answers["member"].eq(index)], on=["stack_id", "frame"], how="left", validate="1:1")
        for index in range(len(members))
    ]


def _told(manifest: pd.DataFrame) -> pd.DataFrame:
    """What the source says about each stack beyond a PREDICTIONS row, such as compound and dose."""
    extra = [name for name in manifest.columns if name not in (*MANIFEST.columns, *IDENTITY, *OF_THE_FILES)]
    taken = {"run", "seed", "p_infected", "time_pred", "label", "frame", "hours", "distance"}
    return manifest.set_index("stack_id")[[name for name in extra if name not in taken]]
