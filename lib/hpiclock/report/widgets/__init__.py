"""Explorers to use by hand in JupyterLab: one line each, thin over the study's tables and the plots.

In an executed report the same line shows a figure. ``explorer.selection`` says what is shown, and setting
it moves the controls.
"""

from __future__ import annotations

from hpiclock.report.widgets.errors import ErrorBrowser, error_browser
from hpiclock.report.widgets.explorer import Explorer
from hpiclock.report.widgets.plate import PlateBrowser, plate_browser
from hpiclock.report.widgets.runs import RunComparer, run_comparer
from hpiclock.report.widgets.windows import (
    ThresholdExplorer,
    WindowExplorer,
    threshold_explorer,
    window_explorer,
)

__all__ = [
    "ErrorBrowser",
    "Explorer",
    "PlateBrowser",
    "RunComparer",
    "ThresholdExplorer",
    "WindowExplorer",
    "error_browser",
    "plate_browser",
    "run_comparer",
    "threshold_explorer",
    "window_explorer",
]
