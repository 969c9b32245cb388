"""One frame among its neighbours in time, with the trajectory of its stack below."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from hpiclock.report.plots import style
from hpiclock.report.plots.images import gallery_lines
from hpiclock.report.plots.live.drawing import Drawing
from hpiclock.report.plots.live.stack import frame_words, hours_words
from hpiclock.report.plots.looks import ENDS, SCALES, lay_over
from hpiclock.report.plots.style import styled
from hpiclock.report.plots.trajectories import entries_of, onset_and_cursor, score_panel, time_panel
from hpiclock.report.plots.treatments import Treatment

Picture = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.floating[Any]]
WIDTH_IN, TRAJECTORY_IN = 7.2, 2.2
PICTURES_IN = 1.95  # height of a row of frames


class ErrorDrawing(Drawing):
    """Frames side by side, the chosen one framed in ink, a row of heat maps where given, and trajectories.

    Args:
        rows: PREDICTIONS of one stack and run.
        shown: the frames of it that are drawn, in their order.
        chosen: the value of ``frame`` that is in question.
        threshold: the decision threshold.
        pictures: (n, side, side) uint8, one for each row of ``shown``; None draws trajectories alone.
        heat: (n, height, width) what speaks for infected or for more hours (positive) and what against; NaN
            where it is not known.
        head: whose maps these are, ``class`` or ``time``.
    """

    @styled
    def __init__(
        self, rows: pd.DataFrame, shown: pd.DataFrame, *, chosen: int, threshold: float,
        pictures: Picture | None, heat: Heat | None, head: str = "class",
    ) -> None:  # fmt: skip
        n_rows = 0 if pictures is None else 1 if heat is None else 2
        figure = style.new_figure(WIDTH_IN, n_rows * PICTURES_IN + TRAJECTORY_IN)
        heights = [PICTURES_IN] * n_rows + [TRAJECTORY_IN]
        strips = figure.subfigures(n_rows + 1, 1, height_ratios=heights, squeeze=False)[:, 0]
        if pictures is not None:
            _strip(strips[0], shown, chosen, pictures, None, head)
        if pictures is not None and heat is not None:
            _strip(strips[1], shown, chosen, pictures, heat, head)
        row = next(shown[shown["frame"].eq(chosen)].itertuples())
        left, right = strips[-1].subplots(1, 2)
        rows = rows.sort_values("hours")
        score_panel(left, rows, threshold)
        time_panel(right, rows)
        for ax in (left, right):
            onset_and_cursor(ax, rows, float(str(row.hours)))
        handles, labels = (a + b for a, b in zip(*map(entries_of, (left, right)), strict=True))
        entries = dict(zip(labels, handles, strict=True))
        strips[-1].legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries)
        )  # fmt: skip
        had = Treatment.of(row)
        name = f"{row.well} {style.position(row.position)}, {had.label}, {hours_words(row)}"
        beside = "" if pictures is None else f" among {len(shown)} frames in a row"
        maps = (
            f" Below each where the {head} head looks." if heat is not None and pictures is not None else ""
        )
        figure.suptitle(name, x=0.01, ha="left", fontsize=8)
        style.describe(figure, f"{name}: {frame_words(row)}{beside}, above the trajectory.{maps}")
        self.set_figure(figure, [])


def _strip(
    figure: Any, shown: pd.DataFrame, chosen: int, pictures: Picture, heat: Heat | None, head: str
) -> None:
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(1, len(shown))))
    known = heat is not None and bool(np.isfinite(heat).any())
    most = float(np.nanmax(np.abs(heat))) if heat is not None and known else 1.0
    for number, (ax, row) in enumerate(zip(panels, shown.itertuples(), strict=True)):
        ax.imshow(pictures[number], cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        ax.set(xticks=[], yticks=[])
        mine = row.frame == chosen
        colour = style.INK if mine else style.PALE
        ax.spines[:].set(visible=True, color=colour, linewidth=2.2 if mine else 1)
        if heat is None:
            lines = gallery_lines(row)[1:]
            ax.set_title(f"{row.hours:g} h", fontsize=7, fontweight="bold" if mine else "normal")
            ax.set_xlabel("\n".join(lines).replace(", true", ",\ntrue"), fontsize=6, loc="left", labelpad=3)
        elif np.isfinite(heat[number]).any():
            lay_over(ax, heat[number], head, most or 1.0, pictures.shape[1])
        else:
            ax.set_xlabel("no map kept", fontsize=6, loc="left", labelpad=3)
    if known:
        panels[0].set_title(f"the {head} head looks", fontsize=6.5, fontweight="normal")
        for ax, words, end in zip(panels[1:], ENDS[head], (0.0, 1.0), strict=False):
            ax.set_title(f"■ {words}", fontsize=6.5, fontweight="normal", color=to_hex(SCALES[head](end)))
