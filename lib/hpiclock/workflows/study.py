"""The study of predictions on disk: every table and figure, from a run or from anyone's predictions file."""

import re
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock import figures
from hpiclock.analysis.import_predictions import read_predictions
from hpiclock.analysis.run_study import run_study
from hpiclock.analysis.sentences import part_of
from hpiclock.analysis.units import reported_rows, reported_split
from hpiclock.audit.verdict import design_verdict
from hpiclock.config.schema import Config
from hpiclock.figures.style import figure_of
from hpiclock.files import check_output_folder, write_csv
from hpiclock.runs.results import Tables, first_threshold_rule, write_tables
from hpiclock.runs.run import CONFIG, DESIGN, Run, outputs_of, write_figures
from hpiclock.tables import PREDICTIONS, write
from hpiclock.workflows.identity import check_identity


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
        InputError: a file that is no predictions file, or a folder that holds anything but an earlier study.
    """
    check_output_folder(out, over=[source], own=outputs_of(DESIGN))
    predictions, notes = read_predictions(source)
    if (Path(source).parent / CONFIG).is_file():
        check_identity(Run.open(Path(source).parent), say=notes.append)
    tables = study_tables(predictions, cfg)
    write(PREDICTIONS, predictions, out / "predictions.parquet")
    write_tables(tables, out)
    write_csv(design_verdict(predictions), out / DESIGN)
    write_figures(study_figures(tables, predictions, cfg), out / "figures")
    return notes


def study_figures(tables: Tables, predictions: pd.DataFrame, cfg: Config) -> dict[str, Figure]:
    """Return every figure of the study by name, of the split that is reported.

    Of several runs each has its own, named after it: ``a_classes``, ``b_classes``.
    """
    drawn: dict[str, Figure] = {}
    runs = list(predictions.groupby("run", sort=True))
    for run, of_run in runs:
        prefix = re.sub(r"[^\w.-]+", "-", f"{run}_") if len(runs) > 1 else ""
        named = _figures_of_run(tables, str(run), reported_rows(of_run), cfg)
        drawn |= {f"{prefix}{name}": figure_of(figure) for name, figure in named.items()}
    return drawn


def _figures_of_run(tables: Tables, run: str, rows: pd.DataFrame, cfg: Config) -> dict[str, Axes | Figure]:
    level, cut = cfg.study.level, float(tables["threshold"]["value"].iloc[0])

    def part(name: str) -> pd.DataFrame:
        return part_of(tables[name], run=run, split=reported_split(rows))

    metrics = part("metrics")
    auc = metrics[metrics["metric"].eq("auc") & metrics["group"].eq("all")]
    curves, by_hpi = part("detection_curves"), part("windows_hpi")
    rules = part_of(tables["detection_thresholds"], run=run)
    drawn: dict[str, Axes | Figure] = {
        "classes": figures.classes_figure(part("roc"), auc, part("confusion"), level=level, threshold=cut),
        "reliability": figures.reliability(part("reliability"), level=level),
        "score_over_hours": figures.score_over_hours(rows, threshold=cut),
        "prediction_scatter": figures.prediction_scatter_figure(rows, part("time_lines")),
        "residual_over_hours": figures.residual_over_hours(part("residuals")),
        "temporal_generalization": figures.temporal_generalization_figure(part("windows_hours"), level=level),
        "auc_by_hpi": figures.metric_by_window(by_hpi, metric="auc_stratified", level=level, clock="hpi"),
        "detection": figures.detection_curve(first_threshold_rule(curves, rules), level=level),
    }
    for clock in rows["clock"].unique():
        drawn[f"agreement_{clock}"] = figures.bland_altman(rows, part("agreement"), clock=clock, level=level)
    return drawn
