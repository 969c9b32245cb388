"""What of an experiment was changed by hand: a model, losses or frames that the config does not make."""

import hashlib
import json
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

import pandas as pd
import torch
from torch import nn

from hpiclock.config.schema import Config
from hpiclock.plate.frames import Plate, split_frames
from hpiclock.plate.splits import split_wells
from hpiclock.plate.timeline import expand_frames
from hpiclock.targets import add_targets
from hpiclock.training.losses import Losses
from hpiclock.training.model import build_model


def changed_by_hand(
    cfg: Config, model: nn.Module, losses: nn.Module, frames: pd.DataFrame, plate: Plate, *, weights: bool
) -> dict[str, str]:
    """Return a digest of each part that is not as the config makes it, by its name; none if all are.

    Args:
        cfg: the experiment.
        model: the one that is trained.
        losses: what is minimised.
        frames: FRAMES with their targets and splits.
        plate: from :func:`hpiclock.plate.frames.open_plate`.
        weights: compare the weights, too: those of a model that has not been trained yet.
    """
    manifest = plate.manifest
    every = add_targets(expand_frames(manifest), cfg.targets)
    with torch.random.fork_rng(devices=[]):
        own = build_model(cfg.model, n_frames=len(cfg.image.context_h), seed=cfg.seed, pretrained=weights)
    configured = split_frames(every, split_wells(manifest, cfg.split), cfg)
    pairs = {
        "the model": (structure(model), structure(own)),
        "the losses": (structure(losses), structure(Losses(cfg.objective, cfg.model))),
        "the frames": (_frames_digest(frames), _frames_digest(configured)),
    }
    changed = {part: mine for part, (mine, configs) in pairs.items() if mine != configs}
    if weights and "the model" not in changed:
        states = model.state_dict()
        if not all(torch.equal(states[name].cpu(), value) for name, value in own.state_dict().items()):
            changed["the weights"] = "not those of the seed"
    return changed


def structure(module: nn.Module) -> str:
    """Return a digest of how a module is built: its layers, their settings and shapes, what is trained.

    Two modules that are built in the same way have the same digest, whatever their weights.
    """
    layers = [(name, _type_name(part), _settings(part)) for name, part in module.named_modules()]
    shapes = [
        (name, list(part.shape), str(part.dtype), part.requires_grad)
        for parts in (module.named_parameters(), module.named_buffers())
        for name, part in parts
    ]
    return _digest(json.dumps([layers, shapes], sort_keys=True).encode())


def _settings(part: nn.Module) -> dict[str, Any]:
    """Return the settings of one layer: public attributes, its own ``forward``, and how many hooks it has."""
    public = {name: value for name, value in vars(part).items() if not name.startswith("_")}
    own = {name: _plain(public[name]) for name in public.keys() - {"training", "precision"}}
    return own | {"hooks": len(part._forward_hooks) + len(part._forward_pre_hooks)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = getattr(value, "__func__", value)  # of a method
    if isinstance(value, FunctionType):  # two lambdas have one name: what they compute tells them apart
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        kept = [part for part in (*cells, *(value.__defaults__ or ())) if not callable(part)]
        return [value.__qualname__, _plain(value.__code__), _plain(kept)]
    if isinstance(value, CodeType):
        return [value.co_code.hex(), value.co_names, _plain(value.co_consts)]
    return getattr(value, "__qualname__", _type_name(value))  # an address would differ from one to the next


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _frames_digest(frames: pd.DataFrame) -> str:
    columns = frames[["stack_id", "frame", "label", "clock", "time_target", "split"]]
    return _digest(pd.util.hash_pandas_object(columns, index=False).to_numpy().tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
