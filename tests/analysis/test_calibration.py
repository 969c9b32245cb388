"""Calibration intercept and slope: agreement with a GLM, planted faults, coverage, what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from statsmodels.genmod import families
from statsmodels.genmod.generalized_linear_model import GLM

from hpiclock.analysis.calibration import calibration
from hpiclock.analysis.sentences import BEWARE, CANNOT, SAYS, calibration_sentences


def plate(
    seed: int, wells: tuple[int, int], *, scale: float = 1.0, shift: float = 0.0, frames: int = 40
) -> pd.DataFrame:
    """Wells with an error each, Gaussian scores by class: calibrated at scale 1, shift 0; slope 1 / scale."""
    rng = np.random.default_rng(seed)
    label = np.repeat([1, 0], wells)
    well = np.repeat(np.arange(len(label)), frames)
    score = 2 * label[well] + np.sqrt(0.3) * rng.normal(size=len(label))[well]
    score = score + np.sqrt(0.7) * rng.normal(size=len(well))
    log_odds = scale * (2 * score - 2 + np.log(wells[0] / wells[1])) + shift
    names = np.array([f"W{code}" for code in well])
    return pd.DataFrame(
        {"run": "r", "split": "test", "plate": "P", "well": names, "stack_id": names, "label": label[well],
         "condition": np.where(label[well] == 1, "infected", "mock"), "p_infected": expit(log_odds)}
    )  # fmt: skip


def judged(rows: pd.DataFrame, margin: float = 1.25) -> tuple[dict, str, str]:
    table = calibration(rows, level=0.95, margin=margin)
    _, verdict, sentence = next(calibration_sentences({"calibration": table}, 0.95))
    return table.iloc[0].to_dict(), verdict, sentence


def test_intercept_and_slope_agree_with_a_glm() -> None:
    rows = plate(0, (6, 9), scale=1.4, shift=0.5)
    row, _, _ = judged(rows)
    z, y = logit(rows["p_infected"].to_numpy()), rows["label"].to_numpy()
    ones = np.ones((len(z), 1))
    (intercept,) = GLM(y, ones, family=families.Binomial(), offset=z).fit().params
    _, slope = GLM(y, np.column_stack([ones, z]), family=families.Binomial()).fit().params
    assert (row["intercept"], row["slope"]) == pytest.approx((intercept, slope), rel=1e-6)
    assert (row["mean_p"], row["share_infected"]) == pytest.approx((expit(z).mean(), 0.4))


def test_a_bias_of_the_mean_is_seen_where_a_temperature_sees_none() -> None:
    rows = plate(1, (12, 12), shift=1.5)
    row, verdict, sentence = judged(rows)
    assert verdict == BEWARE
    assert row["intercept_high"] < 0
    assert f"too high on average, mean {row['mean_p']:.3f} against 0.500 of the frames infected" in sentence
    _, verdict, sentence = judged(rows.assign(p_infected=plate(1, (12, 12), shift=-1.5)["p_infected"]))
    assert verdict == BEWARE
    assert "too low on average" in sentence


def test_a_model_too_sure_and_one_too_unsure_are_named() -> None:
    for scale, words in ((2.5, "too near 0 and 1"), (0.4, "too near the middle")):
        row, verdict, sentence = judged(plate(2, (12, 12), scale=scale))
        assert verdict == BEWARE
        assert words in sentence
        assert row["slope_low"] < 1 / scale < row["slope_high"]


def test_calibrated_is_said_only_inside_the_margin() -> None:
    _, verdict, sentence = judged(plate(3, (12, 12)))
    assert verdict == CANNOT
    assert "within the factor of 1.25 set beforehand" in sentence
    _, verdict, sentence = judged(plate(3, (60, 60), frames=20), margin=1.5)
    assert verdict == SAYS
    assert "off by less than the factor of 1.5 set beforehand" in sentence
    assert "120 wells, 50% of 2,400 frames infected" in sentence


def test_the_limits_hold_the_truth_with_few_wells() -> None:
    held = []
    for seed in range(60):
        row, _, _ = judged(plate(seed, (4, 4)))
        if np.isfinite(row["slope_low"]):
            held.append([row[f"{name}_low"] <= right <= row[f"{name}_high"]
                         for name, right in (("intercept", 0), ("slope", 1))])  # fmt: skip
    # a sandwich over wells of both classes together held 1.00 and 0.89
    assert (np.mean(held, 0) >= 0.9).all()


def test_below_three_wells_a_class_there_are_no_limits() -> None:
    row, verdict, sentence = judged(plate(0, (2, 6), shift=3.0))
    assert np.isfinite([row["intercept"], row["slope"]]).all()
    assert np.isnan([row["intercept_low"], row["slope_low"]]).all()
    assert verdict == CANNOT
    assert "2 infected wells, at least 3 needed" in sentence
    alone = plate(0, (1, 6), frames=60)
    alone["stack_id"] += (alone.index % 3).astype(str)
    _, verdict, sentence = judged(alone)
    assert verdict == CANNOT
    assert "no interval: 1 infected well, at least 3 needed" in sentence


def test_separated_classes_have_an_intercept_and_no_slope() -> None:
    rows = plate(0, (4, 4))
    row, verdict, _ = judged(rows.assign(p_infected=np.where(rows["label"] == 1, 0.99, 0.4)))
    assert np.isfinite(row["intercept"])
    assert np.isnan(row["slope"])
    assert "separates the classes entirely" in row["note"]
    assert verdict == BEWARE
    _, verdict, sentence = judged(rows[rows["label"].eq(1)])
    assert (verdict, sentence) == (
        CANNOT,
        "Cannot tell whether P(infected) is a probability: one class only.",
    )


def test_one_step_without_each_of_many_wells_is_near_the_fit_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = plate(5, (60, 60), scale=1.3, frames=20)
    limits = [f"{name}_{end}" for name in ("intercept", "slope") for end in ("low", "high")]
    exact = judged(rows)[0]
    monkeypatch.setattr("hpiclock.analysis.calibration.MANY", 100)
    one_step = judged(rows)[0]
    assert [one_step[name] for name in limits] != [exact[name] for name in limits]
    assert [one_step[name] for name in limits] == pytest.approx([exact[name] for name in limits], abs=0.02)
