"""Pages and index in a real browser: no script errors, nothing empty, nothing that axe-core calls serious.

axe-core comes from npm in a pinned version, into the folder that HPICLOCK_AXE names or a temporary one;
where npm is missing or cannot reach its registry, the checks that need it are skipped and say so.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from hpiclock.report.pdf import print_pages

AXE = "axe-core@4.14.1"
AXE_RUN = "async () => await axe.run(document, {resultTypes: ['violations']})"
SERIOUS = {"serious", "critical"}
PHONE = {"width": 400, "height": 800}
DESK = {"width": 1100, "height": 900}
MOST_MB = 5.0


@pytest.fixture(scope="module")
def pages(run):
    return [Path(run.cfg.reports_dir) / "index.html", *sorted(run.folder.glob("[0-9][0-9]_*.html"))]


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The script of axe-core."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine, so no axe-core")
    folder = Path(os.environ.get("HPICLOCK_AXE") or tmp_path_factory.mktemp("axe"))
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        command = [npm, "install", "--prefix", str(folder), "--no-save", "--ignore-scripts", "--no-audit",
                   "--no-fund", AXE]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            pytest.skip(f"npm could not fetch {AXE}: {done.stderr.strip().splitlines()[-1:]}")
    return script.read_text(encoding="utf-8")


@pytest.fixture
def opened(browser):
    """The function that opens a page and collects what goes wrong in it."""
    shown = []

    def open_page(path, viewport):
        page = browser.new_page(viewport=viewport)
        shown.append(page)
        page.wrong = []
        page.on("pageerror", lambda error: page.wrong.append(f"{path.name}: {error}"))
        page.on(
            "console", lambda line: line.type == "error" and page.wrong.append(f"{path.name}: {line.text}")
        )
        page.on(
            "request", lambda asked: asked.url.startswith(("file:", "data:")) or page.wrong.append(asked.url)
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for page in shown:
        page.close()


def test_no_page_has_a_script_error_or_asks_for_anything(pages, opened):
    assert len(pages) == 5
    for path in pages:
        assert opened(path, DESK).wrong == []


def test_no_output_is_empty_and_every_picture_is_there_and_described(pages, opened):
    for path in pages:
        page = opened(path, DESK)
        empty = """() => [...document.querySelectorAll('.out')].filter(
            out => !out.textContent.trim() && !out.querySelector('img')).map(out => out.outerHTML)"""
        assert page.evaluate(empty) == [], path.name
        broken = """() => [...document.images].filter(
            image => !image.naturalWidth || image.alt.length < 20).map(image => image.alt)"""
        assert page.evaluate(broken) == [], path.name
        assert path.stat().st_size < MOST_MB * 1e6, path.name


def test_pictures_fill_their_column_and_are_as_large_as_they_are_drawn(pages, opened):
    # of a picture drawn at its width no letter is below 12 px: tests/figures/test_lettering.py
    sizes = """() => [...document.images].map(image => [image.clientWidth, +image.getAttribute('width'),
        image.parentElement.clientWidth, image.alt.slice(0, 40)])"""
    for path in pages:
        found = opened(path, {"width": 1200, "height": 900}).evaluate(sizes)
        assert found or path.name == "index.html"
        assert [one for one in found if one[0] < one[1]] == [], path.name
        assert [one for one in found if one[0] < 0.95 * one[2]] == [], path.name


def test_no_page_says_a_sentence_or_shows_a_table_twice(pages):
    for path in pages:
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for hidden in page.select("details, script, style, pre"):
            hidden.decompose()
        tables = [" ".join(table.get_text(" ").split()) for table in page.select("table")]
        assert len(tables) == len(set(tables)), path.name
        texts = [" ".join(block.get_text(" ").split()) for block in page.select("p, dd, li:not(:has(p))")]
        said = [one for text in texts for one in re.split(r"(?<=[.?!]) ", text) if len(one.split()) > 5]
        assert [one for one, n in Counter(said).items() if n > 1] == [], path.name


def test_axe_finds_nothing_serious(pages, opened, axe):
    found = []
    for path in pages:
        for viewport in (DESK, PHONE) if path.name == "index.html" else (DESK,):
            page = opened(path, viewport)
            page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true; })")
            page.evaluate(axe)
            report = page.evaluate(AXE_RUN)
            assert len(report["passes"]) > 10  # it looked
            found += [
                f"{path.name} at {viewport['width']} px: {fault['id']} ({fault['impact']}): "
                f"{[node['html'][:160] for node in fault['nodes'][:3]]}"
                for fault in report["violations"]
                if fault["impact"] in SERIOUS
            ]
    assert found == []


def test_axe_would_find_a_serious_fault(browser, axe):
    page = browser.new_page()
    page.set_content(
        "<html><body><main><img src='data:,'><p style='color:#ddd'>pale</p></main></body></html>"
    )
    page.evaluate(axe)
    report = page.evaluate("async () => await axe.run(document)")
    page.close()
    assert {"image-alt", "color-contrast"} <= {fault["id"] for fault in report["violations"]}


def test_code_is_hidden_and_one_click_shows_all_of_it(pages, opened):
    for path in pages[1:]:
        page = opened(path, DESK)
        code = page.locator("details.code pre")
        assert code.count() > 3
        assert not any(block.is_visible() for block in code.all())
        page.get_by_role("button", name="Show code").click()
        assert all(block.is_visible() for block in code.all())
        page.keyboard.press("Enter")  # the button has the focus: a keyboard does it, too
        assert not any(block.is_visible() for block in code.all())


def test_pages_fit_a_phone(pages, opened):
    for path in pages:
        page = opened(path, PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path.name


def test_headings_are_in_order_and_what_cannot_be_told_comes_first(pages, opened):
    for path in pages:
        page = opened(path, DESK)
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(below - above <= 1 for above, below in pairwise(levels)), path.name
        if page.locator("table").count():
            notes, table = (page.locator(name).first for name in ("aside.notes, blockquote", "table"))
            assert notes.bounding_box()["y"] < table.bounding_box()["y"], path.name


def test_the_index_says_what_differs_from_the_defaults_and_where_a_run_comes_from(pages, opened):
    page = opened(pages[0], DESK)
    for words in ("keys differ from the defaults", "Where it comes from"):
        page.get_by_text(re.compile(words)).click()
    assert page.get_by_role("cell", name="resnet10").is_visible()
    assert page.get_by_text(re.compile(r"hpiclock \d.*seed 0 · Python")).is_visible()


def test_pages_print_as_pdf_without_controls_and_code(pages, browser, program):
    made = print_pages(pages[3:4], browser=program)
    try:
        data = made[0].read_bytes()
        assert data.startswith(b"%PDF-")
        assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 3
    finally:
        made[0].unlink()
    page = browser.new_page()
    page.goto(pages[3].as_uri())
    page.emulate_media(media="print")
    assert not page.get_by_role("button", name="Show code").is_visible()
    assert not any(block.is_visible() for block in page.locator("details.code").all())
    page.close()
