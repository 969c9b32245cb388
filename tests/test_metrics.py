"""A metric stands in one place: what is added to the registry is found everywhere, with its interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hpiclock import figures
from hpiclock.analysis.compare import compare
from hpiclock.analysis.frame_scores import frame_scores, group_sums
from hpiclock.analysis.run_study import run_study
from hpiclock.analysis.units import choose_resampling_unit
from hpiclock.config.schema import AuditConfig, CompareConfig, StudyConfig, WindowsConfig
from hpiclock.metrics import ALL, METRICS, Metric, Ratio, metrics_of
from hpiclock.report.text import readable_metrics
from hpiclock.simulate.predictions import Simulation, simulate_predictions

NPV = Metric(
    "npv",
    "negative predictive value",
    Ratio({"tn": 1}, {"tn": 1, "fn": 1}),
    "class",
    "share",
    least=0.0,
    windows=ALL,
    bands=ALL,
    compared=ALL,
    summary=True,
)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return simulate_predictions(Simulation(wells=8, interval_h=3.0), rng=np.random.default_rng(2))


@pytest.fixture(scope="module")
def tables(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METRICS, "npv", NPV)
        return run_study(
            predictions,
            cfg_windows=WindowsConfig(),
            end_h=48.0,
            cfg_study=StudyConfig(resamples=200),
            cfg_audit=AuditConfig(),
            seed=0,
        )


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "npv", NPV)


def test_a_metric_of_the_registry_stands_in_the_tables_with_its_interval(
    predictions: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> None:
    metrics = tables["metrics"]
    row = metrics[metrics["metric"].eq("npv") & metrics["split"].eq("test") & metrics["group"].eq("all")]
    called = predictions["p_infected"] >= tables["threshold"]["value"].iloc[0]
    negative = predictions["split"].eq("test") & predictions["label"].notna() & ~called
    right = predictions.loc[negative, "label"].eq(0)
    assert row["value"].tolist() == [pytest.approx(right.mean(), abs=1e-12)]
    assert row["low"].iloc[0] < row["value"].iloc[0] < row["high"].iloc[0]
    windows = tables["windows_hours"]
    windows = windows[windows["metric"].eq("npv") & windows["split"].eq("test")]
    assert len(windows) == 15
    assert windows["low"].notna().any()
    assert windows["low_simultaneous"].notna().any()
    assert "npv" in set(tables["stability"]["metric"])


def test_a_metric_of_the_registry_is_read_and_drawn(tables: dict[str, pd.DataFrame]) -> None:
    table = readable_metrics(tables["metrics"], groups=["all"], split="test")
    read = table.loc[("all", "negative predictive value")]
    low, high = map(float, read["95% interval"].split(" to "))
    assert low < float(read["value"]) < high
    windows = tables["windows_hours"]
    ax = figures.metric_by_window(windows[windows["split"].eq("test")], metric="npv", level=0.95)
    assert ax.get_ylabel() == "negative predictive value"
    assert ax.collections  # its band
    assert ax.get_ylim()[1] == 1.03  # drawn as a share is


def test_a_metric_of_the_registry_is_compared_and_told_in_words(predictions: pd.DataFrame) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, len(predictions))
    worse = predictions.assign(p_infected=(predictions["p_infected"] + noise).clip(0, 1), run="worse")
    made = compare(
        {"worse": [worse], "own": [predictions]},
        windows=WindowsConfig(),
        end_h=48.0,
        study=StudyConfig(),
        settings=CompareConfig(shuffles=1000),
        seed=0,
    )
    row = made["comparison"][made["comparison"]["metric"].eq("npv")].iloc[0]
    assert np.isfinite([row["difference"], row["low"], row["high"]]).all()
    assert made["conclusions"]["sentence"].str.contains("negative predictive value").any()
    figures.difference_figure(made["comparison"], level=0.95)


def test_every_entry_is_whole() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.label
        in_hours = not metric.of_class and metric.interval not in ("r2", "skill")
        assert (metric.unit in ("h", "h²")) == in_hours
        assert (metric.formula is None) == (metric.interval == "median")
        if metric.is_share:
            assert metric.least == 0
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
    assert len({*metrics_of("all", "split")}) == len(METRICS)


def test_values_lie_on_their_side_of_chance(predictions: pd.DataFrame) -> None:
    """A model that knows the answer is better than one that does not, in the direction the registry names."""
    rows = predictions[predictions["split"].eq("test") & predictions["label"].notna()].reset_index(drop=True)
    unit = choose_resampling_unit(rows)
    perfect = rows.assign(p_infected=rows["label"].astype(float), time_pred=rows["time_target"])
    shuffled = rows.assign(
        p_infected=rows["p_infected"].sample(frac=1, random_state=0).to_numpy(),
        time_pred=rows["time_pred"].sample(frac=1, random_state=0).to_numpy(),
    )
    for name, metric in METRICS.items():
        if metric.better == "zero" or metric.frames == "baseline":
            continue
        good, bad = (
            float(metric.value(group_sums(frame_scores(table, threshold=0.5, group=unit.codes)).total))
            for table in (perfect, shuffled)
        )
        assert (good > bad) == (metric.better == "higher"), name


def test_a_median_is_no_function_of_totals() -> None:
    with pytest.raises(TypeError, match="no function of totals"):
        METRICS["median_error"].value({})
    assert replace(NPV, words="odds").words == "odds"
