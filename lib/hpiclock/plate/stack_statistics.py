"""Plain statistics of frames and stacks: what a shortcut could read without looking at a cell."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from hpiclock.config.schema import DataConfig
from hpiclock.plate.cache import FrameCache
from hpiclock.plate.readers import open_stack
from hpiclock.progress import progress

LIGHT = ("mean", "median", "tilt_x", "tilt_y", "bowl")
FOCUS = ("laplacian", "gradient", "sharpness")
CONTRAST = ("sd", "p01", "p05", "p95", "p99")
BORDER = ("border_mean", "border_sd", "border_top", "border_bottom", "border_left", "border_right")
KINDS = {"light": LIGHT, "focus": FOCUS, "contrast": CONTRAST, "border": BORDER}
COLUMNS = (*LIGHT, *FOCUS, *CONTRAST, *BORDER)
STACK_COLUMNS = ("mean", "bowl", "sd", "asymmetry", *FOCUS, "border_mean", "border_sd")
BORDER_SHARE = 0.06  # width of the ring called border, of the side
N_FIRST = 2  # frames of a stack
MAX_FRAMES = 2000  # of a plate; every n-th of each stack of more, and the first ones
WORKERS = 2


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


def frame_statistics(frames: pd.DataFrame, data: DataConfig, *, progress_bar: bool = True) -> pd.DataFrame:
    """Return ``stack_id frame`` and :data:`COLUMNS` of raw frames, as the microscope wrote them.

    Args:
        frames: rows with ``stack_id path frame``.
        data: channel and plane.
        progress_bar: show one.

    Raises:
        InputError: a stack that cannot be read.
    """
    groups = list(frames.groupby("path", sort=False))

    def of_stack(item: tuple[Any, pd.DataFrame]) -> pd.DataFrame:
        path, mine = item
        with open_stack(str(path), channel=data.channel, z=data.z) as stack:
            rows = [image_statistics(stack.frame(int(frame))) for frame in mine["frame"]]
        return pd.DataFrame(rows, index=mine.index, columns=list(COLUMNS))

    with ThreadPoolExecutor(WORKERS) as pool:
        done = pool.map(of_stack, groups)
        parts = list(
            progress(done, desc="frame statistics", total=len(groups), leave=False, show=progress_bar)
        )
    found = pd.concat(parts).reindex(frames.index)
    return pd.concat([frames[["stack_id", "frame"]], found], axis=1).reset_index(drop=True)


def cached_statistics(cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
    """Return ``stack_id frame`` and :data:`COLUMNS` of the frames as the model sees them."""
    rows = cache.rows(frames)
    found = pd.DataFrame([image_statistics(cache.images[row]) for row in rows], columns=list(COLUMNS))
    return pd.concat([frames[["stack_id", "frame"]].reset_index(drop=True), found], axis=1)


def stack_statistics(cache: FrameCache, frames: pd.DataFrame) -> pd.DataFrame:
    """Return ``stack_id plate well`` and, of each of :data:`STACK_COLUMNS`, its median over frames.

    ``..._start`` is the median over its first frames, in which an infection shows little: there plates of one
    microscope differ least. ``asymmetry`` is by how much bright grey levels reach farther from the median
    than dark ones (99% and 1%), as a share of both: it changes its sign where bright and dark are exchanged.
    The others are those of :func:`hpiclock.plate.stack_statistics.image_statistics`.

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
    whole, start = (_medians(found[chosen[rows.index]]) for chosen in (thinned, early))
    places = rows.groupby("stack_id", sort=False)[["plate", "well"]].first()
    return places.join(whole).join(start.add_suffix("_start")).reset_index()


def border_width(side: int) -> int:
    """Return how many pixels of a side are border, at least 2."""
    return max(2, round(BORDER_SHARE * side))


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
    rows, columns = border_width(grey.shape[0]), border_width(grey.shape[1])
    middle = grey[rows:-rows, columns:-columns]
    ring = np.ones(grey.shape, bool)
    ring[rows:-rows, columns:-columns] = False
    centre, spread = float(middle.mean()), float(middle.std())
    sides = {
        "mean": grey[ring],
        "top": grey[:rows],
        "bottom": grey[-rows:],
        "left": grey[:, :columns],
        "right": grey[:, -columns:],
    }
    found = {f"border_{name}": float(part.mean()) - centre for name, part in sides.items()}
    return found | {"border_sd": float(grey[ring].std()) / (spread if spread > 0 else 1.0)}


def _medians(found: pd.DataFrame) -> pd.DataFrame:
    return found.groupby("stack_id")[list(STACK_COLUMNS)].median()
