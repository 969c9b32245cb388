"""Paired comparisons of variants on the same test frames: over all hours, per window, over time.

Every variant is held against the first. The chances of all rows of a table are one family (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.config import CompareConfig, StudyConfig, WindowsConfig
from hpiclock.study.compare_words import sentences, verdict_of
from hpiclock.study.judge import Judge, window_masks
from hpiclock.study.variants import align
from hpiclock.study.windows import Axis

COLUMNS = ["variant", "against", "group", "metric", "value", "value_against", "difference", "low", "high",
           "low_margin", "high_margin", "p", "p_holm", "p_floor", "margin", "could_see", "verdict", "n",
           "n_stacks", "n_wells", "n_seeds", "n_seeds_against", "seeds_agree", "note"]  # fmt: skip
WINDOWS = ["axis", "variant", "against", "group", "metric", "start_h", "end_h", "value", "value_against",
           "difference", "low", "high", "p", "p_over_all_windows", "n", "n_stacks", "n_wells",
           "note"]  # fmt: skip
STEADINESS = ["variant", "against", "group", "metric", "spread", "value", "value_against", "difference",
              "by_chance", "p", "p_holm", "n_windows", "n_wells", "note"]  # fmt: skip


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
        InputError: variants that cannot be paired (:func:`hpiclock.study.variants.align`).
    """
    aligned = align(variants, rule=study.threshold)
    rng = np.random.default_rng(seed)
    first, *others = aligned.sides
    tables: dict[str, list[dict[str, Any]]] = {"comparison": [], "comparison_windows": [], "steadiness": []}
    for other in others:
        pair = {"variant": other.name, "against": first.name}
        judge = Judge(aligned, other, first, study.level, settings, rng)
        tables["comparison"] += [pair | row for row in judge.whole()]
        axes: tuple[Axis, Axis] = ("hours", "hpi")
        for axis in axes:
            masks = window_masks(aligned, windows, end_h, axis)
            tables["comparison_windows"] += [{"axis": axis} | pair | row for row in judge.windows(masks)]
            if axis == "hours":
                tables["steadiness"] += [pair | row for row in judge.steadiness(list(masks.values()))]
    made = {
        "comparison": with_holm(pd.DataFrame(tables["comparison"], columns=COLUMNS)),
        "comparison_windows": pd.DataFrame(tables["comparison_windows"], columns=WINDOWS),
        "steadiness": with_holm(pd.DataFrame(tables["steadiness"], columns=STEADINESS)),
        "notes": pd.DataFrame({"note": aligned.notes}, dtype=object),
    }
    made["comparison"]["verdict"] = [
        verdict_of(row, alpha=1 - study.level) for row in made["comparison"].to_dict("records")
    ]
    made["conclusions"] = sentences(made, level=study.level, power=settings.power)
    return made


def with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ``p_holm``: its ``p`` corrected over all rows that have one (Holm 1979)."""
    p = table["p"].to_numpy(float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(len(p), np.nan)
    steps = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * steps), 1.0)
    return table.assign(p_holm=corrected)
