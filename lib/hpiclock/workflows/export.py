"""Export of a trained run, verified before it is kept: ONNX, safetensors with a config, a model card."""

from pathlib import Path
from typing import Any

import numpy as np

from hpiclock.errors import InputError, RunFailed
from hpiclock.files import atomic, check_output_folder, make_folder, remove_content
from hpiclock.report.methods import model_card
from hpiclock.runs.results import read_study_tables
from hpiclock.runs.run import Run, Say, plain
from hpiclock.tables import FRAMES
from hpiclock.workflows.identity import check_what_was_learnt, training_cache
from hpiclock.workflows.predict import trained_model

CARD = "MODEL_CARD.md"
AGREE = {"p_infected": 1e-4, "hours": 1e-2}  # largest difference between the run and an exported file
VERIFIED_FRAMES = 16  # of the training plate on which they are compared


def export(run: Run, folder: Path, *, say: Say) -> Path:
    """Write a finished run's model as ONNX and as safetensors with a config, and its model card.

    Both files predict the same frames as the run's model; they are kept only if all agree.

    Args:
        run: a finished run.
        folder: a new or empty folder.
        say: takes a line per file.

    Raises:
        InputError: a run that is not finished, or whose labels changed since, a folder with files in it, or
            the extra is missing.
        RunFailed: an exported file gives other predictions.
    """
    from hpiclock.inference import export as formats

    run.refuse_unfinished()
    folder = Path(folder)
    check_output_folder(folder)
    check_what_was_learnt([run], say=say)
    there = folder.is_dir()
    model = trained_model(run).float().cpu()
    grey, whose = _frames(run)
    expected = formats.model_outputs(model, grey)
    make_folder(folder)
    try:
        formats.write_onnx(model, run.cfg.image.size, folder / formats.ONNX)
        formats.write_safetensors(model, _config(run), folder)
        from_onnx = formats.run_onnx(folder / formats.ONNX, grey)
        from_weights = formats.model_outputs(formats.read_safetensors(folder), grey)
        found = {formats.ONNX: from_onnx, formats.WEIGHTS: from_weights}
        apart = {name: _apart(expected, outputs, name) for name, outputs in found.items()}
    except BaseException:
        remove_content(folder, and_itself=not there)
        raise
    for name, difference in apart.items():
        numbers = ", ".join(f"{key} {value:.1e}" for key, value in difference.items())
        say(f"{folder / name}: the same as the run on {len(grey)} {whose} (largest differences: {numbers})")
    with atomic(folder / CARD) as partial:
        partial.write_text(model_card(run), encoding="utf-8")
    prepared = folder / formats.CONFIG
    say(f"{prepared}: how frames are prepared; {folder / CARD}: what the model may be used for")
    return folder


def _frames(run: Run) -> tuple[np.ndarray, str]:
    """Return inputs to compare on, (n, n_frames, size, size): of the training plate, or noise without it."""
    image = run.cfg.image
    try:
        cache = training_cache(run)
    except InputError:  # the run was moved without its plate, or it is another one by now
        shape = (VERIFIED_FRAMES, len(image.context_h), image.size, image.size)
        return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8), "random images"
    frames = run.read_table("frames.parquet", FRAMES)
    some = frames.iloc[:: max(len(frames) // VERIFIED_FRAMES, 1)][:VERIFIED_FRAMES]
    return np.asarray(cache.images)[cache.context_rows(some)], "frames of its plate"


def _apart(expected: dict[str, np.ndarray], found: dict[str, np.ndarray], name: str) -> dict[str, float]:
    apart = {key: float(np.abs(expected[key] - found[key]).max()) for key in expected}
    wrong = [key for key, value in apart.items() if not value <= AGREE[key]]
    if wrong:
        raise RunFailed(f"{name}: {wrong[0]} differs from the run's by up to {apart[wrong[0]]:.3g}; not kept")
    return apart


def _config(run: Run) -> dict[str, Any]:
    tables = read_study_tables(run.folder)
    temperature = tables["temperature"]["temperature"]
    return plain(
        {
            "made_from": run.name,
            "model": run.cfg.model.model_dump(mode="json") | {"weights": "none"},
            "image": run.cfg.image.model_dump(mode="json"),
            "channel": run.cfg.data.channel,
            "z": run.cfg.data.z,
            "input": "grey levels 0-255 after `image`, float32, (batch, frames of context_h, size, size)",
            "answers": {"p_infected": "P(infected)", "hours": "hours on the clock of the called class"},
            "clock": run.cfg.targets.clock,
            "threshold": float(tables["threshold"]["value"].iloc[0]),
            "temperature": float(temperature.iloc[0]) if len(temperature) else None,
        }
    )
