"""A run's test frames, read without its network: from statistics, the true cells, the hour alone."""

from pathlib import Path

import numpy as np
import pandas as pd

from hpiclock.analysis.detection import choose_threshold
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.linear_probe import (
    boosted_probe,
    feature_values,
    fit_class_probe,
    fit_time_probe,
    probe,
)
from hpiclock.config.schema import StudyConfig
from hpiclock.plate.cache import FrameCache
from hpiclock.plate.quality import cached_statistics
from hpiclock.runs.run import Run
from hpiclock.tables import FRAMES, MANIFEST, read_any
from hpiclock.workflows.identity import training_cache

STATISTICS = "linear models on frame statistics"
TRUE_CELLS = ("the true cells of the frame", "the true cells, earlier frames too")
COUNTED = ("n_cells", "cpe_fraction")  # of truth.csv: what an eye without error would count
SCORES = {
    "AUC within plate and hour": ("all", "auc_stratified"),
    "after the eclipse": ("after eclipse", "auc_stratified"),
    "MAE, infected (h)": ("infected", "mae"),
    "MAE, mock (h)": ("mock", "mae"),
    "MAE, infected, predicted clock (h)": ("infected", "mae_predicted_clock"),
}
WITHOUT_IMAGES = {"a clock that sees no image": "mae_of_clock", "always the mean": "mae_of_mean"}


def simulated_truth(manifest: pd.DataFrame) -> pd.DataFrame | None:
    """Return the truth of a simulated plate, where ``truth.csv`` stands by the stacks or a folder above."""
    folders = {Path(path).parent for path in manifest["path"]}
    found = sorted(folder / "truth.csv" for folder in folders | {folder.parent for folder in folders})
    there = [read_any(path) for path in found if path.is_file()]
    needed = {"stack_id", "frame", "hpi", "condition", *COUNTED}
    there = [table for table in there if needed <= set(table.columns)]
    return pd.concat(there, ignore_index=True) if there else None


def baseline_predictions(
    frames: pd.DataFrame, cache: FrameCache, truth: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    """Return PREDICTIONS of the wells that are not trained on, by what they are read from.

    Linear models read statistics of single frames. Where there is a ``truth`` (:func:`simulated_truth`),
    gradient boosting reads the number of cells and the share with CPE, of the frame and of what
    ``image.context_h`` names: about what the plate allows. All are fitted on the training wells.

    Raises:
        InputError: training frames of one class only.
    """
    x = feature_values(frames, cached_statistics(cache, frames))
    # fitted as the audit's shortcuts are, so that both pages show one number
    found = {STATISTICS: probe(frames, x, fit_class_probe, fit_time_probe, run=STATISTICS, seed=0)}
    truth = pd.DataFrame({"stack_id": []}) if truth is None else truth[truth["stack_id"].isin(cache.offset)]
    if truth.empty:
        return found
    cells = np.full((len(cache.images), len(COUNTED)), np.nan)
    cells[cache.index(truth)] = truth[list(COUNTED)]
    read = cache.context_rows(frames)  # (rows, frames that are read together)
    for name, n in zip(TRUE_CELLS, sorted({1, read.shape[1]}), strict=False):
        x = cells[read[:, :n]].reshape(len(frames), -1)
        found[name] = boosted_probe(frames, x, run=name, seed=0)
    return found


def scores(predictions: pd.DataFrame, study: StudyConfig) -> dict[str, float]:
    """Return :data:`SCORES` of the test wells; the threshold of the predicted clock is that of validation."""
    threshold = choose_threshold(predictions, rule=study.threshold).value
    test = predictions[predictions["split"].eq("test")]
    metrics = metrics_by_split(test, threshold=threshold, study=study)
    values = metrics.set_index(["group", "metric"])["value"]
    return {name: float(values.get(key, np.nan)) for name, key in SCORES.items()}


def beside_baselines(run: Run, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return :data:`SCORES` of a run's model and of each way to read the same frames without it, a row each.

    Args:
        run: a finished run.
        predictions: its PREDICTIONS.
    """
    cfg = run.cfg
    manifest, frames = run.read_table("manifest.csv", MANIFEST), run.read_table("frames.parquet", FRAMES)
    of_all = {"the model": predictions}
    if frames.loc[frames["split"].eq("train"), "label"].nunique() == 2:
        cache = training_cache(run)
        of_all |= baseline_predictions(frames, cache, simulated_truth(manifest))
    table = pd.DataFrame({name: scores(of, cfg.study) for name, of in of_all.items()}).T
    of_model = metrics_by_split(predictions, threshold=0.5, study=cfg.study)
    of_model = of_model[of_model["split"].eq("test")].set_index(["metric", "group"])["value"]
    for name, metric in WITHOUT_IMAGES.items():
        table.loc[name] = np.nan
        for column, (group, of) in SCORES.items():
            if of == "mae":
                table.loc[name, column] = of_model.get((metric, group), np.nan)
    return table
