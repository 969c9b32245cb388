"""What draws one set of axes draws on the caller's axes, too."""

from __future__ import annotations

import inspect

import pytest
from matplotlib.axes import Axes

from hpiclock import figures

ONE_PANEL = {
    name: function
    for name, function in vars(figures).items()
    if inspect.isfunction(function) and inspect.signature(function, eval_str=True).return_annotation is Axes
}


@pytest.mark.parametrize("name", sorted(ONE_PANEL))
def test_a_plot_of_one_panel_takes_the_axes_to_draw_on(name):
    ax = inspect.signature(ONE_PANEL[name]).parameters["ax"]
    assert ax.default is None
    assert ax.kind is inspect.Parameter.KEYWORD_ONLY
