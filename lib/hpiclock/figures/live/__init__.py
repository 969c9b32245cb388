"""A figure of which a part moves: what stands still is drawn once, what moves is drawn on top of it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from hpiclock.figures import style

SCREEN_DPI = 100  # pixels on screen for an inch on paper
SHARPNESS = 1.5  # pixels drawn for a pixel on screen: words stay sharp on dense displays


class Drawing:
    """A figure and its moving artists, rendered to PNG.

    A subclass builds the figure, hands over what moves, and has a method that moves it.
    """

    figure: Figure
    _canvas: FigureCanvasAgg
    _moving: list[Artist]
    _still: Any = None

    def set_figure(self, figure: Figure, moving: Iterable[Artist]) -> None:
        """Take over a figure; ``moving`` is drawn anew in every picture, in this order.

        The layout is that of now: nothing jumps when words become longer.
        """
        self.figure = figure
        figure.set_dpi(SCREEN_DPI * SHARPNESS)
        self._canvas = FigureCanvasAgg(figure)
        self._moving = list(moving)
        with mpl.rc_context(style.RC):
            self._canvas.draw()
        figure.set_layout_engine("none")
        self._still = None

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height on screen."""
        width, height = self.figure.get_size_inches()
        return round(width * SCREEN_DPI), round(height * SCREEN_DPI)

    def stale(self) -> None:
        """Draw everything anew next time: something changed that stands still otherwise."""
        self._still = None

    def png(self) -> bytes:
        """Return the picture of now."""
        with mpl.rc_context(style.RC):
            if self._still is None:
                self._draw_still()
            self._canvas.restore_region(self._still)
            for artist in self._moving:
                artist.draw(self._canvas.get_renderer())
        stream = io.BytesIO()
        pixels = np.asarray(self._canvas.buffer_rgba())[..., :3]
        Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png", compress_level=1)
        return stream.getvalue()

    def _draw_still(self) -> None:
        for artist in self._moving:
            artist.set_animated(True)
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(self.figure.bbox)
        for artist in self._moving:
            artist.set_animated(False)  # so that the figure is whole when it is saved elsewhere


class Words(Drawing):
    """A sentence where a figure would be.

    Args:
        text: why there is none.
        size_px: width and height on screen.
    """

    def __init__(self, text: str, size_px: tuple[int, int]) -> None:
        width, height = (side / SCREEN_DPI for side in size_px)
        with mpl.rc_context(style.RC):
            figure = style.new_figure(width, height)
            style.nothing(figure.add_subplot(), text)
            self.set_figure(figure, [])
