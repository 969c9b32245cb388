"""Figures from tables: every function takes a table and returns Axes (``…_figure``: a Figure).

No plot computes a statistic, saves a file or shows itself: tables come from :mod:`hpiclock.analysis`,
:mod:`hpiclock.report.show` shows and keeps. Each drawing carries a description in words, see
:func:`alt_text`.
"""

from __future__ import annotations

from hpiclock.figures.audit import (
    change_effects_figure,
    controls_over_hpi,
    experiment_scores,
    feature_map_figure,
    sanity_checks_figure,
    shortcut_scores,
)
from hpiclock.figures.comparison import (
    difference_figure,
    differences_over_time_figure,
    interval_sweep_figure,
    runs_over_time,
    variants_over_time_figure,
    window_sweep_figure,
)
from hpiclock.figures.images import (
    attribution_figure,
    film_strip_figure,
    gallery_figure,
    grey_level_over_hours,
    grey_levels_figure,
)
from hpiclock.figures.plate import (
    dose_response,
    plate_heat_map,
    plate_map,
    plate_map_figure,
    treatment_curves,
    well_grid_figure,
    wells_by_treatment,
)
from hpiclock.figures.predictions import (
    bland_altman,
    classes_figure,
    confusion,
    prediction_scatter_figure,
    prediction_vs_target,
    reliability,
    residual_over_hours,
    roc,
    score_distribution,
    score_over_hours,
)
from hpiclock.figures.style import alt_text
from hpiclock.figures.training import (
    clocks,
    hours_coverage,
    learning_curve,
    learning_curves_figure,
    split_overview,
    validation_metrics_figure,
)
from hpiclock.figures.windows import (
    counts_by_window,
    detection_curve,
    interval_coverage,
    metric_by_window,
    temporal_generalization_figure,
)
