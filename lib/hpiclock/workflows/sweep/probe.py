"""Sweeps in frozen mode: features once, linear heads for every point. A probe, and named one."""

from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpiclock.analysis.linear_probe import linear_probe, principal_components
from hpiclock.config.load import load_config
from hpiclock.config.schema import Config
from hpiclock.config.sweep import Sweep
from hpiclock.errors import InputError
from hpiclock.plate.cache import open_cache
from hpiclock.plate.frames import Plate, leave_out_empty, prepare_frames, select_frames
from hpiclock.plate.timeline import expand_frames
from hpiclock.progress import progress
from hpiclock.runs.run import Run, Say
from hpiclock.targets import add_targets

PROBE = (
    "This is a probe: linear heads on features that do not change. It shows what the choice of hours and "
    "controls does; a trained model can be better, and can learn other shortcuts."
)


def fit_probes(plan: Sweep, *, say: Say) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Fit heads for every run of a sweep on features that are computed once.

    Returns:
        Run -> its PREDICTIONS, and of the others run -> why it failed.

    Raises:
        InputError: a trained run whose split is not that of the sweep, weights that cannot be had.
    """
    made: dict[str, pd.DataFrame] = {}
    messages: dict[str, str] = {}
    by_data: dict[str, list[str]] = {}
    for name, cfg in plan.configs.items():
        # every key that decides the frames, their splits and their features, but the hours in use
        key = _feature_key(plan, cfg) + cfg.model_dump_json(include={"targets", "split"})
        by_data.setdefault(key, []).append(name)
    with progress(desc=f"{plan.file.name} (probe)", total=len(plan.configs), unit="point") as bar:
        features: dict[str, pd.DataFrame] = {}
        for names in by_data.values():
            dataset, seen = _seen(plan, plan.configs[names[0]], features)
            frames = dataset.frames.assign(place=np.arange(len(dataset.frames)))
            z = principal_components(dataset.frames, seen)
            for name in names:
                cfg = plan.configs[name]
                try:
                    chosen = select_frames(frames, cfg.frames)
                    z_chosen = z[chosen["place"].to_numpy()]
                    made[name] = linear_probe(chosen.drop(columns="place"), z_chosen, run=name, seed=cfg.seed)
                except InputError as error:
                    messages[name] = str(error)
                    say(f"{name} failed: {error}")
                bar.update()
    return made, messages


def _feature_key(plan: Sweep, cfg: Config) -> str:
    """Every config key that the features of all frames depend on."""
    parts: dict[str, Any] = {"data": True, "image": True, "train": {"precision", "device"}}
    assert plan.file.frozen is not None
    if not plan.file.frozen.run:  # a trained run brings its own network
        parts["model"] = {"backbone", "weights", "in_channels", "subtract_mean", "average_turns"}
        parts |= {"seed": True} if cfg.model.weights == "none" else {}  # else no weight is drawn
    return cfg.model_dump_json(include=parts)


def _seen(plan: Sweep, cfg: Config, kept: dict[str, pd.DataFrame]) -> tuple[Plate, pd.DataFrame]:
    """Return the plate of a split with frames of all hours, and the features of every frame."""
    all_hours = load_config(plan.base, plan.file.set).frames
    every = cfg.model_copy(update={"frames": all_hours})
    dataset = prepare_frames(every)
    dataset = leave_out_empty(dataset, open_cache(dataset.manifest, cfg.data, cfg.image), every)
    key = _feature_key(plan, cfg)
    if key not in kept:
        kept[key] = _features(plan, cfg, dataset)
    return dataset, kept[key]


def _features(plan: Sweep, cfg: Config, dataset: Plate) -> pd.DataFrame:
    from hpiclock.inference.predict import embed, load_model
    from hpiclock.training.device import place_model
    from hpiclock.training.model import build_model

    assert plan.file.frozen is not None
    every = add_targets(expand_frames(dataset.manifest), cfg.targets)
    source = cfg
    if plan.file.frozen.run:
        run = Run.open(plan.path.parent / plan.file.frozen.run)
        _refuse_seen_wells(plan, run)
        source = run.cfg
        model = load_model(source.model_copy(update={"train": cfg.train}), run.path("checkpoints", "best.pt"))
    else:
        model = place_model(
            build_model(cfg.model, n_frames=len(cfg.image.context_h), seed=cfg.seed, size=cfg.image.size),
            cfg.train,
        )
    cache = open_cache(dataset.manifest, source.data, source.image)
    return embed(model, cache, every, folder=Path(cfg.data.cache_dir))


def _refuse_seen_wells(plan: Sweep, run: Run) -> None:
    """A trained backbone has seen its training wells: they may not be tested."""
    for name, cfg in plan.configs.items():
        wrong = [key for key in ("split", "data.source") if attrgetter(key)(run.cfg) != attrgetter(key)(cfg)]
        if wrong:
            keys = " and ".join(wrong)
            raise InputError(
                f"{plan.path}: frozen.run: {run.name} was trained with another {keys} than {name} has; its "
                "features know its training wells, so keep its split, or leave frozen.run empty"
            )
