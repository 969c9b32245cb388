"""Is a metric stable over time? Range, spread and slope over windows beside what noise alone gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.config import StudyConfig
from hpiclock.study.stability import (
    SD_GOOD,
    SD_POOR,
    Windows,
    differing_windows,
    noise_range,
    over_windows,
    slope_per_h,
)
from hpiclock.study.sums import TIME_METRICS
from hpiclock.study.windows import BANDS, Axis, View

COLUMNS = ["run", "split", "group", "axis", "metric", "n_windows", "n_defined", "whole", "lowest", "highest",
           "range", "range_low", "range_high", "range_of_noise", "sd", "sd_says", "slope_per_h", "slope_low",
           "slope_high", "smallest_p", "note"]  # fmt: skip
DIFFERENCES = ["run", "split", "group", "axis", "metric", "start_h", "end_h", "value", "whole", "difference",
               "p_over_all_windows", "note"]  # fmt: skip


def drift(
    views: Iterable[tuple[dict[str, str], View]],
    *,
    axis: Axis,
    study: StudyConfig,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per metric on its stability over windows, and one per window on its difference.

    First table: ``whole`` is the value over all windows; ``range`` is highest less lowest (its limits come
    from :func:`with_range_limits`), and ``range_of_noise`` what it stays within by chance if nothing
    changed; ``sd_says`` holds the plain SD against the usual marks (good below 0.05, poor above 0.1; for
    shares only); ``smallest_p`` is the smallest chance in the second table, where ``p_over_all_windows`` is
    that of so large a difference in any window.

    Args:
        views: from :func:`hpiclock.study.windows.each_view`.
        axis: the axis of these windows.
        study: ``level`` and ``resamples`` are used.
        rng: the randomness.
    """
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for key, view in views:
        sums, whole = view.sums
        for metric in BANDS[key["group"]]:
            place = key | {"axis": axis, "metric": metric}
            found = over_windows(sums, whole, metric)
            p = differing_windows(found, resamples=study.resamples, rng=rng)
            rows.append(place | _row(found, view, metric, p, study, rng))
            differences += [
                place
                | {"start_h": start, "end_h": end, "value": value, "whole": found.whole,
                   "difference": value - found.whole, "p_over_all_windows": chance,
                   "note": found.why_not if np.isnan(chance) else ""}
                for (start, end), value, chance in zip(view.edges, found.value, p, strict=True)
            ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(differences, columns=DIFFERENCES)


def _row(
    found: Windows, view: View, metric: str, p: np.ndarray, study: StudyConfig, rng: np.random.Generator
) -> dict[str, Any]:
    there = found.value[~np.isnan(found.value)]
    some = len(there) > 1
    sd = float(there.std(ddof=1)) if some else np.nan
    middles = np.array([(start + end) / 2 for start, end in view.edges])
    slope, low, high = slope_per_h(found, middles, level=study.level)
    missing = len(found.value) - len(there)
    words = [found.why_not, f"{missing} windows undefined" if missing else ""]
    return {
        "n_windows": len(found.value),
        "n_defined": len(there),
        "whole": found.whole,
        "lowest": there.min() if some else np.nan,
        "highest": there.max() if some else np.nan,
        "range": np.ptp(there) if some else np.nan,
        "range_low": np.nan,
        "range_high": np.nan,
        "range_of_noise": noise_range(found, level=study.level, resamples=study.resamples, rng=rng),
        "sd": sd,
        "sd_says": "" if metric in TIME_METRICS else _judged(sd),
        "slope_per_h": slope,
        "slope_low": low,
        "slope_high": high,
        "smallest_p": np.nan if np.isnan(p).all() else np.nanmin(p),
        "note": "; ".join(word for word in words if word),
    }


def _judged(sd: float) -> str:
    if np.isnan(sd):
        return "cannot tell"
    return "good" if sd < SD_GOOD else "poor" if sd > SD_POOR else "between"


def with_range_limits(stability: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of :func:`drift` with limits of the range, from the bands over all windows.

    Where all bands hold, the true range is at least the gap between the highest lower limit and the lowest
    upper one, and at most the distance of the outermost limits; the latter is missing where a window with a
    value has no band.

    Args:
        stability: rows of one axis.
        windows: the table of the same windows, with ``low_simultaneous`` and ``high_simultaneous``.
    """
    key = ["run", "split", "group", "metric"]
    low, high = windows["low_simultaneous"], windows["high_simultaneous"]
    open_ended = windows["value"].notna() & low.isna()
    bands = windows[key].assign(top=low, bottom=high, lowest=low, highest=high, open_ended=open_ended)
    grouped = bands.groupby(key).agg(
        top=("top", "max"), bottom=("bottom", "min"), lowest=("lowest", "min"), highest=("highest", "max"),
        open_ended=("open_ended", "any"),
    )  # fmt: skip
    found = grouped.reindex(pd.MultiIndex.from_frame(stability[key])).reset_index(drop=True)
    least = (found["top"] - found["bottom"]).clip(lower=0)
    most = (found["highest"] - found["lowest"]).mask(found["open_ended"].eq(True))
    return stability.assign(range_low=least.to_numpy(), range_high=most.to_numpy())
