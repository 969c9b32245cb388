"""Where a run's model looks: maps of some test frames, and what checks them, kept with the run."""

from __future__ import annotations

import logging
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
from hpiclock.report.map_checks import CHECKS, Maps, alike, border_rows, deletion_rows, maps_of, redrawn_rows
from hpiclock.report.runs import Run
from hpiclock.study.examples import listed_frames, spread_frames
from hpiclock.study.maps import shrunk
from hpiclock.study.threshold import choose_threshold
from hpiclock.tables import FRAMES, MANIFEST, PREDICTIONS, read_any

if TYPE_CHECKING:
    from hpiclock.clock.experiment import Machine

log = logging.getLogger(__name__)
FOLDER = "explanations"
GRADCAM = "Grad-CAM"
PER_CONDITION = 8  # frames of each condition that are looked into
MOST_SIDE = 64  # px of a kept map


@dataclass
class Explained:
    """Maps of some test frames and what checks them; empty where a run keeps none.

    frames: PREDICTIONS rows, infected first, by time; maps: (head, method) -> (n, side, side), positive
    speaks for infected or for more hours; checks, deletion: see :func:`explained`.
    """

    frames: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["path", "frame"]))
    maps: Maps = field(default_factory=dict)
    checks: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=CHECKS))
    deletion: pd.DataFrame = field(default_factory=pd.DataFrame)

    def of(self, method: str, *, cells: int = MOST_SIDE) -> dict[str, np.ndarray]:
        """Return the maps of one method by head, in at most so many cells a side; empty without."""
        return {head: shrunk(maps, cells) for (head, by), maps in self.maps.items() if by == method}


@dataclass(frozen=True)
class KeptMaps:
    """Grad-CAM maps by head, (n, cells, cells), and the place of each frame, (stack_id, frame), in them."""

    places: dict[tuple[str, int], int]
    by_head: dict[str, np.ndarray]

    def __call__(self, rows: pd.DataFrame, head: str) -> np.ndarray:
        """Return the maps of some frames, (rows, cells, cells): NaN without one, or without this head."""
        cells = next(iter(self.by_head.values())).shape[1:]
        found = np.full((len(rows), *cells), np.nan, np.float32)
        for number, key in enumerate(zip(rows["stack_id"], rows["frame"], strict=True)):
            if head in self.by_head and key in self.places:
                found[number] = self.by_head[head][self.places[key]]
        return found


def keep_gradcam(run: Run, machine: Machine, cache: FrameCache, predictions: pd.DataFrame) -> None:
    """Keep Grad-CAM of some test frames in ``explanations/gradcam.npz``, a few hundred kB.

    They are the frames of :func:`read_gradcam` and those that an error browser lists first, with their
    neighbours, each map in the cells of its layer. Nothing is kept where there is no test frame, or no layer
    with a map that is fine enough.
    """
    from hpiclock.clock.explain import METHODS, coarse_gradcam, heads_of, images_of, methods_for

    test = predictions[predictions["split"].eq("test")]
    threshold = choose_threshold(predictions, rule=run.cfg.study.threshold).value
    rows = pd.concat([_chosen(test), listed_frames(test, threshold=threshold)])
    rows = rows.drop_duplicates(["stack_id", "frame"])
    if rows.empty or methods_for(machine.model, run.cfg.image.size) != METHODS:
        return
    images = images_of(machine, cache, rows)
    maps = {
        head: coarse_gradcam(machine.model, images, head=head).numpy().astype(np.float16)
        for head in heads_of(machine.model)
    }
    make_folder(run.path(FOLDER))
    keys = {"stack_id": rows["stack_id"].to_numpy(str), "frame": rows["frame"].to_numpy(int)}
    _save_arrays(run.path(FOLDER, "gradcam.npz"), keys | maps)


def heat_maps_of(run: Run) -> KeptMaps | None:
    """Return the Grad-CAM maps that a run keeps; None where it keeps none.

    Raises:
        InputError: the file is damaged.
    """
    path = run.path(FOLDER, "gradcam.npz")
    if not path.is_file():
        return None
    kept = _load_arrays(path)
    keys = zip(kept.pop("stack_id").tolist(), kept.pop("frame").tolist(), strict=True)
    return KeptMaps({key: place for place, key in enumerate(keys)}, kept)


def read_gradcam(run: Run) -> Explained:
    """Return the kept Grad-CAM maps of test frames of both conditions from early to late; empty without."""
    heat_maps = heat_maps_of(run)
    if heat_maps is None:
        return Explained()
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    frames = _chosen(predictions[predictions["split"].eq("test")])
    maps = {(head, GRADCAM): heat_maps(frames, head) for head in heat_maps.by_head}
    return Explained(frames, maps)


def explained(run: Run, *, say: Callable[[str], None] = print) -> Explained:
    """Return maps by every method and what checks them: those in the run's folder, else new ones.

    ``explanations/`` holds ``maps.npz`` (a map of each head and method), ``checks.csv`` (``check head method
    depth value low high chance n n_wells note``) and ``deletion.csv`` (``head method removed value low high n
    n_wells``: P of the class that was called, or the hours by which the time moved). The checks are ``weights
    drawn anew`` and ``labels shuffled`` (rank correlation with the maps of such a model), ``deletion`` (how
    much further deleting by the map takes the answer than deleting at random) and ``border`` (the share of
    the weight there; chance is its area).

    Args:
        run: a finished run.
        say: takes a line per step; the run's log has them, too.

    Raises:
        InputError: a run without a checkpoint, or stacks that cannot be read.
    """
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    frames = _chosen(predictions[predictions["split"].eq("test")])
    if frames.empty:
        return Explained()
    made, given = run.path(FOLDER, "checks.csv"), run.path("predictions.parquet")
    if not made.is_file() or made.stat().st_mtime < given.stat().st_mtime:

        def tell(line: str) -> None:
            say(line)
            log.info("maps: %s", line)

        with run.logged():
            _examine(run, predictions, frames, tell)
    maps: Maps = {}
    for name, found in _load_arrays(run.path(FOLDER, "maps.npz")).items():
        head, _, method = name.partition("/")
        maps[head, method] = found
    checks = read_any(made).fillna({"depth": "", "note": ""})
    return Explained(frames, maps, checks, read_any(run.path(FOLDER, "deletion.csv")))


def _examine(run: Run, predictions: pd.DataFrame, frames: pd.DataFrame, say: Callable[[str], None]) -> None:
    from hpiclock.clock.asking import open_machine
    from hpiclock.clock.explain import images_of
    from hpiclock.clock.faithfulness import EPOCHS, NONSENSE_STEPS, taught_nonsense

    cfg, manifest = run.cfg, run.read_table("manifest.csv", MANIFEST)
    level, folder = cfg.study.level, make_folder(run.path(FOLDER))
    cache = open_cache(manifest, cfg.data, cfg.image)
    machine = open_machine(cfg, run.path("checkpoints", "best.pt"))
    if not run.path(FOLDER, "gradcam.npz").is_file():  # a run that was trained before maps were kept
        keep_gradcam(run, machine, cache, predictions)
    say("where the model looks")
    images = images_of(machine, cache, frames)
    maps = maps_of(machine.model, images)
    named = {f"{head}/{by}": shrunk(found, MOST_SIDE) for (head, by), found in maps.items()}
    _save_arrays(folder / "maps.npz", named)
    say("models with other weights, deleted tiles")
    curves, gaps = deletion_rows(machine.model, images, maps, frames, level=level, seed=cfg.seed)
    checks = [redrawn_rows(machine.model, images, maps, frames, level=level, seed=cfg.seed), gaps]
    checks.append(border_rows(maps, frames, level=level))
    say("a model that learns shuffled labels")
    other = taught_nonsense(cfg, machine, cache, run.read_table("frames.parquet", FRAMES))
    note = f"at most {NONSENSE_STEPS} steps in {EPOCHS} epochs"
    theirs = maps_of(other, images)
    checks.append(pd.DataFrame(alike("labels shuffled", maps, theirs, frames, level=level, note=note)))
    for name, table in (("deletion", curves), ("checks", pd.concat(checks, ignore_index=True)[CHECKS])):
        with atomic(folder / f"{name}.csv") as partial:  # checks last: where they are, all is
            table.to_csv(partial, index=False)


def _chosen(test: pd.DataFrame) -> pd.DataFrame:
    return spread_frames(test, per_condition=PER_CONDITION)


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
