"""Export of a trained run, verified before it is kept: ONNX, safetensors with a config, a model card."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hpiclock.errors import InputError, RunFailed
from hpiclock.files import atomic, make_folder
from hpiclock.plate.cache import open_cache
from hpiclock.report.model_card import model_card
from hpiclock.report.references import BEST
from hpiclock.report.runs import Run, plain
from hpiclock.report.studies import read_study
from hpiclock.tables import MANIFEST

CARD = "MODEL_CARD.md"
AGREE = {"p_infected": 1e-4, "hours": 1e-2}  # largest difference between the run and an exported file
FRAMES = 16  # of the training plate on which they are compared


def export(run: Run, folder: Path, *, say: Callable[[str], None]) -> Path:
    """Write a finished run's model as ONNX and as safetensors with a config, and its model card.

    Both files are asked about the same frames as the run's model; they are kept only if all agree.

    Args:
        run: a finished run.
        folder: a new or empty folder.
        say: takes a line per file.

    Raises:
        InputError: a run that is not finished, a folder with files in it, or the extra is missing.
        RunFailed: an exported file gives other predictions.
    """
    from hpiclock.clock.asking import open_machine
    from hpiclock.clock.exporting import (
        CONFIG,
        ONNX,
        WEIGHTS,
        answers,
        ask_onnx,
        read_safetensors,
        write_onnx,
        write_safetensors,
    )  # fmt: skip

    if run.state != "done":
        raise InputError(f"{run.folder}: is not finished (state: {run.state}); hpiclock train --resume it")
    folder = Path(folder)
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there and not empty; name a new folder")
    model = open_machine(run.cfg, run.path(*BEST)).model.float().cpu()
    grey, whose = _frames(run)
    expected = answers(model, grey)
    make_folder(folder)
    try:
        write_onnx(model, run.cfg.image.size, folder / ONNX)
        write_safetensors(model, _config(run), folder)
        apart = {
            ONNX: _apart(expected, ask_onnx(folder / ONNX, grey), ONNX),
            WEIGHTS: _apart(expected, answers(read_safetensors(folder), grey), WEIGHTS),
        }
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for name, difference in apart.items():
        numbers = ", ".join(f"{key} {value:.1e}" for key, value in difference.items())
        say(f"{folder / name}: the same as the run on {len(grey)} {whose} (largest differences: {numbers})")
    with atomic(folder / CARD) as partial:
        partial.write_text(model_card(run), encoding="utf-8")
    say(f"{folder / CONFIG}: how frames are prepared; {folder / CARD}: what the model may be used for")
    return folder


def _frames(run: Run) -> tuple[np.ndarray, str]:
    """Return frames to compare answers on, (n, size, size): of the training plate, or noise without it."""
    size = run.cfg.image.size
    try:
        images = open_cache(run.read_table("manifest.csv", MANIFEST), run.cfg.data, run.cfg.image).images
    except InputError:  # the run was moved without its plate
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (FRAMES, size, size)).astype(np.uint8), "random images"
    return np.asarray(images[:: max(len(images) // FRAMES, 1)][:FRAMES]), "frames of its plate"


def _apart(expected: dict[str, np.ndarray], said: dict[str, np.ndarray], name: str) -> dict[str, float]:
    apart = {key: float(np.abs(expected[key] - said[key]).max()) for key in expected}
    wrong = [key for key, value in apart.items() if not value <= AGREE[key]]
    if wrong:
        raise RunFailed(f"{name}: {wrong[0]} differs from the run's by up to {apart[wrong[0]]:.3g}; not kept")
    return apart


def _config(run: Run) -> dict[str, Any]:
    tables = read_study(run.folder)
    temperature = tables["temperature"]["temperature"]
    said: dict[str, Any] = plain(
        {
            "made_from": run.name,
            "model": run.cfg.model.model_dump(mode="json") | {"weights": "none"},
            "image": run.cfg.image.model_dump(mode="json"),
            "channel": run.cfg.data.channel,
            "z": run.cfg.data.z,
            "input": "grey levels 0-255 after `image`, float32, (batch, 1, size, size)",
            "answers": {"p_infected": "P(infected)", "hours": "hours on the clock of the called class"},
            "clock": run.cfg.targets.clock,
            "threshold": float(tables["threshold"]["value"].iloc[0]),
            "temperature": float(temperature.iloc[0]) if len(temperature) else None,
        }
    )
    return said
