"""A simulated plate: its wells and stacks with their truth, in memory and on disk as a lab would bring it."""

import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tifffile
import yaml

from hpiclock.errors import InputError
from hpiclock.files import cannot_write, umask
from hpiclock.plate.manifest import RECIPE
from hpiclock.progress import progress
from hpiclock.simulate import biology
from hpiclock.simulate.design import Design
from hpiclock.simulate.optics import LEVELS, Field, Optics, expose
from hpiclock.targets import hpi
from hpiclock.wells import normal_well

VERSION = 3  # of the simulator: another version draws other pictures from the same seed
WORKERS = 2
MARK_LEVEL = 200  # grey level of the planted border mark, of 255
Rng = np.random.Generator
Corner = tuple[float, float]
MAP_NAME, TABLE_NAME, TRUTH_NAME = "plate.yaml", "manifest.csv", "truth.csv"


class WellPlan(NamedTuple):
    """The treatment of one simulated well."""

    well: str
    moi: float
    onset_h: float  # NaN for mock
    stream: int  # number of its culture
    shift: float  # of its fields within that culture, in fields; only twins have one

    @property
    def condition(self) -> str:
        """``infected`` or ``mock``."""
        return "infected" if self.moi > 0 else "mock"


class SimulatedStack(NamedTuple):
    """One position over time.

    ``truth`` has one row per frame: identity (``stack_id well position condition moi onset_h``), ``frame``,
    ``hours``, ``hpi``, and of the cells in the field ``n_cells``, ``infected_fraction`` (carry virus),
    ``cpe_fraction`` (visibly changed or gone), ``cpe_area`` (share of the picture in the mask).
    """

    name: str  # of its file, without suffix
    plan: WellPlan
    start_h: float
    pictures: np.ndarray  # (frames, height, width)
    masks: np.ndarray  # (frames, height, width) bool: where CPE is to be seen
    truth: pd.DataFrame


def simulate_plate(design: Design, *, seed: int) -> Iterator[SimulatedStack]:
    """Yield the stacks of a plate, well by well."""
    for plan in plan_wells(design, seed=seed):
        yield from well_stacks(design, plan, seed=seed)


def plan_wells(design: Design, *, seed: int) -> list[WellPlan]:
    """Return the treatment of each well, in the order of the plate."""
    rng = np.random.default_rng([seed, 0])
    wells = list(design.wells)
    if design.shuffled:
        wells = [wells[i] for i in rng.permutation(len(wells))]
    mois = sorted({moi for moi in design.wells.values() if moi > 0})
    turn = dict.fromkeys(mois, 0)
    plans = []
    for stream, (well, moi) in enumerate(zip(wells, design.wells.values(), strict=True)):
        onset_h = np.nan
        if moi > 0:
            onset_h = design.onsets_h[(turn[moi] + mois.index(moi)) % len(design.onsets_h)]
            turn[moi] += 1
        plans.append(WellPlan(well, moi, onset_h, stream, 0.0))
    return sorted(_twins(design, plans, rng), key=lambda plan: normal_well(plan.well))


def _twins(design: Design, plans: list[WellPlan], rng: Rng) -> list[WellPlan]:
    """Let some wells show the culture of another well of their kind, as a mix-up of files would."""
    wanted = design.plant.twin_wells
    every = itertools.combinations(range(len(plans)), 2)
    pairs = [(a, b) for a, b in every if plans[a].moi == plans[b].moi]
    used: set[int] = set()
    for a, b in (pairs[i] for i in rng.permutation(len(pairs))):
        if len(used) < 2 * wanted and not used & {a, b}:
            plans[b] = plans[a]._replace(well=plans[b].well, shift=1.0 - design.plant.twin_overlap)
            used |= {a, b}
    return plans


def well_stacks(design: Design, plan: WellPlan, *, seed: int) -> Iterator[SimulatedStack]:
    """Grow, infect and image one well; yield its positions."""
    scope = design.microscope
    growth, loose, form, optics, virus, harm = (
        np.random.default_rng(s) for s in np.random.SeedSequence([seed, 1, plan.stream]).spawn(6)
    )
    margin_px = 3 * scope.pitch_px
    step_px = scope.size_px * (1 - scope.overlap)
    tall = 2 - design.plant.twin_overlap if design.plant.twin_wells else 1
    culture = biology.grow_culture(
        design.biology,
        hours=np.arange(design.n_frames) * design.interval_h,
        width_px=step_px * (scope.positions - 1) + scope.size_px + 2 * margin_px,
        height_px=scope.size_px * tall + 2 * margin_px,
        pitch_px=scope.pitch_px * np.exp(-0.5 * design.biology.density_sd * growth.standard_normal()),
        rng=growth,
    )
    floaters = biology.shed_floaters(culture, design.biology, rng=loose)
    morphology = biology.draw_morphology(culture.mother.size, form)
    infection = biology.spread_infection(
        culture, design.biology, moi=plan.moi, onset_h=plan.onset_h, rng=virus
    )
    field = Field(culture, infection, morphology, biology.draw_cpe(culture, morphology, harm), floaters)
    plant, infected = design.plant, plan.moi > 0
    gain = scope.gain * np.exp(scope.gain_sd * optics.standard_normal())
    blur_px = scope.blur_px + scope.focus_sd_px * abs(optics.standard_normal())
    lens = Optics(gain, blur_px + plant.well_blur_px * infected, plant.well_tint * infected)
    for position in range(scope.positions):
        camera = np.random.default_rng([seed, 2, plan.stream, position, round(1000 * plan.shift)])
        corner = margin_px + position * step_px, margin_px + plan.shift * scope.size_px
        yield _stack(design, plan, position, field, lens, corner, camera)


def _stack(
    design: Design, plan: WellPlan, position: int, field: Field, lens: Optics, corner: Corner, camera: Rng
) -> SimulatedStack:
    scope, hours = design.microscope, field.culture.hours
    window = design.plant.infected_h if plan.moi > 0 else design.plant.mock_h
    first_h, last_h = window or (0.0, hours[-1])  # all of them, unless a clock is planted
    frames = np.flatnonzero((hours >= first_h - 1e-9) & (hours <= last_h + 1e-9))
    light = scope.drift_sd * np.sqrt(design.interval_h / 24.0) * camera.standard_normal(hours.size).cumsum()
    stage = camera.normal(0, 0.3, (hours.size, 2)) + hours[:, None] * camera.normal(0, 0.03, 2) + corner
    pictures = np.empty((frames.size, scope.size_px, scope.size_px), dtype=scope.dtype)
    masks = np.empty(pictures.shape, dtype=bool)
    rows = []
    for k, t in enumerate(frames.tolist()):
        left, top = stage[t]
        phase, masks[k], inside = field.draw(t, left=left, top=top, size=scope.size_px)
        pictures[k] = expose(phase, lens, scope, light=light[t], rng=camera)
        rows.append(_truth(field, inside, hours[t], masks[k]))
    if design.plant.border_mark and plan.moi > 0:
        pictures[:, :3, : scope.size_px // 4] = MARK_LEVEL * LEVELS[scope.dtype]
    name = f"{design.name}_s1_{plan.well.lower()}_p{position + 1}_t{frames[0]}-{frames[-1]}"
    well, field_name = normal_well(plan.well), str(position + 1)
    identity = {"stack_id": f"{design.name}/{well}/p{field_name}", "well": well, "position": field_name}
    treatment = {"condition": plan.condition, "moi": plan.moi, "onset_h": plan.onset_h}
    truth = pd.DataFrame(rows).assign(**identity, **treatment, frame=np.arange(frames.size))
    truth["hpi"] = hpi(truth["hours"], truth["onset_h"])
    first = [*identity, *treatment, "frame", "hours", "hpi"]
    truth = truth[[*first, *truth.columns.drop(first)]]
    return SimulatedStack(name, plan, float(hours[frames[0]]), pictures, masks, truth)


def _truth(field: Field, inside: np.ndarray, now_h: float, mask: np.ndarray) -> dict[str, float]:
    infection, share = field.infection, 1.0 / max(inside.size, 1)
    return {
        "hours": float(now_h),
        "n_cells": inside.size,
        "infected_fraction": float((infection.infected_h[inside] <= now_h).sum() * share),
        "cpe_fraction": float((infection.cpe_h[inside] <= now_h).sum() * share),
        "cpe_area": float(mask.mean()),
    }


def synthesize(folder: Path, *, design: Design, seed: int, workers: int = WORKERS) -> Path:
    """Write a simulated plate into ``folder``.

    Beside the stacks stand ``truth.csv`` (of :class:`SimulatedStack`) and ``synth.json``
    (design and seed). A folder that already holds exactly this design and seed is used as it is. The plate
    is written beside the folder and moved there when it is complete; the same seed gives the same bytes
    whatever the number of ``workers``.

    Returns:
        The path of the plate map; of a manifest CSV where classes are imaged over different hours, which a
        plate map cannot say. Either is a ``data.source``.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    folder = Path(folder)
    # without a pixel size the design is as it was before there was one
    absent = {"microscope": {"pixel_um"}} if design.microscope.pixel_um is None else None
    recipe = {"version": VERSION, "seed": seed, "design": design.model_dump(mode="json", exclude=absent)}
    text = json.dumps(recipe, indent=1) + "\n"
    source = TABLE_NAME if design.plant.infected_h or design.plant.mock_h else MAP_NAME
    if _holds(folder, text):
        return folder / source
    with _complete_or_nothing(folder) as partial:
        plans = plan_wells(design, seed=seed)
        stacks = _write_stacks(partial, design, plans, seed, workers)
        pd.concat([truth for _, truth in stacks], ignore_index=True).to_csv(partial / TRUTH_NAME, index=False)
        if source == MAP_NAME:
            (partial / MAP_NAME).write_text(_plate_map(design, plans), encoding="utf-8")
        else:
            _table(design, stacks).to_csv(partial / TABLE_NAME, index=False)
        (partial / RECIPE).write_text(text, encoding="utf-8")
    return folder / source


def _holds(folder: Path, recipe: str) -> bool:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the simulated plate")
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    found = folder / RECIPE
    if found.is_file() and found.read_text(encoding="utf-8") == recipe:
        return True
    held = "another simulated plate" if found.is_file() else "other files"
    raise InputError(f"{folder}: already holds {held}; name a new or empty folder, or remove this one")


@contextmanager
def _complete_or_nothing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``folder`` and move it there when all went well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        where: dict[str, Any] = {"prefix": f".{folder.name}.", "dir": folder.parent}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True, **where) as partial:
            yield Path(partial)
            os.chmod(partial, 0o777 & ~umask())
            os.replace(partial, folder)  # takes the place of an empty folder, never of a full one
    except OSError as error:
        raise cannot_write(folder, error) from None


def _write_stacks(
    folder: Path, design: Design, plans: list[WellPlan], seed: int, workers: int
) -> list[tuple[Path, pd.DataFrame]]:
    """Draw and write the wells side by side; threads do, because the drawing runs without the lock."""
    where = folder / "stacks" if design.masks else folder
    masks = folder / "masks"
    for made in (where, masks) if design.masks else (where,):
        made.mkdir(exist_ok=True)

    def one(plan: WellPlan) -> list[tuple[Path, pd.DataFrame]]:
        written = []
        for stack in well_stacks(design, plan, seed=seed):
            path = where / f"{stack.name}.tiff"
            _write_tiff(path, stack.pictures, design)
            if design.masks:
                _write_tiff(masks / f"{stack.name}_cpe.tiff", stack.masks.view(np.uint8) * 255, design)
            written.append((path.relative_to(folder), stack.truth))
        return written

    with ThreadPoolExecutor(workers) as pool:
        wells = pool.map(one, plans)
        bar = progress(wells, desc=f"plate {design.name}", total=len(plans), unit="well")
        return [stack for well in bar for stack in well]


def _write_tiff(path: Path, frames: np.ndarray, design: Design) -> None:
    metadata: dict[str, Any] = {"axes": "TYX", "finterval": design.interval_h * 3600.0}
    pixel_um, resolution = design.microscope.pixel_um, None
    if pixel_um is not None:
        metadata["unit"], resolution = "um", (1 / pixel_um, 1 / pixel_um)
    tifffile.imwrite(path, frames, imagej=True, metadata=metadata, resolution=resolution)


def _plate_map(design: Design, plans: list[WellPlan]) -> str:
    wells: dict[str, dict[str, Any]] = {}
    for plan in plans:
        virus = {"moi": plan.moi, "onset_h": float(plan.onset_h)} if plan.moi > 0 else {}
        replicate = normal_well(plan.well).rstrip("0123456789")
        wells[plan.well] = {"condition": plan.condition} | virus | {"replicate": replicate}
    content: dict[str, Any] = {"plate": design.name} | ({"folder": "stacks"} if design.masks else {})
    content |= {"interval_h": design.interval_h, "wells": wells}
    return yaml.safe_dump(content, default_flow_style=None, sort_keys=False, width=200)


def _table(design: Design, stacks: list[tuple[Path, pd.DataFrame]]) -> pd.DataFrame:
    columns = ["condition", "well", "position", "moi", "onset_h"]
    rows = [
        {"path": path.as_posix(), "plate": design.name}
        | truth.iloc[0][columns].to_dict()
        | {"interval_h": design.interval_h, "start_h": truth["hours"].iloc[0]}
        for path, truth in stacks
    ]
    return pd.DataFrame(rows)
