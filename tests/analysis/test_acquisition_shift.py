"""Plain looks of a new plate against those of the training plate, by hand and in words."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.acquisition_shift import COLUMNS, acquisition_shift, ood_summary, shift_sentence


def plate(**values: list[float]) -> pd.DataFrame:
    n = len(next(iter(values.values())))
    return pd.DataFrame({"stack_id": [f"s{i}" for i in range(n)], "plate": "p", "well": "A01"} | values)


TRAINED = plate(mean=[100.0, 104.0, 106.0, 110.0], sharpness=[2.0, 2.2, 2.1, 2.4])


def test_the_median_stack_counts_against_the_range_and_its_margin() -> None:
    new = plate(mean=[109.0, 112.0, 113.0], sharpness=[1.0, 1.2, 2.1])
    table = acquisition_shift(TRAINED, new).set_index("statistic")
    # sharpness: 0.8 below a range of 0.4; mean: 2 above one of 10; the margin of 4 stacks is 24/4 quarters
    assert table["beyond"].to_dict() == pytest.approx({"sharpness": 2.0, "mean": 0.2})
    assert table["unlike"].to_dict() == {"sharpness": True, "mean": False}
    assert table["outside"].to_dict() == {"sharpness": 2, "mean": 2}
    assert table.loc["mean", ["low", "high", "value"]].tolist() == [100, 110, 112]
    assert shift_sentence(table.reset_index()) == "sharpness 1.2 (training 2 to 2.4)"


def test_what_is_odd_over_all_hours_and_at_the_start_is_said_once() -> None:
    trained = plate(mean=[100.0, 104.0, 106.0, 110.0], mean_start=[100.0, 101.0, 102.0, 102.0])
    table = acquisition_shift(trained, plate(mean=[130.0], mean_start=[130.0]))
    assert table["statistic"].tolist() == ["mean_start", "mean"]
    assert shift_sentence(table) == "mean grey level in the first frames 130 (training 100 to 102)"


@pytest.mark.parametrize(("n", "unlike"), [(12, False), (24, True), (48, True)])
def test_the_margin_is_wider_where_the_range_is_of_few_stacks(n: int, unlike: bool) -> None:
    trained = plate(mean=np.linspace(100, 110, n).tolist())
    assert acquisition_shift(trained, plate(mean=[113.0]))["unlike"].item() == unlike  # 0.3 ranges beyond


def test_the_training_plate_is_like_itself() -> None:
    table = acquisition_shift(TRAINED, TRAINED)
    assert not table["unlike"].any()
    assert table["beyond"].eq(0).all()
    assert shift_sentence(table) == ""


def test_a_value_that_never_changed_in_training_has_no_room() -> None:
    table = acquisition_shift(plate(mean=[7.0] * 4), plate(mean=[7.5]))
    assert np.isinf(table["beyond"].item())
    assert table["unlike"].item()


def test_three_stacks_make_no_range() -> None:
    table = acquisition_shift(TRAINED.head(3), TRAINED)
    assert table.empty
    assert list(table.columns) == COLUMNS
    assert shift_sentence(table) == ""


@pytest.mark.parametrize(
    ("distance", "opening"),
    [
        (0.5, "THIS PLATE LOOKS UNLIKE THE TRAINING PLATE: its frames differ from all stacks"),
        (1.5, "THIS PLATE LOOKS UNLIKE THE TRAINING PLATE: 4 of 4 stacks lie farther"),
        (np.nan, "THIS PLATE LOOKS UNLIKE THE TRAINING PLATE: its frames differ from all stacks"),
    ],
)
def test_looks_flag_a_plate_whatever_the_model_sees(distance: float, opening: str) -> None:
    rows = plate(distance=[distance] * 4)
    looks = acquisition_shift(TRAINED, plate(mean=[150.0] * 4))
    said = ood_summary(rows, n_held_out=0 if np.isnan(distance) else 9, n_wells=3, shift=looks)
    assert said.verdict == "unlike"
    assert said.sentence.startswith(opening)
    assert said.sentence.count("UNLIKE") == 1
    assert "mean grey level 150 (training 100 to 110)" in said.sentence
