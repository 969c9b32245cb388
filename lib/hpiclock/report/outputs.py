"""Every output file of a run that comes from its predictions: tables, figures, the reference's files."""

from __future__ import annotations

import pandas as pd

from hpiclock.report import plots
from hpiclock.report.reference_files import write_reference_files
from hpiclock.report.runs import Run
from hpiclock.report.studies import Tables, of_split, study, write_tables
from hpiclock.report.words import summary_text
from hpiclock.study.threshold import Threshold
from hpiclock.tables import HISTORY, METRICS, PREDICTIONS


def write_outputs(run: Run) -> None:
    """Write the study's tables, the figures and the reference's files from predictions and history."""
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    history = run.read_table("history.csv", HISTORY)
    tables = study(predictions, run.cfg)
    write_tables(tables, run.folder)
    _figures(run, tables, predictions, history)
    threshold = Threshold(**tables["threshold"].iloc[0].to_dict())
    said = f"P(infected) >= {threshold.value:.3f} ({threshold.note})"
    run.save_text("training_summary.txt", summary_text(run.name, run.notes, said, tables["metrics"]))
    metrics = run.read_table("metrics.csv", METRICS)
    write_reference_files(run, predictions, metrics, history, threshold)


def best_epoch(history: pd.DataFrame) -> int:
    """Return the epoch that was tested."""
    return int(history.loc[history["split"].eq("test"), "epoch"].iloc[0])


def _figures(run: Run, tables: Tables, predictions: pd.DataFrame, history: pd.DataFrame) -> None:
    best = best_epoch(history)
    test = predictions[predictions["split"].eq("test")]
    run.save_figure(plots.learning_curves_figure(history, best_epoch=best), "training_curves.png")
    run.save_figure(plots.validation_metrics_figure(history, best_epoch=best), "validation_metrics.png")
    scatter = plots.prediction_scatter_figure(test, of_split(tables, "time_lines"))
    run.save_figure(scatter, "prediction_scatter_regression.png")
    windows = of_split(tables, "windows_hours")
    over_time = plots.temporal_generalization_figure(windows, level=run.cfg.study.level)
    run.save_figure(over_time, "temporal_generalization.png")
