"""A simulated plate with known truth, written as a lab would: TIFF stacks, plate map, truth table.

Every well and every stack has its own random stream, spawned from the plate's seed, so the pictures do not
depend on the number of workers or on the order in which they are made.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tifffile
import yaml
from tqdm.auto import tqdm

from hpiclock.errors import InputError
from hpiclock.plate.culture import Infection, grow, infect, shed
from hpiclock.plate.designs import Design
from hpiclock.plate.picture import Field, Optics, draw_damage, draw_looks, expose

VERSION = 1  # of the simulator: another version draws other pictures from the same seed
WORKERS = 2
MAP_NAME, TRUTH_NAME, RECIPE_NAME = "plate.yaml", "truth.csv", "synth.json"


class WellPlan(NamedTuple):
    """What is done to one well; ``stream`` numbers its culture, ``shift`` the fields of a twin."""

    well: str
    moi: float
    onset_h: float
    stream: int
    shift: float


class Stack(NamedTuple):
    """One position over time, with its truth."""

    stack_id: str
    well: str
    position: str
    start_frame: int
    pictures: np.ndarray  # (frames, height, width)
    masks: np.ndarray  # (frames, height, width) bool, where CPE is to be seen
    truth: pd.DataFrame  # one row per frame


def synthesize(folder: Path, *, design: Design, seed: int, progress: bool, workers: int = WORKERS) -> Path:
    """Write a simulated plate into ``folder`` and return the path of its plate map.

    A folder that already holds exactly this design and seed is used as it is. The plate is written beside
    the folder and moved there when it is complete.

    Raises:
        InputError: the folder holds something else.
    """
    folder = Path(folder)
    recipe = {"version": VERSION, "seed": seed, "design": design.model_dump(mode="json")}
    if _holds(folder, recipe):
        return folder / MAP_NAME
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(partial, design, seed, progress, workers)
        (partial / RECIPE_NAME).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        os.replace(partial, folder)  # replaces an empty folder, never a full one
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder / MAP_NAME


def simulate(design: Design, seed: int) -> Iterator[Stack]:
    """Yield the stacks of a plate in memory, well by well."""
    for plan in plan_wells(design, seed):
        yield from _well_stacks(design, seed, plan)


def _holds(folder: Path, recipe: dict[str, Any]) -> bool:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the simulated plate")
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    found = folder / RECIPE_NAME
    if found.is_file() and json.loads(found.read_text(encoding="utf-8")) == recipe:
        return True
    held = "another simulated plate" if found.is_file() else "other files"
    raise InputError(f"{folder}: already holds {held}; name an empty or a new folder, or delete this one")


def _write(folder: Path, design: Design, seed: int, progress: bool, workers: int) -> None:
    plans = plan_wells(design, seed)
    if design.masks:
        (folder / "masks").mkdir()

    def one(plan: WellPlan) -> pd.DataFrame:
        parts = []
        for stack in _well_stacks(design, seed, plan):
            _write_stack(folder / f"{stack.stack_id}.tiff", stack.pictures, design)
            if design.masks:
                _write_stack(
                    folder / "masks" / f"{stack.stack_id}_mask.tiff", stack.masks.view(np.uint8) * 255, design
                )
            parts.append(stack.truth)
        return pd.concat(parts)

    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(one, plans)
        bar = tqdm(done, total=len(plans), desc=f"plate {design.name}", unit="well", disable=not progress)
        truth = pd.concat(list(bar), ignore_index=True)
    truth.to_csv(folder / TRUTH_NAME, index=False)
    (folder / MAP_NAME).write_text(_plate_map(design, plans), encoding="utf-8")


def _write_stack(path: Path, frames: np.ndarray, design: Design) -> None:
    tifffile.imwrite(
        path, frames, imagej=True, metadata={"axes": "TYX", "finterval": design.interval_h * 3600.0}
    )


def plan_wells(design: Design, seed: int) -> list[WellPlan]:
    """Say what is done to each well: MOI, onset and the number of its random stream."""
    rng = np.random.default_rng([seed, 0])
    wells = list(design.wells)
    if design.shuffled:
        wells = [wells[i] for i in rng.permutation(len(wells))]
    count: dict[float, int] = {}
    plans = []
    mois = sorted({moi for moi in design.wells.values() if moi > 0})
    for stream, (well, moi) in enumerate(zip(wells, design.wells.values(), strict=True)):
        turn = count.get(moi, 0)
        count[moi] = turn + 1
        onset = design.onsets_h[(turn + mois.index(moi)) % len(design.onsets_h)] if moi > 0 else np.nan
        plans.append(WellPlan(well, moi, onset, stream, 0.0))
    return _twins(design, plans, rng)


def _twins(design: Design, plans: list[WellPlan], rng: np.random.Generator) -> list[WellPlan]:
    """Let some wells show the culture of another well of their kind, as a mix-up of files would."""
    wanted, shift = design.plant.twin_wells, 1.0 - design.plant.twin_overlap
    pairs = [
        (a, b) for a in range(len(plans)) for b in range(a + 1, len(plans)) if plans[a].moi == plans[b].moi
    ]
    used: set[int] = set()
    for a, b in (pairs[i] for i in rng.permutation(len(pairs))) if wanted else ():
        if len(used) < 2 * wanted and not used & {a, b}:
            plans[b] = plans[a]._replace(well=plans[b].well, shift=shift)
            used |= {a, b}
    return sorted(plans, key=lambda plan: (plan.well[0], int(plan.well[1:])))


def _well_stacks(design: Design, seed: int, plan: WellPlan) -> Iterator[Stack]:
    """Grow, infect and image one well."""
    scope, plant = design.microscope, design.plant
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, 1, plan.stream]).spawn(6)]
    hours = np.arange(design.n_frames) * design.interval_h
    step = scope.size_px * (1 - scope.overlap)
    margin = 3 * scope.pitch_px
    density = np.exp(design.biology.density_sd * streams[0].standard_normal())
    culture = grow(
        design.biology,
        hours=hours,
        width_px=step * (scope.positions - 1) + scope.size_px + 2 * margin,
        height_px=scope.size_px * (2 - plant.twin_overlap if plant.twin_wells else 1) + 2 * margin,
        pitch_px=scope.pitch_px / np.sqrt(density),
        rng=streams[0],
    )
    floaters = shed(culture, design.biology, rng=streams[1])
    looks = draw_looks(culture.mother.size, streams[2])
    optics = _optics(design, plan, streams[3])
    infection = infect(culture, design.biology, moi=plan.moi, onset_h=plan.onset_h, rng=streams[4])
    damage = draw_damage(culture, infection, streams[5])
    field = Field(culture, infection, looks, damage, floaters)
    for position in range(scope.positions):
        left = margin + position * step
        camera = np.random.default_rng([seed, 2, plan.stream, position, int(1000 * plan.shift)])
        yield _stack(design, plan, position, field, optics, left, margin + plan.shift * scope.size_px, camera)


def _optics(design: Design, plan: WellPlan, rng: np.random.Generator) -> Optics:
    scope, plant = design.microscope, design.plant
    gain = scope.gain * np.exp(scope.gain_sd * rng.standard_normal())
    offset = scope.focus_sd_px * abs(rng.standard_normal())
    infected = plan.moi > 0
    return Optics(
        gain=gain,
        blur_px=scope.blur_px + offset + plant.well_blur_px * infected,
        tint=plant.well_tint * infected,
    )


def _stack(
    design: Design,
    plan: WellPlan,
    position: int,
    field: Field,
    optics: Optics,
    left: float,
    top: float,
    camera: np.random.Generator,
) -> Stack:
    scope, plant = design.microscope, design.plant
    hours = field.culture.hours
    window = plant.infected_h if plan.moi > 0 else plant.mock_h
    low, high = window or (0.0, hours[-1])
    frames = np.flatnonzero((hours >= low - 1e-9) & (hours <= high + 1e-9))
    drift = scope.drift_sd * np.sqrt(design.interval_h / 24.0) * camera.standard_normal(hours.size).cumsum()
    jitter = camera.normal(0, 0.3, (hours.size, 2)) + hours[:, None] * camera.normal(0, 0.03, 2)
    pictures = np.empty((frames.size, scope.size_px, scope.size_px), dtype=scope.dtype)
    masks = np.empty(pictures.shape, dtype=bool)
    rows = []
    for k, t in enumerate(frames.tolist()):
        phase, masks[k], inside = field.draw(
            t, left=left + jitter[t, 0], top=top + jitter[t, 1], size=scope.size_px
        )
        pictures[k] = expose(phase, optics, scope, light=drift[t], rng=camera)
        if plant.border_mark and plan.moi > 0:
            pictures[k, :3, : scope.size_px // 4] = 200 * (16 if scope.dtype == "uint16" else 1)
        rows.append(_truth(field.infection, inside, hours[t], masks[k]))
    stack_id = f"{design.name}_s1_{plan.well.lower()}_p{position + 1}_t{frames[0]}-{frames[-1]}"
    truth = pd.DataFrame(rows)
    truth.insert(0, "frame", np.arange(frames.size))
    condition = "infected" if plan.moi > 0 else "mock"
    identity = [stack_id, plan.well, f"p{position + 1}", condition, plan.moi, plan.onset_h]
    for name, value in zip(
        ["onset_h", "moi", "condition", "position", "well", "stack_id"], identity[::-1], strict=True
    ):
        truth.insert(0, name, value)
    truth.insert(8, "hpi", truth["hours"] - truth["onset_h"])
    return Stack(stack_id, plan.well, f"p{position + 1}", int(frames[0]), pictures, masks, truth)


def _truth(infection: Infection, inside: np.ndarray, now: float, mask: np.ndarray) -> dict[str, float]:
    n = max(inside.size, 1)
    return {
        "hours": float(now),
        "n_cells": inside.size,
        "infected_fraction": float((infection.infected_h[inside] <= now).sum() / n),
        "cpe_fraction": float((infection.cpe_h[inside] <= now).sum() / n),
        "cpe_area": float(mask.mean()),
    }


def _plate_map(design: Design, plans: list[WellPlan]) -> str:
    wells = {}
    for plan in plans:
        entry: dict[str, Any] = {"condition": "infected" if plan.moi > 0 else "mock"}
        if plan.moi > 0:
            entry |= {"moi": plan.moi, "onset_h": float(plan.onset_h)}
        window = design.plant.infected_h if plan.moi > 0 else design.plant.mock_h
        if window:
            first = np.ceil(window[0] / design.interval_h - 1e-9) * design.interval_h
            entry["start_h"] = float(first)
        wells[plan.well] = entry | {"replicate": plan.well[0]}
    lines = [f"plate: {design.name}", f"interval_h: {design.interval_h}", "wells:"]
    for well, entry in wells.items():
        lines.append(
            f"  {well}: " + yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=200).strip()
        )
    return "\n".join(lines) + "\n"
