"""The biology of a simulated well: a sheet of cells that grows, and a virus that goes through it.

The virus is an overlay on the lineage of the healthy culture: until a cell shows CPE, an infected well
is exactly as it would have been uninfected. What makes one cell look unlike the next, healthy and under CPE,
is drawn once for each cell.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from hpiclock.simulate.design import Biology
from hpiclock.simulate.render import push_apart

Array = np.ndarray
Rng = np.random.Generator
MOTILITY = 0.02  # of the pitch, SD of a cell's steps per hour
PROCESSES = 3  # thin tapered arms of a shrunken cell
BLEBS = 6  # per cell
ROUND_H = 1.5  # a dividing cell is round for about so long


class Culture(NamedTuple):
    """One well's cells over time; cells are sorted by birth, so the first ``alive[t]`` exist at frame t."""

    hours: Array  # (frames,)
    alive: Array  # (frames,) number of cells
    x: Array  # (frames, cells) px in the well
    y: Array
    rounding: Array  # (frames, cells) 1 = just dividing, 0 = spread
    mother: Array  # (cells,) index, -1 = there from the start
    born: Array  # (cells,) frame
    width_px: float
    height_px: float
    pitch_px: float


class Infection(NamedTuple):
    """When each cell was infected and when its CPE begins; ``inf`` = never."""

    infected_h: Array  # (cells,)
    cpe_h: Array  # (cells,)


def grow_culture(
    biology: Biology, *, hours: Array, width_px: float, height_px: float, pitch_px: float, rng: Rng
) -> Culture:
    """Grow a healthy sheet of cells on a torus of ``width_px`` x ``height_px``.

    Cells wander, push each other apart and divide at a constant rate, so that their number rises by the
    factor ``biology.growth`` in 48 h. ``hours`` are those of the frames, shape ``(frames,)``.
    """
    count = max(round(width_px * height_px / pitch_px**2), 4)
    rate = np.log(biology.growth) / 48.0
    room = int(count * biology.growth ** (hours[-1] / 48.0) * 1.5) + 24
    x, y = rng.uniform(0, width_px, room), rng.uniform(0, height_px, room)
    push_apart(x, y, count, width_px, height_px, pitch_px, 25)
    speed = np.zeros((2, room))
    mother, born = np.full(room, -1), np.zeros(room, dtype=int)
    tracks = np.zeros((2, hours.size, room), dtype=np.float32)
    rounding = np.zeros((hours.size, room), dtype=np.float32)
    alive = np.zeros(hours.size, dtype=int)
    for t, step_h in enumerate(np.diff(hours, prepend=hours[0])):
        keep = np.exp(-step_h / 6.0)
        push = rng.standard_normal((2, room)) * MOTILITY * pitch_px
        speed = keep * speed + np.sqrt(1 - keep**2) * push
        x, y = (x + speed[0] * step_h) % width_px, (y + speed[1] * step_h) % height_px
        dividing = np.flatnonzero(rng.random(room)[:count] < 1 - np.exp(-rate * step_h))[: room - count]
        angle = rng.uniform(0, 2 * np.pi, room)[: dividing.size]
        new = slice(count, count + dividing.size)
        x[new] = (x[dividing] + 0.3 * pitch_px * np.cos(angle)) % width_px
        y[new] = (y[dividing] + 0.3 * pitch_px * np.sin(angle)) % height_px
        mother[new], born[new] = dividing, t
        count += dividing.size
        if t:
            rounding[t] = np.maximum(rounding[t - 1] - step_h / ROUND_H, 0)
        since_h = step_h * rng.random(room)[: dividing.size]  # a division lies anywhere in the step
        rounding[t, dividing] = rounding[t, new] = np.maximum(1 - since_h / ROUND_H, 0)
        rest_px = np.sqrt(width_px * height_px / count)
        push_apart(x, y, count, width_px, height_px, rest_px, 3)
        tracks[0, t], tracks[1, t], alive[t] = x, y, count
    x_px, y_px = tracks[:, :, :count]
    rounding, mother, born = rounding[:, :count], mother[:count], born[:count]
    return Culture(hours, alive, x_px, y_px, rounding, mother, born, width_px, height_px, pitch_px)


def spread_infection(
    culture: Culture, biology: Biology, *, moi: float, onset_h: float, rng: Rng
) -> Infection:
    """Let a virus through the culture.

    At the onset every cell meets a Poisson number of virions with mean ``moi``. A cell releases new virus
    ``release_h`` after its own infection, to its neighbours first and to the whole well a little. A
    daughter of an infected cell is infected. CPE follows a cell's infection by the eclipse and a gamma
    distributed lag, which is shorter for a cell that met many virions.
    """
    cells = culture.mother.size
    infected = np.full(cells, np.inf)
    virions = rng.poisson(moi, cells)
    patience = rng.exponential(1.0, cells)  # a cell is infected when its summed hazard reaches this
    lag = rng.gamma(3.0, biology.lag_h / 3.0, cells)
    if moi > 0 and onset_h <= culture.hours[-1]:
        there = culture.alive[np.searchsorted(culture.hours, onset_h, side="right") - 1]
        infected[:there][virions[:there] > 0] = onset_h
        _spread(culture, biology, infected, patience, onset_h)
    faster = np.clip(np.where(infected == onset_h, virions, 3), 1, 10) ** -0.25
    return Infection(infected, infected + biology.eclipse_h + lag * faster)


def _spread(culture: Culture, biology: Biology, infected: Array, patience: Array, onset_h: float) -> None:
    """Second and later waves, frame by frame, in place."""
    for t in np.flatnonzero(culture.hours >= onset_h):
        if t == 0:
            continue
        n, before = culture.alive[t], culture.alive[t - 1]
        step_h, now = culture.hours[t] - culture.hours[t - 1], culture.hours[t]
        infected[before:n] = infected[culture.mother[before:n]]
        for_h = np.clip(now - biology.release_h - infected[:n], 0, step_h)  # of this step
        releasing = np.flatnonzero(for_h)
        healthy = np.flatnonzero(np.isinf(infected[:n]))
        xy = np.stack([culture.x[t, :n], culture.y[t, :n]], axis=1)
        close = np.exp(-((cdist(xy[healthy], xy[releasing]) / (1.4 * culture.pitch_px)) ** 2))
        patience[healthy] -= biology.spread_per_h * (close + 0.1 / n) @ for_h[releasing]
        infected[healthy[patience[healthy] <= 0]] = now


class Floaters(NamedTuple):
    """Rounded cells that came loose and debris, in controls as in infected wells."""

    from_h: Array
    until_h: Array
    x: Array
    y: Array
    drift_x: Array  # px per hour
    drift_y: Array
    radius_px: Array
    strength: Array


def shed_floaters(culture: Culture, biology: Biology, *, rng: Rng) -> Floaters:
    """Draw the floaters of a well: ``biology.floaters`` of its cells at 0 h, and more as time goes on."""
    pitch, end_h = culture.pitch_px, max(float(culture.hours[-1]), 1.0)
    level = biology.floaters * culture.alive[0] * np.exp(biology.floaters_sd * rng.standard_normal())
    stay_h = 10.0
    early = rng.poisson(level)
    late = rng.poisson(level * end_h / stay_h * (1 + 2.0 * end_h / 48.0))
    # births with a density that rises linearly over the run
    since = end_h * (np.sqrt(1 + 8 * rng.random(late)) - 1) / 2
    from_h = np.concatenate([np.full(early, -1.0), since])
    n = from_h.size
    radius = pitch * np.where(rng.random(n) < 0.45, rng.uniform(0.12, 0.19, n), rng.uniform(0.04, 0.09, n))
    x, y = rng.uniform(0, culture.width_px, n), rng.uniform(0, culture.height_px, n)
    speed = rng.normal(0, 0.03 * pitch, (2, n))
    until = from_h + rng.exponential(stay_h, n)
    strength = rng.uniform(0.7, 1.3, n)
    twin = np.flatnonzero(rng.random(n) < 0.5)  # doublets and small clumps
    turn = rng.uniform(0, 2 * np.pi, twin.size)
    pick = np.concatenate([np.arange(n), twin])
    shift = np.zeros((2, pick.size))
    shift[:, n:] = 1.7 * radius[twin] * np.stack([np.cos(turn), np.sin(turn)])
    values = (from_h, until, x, y, *speed, radius, strength)
    drawn = Floaters(*(one[pick] for one in values))
    return drawn._replace(x=drawn.x + shift[0], y=drawn.y + shift[1])


class Morphology(NamedTuple):
    """What distinguishes one cell from the next; arrays over cells."""

    size: Array
    stretch: Array
    angle: Array
    lobe_c: Array
    lobe_s: Array
    joint: Array  # how deep the line to a neighbour is
    grain: Array
    offset: Array  # (2, cells) into the texture


class Cpe(NamedTuple):
    """How CPE will look on each cell; arrays over cells, blebs (cells, BLEBS)."""

    rounds: Array  # rounds up, else becomes a spindle
    lysis_h: Array  # after the first CPE
    detaches: Array
    stretch: Array  # of the spindle
    turn: Array  # from the cell's old axis to the spindle's
    process_x: Array  # (cells, PROCESSES) ends of its arms from its centre
    process_y: Array
    partner: Array  # a strand holds on to this cell,
    holds: Array  # if there is one
    bleb_h: Array
    bleb_px: Array
    bleb_x: Array
    bleb_y: Array


def draw_morphology(cells: int, rng: Rng) -> Morphology:
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


def draw_cpe(culture: Culture, morphology: Morphology, rng: Rng) -> Cpe:
    """Draw how each cell would look under CPE; only cells that show it ever use it."""
    cells, pitch = morphology.size.size, culture.pitch_px
    xy = np.stack([culture.x[-1], culture.y[-1]], axis=1)
    near = np.argsort(cdist(xy, xy), axis=1)[:, 1:4]  # the three nearest cells in the last frame
    partner = near[np.arange(cells), rng.integers(0, near.shape[1], cells)]
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
