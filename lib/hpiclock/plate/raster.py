"""Compiled loops that draw cells into an optical thickness map, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock; keep the machine code on disk where a folder can be written."""
    try:
        return numba.njit(function, nogil=True, cache=True)
    except RuntimeError:  # numba finds no folder for its cache (read-only installation and home)
        return numba.njit(function, nogil=True)


@_compiled
def relax(x, y, count, width, height, rest, rounds):
    """Push the first ``count`` points apart on a torus until neighbours keep about the distance ``rest``."""
    reach = rest * 1.15
    for _ in range(rounds):
        for i in range(count):
            px = 0.0
            py = 0.0
            for j in range(count):
                if i == j:
                    continue
                dx = x[i] - x[j]
                dy = y[i] - y[j]
                if dx > width / 2:
                    dx -= width
                elif dx < -width / 2:
                    dx += width
                if dy > height / 2:
                    dy -= height
                elif dy < -height / 2:
                    dy += height
                d2 = dx * dx + dy * dy
                if d2 < reach * reach:
                    d = np.sqrt(d2) + 1e-6
                    push = 0.16 * (reach - d) / d
                    px += dx * push
                    py += dy * push
            x[i] = (x[i] + px) % width
            y[i] = (y[i] + py) % height


@_compiled
def cells(
    phase, owner, nearest, second, texture,
    x, y, reach, stretch, cosine, sine, lobe_c, lobe_s, thick, nucleus, grain, off_x, off_y,
):  # fmt: skip
    """Draw a sheet of cells: a pixel belongs to the cell whose scaled distance is least, if within reach.

    ``phase, owner, nearest, second`` are (height, width) and written to; the cells' properties are (n,).
    """
    height, width = phase.shape
    nearest[:] = 9.0
    second[:] = 9.0
    owner[:] = -1
    for i in range(x.size):
        far = reach[i] * max(stretch[i], 1.0 / stretch[i]) * 1.3
        for row in range(max(0, int(y[i] - far)), min(height, int(y[i] + far) + 2)):
            for column in range(max(0, int(x[i] - far)), min(width, int(x[i] + far) + 2)):
                dx = column - x[i]
                dy = row - y[i]
                p = (cosine[i] * dx + sine[i] * dy) / stretch[i]
                q = (cosine[i] * dy - sine[i] * dx) * stretch[i]
                d = np.sqrt(p * p + q * q) + 1e-6
                c = p / d
                s = q / d
                lobes = 1.0 + lobe_c[i] * c * (4 * c * c - 3) + lobe_s[i] * s * (3 - 4 * s * s)
                u = d / (reach[i] * lobes)
                if u < nearest[row, column]:
                    second[row, column] = nearest[row, column]
                    nearest[row, column] = u
                    owner[row, column] = i
                elif u < second[row, column]:
                    second[row, column] = u
    for row in range(height):
        for column in range(width):
            u = nearest[row, column]
            if u >= 1.0:
                owner[row, column] = -1
                continue
            i = owner[row, column]
            edge = min(1.0 - u, 0.7 * (second[row, column] - u)) * reach[i]
            value = thick[i] * min(edge / 1.6, 1.0)
            dx = column - x[i]
            dy = row - y[i]
            core = np.sqrt(dx * dx + dy * dy) / nucleus[i]
            speck = texture[(row - int(y[i]) + off_y[i]) & 255, (column - int(x[i]) + off_x[i]) & 255]
            if core < 1.0:
                value -= 0.35 * thick[i] * min((1.0 - core) * nucleus[i] / 1.2, 1.0)
                speck *= 0.35 if core > 0.3 else 1.2
            ring = (u - 0.42) / 0.26
            value += grain[i] * speck * (np.exp(-ring * ring) + 0.15)
            phase[row, column] += value


@_compiled
def discs(phase, mask, x, y, radius, strength, visible):
    """Add round bodies (floaters, blebs, debris) to the phase; those that are ``visible`` CPE to the mask."""
    height, width = phase.shape
    for i in range(x.size):
        far = radius[i] + 1.5
        for row in range(max(0, int(y[i] - far)), min(height, int(y[i] + far) + 2)):
            for column in range(max(0, int(x[i] - far)), min(width, int(x[i] + far) + 2)):
                d = np.sqrt((column - x[i]) ** 2 + (row - y[i]) ** 2)
                cover = min(max(radius[i] + 0.5 - d, 0.0), 1.0)
                if cover == 0.0:
                    continue
                dome = np.sqrt(max(1.0 - (d / (radius[i] + 0.5)) ** 2, 0.0))
                core = np.exp(-((d / (0.4 * radius[i] + 0.3)) ** 2))
                phase[row, column] += strength[i] * cover * (0.4 + 0.6 * dome - 0.9 * core)
                if visible[i]:
                    mask[row, column] = True


@_compiled
def strands(phase, mask, x0, y0, x1, y1, strength):
    """Add thin processes between points; all of them are visible CPE."""
    height, width = phase.shape
    for i in range(x0.size):
        dx = x1[i] - x0[i]
        dy = y1[i] - y0[i]
        length2 = dx * dx + dy * dy + 1e-6
        for row in range(max(0, int(min(y0[i], y1[i])) - 2), min(height, int(max(y0[i], y1[i])) + 4)):
            for column in range(max(0, int(min(x0[i], x1[i])) - 2), min(width, int(max(x0[i], x1[i])) + 4)):
                along = ((column - x0[i]) * dx + (row - y0[i]) * dy) / length2
                along = min(max(along, 0.0), 1.0)
                ox = column - x0[i] - along * dx
                oy = row - y0[i] - along * dy
                body = strength[i] * np.exp(-(ox * ox + oy * oy) / 0.8)
                if body > 0.02:
                    phase[row, column] = max(phase[row, column], body)
                    if body > 0.3:
                        mask[row, column] = True
