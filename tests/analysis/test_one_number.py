"""The same words are the same number, of the same frames, in every table of a run."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.run_study import run_study
from hpiclock.audit.baselines import model_and_clock
from hpiclock.audit.clocks import CLAIMS, onset_shift_table
from hpiclock.audit.controls import negative_controls
from hpiclock.config.schema import AuditConfig, StudyConfig, WindowsConfig
from hpiclock.metrics import METRICS
from hpiclock.simulate.predictions import Simulation, simulate_predictions

STUDY = StudyConfig(resamples=200, threshold=0.5)


@pytest.fixture(scope="module", params=["drop", "uninfected"])
def frames_of_test(request: pytest.FixtureRequest) -> pd.DataFrame:
    design = Simulation(wells=4, interval_h=3.0, onset_h=(5.0, 11.0))
    rows = simulate_predictions(design, rng=np.random.default_rng(0), splits=("test",))
    if request.param == "drop":
        return rows
    early = rows["label"].isna()  # as under before_onset: uninfected
    hours = rows["time_target"].mask(early, rows["hours"])
    clock = rows["clock"].mask(early, "experiment")
    return rows.assign(label=rows["label"].fillna(0), time_target=hours, clock=clock)


@pytest.fixture(scope="module")
def tables(frames_of_test: pd.DataFrame) -> dict[str, pd.DataFrame]:
    windows = WindowsConfig(width_h=12, stride_h=12)
    made = run_study(
        frames_of_test, cfg_windows=windows, end_h=48, cfg_study=STUDY, cfg_audit=AuditConfig(), seed=0
    )
    shifted = onset_shift_table(frames_of_test, study=STUDY, audit=AuditConfig())
    return made | {
        "controls": negative_controls(frames_of_test, windows=windows, study=STUDY, visible_h=np.nan),
        "baselines": model_and_clock(frames_of_test, level=STUDY.level).head(1),
        "onset": shifted[shifted["shift_h"].eq(0)],
    }


def values(tables: dict[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """Every number that stands in more than one table: what it is in words, and its value by table."""
    metrics = tables["metrics"].set_index(["group", "metric"])["value"]
    controls = tables["controls"].set_index("what")["auc"]
    model, claims = tables["baselines"].iloc[0], tables["onset"].set_index("claim")["value"]
    line = tables["time_lines"].set_index("clock").loc["infection"]
    share = tables["confusion"].set_index(["label", "predicted"])["share"]
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for phase in ("before onset", "eclipse", "after eclipse"):
        found[f"AUC {phase}"] = {
            "metrics": metrics[phase, "auc_stratified"], "controls": controls[phase]
        }  # fmt: skip
    for phase, claim in CLAIMS.items():
        found[f"AUC {phase}"]["onset"] = claims[claim]
    found["AUC before onset"]["baselines"] = model["auc_before"]
    found["AUC"] = {"metrics": metrics["all", "auc_stratified"], "baselines": model["auc"]}
    found["pooled AUC"] = {"metrics": metrics["all", "auc"], "baselines": model["auc_all"]}
    found["time error"] = {
        "metrics": metrics["infected", "mae"], "lines": line["mae"], "baselines": model["mae"]
    }  # fmt: skip
    agreement = tables["agreement"].set_index("clock").loc["infection"]
    found["bias"] = {"metrics": metrics["infected", "bias"], "agreement": agreement["bias"]}
    found["recall"] = {"metrics": metrics["all", "recall"], "confusion": share[1, 1]}
    found["specificity"] = {"metrics": metrics["all", "specificity"], "confusion": share[0, 0]}
    return found


def counts(tables: dict[str, pd.DataFrame]) -> dict[str, set[int]]:
    """What is counted in more than one table, and every count of it."""
    metrics = tables["metrics"].set_index(["group", "metric"])
    detection = tables["detection"].query("rule == 'decision' and group == 'all'").iloc[0]
    alarms = tables["false_alarms"].query("rule == 'decision'").iloc[0]
    line = tables["time_lines"].set_index("clock").loc["infection"]
    infected, mock = metrics.loc[("infected", "mae")], metrics.loc[("mock", "specificity")]
    return {
        "infected stacks": {infected["n_stacks"], detection["n_stacks"], line["n_stacks"]},
        "infected frames": {infected["n"], line["n"], metrics.loc[("all", "auc"), "n_infected"]},
        "mock stacks": {mock["n_stacks"], alarms["n_stacks"]},
        "mock wells": {mock["n_wells"], alarms["n_wells"], metrics.loc[("mock", "mae"), "n_wells"]},
        "test frames": {
            metrics.loc[("all", "auc"), "n"],
            tables["baselines"]["n"].item(),
            tables["confusion"]["n"].sum(),
        },
    }


def test_the_same_words_are_the_same_number_in_every_table(tables: dict[str, pd.DataFrame]) -> None:
    for words, by_table in values(tables).items():
        first, *others = by_table.values()
        assert np.isfinite(first), words
        assert others == pytest.approx([first] * len(others)), (words, by_table)


def test_the_same_words_count_the_same_in_every_table(tables: dict[str, pd.DataFrame]) -> None:
    assert {words: found for words, found in counts(tables).items() if len(found) > 1} == {}


def test_sentences_quote_the_tables(tables: dict[str, pd.DataFrame]) -> None:
    found = {words: next(iter(by_table.values())) for words, by_table in values(tables).items()}
    said = tables["conclusions"].groupby("topic")["sentence"].agg(" ".join)
    assert f"(AUC {found['AUC']:.3f}, " in said["class"]
    assert f"together the AUC is {found['pooled AUC']:.3f}, " in said["class"]
    assert f"{found['AUC before onset']:.3f}, " in said["before onset"]
    assert f"the AUC within plate and hour is {found['AUC after eclipse']:.3f}, " in said["after eclipse"]
    assert f"is off by {found['time error']:.1f} h" in said["time"]


def test_noise_explains_no_more_than_there_can_be(tables: dict[str, pd.DataFrame]) -> None:
    stability = tables["stability"]
    of_share = stability["metric"].map(lambda name: METRICS[name].is_share)
    assert stability.loc[of_share, "range_of_noise"].max() <= 1
