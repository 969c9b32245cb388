"""What makes one cell look unlike the next, healthy and under CPE: drawn once for each cell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from hpiclock.simulate.biology import Culture

PROCESSES = 3  # thin tapered arms of a shrunken cell
BLEBS = 6  # per cell


class Morphology(NamedTuple):
    """What distinguishes one cell from the next; arrays over cells."""

    size: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray
    lobe_c: np.ndarray
    lobe_s: np.ndarray
    joint: np.ndarray  # how deep the line to a neighbour is
    grain: np.ndarray
    offset: np.ndarray  # (2, cells) into the texture


class Cpe(NamedTuple):
    """How CPE will look on each cell; arrays over cells, blebs (cells, BLEBS)."""

    rounds: np.ndarray  # rounds up, else becomes a spindle
    lysis_h: np.ndarray  # after the first CPE
    detaches: np.ndarray
    stretch: np.ndarray  # of the spindle
    turn: np.ndarray  # from the cell's old axis to the spindle's
    process_x: np.ndarray  # (cells, PROCESSES) ends of its arms from its centre
    process_y: np.ndarray
    partner: np.ndarray  # a strand holds on to this cell,
    holds: np.ndarray  # if there is one
    bleb_h: np.ndarray
    bleb_px: np.ndarray
    bleb_x: np.ndarray
    bleb_y: np.ndarray


def draw_morphology(cells: int, rng: np.random.Generator) -> Morphology:
    """Draw what the cells of a culture look like."""
    lobes = 0.13 * rng.standard_normal((2, cells)).clip(-1.6, 1.6)
    return Morphology(
        size=np.exp(0.17 * rng.standard_normal(cells)),
        stretch=np.exp(0.2 * np.abs(rng.standard_normal(cells))).clip(1, 1.6),
        angle=rng.uniform(0, np.pi, cells),
        lobe_c=lobes[0],
        lobe_s=lobes[1],
        joint=rng.uniform(0.15, 0.75, cells),
        grain=np.exp(0.35 * rng.standard_normal(cells)),
        offset=rng.integers(0, 256, (2, cells)),
    )


def draw_cpe(culture: Culture, morphology: Morphology, rng: np.random.Generator) -> Cpe:
    """Draw how each cell would look under CPE; only cells that show it ever use it."""
    cells, pitch = morphology.size.size, culture.pitch_px
    partner = _partners(culture, rng)
    to_x, to_y = culture.x[-1, partner] - culture.x[-1], culture.y[-1, partner] - culture.y[-1]
    axis = np.arctan2(to_y, to_x)
    arm = axis[:, None] + rng.normal(0, 0.5, (cells, PROCESSES)) + np.pi * (np.arange(PROCESSES) % 2)
    length = pitch * rng.uniform(0.5, 1.3, (cells, PROCESSES))
    around = rng.uniform(0, 2 * np.pi, (cells, BLEBS))
    far = pitch * rng.uniform(0.15, 0.8, (cells, BLEBS))
    return Cpe(
        rounds=rng.random(cells) < 0.35,
        lysis_h=6.0 + rng.gamma(2.5, 7.0, cells),
        detaches=rng.random(cells) < 0.9,
        stretch=rng.uniform(1.2, 2.0, cells),
        turn=(axis - morphology.angle + np.pi / 2) % np.pi - np.pi / 2,
        process_x=length * np.cos(arm),
        process_y=length * np.sin(arm),
        partner=partner,
        holds=rng.random(cells) < 0.6,
        bleb_h=1.0 + rng.exponential(20.0, (cells, BLEBS)),
        bleb_px=pitch * (0.03 + 0.09 * rng.random((cells, BLEBS)) ** 2),
        bleb_x=far * np.cos(around),
        bleb_y=far * np.sin(around),
    )


def _partners(culture: Culture, rng: np.random.Generator) -> np.ndarray:
    """One of the three nearest cells of each cell in the last frame."""
    xy = np.stack([culture.x[-1], culture.y[-1]], axis=1)
    near = np.argsort(cdist(xy, xy), axis=1)[:, 1:4]
    return near[np.arange(len(xy)), rng.integers(0, near.shape[1], len(xy))]
