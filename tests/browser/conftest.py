"""A real browser on a small run. Without a browser every test here is skipped, and the reason is said."""

import subprocess
import sys
from pathlib import Path

import pytest

from hpiclock.report.pdf import FLAGS, find_browser
from hpiclock.runs.run import Run

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def run(request, demo_settings):
    """The run, its executed notebooks, pages and index: what `hpiclock run` leaves."""
    request.getfixturevalue("browser")  # without one nothing is trained
    command = [sys.executable, "-m", "hpiclock", "run", str(ROOT / "configs" / "demo.yaml")]
    command += ["--notebooks", "01-04"]
    command += [text for key, value in demo_settings.items() for text in ("--set", f"{key}={value}")]
    done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return Run.open(Path(demo_settings["reports_dir"]) / "demo" / "seed0")


@pytest.fixture(scope="session")
def program():
    """The browser's program."""
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium or Chrome on this machine; HPICLOCK_BROWSER names one")
    return found


@pytest.fixture(scope="session")
def browser(program):
    """A headless browser driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: install the extra browser")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=list(FLAGS))
        yield started
        started.close()
