"""Executed notebooks as they are kept: whole, without the folders of this machine and dead controls."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from hpiclock.config import leaves
from hpiclock.configfile import PATH_KEYS
from hpiclock.files import atomic
from hpiclock.report.html import PICTURES, WIDGET
from hpiclock.report.runs import Run


def without_machine_paths(text: str, places: Mapping[str, str]) -> str:
    """Replace folders of this machine by what stands for them, and the kernel's file names of cells."""
    text = re.sub(r"/[^\s\"'<>:]*/ipykernel_\d+/\d+\.py", "cell", text)
    for place, name in sorted(places.items(), key=lambda item: -len(item[0])):
        # at the start, after anything that cannot be part of a path, or after a colour code
        start = r"(^|[^\w.]|\x1b\[[0-9;]*m)"
        text = re.sub(rf"{start}{re.escape(place)}(?![\w-])", rf"\1{name}", text, flags=re.MULTILINE)
    return text


def keep(partial: Path, out: Path, places: Mapping[str, str]) -> None:
    """Move what papermill wrote to its place, with the folders in ``places`` replaced by their names.

    Of an explorer its figure stays: the controls do nothing without the kernel that made them.
    """
    notebook = nbformat.read(partial, as_version=4)
    about = notebook.metadata.get("papermill", {})
    about.update(input_path=out.name, output_path=out.name)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            _clean(output, places)
            if set(PICTURES) & output.get("data", {}).keys():
                output.data.pop(WIDGET, None)
    kept = (output for cell in notebook.cells for output in cell.get("outputs", []))
    if not any(WIDGET in output.get("data", {}) for output in kept):
        notebook.metadata.pop("widgets", None)
    with atomic(out) as written:
        nbformat.write(notebook, written)
    partial.unlink()


def _clean(output: Any, places: Mapping[str, str]) -> None:
    if "text" in output:
        output.text = without_machine_paths(output.text, places)
    if "traceback" in output:
        output.traceback = [without_machine_paths(line, places) for line in output.traceback]
        output.evalue = without_machine_paths(output.evalue, places)
    for kind, data in output.get("data", {}).items():
        if kind.startswith("text/") and isinstance(data, str):
            output.data[kind] = without_machine_paths(data, places)


def places(run: Run, folder: Path) -> dict[str, str]:
    """Return what stands for the folders that outputs may name: project, run, home, where the data lie.

    Args:
        run: the run; of the paths in its config the last part stays.
        folder: of the notebooks, inside the project.
    """
    said = (str(value) for key, value in leaves(run.cfg) if key in PATH_KEYS)
    given = {str(Path(path).parent): "…" for path in said if os.path.isabs(path)}
    known = {str(Path.home()): "~", str(folder.parent): ".", str(run.folder): run.name}
    return {place: name for place, name in (given | known).items() if len(Path(place).parts) > 1}
