"""Window explorer: a metric over windows of any width and stride, computed from the predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np

from hpiclock.report.plots.live import Drawing, WindowDrawing
from hpiclock.report.plots.live.window import HEIGHT_IN, WIDTH_IN
from hpiclock.report.plots.windows import LABELS
from hpiclock.report.runs import Run
from hpiclock.report.widgets.explorer import Explorer, choice
from hpiclock.report.widgets.source import Source
from hpiclock.study.groups import choose_level
from hpiclock.study.live import UNITS, LiveWindows
from hpiclock.study.scores import frame_interval_h

HOURS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
METRICS_OF = {
    "all": ("auc", "accuracy", "f1", "precision", "recall", "specificity", "mae"),
    "infected": ("recall", "mae", "rmse", "bias"),
    "mock": ("specificity", "mae", "rmse", "bias"),
}
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
        self._live: dict[str, LiveWindows] = {}
        self._end_h = cfg.window_end_h
        span = (cfg.windows.start_h, self._end_h)
        self._drawing = WindowDrawing(hours=span, level=cfg.study.level)
        interval = frame_interval_h(source.predictions)
        least = interval if np.isfinite(interval) else HOURS[0]
        own = {cfg.windows.width_h, cfg.windows.stride_h}
        fit = sorted({hour for hour in HOURS if least <= hour <= self._end_h - cfg.windows.start_h} | own)
        units = {f"as the study: {choose_level(source.of_split(source.splits[0])).unit}": "auto"}
        units |= {unit: unit for unit in UNITS[1:]}
        controls: dict[str, Any] = {
            "split": choice("frames of", source.splits, width=160, label=65),
            "group": choice("which", list(METRICS_OF), width=160, label=65),
            "metric": choice("metric", _named("all"), width=200, label=65),
            "axis": choice("over", list(AXES.items()), width=230, label=65),
            "width_h": _slider("width", fit, cfg.windows.width_h),
            "stride_h": _slider("stride", fit, cfg.windows.stride_h),
            "unit": choice("resample", list(units.items()), width=270, label=65),
        }
        size = (round(WIDTH_IN * 100), round(HEIGHT_IN * 100))
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
            live = LiveWindows(rows, self._source.threshold.value, cfg.study)
            self._live[selection.split] = live
        windows = cfg.windows.model_copy(
            update={"width_h": selection.width_h, "stride_h": selection.stride_h}
        )
        rows = live.table(
            metric=selection.metric, group=selection.group, axis=selection.axis, unit=selection.unit,  # type: ignore[arg-type]
            windows=windows, end_h=self._end_h,
        )  # fmt: skip
        self._drawing.show(rows, clock=selection.axis)
        undefined = int(rows["value"].isna().sum())
        words = f"{LABELS[selection.metric]} of {selection.group} frames by {selection.axis}: "
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
    return [(LABELS[metric], metric) for metric in METRICS_OF[group]]


def _slider(name: str, hours: list[float], value: float) -> Any:
    return ipw.SelectionSlider(
        options=[(f"{hour:g} h", hour) for hour in hours],
        value=value if value in hours else hours[0],
        description=name, layout=ipw.Layout(width="260px"), style={"description_width": "50px"},
    )  # fmt: skip
