"""The index of all runs: what each says, with its audit, its results and its files."""

import base64
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pandas as pd
from PIL import Image

from hpiclock import tables
from hpiclock.config.load import NOT_PATHS, PATH_KEYS
from hpiclock.errors import InputError
from hpiclock.files import atomic, check_output
from hpiclock.format import first_clause, limits_text, n_text, value_text
from hpiclock.metrics import METRICS
from hpiclock.report.audit_text import verdict_rows
from hpiclock.report.pages import (
    TEMPLATE,
    answer_on_top,
    notes_not_in_answer,
    origin,
    render,
    title,
    with_glossary,
)
from hpiclock.report.text import PRIMARY, simulated_first
from hpiclock.runs.run import CONFIG, WHERE_KEYS, Run

# What a reader asks first: (words, group, metric), all on the test frames.
QUESTIONS = (
    (
        "Primary: infected or not, after the eclipse (AUC within plate and hour)",
        "after eclipse",
        "auc_stratified",
    ),
    ("Primary: time since infection, infected frames (mean absolute error)", "infected", "mae"),
    ("Infected or not, all frames (AUC within plate and hour)", "all", "auc_stratified"),
    (
        "Before the onset, where nothing can be seen (AUC within plate and hour)",
        "before onset",
        "auc_stratified",
    ),
    ("Time since infection for a clock that sees no image", "infected", "mae_of_clock"),
)
# The same from results.json, which has no intervals.
FALLBACK = (
    ("Infected or not, all frames (AUC over plates and hours)", "cls_auc", ""),
    ("Time, all frames (mean absolute error)", "reg_mae", "h"),
)
FIGURE = "temporal_generalization.png"
PICTURED = 8  # newest runs that show it: the page is to be sent around
# fmt: off
FILES = (
    "methods.md", "verdict.csv", "metrics.csv", "results.json", "training_summary.txt",
    "config.yaml", "provenance.json", "run.log",
)
# fmt: on


def write_index(reports_dir: str | Path) -> Path:
    """Write ``index.html`` over every run below a folder and return its path.

    A run that cannot be read is listed with its error and does not hide the others.

    Raises:
        InputError: no such folder, or its ``index.html`` is not one of runs.
    """
    reports = Path(os.path.abspath(reports_dir))
    if not reports.is_dir():
        what = "is not a folder" if reports.exists() else "no such folder"
        raise InputError(f"{reports}: {what}; name the folder of all runs (hpiclock run CONFIG makes it)")
    entries: list[dict[str, Any]] = []
    unreadable: list[str] = []
    check_output(reports / "index.html", own=_is_index)
    newest_first = sorted(reports.rglob(CONFIG), key=lambda path: (-path.lstat().st_mtime, path))
    for config in newest_first:
        try:
            entries.append(entry(Run.open(config.parent), reports, pictured=len(entries) < PICTURED))
        except Exception as error:  # whatever is wrong with one run, the others are shown
            what = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            line = " ".join(what.replace(f"{reports}{os.sep}", "").split())
            named = line.startswith(config.parent.relative_to(reports).as_posix())
            unreadable.append(line if named else f"{config.parent.relative_to(reports)}: {line}")
    style = (TEMPLATE / "hpiclock" / "style.css").read_text(encoding="utf-8")
    text = render("index.html.j2", entries=entries, unreadable=unreadable, style=style, primary=PRIMARY)
    with atomic(reports / "index.html") as partial:
        partial.write_text(with_glossary(text), encoding="utf-8")
    return reports / "index.html"


def _is_index(path: Path) -> bool:
    return "<title>hpiclock: all runs</title>" in path.read_text(encoding="utf-8", errors="replace")[:1000]


def entry(run: Run, reports: Path, *, pictured: bool) -> dict[str, Any]:
    """Gather what the index shows of a run, for ``index.html.j2``; links are relative to the index.

    Args:
        run: any run.
        reports: the folder of the index.
        pictured: with the figure over time, which makes the page some 100 kB larger.

    Raises:
        InputError: a file of the run cannot be read.
    """
    here = Path(os.path.relpath(run.folder, reports)).as_posix()
    pages = []
    for page in sorted(run.folder.glob("[0-9][0-9]_*.html")):
        notebook = page.with_suffix(".ipynb")
        named = title(nbformat.read(notebook, as_version=4), page) if notebook.is_file() else page.stem
        pages.append({"href": quote(f"{here}/{page.name}"), "title": named})
    verdict, counts = verdict_rows(run)
    answer = answer_on_top(run, pictured=pictured)
    picture, words = _picture(run.path(FIGURE)) if pictured and not answer else ("", "")
    versions = run.read_json("provenance.json")["packages"]
    return {
        "name": run.name,
        "anchor": here.replace("/", "-"),
        "state": run.state,
        "origin": origin(run).removeprefix(f"{run.name} · "),
        "answer": answer,
        "notes": notes_not_in_answer(run.notes) if answer else simulated_first(run.notes),
        "verdict": verdict,
        "verdict_counts": counts,
        "answers": headline_results(run),
        "picture": picture,
        "picture_alt": words,
        "pages": pages,
        "files": [
            {"href": quote(f"{here}/{name}"), "title": name} for name in FILES if run.path(name).is_file()
        ],
        "changes": [
            (key, _shown(key, new, reports), _shown(key, old, reports))
            for key, new, old in run.cfg.differences()
            if key not in WHERE_KEYS
        ],
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def headline_results(run: Run) -> list[dict[str, str]]:
    """Return the headline of a run on its test frames: ``question, value, interval, n`` in words.

    From ``metrics.csv``; without it from ``results.json``, and then it says that there is no interval.
    """
    if run.path("metrics.csv").is_file():
        metrics = run.read_table("metrics.csv", tables.METRICS)
        whole = metrics[metrics["split"].eq("test") & metrics["start_h"].isna()]
        found = [(words, _row(whole, group, metric)) for words, group, metric in QUESTIONS]
        return [{"question": words, **_answer(row)} for words, row in found if row is not None]
    if run.path("results.json").is_file():
        tested = run.read_json("results.json").get("test_metrics", {})
        return [
            {"question": words, "value": value_text(tested[key], unit), "interval": "no interval", "n": ""}
            for words, key, unit in FALLBACK
            if tested.get(key) is not None
        ]
    return []


def _picture(path: Path) -> tuple[str, str]:
    """Return a figure as base64 text with its alternative text; two empty texts when it is not there."""
    if not path.is_file():
        return "", ""
    with Image.open(path) as image:
        words = str(image.info.get("Description", "")) or f"Figure: {path.stem.replace('_', ' ')}"
    return base64.b64encode(path.read_bytes()).decode("ascii"), words


def _row(metrics: pd.DataFrame, group: str, metric: str) -> pd.Series | None:
    rows = metrics[metrics["group"].eq(group) & metrics["metric"].eq(metric)]
    return rows.iloc[0] if len(rows) else None


def _answer(row: pd.Series) -> dict[str, str]:
    unit = METRICS[row["metric"]].unit
    why = first_clause(row["note"])  # metrics.csv has all reasons
    if pd.isna(row["value"]):
        return {"value": "not defined", "interval": why, "n": n_text(row)}
    limits = limits_text(row["low"], row["high"], 2 if unit else 3, missing=why)
    on_one_line = limits if limits == why else limits.replace(" ", "\N{NO-BREAK SPACE}")
    return {"value": value_text(row["value"], unit), "interval": on_one_line, "n": n_text(row)}


def _shown(key: str, value: Any, reports: Path) -> str:
    if key in PATH_KEYS and isinstance(value, str) and value not in NOT_PATHS:
        return Path(os.path.relpath(value, reports)).as_posix()
    return "null" if value is None else str(value)
