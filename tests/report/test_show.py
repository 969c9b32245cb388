"""Showing a figure: the picture with its words, then the sentence on how to read it."""

import pytest

from hpiclock.report import plots
from hpiclock.report import show as show_module


@pytest.fixture
def shown(monkeypatch) -> list:
    """What would have been displayed in a notebook."""
    things: list = []
    monkeypatch.setattr(show_module, "display", things.append)
    return things


def test_a_figure_is_shown_with_its_alternative_text_and_its_sentence(scored_plate, shown):
    ax = plots.clocks(scored_plate)
    show_module.show(ax, "Shifted lines are one clock.")
    picture, sentence = shown
    _, metadata = picture._repr_png_()
    assert metadata["alt"] == plots.alt_text(ax)
    assert metadata["alt"].startswith("Time target against hours")
    assert metadata["width"] == round(ax.get_figure().get_figwidth() * 100)
    assert sentence._repr_markdown_() == "Shifted lines are one clock."


def test_without_a_sentence_only_the_picture_is_shown(scored_plate, shown):
    show_module.show(plots.clocks(scored_plate).get_figure(), "")
    assert len(shown) == 1
