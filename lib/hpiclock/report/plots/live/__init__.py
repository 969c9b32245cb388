"""Figures that are drawn once and then changed in place, for the explorers."""

from hpiclock.report.plots.live.drawing import Drawing, Words
from hpiclock.report.plots.live.error import ErrorDrawing
from hpiclock.report.plots.live.stack import StackDrawing, plate_and_stack_figure
from hpiclock.report.plots.live.threshold import ThresholdDrawing
from hpiclock.report.plots.live.window import WindowDrawing

__all__ = [
    "Drawing",
    "ErrorDrawing",
    "StackDrawing",
    "ThresholdDrawing",
    "WindowDrawing",
    "Words",
    "plate_and_stack_figure",
]
