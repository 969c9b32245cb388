"""The typed config: every key, its meaning and its default live here and nowhere else."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Hours = float
Task = Literal["class", "time"]
Split = Literal["train", "val", "test"]
BestMetric = Literal["auc", "accuracy", "f1", "mae", "combined", "loss"]
# Where results lie and where frames are kept: no result depends on it.
WHERE_KEYS = ("reports_dir", "data.cache_dir")


class Section(BaseModel):
    """One section of the config: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        # YAML reads yes, on, no, off as true and false, which would count as 1 and 0
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and field.annotation is not bool:
                raise ValueError(f"{name} is {str(value).lower()} (or yes, no, on, off); give its value")
        return values


def iterate_keys(section: BaseModel) -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted key, plain value)`` of every key, in the order in which they are declared."""
    return _leaves(section.model_dump(mode="json"), "")


def _leaves(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


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

    source: str | FolderPair = Field(
        "", description="folder pair, plate map (YAML), manifest CSV, or a folder"
    )
    name_pattern: str = Field(
        r"s(?P<series>\d+)_(?P<well>[A-Za-z]{1,2}\d{1,2})_p(?P<position>\d+)"
        r"(?:_t(?P<first_frame>\d+)-(?P<last_frame>\d+))?",
        description="regular expression searched in the file name; named groups become columns",
    )
    interval_h: Hours | None = Field(None, gt=0, description="hours between frames; null = from the file")
    start_h: Hours = Field(0.0, description="hours at frame 0")
    channel: int | str | None = Field(None, description="index or name; needed when a file has several")
    z: int | Literal["max", "mean"] | None = Field(None, description="plane or projection")
    cache_dir: str = Field("../cache", description="where converted frames are kept")
    on_bad_stack: Literal["stop", "quarantine"] = Field(
        "stop", description="quarantine = leave stacks with an error out and report them"
    )
    quarantine: str = Field("", description="CSV (path, reason) of stacks to leave out")


class QualityConfig(Section):
    """When a frame stands out in the passport of its stack."""

    saturated: float = Field(0.02, gt=0, le=1, description="share of pixels at full scale")
    focus_drop: float = Field(0.5, gt=0, lt=1, description="share of the neighbours' sharpness that is lost")
    jump: float = Field(8.0, gt=1, description="change of brightness, in usual changes between frames")
    least_jump: float = Field(0.25, ge=0, description="and at least this share of a frame's own SD")


class ImageConfig(Section):
    """From a raw plane to the uint8 image that the model sees."""

    size: int = Field(224, ge=16, le=2048, description="side of the square training image, px")
    intensity: Literal["minmax", "percentile", "fixed"] = "minmax"
    scope: Literal["frame", "stack"] = Field("frame", description="limits per frame or per stack")
    low: float | None = Field(None, description="percentile, or grey level when fixed")
    high: float | None = Field(None, description="percentile, or grey level when fixed")
    crop_border: float = Field(0.0, ge=0, lt=0.5, description="share of each side cut off")

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

    onset_h: Hours = Field(0.0, description="onset for infected wells that state none, hours after start")
    before_onset: Literal["drop", "uninfected", "clip", "signed"] = Field(
        "drop", description="what frames of an infected well before its onset are"
    )
    clock: Literal["class", "experiment"] = Field(
        "class", description="class = infected frames on the infection clock; experiment = all on one clock"
    )
    range_h: tuple[Hours, Hours] = Field((0.0, 48.0), description="time targets are clamped to this range")

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

    start_h: Hours | None = Field(None, description="first hour since start; null = from the beginning")
    end_h: Hours | None = Field(None, description="last hour since start, included; null = to the end")
    stride: int = Field(1, ge=1, description="every n-th frame")

    @model_validator(mode="after")
    def _order(self) -> ClassWindow:
        if self.start_h is not None and self.end_h is not None and self.start_h >= self.end_h:
            raise ValueError("start_h must be below end_h")
        return self


class SplitFrames(Section):
    """Which frames of one split are used."""

    infected: ClassWindow = ClassWindow()
    uninfected: ClassWindow = ClassWindow()
    match_controls: bool = Field(False, description="keep control frames only at hours with infected frames")


class FramesConfig(Section):
    """Windows and strides per class and per split."""

    train: SplitFrames = SplitFrames()
    val: SplitFrames = SplitFrames()
    test: SplitFrames = SplitFrames()


class SplitConfig(Section):
    """Who may be in train, validation and test."""

    unit: Literal["auto", "plate", "well", "position"] = Field(
        "auto", description="auto = well where each class has enough wells, else position with a note"
    )
    train: float = Field(0.7, gt=0, lt=1, description="share of the groups (without folds)")
    val: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    folds: int = Field(0, ge=0, description="0 = one split; k >= 3 = k-fold cross-validation")
    fold: int = Field(0, ge=0, description="which fold is tested")
    leave_out_plate: str = Field("", description="this plate is the test set")
    touching: tuple[tuple[str, ...], ...] = Field((), description="lists of stack_id that overlap: one group")
    file: str = Field("", description="a split.json to use as it is")

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

    backbone: str = Field("resnet50", description="a torchvision classification model, or resnet10")
    weights: str = Field("none", description="none | imagenet | mobilenet_v2_wheel | a file")
    in_channels: Literal[1, 3] = Field(1, description="1 = grey; 3 = the grey plane three times")
    tasks: tuple[Task, ...] = Field(("class", "time"), min_length=1)
    time_on: Literal["both", "infected", "uninfected"] = Field("both", description="whose time is learnt")
    time_sees_class: bool = Field(False, description="the time head also reads the class logits")
    hidden_dim: int = Field(256, ge=1)
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


class ObjectiveConfig(Section):
    """The losses and their weights."""

    weighting: Literal["fixed", "uncertainty"] = "fixed"
    class_weight: float = Field(1.0, ge=0)
    time_weight: float = Field(1.0, ge=0)


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

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(32, ge=1)
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    balanced: bool = Field(False, description="draw both classes equally often")
    best: BestMetric = Field("combined", description="validation metric that picks the checkpoint")
    patience: int | None = Field(None, ge=1, description="stop after this many epochs without a new best")
    max_steps: int | None = Field(
        None, ge=1, description="stop each epoch after this many steps (a trial run)"
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = Field("auto", description="auto | cpu | cuda | cuda:1 | mps")
    threads: int | None = Field(None, ge=1, description="CPU threads; null = all physical cores")
    compile: bool = Field(
        False,
        description="torch.compile the training step: for long runs on a GPU; needs Triton or a C++ compiler",
    )
    checkpoint_every_s: float = Field(
        30.0, ge=0, description="seconds between checkpoints, which a kill may cost; 0 = after every epoch"
    )
    augment: AugmentConfig = AugmentConfig()


class WindowsConfig(Section):
    """Sliding windows over time in which metrics are computed."""

    width_h: Hours = Field(6.0, gt=0)
    stride_h: Hours = Field(3.0, gt=0)
    start_h: Hours = 0.0
    end_h: Hours | None = Field(None, description="null = the end of targets.range_h")


class StudyConfig(Section):
    """How predictions are judged."""

    threshold: float | Literal["youden", "f1"] = Field(
        "youden", description="chosen on validation by this rule, or a number between 0 and 1"
    )
    eclipse_h: Hours = Field(6.0, ge=0, description="hours after onset in which nothing is to be seen yet")
    level: float = Field(0.95, gt=0.5, lt=1, description="of the intervals")
    resamples: int = Field(2000, ge=100)
    detection_frames: int = Field(
        2, ge=1, description="frames in a row at or above the threshold that make a detection"
    )
    prediction_level: float = Field(
        0.9, gt=0.5, lt=1, description="of the conformal interval of a single predicted time"
    )
    bins: int = Field(10, ge=2, description="of the reliability table")


class AuditConfig(Section):
    """The confound audit."""

    alpha: float = Field(0.05, gt=0, lt=0.5, description="false alarm rate of all its tests together")
    shuffles: int = Field(5000, ge=1000, description="permutations by well, at most")
    onset_shifts_h: tuple[Hours, ...] = Field(
        (-2.0, -1.0, 1.0, 2.0), description="other onsets under which the claims are looked at again"
    )


class CompareConfig(Section):
    """How runs are compared; ``study.level`` and ``study.threshold`` hold here, too."""

    margin: float = Field(
        0.02, gt=0, lt=1, description="differences of AUC, accuracy, F1 and the like that do not matter"
    )
    margin_h: Hours = Field(0.5, gt=0, description="differences of the time error that do not matter")
    power: float = Field(
        0.8, gt=0.5, lt=1, description="with which the smallest difference that could be seen is named"
    )
    shuffles: int = Field(5000, ge=1000, description="exchanges of the two runs by well, at most")


class Config(Section):
    """One experiment."""

    experiment: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(0, ge=0)
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
