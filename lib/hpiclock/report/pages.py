"""Executed notebooks as they are kept, and as pages that load nothing."""

import base64
import os
import re
from collections.abc import Mapping
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from bs4 import BeautifulSoup
from markupsafe import Markup

from hpiclock import tables
from hpiclock.analysis.sentences import answer_sentences, part_of
from hpiclock.analysis.units import reported_split
from hpiclock.audit import PLAIN
from hpiclock.config.load import PATH_KEYS
from hpiclock.config.schema import iterate_keys
from hpiclock.errors import InputError
from hpiclock.figures.style import alt_text, figure_of, screen_width
from hpiclock.figures.windows import answer_over_hpi
from hpiclock.files import atomic
from hpiclock.plate.manifest import SIMULATED
from hpiclock.report.audit_text import believed, kept_verdict
from hpiclock.report.glossary import terms_in
from hpiclock.report.text import PRIMARY, READ_FIRST, as_markdown, png, simulated_first
from hpiclock.runs.results import read_study_tables
from hpiclock.runs.run import VERDICTS, Run

TEMPLATE = Path(__file__).with_name("template")
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/png", "image/svg+xml")
DISPLAY_PRIORITY = ["text/html", "text/markdown", *PICTURES, "text/plain"]
REMOVING = {"remove_cell", "remove_input", "remove_output"}
ERROR_MARKER_TAG = "papermill-error-cell-tag"
CONFIG_SHOWN = "other keys stand at their defaults"  # the words under a config's table
CONTENTS = "<!-- contents -->"
GLOSSARY = "<!-- glossary -->"
_BAR = re.compile(r"\d+%\|")
_NUMBER = re.compile(r"\s*[-+−]?[\d.]+(?! \w)")  # a cell that begins like it is no text


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
    settings.CoalesceStreamsPreprocessor.enabled = True  # one log a cell, not one a line
    settings.TagRemovePreprocessor.enabled = True
    settings.TagRemovePreprocessor.remove_cell_tags = {"remove_cell"}
    settings.TagRemovePreprocessor.remove_input_tags = {"remove_input"}
    settings.TagRemovePreprocessor.remove_all_outputs_tags = {"remove_output"}
    without = {f"exclude_{part}": True for part in ("anchor_links", "input_prompt", "output_prompt")}
    template: Any = {"template_name": "hpiclock", "extra_template_basedirs": [str(TEMPLATE)]}
    exporter = HTMLExporter(config=settings, **template, **without)
    answer = answer_on_top(run)
    common = {"run": run.name, "links": links, "origin": origin(run), "index": index_link(run)}
    common |= {"answer": answer}
    pages = []
    for path, link in zip(notebooks, links, strict=True):
        page = path.with_suffix(".html")
        shown = for_reading(read[path])
        notes = simulated_first(run.notes)
        if answer:
            _without_notes(shown, notes)
            notes, primary = notes_not_in_answer(notes), []
        else:
            primary = _notes_not_shown([PRIMARY], shown)
        notes = _notes_not_shown(notes, shown)
        own = {**link, "stopped": _stopped(shown), "notes": notes, "primary": primary}
        own["config"] = _take_config(shown)
        body, _ = exporter.from_notebook_node(shown, {"page": common | own})
        with atomic(page) as partial:
            partial.write_text(with_glossary(_with_contents(body)), encoding="utf-8")
        pages.append(page)
    return pages


def answer_on_top(run: Run, *, pictured: bool = True) -> str:
    """Return what stands first on every page of a run, as HTML: its answer from its tables, and one figure.

    Empty where there is no study of this version.

    Args:
        run: any run.
        pictured: with the figure, some 80 kB.
    """
    if run.state != "done" or not run.path("tables", "windows_hpi.csv").is_file():
        return ""
    found, study = read_study_tables(run.folder), run.cfg.study
    if not {"group", "n_wells", "low_simultaneous"} <= set(found["windows_hpi"].columns):
        return ""
    baselines, verdict = run.path("audit", "baselines.csv"), kept_verdict(run)
    rival = float("nan")
    if verdict is not None and baselines.is_file():
        seen = tables.read_any(baselines).set_index("source")["mae"]
        rival = float(seen.get(PLAIN, rival))
    rows = answer_sentences(found, level=study.level, rival_mae=rival) | believed(verdict)
    facts: dict[str, Any] = {"picture": "", "alt": "", "width": 0}
    if pictured:
        windows = part_of(found["windows_hpi"], split=reported_split(found["metrics"]))
        figure = figure_of(answer_over_hpi(windows, level=study.level, eclipse_h=study.eclipse_h))
        facts = {"picture": base64.b64encode(png(figure)).decode("ascii"), "alt": alt_text(figure)}
        facts["width"] = screen_width(figure)
    notes = (note for note in run.notes if note.startswith(SIMULATED))
    simulated = next((f"{note.split(':')[0]}: {note.split('; ')[-1]}" for note in notes), "")
    return render("answer.html.j2", run=run.name, simulated=simulated, rows=rows.items(), **facts)


def notes_not_in_answer(notes: list[str]) -> list[str]:
    """Return the notes that the answer does not hold: not that data are simulated, nor the audit's counts."""
    return [note for note in notes if not note.startswith((SIMULATED, *VERDICTS.values()))]


def _take_config(notebook: nbformat.NotebookNode) -> str:
    """Take the config's table out of the outputs: a page shows it folded, at its end."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if CONFIG_SHOWN in output.get("data", {}).get("text/html", ""):
                cell.outputs = [other for other in cell.outputs if other is not output]
                return str(output.data["text/html"])
    return ""


def _with_contents(body: str) -> str:
    """Put links to the parts of a page where the template leaves the place for them."""
    names = re.findall(r"<h2[^>]*>(.*?)</h2>", body, flags=re.DOTALL)
    number = count(1)
    body = re.sub(r"<h2[^>]*>", lambda _: f'<h2 id="part-{next(number)}">', body)
    links = "".join(f'<li><a href="#part-{at}">{name}</a></li>' for at, name in enumerate(names, 1))
    links += '<li><a href="#words">Words on this page</a></li>'
    nav = f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>' if names else ""
    return body.replace(CONTENTS, nav, 1)


def with_glossary(body: str) -> str:
    """Put the definitions of the words that a page uses where the template leaves the place for them."""
    return body.replace(GLOSSARY, render("glossary.html.j2", terms=terms_in(body)), 1)


def _without_notes(notebook: nbformat.NotebookNode, notes: list[str]) -> None:
    """Take from the notebook's own opening what stands on top of the page."""
    on_top = {f"> - {as_markdown(note)}" for note in notes}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/markdown", "")
            if text.startswith(READ_FIRST):
                lines = [line for line in text.splitlines() if line not in on_top]
                output.data["text/markdown"] = "\n".join(lines) if "> - " in "\n".join(lines) else ""
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("data", {}).get("text/markdown") != ""]


def render(template: str, **facts: Any) -> str:
    """Return a template of :data:`TEMPLATE` filled with facts, which are shown as they are: escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE),
        autoescape=True,
        finalize=_in_markdown if template.endswith(".md.j2") else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = _as_code
    return environment.get_template(template).render(facts)


def _in_markdown(value: object) -> object:
    return Markup(as_markdown(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def _as_code(text: str) -> Markup:
    """Return lines as a block of code of Markdown, whatever they hold."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup("\n".join((fence, text, fence)))


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
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return next(iter(_headings("\n".join(texts))), path.stem.replace("_", " "))


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


def _notes_not_shown(notes: list[str], notebook: nbformat.NotebookNode) -> list[str]:
    """Return the notes that the notebook does not show by itself, and that data are simulated in any case."""
    hiding = {"remove_cell", "remove_output"}
    shown = (cell for cell in notebook.cells if not hiding & _tags(cell))
    outputs = [output for cell in shown for output in cell.get("outputs", [])]
    text = "\n".join(str(part) for output in outputs for part in output.get("data", {}).values())
    return [note for note in notes if note.startswith(SIMULATED) or note not in text]


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
            words = output.metadata.get("alt") or f"Figure: {heading or 'see the text below'}"
            output.metadata.setdefault(kind, {}).setdefault("alt", words)


def _name_table(output: Any, name: str) -> bool:
    """Name an output that holds a table: on a page each is a place of its own."""
    text = output.get("data", {}).get("text/html", "")
    if "<table" not in text:
        return False
    output.data["text/html"] = _tidy_table(text)
    output.metadata.setdefault("text/html", {})["name"] = name.removesuffix(": ")
    return True


def _tidy_table(html: str) -> str:
    """Return a table of pandas with one line of names, and without an index that only counts the rows."""
    soup = BeautifulSoup(html, "html.parser")
    for table in soup("table"):
        lines = [line("th") for line in table.select("thead tr")]
        if len(lines) > 1 and len(lines[-1]) == len(lines[-2]):  # pandas gives the index a line of its own
            pairs = list(zip(lines[-2], lines[-1], strict=True))
            if not any(above.text and below.text for above, below in pairs):
                for above, below in pairs:
                    above.string = above.text or below.text
                table.select("thead tr")[-1].decompose()
        rows = table.select("tbody tr")
        counted = [row.th for row in rows if row.th]
        named = len(lines) != 1 or not lines[0] or lines[0][0].text
        if not named and [cell.text for cell in counted] == [str(i) for i in range(len(counted))]:
            for cell in (lines[0].pop(0), *counted):
                cell.decompose()
        columns = zip(
            *(row("td")[::-1] for row in rows), strict=False
        )  # from the right: left of them is the index
        heads = lines[0][::-1] if lines else []
        for head, cells in zip_longest(heads, columns):
            if head is not None and not any(_NUMBER.match(cell.text) for cell in cells or ()):
                for cell in (head, *(cells or ())):
                    cell["class"] = "words"
            for cell in cells or ():  # on a phone, where rows of words stand one below the other
                cell["data-label"] = head.text if head else ""
        for cell in table("th"):
            if not cell.text:  # pandas makes headers of the empty corner cells
                cell.name = "td"
    return str(soup)


def without_machine_paths(text: str, places: Mapping[str, str]) -> str:
    """Replace folders of this machine by what stands for them, and the kernel's file names of cells."""
    text = re.sub(r"/[^\s\"'<>:]*/ipykernel_\d+/\d+\.py", "cell", text)
    for place, name in sorted(places.items(), key=lambda item: -len(item[0])):
        # at the start, after anything that cannot be part of a path, or after a colour code
        start = r"(^|[^\w.]|\x1b\[[0-9;]*m)"
        text = re.sub(rf"{start}{re.escape(place)}(?![\w-])", rf"\1{name}", text, flags=re.MULTILINE)
    return text


def keep_notebook(partial: Path, out: Path, places: Mapping[str, str]) -> None:
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


def folder_placeholders(run: Run, folder: Path) -> dict[str, str]:
    """Return what stands for the folders that outputs may name: project, run, home, where the data lie.

    Args:
        run: the run; of the paths in its config the last part stays.
        folder: of the notebooks, inside the project.
    """
    paths = (str(value) for key, value in iterate_keys(run.cfg) if key in PATH_KEYS)
    given = {str(Path(path).parent): "…" for path in paths if os.path.isabs(path)}
    known = {str(Path.home()): "~", str(folder.parent): ".", str(run.folder): run.name}
    return {place: name for place, name in (given | known).items() if len(Path(place).parts) > 1}
