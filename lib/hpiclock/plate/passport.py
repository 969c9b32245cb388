"""The passport of a plate: every stack opened frame by frame, and what stands out in it.

A frame's sharpness is the variance of its Laplacian (Pech-Pacheco et al., ICPR 2000) over its own variance,
so that brightness and contrast do not count; it is compared with the frames around it, because infection
changes texture slowly and a lost focus at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from hpiclock.config.schema import DataConfig, QualityConfig
from hpiclock.errors import InputError
from hpiclock.plate.readers import Stack, open_stack
from hpiclock.progress import progress

IDENTITY = ("stack_id", "path", "plate", "well", "position", "condition")
COUNTS = ("n_frames", "unreadable", "gaps", "dead", "copies", "jumps", "blurred")
COLUMNS = (*IDENTITY, "status", *COUNTS, "saturated", "brightness", "sharpness", "findings")
NEIGHBOURHOOD = 9  # frames of which the median is a frame's usual sharpness
FINDINGS = {
    "dead": "one grey level only",
    "copies": "a copy of an earlier frame",
    "jumps": "brightness jumps",
    "blurred": "out of focus against the frames around",
}
FULL_SCALE = (255, 1023, 4095, 16383, 65535)  # cameras of 8 to 16 bit


def passport(
    manifest: pd.DataFrame,
    problems: pd.DataFrame,
    data: DataConfig,
    quality: QualityConfig,
    *,
    show_progress: bool,
) -> pd.DataFrame:
    """Read every frame of every stack and say what stands out.

    Args:
        manifest: the MANIFEST of :func:`hpiclock.plate.manifest.survey.survey`.
        problems: its problems; a path with an error is a row with status ``failed``.
        data: channel and plane.
        quality: when a frame stands out.
        show_progress: show a progress bar.

    Returns:
        One row per stack: its identity; ``status`` (``ok``, ``suspect``, ``failed``); the numbers of frames
        that are ``unreadable``, ``dead`` (one grey level), ``copies`` of an earlier frame, ``blurred`` or
        where brightness ``jumps``, and of ``gaps`` in time; ``saturated``: the largest share of pixels at
        full scale in a frame; ``brightness`` and ``sharpness``: medians over frames; ``findings``: all of it
        in words.
    """
    rows: list[dict[str, Any]] = []
    digests: dict[str, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stacks = manifest.to_dict("records")
        measured = pool.map(lambda stack: _frame_measurements(str(stack["path"]), data), stacks)
        for stack, frames in progress(
            zip(stacks, measured, strict=True), desc="passport", total=len(stacks), show=show_progress
        ):
            row = _row(stack, frames, quality)
            whole = hashlib.sha256("".join(frames["digest"]).encode()).hexdigest()
            if whole in digests and row["unreadable"] == 0:
                row["findings"].append(f"the same pictures as {digests[whole]}")
            digests.setdefault(whole, str(stack["stack_id"]))
            rows.append(row)
    wrong = problems[problems["severity"].eq("error")]
    for path, same in wrong.groupby("path", sort=False):
        rows.append({"path": path, "status": "failed", "findings": list(same["problem"].drop_duplicates())})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    suspect = table["status"].isna() & table["findings"].str.len().gt(0)
    table["status"] = table["status"].mask(suspect, "suspect").fillna("ok")
    table["findings"] = table["findings"].str.join("; ")
    return table


def quarantine_rows(table: pd.DataFrame, statuses: Iterable[str]) -> pd.DataFrame:
    """Return ``path`` and ``reason`` of the stacks of these statuses, for a quarantine list to be edited."""
    rows = table[table["status"].isin(list(statuses))]
    return rows[["path"]].assign(reason=rows["findings"])


def _frame_measurements(path: str, data: DataConfig) -> pd.DataFrame:
    try:
        with open_stack(path, channel=data.channel, z=data.z) as stack:
            return pd.DataFrame([_frame(stack, index) for index in range(stack.facts.n_frames)])
    except InputError as error:  # it went away since it was surveyed
        return pd.DataFrame([_unreadable_frame(str(error))])


def _frame(stack: Stack, index: int) -> dict[str, Any]:
    try:
        image = stack.frame(index)
    except InputError as error:
        return _unreadable_frame(str(error))
    grey = np.nan_to_num(image.astype(np.float32))
    peak, variance = float(grey.max()), float(grey.var())
    edges = float(ndimage.laplace(grey, mode="nearest").var())
    return {
        "wrong": "" if np.isfinite(image).all() else "holds values that are not numbers",
        "digest": hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest(),
        "mean": float(grey.mean()),
        "sd": variance**0.5,
        "focus": edges / variance if variance > 0 else np.nan,
        "peak": peak,
        "at_peak": float((grey == peak).mean()),
    }


def _unreadable_frame(wrong: str) -> dict[str, Any]:
    return {"wrong": wrong, "digest": "", "at_peak": 0.0} | dict.fromkeys(
        ("mean", "sd", "focus", "peak"), np.nan
    )


def _row(stack: dict[str, Any], frames: pd.DataFrame, quality: QualityConfig) -> dict[str, Any]:
    alive = frames["sd"].gt(0)
    # a frame at full scale everywhere is dead, not saturated
    full = frames["peak"].max() in FULL_SCALE and str(stack["dtype"]).startswith("uint")
    at_full = frames["at_peak"].where(frames["peak"].eq(frames["peak"].max()) & alive, 0.0) * full
    wrong, gaps = np.flatnonzero(frames["wrong"].ne("")), _gaps(stack)
    found = {
        "dead": np.flatnonzero(frames["sd"].eq(0)),
        "copies": np.flatnonzero(frames["digest"].duplicated() & frames["digest"].ne("") & alive),
        "saturated": np.flatnonzero(at_full > quality.saturated),
        "jumps": _jumps(frames, quality),
        "blurred": _blurred(frames, quality),
    }
    words = FINDINGS | {"saturated": f"up to {at_full.max():.1%} of the pixels at full scale"}
    findings = [f"frame {index}: {frames['wrong'].iloc[index]}" for index in wrong[:1]]
    findings += [f"{len(wrong)} frames cannot be used"] if len(wrong) > 1 else []
    findings += [f"{length:.3g} h without a frame after frame {index}" for index, length in gaps]
    findings += [f"{_frame_numbers(at)}: {words[name]}" for name, at in found.items() if len(at)]
    return {name: stack[name] for name in IDENTITY} | {
        "status": "failed" if len(wrong) else None,
        "n_frames": len(frames),
        "unreadable": len(wrong),
        "gaps": len(gaps),
        **{name: len(at) for name, at in found.items()},
        "saturated": float(at_full.max()),
        "brightness": _median(frames["mean"]),
        "sharpness": _median(frames["focus"]),
        "findings": findings,
    }


def _median(values: pd.Series) -> float:
    return float(values.median()) if values.notna().any() else np.nan


def _jumps(frames: pd.DataFrame, quality: QualityConfig) -> np.ndarray:
    mean = frames["mean"].where(frames["sd"].gt(0))
    if mean.notna().sum() < 3:  # no change is usual yet
        return np.array([], dtype=int)
    change = mean.diff() - mean.diff().median()
    usual = 1.4826 * change.abs().median()
    least = quality.least_jump * frames["sd"].median()
    return np.flatnonzero(change.abs() > max(quality.jump * usual, least))


def _blurred(frames: pd.DataFrame, quality: QualityConfig) -> np.ndarray:
    around = frames["focus"].rolling(NEIGHBOURHOOD, center=True, min_periods=3).median()
    return np.flatnonzero(frames["focus"] < (1 - quality.focus_drop) * around)


def _gaps(stack: dict[str, Any]) -> list[tuple[int, float]]:
    text = stack.get("times_h")
    if not isinstance(text, str) or not text:
        return []
    steps = np.diff(json.loads(text))
    return [(int(i), float(steps[i])) for i in np.flatnonzero(steps > 1.5 * stack["interval_h"])]


def _frame_numbers(indices: np.ndarray) -> str:
    shown = ", ".join(str(index) for index in indices[:5])
    more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
    return f"frame{'s' if len(indices) > 1 else ''} {shown}{more}"
