"""Explorers of metrics: another threshold, other windows, and runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd

from hpiclock.analysis.run_study import RATES, UNITS, InteractiveWindows, at_threshold
from hpiclock.analysis.units import choose_resampling_unit
from hpiclock.config.schema import WHERE_KEYS, as_text, iterate_keys
from hpiclock.errors import InputError
from hpiclock.figures import live
from hpiclock.figures.comparison import runs_over_time
from hpiclock.figures.style import PAGE_IN, SERIES_COLOURS, figure_of
from hpiclock.format import between_text
from hpiclock.metrics import EVERY, METRICS, metrics_of
from hpiclock.report.explorer import AXES, Explorer, Source, choice, control, offer
from hpiclock.runs.results import FOLDER, of_split
from hpiclock.runs.run import CONFIG, Run
from hpiclock.tables import METRICS as METRICS_TABLE
from hpiclock.tables import frame_interval_h, read_any

STEP = 0.01
FEW = "Fewer than half of the infected stacks are detected. "


@dataclass(frozen=True)
class ThresholdSelection:
    """Whose frames (``test``, ``val`` or ``train``), and from which P(infected) they are called infected."""

    split: str
    threshold: float


class ThresholdExplorer(Explorer[ThresholdSelection]):
    """Move the threshold of a run and see confusion, rates with intervals, and detection follow.

    Args:
        run: a finished run, or its folder.

    Raises:
        InputError: no finished run.
    """

    def __init__(self, run: Run | str | Path) -> None:
        self._source = source = Source(run)
        self._own = round(source.threshold.value, 2)
        hpi = source.predictions["hpi"].to_numpy(float)
        last = float(np.nanmax(hpi)) if np.isfinite(hpi).any() else 1.0
        self._drawing = live.ThresholdDrawing(metrics=RATES, hpi=(0.0, last), level=source.cfg.study.level)
        span: Any = {"value": self._own, "min": 0.0, "max": 1.0, "step": STEP, "readout_format": ".2f"}
        controls = {
            "split": choice("frames of", source.splits, width=170, label=70),
            "threshold": control(ipw.FloatSlider, "infected from P =", width=460, label=115, **span),
        }
        super().__init__(ThresholdSelection, controls, size_in=live.THRESHOLD_IN)
        self.start()

    def draw(self, selection: ThresholdSelection) -> tuple[live.Drawing, str]:
        """Compute what the threshold gives and move the figure there."""
        own, at_own = self._source.threshold, selection.threshold == self._own
        cut = own.value if at_own else selection.threshold
        rows = self._source.of_split(selection.split)
        found = at_threshold(rows, threshold=cut, study=self._source.cfg.study)
        self._drawing.show(found.confusion, found.rates, found.curves[found.curves["rule"].eq("chosen")])
        words = f"{selection.split} frames called infected from P = {cut:.3f} on. "
        for half in found.detection.itertuples():
            when = between_text(half.after_h, half.half_h)
            known = np.isfinite(half.half_h)
            words += f"Half of the infected stacks are detected {when} post infection. " if known else FEW
        if at_own:
            return self._drawing, f"{words}This is the run's threshold ({own.note})."
        words += f"The run's threshold is {own.value:.3f}; one that is picked by looking at test frames "
        return self._drawing, f"{words}is no longer tested on them."


HOURS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)


@dataclass(frozen=True)
class WindowSelection:
    """Windows and what is computed in them.

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
    """Change width, stride, metric and unit of the windows of a run and see the figure follow.

    Args:
        run: a finished run, or its folder.

    Raises:
        InputError: no finished run.
    """

    def __init__(self, run: Run | str | Path) -> None:
        self._source = source = Source(run)
        cfg = source.cfg
        self._windows = cache(
            lambda split: InteractiveWindows(source.of_split(split), source.threshold.value, cfg.study)
        )
        self._end_h = cfg.window_end_h
        span = (cfg.windows.start_h, self._end_h)
        self._drawing = live.WindowDrawing(hours=span, level=cfg.study.level)
        interval = frame_interval_h(source.predictions)
        least = interval if np.isfinite(interval) else HOURS[0]
        own = {cfg.windows.width_h, cfg.windows.stride_h}
        fit = {hour for hour in HOURS if least <= hour <= self._end_h - cfg.windows.start_h} | own
        hours = [(f"{hour:g} h", hour) for hour in sorted(fit)]
        units = {f"as the study: {choose_resampling_unit(source.of_split(source.splits[0])).unit}": "auto"}
        units |= {unit: unit for unit in UNITS[1:]}
        place: Any = {"options": hours, "width": 260, "label": 50}
        controls: dict[str, Any] = {
            "split": choice("frames of", source.splits, width=160, label=65),
            "group": choice("which", list(EVERY), width=160, label=65),
            "metric": choice("metric", _named("all"), width=200, label=65),
            "axis": choice("over", list(AXES.items()), width=230, label=65),
            "width_h": control(ipw.SelectionSlider, "width", value=cfg.windows.width_h, **place),
            "stride_h": control(ipw.SelectionSlider, "stride", value=cfg.windows.stride_h, **place),
            "unit": choice("resample", list(units.items()), width=270, label=65),
        }
        super().__init__(WindowSelection, controls, size_in=live.WINDOW_IN)
        self.start()

    def follow(self, name: str) -> None:
        """Each group has its metrics."""
        if name == "group":
            offer(self.controls["metric"], _named(self.controls["group"].value))

    def draw(self, selection: WindowSelection) -> tuple[live.Drawing, str]:
        """Compute the windows and move the figure there."""
        cfg = self._source.cfg
        changed = {"width_h": selection.width_h, "stride_h": selection.stride_h}
        rows = self._windows(selection.split).table(
            metric=selection.metric,
            group=selection.group,
            axis=selection.axis,  # type: ignore[arg-type]
            unit=selection.unit,
            windows=cfg.windows.model_copy(update=changed),
            end_h=self._end_h,
        )
        self._drawing.show(rows, clock=selection.axis)
        undefined = int(rows["value"].isna().sum())
        words = f"{METRICS[selection.metric].label} of {selection.group} frames by {selection.axis}: "
        words += f"{len(rows)} windows of {selection.width_h:g} h every {selection.stride_h:g} h, "
        words += f"{int(rows['n'].min())} to {int(rows['n'].max())} frames each"
        words += f"; {undefined} undefined" if undefined else ""
        return self._drawing, f"{words}. The last window: {rows['note'].iloc[-1]}."


def _named(group: str) -> list[tuple[str, str]]:
    return [(METRICS[metric].label, metric) for metric in metrics_of(group, "windows")]


RUNS_IN = (PAGE_IN, 3.2)  # width and height
AT_FIRST = 4  # runs shown before anybody chooses
CHOICES = {
    **{METRICS[name].label: (name, "all") for name in ("auc", "accuracy", "f1", "recall", "specificity")},
    "time MAE, infected (h)": ("mae", "infected"),
    "time MAE, mock (h)": ("mae", "mock"),
}


@dataclass(frozen=True)
class RunsSelection:
    """Names of the runs that are drawn, the metric and whose frames (``mae, infected``), and the axis."""

    runs: tuple[str, ...]
    metric: tuple[str, str]
    axis: str


class RunComparer(Explorer[RunsSelection]):
    """Choose runs from a list and see their curves side by side, with the config keys in which they differ.

    Args:
        runs: finished runs, or a folder; every finished run below it is offered, the newest first.

    Raises:
        InputError: no finished run.
    """

    def __init__(self, runs: Sequence[Run] | str | Path) -> None:
        where = ""
        if isinstance(runs, str | Path):
            configs = sorted(Path(runs).rglob(CONFIG), key=lambda path: (-path.stat().st_mtime, path))
            where, runs = f"{runs}: ", [Run.open(config.parent) for config in configs]
        done = [run for run in runs if run.state == "done" and run.path(FOLDER).is_dir()]
        if not done:
            raise InputError(f"{where}no finished run to compare; hpiclock train or sweep makes them")
        self._runs = {run.name: run for run in done}
        self._of = cache(self._read_windows)
        names = list(self._runs)
        options = [(f"{name}{_headline(run)}", name) for name, run in self._runs.items()]
        listed: Any = {"options": options, "value": names[:AT_FIRST], "rows": min(max(len(names), 2), 8)}
        controls: dict[str, Any] = {
            "runs": control(ipw.SelectMultiple, "runs", width=720, **listed),
            "metric": choice("metric", list(CHOICES.items()), width=230),
            "axis": choice("over", list(AXES.items()), width=220),
        }
        self._table = ipw.HTML(layout=ipw.Layout(max_width="100%", overflow="auto"))
        super().__init__(RunsSelection, controls, size_in=RUNS_IN, below=[self._table])
        self.start()

    def draw(self, selection: RunsSelection) -> tuple[live.Drawing, str]:
        """Draw the curves of the chosen runs, and list what differs between them."""
        if not selection.runs:
            raise InputError("Choose one or more runs; hold Ctrl for more than one.")
        if len(selection.runs) > len(SERIES_COLOURS):
            n, most = len(selection.runs), len(SERIES_COLOURS)
            raise InputError(f"{n} runs are chosen; at most {most} can be told apart.")
        chosen = [self._runs[name] for name in selection.runs]
        rows = pd.concat([self._of(name, selection.axis) for name in selection.runs], ignore_index=True)
        metric, group = selection.metric
        measured: Any = {"metric": metric, "group": group, "clock": selection.axis}
        ax = runs_over_time(rows, level=chosen[0].cfg.study.level, **measured)
        differs = config_differences(chosen)
        self._table.value = _as_html(differs)
        splits = {run.read_json("provenance.json").get("manifest_sha256") for run in chosen}
        same = len(splits) == 1 and not differs.columns.str.startswith(("split.", "data.")).any()
        words = "Plates, splits or seeds of the split differ: these curves stand beside each other and "
        words += "cannot be subtracted."
        if same:
            words = "Same plate and split: `hpiclock compare` pairs them well by well and says whether they "
            words += "differ."
        return live.Drawing(figure_of(ax)), f"{len(chosen)} runs, test frames. {words}"

    def _read_windows(self, name: str, axis: str) -> pd.DataFrame:
        table = read_any(self._runs[name].path(FOLDER, f"windows_{axis}.csv"))
        windows = of_split({"windows": table}, "windows")
        return windows[list(METRICS_TABLE.columns)].assign(run=name)


def config_differences(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a row per run and a column per config key in which these runs differ, values as text."""
    configs = [{key: as_text(value) for key, value in iterate_keys(run.cfg)} for run in runs]
    table = pd.DataFrame(configs, index=pd.Index([run.name for run in runs], name="run"))
    table = table.drop(columns=[*WHERE_KEYS], errors="ignore").fillna("")
    return table.loc[:, table.ne(table.iloc[0]).any()]


def _headline(run: Run) -> str:
    tested = run.read_json("results.json").get("test_metrics", {})
    auc, mae = tested.get("cls_auc"), tested.get("reg_mae")
    scores = [f"AUC {auc:.3f}" if auc is not None else "", f"MAE {mae:.2f} h" if mae is not None else ""]
    return "".join(f" · {text}" for text in scores if text)


def _as_html(differs: pd.DataFrame) -> str:
    if len(differs) < 2:
        return ""
    if not len(differs.columns):
        return "<p>Their configs do not differ.</p>"
    with pd.option_context("display.max_colwidth", None):
        return differs.reset_index().to_html(index=False, border=0)
