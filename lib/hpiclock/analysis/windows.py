"""Metrics in sliding windows, bands over all windows at once, and whether a metric is stable over time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr

from hpiclock.analysis import clustered, units
from hpiclock.analysis.evaluate import metric_rows
from hpiclock.analysis.frame_scores import FrameScores, GroupSums, frame_scores, group_sums
from hpiclock.analysis.intervals import metric_interval
from hpiclock.config.schema import StudyConfig, WindowsConfig
from hpiclock.errors import InputError
from hpiclock.metrics import METRICS, Ratio, metrics_of, ratio
from hpiclock.tables import METRICS as METRICS_TABLE
from hpiclock.tables import check, table_of

NO_BAND = clustered.no_interval()
SD_GOOD, SD_POOR = 0.05, 0.1  # what the field calls stable and unstable, for metrics between 0 and 1


class WindowJackknife(NamedTuple):
    """A metric in every window (w,) and over all, and what single groups do to it.

    left_out: (w, k) without each group, over the same groups; added: (w, k) what each group adds to a
    window's difference from the value over all windows; samples: indices of the groups of each sample.
    """

    value: np.ndarray
    left_out: np.ndarray
    whole: float
    added: np.ndarray
    samples: list[np.ndarray]
    why_not: str


def over_windows(parts: list[GroupSums], whole: GroupSums, metric: str) -> WindowJackknife:
    """Return a metric in each window, and with each group left out.

    A window in which leaving out a group leaves nothing is taken as undefined.

    Args:
        parts: the sums of each window's frames.
        whole: the sums of the frames of all windows.
        metric: one with a :class:`hpiclock.metrics.Ratio`.
    """
    formula = METRICS[metric].value
    values = np.full(len(parts), np.nan)
    left_out = np.full((len(parts), len(whole.codes)), np.nan)
    at_once = float(formula(whole.total))
    added = np.tile(-_beyond(whole, metric, at_once), (len(parts), 1))
    for at, sums in enumerate(parts):
        value = float(formula(sums.total))
        left = formula(sums.without)
        if np.isnan(value) or np.isnan(left).any():
            continue
        values[at] = value
        left_out[at] = value  # a group that is not in the window changes nothing
        here = np.searchsorted(whole.codes, sums.codes)
        left_out[at, here] = left
        added[at, here] += _beyond(sums, metric, at_once)
    samples = clustered.samples_by_class(whole.kind, needed=METRICS[metric].needs)
    why_not = clustered.too_few_groups(samples) if samples else "no frames"
    groups = list(samples.values())
    if METRICS[metric].interval == "auc":  # a pair stands with both of its groups
        for mine in groups:
            twice = added[:, mine].sum(1) - (values - at_once) / len(groups)
            added[:, mine] -= twice[:, None] / len(mine)
    return WindowJackknife(values, left_out, at_once, added, groups, why_not)


def _beyond(sums: GroupSums, metric: str, value: float) -> np.ndarray:
    """What each group adds to the metric beyond ``value``: (k,)."""
    formula = METRICS[metric].formula
    assert isinstance(formula, Ratio), f"{metric} is no ratio of sums"
    (top, bottom), (other_top, other_bottom) = formula.parts(sums.total), formula.parts(sums.without)
    return ratio(top - other_top - value * (bottom - other_bottom), bottom)


def influences(left_out: np.ndarray, samples: list[np.ndarray]) -> np.ndarray:
    """Return each group's deviation, scaled so that squares add up to the variance: (w, k)."""
    out = np.zeros_like(left_out)
    for at in samples:
        values = left_out[:, at]
        out[:, at] = np.sqrt((len(at) - 1) / len(at)) * (values - values.mean(1, keepdims=True))
    return out


def simultaneous_level(
    windows: WindowJackknife, *, level: float, resamples: int, rng: np.random.Generator
) -> float:
    """Return the pointwise level whose intervals hold in all windows together with ``level``.

    NaN where fewer than two windows have a spread, or groups are too few.
    """
    if windows.why_not:
        return float("nan")
    parts = influences(windows.left_out[~np.isnan(windows.value)], windows.samples)
    error = np.sqrt((parts**2).sum(1, keepdims=True))
    parts = parts[error[:, 0] > 1e-12] / error[error[:, 0] > 1e-12]
    noise = rng.standard_normal((resamples, parts.shape[1])) @ parts.T
    return float(2 * ndtr(np.quantile(np.abs(noise).max(1), level)) - 1) if len(parts) > 1 else float("nan")


class WindowFlips(NamedTuple):
    """What is left of each window's difference from the overall value when groups change sign at random.

    p: (w,) the chance of so large a studentised difference in any window; p_range: that of so large a range
    over windows; range_by_chance: what the range stays within at the level, NaN where groups are too few.
    """

    p: np.ndarray
    p_range: float
    range_by_chance: float


def window_flips(
    windows: WindowJackknife, *, level: float, resamples: int, rng: np.random.Generator
) -> WindowFlips:
    """Test whether any window differs from the overall value, and whether the range is more than chance.

    If no window differs, what a group adds to a difference may as well have the other sign. The groups as
    they are count as one of the flips, so no chance is below 2 / 2^k. For windows the statistic is the
    largest studentised difference; each flip has its own standard error, because with few groups that varies
    as much.
    """
    p = np.full(len(windows.value), np.nan)
    nothing = WindowFlips(p, float("nan"), float("nan"))
    usable = ~np.isnan(windows.value)
    if windows.why_not or usable.sum() < 2:
        return nothing
    added, difference = windows.added[usable].T, windows.value[usable] - windows.whole
    k = sum(map(len, windows.samples))
    signs = clustered.sign_flips(windows.samples, len(added), shuffles=resamples, rng=rng)
    error = np.sqrt(sum(_variance(added[at]) for at in windows.samples))
    varies = error > clustered.NO_VARIANCE**0.5
    if not varies.any():
        return nothing
    largest = clustered.studentized_flips(signs, added[:, varies], windows.samples).max(1)
    seen = np.abs(difference[varies]) / error[varies]
    least = max(2.0 ** (1 - k), 1 / len(signs))
    p[np.flatnonzero(usable)[varies]] = np.maximum(_share_above(largest, seen), least)
    used = np.concatenate(windows.samples)
    ranges = np.ptp(signs[:, used] @ added[used], axis=1)
    p_range = max(float(_share_above(ranges, np.array([np.ptp(difference)]))[0]), least)
    few = least > 1 - level  # no range would be more than chance
    return WindowFlips(
        p, p_range, float("nan") if few else float(np.quantile(ranges, level, method="inverted_cdf"))
    )


def _variance(added: np.ndarray) -> np.ndarray:
    """The variance of a sum over the groups of one sample: (k, w) -> (w,)."""
    return clustered.flipped_variance((added**2).sum(0), added.sum(0), len(added))


def _share_above(flipped: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The share of flips in which a statistic is as large as each that was seen."""
    return (flipped[:, None] >= seen * (1 - 1e-9)).mean(0)


def slope_per_h(windows: WindowJackknife, middles: np.ndarray, *, level: float) -> tuple[float, float, float]:
    """Return the least-squares slope of the windows' values over their middles, and its interval."""
    usable = ~np.isnan(windows.value)
    nothing = (float("nan"),) * 3
    if usable.sum() < 3:
        return nothing
    centred = middles[usable] - middles[usable].mean()
    coefficients = centred / (centred**2).sum()
    slope = float(coefficients @ windows.value[usable])
    if windows.why_not:
        return slope, *nothing[:2]
    left_out = coefficients @ windows.left_out[usable]
    return slope, *clustered.t_interval(slope, left_out, windows.samples, level=level)


Edge = tuple[float, float]
Axis = Literal["hours", "hpi"]
Views = Iterable[tuple[dict[str, str], "WindowedFrames"]]  # run, split and group with their frames
AXES: tuple[Axis, Axis] = ("hours", "hpi")


def window_edges(windows: WindowsConfig, *, end_h: float) -> list[Edge]:
    """Return ``(start_h, end_h)`` of every window; 0-48 h at 6/3 gives 15.

    Raises:
        InputError: no window fits before ``end_h``.
    """
    room = end_h - windows.start_h - windows.width_h
    if room < -1e-9:
        raise InputError(
            f"windows: {windows.width_h:g} h do not fit between {windows.start_h:g} and {end_h:g} h; "
            "set windows.width_h or windows.end_h"
        )
    starts = windows.start_h + windows.stride_h * np.arange(int(np.floor(room / windows.stride_h + 1e-9)) + 1)
    return [(float(start), float(start + windows.width_h)) for start in starts]


def metrics_by_window(
    predictions: pd.DataFrame,
    *,
    windows: WindowsConfig,
    end_h: float,
    axis: Axis = "hours",
    threshold: float,
    study: StudyConfig,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return every metric per run, split, group and window; each window stays in the table.

    Groups are ``all``, ``infected`` and ``mock``. ``low`` and ``high`` hold in each window by itself,
    ``low_simultaneous`` and ``high_simultaneous`` in all together (for the ``bands`` of a metric). On the
    axis ``hpi`` a window holds the infected wells' frames at that hpi and the mock frames of the same hours
    since start.

    Args:
        predictions: a PREDICTIONS table.
        windows: width, stride and start.
        end_h: where the last window may end (``Config.window_end_h``).
        axis: ``hours`` since start, or ``hpi``.
        threshold: P(infected) from which a frame is called infected.
        study: the config section; ``level`` and ``resamples`` are used.
        rng: for the band over all windows.
    """
    edges = window_edges(windows, end_h=end_h)
    views = windowed_frames(predictions, edges, axis=axis, threshold=threshold)
    return window_table(views, study=study, rng=rng)


def window_table(views: Views, *, study: StudyConfig, rng: np.random.Generator) -> pd.DataFrame:
    """Return the table of :func:`metrics_by_window` from the frames of :func:`windowed_frames`."""
    rows: list[dict[str, Any]] = []
    for key, view in views:
        parts, whole = view.sums
        levels = {}
        for metric in metrics_of(key["group"], "bands"):
            found = over_windows(parts, whole, metric)
            levels[metric] = simultaneous_level(found, level=study.level, resamples=study.resamples, rng=rng)
        for (start, end), mask, sums in zip(view.edges, view.masks, parts, strict=True):
            place = key | {"start_h": start, "end_h": end}
            scores = view.scores.take(mask)
            for row in metric_rows(scores, view.metrics, level=study.level, unit=view.unit, sums=sums):
                level = levels.get(row["metric"], np.nan)
                band = metric_interval(sums, row["metric"], level=level) if level < 1 else NO_BAND
                rows.append(place | row | {"low_simultaneous": band.low, "high_simultaneous": band.high})
    columns = [*METRICS_TABLE.columns, "method", "low_simultaneous", "high_simultaneous"]
    return check(METRICS_TABLE, pd.DataFrame(rows, columns=columns))


@dataclass(frozen=True)
class WindowedFrames:
    """The frames of one run, split and group, and which of them each window holds."""

    scores: FrameScores
    unit: units.ResamplingUnit
    edges: Sequence[Edge]
    masks: list[np.ndarray]
    metrics: tuple[str, ...]

    @property
    def middles(self) -> np.ndarray:
        """The middle of each window."""
        return np.mean(self.edges, axis=1)

    @cached_property
    def sums(self) -> tuple[list[GroupSums], GroupSums]:
        """The sums of each window and of all windows together."""
        every = np.logical_or.reduce(self.masks)
        whole = group_sums(self.scores.take(every))
        return [group_sums(self.scores.take(mask)) for mask in self.masks], whole


def windowed_frames(
    predictions: pd.DataFrame,
    edges: Sequence[Edge],
    *,
    axis: Axis,
    threshold: float,
    unit_of: Callable[[pd.DataFrame], units.ResamplingUnit] = units.choose_resampling_unit,
) -> Iterator[tuple[dict[str, str], WindowedFrames]]:
    """Yield ``run split group`` and the frames in windows, for each run, split and group.

    ``unit_of`` says what is resampled, see :func:`hpiclock.analysis.units.choose_resampling_unit`.
    """
    for key, rows in units.each_run_and_split(predictions):
        unit = unit_of(rows)
        scores = frame_scores(rows, threshold=threshold, group=unit.codes)
        masks = frames_in_windows(rows, scores, edges, axis=axis)
        for group, mine in scores.groups.items():
            inside = [mask[mine] for mask in masks]
            frames = WindowedFrames(scores.take(mine), unit, edges, inside, metrics_of(group, "windows"))
            yield key | {"group": group}, frames


def frames_in_windows(
    rows: pd.DataFrame, scores: FrameScores, edges: Sequence[Edge], *, axis: Axis
) -> list[np.ndarray]:
    """Return which frames each window holds: (rows,) bool each."""
    values = rows[axis].to_numpy(float)
    inside = [units.in_window(values, *edge, last=edge == edges[-1]) for edge in edges]
    if axis == "hours":
        return inside
    infected = units.condition_codes(rows)
    return [units.with_matched_controls(mask & (infected == 1), infected, scores.stratum) for mask in inside]


STABILITY = (
    "run split group axis metric n_windows n_defined whole lowest highest range range_low range_high "
    "range_of_noise p_of_range sd sd_says slope_per_h slope_low slope_high smallest_p note"
)


def temporal_stability(
    views: Views, *, axis: Axis, study: StudyConfig, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per metric on its stability over windows, and one per window on its difference.

    First table: ``whole`` is the value over all windows; ``range`` is highest less lowest (its limits come
    from :func:`with_range_limits`), ``range_of_noise`` what it stays within by chance if no window differs
    (missing where groups are too few), ``p_of_range`` the chance of one so large; ``sd_says`` holds the plain
    SD against the usual marks (good below 0.05, poor above 0.1; for shares only); ``smallest_p`` is the
    smallest chance in the second table, where ``p_over_all_windows`` is that of so large a difference in any
    window.

    Args:
        views: from :func:`hpiclock.analysis.windows.windowed_frames`.
        axis: the axis of these windows.
        study: ``level`` and ``resamples`` are used.
        rng: the randomness.
    """
    rows: list[dict[str, Any]] = []
    differences: list[tuple[Any, ...]] = []
    for key, view in views:
        sums, whole = view.sums
        for metric in metrics_of(key["group"], "bands"):
            place = key | {"axis": axis, "metric": metric}
            found = over_windows(sums, whole, metric)
            flips = window_flips(found, level=study.level, resamples=study.resamples, rng=rng)
            share = METRICS[metric].is_share
            rows.append(place | _row(found, view.middles, flips, study.level, share=share))
            why = [found.why_not if np.isnan(chance) else "" for chance in flips.p]
            compared = zip(view.edges, found.value, found.value - found.whole, flips.p, why, strict=True)
            differences += [
                (*place.values(), *edge, value, found.whole, gap, chance, note)
                for edge, value, gap, chance, note in compared
            ]
    columns = "run split group axis metric start_h end_h value whole difference p_over_all_windows note"
    return table_of(rows, STABILITY), table_of(differences, columns)


def _row(
    found: WindowJackknife, middles: np.ndarray, flips: WindowFlips, level: float, *, share: bool
) -> dict[str, Any]:
    there = found.value[~np.isnan(found.value)]
    some = len(there) > 1
    lowest, highest = (there.min(), there.max()) if some else (np.nan, np.nan)
    sd = float(there.std(ddof=1)) if some else np.nan
    slope, low, high = slope_per_h(found, middles, level=level)
    missing = len(found.value) - len(there)
    words = [found.why_not, f"{missing} windows undefined" if missing else ""]
    counts = {"n_windows": len(found.value), "n_defined": len(there), "whole": found.whole}
    spread = {
        "lowest": lowest,
        "highest": highest,
        "range": highest - lowest,
        # a share cannot range further than 1, whatever the flips give
        "range_of_noise": min(flips.range_by_chance, 1.0) if share else flips.range_by_chance,
    }
    spread |= {"p_of_range": flips.p_range, "sd": sd, "sd_says": _judged(sd) if share else ""}
    slopes = {"slope_per_h": slope, "slope_low": low, "slope_high": high}
    smallest = np.nan if np.isnan(flips.p).all() else np.nanmin(flips.p)
    return counts | spread | slopes | {"smallest_p": smallest, "note": "; ".join(filter(None, words))}


def _judged(sd: float) -> str:
    if np.isnan(sd):
        return "cannot tell"
    return "good" if sd < SD_GOOD else "poor" if sd > SD_POOR else "between"


def with_range_limits(stability: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """Return the stability of metrics with limits of their range, from the bands over all windows.

    Where all bands hold, the true range is at least the gap between the highest lower limit and the lowest
    upper one, and at most the distance of the outermost limits; the latter is missing where a window with a
    value has no band.

    Args:
        stability: rows of :func:`temporal_stability` for one axis.
        windows: the table of the same windows, with ``low_simultaneous`` and ``high_simultaneous``.
    """
    key = ["run", "split", "group", "metric"]
    low, high = windows["low_simultaneous"], windows["high_simultaneous"]
    open_ended = windows["value"].notna() & low.isna()
    bands = windows[key].assign(top=low, bottom=high, lowest=low, highest=high, open_ended=open_ended)
    outermost = {"top": "max", "bottom": "min", "lowest": "min", "highest": "max", "open_ended": "any"}
    grouped = bands.groupby(key).agg(outermost)
    found = grouped.reindex(pd.MultiIndex.from_frame(stability[key])).reset_index(drop=True)
    least = (found["top"] - found["bottom"]).clip(lower=0)
    most = (found["highest"] - found["lowest"]).mask(found["open_ended"].eq(True))
    return stability.assign(range_low=least.to_numpy(), range_high=most.to_numpy())
