"""hpiclock export: files that give the run's predictions, and a card that says what the run is."""

import json

import numpy as np
import pytest

from hpiclock.errors import InputError, RunFailed
from hpiclock.inference import export as onnx_export
from hpiclock.runs.run import Run
from hpiclock.workflows.export import export


@pytest.fixture(scope="module")
def run(quick_run):
    return quick_run({"model.backbone": "resnet10", "train.max_steps": 3})


def test_every_file_is_written_and_agrees(run, tmp_path):
    lines: list[str] = []
    folder = export(run, tmp_path / "model", say=lines.append)
    names = {"model.onnx", "model.safetensors", "model.json", "MODEL_CARD.md"}
    assert {path.name for path in folder.iterdir()} == names
    assert sum("the same as the run on 16 frames of its plate" in line for line in lines) == 2
    about = json.loads((folder / "model.json").read_text())
    assert about["image"]["size"] == 32
    card = (folder / "MODEL_CARD.md").read_text()
    for heading in ("Intended use", "Data", "Metrics on test wells", "Confound audit"):
        assert f"\n## {heading}\n" in card
    assert "Not audited" in card
    assert all(f"- {note}" in card for note in run.notes)
    with pytest.raises(InputError, match="is there and not empty"):
        export(run, folder, say=lines.append)


def test_a_file_that_says_something_else_is_not_kept(run, tmp_path, monkeypatch):
    really = onnx_export.run_onnx
    monkeypatch.setattr(
        onnx_export, "run_onnx", lambda *given: {k: v + np.float32(0.01) for k, v in really(*given).items()}
    )
    with pytest.raises(RunFailed, match=r"model\.onnx: p_infected differs from the run's by up to 0\.01"):
        export(run, tmp_path / "model", say=lambda _: None)
    assert not (tmp_path / "model").exists()


def test_a_run_that_is_not_finished(run, tmp_path):
    begun = Run.create(run.cfg, tmp_path / "run")
    with pytest.raises(InputError, match="is not finished"):
        export(begun, tmp_path / "model", say=lambda _: None)
