"""The names that the notebooks use, in one place: ``from hpiclock.workbook import Run, add_targets, ...``.

Names that need torch are imported when they are first used, so a notebook that only evaluates stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpiclock import figures
from hpiclock.analysis.detection import choose_threshold
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.config.load import load_config
from hpiclock.plate.frames import open_plate, split_frames
from hpiclock.plate.preprocess import frame_images
from hpiclock.report.show import show, warn
from hpiclock.runs.run import Run
from hpiclock.targets import add_targets

if TYPE_CHECKING:
    from hpiclock.training.losses import Losses
    from hpiclock.training.model import TwoHeads, build_model
    from hpiclock.workflows.train import best_epoch, fit, predict, save_results

__all__ = [
    "Losses",
    "Run",
    "TwoHeads",
    "add_targets",
    "best_epoch",
    "build_model",
    "choose_threshold",
    "figures",
    "fit",
    "frame_images",
    "load_config",
    "metrics_by_split",
    "open_plate",
    "predict",
    "save_results",
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
    return __all__
