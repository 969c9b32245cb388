"""Take what the repository keeps of an executed demo run: python tests/notebooks/keep_outputs.py RUN

Notebook cells tagged ``keep_output`` get the outputs of the same cell in RUN (a folder under reports/); all
others lose theirs. ``reports/example/`` gets the run's numbers and its answer, and the README its figure.
"""

import base64
import shutil
import sys
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup

from hpiclock.report.pages import answer_on_top
from hpiclock.runs.run import Run

ROOT = Path(__file__).parents[2]


def keep_outputs(notebook: Path, executed: Path) -> None:
    """Write ``notebook`` with the kept outputs of ``executed`` and no others."""
    made = {cell.id: cell for cell in nbformat.read(executed, as_version=4).cells}
    source = nbformat.read(notebook, as_version=4)
    for cell in source.cells:
        if cell.cell_type == "code":
            kept = "keep_output" in cell.metadata.get("tags", [])
            cell.outputs = made[cell.id].outputs if kept else []
            cell.execution_count = made[cell.id].execution_count if kept else None
    nbformat.write(source, notebook)


def keep_example(run: Run) -> None:
    """Copy numbers and answer of a run into ``reports/example/``, the figure of the answer into ``docs/``."""
    example = ROOT / "reports" / "example"
    for kept in example.iterdir():
        if (made := next(run.folder.rglob(kept.name), None)) is not None:
            shutil.copyfile(made, kept)
    answer = BeautifulSoup(answer_on_top(run), "html.parser")
    rows = zip(answer.select("dt"), answer.select("dd"), strict=True)
    (example / "answer.txt").write_text("".join(f"{q.text} {a.text}\n" for q, a in rows), encoding="utf-8")
    picture = answer.img["src"].partition("base64,")[2]
    (ROOT / "docs" / "answer_over_hpi.png").write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    keep_example(Run.open(sys.argv[1]))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if (Path(sys.argv[1]) / path.name).is_file():
            keep_outputs(path, Path(sys.argv[1]) / path.name)
            print(f"{path.relative_to(ROOT)}: outputs kept where they are held by a test")
