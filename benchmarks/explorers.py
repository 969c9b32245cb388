"""How long the explorers take for a move, on the demo run: milliseconds of CPU, the median and the longest.

Run it as `python benchmarks/explorers.py [RUN]`; a slider that follows the hand wants less than 150 ms.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpiclock import workbook

MOVES: dict[str, tuple[Any, dict[str, Sequence[Any]]]] = {
    "plate": (workbook.plate_browser, {"hours": np.arange(0.0, 49.0, 2.0).tolist()}),
    "threshold": (workbook.threshold_explorer, {"threshold": [0.05 * step for step in range(1, 20)]}),
    "window": (
        workbook.window_explorer,
        {
            "width_h": [8.0, 12.0, 16.0, 24.0, 4.0, 6.0],
            "stride_h": [2.0, 4.0, 6.0, 8.0, 3.0],
            "metric": ["accuracy", "f1", "recall", "mae", "auc"],
            "unit": ["position", "well", "auto"],
            "axis": ["hpi", "hours"],
        },
    ),
}


def main(run: str) -> None:
    for name, (make, moves) in MOVES.items():
        explorer = make(run)
        for control, values in moves.items():
            took = []
            for value in values:
                begun = time.process_time()
                explorer.controls[control].value = value
                took.append(1000 * (time.process_time() - begun))
            line = f"{np.median(took):6.0f} ms, longest {max(took):6.0f} ms of {len(took)} moves"
            print(f"{name:10} {control:10} {line}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="reports/demo/seed0", help="a run's folder")
    main(parser.parse_args().run)
