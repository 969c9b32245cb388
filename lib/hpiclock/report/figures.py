"""Writing a figure to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpiclock.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_figure(figure: Figure | Axes, path: Path) -> None:
    """Write a figure (or the figure of an Axes) as PNG, PDF or SVG, with its alternative text inside.

    No date and no random ids go in: the same figure is the same file.
    """
    import matplotlib as mpl  # here, so that opening a run stays quick

    from hpiclock.report.plots.style import alt_text, figure_of

    whole = figure_of(figure)
    about: dict[str, Any] = {"Description": alt_text(whole)}
    if path.suffix == ".svg":
        about["Date"] = None
    if path.suffix == ".pdf":
        about = {"Subject": about["Description"], "CreationDate": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial, mpl.rc_context({"svg.hashsalt": "hpiclock"}):
        whole.savefig(partial, dpi=150, bbox_inches="tight", metadata=about)
