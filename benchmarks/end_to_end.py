"""From TIFF files to a trained model, and to predictions: hpiclock against the usual loader and loop.

Both train a ResNet-18 at 96 px for some epochs on one thread, from stacks on disk that were just written;
ours converts them first, and that counts. The usual way opens a TIFF for every frame of every epoch, makes
three equal channels, and takes plain steps in float32. Predictions: a pass over all frames, the cache there.
How far one could get is measured, too: the network on a batch that is in memory, with nothing to read. That
is an upper bound: it is held against a single epoch of the usual way, whose set-up counts.

    python benchmarks/end_to_end.py        writes reports/benchmarks/end_to_end.md
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from itertools import count
from pathlib import Path

from side_by_side import one_thread, ratio, write

one_thread()
os.environ["HPICLOCK_PROGRESS"] = "off"

import torch
from torch import nn

from hpiclock.config.load import config_of
from hpiclock.config.schema import Config, DataConfig
from hpiclock.plate.cache import open_cache
from hpiclock.training.batches import Batches
from hpiclock.training.device import autocast, pick_precision
from hpiclock.training.evaluate import predict
from hpiclock.training.losses import Losses
from hpiclock.training.model import TwoHeads, build_model
from loops import bare, training
from per_item import PerItem
from stacks import frames_of, write_stacks

CPU = torch.device("cpu")


def settings(size: int, epochs: int, batch: int, channels: int) -> Config:
    return config_of(
        {
            "image.size": size, "model.backbone": "resnet18", "model.in_channels": channels,
            "train.epochs": epochs, "train.batch_size": batch, "train.threads": 1,
        }
    )  # fmt: skip


def usual(cfg: Config, loader: torch.utils.data.DataLoader) -> int:
    """Train as most labs do; return how many frames were seen."""
    torch.manual_seed(0)
    model = usual_model(cfg).train()
    objective = Losses(cfg.objective, cfg.model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=cfg.train.lr)
    n = 0
    for _ in range(cfg.train.epochs):
        for images, label, hours in loader:
            optimiser.zero_grad()
            objective(model, model(images), label, hours.float()).total.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            n += len(images)
    return n


def usual_model(cfg: Config) -> TwoHeads:
    """Return the same model, fed with three equal channels."""
    model = build_model(cfg.model)
    model.in_channels = 1  # the loader brings all three
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cfg, three = (settings(options.size, options.epochs, 32, channels) for channels in (1, 3))
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_stacks(Path(folder), stacks=4, frames=32, side=512)
        frames, numbers = frames_of(manifest), count()

        def data() -> DataConfig:
            return DataConfig(source=folder, cache_dir=str(Path(folder) / f"cache{next(numbers)}"))

        def ours() -> int:
            cache = open_cache(manifest, data(), cfg.image)
            train = Batches(cache, frames, batch_size=32, device=CPU)
            val = Batches(cache, frames.iloc[:2], batch_size=2, device=CPU)
            training(cfg, train, val)(str)
            return len(frames) * options.epochs

        def loader(train: bool) -> torch.utils.data.DataLoader:
            items = PerItem(frames, size=options.size, train=train)
            return torch.utils.data.DataLoader(items, batch_size=32, shuffle=train)

        kept = Batches(open_cache(manifest, data(), cfg.image), frames, batch_size=32, device=CPU)
        model, plain = build_model(cfg.model).to(memory_format=torch.channels_last), usual_model(three).eval()
        model.precision = pick_precision(cfg.train, model, CPU)
        best = str(model.precision).removeprefix("torch.")

        def answers() -> int:
            return len(predict(model, kept).time)

        @torch.no_grad()
        def usual_answers() -> int:
            return sum(len(plain(images).time) for images, *_ in loader(train=False))

        steps, _ = bare(cfg, kept)
        there = next(kept.in_order()).images

        @torch.no_grad()
        def passes() -> int:
            with autocast(CPU, model.precision):
                return len(model.eval()(there).time)

        what, short = f"ResNet-18, {options.size} px", settings(options.size, 1, 32, 3)
        usually = partial(ratio, against="usual loader and loop")
        rows = [
            usually(f"training from TIFFs with its conversion, {what}, {options.epochs} epochs, {best}", ours,
                    lambda: usual(three, loader(train=True)), goal=1.3, repeats=options.repeats),
            usually(f"steps that read nothing, {what}, {best}", steps,
                    lambda: usual(short, loader(train=True)), goal=None),
            usually(f"predicting, {what}, {best}", answers, usual_answers, goal=3.2),
            usually(f"passes that read nothing, {what}, {best}", passes, usual_answers, goal=None),
        ]  # fmt: skip
    missing = "bfloat16 (goal 2.4): this processor has no units for it" if best == "float32" else ""
    write("end_to_end", rows, notes={"Not measured": missing} if missing else None)


if __name__ == "__main__":
    main()
