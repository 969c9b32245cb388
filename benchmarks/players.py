"""How well each way of reading a field does on simulated plates: wells never seen, several seeds.

The linear models on frame statistics are those that the audit compares with. Trained models differ in their
config alone. Runs that are in the rows file are not trained again. Writes reports/benchmarks/players.md:

    python benchmarks/players.py --seeds 3
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

from hpiclock.analysis.linear_probe import linear_probe, principal_components
from hpiclock.config.load import load_config
from hpiclock.config.schema import Config
from hpiclock.plate.cache import open_cache
from hpiclock.plate.frames import prepare_frames
from hpiclock.plate.quality import cached_statistics
from hpiclock.simulate.design import design
from hpiclock.simulate.write import synthesize
from hpiclock.tables import PREDICTIONS
from hpiclock.workflows.study import study_tables
from hpiclock.workflows.train import train

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
PLATES = {"demo": ("demo", 0), "demo, another seed": ("demo", 1), "second plate": ("second-plate", 2)}
ALONE: dict[str, Any] = {"image.context_h": [0]}
LINEAR = "linear models on frame statistics"
PLAYERS: dict[str, dict[str, Any]] = {
    "one frame, one time head": ALONE | {"model.time_heads": "one"},
    "one frame, a time head per clock": ALONE,
    "earlier frames too (configs/demo.yaml)": {},
}
SCORES = {
    "AUC within plate and hour": ("all", "auc_stratified"),
    "after the eclipse": ("after eclipse", "auc_stratified"),
    "time error, infected (h)": ("infected", "mae"),
    "mock (h)": ("mock", "mae"),
    "infected, predicted clock (h)": ("infected", "mae_predicted_clock"),
}


def scores(predictions: pd.DataFrame, cfg: Config) -> dict[str, float]:
    """Return the scores of the test wells."""
    metrics = study_tables(predictions, cfg)["metrics"]
    metrics = metrics[metrics["split"].eq("test") & metrics["start_h"].isna()]
    values = metrics.set_index(["group", "metric"])["value"]
    return {name: float(values[key]) for name, key in SCORES.items()}


def linear(cfg: Config) -> pd.DataFrame:
    """Return PREDICTIONS of linear models on the statistics of single frames."""
    plate = prepare_frames(cfg)
    cache = open_cache(plate.manifest, cfg.data, cfg.image)
    z = principal_components(plate.frames, cached_statistics(cache, plate.frames))
    return linear_probe(plate.frames, z, run="linear", seed=0)


def one(plate: str, player: str, seed: int, folder: Path) -> dict[str, Any]:
    """Return the scores of a player on a plate, and its CPU seconds, training and tests together."""
    name, plate_seed = PLATES[plate]
    source = synthesize(folder / plate.replace(" ", "-"), design=design(name), seed=plate_seed)
    places = {"data.source": str(source), "data.cache_dir": str(folder / "cache"), "seed": seed}
    cfg = load_config(DEMO, places | PLAYERS.get(player, ALONE))
    began = time.process_time()
    if player == LINEAR:
        predictions = linear(cfg)
    else:
        with tempfile.TemporaryDirectory() as place:
            run = train(cfg, Path(place) / "run", say=lambda _: None)
            predictions = run.read_table("predictions.parquet", PREDICTIONS)
    seconds = time.process_time() - began
    return {"plate": plate, "player": player, "seed": seed} | scores(predictions, cfg) | {"CPU s": seconds}


def page(rows: pd.DataFrame) -> list[str]:
    """Return the lines of the page: mean and standard deviation over seeds."""
    names = [*SCORES, "CPU s"]
    lines = [
        "Test wells that were never trained on; mean ± standard deviation over training seeds. Time errors "
        "are mean absolute ones where the class is given (true clock), as linear models have it, and under "
        "the predicted clock. All read the same split, and train as `configs/demo.yaml` says.",
    ]
    for plate, mine in rows.groupby("plate", sort=False):
        lines += ["", f"**{plate}**", "", f"| player | {' | '.join(names)} | seeds |"]
        lines.append("| --- |" + " ---: |" * (len(names) + 1))
        for player, of in mine.groupby("player", sort=False):
            cells = []
            for name in names:
                digits = 0 if name == "CPU s" else 2 if name.endswith("(h)") else 4
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
    options = parser.parse_args()
    kept = FOLDER / "players.csv"
    rows = pd.read_csv(kept).to_dict("records") if kept.is_file() else []
    done = {(row["plate"], row["player"], row["seed"]) for row in rows}
    jobs = [(plate, LINEAR, 0) for plate in options.plates]
    jobs += [(plate, name, s) for s in range(options.seeds) for plate in options.plates for name in PLAYERS]
    with tempfile.TemporaryDirectory() as folder:
        for plate, player, seed in jobs:
            if (plate, player, seed) in done:
                continue
            rows.append(one(plate, player, seed, Path(folder)))
            print(rows[-1])
            pd.DataFrame(rows).round(5).to_csv(kept, index=False)
    order = [LINEAR, *PLAYERS]
    table = pd.DataFrame(rows).sort_values("player", key=lambda names: names.map(order.index), kind="stable")
    write_page(
        "players", page(table.sort_values("plate", key=lambda p: p.map(list(PLATES).index), kind="stable"))
    )


if __name__ == "__main__":
    main()
