"""The explorers without a browser: what is chosen is drawn, and where nobody can move it stands a figure."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from hpiclock import workbook
from hpiclock.config.load import load_config
from hpiclock.errors import InputError
from hpiclock.figures.live import SHARPNESS
from hpiclock.plate.frames import prepare_frames
from hpiclock.report.explore_frames import PlateSelection
from hpiclock.report.pages import WIDGET, keep_notebook
from hpiclock.runs.results import write_tables
from hpiclock.runs.run import Run
from hpiclock.tables import METRICS, PREDICTIONS
from hpiclock.workflows.study import study_tables

ROOT = Path(__file__).parents[2]
SYNCYTIA = ROOT.parent / "shared" / "real" / "syncytia"
MAKERS = {
    "plate": workbook.plate_browser,
    "threshold": workbook.threshold_explorer,
    "window": workbook.window_explorer,
    "error": workbook.error_browser,
    "runs": lambda run: workbook.run_comparer([run]),
}


def scored(source, folder, *, seed=0, experiment="tiny", changes=()):
    """A finished run with made-up predictions: P rises after the onset, the time is off by some hours."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    config.write_text(
        f"experiment: {experiment}\nseed: {seed}\nreports_dir: reports\ndata: {{source: {source}}}\n"
        "image: {size: 32}\nstudy: {resamples: 100}\n"
    )
    run = Run.create(load_config(config, dict(changes)), "")
    frames = prepare_frames(run.cfg).frames
    rng = np.random.default_rng(seed)
    sign = (frames["hpi"].fillna(-20) - 12) / 4
    made = frames.assign(
        run=run.name, seed=seed,
        p_infected=1 / (1 + np.exp(-(sign + rng.normal(0, 1, len(frames))))),
        time_pred=frames["time_target"].fillna(0) + rng.normal(0, 4, len(frames)),
    )  # fmt: skip
    run.save_table("predictions.parquet", PREDICTIONS, made)
    write_tables(study_tables(made, run.cfg), run.folder)
    run.save_json("results.json", {"test_metrics": {"cls_auc": 0.9, "reg_mae": 3.0}})
    return run


@pytest.fixture(scope="module")
def run(tiny_plate, tmp_path_factory):
    return scored(tiny_plate, tmp_path_factory.mktemp("explored"))


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("name", MAKERS)
def test_each_explorer_shows_a_picture_in_a_browser_and_a_figure_without_one(run, name):
    explorer = MAKERS[name](run)
    data, about = explorer._repr_mimebundle_()
    assert {WIDGET, "image/png", "text/plain"} <= data.keys()
    figure = pixels(base64.b64decode(data["image/png"]))
    assert figure.std() > 10
    assert len(about["image/png"]["alt"]) > 40
    assert data["text/plain"] == str(explorer.selection)
    live = pixels(explorer.image.value)
    assert live.shape[1] == pytest.approx(SHARPNESS * int(explorer.image.width), abs=2)
    assert live.shape[0] == pytest.approx(SHARPNESS * int(explorer.image.height), abs=2)


def test_a_moved_control_replaces_the_picture_and_not_its_element(run):
    explorer = workbook.plate_browser(run)
    element, before, words = explorer.image, explorer.image.value, explorer.words.value
    explorer.controls["hours"].value = 0.0
    assert explorer.image is element
    assert explorer.image.value != before
    assert explorer.words.value != words
    assert explorer.selection.hours == 0.0
    assert "0 h after start" in explorer.words.value


def test_a_well_has_its_positions_and_keeps_the_hour(run):
    explorer = workbook.plate_browser(run)
    explorer.controls["hours"].value = 24.0
    wells = [value for _, value in explorer.controls["well"]._options_full]
    assert len(wells) == 8
    for well in wells:
        explorer.controls["well"].value = well
        assert explorer.selection.well == well
        assert explorer.selection.hours == 24.0
        assert f"/{well}/" in explorer.words.value


def test_a_button_of_the_plate_chooses_its_well(run):
    explorer = workbook.plate_browser(run)
    buttons = explorer._grid._buttons
    assert len(buttons) == 8
    buttons["B02"].click()
    assert explorer.selection.well == "B02"
    assert buttons["B02"].style.font_weight == "bold"
    assert [name for name, button in buttons.items() if button.style.font_weight == "bold"] == ["B02"]


def test_the_frame_that_is_shown_is_the_chosen_one(run):
    explorer = workbook.plate_browser(run)
    rows = run.read_table("predictions.parquet", PREDICTIONS)
    row = rows[rows["well"].eq("A02") & rows["hours"].eq(24.0)].iloc[0]
    explorer.selection = PlateSelection(row["plate"], "A02", row["position"], 24.0)
    assert f"P(infected) {row['p_infected']:.2f}" in explorer.words.value
    assert f"predicted {row['time_pred']:.1f} h".replace("-", "−") in explorer.words.value
    cursor = explorer._of_stack[1]._panels._cursors[0]
    assert list(cursor.get_xdata()) == [24.0, 24.0]


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("plate", {"well": "Z99"}, "selection: well 'Z99' is not there; there are A01, A02"),
        ("threshold", {"threshold": 1.5}, "selection: threshold 1.5 lies outside 0 to 1"),
        ("window", {"metric": "kappa"}, "selection: metric 'kappa' is not there; there are auc"),
    ],
)
def test_what_cannot_be_selected_is_refused_and_nothing_moves(run, name, change, line):
    explorer = MAKERS[name](run)
    before, picture = explorer.selection, explorer.image.value
    with pytest.raises(InputError) as refused:
        explorer.selection = replace(before, **change)
    assert str(refused.value).startswith(line)
    assert explorer.selection == before
    assert explorer.image.value == picture


def test_the_threshold_explorer_begins_with_the_threshold_of_the_run(run):
    explorer = workbook.threshold_explorer(run)
    own = explorer._source.threshold.value
    assert f"from P = {own:.3f} on" in explorer.words.value
    assert "This is the run's threshold" in explorer.words.value.replace("&#x27;", "'")
    explorer.selection = replace(explorer.selection, threshold=0.99)
    assert "no longer tested" in explorer.words.value
    label = explorer._drawing.figure.get_label()
    explorer.selection = replace(explorer.selection, threshold=0.0)
    assert "infected predicted infected: 100.0%" in explorer._drawing.figure.get_label() != label


def test_the_window_explorer_says_what_the_study_wrote(run):
    explorer = workbook.window_explorer(run)
    windows = run.read_table("metrics.csv", METRICS)
    mine = windows[windows["metric"].eq("auc") & windows["group"].eq("all") & windows["split"].eq("test")]
    mine = mine[mine["start_h"].notna()].sort_values("start_h")
    np.testing.assert_allclose(explorer._drawing._line.get_ydata(), mine["value"], equal_nan=True)
    explorer.selection = replace(explorer.selection, group="infected", metric="mae", width_h=12.0, axis="hpi")
    assert explorer.selection.metric == "mae"
    assert "windows of 12 h every 3 h" in explorer.words.value


def test_a_group_offers_its_own_metrics(run):
    explorer = workbook.window_explorer(run)
    explorer.controls["group"].value = "mock"
    offered = {value for _, value in explorer.controls["metric"]._options_full}
    assert {"specificity", "mae", "rmse", "bias"} <= offered
    assert not {"auc", "recall"} & offered
    explorer.controls["metric"].value = "mae"
    explorer.controls["group"].value = "all"
    assert explorer.selection.metric == "mae"


def test_the_error_browser_lists_the_worst_first_and_filters(run):
    explorer = workbook.error_browser(run)
    rows = run.read_table("predictions.parquet", PREDICTIONS)
    test = rows[rows["split"].eq("test") & rows["label"].notna()]
    worst = test.loc[(test["time_pred"] - test["time_target"]).abs().idxmax()]
    assert f"{worst['stack_id']}, {worst['hours']:g} h after start" in explorer.words.value
    explorer.selection = replace(explorer.selection, condition="mock", hours=(0.0, 8.0))
    assert all(", mock, " in text for text, _ in explorer.controls["rank"]._options_full)
    assert explorer._worst["hours"].max() <= 8.0
    explorer.selection = replace(explorer.selection, rank=2)
    assert ">2. time error" in explorer.words.value


def test_where_there_is_no_such_error_the_picture_says_so(run):
    explorer = workbook.error_browser(run)
    explorer.selection = replace(explorer.selection, condition="infected", reason="false alarm", rank=0)
    assert "No false alarm among the" in explorer.words.value
    assert "No false alarm among the" in explorer._repr_mimebundle_()[1]["image/png"]["alt"]


def test_heat_maps_are_asked_for_the_frames_on_screen_and_drawn_below_them(run):
    asked = []

    def heat_maps(rows, head):
        assert head == "time"
        asked.append(rows)
        return np.linspace(-1, 1, len(rows) * 64).reshape(len(rows), 8, 8)

    plain, explorer = workbook.error_browser(run), workbook.error_browser(run, heat_maps=heat_maps)
    assert asked[0]["stack_id"].nunique() == 1
    assert asked[0]["frame"].is_monotonic_increasing
    assert int(explorer.image.height) > int(plain.image.height)
    colourful = np.ptp(pixels(explorer.image.value).astype(int), axis=2) > 25
    assert colourful.mean() > 0.05


def test_without_the_stacks_one_line_says_so_and_the_trajectories_stay(run, tmp_path):
    rows = run.read_table("predictions.parquet", PREDICTIONS)
    away = Run.create(load_config(run.folder / "config.yaml", {"reports_dir": str(tmp_path)}), tmp_path / "r")
    away.save_table("predictions.parquet", PREDICTIONS, rows.assign(path=str(tmp_path / "gone.tiff")))
    for explorer in (workbook.plate_browser(away), workbook.error_browser(away)):
        assert "No pictures, trajectories only" in explorer.words.value
        assert "gone.tiff" in explorer.words.value
        assert pixels(explorer.image.value).std() > 10
        assert "image/png" in explorer._repr_mimebundle_()[0]


def test_the_run_comparer_lists_what_differs_and_warns_of_other_splits(run, tiny_plate, tmp_path):
    more = scored(tiny_plate, tmp_path, seed=1, experiment="other", changes={"train.epochs": 7}.items())
    explorer = workbook.run_comparer([run, more])
    assert explorer.selection.runs == ("tiny/seed0", "other/seed1")
    assert "<th>train.epochs</th>" in explorer._table.value
    assert "<td>7</td>" in explorer._table.value
    assert "Same plate and split" in explorer.words.value
    other = scored(tiny_plate, tmp_path / "x", changes={"split.seed": 3}.items(), experiment="third")
    assert "cannot be subtracted" in workbook.run_comparer([run, other]).words.value
    explorer.selection = replace(explorer.selection, runs=("other/seed1",), metric=("mae", "infected"))
    assert "tiny/seed0" not in explorer.figure().axes[0].get_label()
    explorer.controls["runs"].value = ()
    assert "Choose one or more runs" in explorer.words.value


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished run to compare"):
        workbook.run_comparer(tmp_path)
    with pytest.raises(InputError, match="no run here"):
        workbook.plate_browser(tmp_path)


@pytest.mark.skipif(not SYNCYTIA.is_dir(), reason="the real syncytia stacks are not beside this project")
def test_every_explorer_opens_on_predictions_of_real_stacks(tmp_path):
    run = scored(SYNCYTIA, tmp_path)
    for name, make in MAKERS.items():
        explorer = make(run)
        assert pixels(explorer.image.value).std() > 10, name
        assert "No pictures" not in explorer.words.value
        assert "image/png" in explorer._repr_mimebundle_()[0]


def test_an_executed_notebook_keeps_the_figure_and_no_dead_controls(run, tmp_path):
    data, about = workbook.window_explorer(run)._repr_mimebundle_()
    explorer = new_output("execute_result", data=data, metadata=about, execution_count=1)
    bar = new_output("display_data", data={WIDGET: {"model_id": "7"}, "text/plain": "bar"})
    for outputs, state in (([explorer], False), ([explorer, bar], True)):
        made = new_notebook(cells=[new_code_cell("window_explorer(run)", outputs=outputs)])
        made.metadata["widgets"] = {"state": {}}
        nbformat.write(made, tmp_path / "partial.ipynb")
        keep_notebook(tmp_path / "partial.ipynb", tmp_path / "out.ipynb", {})
        kept = nbformat.read(tmp_path / "out.ipynb", as_version=4)
        assert set(kept.cells[0].outputs[0].data) == {"image/png", "text/plain"}
        assert ("widgets" in kept.metadata) == state
