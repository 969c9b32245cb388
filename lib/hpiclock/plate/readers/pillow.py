"""Single images (PNG, JPEG) as stacks of one frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hpiclock.errors import InputError
from hpiclock.plate.readers import RGB, Scene, StackFacts, check_dtype

SUFFIXES = (".png", ".jpg", ".jpeg")


def scenes(path: Path) -> list[Scene]:
    """A still is one image."""
    return [Scene(str(path))]


class ImageReader:
    """A PNG or JPEG image: one frame, one grey channel or the channels red, green, blue."""

    def __init__(self, path: Path, scene: int = 0) -> None:
        del scene  # there is one
        try:
            with Image.open(path) as image:
                image.load()
                self._pixels = np.asarray(_plain(image))
        except UnidentifiedImageError:
            raise InputError(
                f"{path}: not an image, whatever its name says; take it out of the folder"
            ) from None
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's errors for damaged files
            raise InputError(f"{path}: damaged or cut short ({error}); copy it again") from None
        height, width = self._pixels.shape[:2]
        colour = self._pixels.ndim == 3
        self.facts = StackFacts(
            n_frames=1,
            height=height,
            width=width,
            dtype=check_dtype(str(path), self._pixels.dtype),
            channels=RGB if colour else ("0",),
            axes="YXC" if colour else "YX",
        )

    def plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        """Return the image, or one colour of it, shape ``(height, width)``."""
        del frame, z  # a still has one of each
        return self._pixels if self._pixels.ndim == 2 else self._pixels[:, :, channel]

    def close(self) -> None:
        """Nothing stays open."""


def _plain(image: Image.Image) -> Image.Image:
    """Turn palettes, transparency and print colours into RGB, and bilevel into grey."""
    if image.mode in ("L", "I", "F", "RGB") or image.mode.startswith("I;16"):
        return image
    return image.convert("L" if image.mode in ("1", "LA") else "RGB")
