"""Run the report notebooks with parameters, one or a chain, and leave executed notebooks and pages."""

import ast
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat

import hpiclock
from hpiclock.config.load import NOT_PATHS, PATH_KEYS, load_config
from hpiclock.config.schema import Config
from hpiclock.errors import InputError, RunFailed, nearest
from hpiclock.files import remove_content
from hpiclock.plate.manifest.sources import find_stacks
from hpiclock.progress import progress
from hpiclock.report.pages import folder_placeholders, keep_notebook, without_machine_paths
from hpiclock.runs.run import CONFIG, Run, default_folder
from hpiclock.workflows.identity import check_identity

PARAMETERS = ("config", "overrides", "run_dir")
AUDIT = "05"  # its verdict stands at the top of 03 and 04, so it runs before them
PARTIAL = ".{}.partial.ipynb"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_KERNEL = {
    "KernelManager": {"transport": "ipc"},  # no ports, so no race for them
    # a kernel that is shut down a moment after its last cell complains of the interrupt, to nobody's use
    "NotebookClient": {"extra_arguments": ["--log-level=CRITICAL"]},
}
log = logging.getLogger("hpiclock.notebooks")


class NotebookFailed(RunFailed):
    """A notebook stopped: one line that names the notebook, the cell and the exception."""


@dataclass(frozen=True)
class Report:
    """What a chain left: the run, its pages, and the index of all runs when the run lies below it."""

    run: Run
    pages: tuple[Path, ...]
    index: Path | None


def run_chain(
    config: str | Path, overrides: Mapping[str, Any], *, run_dir: str | Path | None, notebooks: str
) -> Report:
    """Execute notebooks in order with one progress bar; write their pages and the index.

    Args:
        config: the config file.
        overrides: dotted keys to values; relative paths in them are relative to the working directory.
        run_dir: the run's folder; empty or None = the default of :meth:`Run.create`.
        notebooks: which ones by number, e.g. ``01-04`` or ``01,03``.

    Raises:
        InputError: bad input, found before a kernel starts or by a notebook.
        NotebookFailed: a notebook stopped. What ran is kept: executed notebooks, pages and ``run.log``.
    """
    chosen = choose(notebooks_folder(), notebooks)
    for notebook in chosen:
        check_parameters(notebook)
    cfg = load_config(config, overrides)
    folder = Path(run_dir or default_folder(cfg))
    there, new = folder.is_dir(), not (folder / CONFIG).is_file()
    if new:
        find_stacks(cfg.data)  # what is wrong with the source is said before a kernel starts
    run = Run.create(cfg, run_dir)
    for partial in run.folder.glob(PARTIAL.format("*")):
        partial.unlink()  # of a chain that was killed
    with run.logged():
        try:
            check_identity(run, say=log.warning)
            _execute_all(chosen, config, overrides, run)
        except NotebookFailed:
            _publish(run)  # the page shows where it stopped
            raise
        except InputError:
            if new and run.state == "new":  # bad input leaves nothing that the mended config would run into
                remove_content(run.folder, and_itself=not there)
            raise
    return _publish(run)


def execute(
    notebook: Path,
    *,
    config: str | Path,
    overrides: Mapping[str, Any],
    run: Run,
    on_cell: Callable[..., object] | None = None,
) -> Path:
    """Execute one notebook with its parameters and keep the executed copy in the run's folder.

    Paths reach the notebook relative to its own folder, so that a report names no machine.

    Args:
        notebook: with a cell tagged ``parameters`` that sets ``config``, ``overrides`` and ``run_dir``.
        config: the config file.
        overrides: dotted keys to values.
        run: where the executed notebook goes and what the notebook reads and writes.
        on_cell: called with ``cell`` and ``cell_index`` before each cell.

    Raises:
        InputError: the notebook lacks a parameter, or a cell raised InputError.
        NotebookFailed: a cell raised another exception, or the kernel died.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from traitlets.config import Config as Settings

    check_parameters(notebook)
    folder = notebook.parent.resolve()
    out = run.path(notebook.name)
    partial = run.path(PARTIAL.format(notebook.stem))  # a killed run leaves the old notebook as it was
    values = {
        "config": _from_folder(str(config), folder),
        "overrides": {key: _moved(key, value, folder) for key, value in overrides.items()},
        "run_dir": _from_folder(run.folder, folder),
    }
    failed: Exception | None = None
    try:
        papermill.execute_notebook(
            notebook,
            partial,
            parameters=values,
            kernel_name="python3",
            cwd=folder,
            progress_bar=False,
            autosave_cell_every=60,
            on_cell_start=on_cell,
            config=Settings(_KERNEL),
        )
    except papermill.PapermillExecutionError as error:
        trace = _COLOUR.sub("", "\n".join(error.traceback))
        log.error("%s", without_machine_paths(trace, folder_placeholders(run, folder)))
        failed = _failure(notebook, f"cell [{error.exec_count}]", error.ename, error.evalue, run)
    except (DeadKernelError, CellTimeoutError) as error:
        log.error("%s: %s: %s", notebook.name, type(error).__name__, error)
        failed = _failure(notebook, "its kernel", type(error).__name__, str(error), run)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    keep_notebook(partial, out, folder_placeholders(run, folder))
    if failed:
        raise failed
    return out


def notebooks_folder() -> Path:
    """Return the folder of the report notebooks: ``notebooks/`` here, else that of the clone.

    Raises:
        InputError: neither is there.
    """
    clone = Path(hpiclock.__file__).parents[2]
    for folder in (Path("notebooks"), clone / "notebooks"):
        if any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder.resolve()
    raise InputError("no folder notebooks/ with numbered notebooks here; run this in the clone of hpiclock")


def open_config(config: str | Path, overrides: Mapping[str, Any]) -> Config:
    """Return the config of a notebook's parameters; a path that is not found here is one of the notebooks'.

    Raises:
        InputError: a parameter of another kind, one that the notebook does not have (papermill runs on with
            the defaults), or a bad config.
    """
    _refuse_unknown(getattr(sys.modules.get("__main__"), "In", []))
    if not isinstance(config, str | Path):
        raise InputError(f"config: the name of a file, got {config!r}")
    if not isinstance(overrides, Mapping):
        example = "{'train.epochs': 30} (papermill: -y \"overrides: {train.epochs: 30}\")"
        raise InputError(f"overrides: a table of keys, e.g. {example}, got {overrides!r}")
    if not Path(config).exists() and (notebooks_folder() / config).is_file():
        config = notebooks_folder() / config
    return load_config(config, overrides)


def open_run(config: str | Path, overrides: Mapping[str, Any], run_dir: str | Path | None) -> Run:
    """Return the run that a notebook shows: that in ``run_dir``, else the default one of the config.

    Raises:
        InputError: as :func:`open_config` says; no run there, or the default folder holds another config.
    """
    if not isinstance(run_dir, str | Path | None):
        raise InputError(f"run_dir: the name of a folder, got {run_dir!r}")
    cfg = open_config(config, overrides)
    if run_dir:
        return Run.open(run_dir)
    run = Run.start(cfg)
    if not run.path(CONFIG).is_file():
        repair = "run notebook 02_training first, or hpiclock train with this config"
        raise InputError(f"{run.folder}: no run yet; {repair}, or name another run's folder in run_dir")
    return Run.open(run.folder)


def _refuse_unknown(cells: Sequence[str]) -> None:
    """Refuse what papermill's cell sets and the cell before it, tagged ``parameters``, does not."""
    for before, cell in pairwise(cells):
        if cell.startswith("# Parameters\n"):
            known = _assigned(before)
            for name in _assigned(cell):
                if name not in known:
                    near = nearest(name, known)
                    hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
                    raise InputError(f"parameter {name}: this notebook has none of that name; {hint}")


def _assigned(cell: str) -> list[str]:
    targets = (node.targets[0] for node in ast.parse(cell).body if isinstance(node, ast.Assign))
    return [target.id for target in targets if isinstance(target, ast.Name)]


def choose(folder: Path, numbers: str) -> list[Path]:
    """Return the notebooks with these numbers, in order, e.g. ``01-04`` or ``01,03``.

    Raises:
        InputError: not such a list, or a number that no notebook has.
    """
    there = {int(path.name[:2]): path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    wanted: set[int] = set()
    for part in numbers.split(","):
        ends = re.fullmatch(r"\s*(\d{1,2})(?:\s*-\s*(\d{1,2}))?\s*", part)
        if not ends:
            raise InputError(f"notebooks {numbers!r}: write numbers such as 01-04 or 01,03")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        found = {number for number in there if first <= number <= last}
        if not {first, last} <= found:
            known = ", ".join(path.stem for path in there.values())
            raise InputError(f"notebooks {part.strip()}: there is no such number; there are {known}")
        wanted |= found
    return [there[number] for number in sorted(wanted)]


def execution_order(chosen: Sequence[Path]) -> list[Path]:
    """Return the notebooks in the order in which they run: the audit right after what comes before 03."""
    return sorted(chosen, key=lambda path: (path.name[:2] >= "03", not path.name.startswith(AUDIT)))


def check_parameters(notebook: Path) -> None:
    """Check that the notebook knows its parameters: papermill would run it with the defaults.

    Raises:
        InputError: a parameter is missing from the cell tagged ``parameters``.
    """
    import papermill

    known = papermill.inspect_notebook(notebook)
    missing = [name for name in PARAMETERS if name not in known]
    if missing:
        lacks = f"its cell tagged 'parameters' does not set {', '.join(missing)}"
        raise InputError(f"{notebook.name}: {lacks}; add it there")


def _execute_all(chosen: Sequence[Path], config: str | Path, overrides: Mapping[str, Any], run: Run) -> None:
    total = sum(len(nbformat.read(path, as_version=4).cells) + 1 for path in chosen)  # + the injected cell
    with progress(desc="notebooks", total=total, unit="cell") as bar:
        for notebook in execution_order(chosen):
            bar.set_description(notebook.stem)
            began = time.monotonic()
            log.info("%s begins", notebook.name)
            execute(notebook, config=config, overrides=overrides, run=run, on_cell=lambda **_: bar.update())
            log.info("%s done in %.0f s", notebook.name, time.monotonic() - began)
        bar.set_description("notebooks")


def _publish(run: Run) -> Report:
    from hpiclock.report.index import write_index
    from hpiclock.report.methods import write_methods
    from hpiclock.report.pages import write_pages

    if run.state == "done":
        write_methods(run)
    listed = run.folder.is_relative_to(run.cfg.reports_dir)
    return Report(run, tuple(write_pages(run)), write_index(run.cfg.reports_dir) if listed else None)


def _failure(notebook: Path, where: str, kind: str, message: str, run: Run) -> Exception:
    line = (message.strip() or "no message").splitlines()[0]
    if kind == InputError.__name__:
        return InputError(line)
    return NotebookFailed(f"{notebook.name}, {where}: {kind}: {line} (see {run.path(notebook.name)})")


def _moved(key: str, value: Any, folder: Path) -> Any:
    if key not in PATH_KEYS:
        return value
    if isinstance(value, Mapping):
        return {name: _from_folder(item, folder) for name, item in value.items()}
    return value if not isinstance(value, str) or value in NOT_PATHS else _from_folder(value, folder)


def _from_folder(path: str | Path, folder: Path) -> str:
    return Path(os.path.relpath(Path(path).expanduser(), folder)).as_posix()
