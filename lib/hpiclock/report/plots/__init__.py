"""Figures from tables: every function takes a table and returns Axes (``…_figure``: a Figure).

No plot computes a statistic, saves a file or shows itself: tables come from :mod:`hpiclock.study`,
:mod:`hpiclock.report.show` shows and keeps. Each drawing carries a description in words, see
:func:`alt_text`.
"""

from hpiclock.report.plots.audit import (
    change_effects_figure,
    controls_over_hpi,
    experiment_scores,
    shortcut_scores,
)
from hpiclock.report.plots.classes import (
    classes_figure,
    confusion,
    reliability,
    roc,
)
from hpiclock.report.plots.comparison import (
    difference_figure,
    differences_over_time_figure,
    variants_over_time_figure,
)
from hpiclock.report.plots.design import clocks, hours_coverage, split_overview
from hpiclock.report.plots.detection import detection_curve
from hpiclock.report.plots.faithfulness import faithfulness_figure
from hpiclock.report.plots.features import feature_map_figure
from hpiclock.report.plots.images import (
    film_strip_figure,
    gallery_figure,
    grey_level_over_hours,
    grey_levels_figure,
)
from hpiclock.report.plots.learning import learning_curve, learning_curves_figure, validation_metrics_figure
from hpiclock.report.plots.looks import looks_figure
from hpiclock.report.plots.plate import plate_map, plate_map_figure
from hpiclock.report.plots.prediction_intervals import interval_coverage
from hpiclock.report.plots.readout import dose_response, treatment_curves, wells_by_treatment
from hpiclock.report.plots.readout_plate import plate_heat_map, well_grid_figure
from hpiclock.report.plots.scores import score_distribution, score_over_hours
from hpiclock.report.plots.style import alt_text
from hpiclock.report.plots.sweeps import interval_sweep_figure, window_sweep_figure
from hpiclock.report.plots.times import (
    bland_altman,
    prediction_scatter_figure,
    prediction_vs_target,
    residual_over_hours,
)
from hpiclock.report.plots.trajectories import trajectory_figure
from hpiclock.report.plots.windows import (
    counts_by_window,
    metric_by_window,
    temporal_generalization_figure,
)

__all__ = [
    "alt_text",
    "bland_altman",
    "change_effects_figure",
    "classes_figure",
    "clocks",
    "confusion",
    "controls_over_hpi",
    "counts_by_window",
    "detection_curve",
    "difference_figure",
    "differences_over_time_figure",
    "dose_response",
    "experiment_scores",
    "faithfulness_figure",
    "feature_map_figure",
    "film_strip_figure",
    "gallery_figure",
    "grey_level_over_hours",
    "grey_levels_figure",
    "hours_coverage",
    "interval_coverage",
    "interval_sweep_figure",
    "learning_curve",
    "learning_curves_figure",
    "looks_figure",
    "metric_by_window",
    "plate_heat_map",
    "plate_map",
    "plate_map_figure",
    "prediction_scatter_figure",
    "prediction_vs_target",
    "reliability",
    "residual_over_hours",
    "roc",
    "score_distribution",
    "score_over_hours",
    "shortcut_scores",
    "split_overview",
    "temporal_generalization_figure",
    "trajectory_figure",
    "treatment_curves",
    "validation_metrics_figure",
    "variants_over_time_figure",
    "well_grid_figure",
    "wells_by_treatment",
    "window_sweep_figure",
]
