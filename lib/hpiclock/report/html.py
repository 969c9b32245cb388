"""Executed notebooks as self-contained HTML pages: no request to anywhere, code one click away."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat

from hpiclock.errors import InputError
from hpiclock.files import atomic
from hpiclock.report.runs import Run

TEMPLATE = Path(__file__).with_name("template")
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/png", "image/svg+xml")
DISPLAY_PRIORITY = ["text/html", "text/markdown", *PICTURES, "text/plain"]
REMOVING = {"remove_cell", "remove_input", "remove_output"}
ERROR_MARKER_TAG = "papermill-error-cell-tag"
_BAR = re.compile(r"\d+%\|")


def write_pages(run: Run) -> list[Path]:
    """Convert every executed notebook in the run's folder, all in this process; return the pages.

    Every page shows the run's notes, and links to the other pages and to the index of all runs.

    Raises:
        InputError: a file of that name that is no notebook.
    """
    from nbconvert import HTMLExporter  # takes seconds to import
    from traitlets.config import Config as Settings

    notebooks = sorted(path for path in run.folder.glob("*.ipynb") if not path.name.startswith("."))
    read = {path: _read(path) for path in notebooks}
    links = [{"href": path.with_suffix(".html").name, "title": title(nb, path)} for path, nb in read.items()]
    settings = Settings()
    settings.NbConvertBase.display_data_priority = DISPLAY_PRIORITY
    settings.TagRemovePreprocessor.enabled = True
    settings.TagRemovePreprocessor.remove_cell_tags = {"remove_cell"}
    settings.TagRemovePreprocessor.remove_input_tags = {"remove_input"}
    settings.TagRemovePreprocessor.remove_all_outputs_tags = {"remove_output"}
    exporter = HTMLExporter(
        config=settings,
        template_name="hpiclock",
        extra_template_basedirs=[str(TEMPLATE)],
        exclude_anchor_links=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    common = {
        "run": run.name,
        "links": links,
        "origin": origin(run),
        "index": index_link(run),
    }
    pages = []
    for path, link in zip(notebooks, links, strict=True):
        page = path.with_suffix(".html")
        shown = for_reading(read[path])
        own = {**link, "stopped": _stopped(shown), "notes": _unsaid(run.notes, shown)}
        body, _ = exporter.from_notebook_node(shown, {"page": common | own})
        with atomic(page) as partial:
            partial.write_text(body, encoding="utf-8")
        pages.append(page)
    return pages


def for_reading(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Prepare a notebook for a page.

    No dead widgets and progress bars, a description of every picture, a name for every table, and code
    that shows nothing joined with the code below it.
    """
    heading = ""
    tables = 0
    cells: list[Any] = []
    for cell in notebook.cells:
        if ERROR_MARKER_TAG in _tags(cell):
            continue  # papermill's big red words; the page has its own
        if cell.cell_type == "markdown":
            heading = (_headings(cell.source) or [heading])[-1]
        if cell.cell_type == "code":
            cell.outputs = [shown for output in cell.outputs if (shown := _readable(output)) is not None]
            for output in cell.outputs:
                _describe(output, heading)
                tables += _name_table(output, f"Table {tables + 1}: {heading}")
            if cells and _joins(cells[-1], cell):
                cell.source = f"{cells.pop().source}\n\n{cell.source}"
        cells.append(cell)
    notebook.cells = cells
    return notebook


def title(notebook: nbformat.NotebookNode, path: Path) -> str:
    """Return the first heading of a notebook, else the file's name in words."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = (heading for text in texts for heading in _headings(text))
    return next(found, path.stem.replace("_", " "))


def origin(run: Run) -> str:
    """Return one line that says which code made the run, when and from which seed."""
    facts = run.read_json("provenance.json")
    git = facts.get("git") or {}
    commit = f", commit {git['commit'][:10]}{' with changes' if git['dirty'] else ''}" if git else ""
    return (
        f"{run.name} · hpiclock {facts['hpiclock']}{commit} · begun {facts['created'][:10]} · "
        f"seed {facts['seed']} · Python {facts['python']}, {facts['platform']}"
    )


def index_link(run: Run) -> str:
    """Return the way from the run's folder to the index of all runs; empty when it lies elsewhere."""
    reports = Path(run.cfg.reports_dir)
    if not run.folder.is_relative_to(reports):
        return ""
    return Path(os.path.relpath(reports / "index.html", run.folder)).as_posix()


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read as a notebook ({str(error).splitlines()[0]})") from None


def _headings(markdown: str) -> list[str]:
    found = re.findall(r"^#{1,6}\s+(.+?)\s*#*$", markdown, flags=re.MULTILINE)
    return [re.sub(r"[*`]", "", heading) for heading in found]


def _tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", []))


def _joins(above: Any, below: Any) -> bool:
    silent = above.cell_type == "code" and not above.outputs
    return silent and not REMOVING & (_tags(above) | _tags(below))


def _unsaid(notes: list[str], notebook: nbformat.NotebookNode) -> list[str]:
    """Return the notes that the notebook does not show by itself: no page goes without them."""
    hiding = {"remove_cell", "remove_output"}
    shown = (cell for cell in notebook.cells if not hiding & _tags(cell))
    outputs = [output for cell in shown for output in cell.get("outputs", [])]
    said = "\n".join(str(part) for output in outputs for part in output.get("data", {}).values())
    return [note for note in notes if note not in said]


def _stopped(notebook: nbformat.NotebookNode) -> bool:
    return any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))


def _readable(output: Any) -> Any | None:
    if output.output_type == "stream":
        # a bar redraws its line with carriage returns: keep what it showed last
        lines = [line.rsplit("\r", 1)[-1] for line in output.text.replace("\r\n", "\n").split("\n")]
        kept = [line for line in lines if not _BAR.search(line)]
        output.text = "\n".join(kept)
        return output if output.text.strip() else None
    if output.output_type in ("display_data", "execute_result") and WIDGET in output.data:
        if _BAR.search(output.data.get("text/plain", "")):
            return None
        if not set(output.data) & {*PICTURES, "text/html", "text/markdown"}:
            note = '<p class="muted">An explorer to use by hand: open this notebook in JupyterLab.</p>'
            output.data = {"text/html": note}
    return output


def _describe(output: Any, heading: str) -> None:
    for kind in PICTURES:
        if kind in output.get("data", {}):
            about = output.metadata.setdefault(kind, {})
            about.setdefault(
                "alt", output.metadata.get("alt") or f"Figure: {heading or 'see the text below'}"
            )


def _name_table(output: Any, name: str) -> bool:
    """Name an output that holds a table: on a page each is a place of its own."""
    text = output.get("data", {}).get("text/html", "")
    if "<table" not in text:
        return False
    # pandas makes headers of the empty corner cells
    output.data["text/html"] = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", text)
    output.metadata.setdefault("text/html", {})["name"] = name.removesuffix(": ")
    return True
