"""What the explorers ask is what the study says: same rows, same intervals, same counts."""

import numpy as np
import pandas as pd
import pytest

from hpiclock import tables
from hpiclock.analysis.detection import detection_curves, detection_times
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.run_study import InteractiveWindows, at_threshold, level_of
from hpiclock.analysis.windows import metrics_by_window
from hpiclock.config.schema import StudyConfig, WindowsConfig

STUDY = StudyConfig(resamples=100)


@pytest.fixture
def rows() -> pd.DataFrame:
    """Test frames of 4 mock and 4 infected wells, two positions each, every 2 h over 24 h."""
    rng = np.random.default_rng(5)
    parts = []
    for number in range(8):
        infected = number % 2 == 1
        for position in ("1", "2"):
            hours = np.arange(0.0, 25.0, 2.0)
            logit = (hours - 10) / 3 * infected - 1.5 * (not infected) + rng.normal(0, 1, len(hours))
            parts.append(
                pd.DataFrame(
                    {
                        "stack_id": f"W{number}p{position}", "path": "", "plate": "P", "well": f"W{number}",
                        "position": position, "condition": "infected" if infected else "mock",
                        "moi": 1.0 if infected else np.nan, "onset_h": 0.0 if infected else np.nan,
                        "frame": np.arange(len(hours)), "hours": hours,
                        "hpi": hours if infected else np.nan, "label": int(infected),
                        "clock": "infection" if infected else "experiment", "time_target": hours,
                        "split": "test", "fold": 0, "run": "r", "seed": 0,
                        "p_infected": 1 / (1 + np.exp(-logit)),
                        "time_pred": hours + rng.normal(0, 2, len(hours)),
                    }
                )
            )  # fmt: skip
    return tables.check(tables.PREDICTIONS, pd.concat(parts, ignore_index=True))


@pytest.mark.parametrize("axis", ["hours", "hpi"])
@pytest.mark.parametrize(
    ("group", "metric"), [("all", "auc"), ("all", "precision"), ("infected", "mae"), ("mock", "specificity")]
)
def test_live_windows_are_those_of_the_study(rows, axis, group, metric):
    windows = WindowsConfig(width_h=6.0, stride_h=3.0)
    whole = metrics_by_window(
        rows, windows=windows, end_h=24.0, axis=axis, threshold=0.4, study=STUDY, rng=np.random.default_rng(0)
    )
    expected = whole[whole["group"].eq(group) & whole["metric"].eq(metric)].reset_index(drop=True)
    live = InteractiveWindows(rows, 0.4, STUDY)
    for _ in range(2):  # computed, then remembered
        found = live.table(metric=metric, group=group, axis=axis, unit="auto", windows=windows, end_h=24.0)
        found = tables.check(tables.METRICS, found)
        pd.testing.assert_frame_equal(found, expected[found.columns])


def test_what_was_summed_for_one_stride_is_right_for_another(rows):
    live = InteractiveWindows(rows, 0.5, STUDY)
    ask = {"metric": "accuracy", "group": "all", "axis": "hours", "unit": "auto", "end_h": 24.0}
    for width, stride in ((6.0, 6.0), (6.0, 3.0), (6.0, 9.0)):
        windows = WindowsConfig(width_h=width, stride_h=stride)
        anew = InteractiveWindows(rows, 0.5, STUDY).table(windows=windows, **ask)
        pd.testing.assert_frame_equal(live.table(windows=windows, **ask), anew)


def test_a_finer_unit_than_the_study_takes_is_narrower_and_says_so(rows):
    live = InteractiveWindows(rows, 0.5, STUDY)
    windows = WindowsConfig(width_h=24.0, stride_h=24.0)
    ask = {"metric": "accuracy", "group": "all", "axis": "hours", "windows": windows, "end_h": 24.0}
    well, position = (live.table(unit=unit, **ask).iloc[0] for unit in ("auto", "position"))
    assert well["value"] == position["value"]
    assert "unit well: 4 infected, 4 mock" in well["note"]
    assert "positions of one well are repeats: too narrow" in position["note"]
    assert level_of(rows, "well").codes.tolist() == level_of(rows, "auto").codes.tolist()
    plate = live.table(unit="plate", **ask).iloc[0]
    assert np.isnan(plate["low"])  # one plate carries no interval


@pytest.mark.parametrize("threshold", [0.0, 0.31, 1.0])
def test_a_threshold_gives_the_rates_and_curve_of_the_study(rows, threshold):
    found = at_threshold(rows, threshold=threshold, study=STUDY)
    whole = metrics_by_split(rows, threshold=threshold, study=STUDY)
    expected = whole[whole["group"].eq("all")].set_index("metric")
    for row in found.rates.itertuples():
        names = ["value", "low", "high", "n"]
        values = [getattr(row, name) for name in names]
        np.testing.assert_allclose(values, expected.loc[row.metric, names].to_numpy(float))
    times = detection_times(rows, thresholds={"chosen": threshold}, frames=STUDY.detection_frames)
    curves, _ = detection_curves(times, level=STUDY.level)
    all_curves = curves[curves["group"].eq("all")].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.curves, all_curves)


def test_at_zero_every_frame_is_called_infected(rows):
    found = at_threshold(rows, threshold=0.0, study=STUDY)
    cells = found.confusion.set_index(["label", "predicted"])["n"]
    assert cells.to_dict() == {(0, 0): 0, (0, 1): 104, (1, 0): 0, (1, 1): 104}
