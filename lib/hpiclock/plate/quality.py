"""Quality of frames and stacks: the passport of a plate, and what a shortcut could read without the cells.

For the passport every stack is opened frame by frame, to see what stands out in it. A frame's sharpness is
the variance of its Laplacian (Pech-Pacheco et al., ICPR 2000) over its own variance, so that brightness and
contrast do not count; it is compared with the frames around it, because infection changes texture slowly and
a lost focus at once.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from hpiclock.acquisition import EMPTY_FRAMES
from hpiclock.config.schema import DataConfig, QualityConfig
from hpiclock.errors import InputError
from hpiclock.plate.cache import FrameCache
from hpiclock.plate.preprocess import EMPTY, one_level
from hpiclock.plate.readers import Stack, open_stack
from hpiclock.progress import progress

IDENTITY = ("stack_id", "path", "plate", "well", "position", "condition")
COUNTS = ("n_frames", "unreadable", "gaps", "dead", "copies", "jumps", "blurred")
PASSPORT_COLUMNS = (
    *IDENTITY,
    "status",
    *COUNTS,
    "saturated",
    "brightness",
    "sharpness",
    "findings",
    EMPTY_FRAMES,
)
NEIGHBOURHOOD = 9  # frames of which the median is a frame's usual sharpness
FINDINGS = {
    "dead": "one grey level only",
    "copies": "a copy of an earlier frame",
    "jumps": "brightness jumps",
    "blurred": "out of focus against the frames around",
}
FULL_SCALE = (255, 1023, 4095, 16383, 65535)  # cameras of 8 to 16 bit

LIGHT = ("mean", "median", "tilt_x", "tilt_y", "bowl")
FOCUS = ("laplacian", "gradient", "sharpness")
CONTRAST = ("sd", "p01", "p05", "p95", "p99")
BORDER = ("border_mean", "border_sd", "border_top", "border_bottom", "border_left", "border_right")
KINDS = {"light": LIGHT, "focus": FOCUS, "contrast": CONTRAST, "border": BORDER}
FRAME_STATISTICS = [*LIGHT, *FOCUS, *CONTRAST, *BORDER]
STACK_STATISTICS = ["mean", "bowl", "sd", "asymmetry", *FOCUS, "border_mean", "border_sd"]
BORDER_SHARE = 0.06  # width of the ring called border, of the side
N_FIRST = 2  # frames of a stack
MAX_FRAMES = 2000  # of a plate; every n-th of each stack of more, and the first ones
WORKERS = 2


def passport(
    manifest: pd.DataFrame, problems: pd.DataFrame, data: DataConfig, quality: QualityConfig
) -> pd.DataFrame:
    """Read every frame of every stack and say what stands out.

    Args:
        manifest: the MANIFEST of :func:`hpiclock.plate.manifest.survey.survey`.
        problems: its problems; a path with an error is a row with status ``failed``.
        data: channel and plane.
        quality: when a frame stands out.

    Returns:
        One row per stack: its identity; ``status`` (``ok``, ``suspect``, ``failed``); the numbers of frames
        that are ``unreadable``, ``dead`` (one grey level), ``copies`` of an earlier frame, ``blurred`` or
        where brightness ``jumps``, and of ``gaps`` in time; ``saturated``: the largest share of pixels at
        full scale in a frame; ``brightness`` and ``sharpness``: medians over frames; ``findings``: all of it
        in words; ``empty_frames``: the numbers of the dead ones, which are left out of training and
        predictions.
    """
    rows: list[dict[str, Any]] = []
    digests: dict[str, str] = {}
    stacks = manifest.to_dict("records")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = pool.map(lambda stack: _frame_measurements(str(stack["path"]), data), stacks)
        pairs = zip(stacks, measured, strict=True)
        for stack, frames in progress(pairs, desc="passport", total=len(stacks)):
            row = _row(stack, frames, quality)
            whole = hashlib.sha256("".join(frames["digest"]).encode()).hexdigest()
            if whole in digests and row["unreadable"] == 0:
                row["findings"].append(f"the same pictures as {digests[whole]}")
            digests.setdefault(whole, str(stack["stack_id"]))
            rows.append(row)
    wrong = problems[problems["severity"].eq("error")]
    for path, same in wrong.groupby("path", sort=False):
        rows.append({"path": path, "status": "failed", "findings": list(same["problem"].drop_duplicates())})
    table = pd.DataFrame(rows, columns=list(PASSPORT_COLUMNS))
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
        return _unreadable_frame(str(error).removeprefix(f"{stack.path}: ").partition("; ")[0])
    grey = image.astype(np.float32)
    peak, variance = float(grey.max()), float(grey.var())
    edges = float(ndimage.laplace(grey, mode="nearest").var())
    return {
        "wrong": "",
        "digest": hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest(),
        "mean": float(grey.mean()),
        "sd": 0.0 if one_level(grey) >= EMPTY else variance**0.5,  # what stands out of it is no picture
        "focus": edges / variance if variance > 0 else np.nan,
        "peak": peak,
        "at_peak": float((grey == peak).mean()),
    }


def _unreadable_frame(wrong: str) -> dict[str, Any]:
    unknown = dict.fromkeys(("mean", "sd", "focus", "peak"), np.nan)
    return {"wrong": wrong, "digest": "", "at_peak": 0.0} | unknown


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
    findings = [str(text) for text in frames["wrong"].iloc[wrong[:1]]]
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
        "brightness": float(frames["mean"].dropna().median()),
        "sharpness": float(frames["focus"].dropna().median()),
        "findings": findings,
        EMPTY_FRAMES: json.dumps(found["dead"].tolist()),
    }


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


def image_statistics(image: np.ndarray) -> dict[str, float]:
    """Return the statistics of one frame, grey levels as they are.

    ``mean median`` and percentiles ``p01 p05 p95 p99``; ``sd``; ``tilt_x tilt_y bowl``: how much a plane and
    a paraboloid fitted to the frame rise from the middle to the edge; ``laplacian`` (SD of the Laplacian)
    and ``gradient`` (mean size of the gradient), both over ``sd``, and ``sharpness``, the ratio of the two;
    ``border_...``: mean of the ring and of its four sides less the mean of the middle, and the ring's SD
    over that of the middle.

    Args:
        image: (height, width), any dtype, at least 8 px on each side.
    """
    grey = image.astype(np.float32)
    sd = float(grey.std())
    scale = sd if sd > 0 else 1.0
    low = np.percentile(grey, [1, 5, 50, 95, 99])
    curve = ndimage.laplace(grey, mode="nearest").std() / scale
    slope = np.hypot(np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1]).mean() / scale
    tilt_x, tilt_y, bowl = _shading(grey)
    return {
        "mean": float(grey.mean()),
        "median": float(low[2]),
        "tilt_x": tilt_x,
        "tilt_y": tilt_y,
        "bowl": bowl,
        "laplacian": float(curve),
        "gradient": float(slope),
        "sharpness": float(curve / slope) if slope > 0 else 0.0,
        "sd": sd,
        **dict(zip(("p01", "p05", "p95", "p99"), (low[[0, 1, 3, 4]] - low[2]).tolist(), strict=True)),
        **_border(grey),
    }


def frame_statistics(frames: pd.DataFrame, data: DataConfig) -> pd.DataFrame:
    """Return ``stack_id frame`` and :data:`FRAME_STATISTICS` of raw frames, as the microscope wrote them.

    Args:
        frames: rows with ``stack_id path frame``.
        data: channel and plane.

    Raises:
        InputError: a stack that cannot be read.
    """
    groups = list(frames.groupby("path", sort=False))

    def of_stack(item: tuple[Any, pd.DataFrame]) -> pd.DataFrame:
        path, mine = item
        with open_stack(str(path), channel=data.channel, z=data.z) as stack:
            rows = [image_statistics(stack.frame(int(frame))) for frame in mine["frame"]]
        return pd.DataFrame(rows, index=mine.index, columns=FRAME_STATISTICS)

    with ThreadPoolExecutor(WORKERS) as pool:
        done = pool.map(of_stack, groups)
        parts = list(progress(done, desc="frame statistics", total=len(groups), leave=False))
    found = pd.concat(parts).reindex(frames.index)
    return pd.concat([frames[["stack_id", "frame"]], found], axis=1).reset_index(drop=True)


def cached_statistics(cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
    """Return ``stack_id frame`` and :data:`FRAME_STATISTICS` of the frames as the model sees them."""
    rows = cache.rows(frames)
    found = pd.DataFrame([image_statistics(cache.images[row]) for row in rows], columns=FRAME_STATISTICS)
    return pd.concat([frames[["stack_id", "frame"]].reset_index(drop=True), found], axis=1)


def stack_statistics(cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
    """Return ``stack_id plate well`` and, of each of :data:`STACK_STATISTICS`, its median over frames.

    ``..._start`` is the median over its first frames, in which an infection shows little: there plates of one
    microscope differ least. ``asymmetry`` is by how much bright grey levels reach farther from the median
    than dark ones (99% and 1%), as a share of both: it changes its sign where bright and dark are exchanged.
    The others are those of :func:`image_statistics`.

    Args:
        cache: the frames' pixels.
        frames: FRAMES rows, of each stack in the order of time.
    """
    number = frames.groupby("stack_id").cumcount()
    early, thinned = number.lt(N_FIRST), number % max(-(-len(frames) // MAX_FRAMES), 1) == 0
    rows = frames[early | thinned]
    found = cached_statistics(cache, rows).set_index(rows.index)
    reach = found["p99"] - found["p01"]  # both are counted from the median
    found["asymmetry"] = ((found["p99"] + found["p01"]) / reach).where(reach.gt(0), 0.0)
    of_stacks = [found[chosen[rows.index]].groupby("stack_id") for chosen in (thinned, early)]
    whole, start = (stacks[STACK_STATISTICS].median() for stacks in of_stacks)
    places = rows.groupby("stack_id", sort=False)[["plate", "well"]].first()
    return places.join(whole).join(start.add_suffix("_start")).reset_index()


def _shading(grey: np.ndarray) -> tuple[float, float, float]:
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in grey.shape)
    across, down = grey.mean(0), grey.mean(1)
    # the three shapes are orthogonal on the grid, so each coefficient stands alone
    tilt_x = float((across * x).mean() / (x**2).mean())
    tilt_y = float((down * y).mean() / (y**2).mean())
    xx, yy = x**2 - (x**2).mean(), y**2 - (y**2).mean()
    bowl = float(((across * xx).mean() + (down * yy).mean()) / ((xx**2).mean() + (yy**2).mean()))
    return tilt_x, tilt_y, bowl


def _border(grey: np.ndarray) -> dict[str, float]:
    rows, columns = (max(2, round(BORDER_SHARE * side)) for side in grey.shape)
    middle = grey[rows:-rows, columns:-columns]
    ring = np.ones(grey.shape, bool)
    ring[rows:-rows, columns:-columns] = False
    centre, spread = float(middle.mean()), float(middle.std())
    sides = {"mean": grey[ring], "top": grey[:rows], "bottom": grey[-rows:]}
    sides |= {"left": grey[:, :columns], "right": grey[:, -columns:]}
    found = {f"border_{name}": float(part.mean()) - centre for name, part in sides.items()}
    return found | {"border_sd": float(grey[ring].std()) / (spread if spread > 0 else 1.0)}
