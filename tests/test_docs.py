"""What the pages name is there: links, commands and their options, modules and files."""

import importlib.util
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import typer

from hpiclock import cli

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "reports" / "README.md"]
LINK = re.compile(r"\]\(([^)#\s]+)\)")
CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND = re.compile(r"(?m)(?:^|&& |bin/|-m )hpiclock ([a-z]+)((?: [^\n#]+)?)")
COMMANDS = typer.main.get_command(cli.app).commands
MODULE = re.compile(r"`(hpiclock(?:\.\w+)+)`")
FILE = re.compile(r"`((?:lib|tests|benchmarks|configs|docs|reports)/[\w/.-]+\.(?:py|yaml|md|csv))`")
OF_A_LAB = {"configs/plate-7.yaml"}
OLD = "| 0.1.0 | 0.2.0 |"  # the left column of this table names what is gone


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page):
    text = page.read_text(encoding="utf-8")
    head, marked, table = text.partition(OLD)
    text = head + marked + re.sub(r"(?m)^\|[^|]*\|", "|", table)
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    code = "\n".join(block or span for block, span in CODE.findall(text))
    for name, words in COMMAND.findall(code):
        assert name in COMMANDS, f"hpiclock {name}"
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        given = re.findall(r"(?<= )--?[a-z][a-z-]*", words.partition(" -- ")[0])
        assert set(given) <= known, f"hpiclock {name} {words}"
    assert [name for name in MODULE.findall(text) if importlib.util.find_spec(name) is None] == []
    assert [name for name in FILE.findall(text) if not (ROOT / name).exists() and name not in OF_A_LAB] == []


def test_every_page_of_docs_stands_in_the_index():
    index = ROOT / "docs" / "README.md"
    pages = {page.name for page in index.parent.glob("*.md")} - {index.name}
    assert set(LINK.findall(index.read_text(encoding="utf-8"))) >= pages


def test_every_target_of_the_makefile_that_a_page_names_is_there():
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"`make ([a-z-]+)`", text))
    assert named
    assert named <= targets


def test_every_promise_is_held_by_a_test_that_is_there():
    text = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all("`tests/" in row for row in rows if not row.startswith(("| promise", "| ---")))
    there = {path: (ROOT / path).read_text(encoding="utf-8") for path, _ in named}
    assert [f"{path}::{test}" for path, test in named if f"def {test}(" not in there[path]] == []


def test_the_readme_shows_the_answer_that_the_example_run_gives():
    rows = re.findall(r"(?m)^\| \*\*(.+\?)\*\* \| (.+) \|$", (ROOT / "README.md").read_text(encoding="utf-8"))
    kept = (ROOT / "reports" / "example" / "answer.txt").read_text(encoding="utf-8")
    assert len(rows) == 3
    assert all(f"{question} {answer}" in kept for question, answer in rows)


def test_the_files_of_the_example_are_of_one_run():
    example = ROOT / "reports" / "example"
    metrics = pd.read_csv(example / "metrics.csv")
    whole = metrics[metrics["split"].eq("test") & metrics["start_h"].isna() & metrics["group"].eq("all")]
    auc = whole.set_index("metric")["value"]["auc_stratified"]
    assert f"(AUC {auc:.3f}, " in (example / "conclusions.csv").read_text(encoding="utf-8")
    tested = json.loads((example / "results.json").read_text(encoding="utf-8"))["test_metrics"]
    assert tested["cls_auc_stratified"] == pytest.approx(auc)
    assert f"{auc:.3f}" in (example / "training_summary.txt").read_text(encoding="utf-8")
