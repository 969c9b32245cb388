"""Every metric, once: its formula, label, unit, what is better, chance, interval, and where it stands.

A metric is added to :data:`METRICS` and nowhere else; tables, windows, intervals, sentences and figures
read their part of it here. Its value is a function of totals: the totals of all groups give the estimate,
those without one group the jackknife, weighted ones any resampling.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

# Sums over frames by name, of any shape. With a P(infected): `n` frames, `tp fp tn fn` by truth and call,
# `brier` of squared differences; `wins pairs` of an infected with an uninfected frame (a tie is half a
# win), `wins_stratified pairs_stratified` of those of one plate and hour, and `wins_matched pairs_matched` of
# all frames whose plate and hour hold both classes. With a time error: `n_time` frames, `abs err sq` of its
# size, itself and its square, `y yy` of the centred target; `n_pc abs_pc ...` under the predicted clock. With
# the errors of two models without images, too: `n_base abs_base`, and of those `abs_clock abs_mean`.
Totals = Mapping[str, np.ndarray]
Formula = Callable[[Totals], np.ndarray]
Groups = tuple[str, ...]
ALL: Groups = ("all",)
EACH: Groups = ("infected", "mock")
EVERY: Groups = (*ALL, *EACH)

Frames = Literal["class", "matched", "time", "predicted clock", "baseline"]
IntervalKind = Literal["share", "auc", "absolute", "square", "root", "r2", "difference", "skill", "median"]


@dataclass(frozen=True)
class Ratio:
    """A formula that divides one weighted sum of totals by another; NaN where the divisor is not above 0.

    both_classes: NaN, too, where the frames hold one class only.
    """

    top: dict[str, float]
    bottom: dict[str, float]
    both_classes: bool = False

    def __call__(self, totals: Totals) -> np.ndarray:
        """Return the ratio, in the shape of the totals."""
        top, bottom = self.parts(totals)
        value = ratio(top, bottom)
        if not self.both_classes:
            return value
        infected, mock = totals["tp"] + totals["fn"], totals["tn"] + totals["fp"]
        return np.where((infected > 0) & (mock > 0), value, np.nan)

    def parts(self, totals: Totals) -> tuple[np.ndarray, np.ndarray]:
        """Return the numerator and the denominator."""
        top, bottom = (
            sum((weight * totals[name] for name, weight in part.items()), np.asarray(0.0))
            for part in (self.top, self.bottom)
        )
        return top, bottom


@dataclass(frozen=True)
class Metric:
    """What is known of one metric.

    Attributes:
        name: in tables and configs.
        label: on axes and in tables to read, with the unit.
        formula: from totals to values; None for a median, which no totals give.
        frames: which frames count: with a P(infected) (``class``), those of them whose plate and hour hold
            both classes (``matched``), with a time error (``time``), with one
            under the predicted clock, or with the errors of two models without images, too (``baseline``).
        interval: how its interval is made: a ``share`` of frames or an ``auc`` (score interval), a mean
            ``absolute`` error, a mean ``square`` (its ``root``, or ``r2``, 1 less a ratio of squares), a
            ``difference`` (Student's t), a ``skill`` (that of the gain, as a share) or a ``median``.
        unit: ``h``, ``h²`` or nothing.
        better: ``higher`` or ``lower``; ``zero`` where neither sign is good.
        chance: where a model without knowledge stands; None where that depends on the frames.
        least: the least value there can be.
        needs: the class whose groups decide it: ``all``, ``infected`` or ``mock``.
        undefined: why it has no value where its frames are there.
        words: its name in a sentence; the label without its unit by default.
        split: the groups of frames for which it stands in ``metrics.csv``.
        windows: those for which it stands in tables of windows.
        bands: those whose band over all windows together, and whose stability, is given.
        compared: those on which variants are compared; in windows where it has a band, too.
        phases: whether it is given before onset, in the eclipse and after it.
        summary: whether it stands in the summary of a run.
    """

    name: str
    label: str
    formula: Formula | None
    frames: Frames
    interval: IntervalKind
    unit: str = ""
    better: Literal["higher", "lower", "zero"] = "higher"
    chance: float | None = None
    least: float = -np.inf
    needs: Literal["all", "infected", "mock"] = "all"
    undefined: str = "the time target does not vary"
    words: str = ""
    split: Groups = ALL
    windows: Groups = ()
    bands: Groups = ()
    compared: Groups = ()
    phases: bool = False
    summary: bool = False

    @property
    def of_class(self) -> bool:
        """Whether it judges P(infected), not the time."""
        return self.frames in ("class", "matched")

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1 and is a share of frames or of pairs of frames."""
        return self.interval in ("share", "auc")

    @property
    def suffix(self) -> str:
        """What the names of its totals end in: ``_pc`` under the predicted clock."""
        return "_pc" if self.frames == "predicted clock" else ""

    @property
    def title(self) -> str:
        """The label without its unit."""
        return self.label.removesuffix(f" ({self.unit})")

    def value(self, totals: Totals) -> np.ndarray:
        """Return the metric of these totals, in their shape; NaN where it is undefined.

        Raises:
            TypeError: a metric without a formula.
        """
        if self.formula is None:
            raise TypeError(f"{self.name} is no function of totals")
        return self.formula(totals)


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Return top / bottom, NaN where the divisor is not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bottom > 0, np.divide(top, bottom), np.nan)


AUC = Ratio({"wins": 1}, {"pairs": 1})  # Mann and Whitney 1947, ties half
AUC_STRATIFIED = Ratio({"wins_stratified": 1}, {"pairs_stratified": 1})  # Janes and Pepe 2009
AUC_MATCHED = Ratio({"wins_matched": 1}, {"pairs_matched": 1})


def _auc_gap(totals: Totals) -> np.ndarray:
    """Return by how much pairs from other plates and hours raise the AUC of the frames that are matched."""
    return AUC_MATCHED(totals) - AUC_STRATIFIED(totals)


def _r2(totals: Totals, suffix: str) -> np.ndarray:
    n = totals[f"n{suffix or '_time'}"]
    spread = totals[f"yy{suffix}"] - ratio(totals[f"y{suffix}"] ** 2, n)
    # a target that does not vary leaves rounding, not zero
    flat = spread <= 1e-12 * np.maximum(np.max(totals[f"yy{suffix}"], initial=0.0), 1.0)
    return 1 - ratio(totals[f"sq{suffix}"], np.where(flat, 0.0, spread))


def _skill_over(totals: Totals, baseline: str) -> np.ndarray:
    flat = totals[baseline] <= 1e-9 * np.maximum(totals["n_base"], 1)
    return 1 - ratio(totals["abs_base"], np.where(flat, 0.0, totals[baseline]))


_class = partial(Metric, frames="class", windows=ALL, summary=True)
_auc = partial(_class, interval="auc", least=0.0, chance=0.5, compared=ALL, phases=True)
_share = partial(_class, interval="share", least=0.0)
_baseline = partial(Metric, frames="baseline", interval="difference", split=EVERY, unit="h")
_skill = partial(Metric, frames="baseline", interval="skill", split=EVERY, chance=0.0)
_NO_CLOCK_ERROR = "the time target is the clock less a constant: a clock alone makes no error"

# fmt: off
_CLASS = [
    _auc("auc", "AUC over plates and hours", AUC, bands=ALL,
         undefined="no two frames of different class come from the same model"),
    _auc("auc_stratified", "AUC within plate and hour", AUC_STRATIFIED, frames="matched", bands=ALL),
    _class("auc_gap", "AUC over plates and hours less AUC within plate and hour", _auc_gap, frames="matched",
           interval="difference", better="zero", chance=0.0),
    _share("accuracy", "accuracy", Ratio({"tp": 1, "tn": 1}, {"n": 1}), bands=ALL, compared=ALL),
    _share("f1", "F1", Ratio({"tp": 2}, {"tp": 2, "fp": 1, "fn": 1}, both_classes=True),
           bands=ALL, compared=ALL),
    _share("precision", "precision", Ratio({"tp": 1}, {"tp": 1, "fp": 1}, both_classes=True),
           bands=ALL, undefined="nothing called infected"),
    _share("recall", "recall", Ratio({"tp": 1}, {"tp": 1, "fn": 1}), needs="infected",
           split=(*ALL, "infected"), windows=(*ALL, "infected"), bands=(*ALL, "infected"),
           compared=("infected",), phases=True, words="recall of infected frames"),
    _share("specificity", "specificity", Ratio({"tn": 1}, {"tn": 1, "fp": 1}), needs="mock",
           split=(*ALL, "mock"), windows=(*ALL, "mock"), bands=("mock",),
           compared=("mock",), phases=True, words="specificity (mock frames called mock)"),
    _class("brier", "Brier score", Ratio({"brier": 1}, {"n": 1}), interval="absolute",
           better="lower", least=0.0, split=EVERY, summary=False),
]
# fmt: on


def _time_metrics(frames: Frames, end: str = "", clock: str = "") -> list[Metric]:
    """Return the errors in hours under one clock; ``end`` and ``clock`` mark it in names and labels."""
    timed = partial(Metric, frames=frames, split=EVERY, windows=EVERY)
    error = partial(timed, better="lower", least=0.0)
    judged = () if end else EACH
    suffix = "_pc" if end else ""
    n = {f"n{suffix or '_time'}": 1.0}
    squared = Ratio({f"sq{suffix}": 1}, n)
    # fmt: off
    return [
        error(f"mae{end}", f"time MAE{clock} (h)", Ratio({f"abs{suffix}": 1}, n), interval="absolute",
              unit="h", bands=judged, compared=judged, summary=True, words=f"time error{clock}"),
        error(f"rmse{end}", f"time RMSE{clock} (h)", lambda totals: np.sqrt(squared(totals)),
              interval="root", unit="h"),
        error(f"mse{end}", f"time MSE{clock} (h²)", squared, interval="square", unit="h²"),
        timed(f"bias{end}", f"time bias{clock} (h)", Ratio({f"err{suffix}": 1}, n),
              interval="difference", unit="h", better="zero", chance=0.0),
        timed(f"r2{end}", f"time R²{clock}", partial(_r2, suffix=suffix), interval="r2"),
    ]
    # fmt: on


# fmt: off
_MEDIAN = Metric("median_error", "median time error (h)", None, "time", "median",
                 unit="h", better="zero", split=EVERY, windows=EVERY)
_BASELINES = [
    _baseline("mae_of_clock", "MAE of a clock alone (h)", Ratio({"abs_clock": 1}, {"n_base": 1}),
              better="lower", least=0.0),
    _baseline("mae_of_mean", "MAE of predicting the mean (h)", Ratio({"abs_mean": 1}, {"n_base": 1}),
              better="lower", least=0.0),
    _baseline("gain_over_clock", "hours better than a clock alone",
              Ratio({"abs_clock": 1, "abs_base": -1}, {"n_base": 1}), chance=0.0),
    _baseline("gain_over_mean", "hours better than the mean",
              Ratio({"abs_mean": 1, "abs_base": -1}, {"n_base": 1}), chance=0.0),
    _skill("skill_over_clock", "skill over the clock", partial(_skill_over, baseline="abs_clock"),
           undefined=_NO_CLOCK_ERROR),
    _skill("skill_over_mean", "skill over the mean", partial(_skill_over, baseline="abs_mean")),
]
# fmt: on

_UNDER_PREDICTED_CLOCK = _time_metrics("predicted clock", "_predicted_clock", ", predicted clock")
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (*_CLASS, *_time_metrics("time"), _MEDIAN, *_UNDER_PREDICTED_CLOCK, *_BASELINES)
}


def metrics_of(group: str, where: Literal["split", "windows", "bands", "compared"]) -> tuple[str, ...]:
    """Return the names of the metrics that stand in a place for a group of frames, in the order of METRICS.

    Args:
        group: ``all``, ``infected`` or ``mock``.
        where: the attribute of :class:`Metric` that lists groups.
    """
    return tuple(name for name, metric in METRICS.items() if group in getattr(metric, where))
