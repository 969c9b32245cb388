"""Plots draw the numbers of their tables, name units and n, and say why when there is nothing to draw."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.patches import Circle, Rectangle
from matplotlib.text import Text

from hpiclock import tables
from hpiclock.errors import InputError
from hpiclock.report import plots
from hpiclock.report.plots import style
from hpiclock.report.show import png

HOURS = [0.0, 3.0, 6.0, 9.0]


def a_plate() -> pd.DataFrame:
    """Predictions of a mock well, a well of MOI 1 and one of MOI 5 (onset 3 h), two positions each."""
    rows = []
    for well, moi in (("A01", np.nan), ("A02", 1.0), ("B10", 5.0)):
        for position in ("1", "2"):
            for frame, hours in enumerate(HOURS):
                infected = moi > 0
                rows.append(
                    {
                        "stack_id": f"{well}p{position}",
                        "path": "",
                        "plate": "P",
                        "well": well,
                        "position": position,
                        "condition": "infected" if infected else "mock",
                        "moi": moi,
                        "onset_h": 3.0 if infected else np.nan,
                        "frame": frame,
                        "hours": hours,
                        "hpi": hours - 3.0 if infected else np.nan,
                        "label": pd.NA if infected and hours < 3 else int(infected),
                        "clock": "infection" if infected else "experiment",
                        "time_target": hours - 3.0 if infected else hours,
                        "split": "test",
                        "fold": 0,
                        "run": "r",
                        "seed": 0,
                        "p_infected": 0.1 * frame,
                        "time_pred": hours + 1.0,
                    }
                )
    return tables.check(tables.PREDICTIONS, pd.DataFrame(rows))


def windows(values: list[float], *, group: str = "all", metric: str = "auc", note: str = "") -> pd.DataFrame:
    """One METRICS row per window of 6 h every 3 h, in which infected frames are one third."""
    n = len(values)
    return tables.check(
        tables.METRICS,
        pd.DataFrame(
            {
                "run": "r",
                "split": "test",
                "group": group,
                "start_h": 3.0 * np.arange(n),
                "end_h": 3.0 * np.arange(n) + 6,
                "metric": metric,
                "value": values,
                "low": np.array(values) - 0.1,
                "high": np.array(values) + 0.1,
                "n": 30,
                "n_stacks": 6,
                "n_wells": 3,
                "n_infected": 10,
                "note": [note if np.isnan(v) else "" for v in values],
            }
        ),
    )


def labels_of(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def line_named(ax, start: str):
    return next(line for line in ax.get_lines() if str(line.get_label()).startswith(start))


def words_in(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_conditions_keep_their_colour_and_moi_its_shade_whatever_else_is_drawn():
    all_three = {t.label: t.colour for t in style.treatments(a_plate())}
    assert all_three["mock"] == style.MOCK
    assert all_three["MOI 1"].lower() == style.INFECTED.lower()
    alone = style.treatments(a_plate().query("well == 'B10'"))
    assert [(t.label, t.colour) for t in alone] == [("MOI 5", all_three["MOI 5"])]


def test_infected_without_a_known_moi_is_called_infected():
    table = a_plate().assign(moi=np.nan)
    assert [t.label for t in style.treatments(table)] == ["mock", "infected"]
    assert len(style.treatments(table)[1].rows(table)) == 16


def test_plate_map_puts_each_well_at_its_row_and_column_in_its_colour():
    ax = plots.plate_map(a_plate().drop_duplicates("stack_id"))
    wells = {p.get_label(): p for p in ax.patches if isinstance(p, Circle) and p.get_facecolor()[3] > 0}
    assert {name: tuple(map(float, well.center)) for name, well in wells.items()} == {
        "A01": (0, 0), "A02": (1, 0), "B10": (9, 1)
    }  # fmt: skip
    assert to_hex(wells["A01"].get_facecolor()) == style.MOCK.lower()
    assert len([p for p in ax.patches if isinstance(p, Circle)]) == 96 + 3  # column 10 needs 8 x 12


@pytest.mark.parametrize(("well", "places"), [("B03", 6), ("D06", 24), ("H12", 96), ("P24", 384)])
def test_plate_format_is_the_smallest_that_holds_the_wells(well, places):
    ax = plots.plate_map(a_plate().query("well == 'A01'").assign(well=well))
    assert len(ax.patches) == places + 1


def test_wells_without_a_place_in_their_name_are_laid_out_in_order_and_said_so():
    ax = plots.plate_map(a_plate().assign(well=lambda t: "dish " + t["well"]))
    assert "no place" in ax.get_xlabel()
    assert len(ax.patches) == 3 + 3


def test_plate_map_of_two_plates_is_refused_and_drawn_by_the_figure():
    two = pd.concat([a_plate(), a_plate().assign(plate="Q")])
    with pytest.raises(InputError, match="plate_map_figure"):
        plots.plate_map(two)
    assert [ax.get_title("left") for ax in plots.plate_map_figure(two).axes] == ["Plate P", "Plate Q"]


def test_split_overview_has_a_tile_per_stack_and_shows_a_well_on_two_sides():
    frames = a_plate()
    frames.loc[frames["stack_id"].eq("A02p2"), "split"] = "train"
    ax = plots.split_overview(frames, note="Split by position.")
    tiles = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_label() in tables.SPLITS]
    assert sorted(t.get_label() for t in tiles) == ["test"] * 5 + ["train"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["A01", "A02", "B10"]
    assert ax.get_title("left") == "Split by position."
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "test: 3 wells, 5 stacks" in legend


def test_hours_coverage_draws_every_frame_once_and_frames_before_onset_in_grey():
    ax = plots.hours_coverage(a_plate())
    drawn: dict[str, int] = {}
    for ticks in (c for c in ax.collections if c.get_segments()):
        colour = to_hex(ticks.get_colors()[0])
        drawn[colour] = drawn.get(colour, 0) + len(ticks.get_segments())
    assert sum(drawn.values()) == 24
    assert drawn[style.MOCK.lower()] == 8
    assert drawn[style.GREY.lower()] == 4  # hour 0 of four infected stacks
    onsets = next(line for line in ax.get_lines() if line.get_marker() == "D")
    assert list(onsets.get_xdata()) == [3.0] * 4


def test_clocks_are_lines_a_constant_apart_and_count_their_wells():
    ax = plots.clocks(a_plate())
    infected, mock = line_named(ax, "infected"), line_named(ax, "mock")
    np.testing.assert_allclose(np.subtract(infected.get_ydata(), infected.get_xdata()), -3)
    np.testing.assert_allclose(mock.get_ydata(), HOURS)
    assert infected.get_label() == "infected: infection clock, onset 3 h (2 wells)"


def test_film_strip_sorts_by_hour_and_writes_hours_and_hpi_under_each_frame():
    frames = a_plate().query("stack_id in ['A01p1', 'A02p1']").iloc[::-1]
    images = np.stack([np.full((8, 8), i, np.uint8) for i in range(len(frames))])
    axes = plots.film_strip_figure(frames, images).axes
    assert [ax.get_xlabel() for ax in axes[:4]] == [
        "0 h · −3 hpi",
        "3 h · 0 hpi",
        "6 h · 3 hpi",
        "9 h · 6 hpi",
    ]
    assert [ax.get_xlabel() for ax in axes[4:]] == ["0 h", "3 h", "6 h", "9 h"]
    # reversed rows: the last image belongs to hour 0 of the mock stack, shown first in the second strip
    assert axes[4].images[0].get_array()[0, 0] == 7
    assert axes[0].get_ylabel() == "A02 p1\nMOI 1"


def test_gallery_captions_say_where_when_and_what_the_model_said():
    row = a_plate().query("stack_id == 'B10p2' and frame == 3").assign(reason="time error", rank=1)
    ax = plots.gallery_figure(row, np.zeros((1, 8, 8), np.uint8)).axes[0]
    assert ax.xaxis.get_label().get_text().split("\n") == [
        "1. time error", "B10 p2 · MOI 5 · 9 h · 6 hpi", "P(infected) 0.30",
        "said 10.0 h, true 6.0 h (+4.0 h)",
    ]  # fmt: skip


def test_images_and_rows_must_agree():
    with pytest.raises(InputError, match="one for each row"):
        plots.gallery_figure(a_plate(), np.zeros((2, 8, 8), np.uint8))


def test_learning_curve_draws_both_splits_and_marks_the_kept_epoch():
    history = pd.DataFrame(
        [(e, s, "mae", e + (s == "val")) for s in ("train", "val") for e in (2, 1, 3)],
        columns=["epoch", "split", "metric", "value"],
    )
    ax = plots.learning_curve(history, metric="mae", best_epoch=2)
    assert list(line_named(ax, "val").get_xdata()) == [1, 2, 3]
    assert list(line_named(ax, "val").get_ydata()) == [2, 3, 4]
    assert "kept: epoch 2" in labels_of(ax)
    assert ax.get_ylabel() == "time MAE (h)"


def test_learning_panels_are_those_that_were_recorded():
    history = pd.DataFrame(
        {"epoch": 1, "split": "val", "metric": ["loss", "auc", "f1"], "value": [1.0, np.nan, 0.5]}
    )
    assert [ax.get_ylabel() for ax in plots.learning_curves_figure(history).axes] == ["loss (weighted sum)"]
    assert [ax.get_ylabel() for ax in plots.validation_metrics_figure(history).axes] == ["F1"]


def test_roc_draws_the_curve_with_auc_interval_n_and_the_threshold():
    curve = pd.DataFrame(
        {"split": "test", "fpr": [0, 0, 0.5, 1], "tpr": [0, 0.5, 1, 1], "threshold": [np.inf, 0.9, 0.4, 0.1]}
    )
    auc = windows([0.875]).assign(start_h=np.nan, end_h=np.nan, low=0.7, high=0.95)
    ax = plots.roc(curve, auc, level=0.9, threshold=0.5)
    assert list(line_named(ax, "test").get_xdata()) == [0, 0, 0.5, 1]
    assert "test: AUC 0.875 (0.700 to 0.950)\n90% interval\n30 frames, 6 stacks, 3 wells" in labels_of(ax)
    point = next(line for line in ax.get_lines() if line.get_marker() == "o" and len(line.get_xdata()))
    # called infected at 0.5 or more: the frames scored 0.9, not those scored 0.4
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (0, 0.5)


def test_roc_says_why_an_auc_has_no_interval():
    curve = pd.DataFrame({"split": "test", "fpr": [0, 1], "tpr": [0, 1], "threshold": [np.inf, 0.1]})
    note = "no interval: 2 mock groups; unit well"
    auc = windows([0.5]).assign(low=np.nan, high=np.nan, note=note)
    assert (
        "test: AUC 0.500\nno interval: 2 mock groups\n30 frames"
        in labels_of(plots.roc(curve, auc, level=0.95))[1]
    )


def test_confusion_writes_counts_and_shares_into_the_right_cell():
    cells = pd.DataFrame(
        {"split": "test", "label": [0, 0, 1, 1], "predicted": [0, 1, 0, 1], "n": [9, 1, 0, 0],
         "n_stacks": [2, 1, 0, 0], "n_wells": 1, "share": [0.9, 0.1, np.nan, np.nan]}
    )  # fmt: skip
    ax = plots.confusion(cells)
    texts = {t.get_position(): t.get_text() for t in ax.texts}
    assert texts[(1, 0)] == "10.0%\n1 frame\n1 stack"
    assert texts[(0, 1)].startswith("no such frames")
    with pytest.raises(InputError, match="one split"):
        plots.confusion(pd.concat([cells, cells.assign(split="val")]))


def test_reliability_draws_bins_intervals_and_counts():
    bins = pd.DataFrame(
        {"split": "test", "p_mean": [0.1, 0.5, 0.9], "rate": [0.0, 0.4, 1.0], "low": [0.0, 0.2, np.nan],
         "high": [0.2, 0.6, np.nan], "n": [30, 20, 10]}
    )  # fmt: skip
    ax = plots.reliability(bins, level=0.95)
    assert list(line_named(ax, "share").get_ydata()) == [0.0, 0.4, 1.0]
    assert [len(c.get_segments()) for c in ax.collections] == [2]  # the third bin has no interval
    counts = ax.child_axes[0]
    assert [segment[1][1] for segment in counts.collections[0].get_segments()] == [30, 20, 10]
    assert "1 bin without an interval" in plots.alt_text(ax)


def test_scores_over_hours_are_a_line_per_stack_and_an_entry_per_treatment():
    ax = plots.score_over_hours(a_plate(), threshold=0.25)
    assert labels_of(ax) == ["mock (2 stacks)", "MOI 1 (2 stacks)", "MOI 5 (2 stacks)", "threshold 0.25"]
    assert len(ax.get_lines()) == 6 + 1
    by_hpi = plots.score_over_hours(a_plate(), clock="hpi")
    assert "hpi" in by_hpi.get_xlabel()
    assert len(by_hpi.get_lines()) == 4 + 1  # mock has no hpi; the onset is a line


def test_score_distribution_leaves_out_frames_without_a_label():
    ax = plots.score_distribution(a_plate())
    assert labels_of(ax) == ["not infected (8 frames, 2 stacks)", "infected (12 frames, 4 stacks)"]


def test_regression_line_is_the_one_given_and_truth_is_the_diagonal():
    line = pd.DataFrame(
        {"clock": ["infection"], "slope": [0.5], "intercept": [-1.0], "r2": [0.9], "mae": [2.0], "n": [16],
         "n_stacks": [4], "n_wells": [2]}
    )  # fmt: skip
    ax = plots.prediction_vs_target(a_plate(), clock="infection", line=line)
    fitted, truth = line_named(ax, "regression"), line_named(ax, "prediction = truth")
    np.testing.assert_allclose(fitted.get_ydata(), 0.5 * fitted.get_xdata() - 1.0)
    assert list(truth.get_xdata()) == list(truth.get_ydata())
    dots = line_named(ax, "MOI 1")
    np.testing.assert_allclose(
        np.subtract(dots.get_ydata(), dots.get_xdata()), 4
    )  # hours + 1 against hours - 3
    assert "predicted = −1.00 h + 0.50 × true" in words_in(ax.figure)
    assert "16 frames, 4 stacks, 2 wells" in words_in(ax.figure)
    assert [ax.get_title("left") for ax in plots.prediction_scatter_figure(a_plate()).axes] == [
        "Infection clock", "Experiment clock"
    ]  # fmt: skip


def test_residuals_leave_a_gap_where_a_bin_has_no_frames():
    bins = pd.DataFrame(
        {"split": "test", "label": 1, "start_h": [0.0, 2.0, 4.0], "end_h": [2.0, 4.0, 6.0], "clock": "true",
         "bias": [1.0, np.nan, -1.0], "sd": [0.5, np.nan, 0.5], "n": [4, 0, 4], "n_stacks": [2, 0, 2]}
    )  # fmt: skip
    ax = plots.residual_over_hours(bins)
    line = line_named(ax, "infected")
    np.testing.assert_array_equal(line.get_xdata(), [1, 3, 5])
    np.testing.assert_array_equal(line.get_ydata(), [1, np.nan, -1])
    assert ax.get_ylabel().endswith("(h)")


def test_bland_altman_draws_bias_and_limits():
    limits = pd.DataFrame(
        {"clock": ["infection"], "bias": [4.0], "bias_low": [3.0], "bias_high": [5.0], "lower": [-1.0],
         "upper": [9.0]}
    )  # fmt: skip
    ax = plots.bland_altman(a_plate(), limits, clock="infection", level=0.95)
    dots = line_named(ax, "MOI 1")
    np.testing.assert_allclose(dots.get_ydata(), 4)
    np.testing.assert_allclose(dots.get_xdata()[:4], np.array(HOURS) - 1)  # (hours + 1 + hours - 3) / 2
    heights = {float(line.get_ydata()[0]) for line in ax.get_lines() if len(line.get_ydata()) == 2}
    assert {4.0, -1.0, 9.0, 0.0} <= heights


def test_undefined_windows_stay_on_the_axis_with_their_reason():
    table = windows([np.nan, np.nan, 0.8, 0.9], note="one class only: no infected frames; unit well")
    ax = plots.metric_by_window(table, metric="auc", level=0.95)
    line = line_named(ax, "all frames")
    np.testing.assert_array_equal(line.get_xdata(), [3, 6, 9, 12])
    np.testing.assert_array_equal(line.get_ydata(), [np.nan, np.nan, 0.8, 0.9])
    hatched = [p for p in ax.patches if p.get_hatch()]
    assert [p.get_extents().transformed(ax.transData.inverted()).intervalx.tolist() for p in hatched] == [
        pytest.approx([1.5, 7.5])
    ]
    assert [t.get_text() for t in ax.texts] == ["no infected frames"]
    assert "Undefined: 3, 6 h no infected frames" in plots.alt_text(ax)


def test_a_group_that_is_undefined_alone_gets_a_cross_and_its_reason():
    table = pd.concat(
        [
            windows([np.nan, 2.0], group="infected", metric="mae", note="no frames"),
            windows([1.0, 1.5], group="mock", metric="mae"),
        ]
    )
    ax = plots.metric_by_window(table, metric="mae", groups=("infected", "mock"), level=0.95)
    cross = line_named(ax, "infected undefined")
    assert list(cross.get_xdata()) == [3]
    assert cross.get_label().endswith("no frames")
    assert not [p for p in ax.patches if p.get_hatch()]


def test_window_bands_are_the_interval_and_counts_stand_below():
    ax = plots.metric_by_window(windows([0.6, 0.7, 0.8]), metric="auc", level=0.95)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.5)
    assert band[:, 1].max() == pytest.approx(0.9)
    counts = ax.child_axes[0]
    assert [bar.get_height() for bar in counts.patches] == [20, 20, 20, 10, 10, 10]  # mock, then infected
    assert [t.get_text() for t in counts.texts] == ["6", "6", "6"]
    assert counts.get_xlabel() == "time since imaging start (h)"


def test_the_band_over_all_windows_is_drawn_beside_the_pointwise_one():
    table = windows([0.6, 0.7]).assign(low_simultaneous=0.3, high_simultaneous=0.95)
    names = labels_of(plots.metric_by_window(table, metric="auc", level=0.95))
    assert "95% band, all windows" in names
    assert "95% interval, pointwise" in names


def test_an_interval_without_neighbours_is_still_drawn():
    ax = plots.metric_by_window(windows([np.nan, 0.7, np.nan]), metric="auc", level=0.95)
    segments = [s for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments()]
    assert any(np.allclose(segment, [[6, 0.6], [6, 0.8]]) for segment in segments)


def test_generalization_figure_has_the_references_panels_and_the_counts():
    table = pd.concat(
        [windows([0.5, 0.6], metric=m) for m in ("auc", "accuracy", "f1", "precision", "recall")]
        + [windows([1.0, 2.0], metric="mae", group=g) for g in ("infected", "mock")]
    )
    figure = plots.temporal_generalization_figure(table, level=0.95)
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "AUC", "accuracy", "F1", "precision", "recall", "time MAE (h)", "frames"
    ]  # fmt: skip
    assert sorted(t.get_text() for t in figure.axes[5].get_legend().get_texts()) == ["infected", "mock"]


def test_detection_curve_steps_and_counts_those_still_watched():
    curve = pd.DataFrame(
        {"group": "moi=1", "time_h": [0.0, 4.0, 8.0], "share": [0.0, 0.5, 1.0], "low": np.nan, "high": np.nan,
         "n_at_risk": [4, 4, 1], "n_censored": [0, 1, 0]}
    )  # fmt: skip
    ax = plots.detection_curve(curve, level=0.95)
    line = line_named(ax, "MOI 1 (4 stacks)")
    assert list(line.get_ydata()) == [0.0, 0.5, 1.0]
    assert line.get_drawstyle() == "steps-post"
    assert list(line_named(ax, "watched no longer").get_xdata()) == [4.0]
    counted = {round(t.get_position()[0], 6): t.get_text() for t in ax.child_axes[0].texts}
    assert (counted[0.0], counted[4.0], counted[5.0]) == ("4", "4", "1")


def test_trajectory_points_at_onset_and_cursor():
    rows = a_plate().query("stack_id == 'A02p1'").assign(time_low=0.0, time_high=5.0)
    figure = plots.trajectory_figure(rows, threshold=0.5, cursor_h=6)
    left, right = figure.axes
    assert list(line_named(left, "predicted").get_ydata()) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert line_named(right, "this frame: 6 h").get_xdata()[0] == 6
    assert line_named(right, "onset 3 h").get_xdata()[0] == 3
    assert "interval of the prediction" in labels_of(right)
    with pytest.raises(InputError, match="one stack"):
        plots.trajectory_figure(a_plate())


NO_ROWS = a_plate().iloc[:0]
NO_METRICS = windows([0.5]).iloc[:0]
NO_HISTORY = pd.DataFrame(columns=["epoch", "split", "metric", "value"])
NO_IMAGES = np.zeros((0, 8, 8), np.uint8)
NO_CURVE = pd.DataFrame(columns=["split", "fpr", "tpr", "threshold"])
EMPTY = {
    "plate_map": lambda: plots.plate_map(NO_ROWS),
    "plate_map_figure": lambda: plots.plate_map_figure(NO_ROWS),
    "split_overview": lambda: plots.split_overview(NO_ROWS),
    "hours_coverage": lambda: plots.hours_coverage(NO_ROWS),
    "clocks": lambda: plots.clocks(NO_ROWS),
    "film_strip_figure": lambda: plots.film_strip_figure(NO_ROWS, NO_IMAGES),
    "gallery_figure": lambda: plots.gallery_figure(NO_ROWS, NO_IMAGES),
    "grey_levels_figure": lambda: plots.grey_levels_figure(NO_ROWS.assign(mean=0.0, sd=0.0)),
    "learning_curves_figure": lambda: plots.learning_curves_figure(NO_HISTORY),
    "validation_metrics_figure": lambda: plots.validation_metrics_figure(NO_HISTORY),
    "roc": lambda: plots.roc(NO_CURVE, NO_METRICS, level=0.95),
    "confusion": lambda: plots.confusion(pd.DataFrame(columns=["split", "label", "predicted", "n"])),
    "reliability": lambda: plots.reliability(pd.DataFrame(columns=["n"]), level=0.95),
    "score_over_hours": lambda: plots.score_over_hours(NO_ROWS),
    "score_distribution": lambda: plots.score_distribution(NO_ROWS),
    "prediction_scatter_figure": lambda: plots.prediction_scatter_figure(NO_ROWS),
    "prediction_vs_target": lambda: plots.prediction_vs_target(NO_ROWS, clock="infection"),
    "residual_over_hours": lambda: plots.residual_over_hours(
        pd.DataFrame(columns=["clock", "start_h", "end_h", "bias"])
    ),
    "bland_altman": lambda: plots.bland_altman(NO_ROWS, NO_METRICS, clock="infection", level=0.95),
    "metric_by_window": lambda: plots.metric_by_window(NO_METRICS, metric="auc", level=0.95),
    "counts_by_window": lambda: plots.counts_by_window(NO_METRICS),
    "temporal_generalization_figure": lambda: plots.temporal_generalization_figure(NO_METRICS, level=0.95),
    "detection_curve": lambda: plots.detection_curve(pd.DataFrame(), level=0.95),
    "trajectory_figure": lambda: plots.trajectory_figure(NO_ROWS),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_table_gives_words_instead_of_a_crash(name):
    drawn = EMPTY[name]()
    assert "no " in words_in(style.figure_of(drawn))
    assert plots.alt_text(drawn).startswith("Empty figure: no ")
    assert png(drawn).startswith(b"\x89PNG")


ONE = a_plate().query("stack_id == 'A02p1' and frame == 3")
FEW = {
    "one frame": ONE,
    "mock only": a_plate().query("condition == 'mock'"),
    "no plate, well, MOI or onset": a_plate().assign(
        plate="", well="", moi=np.nan, onset_h=np.nan, hpi=np.nan
    ),
    "no predictions": a_plate().assign(p_infected=np.nan, time_pred=np.nan),
}


@pytest.mark.parametrize("case", FEW)
def test_tables_with_one_row_one_class_or_missing_columns_draw_without_a_warning(case):
    rows = FEW[case]
    for drawn in (
        plots.plate_map(rows), plots.split_overview(rows), plots.hours_coverage(rows), plots.clocks(rows),
        plots.score_over_hours(rows, threshold=0.5), plots.score_distribution(rows),
        plots.prediction_scatter_figure(rows),
        plots.trajectory_figure(rows.query("stack_id == stack_id.max()")),
        plots.film_strip_figure(rows, np.zeros((len(rows), 8, 8), np.uint8)),
        plots.grey_levels_figure(rows.assign(mean=128.0, sd=20.0)),
    ):  # fmt: skip
        assert plots.alt_text(drawn)
        assert png(drawn).startswith(b"\x89PNG")


def test_one_window_and_windows_without_any_value_draw():
    for values in ([0.5], [np.nan], [np.nan, np.nan]):
        table = windows(values, note="no frames")
        for drawn in (
            plots.metric_by_window(table, metric="auc", level=0.95),
            plots.temporal_generalization_figure(table, level=0.95),
        ):
            assert png(drawn).startswith(b"\x89PNG")


def test_plots_leave_the_callers_settings_and_their_axes_alone():
    figure = style.new_figure(4, 3)
    ax = figure.add_subplot()
    before = dict(mpl.rcParams)
    assert plots.clocks(a_plate(), ax=ax) is ax
    assert dict(mpl.rcParams) == before
    assert to_rgba(line_named(ax, "mock").get_color()) == to_rgba(style.MOCK)


def test_the_same_figure_is_the_same_file_with_its_words_inside():
    first, second = png(plots.clocks(a_plate())), png(plots.clocks(a_plate()))
    assert first == second
    assert b"Time target against hours since imaging start" in first


def test_importing_plots_needs_neither_torch_nor_pyplot():
    code = "import sys, hpiclock.report.plots; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
