"""Notebooks run with parameters, keep what they made, and fail in one line that names the place."""

import itertools
import re
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from hpiclock.config.load import load_config
from hpiclock.errors import InputError
from hpiclock.report.pages import without_machine_paths
from hpiclock.runs.run import Run
from hpiclock.workflows import notebooks
from hpiclock.workflows.notebooks import NotebookFailed, choose, open_config, open_run, run_chain

PARAMETERS = 'config = "../configs/none.yaml"\noverrides = {}\nrun_dir = ""'
OPEN = (
    "from hpiclock.config.load import load_config\n"
    "from hpiclock.runs.run import Run\n"
    "cfg = load_config(config, overrides)\n"
    "run = Run.create(cfg, run_dir)"
)


def write_notebook(path, *cells, parameters=PARAMETERS):
    given = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    made = [cell if not isinstance(cell, str) else new_code_cell(cell) for cell in cells]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(
        cells=[new_markdown_cell(f"# About {path.stem}"), given, *made], metadata={"kernelspec": kernel}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a config and stacks that nobody opens; its folder is the working directory."""
    for source, condition in itertools.product(("stacks", "other"), ("infected", "mock")):
        (tmp_path / source / condition).mkdir(parents=True)
        (tmp_path / source / condition / "s1_A1_p1.tif").touch()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "plate.yaml").write_text("experiment: plate\ndata: {source: ../stacks}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outputs_of(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_a_chain_gives_every_notebook_its_parameters_and_leaves_pages(project, capfd, monkeypatch):
    monkeypatch.delenv("HPICLOCK_PROGRESS", raising=False)
    first = f"{OPEN}\nrun.save_json('notes.json', ['one well per class'])\nprint(cfg.train.epochs, run_dir)"
    write_notebook(project / "notebooks" / "01_look.ipynb", first, "print(cfg.data.source)")
    write_notebook(project / "notebooks" / "02_read.ipynb", OPEN, "print(run.notes)")
    overrides = {"train.epochs": 7, "data.source": "other"}
    report = run_chain("configs/plate.yaml", overrides, run_dir=None, notebooks="01-02")
    assert report.run.folder == project / "reports" / "plate" / "seed0"
    printed = outputs_of(report.run.path("01_look.ipynb"))
    assert "7 ../reports/plate/seed0" in printed
    assert "./other" in printed  # relative to where the command was given, and without the machine's folders
    assert "one well per class" in outputs_of(report.run.path("02_read.ipynb"))
    assert [page.name for page in report.pages] == ["01_look.html", "02_read.html"]
    assert report.index == project / "reports" / "index.html"
    for file in report.run.folder.glob("*.ipynb"):
        assert str(project) not in file.read_text()
    for file in (*report.pages, report.index):
        assert str(project) not in file.read_text()
        assert "one well per class" in file.read_text()
    assert "02_read.ipynb done in" in report.run.path("run.log").read_text()
    assert not list(report.run.folder.glob(".*"))
    bars = capfd.readouterr().err
    assert "10/10" in bars  # two notebooks: heading, parameters, the injected cell, two cells
    assert "Executing" not in bars  # papermill's own bar is off


def test_a_run_in_a_folder_of_its_own(project):
    write_notebook(project / "notebooks" / "01_look.ipynb", "print(run_dir)")
    report = run_chain("configs/plate.yaml", {}, run_dir="elsewhere", notebooks="1")
    assert "../elsewhere" in outputs_of(project / "elsewhere" / "01_look.ipynb")
    assert report.index is None
    assert "All runs" not in report.pages[0].read_text()


def test_a_failure_is_one_line_and_keeps_what_ran(project):
    write_notebook(project / "notebooks" / "01_look.ipynb", "print('so far')", "1 / 0", "print('never')")
    write_notebook(project / "notebooks" / "02_read.ipynb", "1")
    with pytest.raises(NotebookFailed) as error:
        run_chain("configs/plate.yaml", {}, run_dir="", notebooks="01-02")
    line = str(error.value)
    assert re.match(r"01_look\.ipynb, cell \[\d+\]: ZeroDivisionError: division by zero \(see .*\)$", line)
    folder = project / "reports" / "plate" / "seed0"
    assert "so far" in outputs_of(folder / "01_look.ipynb")
    assert "never" not in outputs_of(folder / "01_look.ipynb")
    assert "ZeroDivisionError" in (folder / "01_look.html").read_text()
    assert "ZeroDivisionError" in (folder / "run.log").read_text()
    assert not (folder / "02_read.ipynb").exists()


def test_a_kernel_that_dies_is_a_failure_too(project):
    write_notebook(project / "notebooks" / "01_look.ipynb", "import os; os._exit(3)")
    with pytest.raises(NotebookFailed, match=r"01_look\.ipynb, its kernel: DeadKernelError"):
        run_chain("configs/plate.yaml", {}, run_dir="", notebooks="01")
    assert "DeadKernelError" in Run.open(project / "reports" / "plate" / "seed0").path("run.log").read_text()


def test_bad_input_found_by_a_notebook_leaves_no_run_behind(project):
    bad = (
        "from hpiclock.errors import InputError\nraise InputError('stacks: no such folder; set data.source')"
    )
    write_notebook(project / "notebooks" / "01_look.ipynb", bad)
    with pytest.raises(InputError, match=r"^stacks: no such folder; set data.source$"):
        run_chain("configs/plate.yaml", {}, run_dir="", notebooks="01")
    assert not (project / "reports" / "plate" / "seed0").exists()


def test_a_source_that_is_not_there_is_said_before_a_kernel_starts(project, monkeypatch):
    monkeypatch.setattr("hpiclock.workflows.notebooks.execute", None)
    write_notebook(project / "notebooks" / "01_look.ipynb", "1")
    with pytest.raises(InputError, match="nowhere: no such file or folder; set"):
        run_chain("configs/plate.yaml", {"data.source": "nowhere"}, run_dir="new/run", notebooks="01")
    assert not (project / "new").exists()


def test_what_is_not_this_run_s_is_never_removed(project):
    bad = "from hpiclock.errors import InputError\nraise InputError('gone')"
    write_notebook(project / "notebooks" / "01_look.ipynb", bad)
    mine = project / "mine"
    (mine / ".git").mkdir(parents=True)
    (mine / ".env").write_text("SECRET=1")
    with pytest.raises(InputError, match="mine: is there and is no run's folder"):
        run_chain("configs/plate.yaml", {}, run_dir="mine", notebooks="01")
    assert {path.name for path in mine.iterdir()} == {".git", ".env"}
    (project / "empty").mkdir()
    with pytest.raises(InputError, match="gone"):
        run_chain("configs/plate.yaml", {}, run_dir="empty", notebooks="01")
    assert not list((project / "empty").iterdir())  # what the run had made is gone, the folder is not


def test_bad_input_leaves_a_trained_run_alone(project):
    bad = "from hpiclock.errors import InputError\nraise InputError('gone')"
    write_notebook(project / "notebooks" / "01_look.ipynb", bad)
    write_notebook(project / "notebooks" / "02_read.ipynb", "1")
    report = run_chain("configs/plate.yaml", {}, run_dir="", notebooks="02")
    with pytest.raises(InputError, match="gone"):
        run_chain("configs/plate.yaml", {}, run_dir="", notebooks="01")
    assert report.run.path("02_read.ipynb").is_file()
    cells = nbformat.read(report.run.path("01_look.ipynb"), as_version=4).cells
    (error,) = [out for cell in cells for out in cell.get("outputs", []) if out.output_type == "error"]
    assert error.traceback == ["InputError: gone"]  # what a notebook shows: no code, one line


def test_a_misspelt_parameter_stops_before_anything_runs(project):
    misspelt = PARAMETERS.replace("overrides", "override")
    write_notebook(project / "notebooks" / "01_look.ipynb", parameters=misspelt)
    with pytest.raises(
        InputError, match=r"01_look\.ipynb: its cell tagged 'parameters' does not set overrides"
    ):
        run_chain("configs/plate.yaml", {}, run_dir="", notebooks="01")
    assert not (project / "reports").exists()


def test_a_bad_config_stops_before_anything_runs(project):
    write_notebook(project / "notebooks" / "01_look.ipynb", "1")
    with pytest.raises(InputError, match=r"did you mean train\.epochs"):
        run_chain("configs/plate.yaml", {"train.epoch": 3}, run_dir="", notebooks="01")
    assert not (project / "reports").exists()


@pytest.mark.parametrize(
    ("numbers", "chosen"),
    [("01-03", ["01", "02", "03"]), ("3,1", ["01", "03"]), ("02", ["02"]), ("1-2,02-3", ["01", "02", "03"])],
)
def test_notebooks_are_chosen_by_number(tmp_path, numbers, chosen):
    for name in ("01_a", "02_b", "03_c"):
        (tmp_path / f"{name}.ipynb").touch()
    assert [path.name[:2] for path in choose(tmp_path, numbers)] == chosen


@pytest.mark.parametrize(
    ("numbers", "words"), [("04", "no such number"), ("01-04", "01_a"), ("a", "such as 01-04")]
)
def test_a_number_that_no_notebook_has_is_refused(tmp_path, numbers, words):
    (tmp_path / "01_a.ipynb").touch()
    with pytest.raises(InputError, match=words):
        choose(tmp_path, numbers)


def test_folders_of_the_machine_are_named_by_what_they_are():
    places = {"/home/ann": "~", "/home/ann/clock": ".", "/data/run": "plate/seed0"}
    text = (
        "/home/ann/clock/lib/x.py and /home/ann/clock2 and \x1b[32m/home/ann/clock\x1b[0m "
        "'/data/run/a.csv' /tmp/ipykernel_12/345.py:3 /srv/home/ann"
    )
    assert without_machine_paths(text, places) == (
        "./lib/x.py and ~/clock2 and \x1b[32m.\x1b[0m 'plate/seed0/a.csv' cell:3 /srv/home/ann"
    )


def test_the_notebooks_of_the_clone_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebooks.hpiclock, "__file__", str(tmp_path / "lib" / "hpiclock" / "__init__.py"))
    with pytest.raises(InputError, match="run this in the clone"):
        notebooks.notebooks_folder()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_a.ipynb").touch()
    assert notebooks.notebooks_folder() == tmp_path / "notebooks"
    monkeypatch.chdir("/")
    assert notebooks.notebooks_folder() == tmp_path / "notebooks"


def test_an_interrupted_run_leaves_the_old_notebook(project, monkeypatch):
    write_notebook(project / "notebooks" / "01_look.ipynb", "print('first')")
    report = run_chain("configs/plate.yaml", {}, run_dir="", notebooks="01")
    before = report.run.path("01_look.ipynb").read_bytes()

    def killed(_, partial, **__):
        partial.write_text('{"cel')
        raise KeyboardInterrupt

    monkeypatch.setattr("papermill.execute_notebook", killed)
    with pytest.raises(KeyboardInterrupt):
        run_chain("configs/plate.yaml", {}, run_dir="", notebooks="01")
    assert report.run.path("01_look.ipynb").read_bytes() == before
    assert not list(report.run.folder.glob(".*"))


CHECKED = (
    "from hpiclock.workflows.notebooks import open_config\nprint(open_config(config, overrides).experiment)"
)


def test_an_unknown_parameter_stops_the_notebook(project):
    write_notebook(project / "notebooks" / "01_look.ipynb", CHECKED)
    parameters = {"config": "configs/plate.yaml", "overides": {"train.epochs": 3}}
    with pytest.raises(papermill.PapermillExecutionError) as error:
        papermill.execute_notebook(
            project / "notebooks" / "01_look.ipynb",
            project / "out.ipynb",
            parameters=parameters,
            kernel_name="python3",
            progress_bar=False,
        )
    line = "parameter overides: this notebook has none of that name; did you mean overrides?"
    assert line in str(error.value)


@pytest.mark.usefixtures("project")
def test_parameters_of_another_kind_are_one_line():
    for config, overrides, line in (
        (3, {}, "config: the name of a file, got 3"),
        (
            "configs/plate.yaml",
            "{train.epochs: 3}",
            r"overrides: a table of keys, e\.g\. .* got '{train\.epochs",
        ),
        ("configs/plate.yaml", ["train.epochs"], "overrides: a table of keys"),
    ):
        with pytest.raises(InputError, match=line):
            open_config(config, overrides)
    with pytest.raises(InputError, match="run_dir: the name of a folder, got 5"):
        open_run("configs/plate.yaml", {}, 5)


def test_the_config_of_the_notebooks_is_found_from_any_folder(project, monkeypatch):
    write_notebook(project / "notebooks" / "01_look.ipynb")
    assert open_config("../configs/plate.yaml", {}).experiment == "plate"  # this is not the notebooks' folder
    with pytest.raises(InputError, match="no such config file"):
        open_config("../configs/none.yaml", {})
    monkeypatch.chdir(project / "configs")
    assert open_config("../configs/plate.yaml", {}).data.source == str(project / "stacks")


@pytest.mark.usefixtures("project")
def test_a_notebook_shows_the_config_of_the_run_that_it_shows():
    made = Run.create(load_config("configs/plate.yaml", {"train.epochs": 9}), "elsewhere")
    assert open_run("configs/plate.yaml", {}, "elsewhere").cfg == made.cfg
    with pytest.raises(InputError, match="no run yet; run notebook 02_training first"):
        open_run("configs/plate.yaml", {}, "")
    Run.create(load_config("configs/plate.yaml", {"train.epochs": 9}), "")
    with pytest.raises(InputError, match=r"holds a run with another config \(train\.epochs was 9, now \d+\)"):
        open_run("configs/plate.yaml", {}, "")


@pytest.mark.parametrize("name", ["03_evaluation", "04_temporal_generalization", "05_confound_audit"])
def test_the_notebooks_of_a_run_take_their_config_from_it(name):
    notebook = nbformat.read(Path(__file__).parents[2] / "notebooks" / f"{name}.ipynb", as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "run = open_run(config, overrides, run_dir)\ncfg = run.cfg\ncfg" in code
    assert "load_config" not in code
