"""The study of a predictions file, whatever its format, in an interpreter that has no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpiclock import cli
from hpiclock.config.schema import Config, StudyConfig, WindowsConfig
from hpiclock.figures.style import COLUMN_IN, PAGE_IN, alt_text
from hpiclock.simulate.predictions import Simulation, simulate_predictions
from hpiclock.tables import METRICS, PREDICTIONS, read, write
from hpiclock.workflows.study import study_figures, study_tables

PROGRAM = """
import sys
class NotInstalled:
    def find_spec(name, path=None, target=None):
        if name in ("torch", "torchvision", "safetensors", "papermill", "jupyterlab"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotInstalled)
from hpiclock import cli
folder, *sources = sys.argv[1:]
for source in sources:
    sys.argv = ["hpiclock", "study", source, "--out", f"{folder}/{source.rpartition('.')[2]}",
                "--set", "windows.width_h=24", "--set", "windows.stride_h=24", "--set", "study.resamples=100"]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise
"""
SUFFIXES = ("parquet", "csv", "npz")
FIGURES = {
    "agreement_experiment", "agreement_infection", "auc_by_hpi", "classes", "detection", "prediction_scatter",
    "reliability", "residual_over_hours", "score_over_hours", "temporal_generalization",
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    rows = simulate_predictions(Simulation(wells=4, stacks=1, interval_h=8.0), rng=np.random.default_rng(0))
    for suffix in ("parquet", "csv"):
        write(PREDICTIONS, rows, folder / f"predictions.{suffix}")
    test = rows[rows["split"].eq("test") & rows["label"].notna()]
    np.savez(
        folder / "test_predictions.npz",
        time_preds=test["time_pred"].to_numpy(), time_targets=test["time_target"].to_numpy(),
        cls_preds=test["p_infected"].to_numpy(), cls_targets=test["label"].to_numpy(np.int64),
    )  # fmt: skip
    lines = [
        {"path": f"{row.stack_id}.tif", "condition": row.condition, "position": row.position,
         "frame_index": row.frame, "hours_since_start": row.hours, "label": int(row.label)}
        for row in test.itertuples()
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "test_metadata.jsonl").write_text(text, encoding="utf-8")
    sources = [folder / "predictions.parquet", folder / "predictions.csv", folder / "test_predictions.npz"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *map(str, sources)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_figure_and_table_is_made_without_torch(out: Path, suffix: str) -> None:
    made = {path.name for path in (out / suffix / "figures").iterdir()}
    narrow = FIGURES - {"classes", "prediction_scatter", "temporal_generalization"}  # of one panel
    assert made == {f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf", "svg", "csv")} | {
        f"{name}_one_column.{kind}" for name in narrow for kind in ("pdf", "svg")
    }
    tables = {path.stem for path in (out / suffix / "tables").iterdir()}
    assert {"metrics", "windows_hours", "windows_hpi", "stability", "detection", "conclusions"} <= tables
    assert len(read(METRICS, out / suffix / "metrics.csv")) > 100


@pytest.mark.parametrize("name", ["auc_by_hpi", "detection", "agreement_infection", "score_over_hours"])
def test_figures_are_one_and_two_columns_wide_with_their_table(out: Path, name: str) -> None:
    for path, inches in ((f"{name}.svg", PAGE_IN), (f"{name}_one_column.svg", COLUMN_IN)):
        text = (out / "parquet" / "figures" / path).read_text(encoding="utf-8")
        width = float(re.search(r'<svg [^>]*width="([\d.]+)pt"', text)[1]) / 72
        assert 0.9 * inches < width < 1.01 * inches
    table = pd.read_csv(out / "parquet" / "figures" / f"{name}.csv")
    assert len(table) > 0
    assert table["split"].eq("test").all()


def test_the_formats_give_the_same_numbers(out: Path) -> None:
    found = {}
    for suffix in SUFFIXES:
        metrics = read(METRICS, out / suffix / "metrics.csv")
        rows = metrics[metrics["split"].eq("test") & metrics["start_h"].isna() & metrics["group"].eq("all")]
        found[suffix] = rows.set_index("metric")["value"]
    pd.testing.assert_series_equal(found["csv"], found["parquet"])
    # the archive has no validation frames to choose a threshold on, and names its stacks after files
    same = ["auc", "brier", "mae", "rmse", "bias", "r2"]
    pd.testing.assert_series_equal(found["npz"][same], found["parquet"][same])


def test_every_run_of_a_file_has_its_figures_under_its_name() -> None:
    rows = simulate_predictions(Simulation(wells=3, stacks=1, interval_h=12.0), rng=np.random.default_rng(0))
    two = pd.concat([rows.assign(run="a"), rows.assign(run="fold 1/b", p_infected=1 - rows["p_infected"])])
    cfg = Config(study=StudyConfig(resamples=100), windows=WindowsConfig(width_h=24, stride_h=24))
    drawn = study_figures(study_tables(two, cfg), two, cfg)
    assert set(drawn) == {f"{run}_{name}" for run in ("a", "fold-1-b") for name in FIGURES}
    one, other = (alt_text(drawn[f"{run}_classes"][0]) for run in ("a", "fold-1-b"))
    assert one != other


def test_a_run_is_studied_by_its_folder_with_its_own_config(quick_run, tmp_path, monkeypatch):
    run = quick_run({"windows.width_h": 24, "windows.stride_h": 24})
    monkeypatch.setattr(sys, "argv", ["hpiclock", "study", str(run.folder), "--out", str(tmp_path / "paper")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    made = (tmp_path / "paper" / "tables" / "windows_hours.csv").read_text(encoding="utf-8")
    assert made == run.path("tables", "windows_hours.csv").read_text(encoding="utf-8")
    assert (tmp_path / "paper" / "figures" / "detection_one_column.pdf").is_file()
