"""How well each way of reading a field does on simulated plates: wells never seen, several seeds.

Beside trained networks stand what page 03 shows (linear models on frame statistics, the true cells) and
linear models on frozen features. The reference's recipe is its published settings on the demo's network.
Runs that are in the rows file (players.csv) are not trained again: a job that was stopped goes on. Writes
reports/benchmarks/players.md:

    python benchmarks/players.py --seeds 3 --plates demo "second plate"
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from side_by_side import FOLDER, write_page

os.environ["HPICLOCK_PROGRESS"] = "off"

import pandas as pd
from torch import nn

from hpiclock.analysis.linear_probe import linear_probe, principal_components
from hpiclock.config.load import load_config
from hpiclock.config.schema import Config
from hpiclock.inference.predict import embed
from hpiclock.plate.cache import open_cache
from hpiclock.plate.frames import open_plate, prepare_frames, split_frames
from hpiclock.runs.run import Run
from hpiclock.simulate.design import design
from hpiclock.simulate.write import synthesize
from hpiclock.tables import PREDICTIONS
from hpiclock.targets import add_targets
from hpiclock.training.device import place_model
from hpiclock.training.losses import Losses
from hpiclock.training.model import build_model
from hpiclock.workflows.baselines import (
    SCORES,
    STATISTICS,
    TRUE_CELLS,
    baseline_predictions,
    scores,
    simulated_truth,
)
from hpiclock.workflows.study import study_tables
from hpiclock.workflows.train import fit, predict, train

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
PLATES = {"demo": ("demo", 0), "demo, another seed": ("demo", 1), "second plate": ("second-plate", 2)}
ALONE: dict[str, Any] = {"image.context_h": [0]}
WITHOUT = "without training"  # the baselines of page 03 and frozen features, all in one job
FROZEN = "linear models on frozen MobileNetV2 features"
FROZEN_MODEL: dict[str, Any] = {
    "model.backbone": "mobilenet_v2",
    "model.weights": "mobilenet_v2_wheel",
    "model.subtract_mean": False,
    "model.average_turns": False,
}
RECIPE = "one frame, the reference's recipe"
# raw hours and equal weights are set where it is trained (in_raw_hours); the network stays that of the demo
RECIPE_SETTINGS: dict[str, Any] = {
    "model.time_heads": "one",
    "model.hidden_dim": 256,
    "model.dropout": 0.2,
    "model.subtract_mean": False,
    "model.average_turns": False,
    "objective.class_weight": 1.0,
    "objective.time_weight": 1.0,
    "train.epochs": 30,
    "train.lr": 1e-4,
    "train.weight_decay": 5e-4,
    "train.best": "last",
    "train.augment.quarter_turns": False,
    "train.augment.rotate_deg": 15.0,
    "train.augment.contrast": 0.0,
}
PLAYERS: dict[str, dict[str, Any]] = {
    RECIPE: ALONE | RECIPE_SETTINGS,
    "one frame": ALONE,
    "earlier frames too (configs/demo.yaml)": {},
}
DETECTED = "half detected by (hpi)"
NAMES = [*SCORES, DETECTED, "CPU s"]


def scored(predictions: pd.DataFrame, cfg: Config) -> dict[str, float]:
    """Return the scores of the test wells, and when half of the infected fields are detected.

    That is at the lowest threshold whose false alarm rate the control wells of validation can bound.
    """
    rows = study_tables(predictions, cfg)["detection"]
    rows = rows[rows["split"].eq("test") & rows["rule"].eq("controls") & rows["group"].eq("all")]
    return scores(predictions, cfg.study) | {DETECTED: float(rows["half_h"].iloc[0])}


def untrained(cfg: Config, folder: Path) -> dict[str, tuple[pd.DataFrame, float]]:
    """Return PREDICTIONS of what needs no training, and the CPU seconds of each."""
    plate = prepare_frames(cfg)
    cache = open_cache(plate.manifest, cfg.data, cfg.image)
    began = time.process_time()
    found = baseline_predictions(plate.frames, cache, simulated_truth(plate.manifest))
    each = (time.process_time() - began) / len(found)
    made = {name: (predictions, each) for name, predictions in found.items()}
    began = time.process_time()
    model = place_model(build_model(cfg.model, seed=cfg.seed), cfg.train)
    alone = open_cache(plate.manifest, cfg.data, cfg.image.model_copy(update={"context_h": (0.0,)}))
    features = embed(model, alone, plate.frames, folder=folder / "cache")
    z = principal_components(plate.frames, features)
    made[FROZEN] = linear_probe(plate.frames, z, run=FROZEN, seed=0), time.process_time() - began
    return made


def in_raw_hours(cfg: Config, folder: Path) -> pd.DataFrame:
    """Train with smooth L1 of raw hours, as the reference does; return PREDICTIONS."""
    plate, run = open_plate(cfg), Run.start(cfg, folder)
    frames = split_frames(add_targets(plate.frames, cfg.targets), plate.split, cfg)
    model = build_model(cfg.model, seed=cfg.seed)
    losses = Losses(cfg.objective, cfg.model)
    # time is learnt in units of its SD s: s times smooth L1 that turns linear at 1 / s is smooth L1 of hours
    sd = float(frames.loc[frames["split"].eq("train") & frames["label"].notna(), "time_target"].std(ddof=0))
    losses.time_loss, losses.time_weight = nn.SmoothL1Loss(reduction="none", beta=1 / sd), sd
    fit(model, losses, frames, plate, run, say=lambda _: None)
    return predict(model, frames, run)


def job(plate: str, player: str, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Return rows of a player on a plate: the scores, and its CPU seconds, training and tests together."""
    name, plate_seed = PLATES[plate]
    source = folder / plate.replace(" ", "-")
    if not source.exists():
        synthesize(source, design=design(name), seed=plate_seed)
    places = {"data.source": str(source), "data.cache_dir": str(folder / "cache"), "seed": seed}
    cfg = load_config(DEMO, places | (FROZEN_MODEL if player == WITHOUT else PLAYERS[player]))
    if player == WITHOUT:
        made = untrained(cfg, folder)
    else:
        began = time.process_time()
        with tempfile.TemporaryDirectory() as place:
            if player == RECIPE:
                predictions = in_raw_hours(cfg, Path(place) / "run")
            else:
                run = train(cfg, Path(place) / "run", say=lambda _: None)
                predictions = run.read_table("predictions.parquet", PREDICTIONS)
        made = {player: (predictions, time.process_time() - began)}
    return [
        {"plate": plate, "job": player, "player": name, "seed": seed} | scored(of, cfg) | {"CPU s": seconds}
        for name, (of, seconds) in made.items()
    ]


def page(rows: pd.DataFrame) -> list[str]:
    """Return the lines of the page: mean and standard deviation over seeds."""
    lines = [
        "Test wells that were never trained on; mean ± standard deviation over training seeds (the last "
        "column says how many; what is fitted without chance has one). MAE is the mean absolute time "
        "error where the class is given, and under the predicted clock. *Half detected by*: hours after "
        "the onset at which half of the infected fields are detected, at the lowest threshold whose false "
        "alarms the control wells of validation can bound. All read the same split. Networks train as "
        "`configs/demo.yaml` says. The true cells are what gradient boosting makes of the true number of "
        "cells and share with CPE, which no image model is given."
    ]
    if rows["player"].eq(RECIPE).any():
        lines[0] += (
            " The reference's recipe (raw hours, equal weights, 30 epochs, its augmentation, the last "
            "epoch) trains the same ten-layer network."
        )
    for plate, mine in rows.groupby("plate", sort=False):
        lines += ["", f"**{plate}**", "", f"| player | {' | '.join(NAMES)} | seeds |"]
        lines.append("| --- |" + " ---: |" * (len(NAMES) + 1))
        for player, of in mine.groupby("player", sort=False):
            cells = []
            for name in NAMES:
                digits = 0 if name == "CPU s" else 2 if name.endswith(("(h)", "(hpi)")) else 4
                spread = f" ± {of[name].std():.{digits}f}" if len(of) > 1 else ""
                cells.append(f"{of[name].mean():.{digits}f}{spread}")
            lines.append(f"| {player} | {' | '.join(cells)} | {len(of)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plates", nargs="*", default=list(PLATES), choices=list(PLATES))
    parser.add_argument("--players", nargs="*", default=list(PLAYERS), choices=list(PLAYERS))
    options = parser.parse_args()
    kept = FOLDER / "players.csv"
    rows = pd.read_csv(kept).to_dict("records") if kept.is_file() else []
    jobs = [(plate, WITHOUT, 0) for plate in options.plates]
    jobs += [(p, name, s) for s in range(options.seeds) for p in options.plates for name in options.players]
    with tempfile.TemporaryDirectory() as folder:
        for one in jobs:
            if one in {(row["plate"], row["job"], row["seed"]) for row in rows}:
                continue
            rows += job(*one, Path(folder))
            print(rows[-1], flush=True)
            pd.DataFrame(rows).round(5).to_csv(kept, index=False)
    order = {name: i for i, name in enumerate([STATISTICS, FROZEN, *PLAYERS, *TRUE_CELLS])}
    table = pd.DataFrame(rows).sort_values("player", key=lambda names: names.map(order), kind="stable")
    order_of_plates = table["plate"].map(list(PLATES).index).argsort(kind="stable")
    write_page("players", page(table.iloc[order_of_plates]))


if __name__ == "__main__":
    main()
