"""A simulated plate on disk, as a lab would bring it: TIFF stacks, a plate map, and the truth beside them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import yaml

from hpiclock import progress as bars
from hpiclock.errors import InputError
from hpiclock.plate.designs import Design
from hpiclock.plate.simulate import WellPlan, plan_wells, well_stacks

VERSION = 3  # of the simulator: another version draws other pictures from the same seed
WORKERS = 2
MAP_NAME, TABLE_NAME, TRUTH_NAME, RECIPE_NAME = "plate.yaml", "manifest.csv", "truth.csv", "synth.json"


def synthesize(folder: Path, *, design: Design, seed: int, progress: bool, workers: int = WORKERS) -> Path:
    """Write a simulated plate into ``folder``.

    Beside the stacks stand ``truth.csv`` (see :class:`~hpiclock.plate.simulate.Stack`) and ``synth.json``
    (design and seed). A folder that already holds exactly this design and seed is used as it is. The plate
    is written beside the folder and moved there when it is complete; the same seed gives the same bytes
    whatever the number of ``workers``.

    Returns:
        The path of the plate map; of a manifest CSV where classes are imaged over different hours, which a
        plate map cannot say. Either is a ``data.source``.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    folder = Path(folder)
    recipe = json.loads(json.dumps({"version": VERSION, "seed": seed, "design": _recipe(design)}))
    source = TABLE_NAME if design.plant.infected_h or design.plant.mock_h else MAP_NAME
    if _holds(folder, recipe):
        return folder / source
    with _complete_or_nothing(folder) as partial:
        plans = plan_wells(design, seed=seed)
        stacks = _write_stacks(partial, design, plans, seed, progress, workers)
        pd.concat([truth for _, truth in stacks], ignore_index=True).to_csv(partial / TRUTH_NAME, index=False)
        if source == MAP_NAME:
            (partial / MAP_NAME).write_text(_plate_map(design, plans), encoding="utf-8")
        else:
            _table(design, stacks).to_csv(partial / TABLE_NAME, index=False)
        (partial / RECIPE_NAME).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
    return folder / source


def _recipe(design: Design) -> dict[str, Any]:
    """The design as JSON; without a pixel size it is as it was before there was one."""
    unsaid = {"microscope": {"pixel_um"}} if design.microscope.pixel_um is None else None
    return design.model_dump(mode="json", exclude=unsaid)


def _holds(folder: Path, recipe: dict[str, Any]) -> bool:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the simulated plate")
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    found = folder / RECIPE_NAME
    if found.is_file() and found.read_text(encoding="utf-8") == json.dumps(recipe, indent=1) + "\n":
        return True
    held = "another simulated plate" if found.is_file() else "other files"
    raise InputError(f"{folder}: already holds {held}; name a new or empty folder, or remove this one")


@contextmanager
def _complete_or_nothing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``folder`` and move it there when all went well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        os.replace(partial, folder)  # takes the place of an empty folder, never of a full one
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_stacks(
    folder: Path, design: Design, plans: list[WellPlan], seed: int, progress: bool, workers: int
) -> list[tuple[Path, pd.DataFrame]]:
    """Draw and write the wells side by side; threads do, because the drawing runs without the lock."""
    where = folder / "stacks" if design.masks else folder
    masks = folder / "masks"
    for made in (where, masks) if design.masks else (where,):
        made.mkdir(exist_ok=True)

    def one(plan: WellPlan) -> list[tuple[Path, pd.DataFrame]]:
        written = []
        for stack in well_stacks(design, plan, seed=seed):
            path = where / f"{stack.name}.tiff"
            _write_tiff(path, stack.pictures, design)
            if design.masks:
                _write_tiff(masks / f"{stack.name}_cpe.tiff", stack.masks.view(np.uint8) * 255, design)
            written.append((path.relative_to(folder), stack.truth))
        return written

    with ThreadPoolExecutor(workers) as pool:
        wells = pool.map(one, plans)
        bar = bars.progress(wells, desc=f"plate {design.name}", total=len(plans), show=progress, unit="well")
        return [stack for well in bar for stack in well]


def _write_tiff(path: Path, frames: np.ndarray, design: Design) -> None:
    metadata: dict[str, Any] = {"axes": "TYX", "finterval": design.interval_h * 3600.0}
    pixel_um, resolution = design.microscope.pixel_um, None
    if pixel_um is not None:
        metadata["unit"], resolution = "um", (1 / pixel_um, 1 / pixel_um)
    tifffile.imwrite(path, frames, imagej=True, metadata=metadata, resolution=resolution)


def _plate_map(design: Design, plans: list[WellPlan]) -> str:
    lines = [f"plate: {design.name}"]
    lines += ["folder: stacks"] if design.masks else []
    lines += [f"interval_h: {design.interval_h}", "wells:"]
    for plan in plans:
        well: dict[str, Any] = {"condition": plan.condition}
        if plan.moi > 0:
            well |= {"moi": plan.moi, "onset_h": float(plan.onset_h)}
        well["replicate"] = plan.well[0]
        text = yaml.safe_dump(well, default_flow_style=True, sort_keys=False, width=200)
        lines.append(f"  {plan.well}: {text.strip()}")
    return "\n".join(lines) + "\n"


def _table(design: Design, stacks: list[tuple[Path, pd.DataFrame]]) -> pd.DataFrame:
    columns = ["condition", "well", "position", "moi", "onset_h"]
    rows = [
        {"path": path.as_posix(), "plate": design.name}
        | truth.iloc[0][columns].to_dict()
        | {"interval_h": design.interval_h, "start_h": truth["hours"].iloc[0]}
        for path, truth in stacks
    ]
    return pd.DataFrame(rows)
