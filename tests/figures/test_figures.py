"""Plots of the plate, its frames and the training draw the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Circle

from hpiclock import figures
from hpiclock.errors import InputError
from hpiclock.figures import style
from hpiclock.figures.style import treatments

HOURS = [0.0, 3.0, 6.0, 9.0]


def labels_of(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def line_named(ax, start: str):
    return next(line for line in ax.get_lines() if str(line.get_label()).startswith(start))


def test_conditions_keep_their_colour_and_moi_its_shade_whatever_else_is_drawn(scored_plate):
    all_three = {t.label: t.colour for t in treatments(scored_plate)}
    assert all_three["mock"] == style.MOCK
    assert all_three["MOI 1"].lower() == style.INFECTED.lower()
    alone = treatments(scored_plate.query("well == 'B10'"))
    assert [(t.label, t.colour) for t in alone] == [("MOI 5", all_three["MOI 5"])]


def test_infected_without_a_known_moi_is_called_infected(scored_plate):
    table = scored_plate.assign(moi=np.nan)
    assert [t.label for t in treatments(table)] == ["mock", "infected"]
    assert len(treatments(table)[1].rows(table)) == 16


def test_plate_map_puts_each_well_at_its_row_and_column_in_its_colour(scored_plate):
    ax = figures.plate_map(scored_plate.drop_duplicates("stack_id"))
    wells = {p.get_label(): p for p in ax.patches if isinstance(p, Circle) and p.get_facecolor()[3] > 0}
    assert {name: tuple(map(float, well.center)) for name, well in wells.items()} == {
        "A01": (0, 0), "A02": (1, 0), "B10": (9, 1)
    }  # fmt: skip
    assert to_hex(wells["A01"].get_facecolor()) == style.MOCK.lower()
    assert len([p for p in ax.patches if isinstance(p, Circle)]) == 96 + 3  # column 10 needs 8 x 12


@pytest.mark.parametrize(("well", "places"), [("B03", 6), ("D06", 24), ("H12", 96), ("P24", 384)])
def test_plate_format_is_the_smallest_that_holds_the_wells(well, places, scored_plate):
    ax = figures.plate_map(scored_plate.query("well == 'A01'").assign(well=well))
    assert len(ax.patches) == places + 1


def test_wells_without_a_place_in_their_name_are_laid_out_in_order_and_said_so(scored_plate):
    ax = figures.plate_map(scored_plate.assign(well=lambda t: "dish " + t["well"]))
    assert "no place" in ax.get_xlabel()
    assert len(ax.patches) == 3 + 3


def test_plate_map_of_two_plates_is_refused_and_drawn_by_the_figure(scored_plate):
    two = pd.concat([scored_plate, scored_plate.assign(plate="Q")])
    with pytest.raises(InputError, match="plate_map_figure"):
        figures.plate_map(two)
    assert [ax.get_title("left") for ax in figures.plate_map_figure(two).axes] == ["Plate P", "Plate Q"]


def test_split_overview_has_a_tile_per_stack_and_shows_a_well_on_two_sides(scored_plate):
    frames = scored_plate
    frames.loc[frames["stack_id"].eq("A02p2"), "split"] = "train"
    ax = figures.split_overview(frames)
    tiles = {tile.get_label(): to_hex(tile.get_facecolor()) for tile in ax.patches}
    splits = frames.drop_duplicates("stack_id").set_index("stack_id")["split"]
    assert tiles == splits.map(lambda split: style.SPLIT_COLOURS[split].lower()).to_dict()
    assert {text.get_text() for text in ax.texts} == {"A01", "A02", "B10"}
    left = {tile.get_label(): tile.get_x() for tile in ax.patches}
    assert left["A02p1"] < left["A02p2"] < left["A02p1"] + 1  # side by side in the box of one well
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "test: 3 wells, 5 stacks" in legend


def test_hours_coverage_draws_every_frame_once_and_frames_before_onset_in_grey(scored_plate):
    ax = figures.hours_coverage(scored_plate)
    drawn: dict[str, int] = {}
    for ticks in (c for c in ax.collections if c.get_segments()):
        colour = to_hex(ticks.get_colors()[0])
        drawn[colour] = drawn.get(colour, 0) + len(ticks.get_segments())
    assert sum(drawn.values()) == 24
    assert drawn[style.MOCK.lower()] == 8
    assert drawn[style.GREY.lower()] == 4  # hour 0 of four infected stacks
    onsets = next(line for line in ax.get_lines() if line.get_marker() == "D")
    assert list(onsets.get_xdata()) == [3.0] * 4


def test_clocks_are_lines_a_constant_apart_and_count_their_wells(scored_plate):
    ax = figures.clocks(scored_plate)
    infected, mock = line_named(ax, "infected"), line_named(ax, "mock")
    np.testing.assert_allclose(np.subtract(infected.get_ydata(), infected.get_xdata()), -3)
    np.testing.assert_allclose(mock.get_ydata(), HOURS)
    assert infected.get_label() == "infected: infection clock, onset 3 h (2 wells)"


def test_film_strip_sorts_by_hour_and_writes_hours_and_hpi_under_each_frame(scored_plate):
    frames = scored_plate.query("stack_id in ['A01p1', 'A02p1']").iloc[::-1]
    images = np.stack([np.full((8, 8), i, np.uint8) for i in range(len(frames))])
    axes = figures.film_strip_figure(frames, images).axes
    assert [ax.get_xlabel() for ax in axes[:4]] == [
        "0 h · −3 hpi",
        "3 h · 0 hpi",
        "6 h · 3 hpi",
        "9 h · 6 hpi",
    ]
    assert [ax.get_xlabel() for ax in axes[4:]] == ["0 h", "3 h", "6 h", "9 h"]
    # reversed rows: the last image belongs to hour 0 of the mock stack, shown first in the second strip
    assert axes[4].images[0].get_array()[0, 0] == 7
    assert axes[0].get_ylabel() == "A02 p1\nMOI 1"


def test_film_strips_put_the_same_hour_into_the_same_column(scored_plate):
    late = scored_plate["stack_id"].eq("A02p1") & scored_plate["hours"].ge(6)
    frames = scored_plate[scored_plate["stack_id"].eq("A01p1") | late]
    frames = frames.assign(
        hours=frames["hours"] + 0.5 * frames["stack_id"].eq("A02p1")
    )  # taken a little later
    axes = figures.film_strip_figure(frames, np.zeros((6, 8, 8), np.uint8)).axes
    assert [ax.get_xlabel() for ax in axes[4:]] == ["", "", "6.5 h · 3 hpi", "9.5 h · 6 hpi"]
    assert axes[4].get_ylabel() == "A02 p1\nMOI 1"  # the name stays at the left


def test_gallery_captions_tell_where_when_and_what_was_predicted(scored_plate):
    row = scored_plate.query("stack_id == 'B10p2' and frame == 3").assign(reason="time error", rank=1)
    ax = figures.gallery_figure(row, np.zeros((1, 8, 8), np.uint8)).axes[0]
    assert ax.xaxis.get_label().get_text().split("\n") == [
        "1. time error", "B10 p2 · MOI 5 · 9 h · 6 hpi", "P(infected) 0.30",
        "predicted 10.0 h", "true 6.0 h (+4.0 h)",
    ]  # fmt: skip


def test_images_and_rows_must_agree(scored_plate):
    with pytest.raises(InputError, match="one for each row"):
        figures.gallery_figure(scored_plate, np.zeros((2, 8, 8), np.uint8))


def test_learning_curve_draws_both_splits_and_marks_the_kept_epoch():
    history = pd.DataFrame(
        [(e, s, "mae", e + (s == "val")) for s in ("train", "val") for e in (2, 1, 3)],
        columns=["epoch", "split", "metric", "value"],
    )
    ax = figures.learning_curve(history, metric="mae", best_epoch=2)
    assert list(line_named(ax, "val").get_xdata()) == [1, 2, 3]
    assert list(line_named(ax, "val").get_ydata()) == [2, 3, 4]
    assert "kept: epoch 2" in labels_of(ax)
    assert ax.get_ylabel() == "time MAE (h)"


def test_learning_panels_are_those_that_were_recorded():
    history = pd.DataFrame(
        {"epoch": 1, "split": "val", "metric": ["loss", "auc", "f1"], "value": [1.0, np.nan, 0.5]}
    )
    assert [ax.get_ylabel() for ax in figures.learning_curves_figure(history).axes] == ["loss (weighted sum)"]
    assert [ax.get_ylabel() for ax in figures.validation_metrics_figure(history).axes] == ["F1 at P = 0.5"]


def test_gallery_begins_a_line_for_each_reason(scored_plate):
    reasons = ["missed"] * 3 + ["time error"] * 2
    rows = scored_plate.iloc[:5].assign(reason=reasons, rank=[1, 2, 3, 1, 2])
    axes = figures.gallery_figure(rows, np.zeros((5, 8, 8), np.uint8), columns=2).axes
    captions = [ax.xaxis.get_label().get_text().split("\n")[0] for ax in axes]
    assert captions == ["1. missed", "2. missed", "3. missed", "", "1. time error", "2. time error"]


def test_of_many_frames_with_maps_so_many_are_drawn_that_cells_can_be_seen(scored_plate):
    rows = scored_plate.groupby("condition").head(8)
    images = np.zeros((len(rows), 8, 8), np.uint8)
    drawn = figures.attribution_figure(
        rows, images, {"class": np.zeros((len(rows), 4, 4))}, method="Grad-CAM"
    )
    parts = [part for part in drawn.subfigs if any(ax.get_title() for ax in part.axes)]
    shown = [[ax for ax in part.axes if ax.get_title()] for part in parts]
    assert [len(pictures) for pictures in shown] == [5, 5]
    drawn.draw_without_rendering()
    widths = [ax.get_window_extent().width / drawn.dpi for pictures in shown for ax in pictures]
    assert min(widths) > 1.2  # inches
    assert "10 test frames" in figures.alt_text(drawn)
