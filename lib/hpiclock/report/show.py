"""Showing a figure in a notebook, with its alternative text and a sentence on how to read it."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from IPython.display import HTML, Image, Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from hpiclock.figures.style import alt_text, figure_of

_WORDS = "text-align: left; white-space: normal; vertical-align: top"
_SCREEN_DPI = 100  # pixels in a notebook for an inch on paper
_LARGE = 400_000  # bytes: a page holds several figures and should be a few MB
_VISIBLE = 16  # grey levels of 255 by which a colour may be off


def show(drawn: Axes | Figure, caption: str) -> None:
    """Show a figure in a notebook with its alternative text, and one sentence on how to read it under it."""
    figure = figure_of(drawn)
    width = round(figure.get_figwidth() * _SCREEN_DPI)
    display(Image(data=png(figure), format="png", width=width, alt=alt_text(figure)))
    if caption:
        display(Markdown(caption))


def show_words(table: pd.DataFrame) -> None:
    """Show a table of words in a notebook: every cell whole and left-aligned."""
    with pd.option_context("display.max_colwidth", None):
        text = table.to_html(justify="left", border=0)
    display(HTML(text.replace("<td>", f'<td style="{_WORDS}">').replace("<th>", f'<th style="{_WORDS}">')))


def png(drawn: Axes | Figure) -> bytes:
    """Return the figure as PNG with its alternative text inside; the same figure gives the same bytes."""
    figure = figure_of(drawn)
    stream = io.BytesIO()
    # legends beside axes of fixed aspect can stand out of the page that the layout planned: widen it
    figure.savefig(
        stream,
        format="png",
        bbox_inches="tight",
        pad_inches=0.04,
        metadata={"Description": alt_text(figure), "Software": None},
    )
    data = stream.getvalue()
    return data if len(data) <= _LARGE else _in_fewer_colours(data, alt_text(figure))


def _in_fewer_colours(data: bytes, description: str) -> bytes:
    """Return a PNG of many frames with 256 colours: half the bytes, and no difference to the eye."""
    about = PngInfo()
    about.add_text("Description", description)
    picture = Picture.open(io.BytesIO(data))
    stream = io.BytesIO()
    whole = picture.convert("RGB")
    fewer = whole.quantize(256, dither=Picture.Dither.NONE)
    off = np.abs(np.asarray(fewer.convert("RGB"), np.int16) - np.asarray(whole, np.int16))
    # among many greys the commonest colours leave no room for rare ones
    if np.percentile(off, 99.9) > _VISIBLE:
        fewer = whole.quantize(256, method=Picture.Quantize.MAXCOVERAGE, dither=Picture.Dither.NONE)
    fewer.save(stream, format="png", pnginfo=about, dpi=picture.info["dpi"])
    return stream.getvalue()


def warn(notes: list[str] | tuple[str, ...]) -> None:
    """Show what this plate, split or run cannot tell; nothing when there is nothing."""
    if notes:
        lines = "\n".join(f"> - {note}" for note in notes)
        display(Markdown(f"> **Read this first**\n>\n{lines}"))
