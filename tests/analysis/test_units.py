"""One definition each: what a well is, what the same hour is, which frames a phase of the infection holds."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.compare import compare
from hpiclock.analysis.curves import confusion_table, reliability_curve
from hpiclock.analysis.detection import false_alarms
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.units import (
    BEFORE_FIRST_ONSET,
    PAST_LAST_ECLIPSE,
    condition_codes,
    frames_all_wells_share,
    phase_frames,
    phase_masks,
)
from hpiclock.audit.baselines import model_and_clock
from hpiclock.audit.clocks import onset_shift_table
from hpiclock.audit.controls import negative_controls
from hpiclock.config.schema import AuditConfig, CompareConfig, StudyConfig, WindowsConfig
from hpiclock.plate.frames import match_controls
from hpiclock.simulate.predictions import Simulation, simulate_predictions
from hpiclock.tables import frame_interval_h, hour_strata, n_wells

STUDY = StudyConfig()


def tiny(onsets, *, hours=(0.0, 4.0, 8.0, 12.0)):
    wells = [*((f"I{i}", onset) for i, onset in enumerate(onsets)), ("M0", None), ("M1", None)]
    rows = []
    for well, onset in wells:
        condition = "mock" if onset is None else "infected"
        same = {"plate": "P", "well": well, "stack_id": well, "onset_h": onset, "condition": condition}
        rows += [same | {"hours": hour, "label": int(onset is not None and hour >= onset)} for hour in hours]
    table = pd.DataFrame(rows).astype({"onset_h": float})
    return table.assign(hpi=table["hours"] - table["onset_h"])


def shared(rows, when, *, eclipse_h=0.0):
    return rows[frames_all_wells_share(rows, when, eclipse_h=eclipse_h)]


def test_frames_before_the_first_onset_are_of_the_hours_before_that_of_every_well():
    chosen = shared(tiny([6.0, 9.0]), BEFORE_FIRST_ONSET)
    assert sorted(chosen["hours"].unique()) == [0, 4]
    assert set(chosen["well"]) == {"I0", "I1", "M0", "M1"}


def test_a_well_infected_from_the_start_does_not_shorten_the_hours_of_the_others():
    chosen = shared(tiny([0.0, 9.0]), BEFORE_FIRST_ONSET)
    assert sorted(chosen["hours"].unique()) == [0, 4, 8]
    assert set(chosen["well"]) == {"I1", "M0", "M1"}


def test_without_a_frame_before_the_onset_there_is_no_control():
    assert shared(tiny([0.0, 0.0]), BEFORE_FIRST_ONSET).empty


def test_past_the_last_eclipse_is_past_that_of_every_well():
    chosen = shared(tiny([0.0, 4.0]), PAST_LAST_ECLIPSE, eclipse_h=6.0)
    assert sorted(chosen["hours"].unique()) == [12]
    assert shared(tiny([0.0, 4.0]), PAST_LAST_ECLIPSE, eclipse_h=60.0).empty


def test_plates_have_their_own_first_onset():
    rows = pd.concat(
        [tiny([6.0]), tiny([9.0]).assign(plate="Q", stack_id=lambda table: "Q" + table["stack_id"])]
    )
    hours = shared(rows, BEFORE_FIRST_ONSET).groupby("plate")["hours"].max()
    assert hours.to_dict() == {"P": 4, "Q": 8}


def test_every_infected_frame_is_in_one_phase_whatever_the_last_bit_of_its_hour():
    rows = tiny([0.3], hours=np.arange(0, 70) * 0.1)  # 63 * 0.1 - 0.3 is 6 h but for the last bit
    masks = phase_masks(rows, eclipse_h=6.0)
    assert (sum(mask.astype(int) for mask in masks.values()) == condition_codes(rows)).all()
    assert [int(mask.sum()) for mask in masks.values()] == [3, 60, 7]


def test_a_phase_holds_its_frames_and_the_mock_frames_of_their_hours():
    rows = tiny([6.0])
    found = {name: rows[mask] for name, mask in phase_frames(rows, eclipse_h=4.0).items()}
    hours = {
        name: part.groupby("condition")["hours"].unique().map(list).to_dict() for name, part in found.items()
    }
    assert hours["before onset"] == {"infected": [0, 4], "mock": [0, 4]}
    assert hours["eclipse"] == {"infected": [8], "mock": [8]}
    assert hours["after eclipse"] == {"infected": [12], "mock": [12]}


@pytest.fixture(scope="module")
def staggered():
    design = Simulation(wells=6, interval_h=2.0, onset_h=(5.0, 11.0))
    return simulate_predictions(design, rng=np.random.default_rng(0), splits=("test",))


CLAIMS = {"before onset": "nothing before the onset", "after eclipse": "infected after the eclipse"}


@pytest.mark.parametrize("phase", CLAIMS)
def test_analysis_and_audit_say_the_same_of_a_phase(staggered, phase):
    metrics = metrics_by_split(staggered, threshold=0.5, study=STUDY)
    one = metrics[metrics["group"].eq(phase) & metrics["metric"].eq("auc_stratified")].iloc[0]
    controls = negative_controls(staggered, windows=WindowsConfig(), study=STUDY, visible_h=np.nan)
    control = controls.set_index("what").loc[phase]
    claims = (
        onset_shift_table(staggered, study=STUDY, audit=AuditConfig())
        .query("shift_h == 0")
        .set_index("claim")
    )
    claim = claims.loc[
        {"before onset": "nothing before the onset", "after eclipse": "infected after the eclipse"}[phase]
    ]
    assert control["n"] == one["n"] == phase_frames(staggered, eclipse_h=STUDY.eclipse_h)[phase].sum()
    for name, theirs in (("auc", "value"), ("low", "low"), ("high", "high")):
        assert control[name] == one[theirs] == claim[theirs]
    if phase == "before onset":
        assert model_and_clock(staggered, level=STUDY.level)["auc_before"].iloc[0] == one["value"]


def stack(stack_id, hours, condition="mock"):
    label = int(condition == "infected")
    return pd.DataFrame(
        {"stack_id": stack_id, "plate": "P", "hours": hours, "condition": condition, "label": label}
    )


def test_the_same_hour_is_one_number_of_frame_intervals_half_a_step_counts_upwards():
    rows = pd.concat([stack("a", [0.0, 2.0, 4.0]), stack("b", [0.9, 1.0, 2.9, 3.0])])
    rows = rows[~rows["hours"].isin([0.9, 2.9])]
    assert frame_interval_h(rows) == 2.0
    assert hour_strata(rows).tolist() == [0, 1, 2, 1, 2]


def test_the_last_bit_of_an_hour_does_not_part_frames():
    rows = pd.concat([stack("a", np.arange(10) * 0.1), stack("b", np.cumsum([0.05] + [0.1] * 9))])
    assert (hour_strata(rows)[:10] + 1 == hour_strata(rows)[10:]).all()


def test_stills_share_an_hour_when_they_share_its_number():
    rows = pd.concat([stack("a", [24.0]), stack("b", [24.2]), stack("c", [24.5])])
    assert np.isnan(frame_interval_h(rows))
    assert hour_strata(rows).tolist() == [24, 24, 25]


@pytest.mark.parametrize("offset", [0.0, 0.4, 0.5, 0.6])
def test_training_and_audit_match_the_same_controls(offset):
    infected = stack("i", [4.0, 5.0], "infected").assign(hpi=[-1.0, 0.0])
    mock = stack("m", np.arange(8) + offset).assign(hpi=np.nan)
    rows = pd.concat([infected, mock], ignore_index=True)
    kept = rows.index[sum(phase_frames(rows, eclipse_h=9.0).values()).astype(bool)]
    assert match_controls(rows).index.tolist() == kept.tolist()


def two_plates(rows):
    other = rows.assign(plate="other", stack_id="other-" + rows["stack_id"])
    return pd.concat([rows, other], ignore_index=True)


def counts(rows):
    """The largest number of wells that each table names."""
    times = rows.drop_duplicates("stack_id").assign(rule="decision", detected=False)
    again = rows.assign(run="again", p_infected=1 - rows["p_infected"])
    compared = compare(
        {"one": [rows], "other": [again]},
        windows=WindowsConfig(width_h=24, stride_h=24),
        end_h=48.0,
        study=StudyConfig(threshold=0.5),
        settings=CompareConfig(shuffles=1000),
        seed=0,
    )
    return {
        "metrics": metrics_by_split(rows, threshold=0.5, study=STUDY)
        .query("group == 'all'")["n_wells"]
        .max(),
        "confusion": confusion_table(rows, threshold=0.0).query("label == 1")["n_wells"].max(),
        "reliability": reliability_curve(rows, bins=1, level=0.95)["n_wells"].max(),
        "false alarms": false_alarms(times)["n_wells"].max(),
        "comparison": compared["comparison"]["n_wells"].max(),
        "audit": model_and_clock(rows, level=0.95)["n_wells"].max(),
        "rows": n_wells(rows),
    }


def test_a_well_is_a_name_on_a_plate_in_every_table():
    rows = simulate_predictions(
        Simulation(wells=3, stacks=1, interval_h=8.0), rng=np.random.default_rng(0), splits=("test",)
    )
    both = dict.fromkeys(counts(rows), 12)
    assert counts(two_plates(rows)) == both | {"confusion": 6, "false alarms": 6}


def test_wells_that_are_not_given_are_none_in_every_table():
    rows = simulate_predictions(
        Simulation(wells=3, stacks=1, interval_h=8.0), rng=np.random.default_rng(0), splits=("test",)
    )
    assert set(counts(rows.assign(well="")).values()) == {0}
