"""A plate of 432 stacks scanned, cached and predicted in bounded memory; killed on the way, it goes on.

Twelve wells of 36 positions and 93 frames, written small. Every step is the command a user types, in a
process of its own, with its time and its largest memory, beside the same on a twelfth of the positions.
One prediction is killed (SIGKILL) while it converts and once more while it predicts, then ends by itself:
its files must be those of the one that was left alone. Writes reports/benchmarks/big_plate.md:
python benchmarks/big_plate.py
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from pathlib import Path

from side_by_side import one_thread, write_page

one_thread()
os.environ["HPICLOCK_PROGRESS"] = "off"

from commands import Step, hpiclock, small_run, table, write_plate

COLUMNS, POSITIONS, FRAMES, SIDE = 6, 36, 93, 24
SIZE = 16  # of the image that the model sees


def measured(base: Path) -> list[Step]:
    run, steps = small_run(base, size=SIZE), []
    for positions in (POSITIONS // 12, POSITIONS):
        plate = write_plate(
            base / f"plate{positions}", columns=COLUMNS, positions=positions, frames=FRAMES, side=SIDE
        )
        output = base / f"whole{positions}.parquet"
        steps += [
            hpiclock("scan (manifest)", plate, "manifest", plate.folder, "--no-frames"),
            hpiclock("scan and read every frame (passport)", plate, "manifest", plate.folder),
            hpiclock("predict: convert and ask", plate, "predict", run, plate.folder, "-o", output),
        ]
    cache, killed = base / "other cache", base / "killed.parquet"
    again = ("predict", run, plate.folder, "-o", killed, "--set", f"data.cache_dir={cache}")

    def converted() -> bool:
        return any(
            len(path.read_bytes().splitlines()) > plate.stacks // 3 for path in cache.glob("*.partial/ready")
        )

    def predicted() -> bool:
        return len(list(base.glob(f".{killed.name}.pieces/*.parquet"))) >= 3

    steps += [
        hpiclock("predict, killed while it converts", plate, *again, until=converted),
        hpiclock("predict again, killed while it predicts", plate, *again, until=predicted),
    ]
    assert not killed.exists()
    assert [step.code for step in steps[-2:]] == [-signal.SIGKILL] * 2
    steps.append(hpiclock("predict again, to the end", plate, *again))
    for suffix in (".parquet", ".json"):
        same = killed.with_suffix(suffix).read_bytes() == output.with_suffix(suffix).read_bytes()
        assert same, f"{suffix}: other bytes than without a kill"
    print("the same bytes as without a kill")
    return steps


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = measured(Path(folder))
    same = "The prediction that was killed twice ends in the same bytes as the one left alone."
    write_page("big_plate", [*table(steps), "", same])


if __name__ == "__main__":
    main()
