"""The names of the notebooks, in one place: ``from hpiclock.workbook import *``.

Names of whole jobs, and those that need torch, are imported by their name, so that a notebook that only
reads stays quick: ``from hpiclock.workbook import Losses, build_model, fit, predict, save_results``.
"""

from importlib import import_module
from typing import Any

from hpiclock import figures
from hpiclock.analysis.detection import choose_threshold
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.sentences import design_sentences
from hpiclock.audit.verdict import design_verdict
from hpiclock.plate.frames import open_plate, prepare_frames, split_frames, treatment_table
from hpiclock.plate.preprocess import frame_images, grey_levels, pick_frames
from hpiclock.report import audit_text
from hpiclock.report.explore_frames import ErrorBrowser as error_browser
from hpiclock.report.explore_frames import PlateBrowser as plate_browser
from hpiclock.report.explore_metrics import RunComparer as run_comparer
from hpiclock.report.explore_metrics import ThresholdExplorer as threshold_explorer
from hpiclock.report.explore_metrics import WindowExplorer as window_explorer
from hpiclock.report.text import (
    BASELINES,
    opening,
    or_dash,
    readable_comparison,
    readable_metrics,
    readable_steadiness,
    readable_study,
    say,
    sentences,
    show,
    show_words,
    training_summary,
)
from hpiclock.runs.results import (
    first_threshold_rule,
    of_bounded_rules,
    of_split,
    read_gradcam,
    read_study_tables,
    with_paths,
)
from hpiclock.runs.run import Run
from hpiclock.tables import PREDICTIONS
from hpiclock.targets import add_targets
from hpiclock.workflows.notebooks import open_config, open_run

# fmt: off
__all__ = [
    "BASELINES", "PREDICTIONS", "Run", "add_targets", "audit_text", "choose_threshold", "design_sentences",
    "design_verdict", "error_browser", "figures", "first_threshold_rule", "frame_images", "grey_levels",
    "metrics_by_split", "of_bounded_rules", "of_split", "open_config", "open_plate", "open_run", "opening",
    "or_dash", "pick_frames", "plate_browser", "prepare_frames", "read_gradcam", "read_study_tables",
    "readable_comparison", "readable_metrics", "readable_steadiness", "readable_study", "run_comparer",
    "say", "sentences", "show", "show_words", "split_frames", "threshold_explorer", "training_summary",
    "treatment_table", "window_explorer", "with_paths",
]
# fmt: on

BY_MODULE = {
    "hpiclock.training.losses": ("Losses",),
    "hpiclock.training.model": ("TwoHeads", "build_model"),
    "hpiclock.workflows.train": ("best_epoch", "fit", "predict", "save_results"),
    "hpiclock.workflows.audit": ("open_audit",),
    "hpiclock.workflows.baselines": ("beside_baselines",),
    "hpiclock.workflows.explain": ("explain_run", "feature_map"),
    "hpiclock.workflows.compare": ("compare_runs", "find_runs", "variants_table"),
    "hpiclock.workflows.readout": ("open_readout",),
}
WHEN_NAMED = {name: module for module, names in BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in WHEN_NAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(WHEN_NAMED[name]), name)


def __dir__() -> list[str]:
    return [*__all__, *WHEN_NAMED]
