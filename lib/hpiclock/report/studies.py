"""The study of predictions on disk: every table and figure, from a run or from anyone's predictions file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpiclock.config import Config
from hpiclock.errors import InputError
from hpiclock.files import atomic
from hpiclock.report import plots
from hpiclock.report.plots.style import figure_of
from hpiclock.report.runs import write_figure
from hpiclock.study.everything import run_study
from hpiclock.study.foreign import read_predictions
from hpiclock.tables import METRICS, PREDICTIONS, read_any, write

Tables = dict[str, pd.DataFrame]
FOLDER = "tables"  # in a run's or study's folder: one CSV per table
LARGE = "time_intervals"  # a row per test frame: Parquet


def study(predictions: pd.DataFrame, cfg: Config) -> Tables:
    """Return every table of the study, judged as the config says."""
    return run_study(
        predictions, cfg_windows=cfg.windows, end_h=cfg.window_end_h, cfg_study=cfg.study, seed=cfg.seed
    )


def study_file(source: str | Path, out: Path, cfg: Config) -> list[str]:
    """Study a predictions file (Parquet, CSV or the reference's NPZ); return what it lacks, in words.

    Args:
        source: the file.
        out: a folder; it gets ``metrics.csv``, ``tables/``, ``figures/`` and ``predictions.parquet``.
        cfg: windows and how predictions are judged.

    Raises:
        InputError: a file that is no predictions file.
    """
    predictions, notes = read_predictions(source)
    if out.is_file():
        raise InputError(f"{out}: is a file; name a folder with --out")
    tables = study(predictions, cfg)
    write(PREDICTIONS, predictions, out / "predictions.parquet")
    write_tables(tables, out)
    for name, figure in figures(tables, predictions, cfg).items():
        for suffix in (".png", ".svg"):
            write_figure(figure, out / "figures" / f"{name}{suffix}")
    return notes


def write_tables(tables: Tables, folder: Path) -> None:
    """Write ``metrics.csv`` (over all hours, and per window of hours) and each table under ``tables/``."""
    both = pd.concat([tables["metrics"], tables["windows_hours"]], ignore_index=True)
    write(METRICS, both, folder / "metrics.csv")
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        path = folder / FOLDER / (f"{name}.parquet" if name == LARGE else f"{name}.csv")
        table = table.drop(columns="path", errors="ignore")  # stack_id says which; see with_paths
        with atomic(path) as partial:
            table.to_parquet(partial, index=False) if name == LARGE else table.to_csv(partial, index=False)


def read_study(folder: Path) -> Tables:
    """Read the tables that :func:`write_tables` wrote.

    Raises:
        InputError: none there.
    """
    paths = sorted((folder / FOLDER).glob("[!.]*"))
    if not paths:
        raise InputError(f"{folder / FOLDER}: no study tables; hpiclock train or study makes them")
    tables = {path.stem: read_any(path) for path in paths}
    for table in tables.values():
        words = table.select_dtypes(object).columns
        table[words] = table[words].fillna("")  # an empty note is no missing number
    return tables


def of_split(tables: Mapping[str, pd.DataFrame], name: str, split: str = "test") -> pd.DataFrame:
    """Return the rows of one split of a table."""
    return tables[name][tables[name]["split"].eq(split)]


def with_paths(rows: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return rows of a study table with the ``path`` of each row's stack."""
    return rows.assign(path=rows["stack_id"].map(predictions.groupby("stack_id")["path"].first()))


def figures(tables: Tables, predictions: pd.DataFrame, cfg: Config) -> dict[str, Figure]:
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
    curves = part("detection_curves")
    drawn: dict[str, Axes | Figure] = {
        "classes": plots.classes_figure(part("roc"), auc, part("confusion"), level=level, threshold=cut),
        "reliability": plots.reliability(part("reliability"), level=level),
        "score_over_hours": plots.score_over_hours(rows, threshold=cut),
        "prediction_scatter": plots.prediction_scatter_figure(rows, part("time_lines")),
        "residual_over_hours": plots.residual_over_hours(part("residuals")),
        "temporal_generalization": plots.temporal_generalization_figure(part("windows_hours"), level=level),
        "auc_by_hpi": plots.metric_by_window(part("windows_hpi"), metric="auc", level=level, clock="hpi"),
        "detection": plots.detection_curve(first_rule(curves), level=level),
    }
    for clock in predictions["clock"].unique():
        drawn[f"agreement_{clock}"] = plots.bland_altman(rows, part("agreement"), clock=clock, level=level)
    return {name: figure_of(figure) for name, figure in drawn.items()}


def first_rule(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of the first threshold rule: a figure shows one."""
    return curves[curves["rule"].eq(curves["rule"].iloc[0])] if len(curves) else curves
