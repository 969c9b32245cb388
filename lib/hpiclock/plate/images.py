"""From a raw plane to the uint8 image that the model sees."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hpiclock.config import ImageConfig
from hpiclock.plate.stacks import Stack

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
    scale = 255.0 / (high - low) if high > low else 0.0
    cropped = crop(plane, image.crop_border)
    grey = np.clip((cropped.astype(np.float32) - np.float32(low)) * np.float32(scale), 0, 255)
    size = (image.size, image.size)
    return np.asarray(Image.fromarray(np.rint(grey).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR))


def crop(plane: np.ndarray, border: float) -> np.ndarray:
    """Cut the share ``border`` off each side of a plane of shape (height, width)."""
    rows, columns = (round(border * side) for side in plane.shape)
    return plane[rows : plane.shape[0] - rows, columns : plane.shape[1] - columns]


def frame_limits(plane: np.ndarray, image: ImageConfig) -> tuple[float, float]:
    """Return the grey levels of one frame that become 0 and 255."""
    if image.low is not None and image.high is not None and image.intensity == "fixed":
        return image.low, image.high
    plane = crop(plane, image.crop_border)
    if image.intensity == "minmax":
        return float(plane.min()), float(plane.max())
    low, high = np.percentile(plane, [image.low, image.high])
    return float(low), float(high)


def stack_limits(stack: Stack, image: ImageConfig) -> tuple[float, float]:
    """Return the grey levels of a whole stack that become 0 and 255, read frame by frame.

    Percentiles come from a sample of the pixels (every 4th in each direction).
    """
    if image.intensity == "fixed":
        return frame_limits(np.zeros((1, 1)), image)
    planes = (crop(stack.frame(i), image.crop_border) for i in range(stack.facts.n_frames))
    if image.intensity == "minmax":
        extremes = [(float(plane.min()), float(plane.max())) for plane in planes]
        return min(low for low, _ in extremes), max(high for _, high in extremes)
    sample = np.concatenate([plane[::SAMPLE, ::SAMPLE].ravel() for plane in planes])
    low, high = np.percentile(sample, [image.low, image.high])
    return float(low), float(high)


def stack_images(stack: Stack, image: ImageConfig) -> np.ndarray:
    """Return every frame of a stack as the model sees it: (n_frames, size, size) uint8."""
    whole = stack_limits(stack, image) if image.scope == "stack" else None
    images = np.empty((stack.facts.n_frames, image.size, image.size), np.uint8)
    for i in range(stack.facts.n_frames):
        plane = stack.frame(i)
        images[i] = prepare_image(plane, whole or frame_limits(plane, image), image)
    return images
