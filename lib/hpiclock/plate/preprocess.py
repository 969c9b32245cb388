"""From a raw plane to the uint8 image that the model sees, or that people look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from PIL import Image

from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.errors import InputError
from hpiclock.plate.readers import Stack, open_stack

SAMPLE = 4  # limits of a whole stack are taken from every 4th pixel of every 4th row


def prepare_image(plane: np.ndarray, limits: tuple[float, float], image: ImageConfig) -> np.ndarray:
    """Crop, scale to uint8 and resize with antialiasing: (height, width) any dtype -> (size, size) uint8.

    Args:
        plane: one frame.
        limits: grey levels that become 0 and 255; values beyond them are clipped. Equal limits (a constant
            frame) give a black image.
        image: size and border.
    """
    low, high = limits
    grey = crop(plane, image.crop_border).astype(np.float64)  # float32 would round some levels the other way
    grey -= low
    grey /= high - low if high > low else np.inf
    grey *= 255.0
    np.clip(grey, 0.0, 255.0, out=grey)
    size = (image.size, image.size)
    return np.asarray(Image.fromarray(np.rint(grey).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR))


def crop(plane: np.ndarray, border: float) -> np.ndarray:
    """Cut the share ``border`` off each side of a plane of shape (height, width); something always stays."""
    rows, columns = (min(round(border * side), (side - 1) // 2) for side in plane.shape)
    return plane[rows : plane.shape[0] - rows, columns : plane.shape[1] - columns]


def frame_limits(plane: np.ndarray, image: ImageConfig) -> tuple[float, float]:
    """Return the grey levels of one frame (height, width), inside the border, that become 0 and 255."""
    return _limits([crop(plane, image.crop_border)], image)


def stack_limits(stack: Stack, image: ImageConfig) -> tuple[float, float]:
    """Return the grey levels of a whole stack, inside the border, that become 0 and 255.

    It is read frame by frame; percentiles come from a sample of the pixels (every 4th in each direction).
    """
    step = SAMPLE if image.intensity == "percentile" else 1
    planes = (crop(stack.frame(i), image.crop_border) for i in range(stack.facts.n_frames))
    return _limits((plane[::step, ::step] for plane in planes), image)


def _limits(planes: Iterable[np.ndarray], image: ImageConfig) -> tuple[float, float]:
    # config refuses low and high without each other, and none where they are needed
    limits = (image.low or 0.0, image.high or 0.0)
    if image.intensity == "fixed":
        return limits
    if image.intensity == "minmax":
        extremes = [(float(plane.min()), float(plane.max())) for plane in planes]
        return min(low for low, _ in extremes), max(high for _, high in extremes)
    low, high = np.percentile(np.concatenate([plane.ravel() for plane in planes]), limits)
    return float(low), float(high)


def limits_of(stack: Stack, image: ImageConfig) -> Callable[[np.ndarray], tuple[float, float]]:
    """Return the function that gives the limits of each frame of a stack, as ``image.scope`` says."""
    if image.scope == "frame":
        return lambda plane: frame_limits(plane, image)
    whole = stack_limits(stack, image)
    return lambda _: whole


def stack_images(stack: Stack, image: ImageConfig) -> np.ndarray:
    """Return every frame of a stack as the model sees it: (n_frames, size, size) uint8.

    Raises:
        InputError: a frame cannot be read, or holds a grey level that is not a number.
    """
    limits = limits_of(stack, image)
    images = np.empty((stack.facts.n_frames, image.size, image.size), np.uint8)
    for i in range(stack.facts.n_frames):
        plane = stack.frame(i)
        if plane.dtype.kind == "f" and not np.isfinite(plane).all():
            raise InputError(f"{stack.path}: frame {i} holds NaN or infinite grey levels; export it again")
        images[i] = prepare_image(plane, limits(plane), image)
    return images


def pick_frames(frames: pd.DataFrame, *, hours: list[float], stacks_per_treatment: int) -> pd.DataFrame:
    """Return frames for film strips: the first stacks of each treatment at the given hours since start.

    A treatment is a condition with an MOI; mock comes first, then MOI upwards. Of each stack the frame
    nearest to each hour is taken, once.
    """
    stacks = frames.drop_duplicates("stack_id").assign(infected=lambda rows: rows["condition"] == "infected")
    order = ["infected", "moi", "stack_id"]
    first = stacks.sort_values(order).groupby(order[:2], dropna=False).head(stacks_per_treatment)
    parts = []
    for stack_id in first["stack_id"]:
        rows = frames[frames["stack_id"] == stack_id]
        nearest = {int((rows["hours"] - hour).abs().argmin()) for hour in hours}
        parts.append(rows.iloc[sorted(nearest)])
    return pd.concat(parts, ignore_index=True)


def frame_images(rows: pd.DataFrame, data: DataConfig, image: ImageConfig, *, size: int) -> np.ndarray:
    """Return the frames of ``rows`` (``path frame``) as the model sees them, but at another size.

    Args:
        rows: the frames; the pictures stand in their order.
        data: channel and plane.
        image: border and intensity.
        size: side of the square picture, px.

    Returns:
        (n, size, size) uint8.
    """
    larger = image.model_copy(update={"size": size})
    images = np.empty((len(rows), size, size), np.uint8)
    for path, mine in rows.reset_index(drop=True).groupby("path"):
        with open_stack(path, channel=data.channel, z=data.z) as stack:
            limits = limits_of(stack, larger)
            for row in mine.itertuples():
                plane = stack.frame(row.frame)
                images[row.Index] = prepare_image(plane, limits(plane), larger)
    return images


def grey_levels(rows: pd.DataFrame, data: DataConfig, image: ImageConfig) -> pd.DataFrame:
    """Return the rows with ``mean`` and ``sd`` of the raw grey levels inside the cropped border.

    8-bit levels stay as they are. Of other kinds the darkest and the brightest level of all rows become 0
    and 255, so that frames can be compared with each other.
    """
    found = pd.DataFrame(index=rows.index, columns=["mean", "sd", "low", "high"], dtype=float)
    kinds = set()
    for path, mine in rows.groupby("path"):
        with open_stack(path, channel=data.channel, z=data.z) as stack:
            kinds.add(stack.facts.dtype)
            for index, frame in mine["frame"].items():
                plane = crop(stack.frame(int(frame)), image.crop_border)
                found.loc[index] = plane.mean(), plane.std(), plane.min(), plane.max()
    low, high = (0.0, 255.0) if kinds == {"uint8"} else (found["low"].min(), found["high"].max())
    scale = 255.0 / (high - low) if high > low else 1.0
    return rows.assign(mean=(found["mean"] - low) * scale, sd=found["sd"] * scale)
