"""Explorers to use by hand in JupyterLab: a run's data, controls, one picture changed in place, a sentence.

In an executed report an explorer shows a figure. ``explorer.selection`` says what is shown, and setting it
moves the controls.
"""

import base64
import html
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
from hpiclock.figures.live import Drawing, empty_drawing
from hpiclock.figures.style import SCREEN_DPI, alt_text, screen_width
from hpiclock.plate.preprocess import frame_images
from hpiclock.report.text import png
from hpiclock.runs.run import Run
from hpiclock.tables import PREDICTIONS

KEPT = 400  # pictures kept in memory, at 320 px 40 MB
SIDE = 320  # of a picture, px
AXES = {"hours since start": "hours", "hpi": "hpi"}


class Source:
    """A finished run, or the run in a folder: its config, predictions and threshold.

    Raises:
        InputError: no run there.
    """

    def __init__(self, run: Run | str | Path) -> None:
        self.run = run if isinstance(run, Run) else Run.open(run)
        self.cfg: Config = self.run.cfg

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
        """The splits that hold frames, test first: what an explorer shows at first."""
        there = set(self.predictions["split"])
        return [split for split in ("test", "val", "train") if split in there]

    def of_split(self, split: str) -> pd.DataFrame:
        """Return the predictions of one split."""
        return self.predictions[self.predictions["split"].eq(split)].reset_index(drop=True)


class Pictures:
    """Frames as the model sees them, larger, read when they are needed and kept for a while.

    ``missing`` is one line on why there is no picture, and empty while there are.
    """

    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg
        self._kept: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self.missing = ""

    def of(self, rows: pd.DataFrame) -> np.ndarray | None:
        """Return the pictures of some frames of one stack: (n, side, side) uint8, or None.

        Args:
            rows: ``path frame``.
        """
        path = str(rows["path"].iloc[0])
        keys = [(path, int(frame)) for frame in rows["frame"]]
        try:
            self._read(path, rows[[key not in self._kept for key in keys]])
        except InputError as error:
            self.missing = f"No pictures, trajectories only: {error}"
            return None
        self.missing = ""
        found = np.stack([self._kept[key] for key in keys])
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found

    def _read(self, path: str, rows: pd.DataFrame) -> None:
        if not path or not Path(path).exists():
            where = Path(path).name or "they name no files"
            raise InputError(f"the stacks of these predictions are not here ({where}).")
        if len(rows):
            images = frame_images(rows, self._cfg.data, self._cfg.image, size=SIDE)
            self._kept.update({(path, int(n)): image for n, image in zip(rows["frame"], images, strict=True)})


S = TypeVar("S")
PNG = "image/png"


class Explorer(ABC, Generic[S]):
    """Controls above one picture. Put it on the last line of a cell.

    A subclass names its controls after the fields of its selection, a frozen dataclass, and says what
    follows from a moved control and what is drawn. In a browser the picture is replaced and never the
    element that holds it; where there is no browser, as in an executed report, the figure is shown.
    """

    def __init__(
        self,
        kind: type[S],
        controls: Mapping[str, Any],
        *,
        size_in: tuple[float, float],
        bar: Sequence[Any] = (),
        beside: Sequence[Any] = (),
        below: Sequence[Any] = (),
    ) -> None:
        """Put the parts together; the subclass calls :meth:`start` when it is ready to draw.

        Args:
            kind: the class of the selection.
            controls: a widget with ``value`` for each field of it, those that others depend on first.
            size_in: width and height of the picture in inches.
            bar: widgets above the picture; by default the controls in their order.
            beside: widgets to the left of the picture.
            below: widgets below all.
        """
        self._kind = kind
        self.controls = dict(controls)
        self._names = {control: name for name, control in self.controls.items()}
        self._quiet = False
        width, height = self._size_px = round(size_in[0] * SCREEN_DPI), round(size_in[1] * SCREEN_DPI)
        self.image = ipw.Image(format="png", width=width, height=height)
        # the size is there before the picture: nothing jumps when it comes
        size: Any = {"width": f"{width}px", "height": f"{height}px", "max_width": "100%"}
        self.image.layout = ipw.Layout(**size, object_fit="contain", flex="0 1 auto", margin="0")
        self.words = ipw.HTML(layout=ipw.Layout(min_height="3.2em", max_width="860px", margin="0"))
        flow: Any = {"display": "flex", "flex_flow": "row wrap"}
        self.bar = ipw.Box(
            list(bar or self.controls.values()), layout=ipw.Layout(align_items="center", **flow)
        )
        pictured = ipw.Box([*beside, self.image], layout=ipw.Layout(align_items="flex-start", **flow))
        self.box = ipw.VBox([self.bar, pictured, self.words, *below])
        self.box.add_class("hpiclock-explorer")

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
            for name, control in self.controls.items():
                value = getattr(wanted, name)
                with suppress(TraitError):
                    control.value = value
                if control.value != value:  # it was refused, or a slider went to its end
                    raise InputError(_refusal(name, value, control))
                self.follow(name)

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
            return empty_drawing(str(error), self._size_px), str(error)

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
        about = {"alt": alt_text(figure), "width": screen_width(figure)}
        picture = base64.b64encode(png(figure)).decode("ascii")
        return {**bundle, "text/plain": str(self.selection), PNG: picture}, {PNG: about}


def control(kind: Any, name: str, *, width: int, label: int = 45, **options: Any) -> Any:
    """Return a widget of this kind: ``width`` px in all, of which its name takes ``label``."""
    layout, style = ipw.Layout(width=f"{width}px"), {"description_width": f"{label}px"}
    return kind(description=name, layout=layout, style=style, **options)


def choice(name: str, options: Any, **place: int) -> Any:
    """Return a list to choose from; ``place`` as in :func:`control`."""
    return control(ipw.Dropdown, name, options=options, **place)


def offer(control: Any, options: Sequence[tuple[str, Any]], value: Any = None) -> None:
    """Give a control other options, with ``value`` or its own value where that is among them."""
    if list(control._options_full) == list(options):
        return
    kept = control.value if value is None else value
    values = [option for _, option in options]
    control.options = options
    control.value = kept if kept in values else values[0]


def _refusal(name: str, value: Any, control: Any) -> str:
    if hasattr(control, "options"):
        there = [str(option) for _, option in control._options_full]
        more = f" and {len(there) - 8} more" if len(there) > 8 else ""
        return f"selection: {name} {value!r} is not there; there are {', '.join(there[:8])}{more}"
    return f"selection: {name} {value!r} lies outside {control.min:g} to {control.max:g}"
