"""What stands first on every page: that data are simulated, what cannot be told, what is primary."""

import json
from pathlib import Path

import pytest

from hpiclock.config.schema import DataConfig
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.report import text

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("0*.ipynb"))
SIMULATED = (
    "Simulated data: a program drew the pictures of plate tiny; scores on them say nothing about a virus."
)


def test_a_simulated_plate_says_so_and_pictures_of_a_microscope_do_not(tiny_plate, tmp_path):
    _, notes = load_manifest(DataConfig(source=str(tiny_plate)), 0.0)
    assert notes[0] == SIMULATED
    copy = tmp_path / "plate"
    copy.mkdir()
    for path in tiny_plate.parent.glob("*"):
        if path.name != "synth.json":
            (copy / path.name).write_bytes(path.read_bytes())
    _, notes = load_manifest(DataConfig(source=str(copy)), 0.0)
    assert not any(note.startswith("Simulated") for note in notes)


def test_that_data_are_simulated_stands_before_all_other_notes_and_then_the_primary_endpoints(monkeypatch):
    shown = []
    monkeypatch.setattr(text, "display", lambda part: shown.append(part.data))
    text.opening(["Two runs.", SIMULATED, "Two runs."])
    text.opening([])
    first, rest = shown[0].split("\n\n")
    assert first == f"> **Read this first**\n>\n> - {SIMULATED}\n> - Two runs."
    assert rest == shown[1] == text.PRIMARY
    assert "after the eclipse" in text.PRIMARY
    assert "secondary" in text.PRIMARY


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_opens_with_them(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    at = next(i for i, source in enumerate(code) if "opening(" in source)
    assert not any("show(" in source or "show_words(" in source for source in code[:at])
