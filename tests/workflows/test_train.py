"""hpiclock train: every output file, valid and agreeing with each other, for every kind of run."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from sklearn import metrics as sk

from hpiclock import cli, tables
from hpiclock.config.load import config_of, load_config
from hpiclock.errors import InputError
from hpiclock.plate.frames import open_plate, split_frames
from hpiclock.runs.run import Run
from hpiclock.targets import add_targets
from hpiclock.training.distributed import ProcessGroup
from hpiclock.training.losses import Losses
from hpiclock.training.model import build_model
from hpiclock.workflows.train import fit, train

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SYNCYTIA = ROOT.parent / "shared" / "real" / "syncytia"
FILES = {
    *("config.yaml", "provenance.json", "checkpoints/best.pt", "checkpoints/last.pt", "manifest.csv"),
    *("frames.parquet", "split.json", "notes.json", "history.csv", "predictions.parquet", "metrics.csv"),
    *("test_predictions.npz", "test_metadata.jsonl", "results.json", "temporal_metrics.json", "run.log"),
    *("temporal_generalization.png", "training_curves.png", "validation_metrics.png"),
    *("prediction_scatter_regression.png", "training_summary.txt"),
}
CLASS = ("cls_accuracy", "cls_precision", "cls_recall", "cls_f1", "cls_auc", "cls_auc_stratified")
TIME = ("reg_mae", "reg_rmse", "reg_mse")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def small(base, quick_settings):
    """What makes any config a matter of seconds, in float32."""
    return quick_settings({"train.precision": "fp32"}, folder=base)


@pytest.fixture(scope="module")
def trained(small):
    """A finished run of both tasks, and the lines it said."""
    values = small | {"experiment": "both", "train.epochs": 3, "train.lr": 3e-3}
    values |= {"windows.width_h": 4.0, "windows.stride_h": 4.0}  # the first holds 0 h alone: no onset yet
    lines: list[str] = []
    return train(config_of(values), None, say=lines.append), lines


def strict(path: Path) -> object:
    def refuse(word):
        raise AssertionError(f"{path}: {word} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def check_files(run: Run) -> dict:
    """All files are there, whole and valid; returns results.json."""
    there = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    assert there >= FILES
    assert not [name for name in there if Path(name).name.startswith(".")]
    for path in run.folder.glob("*.json"):
        strict(path)
    for path in run.folder.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 200
            assert np.asarray(picture.convert("L")).std() > 5  # something is drawn
    for name, table in (
        ("manifest.csv", tables.MANIFEST),
        ("history.csv", tables.HISTORY),
        ("predictions.parquet", tables.PREDICTIONS),
        ("metrics.csv", tables.METRICS),
    ):
        assert len(run.read_table(name, table)) > 0
    assert Run.open(run.folder).state == "done"
    return strict(run.path("results.json"))


def test_every_file_of_the_reference_is_written(trained):
    results = check_files(trained[0])
    keys = ["experiment_name", "run_id", "config", "best_val_metric", "test_metrics"]
    assert [key for key in results if key in keys] == keys
    assert (results["experiment_name"], results["run_id"]) == ("both", "seed0")
    names = ["total_loss", "cls_loss", "reg_loss", *CLASS, *TIME, "combined"]
    assert set(results["test_metrics"]) == set(names)
    undefined = {name for name, value in results["test_metrics"].items() if value is None}
    assert undefined == set(results["why_undefined"])  # a tiny model may call nothing infected
    assert undefined <= {"cls_precision"}


def test_the_lines_tell_what_is_trained_on_what(trained):
    _, lines = trained
    assert lines[0] == "Run both/seed0"
    assert "shufflenet_v2_x0_5 on 1 CPU thread, float32" in lines[1]
    assert [line[:11] for line in lines[2:]] == ["Epoch   1/3", "Epoch   2/3", "Epoch   3/3"]


def test_numbers_agree_in_all_files_and_with_scikit_learn(trained):
    run, _ = trained
    results = run.read_json("results.json")
    found, threshold = results["test_metrics"], results["threshold"]["value"]
    found = {name: np.nan if value is None else value for name, value in found.items()}  # JSON knows no NaN
    with np.load(run.path("test_predictions.npz")) as arrays:
        p, truth = arrays["cls_preds"], arrays["cls_targets"]
        hours, target = arrays["time_preds"], arrays["time_targets"]
    called = p >= threshold
    squared = sk.mean_squared_error(target, hours)
    expected = {
        "cls_accuracy": sk.accuracy_score(truth, called),
        "cls_precision": sk.precision_score(truth, called, zero_division=np.nan),
        "cls_recall": sk.recall_score(truth, called),
        "cls_f1": sk.f1_score(truth, called),
        "cls_auc": sk.roc_auc_score(truth, p),
        "reg_mae": sk.mean_absolute_error(target, hours),
        "reg_mse": squared,
        "reg_rmse": np.sqrt(squared),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name
    assert found["combined"] == pytest.approx(0.6 * found["cls_f1"] + 0.4 * (1 - found["reg_mae"] / 48))
    table = run.read_table("metrics.csv", tables.METRICS)
    whole = table[table["split"].eq("test") & table["group"].eq("all") & table["start_h"].isna()]
    written = whole.set_index("metric")["value"]
    for name in (*CLASS, *TIME):
        assert found[name] == pytest.approx(written[name.partition("_")[2]], abs=0, nan_ok=True)
    rows = run.read_table("predictions.parquet", tables.PREDICTIONS)
    rows = rows[rows["split"].eq("test") & rows["label"].notna()]
    for name, values in (("p_infected", p), ("label", truth), ("time_pred", hours), ("time_target", target)):
        assert np.array_equal(rows[name].to_numpy(float), values.astype(float))


def test_the_best_epoch_is_the_one_that_was_tested(trained):
    run, _ = trained
    history = run.read_table("history.csv", tables.HISTORY)
    val = history[history["split"].eq("val") & history["metric"].eq("combined")].set_index("epoch")["value"]
    results, tested = run.read_json("results.json"), history[history["split"].eq("test")]
    assert len(val) == 3
    assert set(tested["epoch"]) == {tested["epoch"].iloc[0]}
    assert results["best_val_metric"] == val[tested["epoch"].iloc[0]]
    assert results["best_val_metric"] > val.max() - 1e-4
    losses = tested.set_index("metric")["value"]
    names = {"total_loss": "loss", "cls_loss": "class_loss", "reg_loss": "time_loss"}
    assert all(results["test_metrics"][name] == losses[metric] for name, metric in names.items())


def test_windows_agree_with_scikit_learn_or_say_why_not(trained):
    run, _ = trained
    found, threshold = (
        run.read_json("temporal_metrics.json"),
        run.read_json("results.json")["threshold"]["value"],
    )
    assert (found["window_size_hours"], found["stride_hours"]) == (4.0, 4.0)
    assert found["window_centers"] == [2.0 + 4 * i for i in range(12)]
    rows = run.read_table("predictions.parquet", tables.PREDICTIONS)
    rows = rows[rows["split"].eq("test") & rows["label"].notna()]
    undefined = 0
    for i, centre in enumerate(found["window_centers"]):
        inside = rows["hours"].ge(centre - 2) & (rows["hours"].lt(centre + 2) | (i == 11))
        truth, p = rows.loc[inside, "label"].astype(int), rows.loc[inside, "p_infected"]
        values = {name: column[i] for name, column in found["metrics_by_window"].items()}
        why = {name: column[i] for name, column in found["why_undefined"].items()}
        assert set(values) == set(why) == {"auc", "accuracy", "f1", "precision", "recall"}
        assert all((values[name] is None) == bool(why[name]) for name in values)
        assert values["accuracy"] == pytest.approx(sk.accuracy_score(truth, p >= threshold), abs=1e-12)
        if truth.nunique() < 2:
            undefined += 1
            assert values["auc"] is None
        else:
            assert values["auc"] == pytest.approx(sk.roc_auc_score(truth, p), abs=1e-12)
    assert 0 < undefined < 12


def test_metadata_are_the_rows_of_the_predictions(trained):
    run, _ = trained
    lines = run.path("test_metadata.jsonl").read_text(encoding="utf-8").splitlines()
    with np.load(run.path("test_predictions.npz")) as arrays:
        truth = arrays["cls_targets"].tolist()
    rows = [json.loads(line) for line in lines]
    assert [row["label"] for row in rows] == truth
    keys = {"path", "condition", "position", "frame_index", "hours_since_start", "label"}
    for row in rows:
        assert row.keys() == keys
        assert (run.folder / row["path"]).is_file()
        assert not Path(row["path"]).is_absolute()
        assert row["hours_since_start"] == 4.0 * row["frame_index"]


def test_provenance_tells_the_device(trained):
    facts = trained[0].read_json("provenance.json")
    assert (facts["device"], facts["precision"], facts["threads"]) == ("cpu", "float32", 1)
    assert facts["cache"].startswith("32px-")


class OneOfMany(ProcessGroup):
    """The main one of processes that are not there: nobody is waited for."""

    def wait(self) -> None:
        pass


def test_a_split_with_fewer_frames_than_processes_is_refused(small, tmp_path):
    cfg = config_of(small)
    plate = open_plate(cfg)
    frames = split_frames(add_targets(plate.frames, cfg.targets), plate.split, cfg)
    n = int(frames["split"].eq("val").sum())
    assert n < frames["split"].eq("train").sum()
    parts = build_model(cfg.model, seed=0, size=cfg.image.size), Losses(cfg.objective, cfg.model), frames
    run, group = Run.start(cfg, tmp_path / "seed0"), OneOfMany(0, n + 1, 0)
    with pytest.raises(InputError, match=rf"^val: \d+ frames for {n + 1} processes; start fewer$"):
        fit(*parts, plate, run, group=group, say=str)
    assert run.state == "new"


def test_a_finished_run_is_left_as_it_is(trained, monkeypatch, capsys):
    run, _ = trained
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.is_file()}
    del before[run.path("provenance.json")]
    lines: list[str] = []
    train(run.cfg, run.folder, say=lines.append)
    assert lines == ["both/seed0 is done; its results are kept"]
    monkeypatch.setattr(sys, "argv", ["hpiclock", "train", "--resume", str(run.folder)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "is done; its results are kept" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("model.backbone", "resnet51", "no model resnet51"),
        ("model.backbone", "vit_b_32", "cannot read images of 32 px"),
        ("model.weights", "missing.pt", "no such file"),
        ("train.device", "cuda:99", "is not to be had here"),
        ("frames.train.infected.end_h", 2.0, "^train: all labelled frames are uninfected"),
    ],
)
def test_what_cannot_run_leaves_nothing_behind(small, tmp_path, key, value, line):
    cfg = config_of(small | {"reports_dir": str(tmp_path / "reports"), key: value})
    with pytest.raises(InputError, match=line):
        train(cfg, None, say=str)
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_every_config_loads(name):
    assert load_config(CONFIGS / name).experiment == Path(name).stem or name == "plate_template.yaml"


@pytest.mark.parametrize(
    ("name", "missing", "note"),
    [
        ("classify_only", {"reg_loss", *TIME, "combined"}, "says nothing about time"),
        ("time_only", {"cls_loss", *CLASS, "combined"}, "says nothing about the class"),
        ("one_clock", set(), ""),
    ],
)
def test_single_tasks_and_one_clock_run_end_to_end(small, name, missing, note):
    run = train(load_config(CONFIGS / f"{name}.yaml", small), None, say=str)
    results = check_files(run)
    undefined = {key for key, value in results["test_metrics"].items() if value is None}
    assert undefined - {"cls_precision"} == missing - {"cls_precision"}  # it may call nothing infected
    assert results["why_undefined"].keys() == undefined
    assert all(results["why_undefined"].values())
    assert any(note in line for line in results["notes"]) or not note
    rows = run.read_table("predictions.parquet", tables.PREDICTIONS)
    assert rows["time_pred"].isna().all() == (name == "classify_only")
    assert rows["p_infected"].isna().all() == (name == "time_only")
    if name == "one_clock":
        scored = rows[rows["label"].notna()]
        assert set(scored["clock"]) == {"experiment"}
        assert (scored["time_target"] == scored["hours"]).all()


@pytest.fixture(scope="module")
def reference_layout(base):
    """Stacks named as the reference's: one well a class, 93 pages though the name says 95."""
    rng = np.random.default_rng(0)
    for folder, well in (("infected", "b2"), ("uninfected", "c4")):
        (base / "example" / folder).mkdir(parents=True)
        for position in range(1, 7):
            name = f"20251023hbmvecp510x30minintervalinfectedvsuninfected_s5_{well}_p{position}_t0-94_ec.tiff"
            pages = rng.integers(90, 160, (93, 24, 24), dtype=np.uint8)
            tifffile.imwrite(base / "example" / folder / name, pages, photometric="minisblack")
    return base / "example"


def test_the_reference_settings_run_on_the_reference_layout(base, reference_layout, monkeypatch, capsys):
    folder = base / "reports" / "example"
    settings = {
        "data.source.infected": reference_layout / "infected",
        "data.source.uninfected": reference_layout / "uninfected",
        "data.cache_dir": base / "cache",
        "image.size": 32,
        "model.weights": "none",
        "train.epochs": 1,
        "train.max_steps": 2,
        "train.batch_size": 8,
        "train.threads": 1,
        "train.device": "cpu",
        "study.resamples": 100,
    }
    settings |= {f"frames.{split}.{kind}.stride": 6 for split in ("train", "val", "test")
                 for kind in ("infected", "uninfected")}  # fmt: skip
    words = [f"--set={key}={value}" for key, value in settings.items()]
    config = str(CONFIGS / "multitask_example.yaml")
    monkeypatch.setattr(sys, "argv", ["hpiclock", "train", config, *words, "--run-dir", str(folder)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "resnet50 on 1 CPU thread" in capsys.readouterr().out
    run = Run.open(folder)
    results = check_files(run)
    frames = pd.read_parquet(run.path("frames.parquet"))
    assert set(frames["well"]) == {"B02", "C04"}
    infected = frames[frames["condition"].eq("infected")]
    # 2 frames an hour, infected an hour after the start, the time before it clipped to 0
    assert (infected["hours"] == infected["frame"] / 2).all()
    assert (infected["time_target"] == (infected["hours"] - 1).clip(lower=0)).all()
    assert any(
        "one well" in note and "cannot separate infection from well" in note for note in results["notes"]
    )


@pytest.mark.skipif(not SYNCYTIA.is_dir(), reason="the real syncytia stacks are not beside this project")
def test_the_real_syncytia_run_and_the_notes_say_what_they_cannot(small):
    changes = {key: value for key, value in small.items() if not key.startswith("split.")}
    changes["data.source"] = str(SYNCYTIA)
    changes |= {
        f"frames.{split}.{kind}.stride": 4
        for split in ("train", "val", "test")
        for kind in ("infected", "uninfected")
    }
    run = train(load_config(CONFIGS / "syncytia.yaml", changes), None, say=str)
    results = check_files(run)
    told = "cannot separate infection from well"
    assert any(told in note for note in results["notes"])
    assert told in run.path("training_summary.txt").read_text(encoding="utf-8")
