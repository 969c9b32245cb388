"""Paired comparisons of variants on the same test frames: over all hours, per window, over time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit
from statsmodels.stats.multitest import multipletests

from hpiclock.analysis.clustered import sign_flips, studentized_flips
from hpiclock.analysis.compare import paired_tests
from hpiclock.analysis.compare.align_runs import AlignedRun, AlignedRuns, align_runs
from hpiclock.analysis.compare.paired_tests import Difference, Seeds, SignFlipOutcome
from hpiclock.analysis.sentences import comparison_sentences, verdict_of
from hpiclock.analysis.units import count_codes, group_codes, well_codes
from hpiclock.analysis.windows import AXES, Axis, frames_in_windows, window_edges
from hpiclock.config.schema import CompareConfig, StudyConfig, WindowsConfig
from hpiclock.metrics import METRICS, metrics_of
from hpiclock.tables import table_of


def window_masks(
    aligned: AlignedRuns, windows: WindowsConfig, end_h: float, axis: Axis
) -> dict[tuple[float, float], np.ndarray]:
    """Return ``(start_h, end_h)`` -> which frames that window holds."""
    edges = window_edges(windows, end_h=end_h)
    masks = frames_in_windows(aligned.frames, aligned.sides[0].seeds[0], edges, axis=axis)
    return dict(zip(edges, masks, strict=True))


@dataclass
class PairedComparison:
    """One variant held against another: the rows of each table.

    aligned: the test frames of both; one, other: the variant and what it is held against; level: of the
    intervals; settings: margins, power, exchanges; rng: of the exchanges.
    """

    aligned: AlignedRuns
    one: AlignedRun
    other: AlignedRun
    level: float
    settings: CompareConfig
    rng: np.random.Generator
    _signs: dict[bytes, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _taken: dict[bytes, tuple[Seeds, Seeds]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.truth, self.k = self.one.seeds[0].truth, int(self.aligned.unit.codes.max()) + 1
        self.stack = group_codes(self.aligned.frames, "position")
        self.well = well_codes(self.aligned.frames)

    def whole(self) -> list[dict[str, Any]]:
        """Return the rows over all hours."""
        rows = []
        for group, metric, mask in self._compared():
            found = self._difference(mask, metric)
            result = self._test(found)
            # two one-sided tests at 1 - level each
            low_margin, high_margin = paired_tests.limits_of_both(
                *self._seeds(mask), metric, level=2 * self.level - 1
            )
            power = float(stdtrit(result.df, self.settings.power))
            could_see = (paired_tests.detectable_difference(result, level=self.level) + power) * result.error
            margin = self.settings.margin_h if METRICS[metric].unit == "h" else self.settings.margin
            row = self._row(group, metric, mask, found, result)
            if METRICS[metric].is_share:
                by_both = paired_tests.limits_of_both(*self._seeds(mask), metric, level=self.level)
                row["low"], row["high"] = paired_tests.widened((row["low"], row["high"]), by_both)
            row |= {"low_margin": low_margin, "high_margin": high_margin, "margin": margin}
            row |= {"p_floor": result.floor, "could_see": could_see, "seeds_agree": _agreeing(found)}
            rows.append(row | {"n_seeds": len(self.one.seeds), "n_seeds_against": len(self.other.seeds)})
        return rows

    def windows(self, masks: Mapping[tuple[float, float], np.ndarray]) -> list[dict[str, Any]]:
        """Return the rows per window, with the chance over all windows of a metric."""
        rows = []
        for group, metric, mine in self._compared(windows=True):
            found = [self._difference(mine & mask, metric) for mask in masks.values()]
            chances = self._over_all(found)
            for ((start, end), mask), one, p_all in zip(masks.items(), found, chances, strict=True):
                row = self._row(group, metric, mine & mask, one, self._test(one))
                rows.append(row | {"start_h": start, "end_h": end, "p_over_all_windows": p_all})
        return rows

    def steadiness(self, masks: list[np.ndarray]) -> list[dict[str, Any]]:
        """Return the rows on the spread over windows."""
        rows = []
        for group, metric, mine in self._compared(windows=True):
            if METRICS[metric].needs != "all":  # the accuracy of all frames holds them both
                continue
            whole = self._difference(mine, metric)
            if whole.why_not:
                continue
            one, other = zip(*(self._seeds(mine & mask) for mask in masks), strict=True)
            found = paired_tests.paired_stability_test(
                one, other, metric, self._flips(whole.samples), level=self.level
            )
            place = {"group": group, "metric": metric, "n_wells": count_codes(self.well[mine])}
            rows += [place | {"spread": spread} | row._asdict() for spread, row in found.items()]
        return rows

    def _compared(self, *, windows: bool = False) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yield group, metric and frames of all that is compared, or is compared in windows."""
        known = self.truth >= 0
        for group, mask in self.one.seeds[0].groups.items():
            for metric in metrics_of(group, "compared"):
                # in windows variants are exchanged pair by pair, which is known for AUCs over all pairs
                if not windows or (group in METRICS[metric].bands and metric != "auc_stratified"):
                    yield group, metric, mask & known

    def _difference(self, mask: np.ndarray, metric: str) -> Difference:
        return paired_tests.paired_difference(*self._seeds(mask), metric, self.k)

    def _seeds(self, mask: np.ndarray) -> tuple[Seeds, Seeds]:
        """Both variants on the frames of a mask, summed once for all metrics."""
        key = mask.tobytes()
        if key not in self._taken:
            one, other = (
                [paired_tests.seed_of(scores.take(mask), self.k) for scores in side.seeds]
                for side in (self.one, self.other)
            )
            self._taken[key] = one, other
        return self._taken[key]

    def _test(self, found: Difference) -> SignFlipOutcome:
        return paired_tests.sign_flip_test(found, self._flips(found.samples))

    def _row(
        self, group: str, metric: str, mask: np.ndarray, found: Difference, result: SignFlipOutcome
    ) -> dict[str, Any]:
        low, high = paired_tests.difference_limits(found, result, level=self.level)
        values = {"value": found.first, "value_against": found.second, "difference": found.value}
        counts = {"n": int(mask.sum()), "n_stacks": count_codes(self.stack[mask])}
        counts["n_wells"] = count_codes(self.well[mask])
        limits = {"low": low, "high": high, "p": result.p, "note": result.note}
        return {"group": group, "metric": metric} | values | limits | counts

    def _over_all(self, found: list[Difference]) -> np.ndarray:
        """Per window, the chance of so large a studentised difference in any window: (windows,)."""
        p = np.full(len(found), np.nan)
        fit = [i for i, one in enumerate(found) if not one.why_not and one.least_groups >= 2]
        if not fit:
            return p
        usable = [found[i] for i in fit]
        errors = np.array([paired_tests.standard_error(one)[0] for one in usable])
        seen = np.abs([one.value for one in usable]) / np.maximum(errors, 1e-12)
        signs = self._flips(max(usable, key=lambda one: one.n_groups).samples)
        flipped = np.stack([studentized_flips(signs, one.of_group, one.samples) for one in usable], axis=1)
        hits = (flipped.max(1)[:, None] >= seen * (1 - 1e-9)).sum(0)
        floors = [2.0 ** (1 - one.n_groups) for one in usable]
        p[fit] = np.maximum(np.maximum(hits, 1) / len(signs), floors)
        return p

    def _flips(self, samples: list[np.ndarray]) -> np.ndarray:
        key = np.sort(np.concatenate(samples)).tobytes() if samples else b""
        if key not in self._signs:
            self._signs[key] = sign_flips(samples, self.k, shuffles=self.settings.shuffles, rng=self.rng)
        return self._signs[key]


def _agreeing(found: Difference) -> str:
    """How many seeds show the sign of the whole difference, e.g. ``2 of 3``; empty with one seed."""
    one, other = found.by_seed
    if len(one) != len(other) or len(one) < 2 or np.isnan(found.value):
        return ""
    same = np.sign(one - other) == np.sign(found.value)
    return f"{int(same.sum())} of {len(one)}"


COMPARISON = (
    "variant against group metric value value_against difference low high low_margin high_margin p p_holm "
    "p_floor margin could_see verdict n n_stacks n_wells n_seeds n_seeds_against seeds_agree note"
)
WINDOWS = (
    "axis variant against group metric start_h end_h value value_against difference low high p "
    "p_over_all_windows n n_stacks n_wells note"
)
STEADINESS = (
    "variant against group metric spread value value_against difference by_chance p p_holm n_windows n_wells "
    "note"
)


def compare(
    variants: Mapping[str, Sequence[pd.DataFrame]],
    *,
    windows: WindowsConfig,
    end_h: float,
    study: StudyConfig,
    settings: CompareConfig,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return ``comparison``, ``comparison_windows``, ``steadiness``, ``conclusions`` and ``notes``.

    ``difference`` is the variant less the one it is held ``against``; ``low`` and ``high`` its interval at
    ``study.level``; ``p_holm`` its chance where there is none, corrected over the table; ``could_see`` the
    difference that would be found with ``compare.power`` (uncorrected). ``low_margin`` and ``high_margin``
    are the interval for equivalence (two one-sided tests). ``p_over_all_windows`` holds for all windows of
    a metric together. In ``steadiness``, ``by_chance`` is what differences of the spread stay below by
    chance.

    Args:
        variants: name -> the PREDICTIONS of each of its runs (one per seed and fold); the first is what
            the others are held against.
        windows: width, stride and start.
        end_h: where the last window may end.
        study: ``level`` and ``threshold`` are used.
        settings: margins, power and how many exchanges.
        seed: of the exchanges.

    Raises:
        InputError: variants that cannot be paired (:func:`hpiclock.analysis.compare.align_runs.align_runs`).
    """
    aligned = align_runs(variants, rule=study.threshold)
    rng = np.random.default_rng(seed)
    first, *others = aligned.sides
    whole: list[dict[str, Any]] = []
    windowed: list[dict[str, Any]] = []
    steadiness: list[dict[str, Any]] = []
    masks = {axis: window_masks(aligned, windows, end_h, axis) for axis in AXES}
    for other in others:
        pair = {"variant": other.name, "against": first.name}
        comparison = PairedComparison(aligned, other, first, study.level, settings, rng)
        whole += [pair | row for row in comparison.whole()]
        for axis in AXES:
            windowed += [{"axis": axis} | pair | row for row in comparison.windows(masks[axis])]
            if axis == "hours":
                steadiness += [pair | row for row in comparison.steadiness(list(masks[axis].values()))]
    made = {
        "comparison": add_holm_p_values(table_of(whole, COMPARISON)),
        "comparison_windows": table_of(windowed, WINDOWS),
        "steadiness": add_holm_p_values(table_of(steadiness, STEADINESS)),
        "notes": pd.DataFrame({"note": aligned.notes}, dtype=object),
    }
    rows = made["comparison"].to_dict("records")
    made["comparison"]["verdict"] = [verdict_of(row, alpha=1 - study.level) for row in rows]
    made["conclusions"] = comparison_sentences(made, level=study.level, power=settings.power)
    return made


def add_holm_p_values(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ``p_holm``: its ``p`` corrected over all rows that have one (Holm 1979)."""
    p = table["p"].to_numpy(float)
    known = np.flatnonzero(~np.isnan(p))
    corrected = np.full(len(p), np.nan)
    if len(known):
        corrected[known] = multipletests(p[known], method="holm")[1]
    return table.assign(p_holm=corrected)
