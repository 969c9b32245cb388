"""Plots of results draw the numbers of their tables, with n and intervals, and keep what is undefined."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from hpiclock import figures
from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.predictions import trajectory

HOURS = [0.0, 3.0, 6.0, 9.0]


def labels_of(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def line_named(ax, start: str):
    return next(line for line in ax.get_lines() if str(line.get_label()).startswith(start))


def lines_of(ax) -> list:
    return [line for line in ax.get_lines() if len(line.get_xdata())]


def dots_of(ax, condition_colour: str) -> np.ndarray:
    """The points (n, 2) of the scatter that have this colour."""
    (points,) = ax.collections
    colours = [to_hex(colour) for colour in points.get_facecolors()]
    return points.get_offsets()[[colour == condition_colour.lower() for colour in colours]]


def words_in(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_roc_draws_the_curve_with_auc_interval_n_and_the_threshold(made_windows):
    curve = pd.DataFrame(
        {"split": "test", "fpr": [0, 0, 0.5, 1], "tpr": [0, 0.5, 1, 1], "threshold": [np.inf, 0.9, 0.4, 0.1]}
    )
    auc = made_windows([0.875]).assign(start_h=np.nan, end_h=np.nan, low=0.7, high=0.95)
    ax = figures.roc(curve, auc, level=0.9, threshold=0.5)
    assert list(line_named(ax, "test").get_xdata()) == [0, 0, 0.5, 1]
    assert "test: AUC 0.875 (0.700 to 0.950)\n90% interval\n30 frames, 6 stacks, 3 wells" in labels_of(ax)
    point = next(line for line in ax.get_lines() if line.get_marker() == "o" and len(line.get_xdata()))
    # called infected at 0.5 or more: the frames scored 0.9, not those scored 0.4
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (0, 0.5)


def test_roc_alone_fills_the_page(made_windows):
    curve = pd.DataFrame({"split": "test", "fpr": [0.0, 1.0], "tpr": [0.0, 1.0], "threshold": [np.inf, 0.1]})
    drawn = figures.roc(curve, made_windows([0.5]), level=0.95)
    drawn.figure.draw_without_rendering()
    assert drawn.figure.get_tightbbox().width > 0.97 * style.PAGE_IN


def test_roc_says_why_an_auc_has_no_interval(made_windows):
    curve = pd.DataFrame({"split": "test", "fpr": [0, 1], "tpr": [0, 1], "threshold": [np.inf, 0.1]})
    note = "no interval: 2 mock groups; unit well"
    auc = made_windows([0.5]).assign(low=np.nan, high=np.nan, note=note)
    assert (
        "test: AUC 0.500\nno interval: 2 mock groups\n30 frames"
        in labels_of(figures.roc(curve, auc, level=0.95))[1]
    )


def test_confusion_writes_counts_and_shares_into_the_right_cell():
    cells = pd.DataFrame(
        {"split": "test", "label": [0, 0, 1, 1], "predicted": [0, 1, 0, 1], "n": [9, 1, 0, 0],
         "n_stacks": [2, 1, 0, 0], "n_wells": 1, "share": [0.9, 0.1, np.nan, np.nan]}
    )  # fmt: skip
    ax = figures.confusion(cells)
    texts = {tuple(map(int, t.get_position())): t.get_text() for t in ax.texts}  # column, row
    assert texts[(1, 0)] == "10.0%\n1 frame\n1 stack"
    assert texts[(0, 1)].startswith("no such frames")
    with pytest.raises(InputError, match="one split"):
        figures.confusion(pd.concat([cells, cells.assign(split="val")]))


def test_reliability_draws_bins_intervals_and_counts():
    bins = pd.DataFrame(
        {"split": "test", "p_mean": [0.1, 0.5, 0.9], "rate": [0.0, 0.4, 1.0], "low": [0.0, 0.2, np.nan],
         "high": [0.2, 0.6, np.nan], "n": [30, 20, 10]}
    )  # fmt: skip
    ax = figures.reliability(bins, level=0.95)
    assert list(line_named(ax, "share").get_ydata()) == [0.0, 0.4, 1.0]
    assert [len(c.get_segments()) for c in ax.collections] == [2]  # the third bin has no interval
    counts = ax.child_axes[0]
    assert [segment[1][1] for segment in counts.collections[0].get_segments()] == [30, 20, 10]
    assert "1 bin without an interval" in figures.alt_text(ax)


def test_scores_over_hours_are_a_line_per_stack_and_an_entry_per_treatment(scored_plate):
    ax = figures.score_over_hours(scored_plate, threshold=0.25)
    assert labels_of(ax) == ["mock (2 stacks)", "MOI 1 (2 stacks)", "MOI 5 (2 stacks)", "threshold 0.25"]
    assert len(lines_of(ax)) == 6 + 1
    by_hpi = figures.score_over_hours(scored_plate, clock="hpi")
    assert "hpi" in by_hpi.get_xlabel()
    assert len(lines_of(by_hpi)) == 4 + 1  # mock has no hpi; the onset is a line


def test_regression_line_is_the_one_given_and_truth_is_the_diagonal(scored_plate):
    line = pd.DataFrame(
        {"split": ["test"], "clock": ["infection"], "slope": [0.5], "intercept": [-1.0], "slope_low": [0.4],
         "slope_high": [0.6],
         "n": [16], "n_stacks": [4], "n_wells": [2]}
    )  # fmt: skip
    ax = figures.prediction_vs_target(scored_plate, clock="infection", line=line)
    fitted, truth = line_named(ax, "regression"), line_named(ax, "prediction = truth")
    np.testing.assert_allclose(fitted.get_ydata(), 0.5 * fitted.get_xdata() - 1.0)
    assert list(truth.get_xdata()) == list(truth.get_ydata())
    dots = dots_of(ax, style.INFECTED)  # those of MOI 1
    assert len(dots) == 8
    np.testing.assert_allclose(dots[:, 1] - dots[:, 0], 4)  # hours + 1 against hours - 3
    assert "predicted = −1.00 h + 0.50 × true" in words_in(ax.figure)
    assert "16 frames, 4 stacks, 2 wells" in words_in(ax.figure)
    assert [ax.get_title("left") for ax in figures.prediction_scatter_figure(scored_plate).axes] == [
        "Infection clock, class given", "Experiment clock, class given"
    ]  # fmt: skip


def test_residuals_leave_a_gap_where_a_bin_has_no_frames():
    bins = pd.DataFrame(
        {"split": "test", "label": 1, "start_h": [0.0, 2.0, 4.0], "end_h": [2.0, 4.0, 6.0], "clock": "true",
         "bias": [1.0, np.nan, -1.0], "sd": [0.5, np.nan, 0.5], "n": [4, 0, 4], "n_stacks": [2, 0, 2]}
    )  # fmt: skip
    ax = figures.residual_over_hours(bins)
    line = line_named(ax, "infected")
    np.testing.assert_array_equal(line.get_xdata(), [1, 3, 5])
    np.testing.assert_array_equal(line.get_ydata(), [1, np.nan, -1])
    assert ax.get_ylabel().endswith("(h)")


def test_bland_altman_draws_bias_and_limits(scored_plate):
    limits = pd.DataFrame(
        {"clock": ["infection"], "bias": [4.0], "bias_low": [3.0], "bias_high": [5.0], "lower": [-1.0],
         "upper": [9.0]}
    )  # fmt: skip
    ax = figures.bland_altman(scored_plate, limits, clock="infection", level=0.95)
    dots = dots_of(ax, style.INFECTED)  # those of MOI 1
    np.testing.assert_allclose(dots[:, 1], 4)
    np.testing.assert_allclose(dots[:4, 0], np.array(HOURS) - 1)  # (hours + 1 + hours - 3) / 2
    heights = {float(line.get_ydata()[0]) for line in ax.get_lines() if len(line.get_ydata()) == 2}
    assert {4.0, -1.0, 9.0, 0.0} <= heights


def test_dots_are_times_of_the_true_class_as_the_numbers_beside_them_are(scored_plate):
    known = scored_plate[scored_plate["label"].notna()]
    missed = known.assign(time_infected=known["time_target"] + 1.0, time_mock=40.0, time_pred=40.0)
    limits = pd.DataFrame(columns=["clock", "bias", "bias_low", "bias_high", "lower", "upper"])
    agreement = figures.bland_altman(missed, limits, clock="infection", level=0.95)
    np.testing.assert_allclose(dots_of(agreement, style.INFECTED)[:, 1], 1)
    scatter = figures.prediction_vs_target(missed, clock="infection")
    dots = dots_of(scatter, style.INFECTED)
    np.testing.assert_allclose(dots[:, 1] - dots[:, 0], 1)


def test_undefined_windows_stay_on_the_axis_with_their_reason(made_windows):
    table = made_windows([np.nan, np.nan, 0.8, 0.9], note="one class only: no infected frames; unit well")
    ax = figures.metric_by_window(table, metric="auc", level=0.95)
    line = line_named(ax, "all frames")
    np.testing.assert_array_equal(line.get_xdata(), [3, 6, 9, 12])
    np.testing.assert_array_equal(line.get_ydata(), [np.nan, np.nan, 0.8, 0.9])
    hatched = [p for p in ax.patches if p.get_hatch()]
    assert [p.get_extents().transformed(ax.transData.inverted()).intervalx.tolist() for p in hatched] == [
        pytest.approx([1.5, 7.5])
    ]
    assert [t.get_text() for t in ax.texts] == ["no infected frames"]
    assert "Undefined: 3, 6 h no infected frames" in figures.alt_text(ax)


def test_a_group_that_is_undefined_alone_gets_a_cross_and_its_reason(made_windows):
    table = pd.concat(
        [
            made_windows([np.nan, 2.0], group="infected", metric="mae", note="no frames"),
            made_windows([1.0, 1.5], group="mock", metric="mae"),
        ]
    )
    ax = figures.metric_by_window(table, metric="mae", groups=("infected", "mock"), level=0.95)
    cross = line_named(ax, "infected undefined")
    assert list(cross.get_xdata()) == [3]
    assert cross.get_label().endswith("no frames")
    assert not [p for p in ax.patches if p.get_hatch()]


def test_window_bands_are_the_interval_and_counts_stand_below(made_windows):
    ax = figures.metric_by_window(made_windows([0.6, 0.7, 0.8]), metric="auc", level=0.95)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.5)
    assert band[:, 1].max() == pytest.approx(0.9)
    counts = ax.child_axes[0]
    bars = [(bar.get_y(), bar.get_height()) for bar in counts.patches]
    assert bars == [(0, 20)] * 3 + [(20, 10)] * 3  # infected frames stand on the mock ones
    assert [t.get_text() for t in counts.texts] == ["6", "6", "6"]
    assert counts.get_xlabel() == "time since imaging start (h)"


def test_counts_of_groups_are_put_together_where_all_is_not_among_them(made_windows):
    infected = made_windows([0.5], group="infected").assign(n=10, n_infected=10)
    mock = made_windows([0.5], group="mock").assign(n=7, n_infected=0)
    ax = figures.counts_by_window(pd.concat([infected, mock]))
    assert [bar.get_height() for bar in ax.patches] == [7, 10]
    assert not ax.texts  # the groups may share stacks


def test_the_band_over_all_windows_is_drawn_beside_the_pointwise_one(made_windows):
    table = made_windows([0.6, 0.7]).assign(low_simultaneous=0.3, high_simultaneous=0.95)
    names = labels_of(figures.metric_by_window(table, metric="auc", level=0.95))
    assert "95% band, all windows" in names
    assert "95% interval, pointwise" in names


def test_a_band_too_wide_to_show_does_not_flatten_the_line(made_windows):
    table = made_windows([1.0, 2.0], metric="mae").assign(high=[100.0, 100.0])
    ax = figures.metric_by_window(table, metric="mae", level=0.95)
    assert ax.get_ylim() == pytest.approx((0, 6.6))  # 1.1 x 3 x the largest value


def test_an_interval_without_neighbours_is_still_drawn(made_windows):
    ax = figures.metric_by_window(made_windows([np.nan, 0.7, np.nan]), metric="auc", level=0.95)
    segments = [s for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments()]
    assert any(np.allclose(segment, [[6, 0.6], [6, 0.8]]) for segment in segments)


def test_generalization_figure_has_the_references_panels_and_the_counts(made_windows):
    table = pd.concat(
        [
            made_windows([0.5, 0.6], metric=m)
            for m in ("auc_stratified", "accuracy", "f1", "precision", "recall")
        ]
        + [made_windows([1.0, 2.0], metric="mae", group=g) for g in ("infected", "mock")]
    )
    figure = figures.temporal_generalization_figure(table, level=0.95)
    assert [ax.get_ylabel().replace("\n", " ") for ax in figure.axes] == [
        "AUC within plate and hour", "accuracy", "F1", "precision", "recall", "time MAE (h)", "frames"
    ]  # fmt: skip
    assert sorted(t.get_text() for t in figure.axes[5].get_legend().get_texts()) == ["infected", "mock"]
    # frames of infected wells before their onset may be labelled uninfected, and are of no mock well
    assert sorted(t.get_text() for t in figure.axes[6].get_legend().get_texts()) == ["infected", "uninfected"]


def test_coverage_stands_against_the_promise_with_width_n_and_reasons():
    table = pd.DataFrame(
        {"group": ["called infected"] * 3 + ["called mock"] * 3, "start_h": [np.nan, 0.0, 6.0] * 2,
         "end_h": [np.nan, 6.0, 12.0] * 2, "level": 0.9, "coverage": [0.9, 0.85, 0.95, 0.8, np.nan, 0.8],
         "width_h": 7.0, "n": [30, 10, 20, 9, 0, 9], "note": ["", "", "", "", "no frames; 12 wells", ""]}
    )  # fmt: skip
    ax = figures.interval_coverage(table)
    assert list(line_named(ax, "nominal: 90%").get_ydata()) == [0.9, 0.9]
    assert list(line_named(ax, "called infected: 7.0 h wide").get_ydata()) == [0.85, 0.95]
    assert list(line_named(ax, "called mock undefined").get_xdata()) == [3]
    below = ax.child_axes[0]
    assert [(bar.get_y(), bar.get_height()) for bar in below.patches] == [(0, 10), (0, 20), (10, 0), (20, 9)]


def test_detection_curve_steps_and_counts_those_still_watched():
    curve = pd.DataFrame(
        {"group": "moi=1", "time_h": [0.0, 4.0, 8.0], "share": [0.0, 0.5, 1.0], "low": np.nan, "high": np.nan,
         "n_at_risk": [4, 4, 1], "n_censored": [0, 1, 0]}
    )  # fmt: skip
    ax = figures.detection_curve(curve, level=0.95)
    line = line_named(ax, "MOI 1 (4 stacks)")
    assert list(line.get_ydata()) == [0.0, 0.5, 1.0, 1.0]  # once all are detected it stays there
    assert line.get_drawstyle() == "steps-post"
    assert list(line_named(ax, "watched no longer").get_xdata()) == [4.0]
    counted = {round(t.get_position()[0], 6): t.get_text() for t in ax.child_axes[0].texts}
    assert (counted[0.0], counted[4.0], counted[5.0]) == ("4", "4", "1")
    named = figures.detection_curve(curve.assign(rule="controls"), level=0.95)
    assert named.get_legend().get_title().get_text() == "At the controls' threshold"


def test_of_many_detection_curves_only_that_of_all_has_a_band():
    curve = pd.DataFrame(
        {"time_h": [0.0, 4.0], "share": [0.0, 1.0], "low": [0.0, 0.2], "high": [0.5, 1.0], "n_at_risk": 4,
         "n_censored": 0}
    )  # fmt: skip
    groups = [curve.assign(group=name) for name in ("all", "moi=1", "moi=5")]
    assert len(figures.detection_curve(pd.concat(groups), level=0.95).collections) == 1
    assert len(figures.detection_curve(pd.concat(groups[1:]), level=0.95).collections) == 2


def test_the_true_time_breaks_where_the_clock_changes(scored_plate):
    rows = scored_plate.query("stack_id == 'A02p1'")  # hours 0, 3, 6, 9, onset 3 h
    before = rows["hours"].lt(3)
    switched = rows.assign(
        clock=rows["clock"].mask(before, "experiment"), time_target=rows["time_target"].mask(before, 0.0)
    )
    for shown, expected in ((switched, [0, np.nan, 0, 3, 6]), (rows, [-3, 0, 3, 6])):
        left, right = style.new_figure(6, 3).subplots(1, 2)
        trajectory(left, right, shown, threshold=0.5)
        np.testing.assert_array_equal(line_named(right, "true time").get_ydata(), expected)


def test_trajectory_points_at_onset_and_cursor(scored_plate):
    rows = scored_plate.query("stack_id == 'A02p1'").assign(time_low=0.0, time_high=5.0)
    left, right = style.new_figure(6, 3).subplots(1, 2)
    trajectory(left, right, rows, threshold=0.5, cursor_h=6)
    assert list(line_named(left, "predicted").get_ydata()) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert line_named(right, "this frame: 6 h").get_xdata()[0] == 6
    assert line_named(right, "onset 3 h").get_xdata()[0] == 3
    assert "interval of the prediction" in labels_of(right)
