"""The plate as buttons: one per well, coloured by what was done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as ipw
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from hpiclock.report.plots import style
from hpiclock.report.plots.plate import layout_of
from hpiclock.report.plots.treatments import Treatment

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
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
                        for part in to_rgb(colour))  # fmt: skip
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # relative luminance of WCAG 2
    ink = "black" if light > 0.179 else "white"  # whichever has more contrast
    return ipw.ButtonStyle(button_color=colour, text_color=ink, font_size="11px", **more)
