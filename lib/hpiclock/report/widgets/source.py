"""What an explorer reads of a run: its predictions, its threshold, and single pictures."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from hpiclock.config import Config
from hpiclock.errors import InputError
from hpiclock.plate.look import frame_images
from hpiclock.report.runs import Run
from hpiclock.study.threshold import Threshold, choose_threshold
from hpiclock.tables import PREDICTIONS

KEPT = 400  # pictures kept in memory, at 320 px 40 MB
SIDE = 320  # of a picture, px


@dataclass(frozen=True)
class Source:
    """A run's predictions and config."""

    run: Run

    @classmethod
    def of(cls, run: Run | str | Path) -> Source:
        """Return the source of a run, or of the run in a folder.

        Raises:
            InputError: no run there.
        """
        return cls(run if isinstance(run, Run) else Run.open(run))

    @property
    def cfg(self) -> Config:
        """The run's config."""
        return self.run.cfg

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """PREDICTIONS of the run.

        Raises:
            InputError: the run is not finished.
        """
        return self.run.read_table("predictions.parquet", PREDICTIONS)

    @cached_property
    def threshold(self) -> Threshold:
        """The threshold that the study of this run uses."""
        return choose_threshold(self.predictions, rule=self.cfg.study.threshold)

    @cached_property
    def splits(self) -> list[str]:
        """The splits that hold frames, test first: what an explorer shows unless asked."""
        there = set(self.predictions["split"])
        return [split for split in ("test", "val", "train") if split in there]

    def of_split(self, split: str) -> pd.DataFrame:
        """Return the predictions of one split."""
        return self.predictions[self.predictions["split"].eq(split)].reset_index(drop=True)


class Pictures:
    """Frames as the model sees them, larger, read when they are asked for and kept for a while.

    ``why`` says in one line why there is no picture, and is empty while there are.
    """

    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg
        self._kept: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self.why = ""

    def of(self, rows: pd.DataFrame) -> np.ndarray | None:
        """Return the pictures of some frames of one stack: (n, side, side) uint8, or None.

        Args:
            rows: ``path frame``.
        """
        path = str(rows["path"].iloc[0])
        if not path or not Path(path).exists():
            where = Path(path).name or "they name no files"
            self.why = (
                f"No pictures, trajectories only: the stacks of these predictions are not here ({where})."
            )
            return None
        missing = rows[[(path, int(frame)) not in self._kept for frame in rows["frame"]]]
        if len(missing):
            try:
                read = frame_images(missing, self._cfg.data, self._cfg.image, size=SIDE)
            except InputError as error:
                self.why = f"No pictures, trajectories only: {error}"
                return None
            self._kept.update(
                {(path, int(frame)): image for frame, image in zip(missing["frame"], read, strict=True)}
            )
        found = np.stack([self._kept[path, int(frame)] for frame in rows["frame"]])
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self.why = ""
        return found
