"""Figures fill the column of a page, and their lettering can be read there."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.text import Text

from hpiclock import figures
from hpiclock.figures import live, style

LEAST_PX = 12  # on a page of 1,200 px, whose column is some 940 px wide
SOURCES = sorted(Path(style.__file__).parent.glob("*.py"))
PX_PER_POINT = style.SCREEN_DPI / 72


def test_every_size_of_the_style_sheet_can_be_read():
    sizes = {name: size for name, size in style.RC.items() if name.endswith(("size", "fontsize"))}
    sizes = {name: size for name, size in sizes.items() if "marker" not in name and "tick.major" not in name}
    assert {name: size for name, size in sizes.items() if not float(size) * PX_PER_POINT >= LEAST_PX} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_figure_sets_a_smaller_size(path):
    sizes = re.findall(r"(?:font|label)size\"?(?:=|: )([\d.]+)", path.read_text(encoding="utf-8"))
    assert [size for size in sizes if float(size) * PX_PER_POINT < LEAST_PX] == []


def test_figures_fill_the_column_and_their_lettering_is_as_large_as_it_is_drawn(scored_plate, made_windows):
    drawn = [
        figures.clocks(scored_plate),
        figures.score_over_hours(scored_plate, threshold=0.5),
        figures.metric_by_window(made_windows([0.5, 0.7, 0.9]), metric="auc", level=0.95),
        figures.temporal_generalization_figure(made_windows([0.5, 0.7, 0.9], metric="mae"), level=0.95),
        figures.plate_map(scored_plate.drop_duplicates("stack_id")),
    ]
    for figure in map(style.figure_of, drawn):
        assert style.screen_width(figure) == round(style.PAGE_IN * style.SCREEN_DPI)
        px_per_point = style.screen_width(figure) / figure.get_figwidth() / 72
        words = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert words
        assert min(text.get_fontsize() for text in words) * px_per_point >= 11.9


def test_explorers_are_no_wider_than_the_column():
    assert max(live.STACK_IN[0], live.THRESHOLD_IN[0], live.WINDOW_IN[0]) <= style.PAGE_IN
    assert mpl.rcParams["font.size"] != style.RC["font.size"]  # the caller's settings stay


def test_one_column_keeps_the_lettering_and_every_entry_of_the_legends(made_windows):
    drawn = figures.metric_by_window(made_windows([0.5, 0.7, 0.9]), metric="auc", level=0.95)
    figure = style.figure_of(drawn)
    legends = [part.get_legend() for part in (drawn, *drawn.child_axes)]
    named = [text.get_text() for legend in legends for text in (legend.get_title(), *legend.texts)]
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
    narrow = style.in_one_column(figure)
    assert narrow.get_figwidth() == style.COLUMN_IN
    assert [text.get_text() for text in narrow.legends[0].texts] == [text for text in named if text]
    assert {text.get_fontsize() for text in narrow.findobj(Text) if text.get_text()} <= sizes
    assert style.in_one_column(style.panels(2, style.PAGE_IN, 3)[0]) is None
