"""Run comparer: runs from a table with their config differences, their curves side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import pandas as pd

from hpiclock.config.schema import WHERE_KEYS, as_text, leaves
from hpiclock.errors import InputError
from hpiclock.figures.comparison import VARIANT_COLOURS, runs_over_time
from hpiclock.figures.live import Drawing
from hpiclock.figures.style import PAGE_IN, figure_of
from hpiclock.metrics import METRICS
from hpiclock.report.widgets.explorer import Explorer, choice
from hpiclock.runs.run import CONFIG, Run
from hpiclock.runs.tables import FOLDER, of_split
from hpiclock.tables import METRICS as METRICS_TABLE
from hpiclock.tables import read_any

HEIGHT_IN = 3.2
AT_FIRST = 4  # runs shown before anybody chooses
CHOICES = {
    **{METRICS[name].label: (name, "all") for name in ("auc", "accuracy", "f1", "recall", "specificity")},
    "time MAE, infected (h)": ("mae", "infected"),
    "time MAE, mock (h)": ("mae", "mock"),
}
AXES = {"hours since start": "hours", "hpi": "hpi"}


@dataclass(frozen=True)
class RunsSelection:
    """Names of the runs that are drawn, the metric and whose frames (``mae, infected``), and the axis."""

    runs: tuple[str, ...]
    metric: tuple[str, str]
    axis: str


class RunComparer(Explorer[RunsSelection]):
    """See :func:`run_comparer`."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """Begin with the first few runs."""
        self._runs = {run.name: run for run in runs}
        self._windows: dict[tuple[str, str], pd.DataFrame] = {}
        names = list(self._runs)
        options = [(f"{name}{_headline(run)}", name) for name, run in self._runs.items()]
        controls: dict[str, Any] = {
            "runs": ipw.SelectMultiple(
                options=options,
                value=names[:AT_FIRST],
                description="runs",
                rows=min(max(len(names), 2), 8),
                layout=ipw.Layout(width="720px"),
                style={"description_width": "45px"},
            ),
            "metric": choice("metric", list(CHOICES.items()), width=230),
            "axis": choice("over", list(AXES.items()), width=220),
        }
        self._table = ipw.HTML(layout=ipw.Layout(max_width="100%", overflow="auto"))
        self.controls = controls
        super().__init__(RunsSelection, controls, size_px=(round(PAGE_IN * 100), round(HEIGHT_IN * 100)))
        self.box.children = (*self.box.children, self._table)
        self.start()

    def draw(self, selection: RunsSelection) -> tuple[Drawing, str]:
        """Draw the curves of the chosen runs, and list what differs between them."""
        if not selection.runs:
            raise InputError("Choose one or more runs; hold Ctrl for more than one.")
        if len(selection.runs) > len(VARIANT_COLOURS):
            raise InputError(
                f"{len(selection.runs)} runs are chosen; at most {len(VARIANT_COLOURS)} can be told apart."
            )
        chosen = [self._runs[name] for name in selection.runs]
        tables = [self._of(name, selection.axis) for name in selection.runs]
        metric, group = selection.metric
        level = chosen[0].cfg.study.level
        ax = runs_over_time(
            pd.concat(tables, ignore_index=True),
            metric=metric,
            group=group,
            level=level,
            clock=selection.axis,
        )
        drawing = Drawing()
        drawing.set_figure(figure_of(ax), [])
        differs = config_differences(chosen)
        self._table.value = _as_html(differs)
        splits = {run.read_json("provenance.json").get("manifest_sha256") for run in chosen}
        same = len(splits) == 1 and not differs.columns.str.startswith(("split.", "data.")).any()
        words = f"{len(chosen)} runs, test frames. "
        words += "Same plate and split: " if same else "Plates, splits or seeds of the split differ: "
        return drawing, words + (
            "`hpiclock compare` pairs them well by well and says whether they differ."
            if same
            else "these curves stand beside each other and cannot be subtracted."
        )

    def _of(self, name: str, axis: str) -> pd.DataFrame:
        if (name, axis) not in self._windows:
            table = read_any(self._runs[name].path(FOLDER, f"windows_{axis}.csv"))
            table = of_split({"windows": table}, "windows")
            self._windows[name, axis] = table[list(METRICS_TABLE.columns)].assign(run=name)
        return self._windows[name, axis]


def run_comparer(runs: Sequence[Run] | str | Path) -> RunComparer:
    """Choose runs from a list and see their curves side by side, with the config keys in which they differ.

    Args:
        runs: finished runs, or a folder; every finished run below it is offered, the newest first.

    Raises:
        InputError: no finished run.
    """
    if isinstance(runs, str | Path):
        configs = sorted(Path(runs).rglob(CONFIG), key=lambda path: (-path.stat().st_mtime, path))
        found = [Run.open(config.parent) for config in configs]
    else:
        found = list(runs)
    done = [run for run in found if run.state == "done" and run.path(FOLDER).is_dir()]
    if not done:
        where = f"{runs}: " if isinstance(runs, str | Path) else ""
        raise InputError(f"{where}no finished run to compare; hpiclock train or sweep makes them")
    return RunComparer(done)


def config_differences(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a row per run and a column per config key in which these runs differ, values as text."""
    configs = [{key: as_text(value) for key, value in leaves(run.cfg)} for run in runs]
    keys = [
        key
        for key in dict.fromkeys(key for config in configs for key in config)
        if key not in WHERE_KEYS and len({config.get(key) for config in configs}) > 1
    ]
    rows = [[config.get(key, "") for key in keys] for config in configs]
    return pd.DataFrame(rows, index=pd.Index([run.name for run in runs], name="run"), columns=keys)


def _headline(run: Run) -> str:
    tested = run.read_json("results.json").get("test_metrics", {})
    auc, mae = tested.get("cls_auc"), tested.get("reg_mae")
    said = [f"AUC {auc:.3f}" if auc is not None else "", f"MAE {mae:.2f} h" if mae is not None else ""]
    return "".join(f" · {text}" for text in said if text)


def _as_html(differs: pd.DataFrame) -> str:
    if len(differs) < 2:
        return ""
    if not len(differs.columns):
        return "<p>Their configs do not differ.</p>"
    head = "".join(f"<th>{html.escape(key)}</th>" for key in ("run", *differs.columns))
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in (name, *row)) + "</tr>"
        for name, row in zip(differs.index, differs.to_numpy(), strict=True)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
