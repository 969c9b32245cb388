"""The study of predictions on disk: every table and figure, from a run or from anyone's predictions file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock import figures
from hpiclock.analysis.import_predictions import read_predictions
from hpiclock.analysis.run_study import run_study
from hpiclock.audit.verdict import design_verdict
from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.figures.style import figure_of
from hpiclock.files import write_csv
from hpiclock.runs.results import Tables, first_threshold_rule, of_split, write_tables
from hpiclock.runs.run import DESIGN, write_figures
from hpiclock.tables import PREDICTIONS, write


def study_tables(predictions: pd.DataFrame, cfg: Config) -> Tables:
    """Return every table of the study, judged as the config says."""
    return run_study(
        predictions,
        cfg_windows=cfg.windows,
        end_h=cfg.window_end_h,
        cfg_study=cfg.study,
        cfg_audit=cfg.audit,
        seed=cfg.seed,
    )


def study_file(source: str | Path, out: Path, cfg: Config) -> list[str]:
    """Study a predictions file (Parquet, CSV or the reference's NPZ); return what it lacks, in words.

    Args:
        source: the file.
        out: a folder; it gets ``metrics.csv``, ``tables/``, ``figures/``, ``predictions.parquet`` and the
            design's part of the audit, ``design_verdict.csv``.
        cfg: windows and how predictions are judged.

    Raises:
        InputError: a file that is no predictions file.
    """
    predictions, notes = read_predictions(source)
    if out.is_file():
        raise InputError(f"{out}: is a file; name a folder with --out")
    tables = study_tables(predictions, cfg)
    write(PREDICTIONS, predictions, out / "predictions.parquet")
    write_tables(tables, out)
    write_csv(design_verdict(predictions), out / DESIGN)
    write_figures(study_figures(tables, predictions, cfg), out / "figures")
    return notes


def study_figures(tables: Tables, predictions: pd.DataFrame, cfg: Config) -> dict[str, Figure]:
    """Return every figure of the study by name; of the test split, or of what there is.

    With several runs in the table each figure shows the first.
    """
    split = "test" if predictions["split"].eq("test").any() else str(predictions["split"].iloc[0])
    rows = predictions[predictions["split"].eq(split)]
    run = rows["run"].iloc[0]
    rows = rows[rows["run"].eq(run)]
    level, cut = cfg.study.level, float(tables["threshold"]["value"].iloc[0])

    def part(name: str) -> pd.DataFrame:
        table = of_split(tables, name, split) if "split" in tables[name] else tables[name]
        return table[table["run"].eq(run)] if "run" in table else table

    metrics = part("metrics")
    auc = metrics[metrics["metric"].eq("auc") & metrics["group"].eq("all")]
    curves, by_hpi = part("detection_curves"), part("windows_hpi")
    drawn: dict[str, Axes | Figure] = {
        "classes": figures.classes_figure(part("roc"), auc, part("confusion"), level=level, threshold=cut),
        "reliability": figures.reliability(part("reliability"), level=level),
        "score_over_hours": figures.score_over_hours(rows, threshold=cut),
        "prediction_scatter": figures.prediction_scatter_figure(rows, part("time_lines")),
        "residual_over_hours": figures.residual_over_hours(part("residuals")),
        "temporal_generalization": figures.temporal_generalization_figure(part("windows_hours"), level=level),
        "auc_by_hpi": figures.metric_by_window(by_hpi, metric="auc_stratified", level=level, clock="hpi"),
        "detection": figures.detection_curve(first_threshold_rule(curves), level=level),
    }
    for clock in predictions["clock"].unique():
        drawn[f"agreement_{clock}"] = figures.bland_altman(rows, part("agreement"), clock=clock, level=level)
    return {name: figure_of(figure) for name, figure in drawn.items()}
