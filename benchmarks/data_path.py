"""Batches from the cache against the usual Dataset that opens a TIFF for every frame, one thread each.

The usual way is what most labs write: tifffile, min-max to uint8, Pillow, torchvision's flips and turns of
up to 15 degrees, normalised, three equal channels, collated by a DataLoader. Writes
reports/benchmarks/data_path.md: python benchmarks/data_path.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from side_by_side import Row, one_thread, ratio, write

one_thread()
os.environ["HPICLOCK_PROGRESS"] = "off"

import pandas as pd
import torch

from hpiclock.config.schema import AugmentConfig, DataConfig, ImageConfig
from hpiclock.plate.cache import FrameCache, open_cache
from hpiclock.training.batches import Batches
from per_item import PerItem
from stacks import frames_of, write_stacks

SIDE, STACKS, FRAMES, BATCH = 512, 4, 24, 32
GOALS = {96: (50, 0), 224: (30, 150), 512: (6.5, 0)}  # training, evaluation


def training(cache: FrameCache, frames: pd.DataFrame, loader: torch.utils.data.DataLoader, size: int) -> Row:
    batches = Batches(cache, frames, batch_size=BATCH, device=torch.device("cpu"))
    epochs = iter(range(1, 10_000))

    def ours() -> int:
        n = 0
        for _ in range(10):
            drawn = batches.epoch(next(epochs), seed=0, augment=AugmentConfig(), balanced=False)
            n += sum(len(batch.images) for batch in drawn)
        return n

    return ratio(
        f"training batches, {size} px", ours, lambda: sum(len(x) for x, *_ in loader),
        against="per-item Dataset", goal=GOALS[size][0],
    )  # fmt: skip


def evaluation(
    cache: FrameCache, frames: pd.DataFrame, loader: torch.utils.data.DataLoader, size: int
) -> Row:
    batches = Batches(cache, frames, batch_size=BATCH, device=torch.device("cpu"))

    def ours() -> int:
        return sum(len(batch.images) for _ in range(50) for batch in batches.in_order())

    return ratio(
        f"evaluation batches, {size} px", ours, lambda: sum(len(x) for x, *_ in loader),
        against="per-item Dataset", goal=GOALS[size][1],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(GOALS))
    sizes = parser.parse_args().sizes
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_stacks(Path(folder), stacks=STACKS, frames=FRAMES, side=SIDE)
        frames = frames_of(manifest)
        data = DataConfig(source=folder, cache_dir=str(Path(folder) / "cache"))
        for size in sizes:
            cache = open_cache(manifest, data, ImageConfig(size=size))
            for kind, train in ((training, True), (evaluation, False)):
                if GOALS[size][not train]:
                    items = PerItem(frames, size=size, train=train)
                    loader = torch.utils.data.DataLoader(items, batch_size=BATCH, shuffle=train)
                    rows.append(kind(cache, frames, loader, size))
    write("data_path", rows)


if __name__ == "__main__":
    main()
