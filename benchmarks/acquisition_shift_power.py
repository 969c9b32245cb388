"""How often the acquisition statistics of a new plate are called unlike: nothing changed, or one thing.

Simulated plates of 12 wells against a training plate of 24 wells, all drawn anew. Writes
reports/benchmarks/acquisition_shift_power.md: python benchmarks/acquisition_shift_power.py [--plates 8]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from side_by_side import one_thread, write_page

one_thread()
os.environ["HPICLOCK_PROGRESS"] = "off"

import pandas as pd

from hpiclock.analysis.acquisition_shift import acquisition_shift
from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.plate.cache import open_cache
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.quality import stack_statistics
from hpiclock.plate.timeline import expand_frames
from hpiclock.simulate.design import design, grid
from hpiclock.simulate.write import synthesize

OPTICS = {"size_px": 80, "pitch_px": 11.0, "positions": 1}
KINDS: dict[str, tuple[bool, dict[str, Any], dict[str, Any]]] = {
    # should it be flagged; changes of the microscope; of the culture
    "the same kind of plate": (False, {}, {}),
    "a quarter fewer cells that grow less": (False, {"pitch_px": 13.0}, {"growth": 1.4}),
    "three times as many floating cells": (False, {}, {"floaters": 0.09}),
    "bright and dark exchanged": (True, {"contrast": -1}, {}),
    "half the magnification": (True, {"pitch_px": 5.5}, {}),
    "one and a half times the magnification": (True, {"pitch_px": 16.5}, {}),
    "out of focus by one pixel": (True, {"blur_px": 1.65}, {}),
    "half the contrast": (True, {"gain": 0.5}, {}),
}


def drawn_statistics(
    mois: tuple[float, ...], rows: int, seed: int, optics: dict[str, Any], culture: dict[str, Any]
) -> pd.DataFrame:
    """Draw a plate and return the acquisition statistics of its stacks at 48 px, with fixed grey limits."""
    plan = design("tiny", wells=grid(rows, mois), onsets_h=(2.0, 8.0, 14.0), microscope=OPTICS | optics,
                  biology=culture)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        source = synthesize(Path(folder) / "plate", design=plan, seed=seed)
        data = DataConfig(source=str(source), cache_dir=str(Path(folder) / "cache"))
        manifest, _ = load_manifest(data, 0.0)
        image = ImageConfig(size=48, intensity="fixed", low=64, high=192)
        return stack_statistics(open_cache(manifest, data, image), expand_frames(manifest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plates", type=int, default=8, help="of each kind")
    n = parser.parse_args().plates
    lines = ["| new plate | should be flagged | flagged | by (plates) |", "| --- | --- | ---: | --- |"]
    flagged: dict[str, list[list[str]]] = {kind: [] for kind in KINDS}
    for number in range(n):
        trained = drawn_statistics((0.0, 5.0, 0.0, 1.0), 6, 1000 + number, {}, {})
        for index, (kind, (_, optics, culture)) in enumerate(KINDS.items()):
            new = drawn_statistics((0.0, 0.3, 3.0), 4, 2000 + 100 * number + index, optics, culture)
            table = acquisition_shift(trained, new)
            flagged[kind].append(table.loc[table["unlike"], "words"].tolist())
    for kind, (should, _, _) in KINDS.items():
        words = Counter(word for found in flagged[kind] for word in found)
        by = ", ".join(f"{word} ({count})" for word, count in words.most_common(4)) or "-"
        share = f"{sum(map(bool, flagged[kind]))} of {n}"
        lines.append(f"| {kind} | {'yes' if should else 'no'} | {share} | {by} |")
        print(lines[-1])
    write_page("acquisition_shift_power", lines)


if __name__ == "__main__":
    main()
