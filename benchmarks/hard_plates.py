"""Predictions of plates on which statistics go wrong, with their truth: one table of generators.

Written apart from :mod:`hpiclock.simulate.predictions`, with arithmetic of its own, so that a fault of one is
not repeated in the other. ``GENERATORS`` has a name and one or two changed fields for each; ``predictions``
draws a PREDICTIONS table, ``draw`` the arrays behind many plates at once, ``truth`` what is true of the wells
that a plate is a sample of.

    python benchmarks/hard_plates.py        # the table of generators with their truth
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, ndtri

from hpiclock.tables import PREDICTIONS, check
from hpiclock.wells import well_name
from simulation import markdown

HOURS = np.arange(0, 48.1, 2)
ONSETS_H = (6.0, 10.0, 14.0, 18.0)
ECLIPSE_H, RISE_H = 6.0, 4.0
WELL_SD, STACK_SD, FRAME_SD = 1.0, 0.5, 1.2  # logits
WELL_TIME_SD_H, TIME_SD_H = 1.5, 1.5
SD = float(np.sqrt(WELL_SD**2 + STACK_SD**2 + FRAME_SD**2))
ROWS = 4  # wells of a column


class HardPlate(NamedTuple):
    """Wells and what makes them hard; the defaults are an easy plate.

    plates: (infected, mock) wells of each plate in each split. strength: logits between mock and full signs.
    wells: the shape of well effects. ar: correlation of a frame's noise with that of the frame before.
    frames: ``equal``; ``unequal`` = a well keeps a random share of its frames, 0.2 to 1; ``size-dependent`` =
    so, and the more frames, the fainter the signs and the
    larger the time errors. decimals: of P; few give ties. non_takes: share of
    infected wells in which nothing happens. plate_shift: logits by which the first plate reads higher.
    layout: infected wells at random, in the first columns (``column``) or in every other (``parity``), and
    then ``swapped`` pairs of wells exchanged. slope: of the predicted time on the time since infection at
    equal hours (1 = it is that, 0 = elapsed time). clock: P follows the hour alone, rising or high from 16 to
    30 h, in this ``clock_share`` of its strength. infected_h, mock_h: hours of imaging. early_auc: between
    the classes before the onset, of normal wells.
    """

    plates: tuple[tuple[int, int], ...] = ((12, 12),)
    strength: float = 4.0
    wells: Literal["normal", "t3", "skewed"] = "normal"
    ar: float = 0.0
    frames: Literal["equal", "unequal", "size-dependent"] = "equal"
    decimals: int | None = None
    non_takes: float = 0.0
    plate_shift: float = 0.0
    layout: Literal["random", "column", "parity"] = "random"
    swapped: int = 0
    slope: float = 1.0
    clock: Literal["rising", "middle"] = "rising"
    clock_share: float = 0.0
    infected_h: tuple[float, float] = (0.0, 48.0)
    mock_h: tuple[float, float] = (0.0, 48.0)
    early_auc: float = 0.5
    splits: tuple[str, ...] = ("val", "test")


def _clock(**changes: object) -> HardPlate:
    return HardPlate(clock_share=1.0, slope=0.0)._replace(**changes)


GENERATORS: dict[str, HardPlate] = {
    "easy": HardPlate(),
    "t3 wells": HardPlate(wells="t3"),
    "skewed wells": HardPlate(wells="skewed"),
    "AR(1) frames": HardPlate(ar=0.8),
    "unequal frames": HardPlate(frames="unequal"),
    "size-dependent wells": HardPlate(frames="size-dependent"),
    "ties": HardPlate(decimals=1),
    "non-takes": HardPlate(non_takes=0.1),
    "3 against 12": HardPlate(plates=((3, 12),)),
    "two plates": HardPlate(plates=((6, 6), (6, 6)), plate_shift=1.0),
    "two plates, 9:3 and 3:9": HardPlate(plates=((9, 3), (3, 9)), plate_shift=1.0),
    # no infection is read, the plate is: 0.5 within plates, 0.7 over both
    "two plates, 12:4 and 4:12, no signs": HardPlate(
        plates=((12, 4), (4, 12)), plate_shift=3.0, strength=0.0
    ),
    "by column": HardPlate(layout="column"),
    "by column, one pair swapped": HardPlate(layout="column", swapped=1),
    "by parity of the column": HardPlate(layout="parity"),
    "by parity, one pair swapped": HardPlate(layout="parity", swapped=1),
    "slope 0": HardPlate(slope=0.0),
    "slope 0.25": HardPlate(slope=0.25),
    "slope 0.5": HardPlate(slope=0.5),
    "slope 0.75": HardPlate(slope=0.75),
    "clock, all hours": _clock(),
    "clock, infected later": _clock(infected_h=(14.0, 48.0), mock_h=(0.0, 34.0)),
    "clock, the middle hours": _clock(clock="middle"),
    "clock, infected 16–30 h": _clock(infected_h=(16.0, 30.0), mock_h=(0.0, 46.0)),
    "clock, the middle, infected 16–30 h": _clock(
        clock="middle", infected_h=(16.0, 30.0), mock_h=(0.0, 46.0)
    ),
    "before onset 0.6": HardPlate(early_auc=0.6),
    "before onset 0.7": HardPlate(early_auc=0.7),
    "before onset 0.88": HardPlate(early_auc=0.88),
}


class Draw(NamedTuple):
    """Plates as arrays; ``wells`` = times × wells of one plate, in the same order each time.

    plate, infected, place: (wells,) int, bool, int (counted down the columns). split: (wells,) str.
    onset_h: (wells,) NaN for mock. imaged: (wells, frames) bool. logit: (wells, stacks, frames).
    time_error_h: as logit, of the predicted less the true time since infection (mock: since start).
    """

    plate: np.ndarray
    infected: np.ndarray
    place: np.ndarray
    split: np.ndarray
    onset_h: np.ndarray
    imaged: np.ndarray
    logit: np.ndarray
    time_error_h: np.ndarray

    @property
    def hpi(self) -> np.ndarray:
        """(wells, frames) hours after the onset; NaN for mock."""
        return HOURS - self.onset_h[:, None]


def draw(plate: HardPlate, rng: np.random.Generator, *, times: int = 1, stacks: int = 2) -> Draw:
    """Draw so many plates."""
    parts = []
    for number, (infected, mock) in enumerate(plate.plates):
        split = np.concatenate([np.repeat(plate.splits, n) for n in (infected, mock)])
        treated = np.arange(len(split)) < infected * len(plate.splits)
        place = np.concatenate([_places(plate, treated, rng) for _ in range(times)])
        wells = {"plate": np.full(len(split), number), "infected": treated, "split": split}
        again = {name: np.tile(values, times) for name, values in wells.items()}
        parts.append(pd.DataFrame({"time": np.repeat(np.arange(times), len(split)), "place": place} | again))
    wells = pd.concat(parts).sort_values("time", kind="stable")
    code, infected = wells["plate"].to_numpy(), wells["infected"].to_numpy()
    n, shape = len(wells), (len(wells), stacks, len(HOURS))
    onset = np.full(n, np.nan)
    onset[infected] = np.resize(ONSETS_H, infected.sum())
    takes = infected & (rng.random(n) >= plate.non_takes)
    since = np.where(takes[:, None], HOURS - onset[:, None], -np.inf)
    clock = HOURS / HOURS.max() if plate.clock == "rising" else (HOURS >= 16) & (HOURS <= 30)
    size = np.ones(n) if plate.frames == "equal" else rng.uniform(0.2, 1.0, n)
    worse = size - 0.6 if plate.frames == "size-dependent" else np.zeros(n)
    signs = (1 - 1.5 * worse)[:, None] * expit((since - ECLIPSE_H - RISE_H) / (RISE_H / 2))
    signs = (1 - plate.clock_share) * signs + plate.clock_share * clock
    shift = np.where(infected, np.sqrt(2) * SD * ndtri(plate.early_auc), 0.0)
    shift += plate.plate_shift * (code == 0) + WELL_SD * _effects(plate.wells, n, rng)
    frame = STACK_SD * rng.normal(size=(n, stacks, 1)) + FRAME_SD * _frame_noise(plate.ar, shape, rng)
    logit = plate.strength * (signs[:, None, :] - 0.5) + shift[:, None, None] + frame
    late = np.where(infected, (1 - plate.slope) * (onset - np.mean(ONSETS_H)), 0.0)
    of_well = WELL_TIME_SD_H * _effects(plate.wells, n, rng)[:, None, None]
    error = (1 + worse)[:, None, None] * (of_well + TIME_SD_H * _frame_noise(plate.ar, shape, rng))
    first, last = np.where(infected, *np.array([plate.infected_h, plate.mock_h])[:, :, None])
    imaged = (first[:, None] <= HOURS) & (last[:, None] >= HOURS)
    imaged &= rng.random(imaged.shape) < size[:, None]
    places, splits = wells["place"].to_numpy(), wells["split"].to_numpy()
    return Draw(code, infected, places, splits, onset, imaged, logit, error + late[:, None, None])


def _effects(shape: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Mean 0 and variance 1."""
    if shape == "t3":
        return np.asarray(rng.standard_t(3, size) / np.sqrt(3))
    return rng.normal(size=size) if shape == "normal" else 1 - rng.exponential(size=size)


def _frame_noise(ar: float, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Variance 1 at every frame; the correlation of two frames is ``ar`` to the power of their distance."""
    noise = rng.normal(size=size)
    for t in range(1, size[-1]) if ar else ():
        noise[..., t] = ar * noise[..., t - 1] + np.sqrt(1 - ar**2) * noise[..., t]
    return noise


def _places(plate: HardPlate, infected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(wells,) the place of each well, counted down the columns; infected wells stand first."""
    place = np.arange(len(infected))
    if plate.layout == "random":
        return rng.permutation(place)
    if plate.layout == "parity":
        column = place // ROWS
        place = np.lexsort((column, column % 2))
    kinds = [rng.permutation(place[infected == kind]) for kind in (True, False)]
    for _ in range(plate.swapped):  # the wells stand in random order by now
        i, j = (rng.integers(len(mine)) for mine in kinds)
        kinds[0][i], kinds[1][j] = kinds[1][j], kinds[0][i]
    return np.concatenate(kinds)


def predictions(plate: HardPlate, rng: np.random.Generator) -> pd.DataFrame:
    """Draw one plate (or the plates of one experiment) as a PREDICTIONS table."""
    drawn = draw(plate, rng)
    n, stacks, frames = drawn.logit.shape
    well = [well_name(place % ROWS, place // ROWS) for place in drawn.place.tolist()]
    names = pd.DataFrame(
        {"plate": [f"P{code + 1}" for code in drawn.plate], "well": well, "split": drawn.split}
    ).assign(
        condition=np.where(drawn.infected, "infected", "mock"), moi=np.where(drawn.infected, 1.0, np.nan),
        onset_h=drawn.onset_h, clock=np.where(drawn.infected, "infection", "experiment"),
    )  # fmt: skip
    rows = names.loc[np.repeat(np.arange(n), stacks * frames)].reset_index(drop=True)
    rows["position"] = np.tile(np.repeat([str(i + 1) for i in range(stacks)], frames), n)
    rows["stack_id"] = rows["plate"] + "_" + rows["well"] + "_p" + rows["position"]
    rows["hours"] = np.tile(HOURS, n * stacks)
    rows["frame"] = np.tile(np.arange(frames), n * stacks)
    rows["hpi"] = rows["hours"] - rows["onset_h"]
    true = np.where(rows["condition"].eq("infected"), rows["hpi"], rows["hours"])
    rows["time_pred"] = true + drawn.time_error_h.ravel()
    before = rows["hpi"].lt(0)  # as under `before_onset: drop`: predicted, never scored
    rows["time_target"] = pd.Series(true).mask(before)
    rows["label"] = rows["condition"].eq("infected").astype("Int8").mask(before)
    rows["p_infected"] = score(plate, drawn).ravel()
    rows = rows.assign(path="", fold=0, run="simulated", seed=0)
    return check(PREDICTIONS, rows[np.repeat(drawn.imaged, stacks, axis=0).ravel()])


def score(plate: HardPlate, drawn: Draw) -> np.ndarray:
    """P(infected) of every frame: (wells, stacks, frames)."""
    p = expit(drawn.logit)
    return p if plate.decimals is None else p.round(plate.decimals)


class Truth(NamedTuple):
    """What is true of all wells: AUCs over all hours, of pairs of one plate and hour, and of those before the
    onset; shares at the threshold 0.5; errors of the time of infected frames; the AUC of the hour alone.
    """

    auc: float
    same_hour: float
    before_onset: float
    accuracy: float
    recall: float
    f1: float
    mae_h: float
    rmse_h: float
    hour_alone: float


def truth(plate: HardPlate, *, seed: int = 0, draws: int = 20, times: int = 40) -> Truth:
    """Return the truth, counted on ``draws`` × ``times`` plates (standard error of an AUC: 0.004)."""
    plate = plate._replace(splits=("test",))
    rng = np.random.default_rng(seed)
    return Truth(*np.mean([_count(plate, draw(plate, rng, times=times)) for _ in range(draws)], axis=0))


def _count(plate: HardPlate, drawn: Draw) -> Truth:
    shape = drawn.logit.shape
    p, hours = score(plate, drawn), np.broadcast_to(HOURS, shape)
    infected = np.broadcast_to(drawn.infected[:, None, None], shape)
    imaged = np.broadcast_to(drawn.imaged[:, None, :], shape)
    hpi = np.broadcast_to(drawn.hpi[:, None, :], shape)
    code = np.broadcast_to(drawn.plate[:, None, None], shape)
    mock, early, late = imaged & ~infected, imaged & (hpi < 0), imaged & (hpi >= 0)
    within: dict[str, list[tuple[int, float]]] = {"late": [], "early": []}
    for at in {(number, hour) for number in np.unique(drawn.plate) for hour in HOURS}:
        here = (code == at[0]) & (hours == at[1])
        for name, mine in (("late", late), ("early", early)):
            a, b = p[here & mine], p[here & mock]
            if len(a) and len(b):
                within[name].append((len(a) * len(b), _auc(a, b)))
    same, before = (_mean(within[name]) for name in ("late", "early"))
    hit, false = (p[late] >= 0.5), (p[mock] >= 0.5)
    recall = hit.mean()
    error = drawn.time_error_h[late]
    return Truth(
        auc=_auc(p[late], p[mock]),
        same_hour=same,
        before_onset=before,
        accuracy=(hit.sum() + (~false).sum()) / (hit.size + false.size),
        recall=recall,
        f1=2 * hit.sum() / (2 * hit.sum() + (~hit).sum() + false.sum()),
        mae_h=np.abs(error).mean(),
        rmse_h=np.sqrt((error**2).mean()),
        hour_alone=_auc(hours[late], hours[mock]),
    )


def _mean(weighted: list[tuple[int, float]]) -> float:
    weights, values = zip(*weighted, strict=True) if weighted else ((1,), (np.nan,))
    return float(np.average(values, weights=weights))


def _auc(infected: np.ndarray, mock: np.ndarray) -> float:
    """Share of pairs in which the infected frame is higher; ties count half."""
    mock = np.sort(mock)
    wins = np.searchsorted(mock, infected, "left") + np.searchsorted(mock, infected, "right")
    return float(wins.mean() / (2 * len(mock)))


if __name__ == "__main__":
    found = {name: truth(plate) for name, plate in GENERATORS.items()}
    print(markdown(["generator", *Truth._fields], [[n, *(f"{x:.3f}" for x in t)] for n, t in found.items()]))
