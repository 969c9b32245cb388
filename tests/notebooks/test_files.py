"""The notebooks as files: one question a cell, the same parameters, and outputs only where they are held."""

import ast
import json
from pathlib import Path

import nbformat
import pytest

from hpiclock.errors import InputError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DEFAULTS = {"config": "../configs/demo.yaml", "overrides": {}, "run_dir": ""}

MORE = {"07_new_plate": {"more_runs": [], "source": "", "predictions": "", "hour": -1.0}}

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind="code"):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def code_lines(cell):
    return [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_cells_are_short_and_define_nothing(path):
    lengths = [len(code_lines(cell)) for cell in cells(path)]
    assert max(lengths) <= 12
    assert sum(lengths) <= 120
    for cell in cells(path):
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, defined)]


def test_every_notebook_has_the_same_three_literal_parameters(path):
    (given,) = [cell for cell in cells(path) if "parameters" in tags(cell)]
    body = ast.parse(given.source).body
    assert all(isinstance(line, ast.Assign) for line in body)
    assert {line.targets[0].id: ast.literal_eval(line.value) for line in body} == DEFAULTS | MORE.get(
        path.stem, {}
    )


def test_it_opens_with_a_question_and_says_what_it_reads_and_writes(path):
    opening = cells(path, "markdown")[0].source
    assert opening.startswith("# ")
    for word in ("?", "*Reads*", "*Writes*"):
        assert word in opening
    assert any(cell.source.startswith("## What this says") for cell in cells(path, "markdown"))


def test_the_kernel_is_the_one_that_is_always_there(path):
    assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"


def test_outputs_are_kept_only_where_a_change_would_fail(path):
    for cell in cells(path):
        assert bool(cell.outputs) == ("keep_output" in tags(cell)), cell.source
        assert ("nbval-check-output" in tags(cell)) == ("keep_output" in tags(cell)), cell.source


def test_nothing_of_a_machine_is_in_it(path):
    text = path.read_text(encoding="utf-8")
    nbformat.validate(json.loads(text))
    assert "widgets" not in json.loads(text)["metadata"]
    for word in ("/home/", "/Users/", "/root/", "/tmp/", str(ROOT)):
        assert word not in text
    assert len(text) < 100_000


def run_cells(path, overrides):
    shown: dict[str, object] = {}
    for cell in cells(path):
        exec(cell.source, shown)
        if "parameters" in tags(cell):
            shown["overrides"] = overrides


def test_without_a_plate_or_a_run_it_stops_with_one_line_that_says_how_to_make_it(
    path, tmp_path, monkeypatch
):
    monkeypatch.chdir(path.parent)
    with pytest.raises(InputError) as stopped:
        run_cells(path, {"reports_dir": str(tmp_path), "data.source": str(tmp_path / "plate")})
    assert "\n" not in str(stopped.value)
    assert any(word in str(stopped.value) for word in ("hpiclock synth", "hpiclock sweep", "run notebook 02"))
    assert list(tmp_path.iterdir()) == []
