"""Odd tables: a clear message or a checked table; no dropped window, no bare NaN, no wrong number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from hpiclock.analysis.import_predictions import complete_predictions
from hpiclock.analysis.run_study import run_study
from hpiclock.config.schema import StudyConfig, WindowsConfig
from hpiclock.errors import InputError
from hpiclock.tables import METRICS, check

WINDOWS = WindowsConfig(width_h=6, stride_h=6)
STUDY = StudyConfig(resamples=100, threshold=0.5, detection_frames=1, bins=2)


def study_of(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return run_study(table, cfg_windows=WINDOWS, end_h=12, cfg_study=STUDY, seed=0)


@st.composite
def odd_tables(draw: st.DrawFn) -> pd.DataFrame:
    stacks = draw(st.integers(1, 5))
    frames = draw(st.integers(1, 4))
    score = st.sampled_from([0.0, 0.3, 0.5, 0.5, 1.0, np.nan])
    hour = st.sampled_from([0.0, 5.0, 6.0, 11.5, 12.0, 30.0, -2.0])
    rows = []
    for stack in range(stacks):
        condition = draw(st.sampled_from(["infected", "mock"]))
        onset = draw(st.sampled_from([0.0, 5.5, np.nan])) if condition == "infected" else np.nan
        well = draw(st.sampled_from(["", "A01", "B02", "C03"]))
        split = draw(st.sampled_from(["val", "test"]))
        hours = draw(st.lists(hour, min_size=frames, max_size=frames, unique=True))
        for frame, h in enumerate(hours):
            label = draw(st.sampled_from([int(condition == "infected"), None, 0]))
            rows.append(
                {
                    "stack_id": f"s{stack}", "well": well, "condition": condition, "onset_h": onset,
                    "frame": frame, "hours": h, "label": label, "p_infected": draw(score), "split": split,
                    "moi": draw(st.sampled_from([1.0, np.nan])),
                    "time_pred": draw(st.sampled_from([h, 3.0, np.nan])),
                }
            )  # fmt: skip
    table = pd.DataFrame(rows).astype({"label": "Int8"})
    order = draw(st.permutations(range(len(table))))
    return table.iloc[list(order)]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd_tables())
def test_any_table_gives_checked_tables_with_a_reason_for_every_gap(table: pd.DataFrame) -> None:
    predictions, _ = complete_predictions(table)
    tables = study_of(predictions)
    for name in ("metrics", "windows_hours", "windows_hpi"):
        rows = tables[name]
        check(METRICS, rows)
        assert rows.loc[rows["value"].isna(), "note"].ne("").all()
        lacking = rows["value"].notna() & rows["low"].isna()
        assert rows.loc[lacking, "note"].str.contains("no interval").all()
        whole = rows["low"].notna()
        assert (rows.loc[whole, "low"] <= rows.loc[whole, "value"] + 1e-9).all()
        assert (rows.loc[whole, "value"] <= rows.loc[whole, "high"] + 1e-9).all()
    splits = predictions["split"].nunique()
    for axis in ("hours", "hpi"):
        of_auc = tables[f"windows_{axis}"].query("metric == 'auc' and group == 'all'")
        assert len(of_auc) == 2 * splits  # both windows, whatever they hold
    assert tables["conclusions"]["sentence"].str.contains("nan").sum() == 0
    for split in predictions["split"].unique():
        scored = predictions[predictions["split"].eq(split) & predictions["label"].notna()]
        scored = scored[scored["p_infected"].notna()]
        found = tables["metrics"].query("split == @split and group == 'all' and metric == 'auc'").iloc[0]
        assert found["n"] == len(scored)
        if scored["label"].nunique() == 2:
            expected = sk.roc_auc_score(scored["label"].astype(int), scored["p_infected"])
            assert found["value"] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(found["value"])


def small() -> pd.DataFrame:
    rows = [
        {
            "stack_id": f"s{stack}",
            "hours": float(hour),
            "label": stack % 2,
            "p_infected": 0.2 + 0.5 * (stack % 2),
        }
        for stack in range(4)
        for hour in range(3)
    ]
    return pd.DataFrame(rows)


def test_the_four_required_columns_are_enough() -> None:
    predictions, notes = complete_predictions(small())
    tables = study_of(predictions)
    auc = tables["metrics"].query("group == 'all' and metric == 'auc'")["value"]
    assert auc.tolist() == [1.0]
    assert any("wells are not given" in note for note in notes)
    assert any("no time predictions" in note for note in notes)


def test_a_duplicated_row_is_one_clear_line() -> None:
    twice = pd.concat([small().assign(frame=lambda t: t["hours"].astype(int))] * 2)
    with pytest.raises(InputError, match="stands twice"):
        complete_predictions(twice)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", "maybe", "neither 0 nor 1"),
        ("p_infected", 1.5, "column p_infected: 1.5"),
        ("p_infected", "high", "'high' is not a number"),
        ("hours", np.inf, "column hours: inf is not finite"),
        ("hours", np.nan, "column hours: the value is missing"),
    ],
)
def test_a_bad_value_is_named_with_its_row_and_column(column: str, value: object, message: str) -> None:
    table = small().astype({column: object})
    table.loc[4, column] = value
    with pytest.raises(InputError, match=message) as caught:
        complete_predictions(table, place="mine.csv")
    assert str(caught.value).startswith("mine.csv: row 6")
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(
        InputError, match="column p_infected missing; a predictions file needs stack_id, hours"
    ):
        complete_predictions(small().drop(columns="p_infected"))


def test_a_window_without_frames_stays_with_its_reason() -> None:
    predictions, _ = complete_predictions(small())
    late = study_of(predictions)["windows_hours"].query("start_h == 6 and group == 'all'")
    assert late["value"].isna().all()
    assert late["note"].str.startswith("no frames").all()


def test_a_clear_message_when_no_window_fits() -> None:
    predictions, _ = complete_predictions(small())
    with pytest.raises(InputError, match="6 h do not fit between 0 and 5 h"):
        run_study(predictions, cfg_windows=WINDOWS, end_h=5, cfg_study=STUDY, seed=0)
