"""A read-out of a plate: curves, wells, replicates, controls, doses, external validation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpiclock.analysis.plate_readout import (
    control_sentences,
    dose_response,
    external_validation,
    hour_of,
    readout_by_well,
    replicate_agreement,
    sigmoid,
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
    assert wells.loc["A03", "detected_hpi"] == 2.0
    assert wells.loc["A03", ["p_infected", "infected_share", "n_stacks"]].tolist() == [0.5, 0.5, 2]
    assert wells["last_h"].unique().tolist() == [12.0]
    assert wells.index.tolist() == ["A01", "B01", "A02", "A03"]


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


def noisy(seed: int) -> pd.DataFrame:
    doses = np.repeat([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0], 4)
    truth = sigmoid(np.log10(doses), np.log10(0.4), 1.5, 0.1, 0.95)
    return pd.DataFrame({"moi": doses, "y": truth + np.random.default_rng(seed).normal(0, 0.03, len(doses))})


def test_a_planted_sigmoid_is_recovered() -> None:
    wells = noisy(0)
    fit, curve = dose_response(wells, dose="moi", response="y", level=0.95)
    assert fit["ec50"] == pytest.approx(0.4, rel=0.2)
    assert fit["slope"] == pytest.approx(1.5, rel=0.25)
    assert curve["value"].is_monotonic_increasing
    falling, curve = dose_response(wells.assign(y=1 - wells["y"]), dose="moi", response="y", level=0.95)
    assert falling["ec50"] == pytest.approx(fit["ec50"], rel=1e-3)
    assert falling["slope"] == pytest.approx(-fit["slope"], rel=1e-3)


def test_the_interval_of_the_ec50_holds_it_as_often_as_it_says() -> None:
    fits = [dose_response(noisy(seed), dose="moi", response="y", level=0.95)[0] for seed in range(120)]
    held = np.mean([fit["low"] < 0.4 < fit["high"] for fit in fits])
    assert 0.89 <= held <= 0.99  # 0.95, and three standard errors of it


def test_where_no_curve_can_be_fitted_the_reason_stands() -> None:
    two = pd.DataFrame({"moi": [0.1, 0.1, 1.0], "y": [1.0, 2.0, 3.0]})
    fit, curve = dose_response(two, dose="moi", response="y", level=0.95)
    assert (fit["note"], len(curve), np.isnan(fit["ec50"])) == (
        "no curve: 2 doses, at least 3 are needed",
        0,
        True,
    )
    flat = pd.DataFrame({"moi": [0.1, 1.0, 5.0, 0.0, 1.0], "y": [1.0, 1.0, 1.0, 0.0, np.nan]})
    fit, _ = dose_response(flat, dose="moi", response="y", level=0.95)
    assert (
        fit["note"]
        == "no curve: the response is the same at every dose; 1 wells without a value are left out"
    )


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
