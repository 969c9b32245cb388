"""A simulated plate in memory: what is done to each well, and its stacks with their truth.

Every well and every stack has its own random stream, spawned from the plate's seed, so the pictures do not
depend on the number of workers or on the order in which they are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.plate.cells import draw_damage, draw_looks
from hpiclock.plate.culture import Infection, grow, infect, shed
from hpiclock.plate.designs import Design
from hpiclock.plate.names import normal_well
from hpiclock.plate.picture import LEVELS, Field, Optics, expose

MARK_LEVEL = 200  # grey level of the planted border mark, of 255


class WellPlan(NamedTuple):
    """What is done to one well."""

    well: str
    moi: float
    onset_h: float  # NaN for mock
    stream: int  # number of its culture
    shift: float  # of its fields within that culture, in fields; only twins have one

    @property
    def condition(self) -> str:
        """``infected`` or ``mock``."""
        return "infected" if self.moi > 0 else "mock"


class Stack(NamedTuple):
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


def simulate(design: Design, *, seed: int) -> Iterator[Stack]:
    """Yield the stacks of a plate, well by well."""
    for plan in plan_wells(design, seed=seed):
        yield from well_stacks(design, plan, seed=seed)


def plan_wells(design: Design, *, seed: int) -> list[WellPlan]:
    """Say what is done to each well, in the order of the plate."""
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


def _twins(design: Design, plans: list[WellPlan], rng: np.random.Generator) -> list[WellPlan]:
    """Let some wells show the culture of another well of their kind, as a mix-up of files would."""
    wanted = design.plant.twin_wells
    pairs = [
        (a, b) for a in range(len(plans)) for b in range(a + 1, len(plans)) if plans[a].moi == plans[b].moi
    ]
    used: set[int] = set()
    for a, b in (pairs[i] for i in rng.permutation(len(pairs))):
        if len(used) < 2 * wanted and not used & {a, b}:
            plans[b] = plans[a]._replace(well=plans[b].well, shift=1.0 - design.plant.twin_overlap)
            used |= {a, b}
    return plans


def well_stacks(design: Design, plan: WellPlan, *, seed: int) -> Iterator[Stack]:
    """Grow, infect and image one well; yield its positions."""
    scope, biology = design.microscope, design.biology
    growth, loose, form, optics, virus, harm = (
        np.random.default_rng(s) for s in np.random.SeedSequence([seed, 1, plan.stream]).spawn(6)
    )
    margin_px = 3 * scope.pitch_px
    step_px = scope.size_px * (1 - scope.overlap)
    tall = 2 - design.plant.twin_overlap if design.plant.twin_wells else 1
    culture = grow(
        biology,
        hours=np.arange(design.n_frames) * design.interval_h,
        width_px=step_px * (scope.positions - 1) + scope.size_px + 2 * margin_px,
        height_px=scope.size_px * tall + 2 * margin_px,
        pitch_px=scope.pitch_px * np.exp(-0.5 * biology.density_sd * growth.standard_normal()),
        rng=growth,
    )
    floaters = shed(culture, biology, rng=loose)
    looks = draw_looks(culture.mother.size, form)
    infection = infect(culture, biology, moi=plan.moi, onset_h=plan.onset_h, rng=virus)
    field = Field(culture, infection, looks, draw_damage(culture, looks, harm), floaters)
    lens = _optics(design, plan, optics)
    for position in range(scope.positions):
        camera = np.random.default_rng([seed, 2, plan.stream, position, round(1000 * plan.shift)])
        corner = margin_px + position * step_px, margin_px + plan.shift * scope.size_px
        yield _stack(design, plan, position, field, lens, corner, camera)


def _optics(design: Design, plan: WellPlan, rng: np.random.Generator) -> Optics:
    scope, plant, infected = design.microscope, design.plant, plan.moi > 0
    gain = scope.gain * np.exp(scope.gain_sd * rng.standard_normal())
    offset_px = scope.focus_sd_px * abs(rng.standard_normal())
    return Optics(
        gain=gain,
        blur_px=scope.blur_px + offset_px + plant.well_blur_px * infected,
        tint=plant.well_tint * infected,
    )


def _stack(
    design: Design,
    plan: WellPlan,
    position: int,
    field: Field,
    lens: Optics,
    corner: tuple[float, float],
    camera: np.random.Generator,
) -> Stack:
    scope, hours = design.microscope, field.culture.hours
    frames = imaged(design, plan)
    light = scope.drift_sd * np.sqrt(design.interval_h / 24.0) * camera.standard_normal(hours.size).cumsum()
    stage = camera.normal(0, 0.3, (hours.size, 2)) + hours[:, None] * camera.normal(0, 0.03, 2) + corner
    pictures = np.empty((frames.size, scope.size_px, scope.size_px), dtype=scope.dtype)
    masks = np.empty(pictures.shape, dtype=bool)
    rows = []
    for k, t in enumerate(frames.tolist()):
        left, top = stage[t]
        phase, masks[k], inside = field.draw(t, left=left, top=top, size=scope.size_px)
        pictures[k] = expose(phase, lens, scope, light=light[t], rng=camera)
        rows.append(_truth(field.infection, inside, hours[t], masks[k]))
    if design.plant.border_mark and plan.moi > 0:
        pictures[:, :3, : scope.size_px // 4] = MARK_LEVEL * LEVELS[scope.dtype]
    name = f"{design.name}_s1_{plan.well.lower()}_p{position + 1}_t{frames[0]}-{frames[-1]}"
    well = normal_well(plan.well)
    identity: dict[str, str | float] = {
        "stack_id": f"{design.name}/{well}/p{position + 1}",
        "well": well,
        "position": str(position + 1),
        "condition": plan.condition,
        "moi": plan.moi,
        "onset_h": plan.onset_h,
    }
    truth = pd.DataFrame(rows).assign(**identity, frame=np.arange(frames.size))
    truth["hpi"] = truth["hours"] - truth["onset_h"]
    first = [*identity, "frame", "hours", "hpi"]
    truth = truth[[*first, *truth.columns.drop(first)]]
    return Stack(name, plan, float(hours[frames[0]]), pictures, masks, truth)


def imaged(design: Design, plan: WellPlan) -> np.ndarray:
    """Indices of the plate's frames in which a well is imaged: all, unless a clock is planted."""
    hours = np.arange(design.n_frames) * design.interval_h
    window = design.plant.infected_h if plan.moi > 0 else design.plant.mock_h
    low, high = window or (0.0, hours[-1])
    return np.flatnonzero((hours >= low - 1e-9) & (hours <= high + 1e-9))


def _truth(infection: Infection, inside: np.ndarray, now_h: float, mask: np.ndarray) -> dict[str, float]:
    share = 1.0 / max(inside.size, 1)
    return {
        "hours": float(now_h),
        "n_cells": inside.size,
        "infected_fraction": float((infection.infected_h[inside] <= now_h).sum() * share),
        "cpe_fraction": float((infection.cpe_h[inside] <= now_h).sum() * share),
        "cpe_area": float(mask.mean()),
    }
