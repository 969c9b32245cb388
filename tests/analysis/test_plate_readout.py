"""A read-out of a plate: curves, wells, replicates, controls, external validation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpiclock.analysis.plate_readout import (
    control_sentences,
    external_validation,
    hour_of,
    readout_by_well,
    replicate_agreement,
    treatment_curves,
    with_treatments,
)
from hpiclock.config.schema import StudyConfig, WindowsConfig
from hpiclock.tables import NEW_PREDICTIONS, check

WELLS = (("A01", "mock", np.nan), ("A02", "infected", 0.1), ("A03", "infected", 5.0), ("B01", "mock", np.nan))
RISE_H = {"A01": 99.0, "A02": 8.0, "A03": 4.0, "B01": 99.0}  # from when on a well scores 0.9


def plate(**changes: object) -> pd.DataFrame:
    """Two fields a well, a frame every 2 h until 12 h; the second field rises 2 h later."""
    rows = []
    for well, condition, moi in WELLS:
        infected = condition == "infected"
        for field in (0, 1):
            for frame in range(7):
                hours = 2.0 * frame
                rows.append(
                    {
                        "stack_id": f"{well}/p{field}", "path": "", "plate": "P", "well": well,
                        "position": str(field), "condition": condition, "moi": moi,
                        "onset_h": 2.0 if infected else np.nan, "frame": frame, "hours": hours,
                        "hpi": hours - 2 if infected else np.nan, "label": int(infected and hours >= 2),
                        "clock": "experiment", "time_target": hours, "split": "test", "fold": 0, "run": "r",
                        "seed": 0, "p_infected": 0.9 if hours >= RISE_H[well] + 2 * field else 0.1,
                        "time_pred": hours,
                    }
                    | changes
                )  # fmt: skip
    return with_treatments(check(NEW_PREDICTIONS, pd.DataFrame(rows)))


def test_treatments_have_words_and_an_order() -> None:
    rows = plate()
    order = rows.drop_duplicates("treatment").sort_values("order")["treatment"].tolist()
    assert order == ["mock", "MOI 0.1", "MOI 5"]
    dosed = plate(condition="unknown", moi=np.nan, onset_h=np.nan, compound="x", dose=10.0, dose_unit="uM")
    assert dosed["treatment"].unique().tolist() == ["x 10 uM"]
    assert plate(compound="x", dose=3.0)["treatment"].unique().tolist() == [
        "mock, x 3", "MOI 0.1, x 3", "MOI 5, x 3",
    ]  # fmt: skip


def test_curves_are_means_over_wells_and_bands_need_three() -> None:
    curves = treatment_curves(plate(), threshold=0.5, level=0.95)
    at = curves.set_index(["treatment", "quantity", "hours"])
    assert at.loc[("MOI 5", "p_infected", 4.0), "value"] == pytest.approx(0.5)  # one field of two
    assert at.loc[("MOI 5", "called", 4.0), "value"] == 0.5
    assert at.loc[("mock", "called", 12.0), ["value", "n_wells", "n_stacks"]].tolist() == [0, 2, 4]
    assert curves["low"].isna().all()
    values = np.array([0.2, 0.4, 0.9])
    mock = {"condition": "mock", "moi": np.nan, "onset_h": np.nan, "hpi": np.nan, "label": 0}
    one = plate(**mock).query("stack_id == 'A01/p0'")
    three = pd.concat(
        [one.assign(well=f"C0{i}", stack_id=f"C{i}", p_infected=v) for i, v in enumerate(values)]
    )
    row = treatment_curves(three, threshold=0.5, level=0.95).iloc[0]
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.5, max(low, 0), min(high, 1)))


def test_a_well_is_detected_when_half_of_its_fields_are() -> None:
    wells = readout_by_well(plate(), threshold=0.5, frames=2, hour=4.0).set_index("well")
    # the first of two frames in a row; of two fields the earlier one is half
    assert wells["detected_h"].to_dict() == pytest.approx(
        {"A01": np.nan, "B01": np.nan, "A02": 8.0, "A03": 4.0}, nan_ok=True
    )
    assert wells.loc["A03", ["detected_after_h", "detected_after_hpi", "detected_hpi"]].tolist() == [2, 0, 2]
    assert wells.loc["A03", ["p_infected", "infected_share", "n_stacks"]].tolist() == [0.5, 0.5, 2]
    assert wells["last_h"].unique().tolist() == [12.0]
    assert wells.index.tolist() == ["A01", "B01", "A02", "A03"]


def test_wells_of_which_nothing_is_known_are_read_without_hours_post_infection():
    bare = plate(condition="unknown", onset_h=np.nan, hpi=np.nan, label=pd.NA)
    wells = readout_by_well(bare, threshold=0.5, frames=2, hour=4.0).set_index("well")
    assert wells["detected_hpi"].isna().all()
    assert wells.loc["A03", ["detected_after_h", "detected_h"]].tolist() == [2.0, 4.0]


def test_the_hour_is_one_that_was_imaged() -> None:
    assert hour_of(plate(), None) == 6.0
    assert hour_of(plate(), 7.3) == 8.0


def test_controls_are_counted_and_their_absence_is_said() -> None:
    wells = readout_by_well(plate(), threshold=0.5, frames=2, hour=4.0)
    assert control_sentences(wells) == [
        "0 of 2 mock wells are detected as infected.",
        "1 of 1 infected wells of the highest MOI (5) are detected.",
    ]
    (line,) = control_sentences(wells.assign(condition="unknown"))
    assert line.startswith("No well is known to be mock or infected")


def test_replicates_by_hand() -> None:
    wells = pd.DataFrame(
        {"treatment": list("aabb"), "order": [0, 0, 1, 1], "p_infected": [0.1, 0.3, 0.7, 0.9]}
    )
    table = replicate_agreement(wells, ["p_infected"]).set_index("treatment")
    # within: variance 0.02 each; between: 2 x (0.2 - 0.5)^2 + 2 x (0.8 - 0.5)^2 = 0.36 on one degree
    assert table.loc["a", ["n_wells", "mean", "low", "high"]].tolist() == pytest.approx([2, 0.2, 0.1, 0.3])
    assert table.loc["all", "sd"] == pytest.approx(np.sqrt(0.02))
    assert table.loc["all", "icc"] == pytest.approx((0.36 - 0.02) / (0.36 + 0.02))


def validate(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    return external_validation(
        rows, threshold=0.5, windows=WindowsConfig(width_h=4, stride_h=4), end_h=48.0,
        study=StudyConfig(resamples=100), rng=np.random.default_rng(0),
    )  # fmt: skip


def test_external_validation_scores_known_wells_only() -> None:
    rows = plate()
    unknown = plate(condition="unknown", label=pd.NA, well="D01", moi=np.nan, onset_h=np.nan, hpi=np.nan)
    table, notes = validate(pd.concat([rows, unknown], ignore_index=True))
    whole = table[table["start_h"].isna() & table["group"].eq("all")].set_index("metric")
    called, truth = rows["p_infected"] >= 0.5, rows["label"].eq(1)
    assert whole.loc["accuracy", "value"] == pytest.approx((called == truth).mean())
    assert notes == ["1 wells of unknown condition are not scored."]
    assert table["start_h"].dropna().unique().tolist() == [0.0, 4.0, 8.0]


def test_without_labels_there_is_no_claim() -> None:
    table, notes = validate(plate(condition="unknown", label=pd.NA, moi=np.nan, onset_h=np.nan, hpi=np.nan))
    assert table.empty
    assert notes == ["No well of this plate has a known condition: no claim of accuracy is made."]
