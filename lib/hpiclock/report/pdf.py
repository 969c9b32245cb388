"""The pages of a run as PDF, printed by a browser."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpiclock.errors import InputError, RunFailed
from hpiclock.files import atomic
from hpiclock.runs.run import Run

BROWSER = "HPICLOCK_BROWSER"  # names the program where it is not found by itself
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
# Where Playwright keeps the browsers that it installs, by default or by its variable.
PLAYWRIGHT = ("~/.cache/ms-playwright", "~/Library/Caches/ms-playwright")
BUNDLES = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*")
APPLICATION = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# No network, no first-run questions.
# fmt: off
FLAGS = (
    "--headless", "--no-first-run", "--disable-gpu", "--disable-quic", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)
# fmt: on
PAGE_S = 120.0  # seconds that a page may take


def find_browser() -> str | None:
    """Return the program of a Chromium-like browser, or None when there is none.

    Raises:
        InputError: the variable ``HPICLOCK_BROWSER`` names something that is not there.
    """
    named = os.environ.get(BROWSER)
    if not named:
        return next(_candidates(), None)
    found = shutil.which(named)
    if not found:
        raise InputError(f"{BROWSER}={named}: no such program; name a Chromium or Chrome, or unset it")
    return found


def print_run(run: Run) -> list[Path]:
    """Print the pages of a run as PDF beside them; return the PDF files.

    Raises:
        InputError: no page, or no browser on this machine.
        RunFailed: the browser made no PDF of a page.
    """
    pages = sorted(run.folder.glob("[0-9][0-9]_*.html"))
    if not pages:
        raise InputError(f"{run.folder}: no page to print; hpiclock run makes them")
    browser = find_browser()
    if browser is None:
        raise InputError(
            f"no Chromium or Chrome was found to print with; install one, or name it in {BROWSER}; "
            "any browser can print a page by hand"
        )
    return print_pages(pages, browser=browser)


def print_pages(pages: Iterable[Path], *, browser: str) -> list[Path]:
    """Print HTML pages as PDF beside them; return the PDF files.

    Raises:
        RunFailed: the browser made no PDF of a page.
    """
    made = []
    for page in pages:
        out = page.with_suffix(".pdf")
        with tempfile.TemporaryDirectory() as home, atomic(out) as partial:
            written = Path(home) / "page.pdf"
            command = [browser, *FLAGS, f"--user-data-dir={home}", "--no-pdf-header-footer"]
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                command.append("--no-sandbox")  # a browser of root, as in a container, can have none
            command += [f"--print-to-pdf={written}", page.resolve().as_uri()]
            try:
                done = subprocess.run(command, capture_output=True, check=False, timeout=PAGE_S)
            except subprocess.TimeoutExpired:
                raise RunFailed(f"{page}: the browser took more than {PAGE_S:g} s to print it") from None
            if not written.is_file():
                reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"])[-1]
                raise RunFailed(f"{page}: {Path(browser).name} made no PDF ({reason})")
            shutil.copyfile(written, partial)
        made.append(out)
    return made


def _candidates() -> Iterator[str]:
    yield from (found for name in PROGRAMS if (found := shutil.which(name)))
    if Path(APPLICATION).is_file():
        yield APPLICATION
    kept = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    for folder in [kept] if kept else PLAYWRIGHT:
        for pattern in BUNDLES:
            yield from map(str, sorted(Path(folder).expanduser().glob(pattern), reverse=True))
