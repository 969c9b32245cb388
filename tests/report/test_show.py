"""Showing a figure: the picture with its words, then the sentence on how to read it."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hpiclock import figures
from hpiclock.report import text


@pytest.fixture
def shown(monkeypatch) -> list:
    """What would have been displayed in a notebook."""
    things: list = []
    monkeypatch.setattr(text, "display", things.append)
    return things


def test_a_figure_is_shown_with_its_alternative_text_and_its_sentence(scored_plate, shown):
    ax = figures.clocks(scored_plate)
    text.show(ax, "Shifted lines are one clock.")
    picture, sentence = shown
    _, metadata = picture._repr_png_()
    assert metadata["alt"] == figures.alt_text(ax)
    assert metadata["alt"].startswith("Time target against hours")
    assert metadata["width"] == 936  # the column of a page
    assert sentence._repr_markdown_() == "Shifted lines are one clock."


def test_without_a_sentence_only_the_picture_is_shown(scored_plate, shown):
    text.show(figures.clocks(scored_plate).get_figure(), "")
    assert len(shown) == 1


def test_a_picture_of_many_frames_is_made_smaller_and_keeps_its_greys_and_words():
    figure = Figure(figsize=(9, 9), dpi=150)
    ax = figure.subplots()
    ax.set_position((0, 0, 1, 1))
    ax.set_axis_off()
    grey = np.random.default_rng(0).integers(0, 256, (1350, 1350), dtype=np.uint8)
    ax.imshow(grey, cmap="gray", interpolation="nearest", vmin=0, vmax=255)
    figure.set_label("Frames of noise.")
    data = text.png(figure)
    whole = io.BytesIO()
    figure.savefig(whole, format="png", bbox_inches="tight", pad_inches=0.04)
    assert len(data) < 0.6 * len(whole.getvalue())
    before, after = (
        np.asarray(Image.open(io.BytesIO(d)).convert("L"), int) for d in (whole.getvalue(), data)
    )
    assert np.abs(after - before).max() <= 4
    assert Image.open(io.BytesIO(data)).text["Description"] == figures.alt_text(ax)
    assert text.png(figure) == data


def test_rare_colours_over_many_greys_stay_what_they_are():
    figure = Figure(figsize=(9, 9), dpi=150)
    ax = figure.subplots()
    ax.set_position((0, 0, 1, 1))
    ax.set_axis_off()
    colours = np.random.default_rng(0).integers(0, 256, (1350, 1350, 1), dtype=np.uint8).repeat(3, axis=2)
    for place, share in enumerate(np.linspace(0, 1, 40)):  # many tints of green in a corner
        colours[8 * place : 8 * place + 8, :40] = (0, 255 * share, 60)
    ax.imshow(colours, interpolation="nearest")
    figure.set_label("Green over noise.")
    shown = np.asarray(Image.open(io.BytesIO(text.png(figure))).convert("RGB"), int)
    whole = io.BytesIO()
    figure.savefig(whole, format="png", bbox_inches="tight", pad_inches=0.04)
    before = np.asarray(Image.open(io.BytesIO(whole.getvalue())).convert("RGB"), int)
    assert np.abs(shown - before).max() <= 20
