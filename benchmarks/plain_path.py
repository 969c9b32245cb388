"""No accuracy is traded for speed: the demo trained by the fast path and by a plain one, same seeds.

The plain path is what a lab writes in an afternoon: a Dataset that opens a TIFF for every item, Pillow for
the pixels and their changes, contiguous float32 images, the losses and AdamW of torch, one loop. Only the
network's layers are shared. Both choose their epoch on validation frames; both are judged on test frames.
Needs the demo plate (hpiclock synth data/demo). Writes reports/benchmarks/plain_path.md:
python benchmarks/plain_path.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from side_by_side import one_thread, write_page

one_thread()
os.environ["HPICLOCK_PROGRESS"] = "off"

import numpy as np
import pandas as pd
import tifffile
import torch
from PIL import Image
from sklearn.metrics import f1_score, mean_absolute_error, roc_auc_score
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as TF

from hpiclock.config.load import load_config
from hpiclock.config.schema import Config
from hpiclock.plate.cache import open_cache
from hpiclock.plate.frames import prepare_frames
from hpiclock.training.batches import Batches
from hpiclock.training.device import place_model
from hpiclock.training.evaluate import output_table, predict
from hpiclock.training.loop import fit
from hpiclock.training.losses import Losses, trainable_frames
from hpiclock.training.model import build_model

RANGE_H = 48.0
SCORES = ("AUC after the eclipse", "AUC, all labelled frames", "MAE of infected frames, h")


class Items(Dataset):
    """Frames one by one from their TIFFs, cut, stretched and shrunk by Pillow: (1, size, size) float32."""

    def __init__(self, frames: pd.DataFrame, cfg: Config, *, train: bool) -> None:
        self.rows = frames[["path", "frame", "label", "time_target"]].to_numpy(object)
        self.image, self.augment, self.train = cfg.image, cfg.train.augment, train
        self.rng = np.random.default_rng(cfg.seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, np.float32]:
        path, frame, label, hours = self.rows[index]
        plane = tifffile.imread(path, key=int(frame)).astype(float)
        edge = round(self.image.crop_border * len(plane))
        low, high = self.image.low, self.image.high
        grey = (plane[edge : len(plane) - edge, edge : len(plane) - edge] - low) / (high - low)
        picture = Image.fromarray(np.rint(grey.clip(0, 1) * 255).astype(np.uint8))
        picture = picture.resize((self.image.size, self.image.size), Image.Resampling.BILINEAR)
        image = TF.to_tensor(self._changed(picture) if self.train else picture)
        if self.train:
            contrast = 1 + self.rng.uniform(-self.augment.contrast, self.augment.contrast)
            image = ((image - 0.5) * contrast + 0.5).clamp(0, 1)
        return (image - 0.5) / 0.25, int(label), np.float32(hours)

    def _changed(self, picture: Image.Image) -> Image.Image:
        for turn in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
            if self.rng.random() < 0.5:
                picture = picture.transpose(turn)
        return picture.rotate(90 * int(self.rng.integers(4)))


class Predicted(NamedTuple):
    """Predictions of test frames: P(infected) and hours, each (frames,)."""

    p: np.ndarray
    hours: np.ndarray


def by_the_plain_path(cfg: Config, frames: pd.DataFrame) -> Predicted:
    """Train as a lab would; return what the best epoch says of the test frames."""
    torch.manual_seed(cfg.seed)
    known = frames[frames["label"].notna()]
    parts = {split: known[known["split"].eq(split)] for split in ("train", "val")}
    loader = DataLoader(Items(parts["train"], cfg, train=True), batch_size=cfg.train.batch_size,
                        shuffle=True, drop_last=True)  # fmt: skip
    model = build_model(cfg.model)
    mean, sd = parts["train"]["time_target"].mean(), parts["train"]["time_target"].std()
    optimiser = torch.optim.AdamW(model.parameters(), lr=cfg.train.lr, weight_decay=cfg.train.weight_decay)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, cfg.train.epochs * len(loader))
    top, best = -np.inf, model.state_dict()
    for _ in range(cfg.train.epochs):
        model.train()
        for images, label, hours in loader:
            output = model(images)
            of_time = F.smooth_l1_loss(output.time, ((hours - mean) / sd).float())
            loss = F.cross_entropy(output.class_logits, label) + cfg.objective.time_weight * of_time
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.train.clip_norm)
            optimiser.step()
            rates.step()
        p, hours = predictions_of(model, parts["val"], cfg, mean, sd)
        late = mean_absolute_error(parts["val"]["time_target"], hours)
        score = 0.6 * f1_score(parts["val"]["label"].astype(int), p > 0.5) + 0.4 * (1 - late / RANGE_H)
        if score > top:
            top, best = score, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(best)
    return predictions_of(model, frames[frames["split"].eq("test")], cfg, mean, sd)


@torch.no_grad()
def predictions_of(
    model: torch.nn.Module, frames: pd.DataFrame, cfg: Config, mean: float, sd: float
) -> Predicted:
    model.eval()
    items = Items(frames.assign(label=frames["label"].fillna(-1)), cfg, train=False)
    loader = DataLoader(items, batch_size=64)
    outputs = [model(images) for images, *_ in loader]
    p = torch.cat([part.class_logits for part in outputs]).softmax(1)[:, 1]
    return Predicted(p.numpy(), (torch.cat([part.time for part in outputs]) * sd + mean).numpy())


def by_the_fast_path(cfg: Config, frames: pd.DataFrame, manifest: pd.DataFrame) -> Predicted:
    cache = open_cache(manifest, cfg.data, cfg.image)
    model = place_model(build_model(cfg.model, seed=cfg.seed), cfg.train)

    def batches(rows: pd.DataFrame) -> Batches:
        return Batches(cache, rows, batch_size=cfg.train.batch_size, device=model.device)

    usable = frames[trainable_frames(frames, cfg.model)]
    train, val = (batches(usable[usable["split"].eq(split)]) for split in ("train", "val"))
    with tempfile.TemporaryDirectory() as folder:
        fit(model, Losses(cfg.objective, cfg.model), train, val, cfg, Path(folder), say=lambda _: None)
    test = output_table(model, predict(model, batches(frames[frames["split"].eq("test")])))
    return Predicted(test["p_infected"].to_numpy(), test["time_pred"].to_numpy())


def scored(test: pd.DataFrame, predicted: Predicted, eclipse_h: float) -> list[float]:
    """Return :data:`SCORES`."""
    known = test["label"].notna().to_numpy()
    infected = test["label"].eq(1).fillna(False).to_numpy(bool)
    late = (test["condition"].eq("mock") | (test["hpi"] >= eclipse_h)).to_numpy(bool)
    return [
        roc_auc_score(test["condition"][late].eq("infected"), predicted.p[late]),
        roc_auc_score(infected[known], predicted.p[known]),
        mean_absolute_error(test["time_target"][infected], predicted.hours[infected]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", default="configs/demo.yaml")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[list[float]]] = {"fast": [], "plain": []}
    for seed in range(options.seeds):
        cfg = load_config(options.config, {"seed": seed, "train.threads": 1})
        dataset = prepare_frames(cfg)
        test = dataset.frames[dataset.frames["split"].eq("test")]
        for path in found:
            began = time.process_time()
            predicted = (
                by_the_fast_path(cfg, dataset.frames, dataset.manifest)
                if path == "fast"
                else by_the_plain_path(cfg, dataset.frames)
            )
            found[path].append(scored(test, predicted, cfg.study.eclipse_h))
            seconds = time.process_time() - began
            print(f"seed {seed}, {path}: {np.round(found[path][-1], 4).tolist()}, {seconds:.0f} s of CPU")
    write_page("plain_path", table(np.array(found["fast"]), np.array(found["plain"])))


def table(fast: np.ndarray, plain: np.ndarray) -> list[str]:
    """Return Markdown of two arrays (seeds, scores): means, spreads, and the difference over its error."""
    lines = [
        "| test score | fast path, mean (SD of seeds) | plain path, mean (SD of seeds) | difference "
        "| twice its standard error | within |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    n = len(fast)
    for i, name in enumerate(SCORES):
        difference = fast[:, i].mean() - plain[:, i].mean()
        noise = 2 * np.sqrt((fast[:, i].var(ddof=1) + plain[:, i].var(ddof=1)) / n)
        sides = (f"{side[:, i].mean():.4f} ({side[:, i].std(ddof=1):.4f})" for side in (fast, plain))
        inside = "yes" if abs(difference) <= noise else "no"
        lines.append(f"| {name} | {' | '.join(sides)} | {difference:+.4f} | {noise:.4f} | {inside} |")
    return [*lines, "", f"{n} seeds of weights, order and changes on the same split of the demo plate."]


if __name__ == "__main__":
    main()
