"""A trained run, or the folds of one experiment, reads out a new plate; goes on when it was killed.

Here stands, too, what a run keeps of its training frames, so that new plates can be compared with them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from hpiclock.acquisition import COLUMNS as ACQUISITION
from hpiclock.acquisition import EMPTY_FRAMES
from hpiclock.analysis.acquisition_shift import acquisition_shift, ood_summary
from hpiclock.analysis.calibration import CLIP
from hpiclock.config.load import config_of
from hpiclock.config.schema import Config, iterate_keys
from hpiclock.errors import InputError
from hpiclock.files import atomic, check_output, make_folder, write_csv
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.plate.frames import empty_notes
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.preprocess import harmonize
from hpiclock.plate.quality import stack_statistics
from hpiclock.plate.timeline import context_note, expand_frames
from hpiclock.progress import progress
from hpiclock.runs.results import read_study_tables
from hpiclock.runs.run import PROVENANCE, PUT_BACK, Run, Say, plain, sha256
from hpiclock.tables import (
    FRAMES,
    IDENTITY,
    MANIFEST,
    NEW_PREDICTIONS,
    PREDICTIONS,
    UNKNOWN,
    check,
    read,
    read_any,
    write,
)
from hpiclock.targets import add_targets
from hpiclock.workflows.identity import check_what_was_learnt, training_cache

if TYPE_CHECKING:
    from hpiclock.inference.ood import TrainingReference
    from hpiclock.training.model import TwoHeads

BEST = ("checkpoints", "best.pt")
REFERENCE = ("checkpoints", "likeness.npz")
STACK_STATISTICS = ("checkpoints", "looks.csv")
PIECE = 4096  # frames, in whole stacks
KEY = "key"  # of a folder of pieces: what they were made from


def kept_weights(run: Run) -> Path:
    """Return the checkpoint that was tested, if it is still that which this run wrote.

    Raises:
        InputError: another run's weights, or others than those of the end of training.
    """
    path, kept = run.path(*BEST), run.read_json(PROVENANCE).get("best_sha256")
    if kept and path.is_file() and sha256(path) != kept:
        raise InputError(f"{path}: is not the checkpoint that this run wrote; {PUT_BACK}")
    return path


def trained_model(run: Run) -> TwoHeads:
    """Return the model of a run with the weights that were tested.

    Raises:
        InputError: no checkpoint, a device that is not to be had, or a network that was made by hand.
    """
    from hpiclock.inference.predict import load_model

    if "the model" in run.by_hand:
        raise InputError(
            f"{run.folder}: its network was changed by hand, and its config does not make it; "
            "predict with it in the notebook that made it"
        )
    return load_model(run.cfg, kept_weights(run))


def keep_reference(
    run: Run, model: TwoHeads, cache: FrameCache, frames: pd.DataFrame
) -> TrainingReference | None:
    """Keep beside a run's checkpoint the distribution of its training frames' features and their statistics.

    Returns the distribution of the features; None where no frame is held out.
    """
    from hpiclock.inference.ood import fit_reference

    _keep_statistics(run, cache, frames)
    reference = fit_reference(model, cache, frames)
    if reference is not None:
        reference.save(run.path(*REFERENCE))
    return reference


def reference_of(run: Run, model: TwoHeads) -> TrainingReference | None:
    """Return the distribution of a run's training frames in its model's features, kept in the run's folder.

    None where it was never made and the training plate is not at hand.

    Raises:
        InputError: the kept file is damaged.
    """
    from hpiclock.inference.ood import TrainingReference

    path = run.path(*REFERENCE)
    if path.is_file() and path.stat().st_mtime >= run.path(*BEST).stat().st_mtime:
        return TrainingReference.load(path)
    plate = _plate(run)
    return None if plate is None else keep_reference(run, model, *plate)


def kept_statistics(run: Run) -> pd.DataFrame | None:
    """Return the statistics of each stack of a run's plate (:func:`stack_statistics`); kept likewise.

    None where they were never measured and the training plate is not at hand.
    """
    if run.path(*STACK_STATISTICS).is_file():
        return read_any(run.path(*STACK_STATISTICS))
    plate = _plate(run)
    return None if plate is None else _keep_statistics(run, *plate)


def _keep_statistics(run: Run, cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
    statistics = stack_statistics(cache, frames)
    # a run of somebody else can be used where its folder cannot be written
    with suppress(InputError):
        write_csv(statistics, run.path(*STACK_STATISTICS))
    return statistics


def _plate(run: Run) -> tuple[FrameCache, pd.DataFrame] | None:
    """The training frames and their pixels; None where its plate is not at hand, or another one."""
    try:
        return training_cache(run), run.read_table("frames.parquet", FRAMES)
    except InputError:
        return None


def resume_chunks(frames: pd.DataFrame) -> list[pd.DataFrame]:
    """Cut a FRAMES table between stacks into pieces of about :data:`PIECE` frames."""
    stacks = frames["stack_id"].ne(frames["stack_id"].shift()).cumsum()
    first = stacks.groupby(stacks).transform(lambda rows: rows.index[0])  # of its stack
    return [piece for _, piece in frames.groupby(first // PIECE)]


@dataclass(frozen=True)
class PlatePredictions:
    """Predictions of a plate.

    Attributes:
        rows: NEW_PREDICTIONS with the metadata of each stack (compound, dose, ...).
        thresholds: from which P(infected) on a frame is called infected, by rule; ``decision`` is there.
        notes: what must stand wherever these predictions are shown.
        likeness: ``verdict distance sentence n_held_out n_wells``; empty where nothing was compared.
        runs: names of the runs that predicted.
    """

    rows: pd.DataFrame
    thresholds: dict[str, float]
    notes: list[str]
    likeness: dict[str, Any] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    @property
    def threshold(self) -> float:
        """The threshold of the decision."""
        return self.thresholds["decision"]

    def save(self, path: Path) -> None:
        """Write the rows and, beside them, ``NAME.json``."""
        write(NEW_PREDICTIONS, self.rows, path)
        about = {name: getattr(self, name) for name in ("runs", "thresholds", "likeness", "notes")}
        with atomic(path.with_suffix(".json")) as partial:
            partial.write_text(json.dumps(plain(about), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_readout(path: str | Path) -> PlatePredictions:
    """Read what :func:`hpiclock.workflows.predict.predict` wrote.

    Raises:
        InputError: no such file, or not such files.
    """
    path = Path(path)
    rows = read(NEW_PREDICTIONS, path)
    beside = path.with_suffix(".json")
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        return PlatePredictions(rows, about["thresholds"], about["notes"], about["likeness"], about["runs"])
    except (OSError, ValueError, KeyError) as error:
        repair = f"hpiclock predict writes it with {path.name}"
        raise InputError(f"{beside}: cannot be read ({type(error).__name__}); {repair}") from None


def _is_readout(path: Path) -> bool:
    try:
        read_readout(path)
    except InputError:
        return False
    return True


def own_test_wells(run: Run) -> PlatePredictions:
    """Return the test wells of a run as if they were a new plate, for a read-out without one."""
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    thresholds = _thresholds(read_study_tables(run.folder)["detection_thresholds"])
    manifest = run.read_table("manifest.csv", MANIFEST).set_index("stack_id")
    extra = manifest.filter(["compound", "dose", "dose_unit", "replicate", "virus"])
    rows = predictions[predictions["split"].eq("test")].join(extra, on="stack_id")
    note = "No new plate is given: these are the test wells of the run itself, on its own plate."
    return PlatePredictions(rows.reset_index(drop=True), thresholds, [note, *run.notes], {}, [run.name])


DECISION = "decision"


class Member(NamedTuple):
    """One run of several: its model, its training frames' distribution, its thresholds and temperature.

    ``thresholds`` are those of its study by rule; ``temperature`` calibrates its P(infected), NaN where none
    could be fitted.
    """

    run: Run
    model: TwoHeads
    reference: TrainingReference | None
    thresholds: dict[str, float]
    temperature: float

    @property
    def key(self) -> str:
        """Changes with the weights and with what distances are measured against."""
        digest = hashlib.sha256(self.run.path(*BEST).read_bytes())
        digest.update(b"" if self.reference is None else self.reference.held_out.tobytes())
        return digest.hexdigest()


def load_member(run: Run, say: Say) -> Member:
    """Load what a finished run needs for predictions of a new plate."""

    model = trained_model(run)
    reference = reference_of(run, model)
    if reference is None:
        say(f"note: {run.name}: its training frames are not at hand, so nothing can be compared with them")
    tables = read_study_tables(run.folder)
    fitted = tables["temperature"]["temperature"]
    temperature = float(fitted.iloc[0]) if len(fitted) else float("nan")
    return Member(run, model, reference, _thresholds(tables["detection_thresholds"]), temperature)


def _thresholds(rules: pd.DataFrame) -> dict[str, float]:
    return rules.dropna(subset="threshold").set_index("rule")["threshold"].to_dict()


def combine_members(
    members: list[Member], frames: pd.DataFrame, predicted: list[pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, float], list[str]]:
    """Return the members' predictions as one table (more than PREDICTIONS), thresholds by rule, and notes.

    ``p_calibrated``: P(infected) under the temperature of each run (missing where a run has none);
    ``called``: 1 where P(infected) reaches the threshold; ``distance`` to the training frames; with several
    members ``p_infected_sd`` and ``time_pred_sd``, their standard deviation over members.

    Args:
        members: the runs.
        frames: FRAMES rows of the plate.
        predicted: by each member ``p_infected time_pred distance``, a row per frame.
    """
    from hpiclock.inference.predict import trained_times_only

    notes: list[str] = []
    names = [member.run.name for member in members]
    rules = set.intersection(*(set(member.thresholds) for member in members))
    thresholds = {rule: float(np.mean([m.thresholds[rule] for m in members])) for rule in sorted(rules)}
    p, distance = (
        np.stack([rows[name].to_numpy(float) for rows in predicted]) for name in ("p_infected", "distance")
    )
    of_members = [
        trained_times_only(rows, member.run.cfg.model, threshold=member.thresholds.get(DECISION, 0.5))
        for rows, member in zip(predicted, members, strict=True)
    ]
    hours = np.stack(of_members)
    temperatures = np.array([member.temperature for member in members])
    rows = frames.reset_index(drop=True).assign(
        run=names[0],
        seed=members[0].run.cfg.seed,
        p_infected=p.mean(0),
        time_pred=_mean(hours),
        p_calibrated=expit(logit(np.clip(p, CLIP, 1 - CLIP)) / temperatures[:, None]).mean(0),
        distance=_mean(distance),
    )
    called = (rows["p_infected"] >= thresholds[DECISION]).astype("Int8")
    rows["called"] = called.mask(rows["p_infected"].isna())
    if len(members) > 1:
        spread = {"p_infected_sd": p.std(0, ddof=1), "time_pred_sd": hours.std(0, ddof=1)}
        rows = rows.assign(run=f"mean of {len(members)} runs", seed=0, **spread)
        cuts = ", ".join(f"{member.thresholds[DECISION]:.3f}" for member in members)
        mean = f"Mean of {len(members)} runs ({', '.join(names)})"
        notes.append(f"{mean}; the threshold is the mean of theirs ({cuts}).")
    if not np.isfinite(temperatures).all():
        notes.append("A run has no temperature, so P(infected) is as the model gives it, not calibrated.")
    return rows, thresholds, notes


def _mean(values: np.ndarray) -> np.ndarray:
    return pd.DataFrame(values).mean().to_numpy()  # of those that are there


# keys that are not carried over to another plate
OF_THE_PLATE = ("data.source", "data.interval_h", "data.start_h", "data.quarantine", "data.on_bad_stack")
OF_THE_FILES = ("times_h", EMPTY_FRAMES, *ACQUISITION)
MAY_CHANGE = ("image.low", "image.high")  # and data.*


def predict(
    runs: Sequence[Run],
    source: str | Path,
    output: str | Path,
    *,
    changes: Mapping[str, Any],
    say: Say,
) -> PlatePredictions:
    """Predict every frame of a new plate and write the predictions, with what must be known about them.

    Stacks are converted and predicted piece by piece; a command that was killed goes on where it stopped.
    Conditions may be unknown. Stacks that cannot be read are left out and reported.

    Args:
        runs: one finished run, or several of one experiment: their mean is the prediction, with its spread.
        source: a folder of stacks, plate map, manifest CSV, or one file of many.
        output: a Parquet or CSV file; a JSON file of the same name is written beside it.
        changes: config keys ``data.*``, ``image.low`` and ``image.high`` that differ on this plate.
        say: takes each line of the log.

    Raises:
        InputError: runs that do not go together or whose labels changed since, a plate that cannot be
            matched, nothing to read, or an output that would replace anything but an earlier one of this
            command.
    """
    output = Path(output)
    if not output.name:
        raise InputError(f"{output}: is a folder; name a file")
    pieces = output.with_name(f".{output.name}.pieces")
    # a kill between the two files leaves one of them, and the pieces
    ours = _is_readout(output) or (pieces / KEY).is_file()
    for path in (output, output.with_suffix(".json")):
        suffixes = (".parquet", ".csv") if path == output else ()
        check_output(path, over=[source], suffixes=suffixes, own=lambda _: ours)
    cfg = plate_config(runs, source, changes)
    manifest, notes = _stacks(cfg)
    check_what_was_learnt(runs, say=say)
    known = runs[0].read_table("manifest.csv", MANIFEST)
    if "image.low" in changes or "image.high" in changes:
        known = known.assign(dtype=manifest["dtype"].iloc[0])  # the user states what its grey levels mean
    image, adapted = harmonize(known, manifest, cfg.image)
    cache = open_cache(manifest, cfg.data, image)
    manifest = cache.find_empty(manifest)
    frames = frames_of_new_plate(manifest, cfg)
    notes += [
        *adapted,
        *empty_notes(manifest),
        *cache.clipped_notes(),
        *context_note(frames, image.context_h),
    ]
    for note in notes:
        say(f"note: {note}")
    if frames.empty:
        raise InputError(f"{source}: no frame holds a picture: all are of one grey level; export them again")
    members = [load_member(run, say) for run in runs]
    predicted = _predict_all(members, cache, frames, pieces)
    rows, thresholds, of_members = combine_members(members, frames, predicted)
    more = _metadata(manifest).drop(columns=rows.columns, errors="ignore")  # frames carry the allocation
    rows = check(NEW_PREDICTIONS, rows.join(more, on="stack_id"))
    references = [member.reference for member in members if member.reference is not None]
    n_held_out, n_wells = min(((len(one.held_out), one.n_wells) for one in references), default=(0, 0))
    trained = kept_statistics(runs[0])
    shift = None if trained is None else acquisition_shift(trained, stack_statistics(cache, frames))
    ood = ood_summary(rows, n_held_out=n_held_out, n_wells=n_wells, shift=shift)
    warning = [ood.sentence] if ood.verdict != "alike" else []
    numbers = [] if shift is None else shift.to_dict("records")
    likeness = ood._asdict() | {"n_held_out": n_held_out, "n_wells": n_wells, "looks": numbers}
    notes = [*warning, *of_members, *notes]
    found = PlatePredictions(rows, thresholds, notes, likeness, [run.name for run in runs])
    found.save(output)
    shutil.rmtree(pieces, ignore_errors=True)
    say(ood.sentence)
    return found


def plate_config(runs: Sequence[Run], source: str | Path, changes: Mapping[str, Any]) -> Config:
    """Return the config under which a new plate is read: preprocessing and study of the runs.

    Raises:
        InputError: runs without training or that prepare images differently, a key that a run decides.
    """
    for run in runs:
        run.refuse_unfinished()
    first = runs[0]
    for run in runs[1:]:
        for key in ("image", "data.channel", "data.z", "targets", "model.tasks"):
            if attrgetter(key)(first.cfg) != attrgetter(key)(run.cfg):
                repair = "only runs that read images in the same way can be taken together"
                raise InputError(f"{run.folder}: {key} differs from {first.folder}; {repair}")
    for key in changes:
        if not key.startswith("data.") and key not in MAY_CHANGE:
            allowed = " and ".join(MAY_CHANGE)
            raise InputError(f"--set {key}: the run decides it; data.*, {allowed} may be set")
    carried = {
        key: value
        for key, value in iterate_keys(first.cfg)
        if value is not None and not key.startswith(OF_THE_PLATE)
    }
    new = {"data.source": str(source), "data.on_bad_stack": "quarantine"}
    return config_of(carried | new | dict(changes))


def frames_of_new_plate(manifest: pd.DataFrame, cfg: Config) -> pd.DataFrame:
    """Return FRAMES rows of a new plate; a label is missing where the condition is unknown."""
    frames = add_targets(expand_frames(manifest), cfg.targets)
    unknown = frames["condition"].eq(UNKNOWN)
    return frames.assign(
        label=frames["label"].mask(unknown),
        time_target=frames["time_target"].mask(unknown),
        split="test",
        fold=0,
    )


def _stacks(cfg: Config) -> tuple[pd.DataFrame, list[str]]:
    manifest, notes = load_manifest(cfg.data, onset_h=np.nan, blind=True)
    infected = manifest["condition"].eq("infected")
    unstated = infected & manifest["onset_h"].isna()
    if unstated.any():
        manifest = manifest.assign(onset_h=manifest["onset_h"].mask(unstated, cfg.targets.onset_h))
        notes.append(
            f"The plate map states no onset for {unstated.sum()} infected stacks: {cfg.targets.onset_h:g} h, "
            "the onset that the run assumes, is taken. It decides labels and hpi, not the predictions."
        )
    unknown = int(manifest["condition"].eq(UNKNOWN).sum())
    if unknown:
        notes.append(
            f"What was done to {unknown} of {len(manifest)} stacks is unknown: nothing about them is scored."
        )
    return manifest, notes


def _predict_all(
    members: list[Member], cache: FrameCache, frames: pd.DataFrame, folder: Path
) -> list[pd.DataFrame]:
    """Return each member's predictions of every frame; finished pieces are kept in the folder.

    Pieces of other models or frames that are there are removed.
    """
    from hpiclock.inference.predict import predict

    parts = [cache.key, *(member.key for member in members), PIECE]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    kept = folder / KEY
    if not kept.is_file() or kept.read_text(encoding="utf-8") != key:
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        with atomic(kept) as partial:
            partial.write_text(key, encoding="utf-8")
    pieces = {folder / f"{number:05d}.parquet": rows for number, rows in enumerate(resume_chunks(frames))}
    done = sum(len(rows) for path, rows in pieces.items() if path.is_file())
    with progress(desc="predicting", total=len(frames), initial=done, unit="frame") as bar:
        for path, rows in pieces.items():
            if path.is_file():
                continue
            keys, predicted = rows[["stack_id", "frame"]].reset_index(drop=True), []
            for index, member in enumerate(members):
                each = bar.update if index == len(members) - 1 else (lambda _: None)
                found = predict(member.model, cache, rows, member.reference, each=each)
                predicted.append(keys.join(found).assign(member=index))
            with atomic(path) as partial:
                pd.concat(predicted, ignore_index=True).to_parquet(partial, index=False)
    every = pd.concat([pd.read_parquet(path) for path in pieces], ignore_index=True)
    keys = frames[["stack_id", "frame"]]
    return [
        keys.merge(every[every["member"].eq(index)], on=["stack_id", "frame"], how="left", validate="1:1")
        for index in range(len(members))
    ]


def _metadata(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return what the source tells of each stack beyond a PREDICTIONS row, such as compound and dose."""
    extra = [name for name in manifest.columns if name not in (*MANIFEST.columns, *IDENTITY, *OF_THE_FILES)]
    taken = {"run", "seed", "p_infected", "time_pred", "label", "frame", "hours", "distance"}
    return manifest.set_index("stack_id")[[name for name in extra if name not in taken]]
