"""Explorers to use by hand in JupyterLab: one line each, thin over the study's tables and the plots.

In an executed report the same line shows a figure. ``explorer.selection`` says what is shown, and setting
it moves the controls.
"""

from __future__ import annotations

from hpiclock.report.widgets.explorer import Explorer
from hpiclock.report.widgets.frames import ErrorBrowser, PlateBrowser, error_browser, plate_browser
from hpiclock.report.widgets.metrics import (
    RunComparer,
    ThresholdExplorer,
    WindowExplorer,
    run_comparer,
    threshold_explorer,
    window_explorer,
)
