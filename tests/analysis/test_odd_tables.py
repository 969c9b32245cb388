"""Odd tables: a clear message or a checked table; no dropped window, no bare NaN, no wrong number."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from hpiclock.analysis.detection import detection_times
from hpiclock.analysis.import_predictions import complete_predictions, read_predictions
from hpiclock.analysis.run_study import run_study
from hpiclock.config.schema import AuditConfig, StudyConfig, WindowsConfig
from hpiclock.errors import InputError
from hpiclock.tables import METRICS, check

WINDOWS = WindowsConfig(width_h=6, stride_h=6)
STUDY = StudyConfig(resamples=100, threshold=0.5, detection_frames=1, bins=2)


def study_of(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return run_study(table, cfg_windows=WINDOWS, end_h=12, cfg_study=STUDY, cfg_audit=AuditConfig(), seed=0)


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


def long(stacks: int = 6, *, frames: int = 12, **changed: object) -> pd.DataFrame:
    """Half of the stacks infected from the start, a frame every 4 h."""
    table = pd.DataFrame(
        [
            {"stack_id": f"s{stack}", "hours": 4.0 * frame, "label": stack % 2, "hpi": 4.0 * frame - 2,
             "p_infected": 0.2 + 0.5 * (stack % 2) + 0.01 * frame}
            for stack in range(stacks) for frame in range(frames)
        ]
    )  # fmt: skip
    return table.assign(**changed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hours": lambda t: t["hours"] * 60}, "looks like minutes; divide it by 60"),
        ({"hours": lambda t: t["hours"] * 3600}, "looks like seconds; divide it by 3600"),
        ({"hours": lambda t: t["hours"] * 10}, "stack s0: hours and hpi do not advance together"),
        ({"hours": lambda t: t["hours"] / 24}, "hours look like days"),
        ({"hpi": lambda t: t["hpi"] * 60}, "hpi looks like minutes"),
        ({"hpi": lambda t: t["hpi"] + 5.0 * t["hours"].gt(20)}, "one is wrong"),
        ({"p_infected": lambda t: t["p_infected"] * 100}, "looks like percent; divide it by 100"),
        ({"p_infected": lambda t: t["p_infected"] * 9 - 4}, r"of a logit x take 1 / \(1 \+ exp\(-x\)\)"),
        ({"time_infected": 9.0}, "column time_infected without time_mock; give both"),
        ({"time_infected": 9.0, "time_mock": "x"}, "column time_mock: 'x' is not a number"),
        ({"condition": "mock"}, "label infected in stack s1 of mock; correct one of them"),
    ],
)
def test_another_unit_is_refused_in_one_line_with_its_remedy(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        complete_predictions(long(**changes), place="mine.csv")
    assert str(caught.value).startswith("mine.csv: ")
    assert "\n" not in str(caught.value)


def test_hours_against_hpi_may_be_rounded() -> None:
    predictions, _ = complete_predictions(long(hpi=lambda t: (t["hours"] - 2.34).round(1)))
    assert predictions.query("condition == 'infected'")["hpi"].notna().all()
    assert predictions.query("condition == 'mock'")["hpi"].isna().all()


def test_one_wrong_label_makes_no_mock_stack_infected() -> None:
    table = long()
    table.loc[5, "label"] = 1  # of s0, a mock stack
    predictions, notes = complete_predictions(table)
    assert predictions.groupby("stack_id")["condition"].first()[["s0", "s1"]].tolist() == ["mock", "infected"]
    assert predictions.query("stack_id == 's0'")["label"].isna().sum() == 1
    assert any("1 labels contradict the others of their stack and are left out: s0" in note for note in notes)


def test_a_stack_that_turns_infected_late_is_infected_whole() -> None:
    table = long().drop(columns="hpi")
    table.loc[table["hours"] < 36, "label"] = 0
    predictions, notes = complete_predictions(table)
    assert predictions.groupby("stack_id")["condition"].first()[["s0", "s1"]].tolist() == ["mock", "infected"]
    assert not any("contradict" in note for note in notes)


def test_frames_without_p_stay_as_gaps_across_which_nothing_is_detected() -> None:
    table = long(2, frames=6)
    table.loc[table["stack_id"].eq("s1"), "p_infected"] = [0.1, 0.1, 0.9, np.nan, 0.9, 0.1]
    predictions, notes = complete_predictions(table)
    assert len(predictions) == len(table)
    assert any("1 frames have no P(infected): they stay as gaps" in note for note in notes)
    for gap in (
        predictions,
        predictions[predictions["p_infected"].notna()],
    ):  # a missing score, a missing row
        times = detection_times(gap, thresholds={"decision": 0.5}, frames=2).set_index("stack_id")
        assert not times.loc["s1", "detected"]
        assert times.loc["s1", "time_h"] == 18.0


def test_wells_are_written_in_one_way() -> None:
    names = {"s0": "a1 ", "s1": "A-01", "s2": "A01", "s3": "B2", "s4": "b02", "s5": "donor 7"}
    predictions, notes = complete_predictions(long(well=lambda t: t["stack_id"].map(names)))
    assert set(predictions["well"]) == {"A01", "B02", "donor 7"}
    assert any("wells are written as B03: a1  is A01" in note for note in notes)


def test_p_of_mock_is_asked_about() -> None:
    notes = complete_predictions(long(p_infected=lambda t: 1 - t["p_infected"]))[1]
    assert any("of a P(mock) take 1 less it" in note for note in notes)


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
        run_study(predictions, cfg_windows=WINDOWS, end_h=5, cfg_study=STUDY, cfg_audit=AuditConfig(), seed=0)


def test_names_in_other_cases_and_with_blanks_are_read() -> None:
    predictions, _ = complete_predictions(small().rename(columns=lambda name: f" {name.upper()} "))
    assert len(predictions) == len(small())
    words = small().assign(label=lambda t: t["label"].map({1: "Infected ", 0: " MOCK"}))
    assert complete_predictions(words)[0]["label"].tolist() == small()["label"].tolist()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("hours", "hours_s", "column hours_s: hours are needed; divide it by 3600 and call it hours"),
        ("hours", "Hours (min)", "divide it by 60 and call it hours"),
        ("hours", "minutes", "column minutes: hours are needed; divide it by 60 and call it hours"),
        ("hours", "time_min", "divide it by 60 and call it hours"),
        ("hours", "Time (s)", "divide it by 3600 and call it hours"),
        ("hours", "t_h", "column t_h: hours are needed; call it hours"),
        ("hours", "elapsed_days", "multiply it by 24 and call it hours"),
        ("hours", "hous", "unknown column hous; did you mean hours?"),
        ("hpi", "onset", "hours are needed; call it onset_h"),
        ("hpi", "Condtion", "unknown column Condtion; did you mean condition?"),
        ("hpi", "hpi_min", "divide it by 60 and call it hpi"),
        ("hpi", "onset_min", "divide it by 60 and call it onset_h"),
        ("hpi", "Hours", "column hours stands twice"),
    ],
)
def test_a_column_of_another_unit_is_refused(old: str, new: str, words: str) -> None:
    with pytest.raises(InputError, match=r"mine\.csv") as refused:
        complete_predictions(long().rename(columns={old: new}), place="mine.csv")
    assert words in str(refused.value)


@pytest.mark.parametrize(("step_h", "words"), [(30, "30 h apart"), (1e-4, "0.36 s apart"), (24, "")])
def test_hours_of_frames_that_cannot_be_so_far_apart_are_questioned(step_h: float, words: str) -> None:
    table = small().drop(columns=["hpi", "onset_h", "time_target"], errors="ignore")
    frame = table.groupby("stack_id").cumcount()
    notes = complete_predictions(table.assign(hours=frame * step_h))[1]
    said = [note for note in notes if "are not those of an infection" in note]
    assert len(said) == bool(words)
    assert words in "".join(said)


@pytest.mark.parametrize("kind", ["datetime64[s]", "timedelta64[s]"])
def test_dates_are_no_hours(kind: str) -> None:
    with pytest.raises(InputError, match=r"row 2, column hours: .* is not a number"):
        complete_predictions(small().astype({"hours": kind}))


def test_predictions_without_rows_or_in_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("stack_id,hours,label,p_infected\n")
    with pytest.raises(InputError, match="no rows in it"):
        read_predictions(tmp_path / "p.csv")
    for suffix in (".csv", ".npz", ".parquet"):
        os.mkfifo(tmp_path / f"fifo{suffix}")
        with pytest.raises(InputError, match="is a FIFO"):
            read_predictions(tmp_path / f"fifo{suffix}")
    arrays = dict.fromkeys(("time_preds", "time_targets", "cls_preds", "cls_targets"), np.array(["x"]))
    np.savez(tmp_path / "test_predictions.npz", **arrays)
    with pytest.raises(InputError, match="cannot be read as npz"):
        read_predictions(tmp_path / "test_predictions.npz")


def test_wells_of_a_study_are_read_in_every_form() -> None:
    forms = {"s0": "R01C01", "s1": "1-A", "s2": "a/1", "s3": "A - 01", "s4": "AF48", "s5": "48af"}
    predictions, _ = complete_predictions(long(well=lambda t: t["stack_id"].map(forms)))
    assert set(predictions["well"]) == {"A01", "AF48"}


@pytest.mark.parametrize("ids", [list("aabb"), list("ab") * 2, ["a", "a", "", ""]])
def test_a_table_of_categories_of_no_labels_or_of_no_stacks_gives_no_warning(
    tmp_path: Path, ids: list[str]
) -> None:
    table = pd.DataFrame({"stack_id": ids, "hours": [0.0, 1, 2, 3], "p_infected": 0.5})
    table["label"] = pd.array([1, 1, None, None], "Int8")
    table.astype({"stack_id": "category"}).to_parquet(tmp_path / "p.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if "" in ids:
            with pytest.raises(InputError, match="column stack_id: the value is missing"):
                read_predictions(tmp_path / "p.parquet")
            return
        rows, notes = read_predictions(tmp_path / "p.parquet")
    assert rows["stack_id"].tolist() == ids
    unlabelled = "1 stack without a label: taken as mock, and not scored"
    assert (unlabelled in notes) == (ids == list("aabb"))
