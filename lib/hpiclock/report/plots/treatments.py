"""What was done to a well, and the colour and line it has in every figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex

from hpiclock.report.plots import style

# One shade per MOI whatever else stands in the table: 0.01 is pale, 1 the colour of infected, 10 dark.
_MOI_SHADES = LinearSegmentedColormap.from_list(
    "moi", [(0, "#F9CDA8"), (2 / 3, style.INFECTED), (1, "#6E2A00")]
)


MANY = 40  # lines of one treatment; more are a smear


@dataclass(frozen=True)
class Treatment:
    """What was done to some wells: the condition and, if infected at a known one, the MOI."""

    condition: str
    moi: float | None

    @classmethod
    def of(cls, row: Any) -> Treatment:
        """Return the treatment of a row with ``condition`` and ``moi``; an MOI of mock has no meaning."""
        known = row.condition == "infected" and np.isfinite(row.moi)
        return cls(str(row.condition), float(row.moi) if known else None)

    @property
    def label(self) -> str:
        """Its name in legends."""
        return self.condition if self.moi is None else f"MOI {self.moi:g}"

    @property
    def colour(self) -> str:
        """Its colour: the same in every figure."""
        if self.moi is None:
            return style.CONDITION_COLOURS.get(self.condition, style.GREY)
        shade = (np.log10(max(self.moi, 1e-9)) + 2) / 3  # 0.01 -> 0, 10 -> 1
        return to_hex(_MOI_SHADES(float(np.clip(shade, 0, 1))))

    @property
    def line(self) -> dict[str, Any]:
        """Keywords for a line of this treatment."""
        return {"color": self.colour, "linestyle": style.CONDITION_LINES.get(self.condition, "-")}

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of ``table`` that had this treatment."""
        same = table["condition"].eq(self.condition)
        if self.condition == "infected":
            same &= table["moi"].isna() if self.moi is None else table["moi"].eq(self.moi)
        return table[same]


def treatments(table: pd.DataFrame) -> list[Treatment]:
    """Return the treatments in a table with ``condition`` and ``moi``: mock first, then MOI upwards."""
    kinds = table[["condition", "moi"]].drop_duplicates()
    found = {Treatment.of(row) for row in kinds.itertuples()}
    return sorted(found, key=lambda t: (t.condition != "mock", t.condition, -1 if t.moi is None else t.moi))


def draw_stacks(ax: Axes, rows: pd.DataFrame, x: str, y: str) -> str:
    """Draw ``y`` over ``x`` as a line per stack, one legend entry per treatment; return what was drawn.

    Of more than ``MANY`` stacks of a treatment every so manieth is drawn, and the legend says so.
    """
    words = []
    for had in treatments(rows):
        mine = had.rows(rows)
        names = np.unique(mine["stack_id"].to_numpy(str))
        shown = names[:: -(-len(names) // MANY)]
        some = "" if len(shown) == len(names) else f"{len(shown)} of "
        text = f"{had.label} ({some}{style.plural(len(names), 'stack')})"
        stacks = mine[mine["stack_id"].isin(shown)].groupby("stack_id")
        for number, (_, stack) in enumerate(stacks):
            stack = stack.sort_values(x)
            label = text if number == 0 else "_nolegend_"
            marker = style.CONDITION_MARKERS.get(had.condition, "o") if len(stack) == 1 else None
            ax.plot(stack[x], stack[y], marker=marker, linewidth=0.9, alpha=0.85, label=label, **had.line)
        words.append(f"{text} {style.range_text(mine[y], 2)}")
    return "; ".join(words)
