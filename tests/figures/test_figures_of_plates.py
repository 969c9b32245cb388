"""Plots of wells and treatments stand where the wells stand and draw the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from hpiclock import figures
from hpiclock.errors import InputError
from hpiclock.figures.plate import treatment_styles


@pytest.fixture
def wells() -> pd.DataFrame:
    """Two mock wells and three of two doses; one of them was never detected."""
    return pd.DataFrame(
        {
            "plate": "P", "well": ["A01", "A02", "B03", "B04", "D06"], "treatment": [*"mmllh"],
            "order": [0, 0, 1, 1, 2], "condition": ["mock"] * 2 + ["infected"] * 3,
            "moi": [np.nan, np.nan, 1, 1, 5], "onset_h": [np.nan, np.nan, 3, 3, 3], "last_h": 48.0,
            "p_infected": [0.1, 0.2, 0.7, 0.9, 1.0], "detected_hpi": [np.nan, np.nan, 8, np.nan, 4],
        }
    )  # fmt: skip


def labels_of(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def test_a_heat_map_shades_each_well_in_its_place_and_leaves_the_others_blank(wells):
    ax = figures.plate_heat_map(wells, value="p_infected", hour=24)
    cells = ax.collections[0].get_array()
    assert cells.shape == (4, 6)  # D06 needs a plate of 24
    assert cells[1, 2] == 0.7
    assert np.ma.count(cells) == 5
    written = {tuple(map(int, text.get_position())): text.get_text() for text in ax.texts}  # column, row
    assert written == {(0, 0): "0.10", (1, 0): "0.20", (2, 1): "0.70", (3, 1): "0.90", (5, 3): "1.00"}
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["A", "B", "C", "D"]
    assert "highest in D06, B04, B03" in figures.alt_text(ax)
    with pytest.raises(InputError, match="one plate"):
        figures.plate_heat_map(wells.assign(plate=["P", "P", "P", "P", "Q"]), value="p_infected", hour=24)


def test_an_undefined_well_is_hatched_and_says_none(wells):
    ax = figures.plate_heat_map(wells, value="detected_hpi", hour=24)
    hatched = [patch.get_xy() for patch in ax.patches if patch.get_hatch()]
    assert [(int(x), int(y)) for x, y in hatched] == [(0, 0), (1, 0), (3, 1)]
    assert sorted(text.get_text() for text in ax.texts) == ["4", "8", "none", "none", "none"]


def test_wells_stand_beside_their_treatment_and_undetected_ones_at_their_last_hour(wells):
    ax = figures.wells_by_treatment(wells, value="detected_hpi")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["l", "h"]  # mock has no onset
    ax.figure.draw_without_rendering()
    drawn = [np.asarray(points.get_offsets())[:, 0].tolist() for points in ax.collections]
    assert [hours for hours in drawn if hours] == [[8.0], [4.0], [45.0]]  # last hour 48, onset 3
    assert "not detected until then" in labels_of(ax)
    assert "l: mean 8.00, 1 of 2 wells not detected" in figures.alt_text(ax)


def test_treatments_are_told_apart_by_condition_and_moi_or_else_by_their_order(wells):
    own = treatment_styles(wells)
    assert own["m"] == {"color": "#0072B2", "linestyle": "--"}
    assert own["l"]["color"].lower() == "#d55e00"
    compounds = treatment_styles(wells.assign(moi=1.0, condition="infected"))
    assert len({line["color"] for line in compounds.values()}) == 3


def test_curves_of_treatments_have_their_wells_in_the_legend_and_a_band():
    curves = pd.DataFrame(
        {"quantity": "p_infected", "treatment": "l", "order": 1, "condition": "infected", "moi": 1.0,
         "hours": [0.0, 3.0], "value": [0.1, 0.8], "low": [0.0, 0.6], "high": [0.2, 0.9], "n_wells": [2, 3]}
    )  # fmt: skip
    ax = figures.treatment_curves(curves, quantity="p_infected", level=0.95, threshold=0.5)
    assert labels_of(ax) == ["l (3 wells)", "threshold 0.5"]
    assert list(ax.get_lines()[0].get_ydata()) == [0.1, 0.8]
    band = ax.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.0, 0.9)


def test_a_dose_response_marks_the_ec50_inside_the_doses_only(wells):
    curve = pd.DataFrame({"dose": [1.0, 5.0], "value": [0.5, 1.0]})
    fit = {
        "dose": "moi",
        "response": "p_infected",
        "ec50": 2.0,
        "low": 1.0,
        "high": 4.0,
        "note": "",
        "compound": "",
    }
    ax = figures.dose_response(wells, curve, fit, unit="", level=0.95)
    assert "EC50 2 (1 to 4)" in labels_of(ax)
    assert ax.get_xscale() == "log"
    assert np.asarray(ax.collections[0].get_offsets()).tolist() == [[1, 0.7], [1, 0.9], [5, 1.0]]
    assert "mean of 2 controls" in labels_of(ax)
    above = {"ec50": np.nan, "low": 4.0, "high": np.nan, "note": "EC50 above 4"}
    open_end = figures.dose_response(wells, curve, fit | above, unit="", level=0.95)
    assert "EC50 above 4" in labels_of(open_end)
    none = figures.dose_response(
        wells, curve.head(0), fit | {"ec50": np.nan, "note": "doses too few"}, unit="", level=0.95
    )
    assert "doses too few" in labels_of(none)


def test_the_grid_of_wells_has_their_rows_and_columns(scored_plate):
    rows = scored_plate.assign(treatment=scored_plate["condition"], order=0)
    figure = figures.well_grid_figure(rows, threshold=0.5)
    assert len(figure.axes) == 2 * 3  # rows A and B, columns 1, 2 and 10
    assert [ax.get_title("center") for ax in figure.axes[:3]] == ["1", "2", "10"]
    assert [figure.axes[place].get_ylabel() for place in (0, 3)] == ["A", "B"]
    assert [len(ax.get_lines()) for ax in figure.axes] == [3, 4, 0, 0, 0, 4]  # fields, threshold, onset
