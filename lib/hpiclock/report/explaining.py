"""Where a run's model looks: maps of some test frames, and what checks them, kept with the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from hpiclock.errors import InputError
from hpiclock.files import atomic, make_folder
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.report.map_checks import Maps, alike, border_rows, deletion_rows, maps_of, redrawn_rows
from hpiclock.report.runs import Run
from hpiclock.study.examples import listed_frames, spread_frames
from hpiclock.study.maps import shrunk
from hpiclock.study.threshold import choose_threshold
from hpiclock.tables import FRAMES, MANIFEST, PREDICTIONS, read_any

if TYPE_CHECKING:
    from hpiclock.clock.experiment import Machine

FOLDER = "explanations"
PER_CONDITION = 8  # frames of each condition that are looked into
MOST_SIDE = 64  # px of a kept map
COLUMNS = ["check", "head", "method", "depth", "value", "low", "high", "chance", "n", "n_wells", "note"]


@dataclass
class Explained:
    """Maps of some test frames and what checks them; empty where a run keeps none.

    frames: PREDICTIONS rows, infected first, by time; maps: (head, method) -> (n, side, side), positive
    speaks for infected or for more hours; faithfulness: see :func:`keep_explanations`; deletion: likewise.
    """

    frames: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["path", "frame"]))
    maps: Maps = field(default_factory=dict)
    faithfulness: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))
    deletion: pd.DataFrame = field(default_factory=pd.DataFrame)

    def of(self, method: str) -> dict[str, np.ndarray]:
        """Return the maps of one method by head; none where it was not used."""
        return {head: maps for (head, by), maps in self.maps.items() if by == method}


def keep_explanations(run: Run, machine: Machine, cache: FrameCache, predictions: pd.DataFrame) -> None:
    """Look into some test frames of a run and keep what is found in its folder ``explanations/``.

    ``frames.csv``: which frames. ``maps.npz``: a map for each head and method. ``browser.npz``: coarse
    Grad-CAM of the frames that the error browser lists. ``faithfulness.csv``: ``check head method depth
    value low high chance n n_wells note``; checks are ``weights drawn anew`` (rank correlation with the map
    of such a model, by depth), ``deletion`` (what deleting by the map does beyond deleting at random) and
    ``border`` (share of the weight there; chance is its area). ``deletion.csv``: ``head method removed value
    low high n n_wells``; value is P of the class that was called, or the hours by which the time moved.

    Args:
        run: where it is kept.
        machine: the trained model.
        cache: the frames' pixels.
        predictions: PREDICTIONS of the run.
    """
    test = predictions[predictions["split"].eq("test")]
    chosen = spread_frames(test, per_condition=PER_CONDITION)
    if chosen.empty:
        return
    from hpiclock.clock.explain import images_of  # torch is loaded only where a model is asked

    folder = make_folder(run.path(FOLDER))
    images = images_of(machine, cache, chosen)
    maps = maps_of(machine.model, images)
    level, seed = run.cfg.study.level, run.cfg.seed
    curves, gaps = deletion_rows(machine.model, images, maps, chosen, level=level, seed=seed)
    checks = [redrawn_rows(machine.model, images, maps, chosen, level=level, seed=seed), gaps]
    checks.append(border_rows(maps, chosen, level=level))
    keys = chosen[["stack_id", "frame"]]
    named = {f"{head}/{method}": shrunk(found, MOST_SIDE) for (head, method), found in maps.items()}
    _save_arrays(folder / "maps.npz", named)
    _save_arrays(folder / "browser.npz", _listed(run, machine, cache, predictions))
    for name, table in (
        ("faithfulness", pd.concat(checks, ignore_index=True)[COLUMNS]),
        ("deletion", curves),
        ("frames", keys),  # last: where it is, all is
    ):
        with atomic(folder / f"{name}.csv") as partial:
            table.to_csv(partial, index=False)


def read_explanations(run: Run) -> Explained:
    """Return what a run keeps of where its model looks; empty where it keeps nothing."""
    folder = run.path(FOLDER)
    if not (folder / "frames.csv").is_file():
        return Explained()
    keys = read_any(folder / "frames.csv")
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    frames = keys.merge(predictions, on=["stack_id", "frame"], how="left", validate="1:1")
    maps = {}
    for name, found in _load_arrays(folder / "maps.npz").items():
        head, _, method = name.partition("/")
        maps[head, method] = found.astype(np.float32)
    checks = [read_any(folder / "faithfulness.csv")]
    shuffled = folder / "shuffled_labels.csv"
    checks += [read_any(shuffled)] if shuffled.is_file() else []
    faithfulness = pd.concat(checks, ignore_index=True).fillna({"depth": "", "note": ""})
    return Explained(frames, maps, faithfulness, read_any(folder / "deletion.csv"))


def explained(run: Run, *, say: Callable[[str], None] = print) -> Explained:
    """Return what a run keeps, after computing what it lacks: the maps, and the check by shuffled labels.

    Raises:
        InputError: a run without a checkpoint, or stacks that cannot be read.
    """
    lacking = [name for name in ("frames.csv", "shuffled_labels.csv") if not _fresh(run, name)]
    if lacking:
        from hpiclock.clock.asking import open_machine

        cfg, manifest = run.cfg, run.read_table("manifest.csv", MANIFEST)
        cache = open_cache(manifest, cfg.data, cfg.image)
        machine = open_machine(cfg, run.path("checkpoints", "best.pt"))
        if "frames.csv" in lacking:
            say("where the model looks")
            keep_explanations(run, machine, cache, run.read_table("predictions.parquet", PREDICTIONS))
        say("a model that learns shuffled labels")
        _keep_shuffled(run, machine, cache)
    return read_explanations(run)


def heat_maps_of(run: Run) -> Callable[[pd.DataFrame, str], np.ndarray] | None:
    """Return what gives the kept Grad-CAM maps of some frames and a head; None where none are kept.

    The maps are (n, cells, cells); frames without one get NaN.
    """
    path = run.path(FOLDER, "browser.npz")
    if not path.is_file():
        return None
    kept = _load_arrays(path)
    if "stack_id" not in kept:
        return None
    places = {
        (str(s), int(f)): i for i, (s, f) in enumerate(zip(kept["stack_id"], kept["frame"], strict=True))
    }

    def of(rows: pd.DataFrame, head: str) -> np.ndarray:
        maps = kept[head]
        found = np.full((len(rows), *maps.shape[1:]), np.nan, np.float32)
        for number, key in enumerate(zip(rows["stack_id"], rows["frame"], strict=True)):
            if key in places:
                found[number] = maps[places[key]]
        return found

    return of


def _keep_shuffled(run: Run, machine: Machine, cache: FrameCache) -> None:
    from hpiclock.clock.explain import images_of
    from hpiclock.clock.faithfulness import EPOCHS, NONSENSE_STEPS, taught_nonsense

    kept = read_explanations(run)
    found: list[dict[str, object]] = []
    if len(kept.frames):
        frames = run.read_table("frames.parquet", FRAMES)
        other = taught_nonsense(run.cfg, machine, cache, frames)
        images = images_of(machine, cache, kept.frames)
        theirs = {key: shrunk(maps, MOST_SIDE) for key, maps in maps_of(other, images).items()}
        note = f"at most {NONSENSE_STEPS} steps in {EPOCHS} epochs"
        found = alike("labels shuffled", kept.maps, theirs, kept.frames, level=run.cfg.study.level, note=note)
    with atomic(run.path(FOLDER, "shuffled_labels.csv")) as partial:
        pd.DataFrame(found, columns=COLUMNS).to_csv(partial, index=False)


def _listed(
    run: Run, machine: Machine, cache: FrameCache, predictions: pd.DataFrame
) -> dict[str, np.ndarray]:
    from hpiclock.clock.explain import METHODS, coarse_gradcam, heads_of, images_of, methods_for

    if methods_for(machine.model, run.cfg.image.size) != METHODS:
        return {}
    threshold = choose_threshold(predictions, rule=run.cfg.study.threshold).value
    rows = listed_frames(predictions[predictions["split"].eq("test")], threshold=threshold)
    if rows.empty:
        return {}
    images = images_of(machine, cache, rows)
    maps = {
        head: coarse_gradcam(machine.model, images, head=head).numpy().astype(np.float16)
        for head in heads_of(machine.model)
    }
    return {"stack_id": rows["stack_id"].to_numpy(str), "frame": rows["frame"].to_numpy(int)} | maps


def _fresh(run: Run, name: str) -> bool:
    made, predictions = run.path(FOLDER, name), run.path("predictions.parquet")
    return made.is_file() and (
        not predictions.is_file() or made.stat().st_mtime >= predictions.stat().st_mtime
    )


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with atomic(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); remove its folder"
        ) from None
