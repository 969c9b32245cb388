"""What all explorers share: a run's data, controls, one picture changed in place, a sentence under it."""

from __future__ import annotations

import base64
import html
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import ipywidgets as ipw
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from traitlets import TraitError

from hpiclock.analysis.detection import Threshold, choose_threshold
from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.figures.live import SCREEN_DPI, Drawing, Words
from hpiclock.figures.style import alt_text
from hpiclock.plate.preprocess import frame_images
from hpiclock.report.show import png
from hpiclock.runs.run import Run
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


S = TypeVar("S")
PNG = "image/png"


class Explorer(ABC, Generic[S]):
    """Controls above one picture. Put it on the last line of a cell.

    A subclass names its controls after the fields of its selection, a frozen dataclass, and says what
    follows from a moved control and what is drawn. In a browser the picture is replaced and never the
    element that holds it; where there is no browser, as in an executed report, the figure is shown.
    """

    def __init__(
        self, kind: type[S], controls: Mapping[str, Any], *, size_px: tuple[int, int], beside: Any = None
    ) -> None:
        """Put the parts together; the subclass calls :meth:`start` when it is ready to draw.

        Args:
            kind: the class of the selection.
            controls: a widget with ``value`` for each field of it, those that others depend on first.
            size_px: width and height of the picture on screen.
            beside: a widget to the left of the picture.
        """
        self._kind = kind
        self.controls = dict(controls)
        self._size_px = size_px
        width, height = (f"{side}px" for side in size_px)
        self.image = ipw.Image(format="png", width=size_px[0], height=size_px[1])
        # the size is there before the picture: nothing jumps when it comes
        self.image.layout = ipw.Layout(
            width=width, height=height, max_width="100%", object_fit="contain", flex="0 1 auto", margin="0"
        )
        self.words = ipw.HTML(layout=ipw.Layout(min_height="3.2em", max_width="860px", margin="0"))
        self.bar = ipw.Box(
            self.shown_controls(),
            layout=ipw.Layout(display="flex", flex_flow="row wrap", align_items="center"),
        )
        pictured = ipw.Box(
            [*([beside] if beside is not None else []), self.image],
            layout=ipw.Layout(display="flex", flex_flow="row wrap", align_items="flex-start"),
        )
        self.box = ipw.VBox([self.bar, pictured, self.words])
        self.box.add_class("hpiclock-explorer")
        self._quiet = False
        self._names = {control: name for name, control in self.controls.items()}

    def start(self) -> None:
        """Draw for the first time, and from now on whenever a control moves."""
        for control in self.controls.values():
            control.observe(self._moved, names="value")
        self._refresh()

    @property
    def selection(self) -> S:
        """What is shown. Set it to move the controls.

        Raises:
            InputError: when set to something that a control cannot take; nothing moves then.
        """
        return self._kind(**{name: control.value for name, control in self.controls.items()})

    @selection.setter
    def selection(self, wanted: S) -> None:
        before = self.selection
        try:
            self._set(wanted)
        except InputError:
            self._set(before)
            raise
        self._refresh()

    def shown_controls(self) -> list[Any]:
        """Return the widgets above the picture, by default the controls in their order."""
        return list(self.controls.values())

    def follow(self, name: str) -> None:
        """Bring the controls that depend on ``name`` into line with it: by default there are none."""

    @abstractmethod
    def draw(self, selection: S) -> tuple[Drawing, str]:
        """Return the drawing as it is to be seen, and a sentence for below it.

        Raises:
            InputError: nothing can be drawn; the line is shown in its place.
        """

    def figure(self) -> Figure:
        """Return the figure that stands for the explorer where nobody can move it."""
        return self._drawn()[0].figure

    def _set(self, wanted: S) -> None:
        with self._silently():
            for field in fields(wanted):  # type: ignore[arg-type]
                self._set_one(field.name, getattr(wanted, field.name))
                self.follow(field.name)

    def _set_one(self, name: str, value: Any) -> None:
        control = self.controls[name]
        try:
            control.value = value
        except TraitError:
            raise InputError(_refusal(name, value, control)) from None
        if control.value != value:  # a slider goes to its end
            raise InputError(_refusal(name, value, control))

    def _moved(self, change: Any) -> None:
        if self._quiet:
            return
        with self._silently():
            self.follow(self._names[change["owner"]])
        self._refresh()

    def _refresh(self) -> None:
        drawing, sentence = self._drawn()
        self.image.value = drawing.png()
        self.words.value = f'<p role="status">{html.escape(sentence)}</p>'

    def _drawn(self) -> tuple[Drawing, str]:
        try:
            return self.draw(self.selection)
        except InputError as error:
            return Words(str(error), self._size_px), str(error)

    @contextmanager
    def _silently(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = self.box._repr_mimebundle_() or {}
        figure = self.figure()
        about = {"alt": alt_text(figure), "width": round(figure.get_figwidth() * SCREEN_DPI)}
        picture = base64.b64encode(png(figure)).decode("ascii")
        return {**bundle, "text/plain": str(self.selection), PNG: picture}, {PNG: about}


def choice(name: str, options: Any, *, width: int, label: int = 45) -> Any:
    """Return a list to choose from: ``width`` px in all, of which its name takes ``label``."""
    return ipw.Dropdown(
        options=options,
        description=name,
        layout=ipw.Layout(width=f"{width}px"),
        style={"description_width": f"{label}px"},
    )


def _refusal(name: str, value: Any, control: Any) -> str:
    if hasattr(control, "options"):
        there = [str(option) for _, option in control._options_full]
        more = f" and {len(there) - 8} more" if len(there) > 8 else ""
        return f"selection: {name} {value!r} is not there; there are {', '.join(there[:8])}{more}"
    return f"selection: {name} {value!r} lies outside {control.min:g} to {control.max:g}"
