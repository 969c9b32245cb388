"""Threshold and window explorers: what another threshold or other windows would give, computed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np

from hpiclock.analysis.interactive import RATES, UNITS, InteractiveWindows, at_threshold
from hpiclock.analysis.units import choose_resampling_unit
from hpiclock.figures.live import Drawing
from hpiclock.figures.live.windows import (
    THRESHOLD_HEIGHT_IN,
    THRESHOLD_WIDTH_IN,
    WINDOW_HEIGHT_IN,
    WINDOW_WIDTH_IN,
    ThresholdDrawing,
    WindowDrawing,
)
from hpiclock.metrics import EVERY, METRICS, metrics_of
from hpiclock.report.widgets.explorer import Explorer, Source, choice
from hpiclock.runs.run import Run
from hpiclock.tables import frame_interval_h

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
                self._own,
                min=0.0,
                max=1.0,
                step=STEP,
                description="infected from P =",
                readout_format=".2f",
                layout=ipw.Layout(width="460px"),
                style={"description_width": "115px"},
            ),
        }
        size = (round(THRESHOLD_WIDTH_IN * 100), round(THRESHOLD_HEIGHT_IN * 100))
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
        seen = (
            f"Half of the infected stacks are found by {half:.1f} hpi."
            if np.isfinite(half)
            else ("Fewer than half of the infected stacks are found.")
        )
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


HOURS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
AXES = {"hours since start": "hours", "hpi": "hpi"}


@dataclass(frozen=True)
class WindowSelection:
    """Windows and what is asked in them.

    group: ``all``, ``infected`` or ``mock``; metric: as in METRICS; axis: ``hours`` or ``hpi``; width_h and
    stride_h in hours; unit: what is resampled for the interval, ``auto`` as the study does.
    """

    split: str
    group: str
    metric: str
    axis: str
    width_h: float
    stride_h: float
    unit: str


class WindowExplorer(Explorer[WindowSelection]):
    """See :func:`window_explorer`."""

    def __init__(self, source: Source) -> None:
        """Begin with the windows of the run's config."""
        self._source, cfg = source, source.cfg
        self._live: dict[str, InteractiveWindows] = {}
        self._end_h = cfg.window_end_h
        span = (cfg.windows.start_h, self._end_h)
        self._drawing = WindowDrawing(hours=span, level=cfg.study.level)
        interval = frame_interval_h(source.predictions)
        least = interval if np.isfinite(interval) else HOURS[0]
        own = {cfg.windows.width_h, cfg.windows.stride_h}
        fit = sorted({hour for hour in HOURS if least <= hour <= self._end_h - cfg.windows.start_h} | own)
        units = {f"as the study: {choose_resampling_unit(source.of_split(source.splits[0])).unit}": "auto"}
        units |= {unit: unit for unit in UNITS[1:]}
        controls: dict[str, Any] = {
            "split": choice("frames of", source.splits, width=160, label=65),
            "group": choice("which", list(EVERY), width=160, label=65),
            "metric": choice("metric", _named("all"), width=200, label=65),
            "axis": choice("over", list(AXES.items()), width=230, label=65),
            "width_h": _slider("width", fit, cfg.windows.width_h),
            "stride_h": _slider("stride", fit, cfg.windows.stride_h),
            "unit": choice("resample", list(units.items()), width=270, label=65),
        }
        size = (round(WINDOW_WIDTH_IN * 100), round(WINDOW_HEIGHT_IN * 100))
        super().__init__(WindowSelection, controls, size_px=size)
        self.start()

    def follow(self, name: str) -> None:
        """Each group has its metrics."""
        if name == "group":
            control, options = self.controls["metric"], _named(self.controls["group"].value)
            before = control.value
            control.options = options
            if before in (metric for _, metric in options):
                control.value = before

    def draw(self, selection: WindowSelection) -> tuple[Drawing, str]:
        """Compute the windows and move the figure there."""
        cfg = self._source.cfg
        live = self._live.get(selection.split)
        if live is None:
            rows = self._source.of_split(selection.split)
            live = InteractiveWindows(rows, self._source.threshold.value, cfg.study)
            self._live[selection.split] = live
        windows = cfg.windows.model_copy(
            update={"width_h": selection.width_h, "stride_h": selection.stride_h}
        )
        rows = live.table(
            metric=selection.metric,
            group=selection.group,
            axis=selection.axis,  # type: ignore[arg-type]
            unit=selection.unit,
            windows=windows,
            end_h=self._end_h,
        )
        self._drawing.show(rows, clock=selection.axis)
        undefined = int(rows["value"].isna().sum())
        words = f"{METRICS[selection.metric].label} of {selection.group} frames by {selection.axis}: "
        words += f"{len(rows)} windows of {selection.width_h:g} h every {selection.stride_h:g} h, "
        words += f"{int(rows['n'].min())} to {int(rows['n'].max())} frames each"
        words += f"; {undefined} undefined" if undefined else ""
        return self._drawing, f"{words}. The last window: {rows['note'].iloc[-1]}."


def window_explorer(run: Run | str | Path) -> WindowExplorer:
    """Change width, stride, metric and unit of the windows of a run and see the figure follow.

    Args:
        run: a finished run, or its folder.

    Raises:
        InputError: no finished run.
    """
    return WindowExplorer(Source.of(run))


def _named(group: str) -> list[tuple[str, str]]:
    return [(METRICS[metric].label, metric) for metric in metrics_of(group, "windows")]


def _slider(name: str, hours: list[float], value: float) -> Any:
    return ipw.SelectionSlider(
        options=[(f"{hour:g} h", hour) for hour in hours],
        value=value if value in hours else hours[0],
        description=name,
        layout=ipw.Layout(width="260px"),
        style={"description_width": "50px"},
    )
