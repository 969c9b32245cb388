"""Single frames to look at, and plain statistics of raw frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hpiclock.config import DataConfig, ImageConfig
from hpiclock.plate.images import crop, limits_of, prepare_image
from hpiclock.plate.stacks import open_stack


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
