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
from hpiclock.figures.style import figure_of, in_one_column
from hpiclock.files import check_output_folder, write_csv
from hpiclock.runs.results import Tables, first_threshold_rule, write_tables
from hpiclock.runs.run import CONFIG, DESIGN, Run, outputs_of, write_figures
from hpiclock.tables import PREDICTIONS, write
from hpiclock.workflows.identity import check_identity

Drawn = tuple[Figure, pd.DataFrame]  # a figure and what it shows


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
        out: a folder; it gets ``metrics.csv``, ``tables/``, ``figures/`` (PNG, PDF, SVG and table
            of each), ``predictions.parquet`` and the design's part of the audit, ``design_verdict.csv``.
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
    _write_for_a_journal(study_figures(tables, predictions, cfg), out / "figures")
    return notes


def _write_for_a_journal(drawn: dict[str, Drawn], folder: Path) -> None:
    """Write each figure two columns wide and, if it has one panel, one column wide, and its table as CSV."""
    wide = {name: figure for name, (figure, _) in drawn.items()}
    write_figures(wide, folder, (".png", ".pdf", ".svg"))
    narrow = {f"{name}_one_column": in_one_column(figure) for name, figure in wide.items()}
    write_figures({name: figure for name, figure in narrow.items() if figure}, folder, (".pdf", ".svg"))
    for name, (_, table) in drawn.items():
        write_csv(table.drop(columns="path", errors="ignore"), folder / f"{name}.csv")


def study_figures(tables: Tables, predictions: pd.DataFrame, cfg: Config) -> dict[str, Drawn]:
    """Return every figure of the study with its table by name, of the split that is reported.

    Of several runs each has its own, named after it: ``a_classes``, ``b_classes``.
    """
    drawn: dict[str, Drawn] = {}
    runs = list(predictions.groupby("run", sort=True))
    for run, of_run in runs:
        prefix = re.sub(r"[^\w.-]+", "-", f"{run}_") if len(runs) > 1 else ""
        named = _figures_of_run(tables, str(run), reported_rows(of_run), cfg)
        drawn |= {f"{prefix}{name}": (figure_of(figure), table) for name, (figure, table) in named.items()}
    return drawn


def _figures_of_run(
    tables: Tables, run: str, rows: pd.DataFrame, cfg: Config
) -> dict[str, tuple[Axes | Figure, pd.DataFrame]]:
    level, cut = cfg.study.level, float(tables["threshold"]["value"].iloc[0])

    def part(name: str) -> pd.DataFrame:
        return part_of(tables[name], run=run, split=reported_split(rows))

    metrics = part("metrics")
    auc = metrics[metrics["metric"].eq("auc") & metrics["group"].eq("all")]
    roc, bins, scatter, residuals = map(part, ("roc", "reliability", "time_lines", "residuals"))
    by_hours, by_hpi, limits = map(part, ("windows_hours", "windows_hpi", "agreement"))
    found = first_threshold_rule(part("detection_curves"), part_of(tables["detection_thresholds"], run=run))
    drawn: dict[str, tuple[Axes | Figure, pd.DataFrame]] = {
        "classes": (figures.classes_figure(roc, auc, part("confusion"), level=level, threshold=cut), roc),
        "reliability": (figures.reliability(bins, level=level), bins),
        "score_over_hours": (figures.score_over_hours(rows, threshold=cut), rows),
        "prediction_scatter": (figures.prediction_scatter_figure(rows, scatter), rows),
        "residual_over_hours": (figures.residual_over_hours(residuals), residuals),
        "temporal_generalization": (
            figures.temporal_generalization_figure(by_hours, level=level),
            by_hours,
        ),
        "auc_by_hpi": (
            figures.metric_by_window(by_hpi, metric="auc_stratified", level=level, clock="hpi"),
            part_of(by_hpi, metric="auc_stratified"),
        ),
        "detection": (figures.detection_curve(found, level=level), found),
    }
    for clock in rows["clock"].unique():
        figure = figures.bland_altman(rows, limits, clock=clock, level=level)
        drawn[f"agreement_{clock}"] = figure, part_of(rows, clock=clock)
    return drawn
