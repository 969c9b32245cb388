"""Every cell of every notebook runs, and the outputs that the notebooks keep are still true.

The notebooks are run on a plate with the layout of the demo plate and small fields: the kept outputs
(wells, hours, splits) follow from the layout. Cells tagged ``nbval-check-output`` are compared.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("0[1-5]_*.ipynb"))
WITH_TORCH = ("02_training", "05_confound_audit")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, demo_layout):
    """Copies of the notebooks with parameters for the small plate and a trial run of two steps."""
    folder = tmp_path_factory.mktemp("nbval")
    values = {
        "config": str(ROOT / "configs" / "demo.yaml"),
        "run_dir": str(folder / "run"),
        "overrides": {
            "data.source": str(demo_layout),
            "data.cache_dir": str(folder / "cache"),
            "image.size": 32,
            "train.epochs": 1,
            "train.max_steps": 2,
        },
    }
    for path in NOTEBOOKS:
        copy = folder / path.name
        papermill.execute_notebook(path, copy, parameters=values, prepare_only=True, progress_bar=False)
        notebook = nbformat.read(copy, as_version=4)
        if path.stem not in WITH_TORCH:
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
    assert len(NOTEBOOKS) == 5
    done = run_nbval(*(prepared / path.name for path in NOTEBOOKS))
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
