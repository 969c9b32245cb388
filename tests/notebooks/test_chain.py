"""`hpiclock run` on a small plate: five notebooks, every promised file, pages that stand alone.

Then every cell again under nbval, on the run that is there: no cell fails, the outputs that notebooks keep
(cells tagged ``nbval-check-output``) are still true, and the notebooks that should do without torch do.
"""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from bs4 import BeautifulSoup

from hpiclock.report.audit_text import believed
from hpiclock.runs.run import Run
from hpiclock.tables import HISTORY, MANIFEST, METRICS, PREDICTIONS
from hpiclock.workflows.audit import read_audit

ROOT = Path(__file__).parents[2]
FILES = [
    "config.yaml", "provenance.json", "checkpoints/best.pt", "checkpoints/last.pt", "manifest.csv",
    "history.csv", "predictions.parquet", "metrics.csv", "test_predictions.npz", "results.json",
    "temporal_metrics.json", "temporal_generalization.png", "training_curves.png", "validation_metrics.png",
    "prediction_scatter_regression.png", "training_summary.txt", "run.log", "verdict.csv",
]  # fmt: skip
NAMES = [
    "01_data_exploration", "02_training", "03_evaluation", "04_temporal_generalization", "05_confound_audit",
]  # fmt: skip
WITH_TORCH = ("02_training", "05_confound_audit")


@pytest.fixture(scope="module")
def settings(demo_settings):
    return demo_settings | {"train.epochs": 2}


@pytest.fixture(scope="module")
def chain(settings):
    """The finished command, and the run that it left."""
    command = [sys.executable, "-m", "hpiclock", "run", str(ROOT / "configs" / "demo.yaml")]
    command += [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    env = {key: value for key, value in os.environ.items() if key != "HPICLOCK_PROGRESS"}  # its bar is tested
    done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL, env=env)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return done, Run.open(Path(settings["reports_dir"]) / "demo" / "seed0")


@pytest.fixture
def run(chain):
    return chain[1]


@pytest.fixture
def pages(run):
    return [run.path(f"{name}.html") for name in NAMES] + [Path(run.cfg.reports_dir) / "index.html"]


def test_it_says_where_the_report_is_and_its_bar_stays_short_in_a_log(chain, pages):
    done, _ = chain
    printed = done.stdout.decode().splitlines()
    assert [line.partition(": ")[0] for line in printed] == [str(page) for page in pages]
    states = re.findall(r"\r[^\r\n]*", done.stderr.decode())
    assert len(states) < 40  # on a slow machine one each half minute and two for each notebook
    beside = re.sub(r"\r[^\r\n]*", "", done.stderr.decode())
    assert "Traceback" not in beside, beside
    assert "hpiclock" not in beside, beside


def test_every_promised_file_is_there(run):
    assert [name for name in FILES if not run.path(name).is_file()] == []
    for name, table in (("manifest.csv", MANIFEST), ("history.csv", HISTORY), ("metrics.csv", METRICS)):
        assert len(run.read_table(name, table)) > 0


def test_every_number_in_json_is_a_number(run):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    for path in run.folder.glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_notebook_json_and_table_say_the_same(run):
    metrics = run.read_table("metrics.csv", METRICS)
    whole = metrics[metrics["start_h"].isna() & metrics["split"].eq("test") & metrics["group"].eq("all")]
    tested = run.read_json("results.json")["test_metrics"]
    for name, key in (("auc", "cls_auc"), ("f1", "cls_f1"), ("mae", "reg_mae"), ("rmse", "reg_rmse")):
        value = whole.loc[whole["metric"].eq(name), "value"].item()
        np.testing.assert_allclose(np.nan if tested[key] is None else tested[key], value, rtol=1e-12)
    stored = np.load(run.path("test_predictions.npz"))
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    scored = predictions[predictions["split"].eq("test") & predictions["label"].notna()]
    np.testing.assert_allclose(np.sort(stored["cls_preds"]), np.sort(scored["p_infected"]), rtol=1e-6)


def test_executed_notebooks_are_whole_and_quiet(run):
    for name in NAMES:
        notebook = nbformat.read(run.path(f"{name}.ipynb"), as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code)
        outputs = [output for cell in code for output in cell.outputs]
        assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_the_verdict_stands_on_every_page(run, pages):
    said = believed(read_audit(run.folder).verdict).values()
    for page in pages:
        text = " ".join(BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").get_text(" ").split())
        assert all(sentence in text for sentence in said), page.name


# what is said on several pages: words before the number, and the group and metric of metrics.csv
SAID = {
    r"scores higher in [\d.]+% of pairs \(AUC": ("all", "auc_stratified"),
    r"Infected or not, all frames \(AUC within plate and hour\)": ("all", "auc_stratified"),
    r"test, frames of one plate and hour: AUC": ("all", "auc_stratified"),
    r"Over all plates and hours together the AUC is": ("all", "auc"),
    r"After the eclipse \([\d.]+ h from the onset\) the AUC within plate and hour is": (
        "after eclipse", "auc_stratified",
    ),
    r"after the eclipse \(AUC within plate and hour\)": ("after eclipse", "auc_stratified"),
    r"where nothing can be seen \(AUC within plate and hour\)": ("before onset", "auc_stratified"),
    r"Time since infection is off by": ("infected", "mae"),
    r"infected frames \(mean absolute error\)": ("infected", "mae"),
    r"Time since infection for a clock that sees no image": ("infected", "mae_of_clock"),
    r"a clock that sees no image, which is off by": ("infected", "mae_of_clock"),
}  # fmt: skip
# cells of tables: the word at the row's beginning, the column
SHOWN = {
    ("the model", "AUC within plate and hour"): ("all", "auc_stratified"),
    ("the model", "AUC over plates and hours"): ("all", "auc"),
    ("the model", "time error, infected"): ("infected", "mae"),
    ("the hour alone", "time error, infected"): ("infected", "mae_of_clock"),
    ("before onset", "AUC within plate and hour"): ("before onset", "auc_stratified"),
    ("after eclipse", "AUC within plate and hour"): ("after eclipse", "auc_stratified"),
}


def numbers_on(page):
    """Yield every number of a page that SAID or SHOWN knows: where, its key in metrics.csv, its text."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    text = " ".join(soup.get_text(" ").split())
    for words, key in SAID.items():
        for number in re.findall(rf"{words}:? (-?\d[\d.]*\d)", text):
            yield f"{page.name}: {words}", key, number
    for table in soup.select("table"):
        header, *rows = (
            [cell.get_text().strip() for cell in row.select("th, td")] for row in table.select("tr")
        )
        named = [name for name in header if name] and header
        for row in rows:
            for (first, column), key in SHOWN.items():
                at = [i for i, name in enumerate(named) if name.startswith(column)]
                if first in row[:1] and at and len(row) == len(named) and re.match(r"-?\d", row[at[0]]):
                    yield f"{page.name}: {first}, {column}", key, row[at[0]].split()[0]


def test_the_same_words_are_the_same_number_on_every_page(run, pages):
    metrics = run.read_table("metrics.csv", METRICS).query("split == 'test' and start_h.isna()")
    value = metrics.set_index(["group", "metric"])["value"]
    found = [one for page in pages[2:] for one in numbers_on(page)]
    for where, key, number in found:
        half = 0.5 * 10.0 ** -len(number.partition(".")[2])
        assert float(number) == pytest.approx(value[key], abs=half + 1e-9), where
    assert {key for _, key, _ in found} == {*SAID.values(), *SHOWN.values()}


def test_pages_load_nothing_and_describe_every_figure(pages):
    for page in pages:
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        loaded = [tag.get("src") or tag.get("href") for tag in soup.select("script, img, iframe, link")]
        assert all(address is None or address.startswith("data:") for address in loaded)
        figures = soup.select("img")
        assert all(len(figure["alt"]) > 20 for figure in figures)
        levels = [int(tag.name[1]) for tag in soup.select("h1, h2, h3, h4")]
        assert levels[0] == 1
        assert all(below - above <= 1 for above, below in pairwise(levels))
    assert len(soup.select('a[href$=".html"]')) == len(NAMES)


MOST_COLUMNS, MOST_BYTES = 9, 5_000_000


def test_tables_are_for_reading_and_none_stands_twice_on_a_page(pages):
    for page in pages:
        assert page.stat().st_size < MOST_BYTES, page.name
        tables = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select("table")
        texts = [" ".join(table.get_text(" ").split()) for table in tables]
        assert len(texts) == len(set(texts)), page.name
        for table, text in zip(tables, texts, strict=True):
            assert not re.search(r"\b(NaN|nan|None)\b", text), (page.name, text)
            head = table.select("thead tr")
            assert len(head) == 1, (page.name, text)
            names = [cell.get_text().strip() for cell in head[0].select("th, td")]
            assert len(names) <= MOST_COLUMNS, (page.name, names)
            assert not [name for name in names if "_" in name], (page.name, names)  # a name of the code


def test_nothing_names_a_folder_of_this_machine(run, pages):
    for path in [*run.folder.glob("*.ipynb"), *pages, run.path("provenance.json"), run.path("run.log")]:
        text = path.read_text(encoding="utf-8")
        # the injected parameters say the way from notebooks/ to the plate of this test: ../../tmp/...
        assert re.findall(r"(?<![.\w])/(?:tmp|root|home|Users)/.{60}", text) == [], path.name
        assert path.suffix != ".html" or str(ROOT) not in text


@pytest.fixture(scope="module")
def prepared(chain, settings, demo_layout, tmp_path_factory):
    """Copies of the notebooks with parameters; 01 shows the layout of the demo, and keeps its outputs."""
    folder = tmp_path_factory.mktemp("nbval")
    for name in NAMES:
        source = {"data.source": str(demo_layout)} if name == NAMES[0] else {}
        values = {
            "config": str(ROOT / "configs" / "demo.yaml"),
            "run_dir": "" if source else str(chain[1].folder),
            "overrides": {**settings, **source},
        }
        path, copy = ROOT / "notebooks" / f"{name}.ipynb", folder / f"{name}.ipynb"
        papermill.execute_notebook(path, copy, parameters=values, prepare_only=True, progress_bar=False)
        notebook = nbformat.read(copy, as_version=4)
        if name not in WITH_TORCH:
            no_torch = "import sys\nassert 'torch' not in sys.modules, 'this notebook must not load torch'"
            notebook.cells.append(nbformat.v4.new_code_cell(no_torch))
        nbformat.write(notebook, copy)
    return folder


def run_nbval(*notebooks):
    """Run the notebooks, in this order, in a pytest of their own; return it when it has ended."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "nbval_patches", "-p", "no:xdist",
        "-p", "no:cacheprovider",
        "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300", f"--rootdir={notebooks[0].parent}",
        *map(str, notebooks),
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_every_cell_runs_and_kept_outputs_are_reproduced(prepared):
    done = run_nbval(*(prepared / f"{name}.ipynb" for name in NAMES))
    assert done.returncode == 0, done.stdout[-6000:]


def test_a_kept_output_that_changed_fails_and_is_named(tmp_path):
    kernel = {"name": "python3", "display_name": "Python 3"}
    value = nbformat.v4.new_output("execute_result", data={"text/plain": "41"}, execution_count=1)
    kept = nbformat.v4.new_code_cell(
        "40 + 2", outputs=[value], execution_count=1, metadata={"tags": ["nbval-check-output"]}
    )
    later = nbformat.v4.new_code_cell("1 / 0")
    notebook = nbformat.v4.new_notebook(cells=[kept, later], metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    done = run_nbval(tmp_path / "changed.ipynb")
    assert done.returncode == 1
    assert "41" in done.stdout
    assert "ZeroDivisionError" not in done.stdout  # cells after the first failure do not run
    assert "1 failed, 1 skipped" in done.stdout
