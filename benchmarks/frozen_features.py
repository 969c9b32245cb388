"""Seventy linear probes against the extraction of the features that they read.

Extraction is measured on some hundred frames (its cost a frame is constant) and counted for all; probes are
measured on all rows, as `hpiclock sweep configs/sweeps/intervals.yaml` fits them. Writes
reports/benchmarks/frozen_features.md: python benchmarks/frozen_features.py
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import count
from pathlib import Path

from side_by_side import one_thread, ratio, write

one_thread()

import numpy as np
import pandas as pd
import torch

from hpiclock.analysis.linear_probe import linear_probe, principal_components
from hpiclock.config.load import config_of
from hpiclock.inference.predict import embed
from hpiclock.plate.cache import FrameCache
from hpiclock.simulate.predictions import Simulation, simulate_predictions
from hpiclock.training.device import place_model
from hpiclock.training.model import build_model

PROBES = 70


def rows_like(n: int) -> pd.DataFrame:
    """Return FRAMES of about ``n`` rows, split by well."""
    design = Simulation(wells=52, stacks=1, hours=48.0, interval_h=48.0 * 104 / n)
    rows = (
        simulate_predictions(design, rng=np.random.default_rng(0), splits=("test",))
        .iloc[:n]
        .reset_index(drop=True)
    )
    split = pd.Series(pd.factorize(rows["well"])[0] % 5).map({0: "test", 1: "val"}).fillna("train")
    return rows.drop(columns=["p_infected", "time_pred", "run", "seed"]).assign(split=split.to_numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=9500)
    parser.add_argument("--extracted", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cfg = config_of({"image.size": options.size, "model.backbone": "resnet18", "train.threads": 1})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.extracted, options.size, options.size), dtype=np.uint8)
    cache = FrameCache(images, {"a": 0}, "benchmark")
    some = pd.DataFrame({"stack_id": "a", "frame": np.arange(options.extracted), "time_target": 0.0})
    some = some.assign(label=pd.array([0] * len(some), dtype="Int8"))
    model = place_model(build_model(cfg.model, seed=cfg.seed, pretrained=False), cfg.train)
    frames = rows_like(options.frames)
    hidden = rng.normal(size=(len(frames), 24)) + frames["label"].fillna(0).to_numpy(float)[:, None] * 0.3
    features = pd.DataFrame(np.maximum(hidden @ rng.normal(size=(24, 512)), 0)).add_prefix("f")
    features = pd.concat([frames[["stack_id", "frame"]], features.astype("float32")], axis=1)

    with tempfile.TemporaryDirectory() as folder:
        places = count()

        def extraction() -> int:  # in frames of the whole plate
            place = Path(folder) / str(next(places))
            embed(model, cache, some, folder=place)
            return options.extracted

        def probes() -> int:
            z = principal_components(frames, features)
            for seed in range(PROBES):
                linear_probe(frames, z, run="bench", seed=seed)
            return len(frames)

        row = ratio(
            f"{PROBES} probes of {len(frames):,} frames", probes, extraction,
            against=f"extraction, ResNet-18 at {options.size} px", goal=20, repeats=options.repeats,
        )  # fmt: skip
    share = f"the probes take {1 / row.ratio:.1%} of the time of the extraction; asked for at most 5%"
    write("frozen_features", [row], notes={"Share": share})


if __name__ == "__main__":
    main()
