"""The names that the notebooks use, in one place: ``from hpiclock.workbook import *``.

Names that need torch are imported by their name, so that a notebook that only evaluates stays quick:
``from hpiclock.workbook import Losses, build_model, fit, predict, save_results``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hpiclock import figures
from hpiclock.analysis.detection import choose_threshold
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.config.load import load_config
from hpiclock.plate.frames import open_plate, split_frames
from hpiclock.plate.preprocess import frame_images
from hpiclock.report.show import show, warn
from hpiclock.runs.run import Run
from hpiclock.targets import add_targets

__all__ = [
    "Run",
    "add_targets",
    "choose_threshold",
    "figures",
    "frame_images",
    "load_config",
    "metrics_by_split",
    "open_plate",
    "show",
    "split_frames",
    "warn",
]

NEEDS_TORCH = {
    "Losses": "hpiclock.training.losses",
    "TwoHeads": "hpiclock.training.model",
    "build_model": "hpiclock.training.model",
    "best_epoch": "hpiclock.workflows.train",
    "fit": "hpiclock.workflows.train",
    "predict": "hpiclock.workflows.train",
    "save_results": "hpiclock.workflows.train",
}


def __getattr__(name: str) -> Any:
    if name not in NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(NEEDS_TORCH[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *NEEDS_TORCH]
