"""What the microscope sees of a simulated well: the look of "enhanced contour" phase contrast.

The sheet, floaters and debris make a map of optical thickness; the picture is its band-pass on a flat
mid-grey field, so that every edge is a bright and dark double line.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from hpiclock.simulate import render
from hpiclock.simulate.biology import PROCESSES, Array, Cpe, Culture, Floaters, Infection, Morphology, Rng
from hpiclock.simulate.design import Microscope

GREY = 128.0
LEVELS = {"uint8": 1, "uint16": 16}  # camera levels per grey level of 255; a uint16 camera has 12 bits
RETRACT_H = 8.0  # time constant with which a cell shrinks once it shows CPE
VISIBLE_H = 0.5  # after the first sign of CPE: a cell counts as visibly changed
LYSIS_H = 6.0  # from the start of a cell's break-up to its end


class Optics(NamedTuple):
    """One well under the microscope."""

    gain: float
    blur_px: float
    tint: float


def _ramp(since_h: Array, over_h: float) -> Array:
    """A smooth rise from 0 to 1 within ``over_h``; exactly 0 before."""
    s = np.clip(since_h / over_h, 0, 1)
    return s * s * (3 - 2 * s)


@lru_cache(maxsize=1)
def _texture() -> Array:
    """Dark specks on nothing, 256 x 256 and periodic: the granules around a nucleus."""
    noise = np.random.default_rng(0).standard_normal((256, 256))
    band = gaussian_filter(noise, 0.75, mode="wrap") - gaussian_filter(noise, 1.5, mode="wrap")
    return np.clip(band / band.std() - 0.4, 0, 2.5).astype(np.float32)


class Canvas(NamedTuple):
    """What is drawn on, both (height, width): optical thickness, float32; where CPE is to be seen, bool."""

    phase: Array
    mask: Array

    def discs(self, x: Array, y: Array, radius: Array, strength: Array, *, visible: bool) -> None:
        """Add round bodies, arrays (bodies,) in px; to the mask, too, where they are ``visible`` CPE."""
        render.add_discs(self.phase, self.mask, x, y, radius, strength, np.full(x.size, visible))


class Field:
    """One field of view: draws its frames one after the other, with its working memory."""

    def __init__(
        self, culture: Culture, infection: Infection, morphology: Morphology, cpe: Cpe, floaters: Floaters
    ) -> None:
        self.culture, self.infection = culture, infection
        self.morphology, self.cpe, self.floaters = morphology, cpe, floaters

    def draw(self, t: int, *, left: float, top: float, size: int) -> tuple[Array, Array, Array]:
        """Draw frame ``t`` of the window at ``left, top``.

        Returns:
            ``(phase, mask, inside)``: optical thickness (size, size) float32; where CPE is to be seen, bool;
            the indices of the cells whose centre lies in the window.
        """
        now, n = float(self.culture.hours[t]), int(self.culture.alive[t])
        x, y = self.culture.x[t, :n] - left, self.culture.y[t, :n] - top
        margin = 2.0 * self.culture.pitch_px
        near = np.flatnonzero((x > -margin) & (x < size + margin) & (y > -margin) & (y < size + margin))
        mother, born_h = self.culture.mother[near], self.culture.hours[self.culture.born[near]]
        # no daughters of a mother that already showed CPE when she would have divided
        near = near[(mother < 0) | (self.infection.cpe_h[mother] > born_h)]
        age = now - self.infection.cpe_h[near]  # of the CPE, -inf = never
        canvas = Canvas(np.zeros((size, size), np.float32), np.zeros((size, size), bool))
        self._sheet(canvas, t, near, x[near], y[near], age)
        self._strands(canvas, near, x, y, age)
        self._blebs(canvas, near, x[near], y[near], age)
        self._float(canvas, now, left, top, size)
        inside = near[(x[near] >= 0) & (x[near] < size) & (y[near] >= 0) & (y[near] < size)]
        return canvas.phase, canvas.mask, inside

    def _sheet(self, canvas: Canvas, t: int, near: Array, x: Array, y: Array, age: Array) -> None:
        morphology, cpe, pitch = self.morphology, self.cpe, self.culture.pitch_px
        shrunk = 1 - np.exp(-np.maximum(age, 0) / RETRACT_H)
        gone = _ramp(age - cpe.lysis_h[near], LYSIS_H)
        rounds = cpe.rounds[near]
        dividing = np.where(age > 0, 0, self.culture.rounding[t, near])
        spread = 0.74 + 0.06 * min(float(self.culture.hours[t]) / 12.0, 1.0)
        healthy = pitch * spread * morphology.size[near] * (1 - 0.5 * dividing)
        reach = healthy * (1 - np.where(rounds, 0.62, 0.45) * shrunk) * (1 - 0.3 * gone)
        axis = np.where(rounds, 1.0, cpe.stretch[near])
        stretch = morphology.stretch[near] * (1 - shrunk) + axis * shrunk
        angle = morphology.angle[near] + cpe.turn[near] * shrunk
        lobes = np.where(rounds, 1 - 0.9 * shrunk, 1 + 0.6 * shrunk) * (1 - 0.8 * dividing)
        thick = 0.5 + 0.9 * dividing + np.where(rounds, 1.5, 0.9) * shrunk
        thick = thick * (1 - np.where(cpe.detaches[near], 0.97, 0.6) * gone)
        nucleus = np.minimum(0.19 * pitch, 0.42 * reach)
        grain = 0.62 * morphology.grain[near] * (1 + 0.5 * shrunk) * (1 - 0.8 * gone)
        lobe_c, lobe_s = morphology.lobe_c[near] * lobes, morphology.lobe_s[near] * lobes
        nearest, second = np.empty((2, *canvas.phase.shape), dtype=np.float32)
        owner = np.empty(canvas.phase.shape, dtype=np.int32)
        claimed = owner, nearest, second
        render.assign_pixels(*claimed, x, y, reach, stretch, np.cos(angle), np.sin(angle), lobe_c, lobe_s)
        cells = x, y, reach, thick, morphology.joint[near], nucleus, grain, *morphology.offset[:, near]
        render.fill_cells(canvas.phase, *claimed, _texture(), *cells)
        sick = np.flatnonzero(age > VISIBLE_H)
        canvas.discs(x[sick], y[sick], 0.8 * healthy[sick], np.zeros(sick.size), visible=True)

    def _strands(self, canvas: Canvas, near: Array, x: Array, y: Array, age: Array) -> None:
        cpe = self.cpe
        mine = np.flatnonzero((age > VISIBLE_H) & ~cpe.rounds[near])
        cell = near[mine]
        strength = 1.5 * _ramp(age[mine] - VISIBLE_H, 4.0)
        strength *= 1 - 0.7 * _ramp(age[mine] - cpe.lysis_h[cell] - 6.0, 8.0)
        from_x, from_y = np.repeat(x[cell], PROCESSES), np.repeat(y[cell], PROCESSES)
        end_x, end_y = from_x + cpe.process_x[cell].ravel(), from_y + cpe.process_y[cell].ravel()
        taper = np.full(from_x.size, 0.8)
        render.add_strands(*canvas, from_x, from_y, end_x, end_y, np.repeat(strength, PROCESSES), taper)
        to = cpe.partner[cell]
        near_enough = (to < x.size) & cpe.holds[cell]
        cell, to, strength = cell[near_enough], to[near_enough], strength[near_enough]
        short = np.hypot(x[to] - x[cell], y[to] - y[cell]) < 2.5 * self.culture.pitch_px
        cell, to, strength = cell[short], to[short], strength[short]
        render.add_strands(*canvas, x[cell], y[cell], x[to], y[to], strength, np.full(cell.size, 0.35))

    def _blebs(self, canvas: Canvas, near: Array, x: Array, y: Array, age: Array) -> None:
        cpe = self.cpe
        since = age[:, None] - cpe.bleb_h[near]
        cell, bleb = np.nonzero(since > 0)
        which = near[cell], bleb
        away = 1 + 0.04 * np.minimum(since[cell, bleb], 12.0)
        strength = 2.0 * np.clip(since[cell, bleb] / 1.5, 0, 1)
        bleb_x, bleb_y = x[cell] + cpe.bleb_x[which] * away, y[cell] + cpe.bleb_y[which] * away
        canvas.discs(bleb_x, bleb_y, cpe.bleb_px[which], strength, visible=True)

    def _float(self, canvas: Canvas, now: float, left: float, top: float, size: int) -> None:
        f = self.floaters
        here = np.flatnonzero((f.from_h <= now) & (now < f.until_h))
        for_h = now - f.from_h[here]
        x = (f.x[here] + f.drift_x[here] * for_h) % self.culture.width_px - left
        y = (f.y[here] + f.drift_y[here] * for_h) % self.culture.height_px - top
        seen = (x > -9) & (x < size + 9) & (y > -9) & (y < size + 9)
        x, y, here = x[seen], y[seen], here[seen]
        canvas.discs(x, y, f.radius_px[here], 2.2 * f.strength[here], visible=False)


def expose(phase: Array, optics: Optics, microscope: Microscope, *, light: float, rng: Rng) -> Array:
    """Turn optical thickness into a camera picture: band-pass, light, noise, grey levels of the dtype.

    Args:
        phase: optical thickness, (height, width) float32.
        optics: the well under the microscope.
        microscope: the camera.
        light: brightness added to the frame, grey levels of 255.
        rng: for the camera's noise.

    Returns:
        (height, width) in the dtype of the microscope.
    """
    scale = microscope.blur_px  # the band moves with the lens, a defocused well only loses its fine part
    band = _blurred(phase, optics.blur_px) - _blurred(phase, 3.8 * scale)
    band -= _blurred(band, 2.0 * scale)
    signal = -190.0 * optics.gain * microscope.contrast * band
    signal = 125.0 * np.tanh(signal / 125.0)
    picture = GREY + light + optics.tint + signal
    picture += microscope.noise_sd * rng.standard_normal(phase.shape, dtype=np.float32)
    levels = LEVELS[microscope.dtype]
    return np.clip(np.rint(picture * levels), 0, 256 * levels - 1).astype(microscope.dtype)


def _blurred(image: Array, sigma_px: float) -> Array:
    return gaussian_filter(image, sigma_px, mode="nearest", truncate=3.0)
