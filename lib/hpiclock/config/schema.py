"""The typed config: every key, its meaning and its default live here and nowhere else."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_H = 10_000.0  # more than a year
Hours = Annotated[float, Field(ge=-MOST_H, le=MOST_H)]
Task = Literal["class", "time"]
Split = Literal["train", "val", "test"]
BestMetric = Literal["auc", "accuracy", "f1", "mae", "combined", "loss", "last"]
# Where results lie and where frames are kept: no result depends on it.
WHERE_KEYS = ("reports_dir", "data.cache_dir")


class Section(BaseModel):
    """One section of the config: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_max_length=4000)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        # true and false would count as 1 and 0
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and field.annotation is not bool:
                raise ValueError(f"{name} is {str(value).lower()}; give its value")
            if isinstance(value, str) and "\0" in value:
                raise ValueError(f"{name} holds a NUL character; take it out")
        return values


def option(default: Any, meaning: str, **limits: Any) -> Any:
    """Declare a key: its default, what it means, and its limits as pydantic's ``Field`` takes them."""
    return Field(default, description=meaning, **limits)


def iterate_keys(section: BaseModel) -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted key, plain value)`` of every key, in the order in which they are declared."""
    return flat(section.model_dump(mode="json"))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted key, value)`` of nested tables."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def as_text(value: Any) -> str:
    """Return a plain value in one line as YAML writes it."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return text.removesuffix("\n").removesuffix("\n...")


def as_html(changed: list[tuple[str, Any, Any]], n_keys: int) -> str:
    """Return the keys that differ from the defaults as a table, and how many do not."""
    rows = "".join(
        f"<tr><td><code>{html.escape(key)}</code></td><td><b>{html.escape(as_text(value))}</b></td>"
        f"<td>{html.escape(as_text(default))}</td></tr>"
        for key, value, default in changed
    )
    return (
        "<table><thead><tr><th>key</th><th>value</th><th>default</th></tr></thead>"
        f"<tbody>{rows}</tbody></table><p>{n_keys - len(changed)} other keys stand at their defaults "
        "(<code>hpiclock config</code> lists them).</p>"
    )


class FolderPair(Section):
    """Two folders of stacks, one per condition."""

    infected: str
    uninfected: str


class DataConfig(Section):
    """Where the stacks are and how their files are read."""

    source: str | FolderPair = option("", "folder pair, plate map (YAML), manifest CSV, or a folder")
    name_pattern: str = option(
        r"s(?P<series>\d+)_(?P<well>[A-Za-z]{1,2}\d{1,2})_p(?P<position>\d+)"
        r"(?:_t(?P<first_frame>\d+)-(?P<last_frame>\d+))?",
        "regular expression searched in the file name; named groups become columns",
    )
    interval_h: Hours | None = option(None, "hours between frames; null = from the file", gt=0)
    start_h: Hours = option(0.0, "hours at a plate's first frame; 0 = what names and files say, if anything")
    channel: int | str | None = option(None, "index or name; needed when a file has several")
    z: int | Literal["max", "mean"] | None = option(None, "plane or projection")
    cache_dir: str = option("../cache", "where converted frames are kept")
    on_bad_stack: Literal["stop", "quarantine"] = option(
        "stop", "quarantine = leave stacks with an error out and report them"
    )
    quarantine: str = option("", "CSV (path, reason) of stacks to leave out")


class QualityConfig(Section):
    """When a frame stands out in the passport of its stack."""

    saturated: float = option(0.02, "share of pixels at full scale", gt=0, le=1)
    focus_drop: float = option(0.5, "share of the neighbours' sharpness that is lost", gt=0, lt=1)
    jump: float = option(8.0, "change of brightness, in usual changes between frames", gt=1, le=1e6)
    least_jump: float = option(0.25, "and at least this share of a frame's own SD", ge=0, le=1e6)


class ImageConfig(Section):
    """From a raw plane to the uint8 image that the model sees."""

    size: int = option(224, "side of the square training image, px", ge=16, le=2048)
    intensity: Literal["minmax", "percentile", "fixed"] = "minmax"
    scope: Literal["frame", "stack"] = option("frame", "limits per frame or per stack")
    low: float | None = option(None, "percentile, or grey level when fixed", ge=-1e12, le=1e12)
    high: float | None = option(None, "percentile, or grey level when fixed", ge=-1e12, le=1e12)
    crop_border: float = option(0.0, "share of each side cut off", ge=0, lt=0.5)
    max_clipped: float = option(
        0.5, "share of a stack's pixels beyond low and high from which it is refused", gt=0, le=1
    )
    context_h: tuple[Hours | Literal["start"], ...] = option(
        (0.0,),
        "hours of the frames of a field that are read together, the frame itself (0) first; e.g. [0, -4, -8] "
        "or [0, -4, start], the first frame",
        min_length=1,
        max_length=8,
    )

    @model_validator(mode="after")
    def _context(self) -> ImageConfig:
        first, *earlier = self.context_h
        if first != 0 or len({*earlier}) < len(earlier) or any(h != "start" and h >= 0 for h in earlier):
            raise ValueError("context_h is 0, then different hours below 0 (or start), e.g. [0, -4, -8]")
        return self

    @model_validator(mode="after")
    def _limits(self) -> ImageConfig:
        if self.intensity == "minmax":
            if self.low is not None or self.high is not None:
                raise ValueError("low and high have no meaning with intensity minmax; remove them")
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise ValueError(f"intensity {self.intensity} needs low < high")
        if self.intensity == "percentile" and not (self.low >= 0 and self.high <= 100):
            raise ValueError("percentiles lie between 0 and 100")
        return self


class TargetsConfig(Section):
    """The two clocks: what a frame's label and time target are."""

    onset_h: Hours = option(0.0, "onset for infected wells that state none, hours after start")
    before_onset: Literal["drop", "uninfected", "clip", "signed"] = option(
        "drop", "what frames of an infected well before its onset are"
    )
    clock: Literal["class", "experiment"] = option(
        "class", "class = infected frames on the infection clock; experiment = all on one clock"
    )
    range_h: tuple[Hours, Hours] = option((0.0, 48.0), "time targets are clamped to this range")

    @model_validator(mode="after")
    def _range(self) -> TargetsConfig:
        low, high = self.range_h
        if low >= high:
            raise ValueError("range_h needs its first hour below its second")
        if self.before_onset == "signed" and self.clock == "class" and low >= 0:
            raise ValueError(
                f"before_onset signed gives times below 0, range_h [{low:g}, {high:g}] cuts them off; "
                f"set range_h to e.g. [-12, {high:g}]"
            )
        return self


class ClassWindow(Section):
    """Which frames of one class are used."""

    start_h: Hours | None = option(None, "first hour since start; null = from the beginning")
    end_h: Hours | None = option(None, "last hour since start, included; null = to the end")
    stride: int = option(1, "every n-th frame", ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _order(self) -> ClassWindow:
        if self.start_h is not None and self.end_h is not None and self.start_h >= self.end_h:
            raise ValueError("start_h must be below end_h")
        return self


class SplitFrames(Section):
    """Which frames of one split are used."""

    infected: ClassWindow = ClassWindow()
    uninfected: ClassWindow = ClassWindow()
    match_controls: bool = option(False, "keep control frames only at hours with infected frames")


class FramesConfig(Section):
    """Windows and strides per class and per split."""

    train: SplitFrames = SplitFrames()
    val: SplitFrames = SplitFrames()
    test: SplitFrames = SplitFrames()


class SplitConfig(Section):
    """Who may be in train, validation and test."""

    unit: Literal["auto", "plate", "well", "position"] = option(
        "auto", "auto = well where each class has enough wells, else position with a note"
    )
    train: float = option(0.7, "share of the groups (without folds)", gt=0, lt=1)
    val: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0, le=2**32)
    folds: int = option(0, "0 = one split; k >= 3 = k-fold cross-validation", ge=0, le=1000)
    fold: int = option(0, "which fold is tested", ge=0)
    leave_out_plate: str = option("", "this plate is the test set")
    touching: tuple[tuple[str, ...], ...] = option((), "lists of stack_id that overlap: one group")
    file: str = option("", "a split.json to use as it is")

    @model_validator(mode="after")
    def _fractions(self) -> SplitConfig:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(f"train + val + test must be 1, not {self.train + self.val + self.test:g}")
        if self.folds in (1, 2):
            raise ValueError("folds must be 0 (one split) or at least 3 (train, val and test differ)")
        if self.fold >= max(self.folds, 1):
            raise ValueError(f"fold {self.fold} does not exist with folds: {self.folds}")
        ways = {"folds": self.folds, "leave_out_plate": self.leave_out_plate, "file": self.file}
        chosen = [name for name, value in ways.items() if value]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} each say who is tested; keep one")
        return self


class ModelConfig(Section):
    """Backbone and heads."""

    backbone: str = option("resnet50", "a torchvision classification model, or resnet10")
    weights: str = option("none", "none | imagenet | mobilenet_v2_wheel | a file")
    in_channels: Literal[1, 3] = option(1, "1 = grey; 3 = the grey plane three times")
    subtract_mean: bool = option(
        False, "take the mean grey out of every frame, so that an even light cannot change the answer"
    )
    average_turns: bool = option(
        False, "answer from the mean over the four quarter turns of a frame; training stays as it is"
    )
    tasks: tuple[Task, ...] = Field(("class", "time"), min_length=1)
    time_on: Literal["both", "infected", "uninfected"] = option("both", "whose time is learnt")
    time_sees_class: bool = option(False, "the time head also reads the class logits")
    time_heads: Literal["one", "per_clock"] = option(
        "one", "per_clock = one for each class where both tasks are learnt; P(infected) says which is read"
    )
    hidden_dim: int = Field(256, ge=1, le=16_384)
    dropout: float = Field(0.2, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads(self) -> ModelConfig:
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError("each task once")
        if self.time_sees_class and set(self.tasks) != {"class", "time"}:
            raise ValueError("time_sees_class needs both tasks")
        if self.time_on != "both" and "time" not in self.tasks:
            raise ValueError("time_on has no meaning without the task time")
        return self

    @property
    def n_times(self) -> int:
        """How many times the model says of a frame: one, or one for each class."""
        both = set(self.tasks) == {"class", "time"} and self.time_on == "both"
        return 2 if both and self.time_heads == "per_clock" else 1


class ObjectiveConfig(Section):
    """The losses and their weights."""

    weighting: Literal["fixed", "uncertainty"] = "fixed"
    class_weight: float = Field(1.0, ge=0, le=1e6)
    time_weight: float = Field(1.0, ge=0, le=1e6)


class AugmentConfig(Section):
    """Random changes of training images, drawn per image."""

    flip: bool = True
    quarter_turns: bool = False
    rotate_deg: float = Field(15.0, ge=0, le=45)
    brightness: float = Field(0.0, ge=0, lt=1)
    contrast: float = Field(0.0, ge=0, lt=1)
    blur_px: float = Field(0.0, ge=0, le=5)
    noise: float = Field(0.0, ge=0, le=0.5)


class TrainConfig(Section):
    """The training loop."""

    epochs: int = Field(30, ge=1, le=100_000)
    batch_size: int = Field(32, ge=1, le=65_536)
    lr: float = Field(1e-4, gt=0, le=1e3)
    weight_decay: float = Field(5e-4, ge=0, le=1e3)
    clip_norm: float = Field(1.0, gt=0, le=1e6)
    balanced: bool = option(False, "draw both classes equally often")
    best: BestMetric = option(
        "combined", "validation metric that picks the epoch; last = the last one, whatever validation says"
    )
    patience: int | None = option(None, "stop after this many epochs without a new best", ge=1, le=100_000)
    max_steps: int | None = option(
        None, "stop each epoch after this many steps (a trial run)", ge=1, le=10**9
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = option("auto", "auto | cpu | cuda | cuda:1 | mps")
    threads: int | None = option(None, "CPU threads; null = all physical cores", ge=1, le=4096)
    compile: bool = option(
        False, "torch.compile the training step: for long runs on a GPU; needs Triton or a C++ compiler"
    )
    checkpoint_every_s: float = option(
        30.0, "seconds between checkpoints, which a kill may cost; 0 = after every epoch", ge=0, le=1e6
    )
    augment: AugmentConfig = AugmentConfig()


class WindowsConfig(Section):
    """Sliding windows over time in which metrics are computed."""

    width_h: Hours = Field(6.0, gt=0)
    stride_h: Hours = Field(3.0, gt=0)
    start_h: Hours = 0.0
    end_h: Hours | None = option(None, "null = the end of targets.range_h")


class StudyConfig(Section):
    """How predictions are judged."""

    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["youden", "f1"] = option(
        "youden", "chosen on validation by this rule, or a number between 0 and 1"
    )
    eclipse_h: Hours = option(6.0, "hours after onset in which nothing is to be seen yet", ge=0)
    level: float = option(0.95, "of the intervals", gt=0.5, lt=1)
    resamples: int = Field(2000, ge=100, le=100_000)
    detection_frames: int = option(
        2, "frames in a row at or above the threshold that make a detection", ge=1, le=10_000
    )
    prediction_level: float = option(0.9, "of the conformal interval of one predicted time", gt=0.5, lt=1)
    bins: int = option(10, "of the reliability table", ge=2, le=1000)
    calibration_margin: float = option(
        1.25,
        "factor by which the odds of P(infected), and its slope, may be off and count as calibrated",
        gt=1,
        le=1000,
    )


class AuditConfig(Section):
    """The confound audit."""

    alpha: float = option(0.05, "false alarm rate of all its tests together", gt=0, lt=0.5)
    shuffles: int = option(5000, "permutations by well, at most", ge=1000, le=1_000_000)
    negative_control_margin: float = option(
        0.1, "how far from 0.5 an AUC may be where there is nothing to see", gt=0, lt=0.5
    )
    onset_shifts_h: tuple[Hours, ...] = option(
        (-2.0, -1.0, 1.0, 2.0), "other onsets under which the claims are looked at again", max_length=100
    )


class CompareConfig(Section):
    """How runs are compared; ``study.level`` and ``study.threshold`` hold here, too."""

    margin: float = option(0.02, "AUC, accuracy, F1 and the like: differences that do not matter", gt=0, lt=1)
    margin_h: Hours = option(0.5, "differences of the time error that do not matter", gt=0)
    power: float = option(0.8, "with which the smallest difference that could be seen is named", gt=0.5, lt=1)
    shuffles: int = option(5000, "exchanges of the two runs by well, at most", ge=1000, le=1_000_000)


MOST_WINDOWS = 1000


class Config(Section):
    """One experiment."""

    experiment: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)
    seed: int = Field(0, ge=0, le=2**32)
    reports_dir: str = "../reports"
    data: DataConfig = DataConfig()
    quality: QualityConfig = QualityConfig()
    image: ImageConfig = ImageConfig()
    targets: TargetsConfig = TargetsConfig()
    frames: FramesConfig = FramesConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig = TrainConfig()
    windows: WindowsConfig = WindowsConfig()
    study: StudyConfig = StudyConfig()
    audit: AuditConfig = AuditConfig()
    compare: CompareConfig = CompareConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        low, high = self.targets.range_h
        first, width, end = self.windows.start_h, self.windows.width_h, self.window_end_h
        if first < min(low, 0) or end > high or first + width > end:
            raise ValueError(
                f"windows {first:g}-{end:g} h, {width:g} h wide, do not fit into "
                f"targets.range_h {low:g}-{high:g} h; change the windows or the range"
            )
        if (n := (end - first - width) / self.windows.stride_h + 1) > MOST_WINDOWS:
            raise ValueError(f"windows.stride_h makes {n:.0f} windows, at most {MOST_WINDOWS}; widen it")
        if self.train.best == "last" and self.train.patience:
            raise ValueError(
                "train.patience waits for a better epoch, and with train.best last there is none"
            )
        if self.train.best in ("mae", "combined") and "time" not in self.model.tasks:
            raise ValueError(f"train.best: {self.train.best} needs the task time")
        if self.train.best in ("auc", "accuracy", "f1", "combined") and "class" not in self.model.tasks:
            raise ValueError(f"train.best: {self.train.best} needs the task class")
        return self

    @property
    def window_end_h(self) -> Hours:
        """The end of the last window, in hours."""
        return self.targets.range_h[1] if self.windows.end_h is None else self.windows.end_h

    def differences(self) -> list[tuple[str, Any, Any]]:
        """Return ``(key, value, default)`` for every key whose value is not the default.

        Where results and the cache lie is left out: no result depends on it, and it differs by machine.
        """
        default = dict(iterate_keys(Config()))
        mine = {key: value for key, value in iterate_keys(self) if key not in WHERE_KEYS}
        return [(key, value, default.get(key)) for key, value in mine.items() if value != default.get(key)]

    def _repr_html_(self) -> str:
        return as_html(self.differences(), len(list(iterate_keys(self))))
