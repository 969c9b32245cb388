"""Take the outputs that the notebooks keep from an executed run: python tests/notebooks/keep_outputs.py RUN

Cells tagged ``keep_output`` get the outputs of the same cell in RUN (a folder under reports/); all others
lose theirs.
"""

import sys
from pathlib import Path

import nbformat

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


if __name__ == "__main__":
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if (Path(sys.argv[1]) / path.name).is_file():
            keep_outputs(path, Path(sys.argv[1]) / path.name)
            print(f"{path.relative_to(ROOT)}: outputs kept where they are held by a test")
