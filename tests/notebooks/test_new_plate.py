"""Notebook 07 on a labelled plate and on a folder of stacks of which nothing is known, and their pages."""

import re
import shutil
from pathlib import Path

import nbformat
import openpyxl
import pandas as pd
import papermill
import pytest
from bs4 import BeautifulSoup

from hpiclock.report.pages import write_pages
from hpiclock.simulate.design import design, grid
from hpiclock.simulate.write import synthesize
from hpiclock.workflows.predict import predict

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "07_new_plate.ipynb"
CLAIMS = re.compile(r"\b(AUC|accuracy|recall|specificity|MAE|F1)\b[^.\n]{0,30}\d")  # a score and its number


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("07")


@pytest.fixture(scope="module")
def run(quick_run, base):
    return quick_run({"model.backbone": "resnet10"}, folder=base)


@pytest.fixture(scope="module")
def plate(base):
    """The plate map of twelve wells at three MOIs."""
    optics = {"size_px": 48, "pitch_px": 9.0, "positions": 1}
    plan = design("second-plate", wells=grid(3, (0.0, 0.1, 1.0, 5.0)), n_frames=13, interval_h=4.0,
                  microscope=optics)  # fmt: skip
    return synthesize(base / "labelled", design=plan, seed=3)


def executed(run, base, name, **parameters):
    """Run the notebook in its own copy of the run; return that folder, the notebook and its page."""
    folder = base / f"run_{name}"
    shutil.copytree(run.folder, folder)
    copy = type(run).open(folder)
    out = folder / NOTEBOOK.name
    papermill.execute_notebook(
        NOTEBOOK, out, parameters={"run_dir": str(folder), **parameters}, cwd=NOTEBOOK.parent,
        progress_bar=False, log_output=False, config=None,
    )  # fmt: skip
    write_pages(copy)
    return (
        folder,
        nbformat.read(out, as_version=4),
        BeautifulSoup(out.with_suffix(".html").read_text(encoding="utf-8"), "html.parser"),
    )


@pytest.fixture(scope="module")
def labelled(run, base, plate):
    output = base / "labelled.parquet"
    predict([run], plate, output, changes={}, say=lambda _: None)
    return executed(run, base, "labelled", predictions=str(output))


@pytest.fixture(scope="module")
def bare(run, base, plate):
    (base / "bare").mkdir()
    for stack in plate.parent.glob("*.tif*"):
        shutil.copy(stack, base / "bare")
    return executed(run, base, "bare", source=str(base / "bare"))


@pytest.mark.parametrize("which", ["labelled", "bare"])
def test_every_cell_runs_quietly_and_the_page_stands_alone(which, request):
    _, notebook, page = request.getfixturevalue(which)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    figures = page.select("img")
    assert len(figures) >= 6
    assert all(len(figure["alt"]) > 20 for figure in figures)
    assert all(figure["src"].startswith("data:") for figure in figures)
    text = page.get_text(" ")
    assert "Read this first" in text
    assert "nan" not in text.lower().split()


def test_a_labelled_plate_is_validated(labelled):
    folder, _, page = labelled
    text = page.get_text(" ")
    assert "AUC" in text
    assert "of 3 infected wells of the highest MOI (5) are detected" in text
    table = pd.read_csv(folder / "new_plates" / "labelled" / "tables" / "external_validation.csv")
    assert {"auc", "recall", "mae"} <= set(table["metric"])
    assert table["start_h"].notna().any()


def test_without_labels_nothing_is_claimed(bare):
    folder, _, page = bare
    page.select_one("#words").decompose()  # definitions claim nothing
    text = page.get_text(" ")
    assert "no claim of accuracy is made" in text
    assert CLAIMS.findall(text) == []
    assert "No two wells are known to have had the same treatment." in text
    made = folder / "new_plates" / "bare"
    assert pd.read_csv(made / "tables" / "external_validation.csv").empty
    assert not list((made / "figures").glob("dose_*"))
    assert (folder / "new_plates" / "bare.parquet").is_file()


def test_figures_and_tables_are_written_for_a_paper(labelled):
    folder, _, _ = labelled
    made = folder / "new_plates" / "labelled"
    names = {path.stem for path in (made / "figures").iterdir()}
    assert {"curves_p_infected", "dose_p_infected", "detection_by_treatment"} <= names
    for name in names:
        sizes = [(made / "figures" / f"{name}.{kind}").stat().st_size for kind in ("png", "pdf", "svg")]
        assert min(sizes) > 1000
    book = openpyxl.load_workbook(made / "read_out.xlsx", read_only=True)
    tables = {path.stem for path in (made / "tables").glob("*.csv")}
    assert set(book.sheetnames) == tables
    assert {"wells", "curves", "dose_response", "replicates", "notes", "looks"} <= tables
    book.close()
