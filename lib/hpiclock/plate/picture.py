"""What the microscope sees of a simulated well: the look of "enhanced contour" phase contrast.

The sheet, floaters and debris make a map of optical thickness; the picture is its band-pass on a flat
mid-grey field, so that every edge is a bright and dark double line.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from hpiclock.plate import raster
from hpiclock.plate.culture import BLEBS, Culture, Floaters, Infection
from hpiclock.plate.designs import Microscope

GREY = 128.0
RETRACT_H = 5.0  # from the first sign of CPE to a fully shrunken cell


class Looks(NamedTuple):
    """What distinguishes one cell from the next; arrays over cells."""

    size: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray
    lobe_c: np.ndarray
    lobe_s: np.ndarray
    grain: np.ndarray
    offset: np.ndarray  # (2, cells) into the texture


class Damage(NamedTuple):
    """How CPE will look on each cell; arrays over cells, blebs (cells, BLEBS)."""

    rounds: np.ndarray  # rounds up, else becomes a spindle
    lysis_h: np.ndarray  # after the first CPE
    detaches: np.ndarray
    partner: np.ndarray  # a process reaches towards this cell
    bleb_h: np.ndarray
    bleb_px: np.ndarray
    bleb_x: np.ndarray
    bleb_y: np.ndarray


class Optics(NamedTuple):
    """One well under the microscope."""

    gain: float
    blur_px: float
    tint: float


def draw_looks(cells: int, rng: np.random.Generator) -> Looks:
    """Draw what the cells of a culture look like."""
    lobes = 0.12 * rng.standard_normal((2, cells)).clip(-2, 2)
    return Looks(
        size=np.exp(0.14 * rng.standard_normal(cells)),
        stretch=np.exp(0.16 * np.abs(rng.standard_normal(cells))),
        angle=rng.uniform(0, np.pi, cells),
        lobe_c=lobes[0],
        lobe_s=lobes[1],
        grain=np.exp(0.35 * rng.standard_normal(cells)),
        offset=rng.integers(0, 256, (2, cells)),
    )


def draw_damage(culture: Culture, infection: Infection, rng: np.random.Generator) -> Damage:
    """Draw how each cell would look under CPE; only cells with a ``cpe_h`` ever use it."""
    cells, pitch = infection.cpe_h.size, culture.pitch_px
    turn = rng.uniform(0, 2 * np.pi, (cells, BLEBS))
    far = pitch * rng.uniform(0.15, 0.75, (cells, BLEBS))
    return Damage(
        rounds=rng.random(cells) < 0.4,
        lysis_h=5.0 + rng.gamma(3.0, 4.0, cells),
        detaches=rng.random(cells) < 0.35,
        partner=_partners(culture, rng),
        bleb_h=1.0 + rng.exponential(9.0, (cells, BLEBS)),
        bleb_px=pitch * rng.uniform(0.035, 0.11, (cells, BLEBS)),
        bleb_x=far * np.cos(turn),
        bleb_y=far * np.sin(turn),
    )


def _partners(culture: Culture, rng: np.random.Generator) -> np.ndarray:
    """One of the three nearest cells of each cell in the last frame."""
    xy = np.stack([culture.x[-1], culture.y[-1]], axis=1)
    near = np.argsort(cdist(xy, xy), axis=1)[:, 1:4]
    return near[np.arange(len(xy)), rng.integers(0, near.shape[1], len(xy))]


@lru_cache(maxsize=1)
def _texture() -> np.ndarray:
    """Dark specks on nothing, 256 x 256 and periodic: the granules around a nucleus."""
    noise = np.random.default_rng(0).standard_normal((256, 256))
    band = gaussian_filter(noise, 0.75, mode="wrap") - gaussian_filter(noise, 1.5, mode="wrap")
    return np.clip(band / band.std() - 0.4, 0, 2.5).astype(np.float32)


class Field:
    """One field of view: draws its frames one after the other, with its working memory."""

    def __init__(
        self, culture: Culture, infection: Infection, looks: Looks, damage: Damage, floaters: Floaters
    ) -> None:
        self.culture, self.infection = culture, infection
        self.looks, self.damage, self.floaters = looks, damage, floaters

    def draw(
        self, t: int, *, left: float, top: float, size: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw frame ``t`` of the window at ``left, top``.

        Returns:
            ``(phase, mask, inside)``: optical thickness (size, size) float32; where CPE is to be seen, bool;
            the indices of the cells whose centre lies in the window.
        """
        now, n = float(self.culture.hours[t]), int(self.culture.alive[t])
        x, y = self.culture.x[t, :n] - left, self.culture.y[t, :n] - top
        margin = 2.0 * self.culture.pitch_px
        near = np.flatnonzero((x > -margin) & (x < size + margin) & (y > -margin) & (y < size + margin))
        near = near[~self._stillborn(near)]
        age = now - self.infection.cpe_h[near]  # of the CPE, -inf = never
        phase = np.zeros((size, size), dtype=np.float32)
        mask = np.zeros((size, size), dtype=bool)
        self._sheet(t, near, x[near], y[near], age, phase, mask)
        self._strands(near, x, y, age, phase, mask)
        self._blebs(near, x[near], y[near], age, phase, mask)
        self._float(now, left, top, size, phase, mask)
        inside = near[(x[near] >= 0) & (x[near] < size) & (y[near] >= 0) & (y[near] < size)]
        return phase, mask, inside

    def _stillborn(self, cells: np.ndarray) -> np.ndarray:
        """Daughters of a mother that already showed CPE when she would have divided."""
        mother = self.culture.mother[cells]
        born_h = self.culture.hours[self.culture.born[cells]]
        return (mother >= 0) & (self.infection.cpe_h[mother] <= born_h)

    def _sheet(
        self,
        t: int,
        near: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        age: np.ndarray,
        phase: np.ndarray,
        mask: np.ndarray,
    ) -> None:
        looks, damage, pitch = self.looks, self.damage, self.culture.pitch_px
        shrunk = np.clip(age / RETRACT_H, 0, 1)
        shrunk = shrunk * shrunk * (3 - 2 * shrunk)
        gone = np.clip((age - damage.lysis_h[near]) / 5.0, 0, 1)
        rounds = damage.rounds[near]
        dividing = np.where(age > 0, 0, self.culture.rounding[t, near])
        spread = 0.74 + 0.06 * min(float(self.culture.hours[t]) / 12.0, 1.0)
        reach = pitch * spread * looks.size[near] * (1 - 0.5 * dividing)
        healthy = reach * 0.8
        reach = reach * (1 - np.where(rounds, 0.62, 0.42) * shrunk) * (1 - 0.3 * gone)
        stretch = looks.stretch[near] * np.where(rounds, 1, 1 + 0.9 * shrunk)
        stretch = np.where(rounds, 1 + (stretch - 1) * (1 - shrunk), stretch)
        thick = 0.55 + 1.5 * dividing + np.where(rounds, 2.3, 1.5) * shrunk
        thick = thick * (1 - np.where(damage.detaches[near], 0.97, 0.55) * gone)
        angle = looks.angle[near]
        nucleus = np.minimum(0.2 * pitch, 0.5 * reach)
        grain = 0.5 * looks.grain[near] * (1 + 0.7 * shrunk) * (1 - 0.8 * gone)
        buffers = np.empty((3, *phase.shape), dtype=np.float32)
        owner = np.empty(phase.shape, dtype=np.int64)
        raster.cells(
            phase, owner, buffers[0], buffers[1], _texture(), x, y, reach, stretch,
            np.cos(angle), np.sin(angle), looks.lobe_c[near], looks.lobe_s[near], thick, nucleus, grain, *looks.offset[:, near],
        )  # fmt: skip
        sick = np.flatnonzero(age > 0.5)
        zero = np.zeros(sick.size)
        raster.discs(phase, mask, x[sick], y[sick], healthy[sick], zero, np.ones(sick.size, dtype=bool))

    def _strands(
        self,
        near: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        age: np.ndarray,
        phase: np.ndarray,
        mask: np.ndarray,
    ) -> None:
        mine = np.flatnonzero((age > 1.0) & ~self.damage.rounds[near] & (self.damage.partner[near] < x.size))
        if not mine.size:
            return
        cell, to = near[mine], self.damage.partner[near[mine]]
        short = np.hypot(x[to] - x[cell], y[to] - y[cell]) < 3 * self.culture.pitch_px
        mine, cell, to = mine[short], cell[short], to[short]
        strength = 1.1 * np.clip((age[mine] - 1) / 4, 0, 1)
        strength *= 1 - 0.7 * np.clip((age[mine] - self.damage.lysis_h[cell] - 6) / 8, 0, 1)
        raster.strands(phase, mask, x[cell], y[cell], x[to], y[to], strength)

    def _blebs(
        self,
        near: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        age: np.ndarray,
        phase: np.ndarray,
        mask: np.ndarray,
    ) -> None:
        damage = self.damage
        since = age[:, None] - damage.bleb_h[near]
        cell, bleb = np.nonzero(since > 0)
        if not cell.size:
            return
        which = near[cell], bleb
        away = 1 + 0.04 * np.minimum(since[cell, bleb], 12.0)
        strength = 1.6 * np.clip(since[cell, bleb] / 1.5, 0, 1)
        raster.discs(
            phase, mask, x[cell] + damage.bleb_x[which] * away, y[cell] + damage.bleb_y[which] * away,
            damage.bleb_px[which], strength, np.ones(cell.size, dtype=bool),
        )  # fmt: skip

    def _float(
        self, now: float, left: float, top: float, size: int, phase: np.ndarray, mask: np.ndarray
    ) -> None:
        f = self.floaters
        here = np.flatnonzero((f.from_h <= now) & (now < f.until_h))
        for_h = now - f.from_h[here]
        x = (f.x[here] + f.drift_x[here] * for_h) % self.culture.width_px - left
        y = (f.y[here] + f.drift_y[here] * for_h) % self.culture.height_px - top
        seen = (x > -9) & (x < size + 9) & (y > -9) & (y < size + 9)
        x, y, here = x[seen], y[seen], here[seen]
        raster.discs(
            phase, mask, x, y, f.radius_px[here], 2.2 * f.strength[here], np.zeros(here.size, dtype=bool)
        )


def expose(
    phase: np.ndarray, optics: Optics, microscope: Microscope, *, light: float, rng: np.random.Generator
) -> np.ndarray:
    """Turn optical thickness into a camera picture: band-pass, light, noise, grey levels of the dtype."""
    sharp = gaussian_filter(phase, optics.blur_px, mode="nearest")
    band = sharp - gaussian_filter(sharp, 1.1, mode="nearest")
    band += 0.35 * (sharp - gaussian_filter(sharp, 3.0, mode="nearest"))
    signal = -95.0 * optics.gain * microscope.contrast * band
    signal = 120.0 * np.tanh(signal / 120.0)
    picture = GREY + light + optics.tint + signal
    picture += microscope.noise_sd * rng.standard_normal(phase.shape, dtype=np.float32)
    if microscope.dtype == "uint16":
        return np.clip(np.rint(picture * 16.0), 0, 4095).astype(np.uint16)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
