"""The peer: a Dataset as most labs write it, which opens a TIFF for every frame asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import tifffile
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import transforms as T


class PerItem(Dataset):
    """Frames one by one: ``(image (3, size, size), label, hours)``.

    Args:
        frames: ``path frame label time_target``.
        size: side of the images that come out.
        train: flip and turn by up to 15 degrees.
    """

    def __init__(self, frames: pd.DataFrame, *, size: int, train: bool) -> None:
        self.rows = list(
            zip(frames["path"], frames["frame"], frames["label"], frames["time_target"], strict=True)
        )
        turns = [T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.RandomRotation(15)] if train else []
        normal = T.Normalize([0.5] * 3, [0.25] * 3)
        self.change = T.Compose([T.Resize((size, size)), *turns, T.ToTensor(), normal])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, float]:
        path, frame, label, hours = self.rows[index]
        plane = tifffile.imread(path, key=int(frame)).astype(np.float64)
        low, high = plane.min(), plane.max()
        grey = np.rint((plane - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
        image = Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))
        return self.change(image), int(label), float(hours)
