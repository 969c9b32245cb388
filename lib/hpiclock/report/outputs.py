"""Every output file of a run that comes from its predictions: tables, figures, the reference's files."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.report import plots
from hpiclock.report.reference_files import write_reference_files
from hpiclock.report.runs import Run
from hpiclock.report.words import summary_text
from hpiclock.study.metrics import by_split
from hpiclock.study.threshold import choose_threshold
from hpiclock.study.windows import by_window
from hpiclock.tables import HISTORY, METRICS, PREDICTIONS


def write_outputs(run: Run) -> None:
    """Write ``metrics.csv``, the figures and the reference's files from predictions and history."""
    cfg = run.cfg
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    history = run.read_table("history.csv", HISTORY)
    rng = np.random.default_rng(cfg.seed)
    threshold = choose_threshold(predictions, rule=cfg.study.threshold)
    windows = by_window(
        predictions,
        windows=cfg.windows,
        end_h=cfg.window_end_h,
        threshold=threshold.value,
        study=cfg.study,
        rng=rng,
    )
    whole = by_split(predictions, threshold=threshold.value, study=cfg.study, rng=rng)
    metrics = pd.concat([whole, windows], ignore_index=True)
    run.save_table("metrics.csv", METRICS, metrics)
    _figures(run, predictions, windows, history)
    said = f"P(infected) >= {threshold.value:.3f} ({threshold.note})"
    run.save_text("training_summary.txt", summary_text(run.name, run.notes, said, metrics))
    write_reference_files(run, predictions, metrics, history, threshold)


def _figures(run: Run, predictions: pd.DataFrame, windows: pd.DataFrame, history: pd.DataFrame) -> None:
    tested = history.loc[history["split"].eq("test"), "epoch"]
    best = int(tested.iloc[0]) if len(tested) else None
    test = predictions[predictions["split"].eq("test")]
    of_test = windows[windows["split"].eq("test")]
    level = run.cfg.study.level
    run.save_figure(plots.learning_curves_figure(history, best_epoch=best), "training_curves.png")
    run.save_figure(plots.validation_metrics_figure(history, best_epoch=best), "validation_metrics.png")
    run.save_figure(plots.prediction_scatter_figure(test), "prediction_scatter_regression.png")
    figure = plots.temporal_generalization_figure(of_test, level=level)
    run.save_figure(figure, "temporal_generalization.png")
