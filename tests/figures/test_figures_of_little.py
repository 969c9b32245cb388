"""Empty, tiny and one-sided tables give words or a drawing, never a crash; drawing leaves no traces."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from hpiclock import figures, tables
from hpiclock.figures import style
from hpiclock.report.text import png


def line_named(ax, start: str):
    return next(line for line in ax.get_lines() if str(line.get_label()).startswith(start))


def lay_out(drawn):
    style.figure_of(drawn).draw_without_rendering()  # warns where there is no room for the axes


def words_in(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


NO_METRICS = pd.DataFrame(columns=list(tables.METRICS.columns))
NO_HISTORY = pd.DataFrame(columns=list(tables.HISTORY.columns))
NO_CURVE = pd.DataFrame(columns=["split", "fpr", "tpr", "threshold"])
NO_CELLS = pd.DataFrame(columns=["split", "label", "predicted", "n"])
NO_RESIDUALS = pd.DataFrame(columns=["clock", "start_h", "end_h", "bias"])
NO_PREDICTIONS = pd.DataFrame(columns=[*tables.PREDICTIONS.columns, "mean", "sd"])
NO_COVERAGE = pd.DataFrame(columns=["group", "start_h", "coverage"])
NO_IMAGES = np.zeros((0, 8, 8), np.uint8)
EMPTY = [
    (figures.plate_map, [NO_PREDICTIONS], {}),
    (figures.plate_map_figure, [NO_PREDICTIONS], {}),
    (figures.split_overview, [NO_PREDICTIONS], {}),
    (figures.hours_coverage, [NO_PREDICTIONS], {}),
    (figures.clocks, [NO_PREDICTIONS], {}),
    (figures.film_strip_figure, [NO_PREDICTIONS, NO_IMAGES], {}),
    (figures.gallery_figure, [NO_PREDICTIONS, NO_IMAGES], {}),
    (figures.grey_levels_figure, [NO_PREDICTIONS], {}),
    (figures.learning_curves_figure, [NO_HISTORY], {}),
    (figures.validation_metrics_figure, [NO_HISTORY], {}),
    (figures.roc, [NO_CURVE, NO_METRICS], {"level": 0.95}),
    (figures.confusion, [NO_CELLS], {}),
    (figures.reliability, [NO_CELLS], {"level": 0.95}),
    (figures.score_over_hours, [NO_PREDICTIONS], {}),
    (figures.prediction_scatter_figure, [NO_PREDICTIONS], {}),
    (figures.prediction_vs_target, [NO_PREDICTIONS], {"clock": "infection"}),
    (figures.residual_over_hours, [NO_RESIDUALS], {}),
    (figures.bland_altman, [NO_PREDICTIONS, NO_METRICS], {"clock": "infection", "level": 0.95}),
    (figures.metric_by_window, [NO_METRICS], {"metric": "auc", "level": 0.95}),
    (figures.counts_by_window, [NO_METRICS], {}),
    (figures.temporal_generalization_figure, [NO_METRICS], {"level": 0.95}),
    (figures.interval_coverage, [NO_COVERAGE], {}),
    (figures.detection_curve, [NO_METRICS], {"level": 0.95}),
]


@pytest.mark.parametrize(("plot", "empty", "options"), EMPTY, ids=[plot.__name__ for plot, _, _ in EMPTY])
def test_an_empty_table_gives_words_instead_of_a_crash(plot, empty, options):
    drawn = plot(*empty, **options)
    assert "no " in words_in(style.figure_of(drawn))
    assert figures.alt_text(drawn).startswith("Empty figure: no ")
    lay_out(drawn)


FEW = {
    "one frame": lambda rows: rows.query("stack_id == 'A02p1' and frame == 3"),
    "mock only": lambda rows: rows.query("condition == 'mock'"),
    "no plate, well, MOI or onset": lambda rows: rows.assign(plate="", well="", moi=np.nan, onset_h=np.nan),
    "no predictions": lambda rows: rows.assign(p_infected=np.nan, time_pred=np.nan),
    "no labels and no targets": lambda rows: rows.assign(
        label=pd.array([pd.NA] * len(rows), "Int8"), time_target=np.nan
    ),
}


@pytest.mark.parametrize("case", FEW)
def test_tables_with_one_row_one_class_or_missing_values_draw_without_a_warning(case, scored_plate):
    rows = FEW[case](scored_plate)
    for drawn in (
        figures.plate_map(rows), figures.split_overview(rows), figures.hours_coverage(rows),
        figures.clocks(rows),
        figures.score_over_hours(rows, threshold=0.5), figures.score_over_hours(rows, clock="hpi"),
        figures.prediction_scatter_figure(rows),
        figures.film_strip_figure(rows, np.zeros((len(rows), 8, 8), np.uint8)),
        figures.grey_levels_figure(rows.assign(mean=128.0, sd=20.0)),
    ):  # fmt: skip
        assert figures.alt_text(drawn)
        lay_out(drawn)


def test_one_window_and_windows_without_any_value_draw(made_windows):
    for values in ([0.5], [np.nan], [np.nan, np.nan]):
        table = made_windows(values, note="no frames")
        for drawn in (
            figures.metric_by_window(table, metric="auc", level=0.95),
            figures.temporal_generalization_figure(table, level=0.95),
        ):
            lay_out(drawn)


def test_plots_leave_the_callers_settings_and_their_axes_alone(scored_plate):
    figure = style.new_figure(4, 3)
    ax = figure.add_subplot()
    before = dict(mpl.rcParams)
    assert figures.prediction_vs_target(scored_plate, clock="infection", ax=ax) is ax
    assert dict(mpl.rcParams) == before
    assert to_rgba(line_named(ax, "prediction = truth").get_color()) == to_rgba(style.GREY)


def test_the_same_figure_is_the_same_file_with_its_words_inside(scored_plate):
    first, second = png(figures.clocks(scored_plate)), png(figures.clocks(scored_plate))
    assert first == second
    assert b"Time target against hours since imaging start" in first


def test_importing_plots_needs_neither_torch_nor_pyplot_and_drawing_opens_no_window(scored_plate):
    code = "import sys, hpiclock.figures; print({'torch', 'seaborn', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    before = pyplot.get_fignums()
    figures.score_over_hours(scored_plate)  # by seaborn
    assert pyplot.get_fignums() == before
