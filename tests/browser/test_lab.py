"""A real JupyterLab as `make lab` starts it: its start page, two whole notebooks, every explorer by hand."""

import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ("03_evaluation", "04_temporal_generalization")
DONE = "ALL CELLS RAN"
WAIT_MS = 60_000
# The bytes of the picture in an explorer, as a number: equal pictures have equal numbers.
PICTURE = """async box => {
  const data = new Uint8Array(await (await fetch(box.querySelector('img').src)).arrayBuffer());
  return data.reduce((sum, byte) => (sum * 31 + byte) >>> 0, data.length);
}"""


@pytest.fixture(scope="module")
def notebooks(run, demo_settings, tmp_path_factory):
    """Copies with the parameters of the small run, and a last cell that says that all ran."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copyfile(ROOT / "README.md", folder / "README.md")
    (folder / "notebooks").mkdir()
    values = {
        "config": str(ROOT / "configs" / "demo.yaml"), "overrides": demo_settings, "run_dir": str(run.folder),
    }  # fmt: skip
    for name in NOTEBOOKS:
        copy = folder / "notebooks" / f"{name}.ipynb"
        source = ROOT / "notebooks" / copy.name
        papermill.execute_notebook(source, copy, parameters=values, prepare_only=True, progress_bar=False)
        notebook = nbformat.read(copy, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(f"print('{DONE}')"))
        nbformat.write(notebook, copy)
    return folder


def options_of_make_lab():
    shown = subprocess.run(["make", "-n", "-C", ROOT, "lab"], capture_output=True, text=True, check=True)
    (line,) = [line for line in shown.stdout.splitlines() if "/jupyter lab " in line]
    return shlex.split(line)[2:]


@pytest.fixture(scope="module")
def lab(notebooks, tmp_path_factory):
    """A JupyterLab over the copies; gives the address of its start page, or that of a notebook."""
    home = tmp_path_factory.mktemp("jupyter")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    env = dict(os.environ)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR"):
        env[name] = str(home / name.lower())
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={notebooks}", "--allow-root", *options_of_make_lab(),
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=env) as server,
    ):
        try:
            _wait_for(f"{address}/api/status?token={token}", server)
            of = "lab/tree/notebooks/{}.ipynb?reset&token={}"
            yield lambda name: f"{address}/{of.format(name, token) if name else f'?token={token}'}"
        finally:
            server.terminate()
            server.wait(20)


def _wait_for(address, server):
    for _ in range(240):
        assert server.poll() is None, "JupyterLab ended"
        try:
            urllib.request.urlopen(address, timeout=1)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    raise AssertionError("JupyterLab did not answer")


@pytest.fixture(scope="module")
def evaluation(lab, browser):
    """Notebook 03 with all cells run."""
    yield from _all_run(lab, browser, NOTEBOOKS[0])


@pytest.fixture(scope="module")
def over_time(lab, browser):
    """Notebook 04 with all cells run."""
    yield from _all_run(lab, browser, NOTEBOOKS[1])


def _all_run(lab, browser, name):
    shown = browser.new_page(viewport={"width": 1500, "height": 1100})
    shown.goto(lab(name))
    shown.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=WAIT_MS)
    idle = "() => /\\| Idle/.test(document.querySelector('#jp-main-statusbar')?.textContent || '')"
    shown.wait_for_function(idle, timeout=WAIT_MS)
    shown.click("div.lm-MenuBar-itemLabel:text-is('Run')")
    shown.click("li[data-command='runmenu:run-all']")
    # a notebook draws the cells that are looked at
    shown.evaluate("document.querySelector('.jp-Notebook').scrollTo(0, 0)")
    _scroll_to(shown, f"pre:text-is('{DONE}')")
    yield shown
    if folder := os.environ.get("HPICLOCK_SCREENSHOTS"):
        shown.screenshot(path=f"{folder}/{name}.png")
    shown.close()


def _scroll_to(page, selector):
    """Go down the notebook until the element is there: cells far below are drawn when they come near."""
    end = time.monotonic() + WAIT_MS / 1000
    while not page.locator(selector).count():
        assert time.monotonic() < end, f"{selector} did not come"
        page.mouse.move(700, 600)
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(150)
    page.locator(selector).first.scroll_into_view_if_needed()


class Hand:
    """A user at one explorer: moves a control, and sees what changed."""

    def __init__(self, page, control):
        self.page = page
        page.mouse.move(700, 600)
        page.mouse.wheel(0, -100_000)
        page.wait_for_timeout(200)
        _scroll_to(page, f".hpiclock-explorer:has(:text-is('{control}'))")
        self.box = page.locator(f".hpiclock-explorer:has(:text-is('{control}'))").first
        self.box.locator("img").wait_for(timeout=WAIT_MS)
        self.box.evaluate("box => { box.querySelector('img').same = true; }")
        self.place = self.box.locator("img").bounding_box()

    @property
    def words(self):
        return self.box.locator("[role=status]").inner_text()

    def control(self, name):
        return self.box.locator(f".widget-inline-hbox:has(.widget-label:text-is('{name}'))").first

    def changes(self, act, *, says="", redrawn=True):
        """Act, and hold that other words and another picture stand in the same element at the same place."""
        words, picture = self.words, self.box.evaluate(PICTURE)
        act()
        end = time.monotonic() + WAIT_MS / 1000
        while time.monotonic() < end:
            said = self.words != words and says in self.words
            if said and (not redrawn or self.box.evaluate(PICTURE) != picture):
                break
            self.page.wait_for_timeout(50)
        assert self.words != words
        assert (self.box.evaluate(PICTURE) != picture) == redrawn
        self.page.wait_for_timeout(150)  # a later answer of the kernel may still come
        assert says in self.words
        assert self.box.evaluate("box => box.querySelector('img').same"), "the element was replaced"
        assert self.box.locator("img").bounding_box() == pytest.approx(self.place, abs=1)

    def press(self, name, key):
        """Press a key on a slider, as one does without a mouse."""
        handle = self.control(name).locator(".noUi-handle").first
        handle.focus()
        handle.press(key)

    def choose(self, name, label):
        self.control(name).locator("select").select_option(label=label)


@pytest.mark.parametrize("notebook", ["evaluation", "over_time"])
def test_no_cell_fails_or_complains(notebook, request):
    page = request.getfixturevalue(notebook)
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_it_opens_at_the_readme_whose_links_open_the_notebooks_and_asks_nothing(lab, browser):
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    page.goto(lab(""))
    page.locator(".jp-RenderedMarkdown h1:text-is('hpiclock')").wait_for(timeout=WAIT_MS)
    page.locator(f".jp-RenderedMarkdown a:text-is('{NOTEBOOKS[0]}')").click()
    # notebooks of the session before are there, too, behind the one that was asked for
    page.locator(f".lm-mod-current .lm-TabBar-tabLabel:text-is('{NOTEBOOKS[0]}.ipynb')").wait_for(
        timeout=WAIT_MS
    )
    notebook = page.locator(".jp-NotebookPanel:visible")
    notebook.wait_for(timeout=WAIT_MS)
    cell = notebook.locator(".jp-CodeCell").first  # a notebook hides cells that it has no place for
    cell.wait_for(state="attached", timeout=WAIT_MS)
    page.wait_for_timeout(2000)  # news are asked for once all is loaded
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    page.close()


def test_threshold_explorer(evaluation):
    hand = Hand(evaluation, "infected from P =")
    assert "This is the run's threshold" in hand.words
    hand.changes(lambda: hand.press("infected from P =", "ArrowRight"), says="no longer tested")
    hand.changes(lambda: hand.press("infected from P =", "Home"), says="from P = 0.000")
    hand.changes(lambda: hand.choose("frames of", "val"), says="val frames")


def test_error_browser(evaluation):
    hand = Hand(evaluation, "worst first")
    assert hand.words.startswith("1. ")
    rows = hand.box.locator("select[size]")
    second = rows.locator("option").nth(1).inner_text()
    hand.changes(lambda: rows.select_option(label=second), says="2. ")
    hand.changes(lambda: hand.choose("wells", "infected" if " mock" in hand.words else "mock"))


def test_plate_browser(evaluation):
    hand = Hand(evaluation, "position")
    hand.changes(lambda: hand.press("time", "Home"), says="0 h after start")
    hand.changes(lambda: hand.press("time", "ArrowRight"), says="4 h after start")
    hand.changes(lambda: hand.press("time", "ArrowRight"), says="8 h after start")
    hand.changes(lambda: hand.box.get_by_role("button", name="B02", exact=True).click(), says="/B02/")
    hand.changes(lambda: hand.choose("well", "A01"), says="/A01/")
    hand.changes(lambda: hand.box.locator(".widget-play button").first.click(), says="h after start")
    seen = {hand.words}
    for _ in range(60):
        evaluation.wait_for_timeout(50)
        seen.add(hand.words)
        if len(seen) > 2:
            break
    assert len(seen) > 2, "playing stands still"


def test_window_explorer(over_time):
    hand = Hand(over_time, "stride")
    hand.changes(lambda: hand.press("width", "ArrowRight"), says="windows of 8 h")
    hand.changes(lambda: hand.press("stride", "ArrowRight"), says="every 4 h")
    hand.changes(lambda: hand.press("stride", "ArrowRight"), says="every 6 h")
    hand.changes(lambda: hand.choose("which", "infected"))
    hand.changes(lambda: hand.choose("metric", "time MAE (h)"))
    hand.changes(lambda: hand.choose("over", "hpi"))
    hand.changes(lambda: hand.choose("resample", "position"), says="unit position", redrawn=False)
