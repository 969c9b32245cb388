"""Browsers of frames: the plate and its stacks over time, and the frames that a run gets most wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hpiclock.analysis.curves import LISTED, NEIGHBOURS, worst_frames
from hpiclock.errors import InputError
from hpiclock.figures import live, style
from hpiclock.figures.images import prediction_lines
from hpiclock.figures.plate import layout_of
from hpiclock.figures.style import Treatment, natural_key, place_text, position_name
from hpiclock.report.explorer import SIDE, Explorer, Pictures, Source, choice, control, offer
from hpiclock.runs.results import read_heat_maps
from hpiclock.runs.run import Run

MOST = 96  # wells; more are chosen from the list alone


class WellGrid:
    """Buttons in the places of their wells. ``on_choice`` is called with the well that was clicked."""

    def __init__(self, on_choice: Callable[[str], None]) -> None:
        self._on_choice = on_choice
        self._buttons: dict[str, Any] = {}
        self._styles: dict[str, Any] = {}
        self._of_colour: dict[str, Any] = {}
        self._chosen = _button_style(style.INK, font_weight="bold")
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
        name, treatment = str(well.well), Treatment.of(well)
        onset = f", onset {well.onset_h:g} h" if np.isfinite(well.onset_h) else ""
        tooltip = f"{name}: {treatment.label}{onset}"
        look = self._of_colour.setdefault(treatment.colour, _button_style(treatment.colour))
        self._styles[name] = look
        button = ipw.Button(description=name, tooltip=tooltip, layout=layout, style=look)
        button.on_click(lambda _: self._on_choice(name))
        self._buttons[name] = button
        return button


def _button_style(colour: str, **more: str) -> Any:
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    light = linear @ [0.2126, 0.7152, 0.0722]  # relative luminance of WCAG 2
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
    """Look through a run's plate: choose a well, a position, and scrub or play through its hours.

    It opens the first infected stack of the first split, at its last frame.

    Args:
        run: a finished run, or its folder.

    Raises:
        InputError: no finished run.
    """

    def __init__(self, run: Run | str | Path) -> None:
        self._source = source = Source(run)
        self._stacks = source.predictions.drop_duplicates("stack_id")
        self._pictures = Pictures(source.cfg)
        self._of_stack: tuple[str, live.StackDrawing] | None = None
        names = sorted(self._stacks["plate"].unique(), key=natural_key)
        place: Any = {"width": 170, "label": 58}
        controls = {
            "plate": choice("plate", [(name or "no name", name) for name in names], **place),
            "well": choice("well", [("", "")], **place),
            "position": choice("position", [("", "")], **place),
            "hours": control(ipw.SelectionSlider, "time", options=[("", 0.0)], width=320, label=80),
        }
        self._play = ipw.Play(interval=STEP_MS, layout=ipw.Layout(width="130px"))
        self._link = ipw.jslink((self._play, "value"), (controls["hours"], "index"))
        self._grid = WellGrid(lambda well: controls["well"].set_trait("value", well))
        bar = list(controls.values())[0 if len(names) > 1 else 1 :]
        bar.insert(-1, self._play)
        beside = [self._grid.box]
        super().__init__(PlateSelection, controls, size_in=live.STACK_IN, bar=bar, beside=beside)
        self._set(self._first())
        self.start()

    def follow(self, name: str) -> None:
        """A plate has its wells, a well its positions, a stack its hours."""
        if name == "plate":
            wells = self._of_plate().drop_duplicates("well")
            names = sorted(wells["well"], key=natural_key)
            offer(self.controls["well"], [(well or "not given", well) for well in names])
            self._grid.fill(wells)
        if name in ("plate", "well"):
            names = sorted(self._of_well()["position"], key=natural_key)
            options = [(position_name(name) if name else "the only one", name) for name in names]
            offer(self.controls["position"], options)
            self._grid.mark(self.controls["well"].value)
        if name in ("plate", "well", "position"):
            hours, before = self._rows()["hours"].tolist(), self.controls["hours"].value
            self._play.max = len(hours) - 1
            nearest = min(hours, key=lambda hour: abs(hour - before))
            offer(self.controls["hours"], [(f"{hour:g} h", hour) for hour in hours], nearest)

    def draw(self, selection: PlateSelection) -> tuple[live.Drawing, str]:
        """Move the cursor, or draw another stack."""
        rows, row, picture = self._shown()
        stack, threshold = str(rows["stack_id"].iloc[0]), self._source.threshold.value
        key = f"{stack} {picture is None}"
        if self._of_stack is None or self._of_stack[0] != key:
            size = None if picture is None else SIDE
            self._of_stack = key, live.StackDrawing(rows, threshold=threshold, size=size)
        drawing = self._of_stack[1]
        drawing.show(selection.hours, picture)
        frame = f"{stack}: {live.hours_text(row)}. {live.prediction_text(row)}. Split: {row['split']}."
        return drawing, f"{frame} {self._pictures.missing}".strip()

    def figure(self) -> Figure:
        """The plate map with the well marked, above the frame and its trajectory."""
        rows, row, picture = self._shown()
        frame: Any = {"hours": row["hours"], "picture": picture, "threshold": self._source.threshold.value}
        return live.plate_and_stack_figure(self._of_plate(), rows, **frame)

    def _shown(self) -> tuple[pd.DataFrame, pd.Series, np.ndarray | None]:
        """Return the rows of the chosen stack, that of the chosen frame, and its picture."""
        rows = self._rows()
        frame = rows[rows["hours"].eq(self.controls["hours"].value)]
        pictures = self._pictures.of(frame)
        return rows, frame.iloc[0], None if pictures is None else pictures[0]

    def _first(self) -> PlateSelection:
        stacks = self._stacks[self._stacks["split"].eq(self._source.splits[0])]
        infected = stacks[stacks["condition"].eq("infected")]
        row = (infected if len(infected) else stacks).iloc[0]
        rows = self._source.predictions
        last = float(rows.loc[rows["stack_id"].eq(row["stack_id"]), "hours"].max())
        return PlateSelection(row["plate"], row["well"], row["position"], last)

    def _of_plate(self) -> pd.DataFrame:
        return self._stacks[self._stacks["plate"].eq(self.controls["plate"].value)]

    def _of_well(self) -> pd.DataFrame:
        stacks = self._of_plate()
        return stacks[stacks["well"].eq(self.controls["well"].value)]

    def _rows(self) -> pd.DataFrame:
        stacks, rows = self._of_well(), self._source.predictions
        chosen = stacks.loc[stacks["position"].eq(self.controls["position"].value), "stack_id"]
        return rows[rows["stack_id"].eq(chosen.iloc[0])].sort_values("hours")


REASONS = ("time error", "missed infection", "false alarm")
EVERY = "all"
HEADS = {"time error": "time"}  # whose map is shown; of the other errors the class head's
HeatMaps = Callable[[pd.DataFrame, str], npt.NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class ErrorSelection:
    """Which errors are listed, and which of them is shown.

    reason: missed infection, false alarm or time error; condition: ``all``, ``infected`` or ``mock``; well:
    its name, or ``all``; hours: the first and the last hour since start; rank: 1 is the worst, 0 when there
    is none.
    """

    reason: str
    condition: str
    well: str
    hours: tuple[float, float]
    rank: int


class ErrorBrowser(Explorer[ErrorSelection]):
    """Look at the frames that a run gets most wrong: by kind of error, condition, well and hours.

    Args:
        run: a finished run, or its folder.
        heat_maps: given the rows of some frames (PREDICTIONS) and ``class`` or ``time``, returns (n, height,
            width): what speaks for infected, or for more hours (positive), and what against; NaN where it is
            not known; drawn in a second row. None = the Grad-CAM maps that the run keeps, if it does.

    Raises:
        InputError: no finished run.
    """

    def __init__(self, run: Run | str | Path, *, heat_maps: HeatMaps | None = None) -> None:
        self._source = source = Source(run)
        self._heat_maps = heat_maps = heat_maps or read_heat_maps(source.run)
        self._rows = source.of_split(source.splits[0])
        self._pictures = Pictures(source.cfg)
        first, last = float(self._rows["hours"].min()), float(self._rows["hours"].max())
        wells = [well for well in sorted(self._rows["well"].unique(), key=natural_key) if well]
        span: Any = {"value": (first, last), "min": first, "max": max(last, first + 1e-3), "step": 0.5}
        span |= {"readout_format": ".3g", "continuous_update": False}
        listed = control(ipw.Select, "worst first", width=720, label=75, options=[("", 0)], rows=6)
        listed.layout.height = "116px"
        controls: dict[str, Any] = {
            "reason": choice("error", REASONS, width=210),
            "condition": choice("wells", [EVERY, *sorted(self._rows["condition"].unique())], width=170),
            "well": choice("well", [EVERY, *wells], width=140),
            "hours": control(ipw.FloatRangeSlider, "hours", width=330, **span),
            "rank": listed,
        }
        height = live.PICTURES_IN * (1 if heat_maps is None else 2) + live.TRAJECTORY_IN
        super().__init__(ErrorSelection, controls, size_in=(live.STACK_IN[0], height))
        for reason in REASONS:  # without a time head: begin with what there is
            controls["reason"].value = reason
            self._list()
            if len(self._worst):
                break
        self.start()

    def follow(self, name: str) -> None:
        """Other frames have another list."""
        if name != "rank":
            self._list()

    def draw(self, selection: ErrorSelection) -> tuple[live.Drawing, str]:
        """Draw the chosen frame, its neighbours and the trajectory of its stack."""
        if not selection.rank:
            n = len(self._chosen_rows())
            raise InputError(f"No {selection.reason} among the {n} frames of these wells and hours.")
        bad = self._worst[self._worst["rank"].eq(selection.rank)].iloc[0]
        stack = self._rows[self._rows["stack_id"].eq(bad["stack_id"])].sort_values("hours")
        at = int(np.flatnonzero(stack["frame"].eq(bad["frame"]))[0])
        shown = stack.iloc[max(at - NEIGHBOURS, 0) : at + NEIGHBOURS + 1]
        pictures = self._pictures.of(shown)
        head = HEADS.get(selection.reason, "class")
        heat = self._heat_maps(shown, head) if self._heat_maps and pictures is not None else None
        chosen: Any = {"chosen": int(bad["frame"]), "threshold": self._source.threshold.value}
        figure = live.error_figure(stack, shown, pictures=pictures, heat=heat, head=head, **chosen)
        frame = stack.iloc[at]
        words = f"{selection.rank}. {selection.reason}: {frame['stack_id']}, {live.hours_text(frame)}. "
        words += f"{live.prediction_text(frame)}. {self._pictures.missing}"
        return live.Drawing(figure), words.strip()

    def _chosen_rows(self) -> pd.DataFrame:
        low, high = self.controls["hours"].value
        rows = self._rows[self._rows["hours"].between(low - 1e-9, high + 1e-9)]
        for name in ("condition", "well"):
            if self.controls[name].value != EVERY:
                rows = rows[rows[name].eq(self.controls[name].value)]
        return rows

    def _list(self) -> None:
        rows = self._chosen_rows()
        worst = worst_frames(rows, threshold=self._source.threshold.value, n=LISTED) if len(rows) else rows
        self._worst = worst[worst["reason"].eq(self.controls["reason"].value)] if len(worst) else worst
        options = [(_line(row), int(str(row.rank))) for row in self._worst.itertuples()]
        self.controls["rank"].options = options or [("none", 0)]
        self.controls["rank"].value = 1 if options else 0


def _line(row: Any) -> str:
    predicted = ", ".join(prediction_lines(row)).replace("P(infected)", "P")
    return f"{row.rank}. {place_text(row)}, {row.condition}, {row.hours:g} h: {predicted}"
