"""Single images (PNG, JPEG) as stacks of one frame, through Pillow."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hpiclock.errors import InputError
from hpiclock.plate.readers import RGB, Reader, Scene, StackFacts


class ImageReader(Reader):
    """A PNG or JPEG image: one frame, one grey channel or the channels red, green, blue."""

    DAMAGE = (OSError, ValueError, SyntaxError)  # Pillow's errors for damaged files

    @classmethod
    def scenes(cls, path: Path) -> list[Scene]:
        """Return the image itself."""
        return [Scene(str(path))]

    @classmethod
    def _open(cls, path: Path, opened: ExitStack) -> Image.Image:
        image = opened.enter_context(Image.open(path))
        image.load()
        return _plain(image)

    @classmethod
    def _damaged(cls, path: Path, error: Exception) -> InputError:
        if isinstance(error, UnidentifiedImageError):
            return InputError(f"{path}: not an image, whatever its name says; take it out of the folder")
        return InputError(f"{path}: damaged or cut short ({error}); copy it again")

    def _read_facts(self) -> StackFacts:
        self._pixels = np.asarray(self._file)
        sizes = dict(zip("YXC", self._pixels.shape, strict=False))
        colour = {"channels": RGB} if "C" in sizes else {}
        return self._facts(sizes, self._pixels.dtype, **colour)

    def _read_plane(self, frame: int, channel: int, z: int) -> np.ndarray:
        del frame, z  # a still has one of each
        return self._pixels if self._pixels.ndim == 2 else self._pixels[:, :, channel]


def _plain(image: Image.Image) -> Image.Image:
    """Turn palettes, transparency and print colours into RGB, and bilevel into grey."""
    if image.mode in ("L", "I", "F", "RGB") or image.mode.startswith("I;16"):
        return image
    return image.convert("L" if image.mode in ("1", "LA") else "RGB")
