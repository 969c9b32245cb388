"""Finding a browser and printing with it, where small programs stand in for one (real: tests/browser)."""

import os

import pytest

from hpiclock.cli import main
from hpiclock.config.load import load_config
from hpiclock.errors import InputError, RunFailed
from hpiclock.report.pdf import BROWSER, find_browser, print_pages, print_run
from hpiclock.runs.run import Run

PRINTS = """#!/bin/sh
for word in "$@"; do case $word in --print-to-pdf=*) printf %%PDF-1.4 > "${word#*=}";; esac; done
"""
FAILS = "#!/bin/sh\necho 'no display' >&2\nexit 1\n"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The function that puts a program of this name on an otherwise empty PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "none"))
    monkeypatch.delenv(BROWSER, raising=False)

    def put(name, text=PRINTS):
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return put


@pytest.fixture
def run(tmp_path):
    config = tmp_path / "plate.yaml"
    config.write_text("experiment: plate\nreports_dir: reports\ndata: {source: stacks}\n")
    made = Run.create(load_config(config), "")
    for name in ("03_evaluation", "04_temporal_generalization"):
        made.path(f"{name}.html").write_text("<h1>page</h1>")
    return made


def test_the_browser_is_found_on_the_path_or_where_playwright_keeps_it(program, tmp_path, monkeypatch):
    assert find_browser() is None
    kept = tmp_path / "kept" / "chromium-1200" / "chrome-linux64" / "chrome"
    kept.parent.mkdir(parents=True)
    kept.touch()
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "kept"))
    assert find_browser() == str(kept)
    on_path = program("google-chrome")
    assert find_browser() == on_path
    first = program("chromium")
    assert find_browser() == first
    monkeypatch.setenv(BROWSER, on_path)
    assert find_browser() == on_path
    monkeypatch.setenv(BROWSER, "no-such-browser")
    with pytest.raises(InputError, match="HPICLOCK_BROWSER=no-such-browser: no such program"):
        find_browser()


def test_each_page_gets_a_pdf_beside_it(program, run):
    program("chromium")
    made = print_run(run)
    assert [path.name for path in made] == ["03_evaluation.pdf", "04_temporal_generalization.pdf"]
    assert all(path.read_bytes() == b"%PDF-1.4" for path in made)


@pytest.mark.parametrize(("user", "is_there"), [(0, True), (1000, False)])
def test_the_browser_gives_up_its_sandbox_only_for_root(program, run, monkeypatch, user, is_there):
    program("chromium", PRINTS + 'echo "$@" > "$HOME/words"\n')
    monkeypatch.setenv("HOME", str(run.folder))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    print_run(run)
    assert ("--no-sandbox" in run.path("words").read_text()) == is_there


@pytest.mark.usefixtures("program")
def test_without_a_browser_one_line_says_what_to_do(run, capsys, monkeypatch):
    with pytest.raises(InputError, match="no Chromium or Chrome was found"):
        print_run(run)
    monkeypatch.setattr("sys.argv", ["hpiclock", "pdf", str(run.folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_without_pages_and_a_browser_that_fails_are_named(program, run):
    browser = program("chromium", FAILS)
    page = run.path("03_evaluation.html")
    with pytest.raises(RunFailed, match=r"03_evaluation\.html: chromium made no PDF \(no display\)"):
        print_pages([page], browser=browser)
    assert not [name for name in os.listdir(run.folder) if name.endswith(".pdf")]
    for old in run.folder.glob("*.html"):
        old.unlink()
    with pytest.raises(InputError, match="no page to print"):
        print_run(run)
