"""Threshold explorer: what another threshold would give, beside what the run's own one gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ipywidgets as ipw
import numpy as np

from hpiclock.report.plots.live import Drawing, ThresholdDrawing
from hpiclock.report.plots.live.threshold import HEIGHT_IN, WIDTH_IN
from hpiclock.report.runs import Run
from hpiclock.report.widgets.explorer import Explorer, choice
from hpiclock.report.widgets.source import Source
from hpiclock.study.live import RATES, at_threshold

STEP = 0.01


@dataclass(frozen=True)
class ThresholdSelection:
    """Whose frames (``test``, ``val`` or ``train``), and from which P(infected) they are called infected."""

    split: str
    threshold: float


class ThresholdExplorer(Explorer[ThresholdSelection]):
    """See :func:`threshold_explorer`."""

    def __init__(self, source: Source) -> None:
        """Begin with the run's own threshold."""
        self._source = source
        self._own = round(source.threshold.value, 2)
        hpi = source.predictions["hpi"].to_numpy(float)
        last = float(np.nanmax(hpi)) if np.isfinite(hpi).any() else 1.0
        self._drawing = ThresholdDrawing(metrics=RATES, hpi=(0.0, last), level=source.cfg.study.level)
        controls = {
            "split": choice("frames of", source.splits, width=170, label=70),
            "threshold": ipw.FloatSlider(
                self._own, min=0.0, max=1.0, step=STEP, description="infected from P =", readout_format=".2f",
                layout=ipw.Layout(width="460px"), style={"description_width": "115px"},
            ),
        }  # fmt: skip
        size = (round(WIDTH_IN * 100), round(HEIGHT_IN * 100))
        super().__init__(ThresholdSelection, controls, size_px=size)
        self.start()

    def draw(self, selection: ThresholdSelection) -> tuple[Drawing, str]:
        """Ask the study and move the figure there."""
        at = selection.threshold
        cut = self._source.threshold.value if at == self._own else at
        rows = self._source.of_split(selection.split)
        found = at_threshold(rows, threshold=cut, study=self._source.cfg.study)
        counts = found.confusion
        curves = found.curves[found.curves["rule"].eq("chosen")]
        self._drawing.show(counts, found.rates, curves)
        half = found.detection["half_h"].min() if len(found.detection) else np.nan
        seen = f"Half of the infected stacks are found by {half:.1f} hpi." if np.isfinite(half) else (
            "Fewer than half of the infected stacks are found."
        )  # fmt: skip
        return self._drawing, f"{selection.split} frames called infected from P = {cut:.3f} on. {seen} " + (
            f"This is the run's threshold ({self._source.threshold.note})."
            if at == self._own
            else f"The run's threshold is {self._source.threshold.value:.3f}; one that is picked by looking "
            "at test frames is no longer tested on them."
        )


def threshold_explorer(run: Run | str | Path) -> ThresholdExplorer:
    """Move the threshold of a run and see confusion, rates with intervals, and detection follow.

    Args:
        run: a finished run, or its folder.

    Raises:
        InputError: no finished run.
    """
    return ThresholdExplorer(Source.of(run))
