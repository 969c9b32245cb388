"""The simulated biology: growth, Poisson infection, eclipse, spread; expected values from the laws put in."""

from functools import lru_cache

import numpy as np
import pytest

from hpiclock.simulate.biology import Culture, grow_culture, shed_floaters, spread_infection
from hpiclock.simulate.design import Biology

BIOLOGY = Biology(growth=1.6, lag_h=2.0, release_h=7.0, spread_per_h=0.2)


@lru_cache
def culture(seed: int = 0, *, side_px: float = 400.0, end_h: float = 48.0, step_h: float = 2.0) -> Culture:
    hours = np.arange(0, end_h + step_h / 2, step_h)
    return grow_culture(
        BIOLOGY,
        hours=hours,
        width_px=side_px,
        height_px=side_px,
        pitch_px=10.0,
        rng=np.random.default_rng(seed),
    )


def test_the_sheet_starts_with_one_cell_per_pitch_squared_and_grows_by_the_growth_factor() -> None:
    sheet = culture()
    assert sheet.alive[0] == 1600  # 400 x 400 / 10^2
    # 1600 * 1.6 = 2560 on average; divisions are independent, SD about sqrt(2560 * 0.6) = 39
    assert sheet.alive[-1] == pytest.approx(2560, abs=4 * 39)
    assert (np.diff(sheet.alive) >= 0).all()


def test_cells_keep_their_distance() -> None:
    sheet = culture(side_px=200.0)
    xy = np.stack([sheet.x[0], sheet.y[0]], axis=1)[: sheet.alive[0]]
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) + 99 * np.eye(len(xy))
    assert np.median(apart.min(axis=1)) > 6.0  # 4.7 if scattered at random


@pytest.mark.parametrize("moi", [0.1, 1.0, 5.0])
def test_the_infected_share_at_the_onset_is_poisson(moi: float) -> None:
    sheet = culture()
    virus = spread_infection(sheet, BIOLOGY, moi=moi, onset_h=6.0, rng=np.random.default_rng(1))
    there = sheet.alive[3]  # at 6 h
    expected = 1 - np.exp(-moi)
    share = (virus.infected_h[:there] == 6.0).mean()
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / there))
    assert (virus.infected_h >= 6.0).all()


def test_no_virus_infects_nobody() -> None:
    virus = spread_infection(culture(), BIOLOGY, moi=0.0, onset_h=np.nan, rng=np.random.default_rng(1))
    assert np.isinf(virus.infected_h).all()
    assert np.isinf(virus.cpe_h).all()


def test_an_onset_after_the_last_frame_infects_nobody() -> None:
    virus = spread_infection(culture(), BIOLOGY, moi=5.0, onset_h=60.0, rng=np.random.default_rng(1))
    assert np.isinf(virus.infected_h).all()


def test_cpe_never_begins_within_the_eclipse_and_many_virions_hasten_it() -> None:
    sheet = culture()
    waits = []
    for moi in (0.1, 10.0):
        virus = spread_infection(sheet, BIOLOGY, moi=moi, onset_h=0.0, rng=np.random.default_rng(1))
        sick = np.isfinite(virus.infected_h)
        assert (virus.cpe_h[sick] > virus.infected_h[sick] + BIOLOGY.eclipse_h).all()
        first = virus.infected_h == 0.0
        waits.append((virus.cpe_h - virus.infected_h)[first].mean() - BIOLOGY.eclipse_h)
    # at MOI 0.1 nearly all met one virion, so the mean is lag_h; at MOI 10 about lag_h * 10^-1/4
    assert waits[0] == pytest.approx(BIOLOGY.lag_h, rel=0.15)
    assert waits[1] == pytest.approx(BIOLOGY.lag_h * 10**-0.25, rel=0.06)


def test_second_waves_reach_neighbours_first_and_the_whole_sheet_in_the_end() -> None:
    sheet = culture(step_h=1.0)
    virus = spread_infection(sheet, BIOLOGY, moi=0.01, onset_h=0.0, rng=np.random.default_rng(3))
    first = np.flatnonzero(virus.infected_h == 0.0)
    second = np.flatnonzero((virus.infected_h > 0.0) & (virus.infected_h <= 12.0))
    never_by_12 = np.flatnonzero(virus.infected_h[: sheet.alive[12]] > 12.0)

    def distance(cells: np.ndarray) -> np.ndarray:
        dx = sheet.x[12, cells][:, None] - sheet.x[12, first]
        return np.hypot(dx, sheet.y[12, cells][:, None] - sheet.y[12, first]).min(axis=1)

    assert (virus.infected_h[second] > BIOLOGY.release_h).all()
    assert np.median(distance(second)) < 0.6 * np.median(distance(never_by_12))
    assert np.isfinite(virus.infected_h).mean() > 0.95


def test_without_release_only_the_first_wave_and_its_daughters_are_infected() -> None:
    sheet = culture()
    quiet = BIOLOGY.model_copy(update={"release_h": 1000.0})
    virus = spread_infection(sheet, quiet, moi=0.5, onset_h=0.0, rng=np.random.default_rng(1))
    late = np.arange(sheet.alive[0], sheet.mother.size)
    assert set(virus.infected_h[: sheet.alive[0]]) == {0.0, np.inf}
    assert (virus.infected_h[late] == virus.infected_h[sheet.mother[late]]).all()


def test_floaters_rise_with_time() -> None:
    sheet = culture(side_px=200.0)
    counts = np.zeros(2)
    for seed in range(30):
        loose = shed_floaters(sheet, BIOLOGY, rng=np.random.default_rng(seed))
        counts += [((loose.from_h <= now) & (now < loose.until_h)).sum() for now in (0.0, 48.0)]
    assert counts[1] > 2 * counts[0] > 0


def test_cells_round_up_to_divide_about_as_often_whatever_the_interval_between_frames() -> None:
    # a division shows for ROUND_H = 1.5 h in two cells: about ln(1.6) / 48 * 1.5 * 2 = 3% of the cells
    for step_h in (1.0, 4.0):
        sheet = culture(step_h=step_h)
        rounded = (sheet.rounding[2:] > 0).sum() / sheet.alive[2:].sum()
        assert rounded == pytest.approx(np.log(1.6) / 48 * 1.5 * 2, rel=0.2)
