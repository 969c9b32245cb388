"""Plate browser: plate map, well, position, and its frames over time beside the trajectory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hpiclock.figures import style
from hpiclock.figures.live import Drawing
from hpiclock.figures.live.frames import (
    HEIGHT_IN,
    WIDTH_IN,
    StackDrawing,
    frame_words,
    hours_words,
    plate_and_stack_figure,
)
from hpiclock.figures.plate import layout_of
from hpiclock.figures.style import Treatment, natural, position
from hpiclock.report.widgets.explorer import SIDE, Explorer, Pictures, Source, choice
from hpiclock.runs.run import Run

MOST = 96  # wells; more are chosen from the list alone


class WellGrid:
    """Buttons in the places of their wells. ``on_choice`` is called with the well that was clicked."""

    def __init__(self, on_choice: Callable[[str], None]) -> None:
        self._on_choice = on_choice
        self._buttons: dict[str, Any] = {}
        self._styles: dict[str, Any] = {}
        self._looks: dict[str, Any] = {}
        self._chosen = _look(style.INK, font_weight="bold")
        self._marked = ""
        self.box = ipw.GridBox([], layout=ipw.Layout(grid_gap="3px", margin="4px 12px 4px 0"))

    def fill(self, wells: pd.DataFrame) -> None:
        """Show other wells, a row each (``well condition moi onset_h``); a single one needs no button."""
        names = list(wells["well"])
        self._buttons, self._styles, self._marked = {}, {}, ""
        if not 1 < len(names) <= MOST:
            self.box.children = []
            return
        places, _, _ = layout_of(names)
        rows, columns = zip(*places.values(), strict=True)
        top, left = min(rows), min(columns)
        across, down = max(columns) - left + 1, max(rows) - top + 1
        side = 40 if across <= 8 else 32
        layout = ipw.Layout(width=f"{side}px", height=f"{side - 6}px", padding="0", margin="0")
        empty = ipw.Box(layout=layout)
        cells: list[Any] = [empty] * (across * down)
        for well in wells.itertuples():
            row, column = places[well.well]
            cells[(row - top) * across + column - left] = self._button(well, layout)
        self.box.layout.grid_template_columns = f"repeat({across}, {side}px)"
        self.box.children = cells

    def mark(self, well: str) -> None:
        """Show which well is chosen."""
        for name in {self._marked, well} & self._buttons.keys():
            chosen = name == well
            self._buttons[name].style = self._chosen if chosen else self._styles[name]
        self._marked = well

    def _button(self, well: Any, layout: Any) -> Any:
        had = Treatment.of(well)
        onset = f", onset {well.onset_h:g} h" if np.isfinite(well.onset_h) else ""
        look = self._looks.setdefault(had.colour, _look(had.colour))
        button = ipw.Button(
            description=str(well.well), tooltip=f"{well.well}: {had.label}{onset}", layout=layout, style=look
        )
        button.on_click(lambda _: self._on_choice(str(well.well)))
        self._buttons[str(well.well)], self._styles[str(well.well)] = button, look
        return button


def _look(colour: str, **more: str) -> Any:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)
    )
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # relative luminance of WCAG 2
    ink = "black" if light > 0.179 else "white"  # whichever has more contrast
    return ipw.ButtonStyle(button_color=colour, text_color=ink, font_size="11px", **more)


STEP_MS = 250  # from frame to frame while playing


@dataclass(frozen=True)
class PlateSelection:
    """One frame: plate, well, position inside it, and hours since imaging start."""

    plate: str
    well: str
    position: str
    hours: float


class PlateBrowser(Explorer[PlateSelection]):
    """See :func:`plate_browser`."""

    def __init__(self, source: Source) -> None:
        """Open the first infected stack of the split that matters most, at its last frame."""
        self._source = source
        self._stacks = source.predictions.drop_duplicates("stack_id")
        self._pictures = Pictures(source.cfg)
        self._of_stack: tuple[str, StackDrawing] | None = None
        first = self._first()
        plates = sorted(self._stacks["plate"].unique(), key=natural)
        controls = {
            "plate": choice("plate", [(name or "no name", name) for name in plates], width=170, label=58),
            "well": choice("well", [("", "")], width=170, label=58),
            "position": choice("position", [("", "")], width=170, label=58),
            "hours": ipw.SelectionSlider(
                options=[("", 0.0)],
                description="time",
                continuous_update=True,
                layout=ipw.Layout(width="320px"),
            ),
        }
        self._play = ipw.Play(interval=STEP_MS, layout=ipw.Layout(width="130px"))
        self._link = ipw.jslink((self._play, "value"), (controls["hours"], "index"))
        self._grid = WellGrid(self._choose_well)
        self.controls = controls
        super().__init__(
            PlateSelection,
            controls,
            size_px=(round(WIDTH_IN * 100), round(HEIGHT_IN * 100)),
            beside=self._grid.box,
        )
        self._set(first)
        self.start()

    def shown_controls(self) -> list[Any]:
        """Plates are offered where there are several; play stands before the slider."""
        several = len(self.controls["plate"].options) > 1
        first = [self.controls["plate"]] if several else []
        return [*first, self.controls["well"], self.controls["position"], self._play, self.controls["hours"]]

    def follow(self, name: str) -> None:
        """A plate has its wells, a well its positions, a stack its hours."""
        if name == "plate":
            wells = self._of_plate().drop_duplicates("well")
            names = sorted(wells["well"], key=natural)
            _offer(self.controls["well"], [(well or "not given", well) for well in names])
            self._grid.fill(wells)
        if name in ("plate", "well"):
            stacks = self._of_plate()
            mine = stacks[stacks["well"].eq(self.controls["well"].value)]
            names = sorted(mine["position"], key=natural)
            _offer(self.controls["position"], [(position(p) if p else "the only one", p) for p in names])
            self._grid.mark(self.controls["well"].value)
        if name in ("plate", "well", "position"):
            self._offer_hours()

    def draw(self, selection: PlateSelection) -> tuple[Drawing, str]:
        """Move the cursor, or draw another stack."""
        rows = self._rows()
        row = rows[rows["hours"].eq(selection.hours)]
        picture = self._pictures.of(row)
        stack = str(rows["stack_id"].iloc[0])
        key = f"{stack} {picture is None}"
        if self._of_stack is None or self._of_stack[0] != key:
            size = None if picture is None else SIDE
            self._of_stack = key, StackDrawing(rows, threshold=self._source.threshold.value, size=size)
        drawing = self._of_stack[1]
        drawing.show(selection.hours, None if picture is None else picture[0])
        frame = next(row.itertuples())
        said = f"{stack}: {hours_words(frame)}. {frame_words(frame)}. Split: {frame.split}."
        return drawing, f"{said} {self._pictures.why}".strip()

    def figure(self) -> Figure:
        """The plate map with the well marked, above the frame and its trajectory."""
        rows, hours = self._rows(), self.selection.hours
        picture = self._pictures.of(rows[rows["hours"].eq(hours)])
        return plate_and_stack_figure(
            self._of_plate(),
            rows,
            hours=hours,
            picture=None if picture is None else picture[0],
            threshold=self._source.threshold.value,
        )

    def _first(self) -> PlateSelection:
        mine = self._stacks[self._stacks["split"].eq(self._source.splits[0])]
        infected = mine[mine["condition"].eq("infected")]
        row = (infected if len(infected) else mine).iloc[0]
        hours = self._source.predictions.loc[
            self._source.predictions["stack_id"].eq(row["stack_id"]), "hours"
        ]
        return PlateSelection(row["plate"], row["well"], row["position"], float(hours.max()))

    def _of_plate(self) -> pd.DataFrame:
        return self._stacks[self._stacks["plate"].eq(self.controls["plate"].value)]

    def _rows(self) -> pd.DataFrame:
        chosen = self._of_plate()
        chosen = chosen[chosen["well"].eq(self.controls["well"].value)]
        chosen = chosen[chosen["position"].eq(self.controls["position"].value)]
        rows = self._source.predictions
        return rows[rows["stack_id"].eq(chosen["stack_id"].iloc[0])].sort_values("hours")

    def _offer_hours(self) -> None:
        hours = self._rows()["hours"].tolist()
        before = self.controls["hours"].value
        self._play.max = len(hours) - 1
        options = [(f"{hour:g} h", hour) for hour in hours]
        nearest = min(hours, key=lambda hour: abs(hour - before))
        _offer(self.controls["hours"], options, nearest)

    def _choose_well(self, well: str) -> None:
        self.controls["well"].value = well


def plate_browser(run: Run | str | Path) -> PlateBrowser:
    """Look through a run's plate: choose a well, a position, and scrub or play through its hours.

    Args:
        run: a finished run, or its folder.

    Raises:
        InputError: no finished run.
    """
    return PlateBrowser(Source.of(run))


def _offer(control: Any, options: list[tuple[str, Any]], value: Any = None) -> None:
    """Give a control other options, keeping its value where it is still there."""
    if list(control._options_full) == options:
        return
    kept = control.value if value is None else value
    there = [option for _, option in options]
    control.options = options
    control.value = kept if kept in there else there[0]
