"""Compiled loops that draw cells into an optical thickness map, pixel by pixel."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

# no lock: threads draw side by side; numpy's errors: no test for a zero divisor in every pixel
OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy"}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock; keep the machine code on disk where a folder can be written."""
    try:
        return numba.njit(function, cache=True, **OPTIONS)
    except RuntimeError:  # numba finds no folder for its cache (read-only installation and home)
        return numba.njit(function, **OPTIONS)


@_compiled
def push_apart(x, y, count, width, height, rest, rounds):
    """Push the first ``count`` points apart on a torus until neighbours keep about the distance ``rest``."""
    reach = min(rest * 1.15, 0.49 * height, 0.49 * width)
    push = np.empty((2, count))
    for _ in range(rounds):
        push[:] = 0.0
        order = np.argsort(y[:count])
        for a in range(count):
            i = order[a]
            for ahead in range(1, count):
                j = order[(a + ahead) % count]
                dy = y[j] - y[i]
                dy += height if dy < 0.0 else 0.0
                if dy > reach:
                    break  # the cells are sorted by y
                dx = x[j] - x[i]
                dx -= width * np.rint(dx / width)
                d2 = dx * dx + dy * dy
                if d2 < reach * reach:
                    d = np.sqrt(d2) + 1e-6
                    force = 0.14 * (reach - d) / d
                    push[0, i] -= dx * force
                    push[1, i] -= dy * force
                    push[0, j] += dx * force
                    push[1, j] += dy * force
        for i in range(count):
            x[i] = (x[i] + push[0, i]) % width
            y[i] = (y[i] + push[1, i]) % height


@_compiled
def assign_pixels(owner, nearest, second, x, y, reach, stretch, cosine, sine, lobe_c, lobe_s):
    """Give each pixel to the cell whose scaled distance to it is least.

    ``owner, nearest, second`` are (height, width) and written to: the cell's index (-1 where no cell reaches)
    and the scaled distances to it and to the next cell; 1 is the outline. The cells' properties are (n,).
    """
    height, width = owner.shape
    nearest[:] = 1.0
    second[:] = 9.0
    owner[:] = -1
    for i in range(x.size):
        limit = reach[i] * (1.0 + np.hypot(lobe_c[i], lobe_s[i]))
        wide = limit * np.hypot(cosine[i] * stretch[i], sine[i] / stretch[i])
        tall = limit * np.hypot(sine[i] * stretch[i], cosine[i] / stretch[i])
        for row in range(max(0, int(y[i] - tall)), min(height, int(y[i] + tall) + 2)):
            dy = row - y[i]
            for column in range(max(0, int(x[i] - wide)), min(width, int(x[i] + wide) + 2)):
                dx = column - x[i]
                p = (cosine[i] * dx + sine[i] * dy) / stretch[i]
                q = (cosine[i] * dy - sine[i] * dx) * stretch[i]
                d2 = p * p + q * q
                if d2 > limit * limit:
                    continue
                d = np.sqrt(d2) + 1e-6
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


@_compiled
def fill_cells(
    phase, owner, nearest, second, texture, x, y, reach, thick, joint, nucleus, grain, off_x, off_y
):
    """Add the thickness of the claimed cells: outline, thin joints between cells, nucleus, granules."""
    height, width = phase.shape
    for row in range(height):
        for column in range(width):
            i = owner[row, column]
            if i < 0:
                continue
            u = nearest[row, column]
            value = thick[i] * min((1.0 - u) * reach[i] / 1.8, 1.0)
            gap = (second[row, column] - u) * reach[i] / 1.8
            if gap < 1.0:
                value *= 1.0 - joint[i] * (1.0 - gap)
            dx = column - x[i]
            dy = row - y[i]
            core = np.sqrt(dx * dx + dy * dy) / nucleus[i]
            speck = texture[(row - int(y[i]) + off_y[i]) & 255, (column - int(x[i]) + off_x[i]) & 255]
            ring = (core - 1.6) / 0.75
            amount = np.exp(-ring * ring) + 0.08
            if core < 1.15:
                value -= 0.5 * thick[i] * min((1.15 - core) * nucleus[i] / 1.2, 1.0)
                amount *= 0.15
                # one or two nucleoli, placed by the cell's texture
                nx = dx - 0.45 * nucleus[i] * ((off_x[i] & 15) / 7.5 - 1.0)
                ny = dy - 0.45 * nucleus[i] * ((off_y[i] & 15) / 7.5 - 1.0)
                value += 0.9 * thick[i] * np.exp(-(nx * nx + ny * ny) / 0.9)
                if off_x[i] & 16:
                    value += 0.7 * thick[i] * np.exp(-((nx - 1.7) ** 2 + (ny + 1.3) ** 2) / 0.7)
            phase[row, column] += value + grain[i] * speck * amount


@_compiled
def add_discs(phase, mask, x, y, radius, strength, visible):
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
                if strength[i] > 0.0:
                    dome = np.sqrt(max(1.0 - (d / (radius[i] + 0.5)) ** 2, 0.0))
                    core = np.exp(-((d / (0.45 * radius[i] + 0.2)) ** 2)) * min(radius[i] / 2.5, 1.0)
                    phase[row, column] += strength[i] * cover * (0.45 + 0.55 * dome - 0.8 * core)
                if visible[i]:
                    mask[row, column] = True


@_compiled
def add_strands(phase, mask, x0, y0, x1, y1, strength, taper):
    """Add thin processes from one point to another, thinner at the end; all of them are visible CPE."""
    height, width = phase.shape
    for i in range(x0.size):
        dx = x1[i] - x0[i]
        dy = y1[i] - y0[i]
        length2 = dx * dx + dy * dy + 1e-6
        for row in range(max(0, int(min(y0[i], y1[i])) - 3), min(height, int(max(y0[i], y1[i])) + 5)):
            for column in range(max(0, int(min(x0[i], x1[i])) - 3), min(width, int(max(x0[i], x1[i])) + 5)):
                along = ((column - x0[i]) * dx + (row - y0[i]) * dy) / length2
                if along < 0.0 or along > 1.0:
                    continue
                ox = column - x0[i] - along * dx
                oy = row - y0[i] - along * dy
                thin = 1.0 - taper[i] * along
                body = strength[i] * thin * np.exp(-(ox * ox + oy * oy) / (0.3 + 1.6 * thin * thin))
                if body > 0.05:
                    phase[row, column] = max(phase[row, column], body)
                    if body > 0.3:
                        mask[row, column] = True
