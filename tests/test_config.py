"""The config: paths, base files, overrides, the text of errors, what differs from the defaults."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hpiclock.config.load import config_of, dump_config, load_config, parse, read_setting
from hpiclock.config.schema import WHERE_KEYS, Config, SplitConfig, TargetsConfig, iterate_keys
from hpiclock.errors import InputError


def written(folder: Path, text: str, name: str = "c.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, overrides: dict[str, object] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_config(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")).differences() == []


def test_a_file_holds_only_differences(tmp_path: Path) -> None:
    cfg = load_config(written(tmp_path, "train: {epochs: 3}\nimage: {size: 64}"))
    assert cfg.differences() == [("image.size", 64, 224), ("train.epochs", 3, 30)]
    assert cfg.train.lr == Config().train.lr


def test_a_section_whose_keys_are_all_commented_out_is_the_default(tmp_path: Path) -> None:
    text = "train:\n  # epochs: 3\nframes:\n  train:\n    # infected: {}\nmodel:\n  hidden_dim: 8\n"
    assert load_config(written(tmp_path, text)).differences() == [("model.hidden_dim", 8, 256)]


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("5E-3", 5e-3), ("0.1", 0.1), ("1", 1.0)])
def test_numbers_as_people_write_them(tmp_path: Path, text: str, value: float) -> None:
    cfg = load_config(written(tmp_path, f"train: {{lr: {text}}}\nstudy: {{threshold: {text}}}"))
    assert (cfg.train.lr, cfg.study.threshold) == (value, value)


def test_paths_are_relative_to_the_file_that_says_them(tmp_path: Path) -> None:
    written(tmp_path / "a", "data: {source: ../plates/one}\nmodel: {weights: w.pt}\n", "base.yaml")
    child = written(tmp_path / "b", "base: ../a/base.yaml\nsplit: {file: s.json}\n")
    cfg = load_config(child)
    assert cfg.data.source == str(tmp_path / "plates" / "one")
    assert cfg.model.weights == str(tmp_path / "a" / "w.pt")
    assert cfg.split.file == str(tmp_path / "b" / "s.json")
    assert cfg.reports_dir == str(tmp_path / "reports")  # the default ../reports, from the file in b
    assert cfg.data.cache_dir == str(tmp_path / "cache")


def test_paths_in_overrides_are_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    path = written(tmp_path / "configs", "data: {source: {infected: i, uninfected: u}}")
    cfg = load_config(path, {"data.source.infected": "x", "data.cache_dir": "../c"})
    assert cfg.data.source.infected == str(tmp_path / "work" / "x")  # type: ignore[union-attr]
    assert cfg.data.source.uninfected == str(tmp_path / "configs" / "u")  # type: ignore[union-attr]
    assert cfg.data.cache_dir == str(tmp_path / "c")
    # a table of keys says the same as the keys
    assert load_config(path, {"data": {"source": {"infected": "x"}, "cache_dir": "../c"}}) == cfg


@pytest.mark.parametrize("word", ["none", "imagenet", "mobilenet_v2_wheel"])
def test_words_for_weights_are_no_paths(tmp_path: Path, word: str) -> None:
    cfg = load_config(written(tmp_path, f"model: {{weights: {word}}}"))
    assert cfg.model.weights == word
    assert f"weights: {word}\n" in dump_config(cfg, tmp_path / "elsewhere")


def test_a_folder_pair_and_one_source_replace_each_other(tmp_path: Path) -> None:
    written(tmp_path, "data: {source: plate.yaml}", "one.yaml")
    pair = written(tmp_path, "base: one.yaml\ndata: {source: {infected: i, uninfected: u}}", "pair.yaml")
    back = written(tmp_path, "base: pair.yaml\ndata: {source: other}", "back.yaml")
    assert load_config(pair).data.source.uninfected == str(tmp_path / "u")  # type: ignore[union-attr]
    assert load_config(back).data.source == str(tmp_path / "other")
    both = {"data.source.infected": "/i", "data.source.uninfected": "/u"}
    assert load_config(back, both).data.source.infected == "/i"  # type: ignore[union-attr]


def test_base_files_are_changed_key_by_key(tmp_path: Path) -> None:
    written(tmp_path, "train: {epochs: 3, lr: 0.5}\nexperiment: a", "a.yaml")
    written(tmp_path, "base: a.yaml\ntrain: {epochs: 4}", "b.yaml")
    cfg = load_config(written(tmp_path, "base: b.yaml\nexperiment: c"), {"train": {"batch_size": 2}})
    assert (cfg.experiment, cfg.train.epochs, cfg.train.lr, cfg.train.batch_size) == ("c", 4, 0.5, 2)


def test_a_base_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "base: b.yaml", "a.yaml")
    assert "leads back to itself" in refusal(written(tmp_path, "base: a.yaml", "b.yaml"))


def test_an_error_names_the_file_that_says_the_key(tmp_path: Path) -> None:
    base = written(tmp_path, "train: {epochs: 0}", "base.yaml")
    child = written(tmp_path, "base: base.yaml\ntrain: {lr: -1}")
    said = refusal(child, {"seed": -1})
    assert f"{base}: train.epochs: input should be greater than or equal to 1, got 0" in said
    assert f"{child}: train.lr: input should be greater than 0, got -1" in said
    assert "--set: seed: input should be greater than or equal to 0, got -1" in said


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("train: {epoch: 3}", "train.epoch", "train.epochs"),
        ("trian: {lr: 1}", "trian", "train"),
        ("lr: 1", "lr", "train.lr"),  # the section forgotten
        ("batch_size: 1", "batch_size", "train.batch_size"),
        ("model: {lr: 1}", "model.lr", "train.lr"),  # the section mistaken
        ("frames: {train: {infectd: {stride: 2}}}", "frames.train.infectd", "frames.train.infected"),
        ("frames: {val: {infected: {strid: 2}}}", "frames.val.infected.strid", "frames.val.infected.stride"),
        (
            "data: {source: {infected: a, uninfected: b, uninfectd: c}}",
            "data.source.uninfectd",
            "data.source.uninfected",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_right_one(
    tmp_path: Path, text: str, key: str, near: str
) -> None:
    path = written(tmp_path, text)
    assert refusal(path) == f"{path}: unknown key {key}; did you mean {near}?"


def test_a_key_like_no_other_is_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, "qqq: 1")
    assert refusal(path) == f"{path}: unknown key qqq; `hpiclock config` lists all keys"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {lr: fast}", "train.lr: input should be a valid number, unable to parse"),
        ("train: {epochs: 1.5}", "train.epochs: input should be a valid integer"),
        ("train: {epochs: yes}", "train.epochs: input should be a valid integer, unable to parse"),
        ("train: {epochs: true}", "train: epochs is true; give its value"),
        ("train: {lr: .nan}", "train.lr: input should be a finite number"),
        ("train: 3", "train: a section with keys below it, got 3"),
        ("data: ../plate", "data: a section with keys below it, got '../plate'"),
        ("data: {source: 5}", "data.source: input should be a valid string, got 5"),
        ("data: {source: {infected: a}}", "data.source.uninfected is missing"),
        ("model: {tasks: [clas]}", "model.tasks: input should be 'class' or 'time', got 'clas'"),
        ("model: {tasks: []}", "model.tasks: tuple should have at least 1 item"),
        ("study: {threshold: high}", "or input should be 'youden' or 'f1', got 'high'"),
        ("targets: {range_h: [5]}", "targets.range_h: too few values, got [5]"),
        ("targets: {range_h: [5, 5]}", "range_h needs its first hour below its second"),
        ("split: {train: 0.5}", "train + val + test must be 1, not 0.8"),
        ("split: {folds: 2}", "folds must be 0 (one split) or at least 3"),
        ("split: {folds: 3, fold: 3}", "fold 3 does not exist with folds: 3"),
        ("split: {folds: 3, leave_out_plate: A}", "folds and leave_out_plate each say who is tested"),
        ("windows: {end_h: 60}", "windows 0-60 h, 6 h wide, do not fit into targets.range_h 0-48 h"),
        ("windows: {width_h: 50}", "windows 0-48 h, 50 h wide, do not fit into targets.range_h 0-48 h"),
        (
            "frames: {train: {infected: {start_h: 5, end_h: 2}}}",
            "frames.train.infected: start_h must be below",
        ),
        ("image: {intensity: fixed}", "image: intensity fixed needs low < high"),
        ("image: {intensity: percentile, low: -1, high: 99}", "percentiles lie between 0 and 100"),
        ("image: {low: 1, high: 2}", "low and high have no meaning with intensity minmax"),
        ("model: {tasks: [time]}", "train.best: combined needs the task class"),
        ("train: {best: last, patience: 3}", "with train.best last there is none"),
        ("experiment: a/b", "experiment: string should match pattern"),
        ("a: 1\na: 2", "not YAML, line 2: a stands twice"),
        ("train: {epochs: 1, epochs: 2}", "line 1: epochs stands twice"),
        ("train: {lr: 1\n", "not YAML, line 2: expected"),
        ("? [1, 2]\n: 3", "not YAML, line 1: a key is a list, which names nothing"),
        ("train:\n  ? {a: 1}\n  : 3", "line 2: a key is a table"),
        ("train: {~: 3}", "line 1: a key is null"),
        ("train: {7: 3}", "unknown key train.7"),
        ("7: 3", "unknown key 7"),
        ("- 1", "a config is a table of keys, not list"),
        ("base: 3", "base: 3 is not the name of one config file"),
        ("base: none.yaml", "none.yaml; correct the name"),
    ],
)
def test_a_bad_value_is_one_line_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert message in said


def test_files_that_are_no_configs(tmp_path: Path) -> None:
    assert "no such config file" in refusal(tmp_path / "none.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    assert "is not text" in refusal(tmp_path / "picture.yaml")


def test_signed_times_need_a_range_below_zero() -> None:
    with pytest.raises(ValueError, match=r"set range_h to e.g. \[-12, 48\]"):
        TargetsConfig(before_onset="signed")
    assert TargetsConfig(before_onset="signed", range_h=(-12, 48)).range_h == (-12, 48)
    # on the experiment clock no time is signed: the choice is about the label alone
    assert TargetsConfig(before_onset="signed", clock="experiment").range_h == (0, 48)


def test_a_split_is_said_in_one_way() -> None:
    for ways in ({"folds": 3, "file": "s.json"}, {"leave_out_plate": "A", "file": "s.json"}):
        with pytest.raises(ValueError, match="each say who is tested; keep one"):
            SplitConfig(**ways)


def test_settings_of_the_command_line() -> None:
    assert read_setting("train.epochs=30") == ("train.epochs", 30)
    assert read_setting("data.source=a=b") == ("data.source", "a=b")
    assert read_setting("model.tasks=[class]") == ("model.tasks", ["class"])
    assert read_setting("train.patience=null") == ("train.patience", None)
    for text in ("train.epochs", "=3", " =3"):
        with pytest.raises(InputError, match="write it as KEY=VALUE"):
            read_setting(text)
    with pytest.raises(InputError, match="the value is not YAML"):
        read_setting("a=[1")


def test_a_config_without_a_file() -> None:
    assert config_of({"data.source": "/x", "train.epochs": 2}).train.epochs == 2
    with pytest.raises(InputError, match=r"--set: unknown key train\.epoch; did you mean train\.epochs\?"):
        config_of({"train.epoch": 2})


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "train.lr": st.floats(1e-12, 1e3),
        "seed": st.integers(0, 2**32),
        "train.patience": st.none() | st.integers(1, 99),
        "data.source": st.sampled_from(["/p/plate.yaml", {"infected": "/p/i", "uninfected": "/q/u"}]),
        "data.channel": st.none() | st.integers(0, 9) | st.sampled_from(["phase", "488 nm", "µ"]),
        "model.weights": st.sampled_from(["none", "imagenet", "/w/w.pt"]),
        "model.tasks": st.sampled_from([["class", "time"], ["time", "class"]]),
        "split.touching": st.lists(st.lists(st.sampled_from(["a/B03/p1", "null", "1", "yes"]))),
        "experiment": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,8}\Z"),
        "targets.range_h": st.sampled_from([[-12.0, 48.0], [0.0, 30.5]]),
    },
)


@settings(deadline=None, max_examples=40)
@given(changes=CHANGES)
def test_a_dumped_config_loads_as_itself(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, object]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    cfg = load_config(written(folder, ""), changes)
    text = dump_config(cfg, folder / "runs" / "one")
    assert load_config(written(folder / "runs" / "one", text)) == cfg


def test_a_dumped_config_names_no_absolute_path_and_moves_with_its_folder(tmp_path: Path) -> None:
    old = tmp_path / "old"
    cfg = load_config(written(old, "data: {source: plate}\nsplit: {file: s.json}"))
    path = written(old / "run", dump_config(cfg, old / "run"))
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    old.rename(tmp_path / "new")
    moved = load_config(tmp_path / "new" / "run" / "c.yaml")
    assert moved.data.source == str(tmp_path / "new" / "plate")
    assert moved.split.file == str(tmp_path / "new" / "s.json")


def test_where_things_lie_is_no_difference(tmp_path: Path) -> None:
    cfg = load_config(written(tmp_path, "reports_dir: /elsewhere\ndata: {cache_dir: /fast}\nseed: 3"))
    assert cfg.differences() == [("seed", 3, 0)]
    assert set(WHERE_KEYS) <= dict(iterate_keys(cfg)).keys()


def test_a_config_shows_what_differs(tmp_path: Path) -> None:
    page = load_config(written(tmp_path, "data: {name_pattern: '<b>'}\nseed: 7"))._repr_html_()
    assert "<td><code>seed</code></td><td><b>7</b></td><td>0</td>" in page
    assert "&lt;b&gt;" in page  # the pattern is text, not a tag
    assert f"{len(list(iterate_keys(Config()))) - 2} other keys" in page
    assert str(tmp_path) not in page


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[1].glob("configs/*.yaml")), ids=lambda p: p.name
)
def test_every_config_of_the_project_loads_and_says_only_differences(path: Path) -> None:
    cfg = load_config(path)
    assert cfg.experiment != Config().experiment
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["experiment"] == cfg.experiment


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, text) for text in ["010", "007", "1:30", "yes", "no", "on", "0x1F", "1e3"]),
        *((text, text) for text in ["1_000", "2026-01-01", "E5", "1.5e3"]),
        *(("12", 12), ("-1.5", -1.5), ("true", True), ("~", None), ("1.5e-3", 0.0015)),
        ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_numbers_of_yaml_1_1_are_the_text_that_stands_there(text: str, value: object) -> None:
    assert parse(text) == value


def test_anchors_and_merges_are_read_and_a_switch_may_say_yes(tmp_path: Path) -> None:
    assert parse("a: &x {b: 1}\nc: {<<: *x, d: 2}\ne: *x") == {
        "a": {"b": 1},
        "c": {"b": 1, "d": 2},
        "e": {"b": 1},
    }
    cfg = load_config(
        written(tmp_path, "train: {compile: no, epochs: '010', lr: 010}\nmodel: {time_sees_class: yes}")
    )
    assert (cfg.train.compile, cfg.model.time_sees_class, cfg.train.epochs, cfg.train.lr) == (
        False,
        True,
        10,
        10,
    )


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "- " * 100_000,
        "[a, " * 100_000,
        f"{BOMB}experiment: *a11",
        "a: &a [*a]",
        "train: &t {lr: *t}",
        "[" * 5000,
        "a: " + "{a: " * 400 + "1" + "}" * 400,
        "train: {epochs: " + "9" * 5000 + "}",
        "? !!set {a}\n: 1",
        "seed: !!int ''",
        "seed: !!int x",
        "seed: !!timestamp x",
        "seed: !!bool x",
        "seed: !!python/object/apply:os.system [ls]",
        "seed: !!binary x",
        "? &k {a: 1}\n: 1\n? *k\n: 2",
        "train:\n\tepochs: 3",
        "a: \x01",
        "a: *b",
        "a: 'x",
        "k: " + "x" * 1_000_001,
        "\0",
        'experiment: "a\\0b"',
        'reports_dir: "a\\0b"',
        "seed: " + "x" * 900_000,
    ],
    ids=range(26),
)
def test_a_hostile_yaml_is_one_short_line(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert len(said) < 1000


@settings(deadline=None, max_examples=100, derandomize=True)
@given(text=st.one_of(st.text(max_size=60), st.text("{}[]:,-?&*!|>'\"%@`<#~ab1\n\t ", max_size=60)))
def test_any_yaml_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = written(tmp_path_factory.getbasetemp(), "")
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        load_config(path)
    except InputError as error:
        said = str(error)
    else:
        return
    assert "\n" not in said


def test_a_long_chain_of_bases_is_refused(tmp_path: Path) -> None:
    for n in range(40):
        written(tmp_path, f"base: c{n + 1}.yaml", f"c{n}.yaml")
    written(tmp_path, "seed: 1", "c40.yaml")
    assert "more than 20 files lead here by `base:`" in refusal(tmp_path / "c0.yaml")
    assert load_config(tmp_path / "c30.yaml").seed == 1


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "long", "device"])
def test_a_special_file_is_refused_and_never_waited_for(
    tmp_path: Path, special_file: Callable[..., Path], kind: str
) -> None:
    path = special_file(kind, "c.yaml")
    words = {"fifo": "is a FIFO", "folder": "is a folder", "loop": "cannot be read", "long": "cannot be read"}
    said = refusal(path)
    assert words.get(kind, "is a device") in said
    assert "configs/ holds examples" in said
    assert "base: no config file" in refusal(written(tmp_path, f"base: {'x' * 300}", "d.yaml"))


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train.epochs.x", "train.epochs"),
        ("model.backbone.name", "model.backbone"),
        ("image.size.a.b", "image.size"),
        ("data.source.infected.x", "data.source.infected"),
        ("train.epoch", "train.epochs"),
    ],
)
def test_a_key_below_one_that_has_none_is_refused(tmp_path: Path, key: str, near: str) -> None:
    path = written(tmp_path, "train: {epochs: 2}\nmodel: {backbone: resnet10}\ndata: {source: x}")
    assert refusal(path, {key: 3}) == f"--set: unknown key {key}; did you mean {near}?"


NUMBERS = [
    key
    for key, value in iterate_keys(Config())
    if (isinstance(value, int | float) and not isinstance(value, bool))
    or key.endswith(("_h", "low", "high", "patience", "max_steps", "threads"))
] + ["study.threshold"]


@pytest.mark.parametrize("key", sorted(set(NUMBERS)))
def test_every_number_has_bounds(key: str) -> None:
    for value in (1e300, -1e300, float("nan"), float("inf"), 10**30, "9" * 5000):
        for one in (value, [value, value]):
            with pytest.raises(InputError, match=key.replace(".", r"(\.|: )")):
                config_of({key: one})


def test_what_is_refused_later_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"study\.threshold: .*less than or equal to 1.*got 7"):
        config_of({"study.threshold": 7})
    with pytest.raises(InputError, match=r"windows\.stride_h makes 42000001 windows, at most 1000; widen it"):
        config_of({"windows.stride_h": 1e-6})
