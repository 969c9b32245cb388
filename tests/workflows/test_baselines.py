"""Beside the model: what statistics, the true cells and the hour say of the same test frames."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.linear_probe import linear_probe
from hpiclock.audit import PLAIN
from hpiclock.audit.baselines import shortcut_baselines
from hpiclock.plate.cache import open_cache
from hpiclock.plate.quality import cached_statistics
from hpiclock.tables import FRAMES, MANIFEST, METRICS, PREDICTIONS
from hpiclock.workflows import baselines
from hpiclock.workflows.baselines import STATISTICS, TRUE_CELLS, beside_baselines, simulated_truth


@pytest.fixture(scope="module")
def run(quick_run):
    return quick_run({"image.context_h": [0, -4]})


def beside(run):
    return beside_baselines(run, run.read_table("predictions.parquet", PREDICTIONS))


def test_on_a_simulated_plate_the_true_cells_stand_beside_the_model(run):
    table = beside(run)
    assert list(table.index) == ["the model", STATISTICS, *TRUE_CELLS, *baselines.WITHOUT_IMAGES]
    metrics = run.read_table("metrics.csv", METRICS)
    metrics = metrics[metrics["split"].eq("test") & metrics["start_h"].isna()].set_index(["group", "metric"])
    for column, key in baselines.SCORES.items():
        assert table.loc["the model", column] == pytest.approx(metrics.loc[key, "value"], nan_ok=True)
    clock = table.loc["a clock that sees no image"]
    assert clock["MAE, infected (h)"] == pytest.approx(metrics.loc[("infected", "mae_of_clock"), "value"])
    assert clock["MAE, mock (h)"] == pytest.approx(0, abs=1e-6)  # a mock well's time is the hour itself


def test_what_frame_statistics_give_is_the_number_of_the_audit(run):
    manifest, frames = run.read_table("manifest.csv", MANIFEST), run.read_table("frames.parquet", FRAMES)
    features = cached_statistics(open_cache(manifest, run.cfg.data, run.cfg.image), frames)
    audited, _ = shortcut_baselines(frames, {PLAIN: features}, level=0.95)
    shown = beside(run).loc[STATISTICS]
    assert shown["MAE, infected (h)"] == pytest.approx(audited.loc[0, "mae"], rel=1e-12)
    assert shown["AUC within plate and hour"] == pytest.approx(audited.loc[0, "auc"], nan_ok=True)


def test_the_true_cells_are_read_of_the_frame_and_of_earlier_ones(run, monkeypatch):
    read = {}

    def keep(frames, x, *, run, seed):
        read[run] = frames, x
        return linear_probe(frames, np.nan_to_num(x), run=run, seed=seed)

    monkeypatch.setattr(baselines, "boosted_probe", keep)
    beside(run)
    truth = simulated_truth(run.read_table("manifest.csv", MANIFEST)).set_index(["stack_id", "frame"])
    counted = truth[list(baselines.COUNTED)]
    frames, x = read[TRUE_CELLS[1]]
    keys = frames[["stack_id", "frame"]].to_numpy()
    expected = np.hstack(
        [[counted.loc[(stack, max(frame - back, 0))] for stack, frame in keys] for back in (0, 1)]
    )
    np.testing.assert_array_equal(x, expected)  # of a film every 4 h, the first standing in
    np.testing.assert_array_equal(read[TRUE_CELLS[0]][1], expected[:, :2])


def test_without_a_truth_there_are_no_such_rows(run, monkeypatch):
    monkeypatch.setattr(baselines, "simulated_truth", lambda _: None)
    assert list(beside(run).index) == ["the model", STATISTICS, *baselines.WITHOUT_IMAGES]
    assert simulated_truth(pd.DataFrame({"path": ["/nowhere/a.tif"]})) is None


def test_a_run_that_learns_the_time_of_one_class_has_the_model_alone(quick_run):
    run = quick_run({"model.tasks": ["time"], "model.time_on": "infected", "train.best": "mae"})
    table = beside(run)
    assert np.isnan(table.loc["the model", "AUC within plate and hour"])
    assert np.isfinite(table.loc["the model", "MAE, infected (h)"])
